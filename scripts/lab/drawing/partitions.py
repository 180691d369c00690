"""Random partitions with systemd-boot on them: entries of every kind, the images that they name, and a machine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import PurePath
from random import Random
from typing import Any

from scripts.lab.drawing.entries import COUNTERS, STEMS, VERSIONS, Texts
from scripts.lab.drawing.machines import PARTITION
from scripts.lab.drawing.sections import good_kernel
from scripts.lab.drawing.values import Drawing, Json, b64
from scripts.lab.images import CERTIFICATE
from scripts.lab.loaders import Files, LoaderRecipe
from scripts.lab.recipes import MACHINES
from stubsim.formats import fdt, pe, smbios
from stubsim.formats.pe import SectionSpec
from stubsim.uefi.variables import GLOBAL, LOADER

XBOOTLDR_PARTITION = "5eed0e5b-1ab0-4000-8000-0000000000e6"
_CODE = SectionSpec(".text", b"\xcc" * 512, virtual_address=0x1000, characteristics=0x6000_0020)
# Beside the entries: what they may name, and what systemd-boot adds by itself.
_GIFTS = {"c.cred": 0.3, "s.sysext.raw": 0.3, "x.raw": 0.3, "c.confext.raw": 0.3, "addon.efi": 0.3}
_SELECTING = {
    "LoaderEntryOneShot": 0.12, "LoaderEntryDefault": 0.2, "LoaderEntryPreferred": 0.15, "LoaderEntryLastBooted": 0.2,
}  # fmt: skip
_TIMEOUTS = {"LoaderConfigTimeout": 0.1, "LoaderConfigTimeoutOneShot": 0.08}


def draw(random: Random, machine: str) -> LoaderRecipe:
    """Partitions and a machine that nothing but the random numbers decides."""
    return Partitions(random, machine).recipe()


class Partitions(Drawing):
    def __init__(self, random: Random, machine: str) -> None:
        super().__init__(random, machine)
        self.texts = Texts(random, machine)

    def recipe(self) -> LoaderRecipe:
        orders = self.maybe(0.4)
        tree: Callable[[], Files] = self._orderly if orders else self._tree
        esp = tree()
        xbootldr = tree() if self.maybe(0.25) else None
        names = [*esp, *(xbootldr or ())]
        ids = [PurePath(name).name.lower() for name in names if name.startswith(("EFI/Linux/", "loader/entries/"))]
        if self.maybe(0.5 if orders else 0.8):
            esp["loader/loader.conf"] = self.texts.loader_conf(ids)
        if self.maybe(0.1):
            esp["loader/random-seed"] = b"s" * self.one(32, 512, 10)
        return LoaderRecipe(esp, xbootldr, self._host(ids, has_xbootldr=xbootldr is not None))

    def _tree(self) -> Files:
        """Whatever a partition may have."""
        found: Files = {}
        for _ in range(self.random.randint(0, 4)):
            self._add(found, f"EFI/Linux/{self._name('.efi')}", self._image)
        images = [*found]
        found["vmlinuz"] = self._kernel()
        for name, often in {"initrd.img": 0.5, "ucode.img": 0.4}.items():
            if self.maybe(often):
                found[name] = name[:1].upper().encode() * self.one(1, 4, 7)
        for name, often in {"empty.img": 0.3, "empty.cred": 0.2}.items():
            if self.maybe(often):
                found[name] = b""
        found |= {name: b"E" * self.one(1, 5) for name, often in _GIFTS.items() if self.maybe(often)}
        if self.maybe(0.2):
            found["x.dtb"] = b"\xd0\x0d\xfe\xed\0\0\0\x40" + bytes(56)
        for _ in range(self.random.randint(0, 4)):
            self._add(found, f"loader/entries/{self._name('.conf')}", lambda: self.texts.entry(images))
        others = {
            "EFI/Microsoft/Boot/bootmgfw.efi": 0.15, f"shell{self.machine}.efi": 0.15,
            "System/Library/CoreServices/boot.efi": 0.1, f"EFI/BOOT/GRUB{self.machine.upper()}.EFI": 0.1,
        }  # fmt: skip
        found |= {name: self._kernel() for name, often in others.items() if self.maybe(often)}
        return found

    def _orderly(self) -> Files:
        """Entries that all can be started; only their order is in question."""
        found: Files = {"vmlinuz": self._kernel()}
        for _ in range(self.random.randint(2, 9)):
            self._add(found, f"loader/entries/{self._versioned('.conf')}", self.texts.versioned_entry)
        for _ in range(self.random.randint(0, 3)):
            self._add(found, f"EFI/Linux/{self._versioned('.efi')}", self._versioned_image)
        return found

    @staticmethod
    def _add(found: Files, name: str, content: Callable[[], bytes]) -> None:
        """FAT knows no case, and a folder of the host does."""
        if name.casefold() not in map(str.casefold, found):
            found[name] = content()

    def _name(self, suffix: str) -> str:
        counter = self.one(*COUNTERS) if self.maybe(0.75) else ""
        return self.one(*STEMS) + counter + (suffix if self.maybe(0.85) else suffix.upper())

    def _versioned(self, suffix: str) -> str:
        return self.one(*VERSIONS, *STEMS) + self.one("", "", "", "+3", "+2-1", "+0-3") + suffix

    def _kernel(self) -> bytes:
        return good_kernel(self.machine)

    def _image(self) -> bytes:
        """Mostly a UKI, of a program that nobody runs in place of a stub."""
        if self.maybe(0.05):
            return self.one(b"", b"MZ", b"x" * 500)
        sections: list[SectionSpec] = []
        usual: dict[str, tuple[float, Callable[[], bytes]]] = {
            ".linux": (0.97, self._kernel), ".osrel": (0.93, self.texts.os_release), ".cmdline": (0.7, self.line),
            ".uname": (0.3, lambda: b"6.1\n"),
        }  # fmt: skip
        of_profile: dict[str, tuple[float, Callable[[], bytes]]] = {
            ".profile": (0.95, self.texts.profile), ".osrel": (0.2, self.texts.os_release), ".cmdline": (0.5, self.line)
        }  # fmt: skip
        profiles = self.random.randint(1, 3) if self.maybe(0.4) else 0
        for kinds in (usual, *[of_profile] * profiles):
            for name, (often, content) in kinds.items():
                if self.maybe(often):
                    sections += [self._section(name, content()) for _ in range(1 if self.maybe(0.94) else 2)]
        if self.maybe(0.06):
            self.random.shuffle(sections)
        image = self._built(sections, signed=self.maybe(0.5))
        return image[: self.random.randrange(len(image))] if self.maybe(0.03) else image

    def _section(self, name: str, data: bytes) -> SectionSpec:
        size = self.one(0, 1, max(len(data) - 1, 0), len(data) + 1, len(data) + 100) if self.maybe(0.08) else None
        return SectionSpec(name, data, size)

    def _versioned_image(self) -> bytes:
        text = f"ID={self.one('a', 'b', 'ab', 'Z')}\nVERSION_ID={self.one(*VERSIONS)}\n"
        sections = [SectionSpec(".linux", self._kernel()), SectionSpec(".osrel", text.encode())]
        for _ in range(self.one(0, 0, 0, 2, 3)):
            profile = b"ID=%d\n" % self.random.randrange(12)
            sections += [SectionSpec(".profile", profile), SectionSpec(".cmdline", b"x")]
        return self._built(sections, signed=True)

    def _built(self, sections: list[SectionSpec], *, signed: bool) -> bytes:
        return pe.build(
            [_CODE, *sections],
            machine=MACHINES[self.machine],
            entry_point=0x1000,
            certificates=CERTIFICATE if signed else b"",
        )

    def _host(self, ids: list[str], *, has_xbootldr: bool) -> Json:
        host: Json = {
            "schema": "stubsim/host/1", "architecture": self.machine, "memory": "384M", "fw_cfg": None,
            "esp_partition_uuid": PARTITION, "variables": self._variables(ids), "rng": self.maybe(0.1),
            "smbios_table": {"base64": b64(self._smbios())},
        }  # fmt: skip
        if has_xbootldr:
            host["xbootldr_partition_uuid"] = XBOOTLDR_PARTITION
        others: dict[str, tuple[float, Any]] = {
            "secure_boot": (0.12, True), "devicetree": (0.1, b64(fdt.build(["lab,x"]))), "tpm": (0.08, None),
            "keyboard_layout": (0.1, "de-DE"), "previous_initrd": (0.05, b64(b"\xa5" * self.one(1, 4, 17))),
        }  # fmt: skip
        return host | {key: value for key, (often, value) in others.items() if self.maybe(often)}

    def _variables(self, ids: list[str]) -> list[Json]:
        patterns = [*ids, "*", "foo*", "@saved", "@x", "no", "[a-f]*", "A.CONF"]
        rows = [self._variable(name, self.one(*patterns)) for name, often in _SELECTING.items() if self.maybe(often)]
        timeouts = ("0", "5", "menu-hidden", "menu-force", "x")
        rows += [self._variable(name, self.one(*timeouts)) for name, often in _TIMEOUTS.items() if self.maybe(often)]
        setup = bytes([self.one(1, 1, 1, 0)]) + bytes(7)
        row = {"name": "OsIndicationsSupported", "guid": str(GLOBAL), "attributes": 6, "data": b64(setup)}
        return [*rows, row]

    def _variable(self, name: str, text: str) -> Json:
        data = text.encode("utf-16-le") + self.one(b"\0\0", b"\0\0", b"\0\0", b"\0\0", b"")
        return {"name": name, "guid": str(LOADER), "attributes": 7, "data": b64(data)}

    def _smbios(self) -> bytes:
        texts: list[bytes] = []
        if self.maybe(0.2):
            extra = b"io.systemd.boot.kernel-cmdline-extra="
            texts.append(self.one(extra + b"more x", extra, extra + b" b ", b"io.systemd.stub.kernel-cmdline-extra=s"))
        if self.maybe(0.2):
            name = self.one("sm.conf", "sm", "x+3.conf", "auto-x.conf", "SM.CONF") + self.one("=", "")
            entry = f"title S\nlinux {self.one('/vmlinuz', '/missing')}\noptions q\n"
            texts.append(f"io.systemd.boot.entries-extra:{name}{entry}".encode())
        if self.maybe(0.1):
            texts.append(b"io.systemd.boot.timeout=" + self.one(b"0", b"7", b"menu-force", b"x"))
        return smbios.from_fields(smbios.Fields(manufacturer=b"Lab"), texts)
