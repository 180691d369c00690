"""Random sections: those of a UKI, of its profiles and of addons."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from random import Random
from typing import Any
from uuid import UUID

from scripts.lab.drawing.values import Drawing
from scripts.lab.recipes import MACHINES
from stubsim import chid
from stubsim.formats import efifw, pe
from stubsim.formats.pe import SectionSpec
from stubsim.formats.smbios import Fields

_CODE = 0x6000_0020
_TEXT = SectionSpec(".text", b"\xcc" * 512, virtual_address=0x1000, characteristics=_CODE)


def good_kernel(machine: str) -> bytes:
    """A kernel that every stub starts, and that nobody runs."""
    return pe.build([_TEXT], machine=MACHINES[machine], entry_point=0x1000)


class Sections(Drawing):
    """Tables and blobs that fit each other, and mostly the machine of these fields and this panel."""

    def __init__(self, random: Random, machine: str, fields: Fields, panel: str | None) -> None:
        super().__init__(random, machine)
        self.fields = fields
        self.panel = panel

    def uki(self) -> list[SectionSpec]:
        found = self._group(base=True)
        if self.maybe(0.25):
            for number in range(self.random.randint(1, 3) if self.maybe(0.9) else self.random.randint(4, 9)):
                found.append(self._sized(".profile", self._profile(number)))
                found += self._group(base=False)
        if self.maybe(0.05):
            self.random.shuffle(found)
        if self.maybe(0.03):
            self._overlap(found)
        elif self.maybe(0.1):
            self._misalign(found)
        return found

    def _misalign(self, found: list[SectionSpec]) -> None:
        """Some sections do not start a page; what a stub finds in them may have to lie at a multiple of 4 or 8."""
        for index in self.random.sample(range(len(found)), self.random.randint(1, len(found))):
            start = 0x200000 + 0x4000 * index
            found[index] = found[index]._replace(virtual_address=start + self.one(1, 2, 4, 8, 12, 16, 512))

    def _overlap(self, found: list[SectionSpec]) -> None:
        """One section lies where another one is, or in the middle of it; what comes later in the file wins."""
        at = 0x100000
        for index in self.random.sample(range(len(found)), min(2, len(found))):
            found[index] = found[index]._replace(virtual_address=at)
            at += self.one(0, 0, 2, 4, 512)

    def _group(self, *, base: bool) -> list[SectionSpec]:
        """Sections of the base, or of one profile: there are fewer there."""
        few = 1.0 if base else 0.3
        found: list[SectionSpec] = []
        if base and self.maybe(0.98):
            found.append(SectionSpec(".linux", self._kernel(), characteristics=0x4000_0040))
        texts = {
            ".osrel": (0.6, self._os_release), ".cmdline": (0.7, self.line), ".initrd": (0.6, self._initrd),
            ".ucode": (0.2, self._initrd), ".uname": (0.4, self._uname), ".pcrsig": (0.3, lambda: b"{}"),
            ".pcrpkey": (0.3, lambda: b"-----BEGIN"), ".dtb": (0.15, self.tree), ".splash": (0.05, lambda: b"BM"),
            ".sbat": (0.05, lambda: b"sbat,1\n"), ".other": (0.05, lambda: b"x"), ".cmdlinex": (0.02, lambda: b"x"),
        }  # fmt: skip
        for name, (probability, content) in texts.items():
            for _ in range(self.one(2, 3) if self.maybe(0.04) else 1):
                if self.maybe(probability * few):
                    found.append(self._sized(name[:8], content()))
        choice = self.maybe(0.5 * few)
        if choice or self.maybe(0.1 * few):
            found.append(self._sized(".hwids", self._hwids()))
        if choice or self.maybe(0.1 * few):
            found += [self._sized(".dtbauto", self.tree()) for _ in range(self.random.randint(0, 3))]
            found += [self._sized(".efifw", self._firmware()) for _ in range(self.random.randint(0, 3))]
        return found

    def _sized(self, name: str, data: bytes) -> SectionSpec:
        size = None
        if self.maybe(0.06) and (self.damages_trees or not name.startswith(".dtb")):
            size = self.one(0, max(len(data) - 1, 0), len(data) + 3, len(data) + 700, len(data) // 2)
        if len(name) < 7 and self.maybe(0.02):
            name += "\0x"
        return SectionSpec(name, data, virtual_size=size)

    def _kernel(self) -> bytes:
        """Mostly a good one; it is never run. Firmware that loads kernels itself is not what is tested here."""
        if self.maybe(0.92):
            return good_kernel(self.machine)
        kind = self.random.randint(0, 13)
        if kind == 13:
            return self._setup_kernel()
        if kind == 12:
            return self._image([_TEXT], dll_characteristics=self.one(0, 0x100, 0x140, 0x8160))
        if kind == 11:
            # 96 is the most that older stubs take.
            return self._image([_TEXT, *[SectionSpec(".x", b"x")] * self.one(95, 96, 110)])
        if kind == 10:
            related = SectionSpec(".data", b"d" * 512, relocations_offset=self.one(0, 1, 0x400))
            return self._image([_TEXT, related], image_base=self.one(0, 0x1000000, 0x140000000))
        if kind == 9:
            rows = [
                (1, 8, self.one(0x8664, 0xAA64, 0x14C), self.one(0, 0x1000, 0x1010))
                for _ in range(self.random.randint(0, 2))
            ]
            compat = b"".join(struct.pack("<BBHI", *row) for row in rows) + self.one(b"", bytes(8), b"\1\x08")
            section = SectionSpec(".compat", compat.ljust(512, b"\0"))
            return self._image([_TEXT, section], machine=self.one(0, 0x14C, 0x8664, 0xAA64, 0x1C0))
        if kind == 0:
            return self._image([_TEXT], machine=self.one(0x8664, 0xAA64, 0x14C, 0x1C0))
        if kind == 1:
            return self.random.randbytes(self.random.randint(64, 600))
        if kind == 2:
            return self._image([_TEXT], major_image_version=0)
        if kind == 3:
            return self._image([_TEXT], subsystem=self.one(1, 10, 11, 12))
        if kind == 4:
            return self._image([_TEXT])[: self.random.randint(64, 1000)]
        if kind == 5:
            return self._image([_TEXT, SectionSpec(".data", b"d" * 512, self.one(0, 1, 100, 511))])
        if kind == 6:
            return self._image([_TEXT, SectionSpec(".reloc", bytes(8))], base_relocations=(0x2000, 8))
        if kind == 7:
            far = SectionSpec(".data", b"d" * 512, virtual_address=self.one(0x1000, 0x5000, 0x100000))
            return self._image([_TEXT, far], size_of_image=self.one(None, 0x3000))
        return self._image([_TEXT], section_alignment=self.one(512, 4096, 0x10000, 0x18000))

    def _setup_kernel(self) -> bytes:
        """Of the old boot protocol, by what an EFI handover asks of its setup header.

        It is always refused: efirun has no memory below 1 GiB, where a stub would put boot_params.
        """
        image = bytearray(self._image([_TEXT], major_image_version=0).ljust(self.one(0x800, 0x1000, 0x2000), b"\0"))
        values = (
            (0x1FE, struct.pack("<H", self.one(0xAA55, 0xAA55, 0))), (0x202, self.one(b"HdrS", b"HdrS", b"none")),
            (0x206, struct.pack("<H", self.one(0x20A, 0x20C, 0x20F))), (0x234, self.one(b"\0", b"\1")),
            (0x236, b"\0\0"),
        )  # fmt: skip
        for at, value in values:
            image[at : at + len(value)] = value
        return bytes(image)

    def _image(self, sections: Sequence[SectionSpec], **options: Any) -> bytes:
        return pe.build(sections, **{"machine": MACHINES[self.machine], "entry_point": 0x1000} | options)

    def _profile(self, number: int) -> bytes:
        return self.one(b"ID=p%d\nTITLE=Profile" % number, b"", b"ID='x y'", b"TITLE=only")

    def _os_release(self) -> bytes:
        return self.one(
            b"ID=lab\n", b"ID=lab\nIMAGE_ID=img\n", b'IMAGE_ID="quoted id"\nID=lab', b"ID=\n", b"", b"#ID=no\n",
            b"ID='x'", b"ID=one\nID=two\n", b"NAME=none\n", b" ID=lead\n", b"ID =x\n", b"IMAGE_ID=\nID=lab\n",
            b'ID="a\\"b"\n',
        )  # fmt: skip

    def _initrd(self) -> bytes:
        return b"\x5a" * self.random.choice((1, 3, 4, 13, 16, 512, 700, 4097, 20000))

    def _uname(self) -> bytes:
        return self.one(b"6.1.0-lab", b"6.1.0", b"6.1.0-lab-x", b"5.0", b"6.1.0\0", b"6.1.0\0x", b"6.1.0-l", b" 6.1.0")

    def _firmware(self) -> bytes:
        name = self.one("fw-a", "fw-b", "fw-c", "FW-a", "fw-a ", "lab,a")
        blob = efifw.build(name, self.one(b"firmware", b"", b"IGVM"), header_size=self.one(16, 16, 20, 32))
        if self.maybe(0.2):
            header, size, payload = self.one((12, 5, 4), (16, 4, 8), (16, 6, 8), (16, 5, 9), (16, 5, 0xFFFFFFF0))
            return struct.pack("<IIII", self.one(0xFEEDDEAD, 0xFEEDDEAE), header, size, payload) + b"fw-a\0firmware"
        return self.damaged(blob, 0.05)

    def _hwids(self) -> bytes:
        """A table whose entries are mostly right, and then mostly for this machine."""
        known = chid.chids(self.fields, self.panel)
        guids = [guid for kind in chid.PRIORITY if (guid := known.get(kind)) is not None]
        entries: list[tuple[int, bytes, str, str]] = []
        every = [guid for guid in known.values() if guid is not None]
        for _ in range(self.random.randint(0, 5) if self.maybe(0.95) else self.random.randint(20, 400)):
            own = self.maybe(0.6) and guids
            others = (UUID(int=0), UUID(int=self.random.getrandbits(128)), *every)
            guid = self.one(*guids) if own else self.one(*others)
            kind = self.one(1, 1, 2, 2) if self.maybe(0.95) else self.one(0, 3, 15)
            size = 28 if self.maybe(0.95) else self.one(0, 27, 29)
            text = self.one("lab,a", "lab,b", "lab,c") if kind == 1 else self.one("fw-a", "fw-b", "fw-c")
            entries.append((kind << 28 | size, guid.bytes_le, "Device", text))
        return self._packed_hwids(entries)

    def _packed_hwids(self, entries: list[tuple[int, bytes, str, str]]) -> bytes:
        ends = self.maybe(0.93)
        start = 28 * (len(entries) + ends)
        strings = b""
        rows = b""
        for descriptor, guid, name, text in entries:
            name_at = start + len(strings)
            strings += name.encode() + b"\0"
            text_at = start + len(strings)
            strings += text.encode() + b"\0"
            if self.maybe(0.06):
                name_at = self.one(0, 4, start, start + len(strings), 1 << 20, 0xFFFFFFFF)
            if self.maybe(0.06):
                text_at = self.one(0, 4, start, start + len(strings) - 1, start + len(strings) + 1, 1 << 20)
            rows += struct.pack("<I16sII", descriptor, guid, name_at, text_at)
        end = (struct.pack("<I", 0) + self.one(bytes(24), b"\1" * 24)) if ends else b""
        table = rows + end + strings
        if self.maybe(0.04):
            table = table[: self.random.randrange(len(table) + 1)]
        return table[:-1] if self.maybe(0.03) else table

    def addon(self) -> list[SectionSpec]:
        contents = {
            ".cmdline": (0.6, self.line), ".initrd": (0.2, self._initrd), ".ucode": (0.2, self._initrd),
            ".dtb": (0.2, self.tree), ".uname": (0.25, self._uname), ".sbat": (0.3, lambda: b"sbat,1\n"),
            ".hwids": (0.15, self._hwids), ".dtbauto": (0.15, self.tree), ".efifw": (0.05, self._firmware),
            ".linux": (0.03, self._kernel), ".osrel": (0.05, self._os_release), ".profile": (0.03, lambda: b"ID=a"),
        }  # fmt: skip
        found = [self._sized(name, make()) for name, (often, make) in contents.items() if self.maybe(often)]
        if self.maybe(0.05):
            found += [self._sized(".initrd", self._initrd()) for _ in range(self.random.randint(1, 3))]
        if self.maybe(0.02):
            found += [SectionSpec(".x", b"x")] * self.one(90, 97)
        # An image without any section cannot be loaded.
        return found or [SectionSpec(".text", b"x", characteristics=_CODE)]
