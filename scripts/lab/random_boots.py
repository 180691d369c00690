"""Random boots for `lab-fuzz`: a UKI, a partition, a machine and a start, drawn from values that stubs treat in
different ways. A boot is plain data (a `Recipe`), so that a smaller one can be made of it.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

from scripts.lab import images
from stubsim import chid
from stubsim.formats import edid, efifw, fdt, pe, smbios
from stubsim.formats.pe import SectionSpec
from stubsim.machine.variables import LOADER

Json = dict[str, Any]
T = TypeVar("T")

PARTITION = "5eed0e5b-1ab0-4000-8000-0000000000e5"
MACHINES = {"x64": 0x8664, "aa64": 0xAA64}
_CODE = 0x6000_0020


class Recipe(NamedTuple):
    """``files`` are those of the partition by path; an addon's value is its sections. The host is a host file's."""

    sections: tuple[SectionSpec, ...]
    files: dict[str, bytes | tuple[SectionSpec, ...]]
    host: Json
    path: str | None
    load_options: bytes | None
    shell: str | None
    signed: bool


def draw(random: Random, machine: str) -> Recipe:
    """A boot that nothing but the random numbers decides."""
    return _Drawing(random, machine).recipe()


def write(recipe: Recipe, stub: bytes, machine: str, folder: Path) -> list[str]:
    """The boot as a case folder (without expect.json); the options of `stubsim boot` are returned as well."""
    import json

    (folder / "esp").mkdir(parents=True, exist_ok=True)
    (folder / "uki.efi").write_bytes(images.uki(stub, recipe.sections, signed=recipe.signed))
    for name, content in recipe.files.items():
        path = folder / "esp" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("/"):
            path.mkdir(exist_ok=True)
        elif isinstance(content, bytes):
            path.write_bytes(content)
        else:
            path.write_bytes(_addon(content, machine, recipe.signed))
    args = ["--from-memory"] if recipe.path is None else ["--esp", "esp", "--path", recipe.path]
    if recipe.load_options is not None:
        (folder / "load_options.bin").write_bytes(recipe.load_options)
        args += ["--load-options", "load_options.bin"]
    if recipe.shell is not None:
        args += ["--shell", recipe.shell]
    started_by = "shell" if recipe.shell else "memory" if recipe.path is None else "firmware"
    boot = {"started_by": started_by, "path": recipe.path, "args": args}
    (folder / "boot.json").write_text(json.dumps(boot, indent=1) + "\n")
    (folder / "host.json").write_text(json.dumps(recipe.host, indent=1) + "\n")
    return args


def _addon(sections: Sequence[SectionSpec], machine: str, signed: bool) -> bytes:
    certificates = images.CERTIFICATE if signed else b""
    return pe.build([*sections], machine=MACHINES[machine], certificates=certificates)


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


class _Drawing:
    def __init__(self, random: Random, machine: str) -> None:
        self.random = random
        self.machine = machine
        self.fields, self.panel = self._identity()

    def maybe(self, probability: float) -> bool:
        return self.random.random() < probability

    def one(self, *values: T) -> T:
        return self.random.choice(values)

    def recipe(self) -> Recipe:
        path = None if self.maybe(0.04) else self._path()
        host = self._host()
        secure = bool(host.get("secure_boot"))
        shell = self._shell_line() if self.maybe(0.08) else None
        options = None if shell is not None or self.maybe(0.35) else self._load_options()
        # Without a certificate table nothing starts at all under Secure Boot.
        signed = self.maybe(0.95) if secure else self.maybe(0.05)
        return Recipe(
            tuple(self._sections()), {} if path is None else self._files(path), host, path, options, shell, signed
        )

    # The UKI

    def _sections(self) -> list[SectionSpec]:
        found = self._group(base=True)
        if self.maybe(0.25):
            for number in range(self.random.randint(1, 3)):
                found.append(self._sized(".profile", self._profile(number)))
                found += self._group(base=False)
        if self.maybe(0.05):
            self.random.shuffle(found)
        return found

    def _group(self, *, base: bool) -> list[SectionSpec]:
        """Sections of the base, or of one profile: there are fewer there."""
        few = 1.0 if base else 0.3
        found: list[SectionSpec] = []
        if base and self.maybe(0.98):
            found.append(SectionSpec(".linux", self._kernel(), characteristics=0x4000_0040))
        texts = {
            ".osrel": (0.6, self._os_release), ".cmdline": (0.7, self._line), ".initrd": (0.6, self._initrd),
            ".ucode": (0.2, self._initrd), ".uname": (0.4, self._uname), ".pcrsig": (0.3, lambda: b"{}"),
            ".pcrpkey": (0.3, lambda: b"-----BEGIN"), ".dtb": (0.15, self._tree), ".splash": (0.05, lambda: b"BM"),
            ".sbat": (0.05, lambda: b"sbat,1\n"), ".other": (0.05, lambda: b"x"), ".cmdlinex": (0.02, lambda: b"x"),
        }  # fmt: skip
        for name, (probability, content) in texts.items():
            for _ in range(2 if self.maybe(0.04) else 1):
                if self.maybe(probability * few):
                    found.append(self._sized(name[:8], content()))
        choice = self.maybe(0.5 * few)
        if choice or self.maybe(0.1 * few):
            found.append(self._sized(".hwids", self._hwids()))
        if choice or self.maybe(0.1 * few):
            found += [self._sized(".dtbauto", self._tree()) for _ in range(self.random.randint(0, 3))]
            found += [self._sized(".efifw", self._firmware()) for _ in range(self.random.randint(0, 3))]
        return found

    def _sized(self, name: str, data: bytes) -> SectionSpec:
        size = None
        if self.maybe(0.06):
            size = self.one(0, max(len(data) - 1, 0), len(data) + 3, len(data) + 700, len(data) // 2)
        if len(name) < 7 and self.maybe(0.02):
            name += "\0x"
        return SectionSpec(name, data, virtual_size=size)

    def _kernel(self) -> bytes:
        """Mostly a good one; it is never run. Firmware that loads kernels itself is not what is tested here."""
        if self.maybe(0.92):
            return self._image([self._text()])
        kind = self.random.randint(0, 8)
        if kind == 0:
            return self._image([self._text()], machine=self.one(0x8664, 0xAA64, 0x14C, 0x1C0))
        if kind == 1:
            return self.random.randbytes(self.random.randint(0, 600))
        if kind == 2:
            return self._image([self._text()], major_image_version=0)
        if kind == 3:
            return self._image([self._text()], subsystem=self.one(1, 10, 11, 12))
        if kind == 4:
            return self._image([self._text()])[: self.random.randint(40, 1000)]
        if kind == 5:
            return self._image([self._text(), SectionSpec(".data", b"d" * 512, self.one(0, 1, 100, 511))])
        if kind == 6:
            return self._image([self._text(), SectionSpec(".reloc", bytes(8))], base_relocations=(0x2000, 8))
        if kind == 7:
            far = SectionSpec(".data", b"d" * 512, virtual_address=self.one(0x1000, 0x5000, 0x100000))
            return self._image([self._text(), far], size_of_image=self.one(None, 0x3000))
        return self._image([self._text()], section_alignment=self.one(512, 4096, 0x10000, 0x18000))

    def _text(self) -> SectionSpec:
        return SectionSpec(".text", b"\xcc" * 512, virtual_address=0x1000, characteristics=_CODE)

    def _image(self, sections: Sequence[SectionSpec], **options: Any) -> bytes:
        return pe.build(sections, **{"machine": MACHINES[self.machine], "entry_point": 0x1000} | options)

    def _profile(self, number: int) -> bytes:
        return self.one(b"ID=p%d\nTITLE=Profile" % number, b"", b"ID='x y'", b"TITLE=only")

    def _os_release(self) -> bytes:
        return self.one(
            b"ID=lab\n", b"ID=lab\nIMAGE_ID=img\n", b'IMAGE_ID="quoted id"\nID=lab', b"ID=\n", b"", b"#ID=no\n", b"ID='x'",
            b"ID=one\nID=two\n", b"NAME=none\n", b" ID=lead\n", b"ID =x\n", b"IMAGE_ID=\nID=lab\n", b'ID="a\\"b"\n',
        )  # fmt: skip

    def _line(self) -> bytes:
        words = (
            b"quiet", b"root=LABEL=x", b"console=tty0", b"fooconsole=x", b"console=", b'"console=q"', "grüß".encode(),
            "日本".encode(), b"\xe4\xf6 y", b"\xff", b"\xc0\xaf", "\U0001f600".encode(), b"\xed\xa0\x80", b"a\tb", b"a\nb",
            b"\x7f", b"\x01", b"@1", b"a  b", b"-", b"\xc3", b"\xe2\x82", b"\xf8\x88\x80\x80\x80",
        )  # fmt: skip
        line = b" ".join(self.one(*words) for _ in range(self.random.choice((0, 1, 1, 2, 3))))
        return self._around(line, b" ", b"  ", b"\n", b"\0", b"\t", b"\0junk")

    def _around(self, text: bytes, *more: bytes) -> bytes:
        before = self.one(*more) if self.maybe(0.15) else b""
        behind = self.one(*more) if self.maybe(0.3) else b""
        return before + text + behind

    def _initrd(self) -> bytes:
        return b"\x5a" * self.random.choice((1, 3, 4, 13, 16, 512, 700))

    def _uname(self) -> bytes:
        return self.one(b"6.1.0-lab", b"6.1.0", b"6.1.0-lab-x", b"5.0", b"6.1.0\0", b"6.1.0\0x", b"6.1.0-l", b" 6.1.0")

    def _tree(self) -> bytes:
        name = self.one("lab,a", "lab,b", "lab,c", "lab,A", "")
        tree = fdt.build([name] if self.maybe(0.7) else [name, self.one("lab,a", "x")])
        return self._damaged(tree, 0.1)

    def _damaged(self, data: bytes, probability: float) -> bytes:
        if not self.maybe(probability):
            return data
        changed = bytearray(data)
        for _ in range(self.random.randint(1, 3)):
            changed[self.random.randrange(min(len(changed), 64))] = self.one(0, 1, 0x28, 0x7F, 0xFF)
        return bytes(changed) if self.maybe(0.7) else data[: self.random.randrange(len(data))]

    def _firmware(self) -> bytes:
        name = self.one("fw-a", "fw-b", "fw-c", "FW-a", "fw-a ", "lab,a")
        blob = efifw.build(name, self.one(b"firmware", b"", b"IGVM"), header_size=self.one(16, 16, 20, 32))
        if self.maybe(0.2):
            header, size, payload = self.one((12, 5, 4), (16, 4, 8), (16, 6, 8), (16, 5, 9), (16, 5, 0xFFFFFFF0))
            return struct.pack("<IIII", self.one(0xFEEDDEAD, 0xFEEDDEAE), header, size, payload) + b"fw-a\0firmware"
        return self._damaged(blob, 0.05)

    def _hwids(self) -> bytes:
        """A table whose entries are mostly right, and then mostly for this machine."""
        known = chid.chids(self.fields, self.panel)
        guids = [guid for kind in chid.PRIORITY if (guid := known.get(kind)) is not None]
        entries: list[tuple[int, bytes, str, str]] = []
        for _ in range(self.random.randint(0, 5)):
            own = self.maybe(0.6) and guids
            guid = self.one(*guids) if own else self.one(UUID(int=0), UUID(int=self.random.getrandbits(128)))
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

    # The machine

    def _identity(self) -> tuple[smbios.Fields, str | None]:
        words = (
            b"Example", b"Lab", b" 00 x ", b"0", b"000", b"\xff\xfe", "Ü".encode(), b"a\tb", b"  lead", b"trail  ", b"A0",
            b"X" * 70, None, None,
        )  # fmt: skip
        names = ("manufacturer", "product_name", "product_sku", "family", "baseboard_manufacturer", "baseboard_product")
        values: dict[str, Any] = {name: self.one(*words) for name in names}
        panel = self.one("EXA12ef", "AUO1234", None, None, None)
        return smbios.Fields(**values, bios_vendor=b"EDK II", bios_version=b"1.0", bios_major=2, bios_minor=11), panel

    def _host(self) -> Json:
        host: Json = {
            "schema": "stubsim/host/1",
            "architecture": self.machine,
            "memory": "384M",
            "smbios_table": {"base64": _b64(self._smbios())},
            "tpm": None if self.maybe(0.15) else {"banks": self._banks()},
            "esp_partition_uuid": PARTITION if self.maybe(0.9) else None,
            "rng": self.maybe(0.25),
            "console": self._console(),
            "variables": self._variables(),
            "fw_cfg": None,
        }
        if self.panel is not None:
            host["edid"] = _b64(self._damaged(edid.build(self.panel), 0.1))
        if self.maybe(0.15):
            host["devicetree"] = _b64(self._tree())
            if len(base64.b64decode(host["devicetree"])) < 8:
                del host["devicetree"]
        if self.maybe(0.12):
            host["previous_initrd"] = _b64(b"\xa5" * self.one(1, 4, 17, 512))
        if self.maybe(0.1):
            host["secure_boot"] = True
        if self.machine == "x64" and self.maybe(0.1):
            host["confidential"] = self.one("tdx", "sev-snp")
        if self.maybe(0.1):
            host["hypervisor"] = False
            host.pop("confidential", None)
        if self.maybe(0.2):
            host["keyboard_layout"] = self.one("en-US", "de-DE", "x")
        if self.maybe(0.1):
            host["firmware"] = {
                "vendor": self.one("Example Inc.", "", "Ü"),
                "revision": self.one(0, 0x10000, 0x20003, 0xFFFFFFFF, 0x1000A),
                "uefi_revision": self.one(0x20046, 0x2001F, 0x20064, 0x2000A),
            }
        return host

    def _banks(self) -> list[str]:
        return self.one(["sha256"], ["sha256"], ["sha1", "sha256"], ["sha384"], ["sha1"], ["sha256", "sha384", "sha512"])

    def _console(self) -> Json:
        ports = self.one([], [], ["0x3f8"], ["0x3f8"], ["0x2f8"], ["0x3e8"], ["0x2e8"], ["0x3f8", "0x2f8"])
        if self.machine == "aa64":
            ports = []
        return {"graphics": self.maybe(0.6), "virtio": self.one(0, 0, 1, 2), "serial": ports}

    def _smbios(self) -> bytes:
        """The table of the machine's fields, sometimes one that firmware should not make."""
        texts = self._oem_strings()
        table = smbios.from_fields(self.fields, texts)
        if self.maybe(0.85):
            return table
        parts = [part.raw for part in smbios.parse(table)]
        kind = self.random.randint(0, 4)
        if kind == 0:
            # The first type 1 counts, and this one may be too short to count.
            tail = bytes(self.one(0, 8, 22, 23, 24))
            parts.insert(0, smbios.build_structure(1, tail, [b"Other"]))
        elif kind == 1:
            self.random.shuffle(parts)
        elif kind == 2:
            parts.insert(1, smbios.build_structure(11, b"\1", [b"first", *self._oem_strings()]))
        elif kind == 3:
            parts = parts[:-1]
        else:
            parts.insert(1, smbios.build_structure(self.one(2, 126, 200), bytes(self.one(0, 3, 4)), [b"x"]))
        return b"".join(parts)

    def _oem_strings(self) -> list[bytes]:
        extra, level = b"io.systemd.stub.kernel-cmdline-extra=", b"io.systemd.boot.loglevel="
        found: list[bytes] = []
        if self.maybe(0.3):
            found.append(extra + (self._line().partition(b"\0")[0]))
        if self.maybe(0.08):
            found.append(level + self.one(b"debug", b"err", b"info", b"crit", b"bogus", b"warning", b"", b"7"))
        if self.maybe(0.2):
            found.append(self.one(b"text", b"IO.systemd.stub.kernel-cmdline-extra=no", extra, extra + b"two"))
        if self.maybe(0.3):
            self.random.shuffle(found)
        return found

    def _variables(self) -> list[Json]:
        text = "Preset\0".encode("utf-16-le")
        values: dict[str, tuple[int, bytes]] = {
            "LoaderDevicePartUUID": (6, text), "LoaderImageIdentifier": (6, text), "LoaderFirmwareInfo": (6, text),
            "LoaderFirmwareType": (6, text), "LoaderInfo": (6, text), "LoaderFeatures": (6, bytes(8)),
            "LoaderPcrSMBIOS": (6, "1\0".encode("utf-16-le")), "LoaderKeyboardLayout": (6, text),
            "LoaderTpm2ActivePcrBanks": (6, text), "StubInfo": (6, text), "StubFeatures": (6, bytes(8)),
            "StubProfile": (7, text), "StubPcrKernelImage": (6, text), "StubPcrKernelParameters": (6, text),
            "StubPcrInitRDSysExts": (7, text), "StubPcrInitRDConfExts": (6, text), "StubImageIdentifier": (7, text),
            "LoaderSystemToken": (self.one(3, 7), bytes(self.one(1, 31, 32, 64))),
            "LoaderBootSecret": (self.one(3, 3, 7), b"\x42" * self.one(31, 32, 32, 33)),
        }  # fmt: skip
        often = 0.03 if self.maybe(0.8) else 0.3
        return [
            {"name": name, "guid": str(LOADER), "attributes": attributes, "data": _b64(data)}
            for name, (attributes, data) in values.items()
            if self.maybe(often)
        ]

    # The start

    def _path(self) -> str:
        usual = f"\\EFI\\BOOT\\BOOT{self.machine.upper()}.EFI"
        if self.maybe(0.6):
            return usual
        return self.one(
            "\\EFI\\Linux\\lab+3-1.efi", "\\EFI\\Linux\\lab+3.efi", "\\EFI\\Linux\\lab.efi", "\\uki.efi", "\\a\\b\\uki",
            "\\EFI\\Linux\\lab+.efi", "\\EFI\\Linux\\lab+3-.efi", "\\EFI\\Linux\\lab+x.efi", "\\EFI\\Linux\\a+3+2.efi",
            "\\EFI\\Linux\\x y.efi", "\\EFI\\Linux\\lab+3-1.EFI",
        )  # fmt: skip

    def _load_options(self) -> bytes:
        words = (
            "quiet", "@0", "@1", "@2", "@3", "@4294967295", "@4294967296", "@01", "@1x", "@", "@ 1", "root=x", "console=ttyS1",
            "a\tb", "\tfirst", "x\x7fy", "ü", "\ud800", "a  b", " lead", "x" * 300, "\x1f", "@0x1", "日本", "@99999999999999999999",
        )  # fmt: skip
        text = " ".join(self.one(*words) for _ in range(self.random.choice((0, 1, 1, 2, 3))))
        raw = text.encode("utf-16-le", "surrogatepass")
        if self.maybe(0.7):
            raw += b"\0\0"
        if self.maybe(0.1):
            raw += self.one(b"x", b"j\0u\0n\0k\0", b"\t\0", b"\0", b"\x01\0\0\0")
        return raw

    def _shell_line(self) -> str:
        words = ("@1", "@0", "foo", '"a  b"', "x=1", "@1x", "a^\"b", "console=x", "ü", "  ", "@2")
        return " ".join(["uki.efi", *(self.one(*words) for _ in range(self.random.randint(0, 4)))])

    # The partition

    def _files(self, path: str) -> dict[str, bytes | tuple[SectionSpec, ...]]:
        files: dict[str, bytes | tuple[SectionSpec, ...]] = {}
        own = path.strip("\\").replace("\\", "/")
        extra = self.one(own, self._without_counter(own)) + ".extra.d/"
        folders = {
            extra: (0.5, (".cred", ".raw", ".confext.raw", ".addon.efi")),
            "loader/addons/": (0.25, (".addon.efi",)),
            "loader/credentials/": (0.25, (".cred",)),
            "loader/extensions/": (0.25, (".raw", ".confext.raw")),
        }
        for folder, (probability, suffixes) in folders.items():
            if not self.maybe(probability):
                continue
            if self.maybe(0.1):
                files[folder] = b""
            for _ in range(self.random.randint(0, 4)):
                suffix = self.one(*suffixes)
                name = folder + self._stem() + (suffix.upper() if self.maybe(0.1) else suffix)
                # FAT knows no case, and a folder of the host does.
                if any(name.casefold() == other.casefold().rstrip("/") for other in files):
                    continue
                if self.maybe(0.03):
                    files[name + "/"] = b""
                elif suffix == ".addon.efi":
                    files[name] = tuple(self._addon_sections())
                else:
                    files[name] = b"\x43" * self.one(0, 1, 3, 4, 13, 200)
        if self.maybe(0.3):
            files["loader/random-seed"] = b"\x44" * self.one(0, 16, 31, 32, 64, 512, 33000)
        if self.maybe(0.15):
            files["loader/boot-secret-mixin"] = b"\x45" * self.one(0, 16, 32, 40)
        if self.maybe(0.2):
            files["loader/"] = b""
        return files

    @staticmethod
    def _without_counter(path: str) -> str:
        stem, plus, _ = path.rpartition("+")
        return f"{stem}.efi" if plus else path

    def _stem(self) -> str:
        return self.one(
            "a", "b", "a-", "A0", "10", "9", "_x", "Z", "a1", ".hidden", "ä", "x y", "foo.bar", "n" * 230, "+3", "~t", "a.confext",
        )  # fmt: skip

    def _addon_sections(self) -> list[SectionSpec]:
        contents = {
            ".cmdline": (0.6, self._line), ".initrd": (0.2, self._initrd), ".ucode": (0.2, self._initrd),
            ".dtb": (0.2, self._tree), ".uname": (0.25, self._uname), ".sbat": (0.3, lambda: b"sbat,1\n"),
            ".hwids": (0.15, self._hwids), ".dtbauto": (0.15, self._tree), ".efifw": (0.05, self._firmware),
            ".linux": (0.03, self._kernel), ".osrel": (0.05, self._os_release), ".profile": (0.03, lambda: b"ID=a"),
        }  # fmt: skip
        found = [self._sized(name, make()) for name, (often, make) in contents.items() if self.maybe(often)]
        # An image without any section cannot be loaded.
        return found or [SectionSpec(".text", b"x", characteristics=_CODE)]
