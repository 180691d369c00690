"""The cases of the standard set, scripts/lab/cases/*.toml: a boot as data, one file each. docs/lab.md says how one is
written. The same case is booted by efirun, in QEMU and by the simulator, on both architectures.
"""

from __future__ import annotations

import base64
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

from scripts.lab import guest, virtual
from scripts.lab.efirun import Case
from scripts.lab.recipes import MACHINES, Recipe
from stubsim import chid
from stubsim.errors import StubsimError
from stubsim.formats import edid, efifw, fdt, hwids
from stubsim.formats.pe import SectionSpec
from stubsim.hosts import fixture

Json = dict[str, Any]

FOLDER = Path(__file__).resolve().parent / "cases"
WAYS = ("efirun", "qemu")

# What a case has unless it says otherwise.
_MACHINE = {
    "manufacturer": "LAB", "product_name": "Lab Machine", "product_sku": "LAB-SKU", "family": "Lab Family",
    "baseboard_manufacturer": "LAB Boards", "baseboard_product": "LAB-BOARD", "bios_vendor": "EDK II",
    "bios_version": "1.0",
}  # fmt: skip
_HOST = {
    "schema": "stubsim/host/1", "memory": "384M", "fw_cfg": None, "rng": False,
    "esp_partition_uuid": "5eed0e5b-1ab0-4000-8000-0000000000e5", "console": {"graphics": True},
}  # fmt: skip
_SECTIONS: list[Json] = [
    {"name": ".linux", "kernel": {}},
    {"name": ".osrel", "text": 'ID=lab\nVERSION_ID="1"\n'},
    {"name": ".cmdline", "text": "root=LABEL=lab quiet"},
    {"name": ".uname", "text": "6.1.0-lab"},
]
# Fields of a PE32+ optional header: offset and size.
_FIELDS = {
    "entry_point": (16, 4), "image_base": (24, 8), "section_alignment": (32, 4), "major_image_version": (44, 2),
    "dll_characteristics": (70, 2),
}  # fmt: skip
_KEYS = {
    "shows", "since", "architectures", "by", "without", "section", "file", "host", "path", "load_options",
    "load_options_hex", "shell", "from_memory", "signed",
}  # fmt: skip


class Standard(NamedTuple):
    """A case: what it shows, since which release that is so, and where it can be booted."""

    name: str
    shows: str
    since: str
    architectures: tuple[str, ...]
    by: tuple[str, ...]
    content: Json

    def recipe(self, machine: str) -> Recipe:
        return Reader(self, machine).recipe()


def read(names: Iterable[str] = ()) -> tuple[Standard, ...]:
    """The cases of these names, or all of them, in the order of their names; StubsimError for what is none."""
    paths = [FOLDER / f"{name}.toml" for name in names] or sorted(FOLDER.glob("*.toml"))
    return tuple(_standard(path) for path in paths)


def _standard(path: Path) -> Standard:
    try:
        content = tomllib.loads(path.read_text())
    except FileNotFoundError as error:
        raise StubsimError("no such case", path=str(path)) from error
    except ValueError as error:
        raise StubsimError(f"not TOML: {error}", path=str(path)) from error
    unknown = content.keys() - _KEYS
    if unknown or "shows" not in content:
        raise StubsimError(
            f"unknown keys: {sorted(unknown)}", path=str(path), expected="shows, and " + ", ".join(_KEYS)
        )
    architectures = tuple(content.get("architectures", MACHINES))
    by = tuple(content.get("by", WAYS))
    return Standard(path.stem, content["shows"], content.get("since", ""), architectures, by, content)


class Reader:
    """Makes the recipe of one case for one architecture, or the content of a row of it."""

    def __init__(self, case: Standard, machine: str) -> None:
        self.case = case
        self.content = case.content
        self.machine = machine
        own = self._own_host()
        smbios = {} if "smbios_table" in own else {"smbios": _MACHINE}
        self.host = _HOST | {"architecture": machine} | smbios | own

    def recipe(self) -> Recipe:
        content = self.content
        options = content.get("load_options_hex")
        raw = None if options is None else bytes.fromhex(options)
        if "load_options" in content:
            raw = content["load_options"].encode("utf-16-le") + b"\0\0"
        return Recipe(
            tuple(self.section(row) for row in self._rows()),
            dict(self._file(row) for row in content.get("file", ())),
            self.host,
            None if content.get("from_memory") else content.get("path") or self._path(raw),
            raw,
            content.get("shell"),
            bool(content.get("signed")),
        )

    def _own_host(self) -> Json:
        """With a panel's EDID and a devicetree written as what they say, and bytes as text."""
        host = dict(self.content.get("host", {}))
        if "smbios" in host:
            host["smbios"] = _MACHINE | host["smbios"]
        if "panel" in host:
            host["edid"] = _b64(edid.build(host.pop("panel")))
        if "compatible" in host:
            host["devicetree"] = _b64(fdt.build(host.pop("compatible")))
        for key in ("edid", "devicetree", "previous_initrd"):
            if f"{key}_text" in host:
                host[key] = _b64(host.pop(f"{key}_text").encode())
        for key in ("tpm", "esp_partition_uuid"):
            if host.get(key) is False:
                # TOML has no null.
                host[key] = None
        for row in host.get("variables", ()):
            row.setdefault("guid", "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f")
            if "text" in row:
                row["data"] = _b64(row.pop("text").encode("utf-16-le") + b"\0\0")
        if self.machine == "aa64" and "console" in host:
            host["console"] = {key: value for key, value in host["console"].items() if key != "serial"}
        return host

    def _path(self, options: bytes | None) -> str:
        """The usual one, unless the lab's launcher has to lie there."""
        start = Case(Path(), None, self.host, virtual.usual_path(self.machine), options, self.content.get("shell"))
        return "\\EFI\\Linux\\lab.efi" if virtual.launched(start) else virtual.usual_path(self.machine)

    def _rows(self) -> list[Json]:
        own = self.content.get("section", [])
        replaced = {row["name"] for row in own} | set(self.content.get("without", ()))
        before_profiles = [row for row in _SECTIONS if row["name"] not in replaced]
        return [*before_profiles, *own]

    def section(self, row: Json) -> SectionSpec:
        return SectionSpec(row["name"], self.data(row), row.get("virtual_size"), row.get("virtual_address"))

    def data(self, row: Json) -> bytes:
        if "kernel" in row:
            return self._kernel(row["kernel"])
        if "hwids" in row:
            return self._hwids(row["hwids"])
        if "compatible" in row:
            return fdt.build(row["compatible"])
        if "efifw" in row:
            return efifw.build(row["efifw"], row.get("payload", "payload").encode())
        if "size" in row:
            return b"\x5a" * int(row["size"])
        return bytes.fromhex(row["hex"]) if "hex" in row else row["text"].encode()

    def _kernel(self, changes: Json) -> bytes:
        """The probe with other values in its headers, by their places in a PE32+ optional header."""
        data = bytearray(guest.program("probe", self.machine))
        optional = int.from_bytes(data[0x3C:0x40], "little") + 24
        for key, value in changes.items():
            if key == "relocations":
                data[optional + 112 + 40 : optional + 112 + 48] = b"".join(v.to_bytes(4, "little") for v in value)
            elif key == "last_virtual_size":
                count = int.from_bytes(data[optional - 18 : optional - 16], "little")
                row = optional + int.from_bytes(data[optional - 4 : optional - 2], "little") + 40 * (count - 1)
                data[row + 8 : row + 12] = int(value).to_bytes(4, "little")
            elif key == "cut":
                del data[value:]
            else:
                at, size = _FIELDS[key]
                data[optional + at : optional + at + size] = int(value).to_bytes(size, "little")
        return bytes(data)

    def _hwids(self, rows: list[Json]) -> bytes:
        """A table by `hwids.build`, into which an entry's own descriptor or offsets are then written."""
        entries, changes = [], []
        for index, row in enumerate(rows):
            kind = hwids.DEVICETREE if "compatible" in row else hwids.UEFI_FW
            entries.append((kind, self._guid(row), row.get("name", "Device"), row.get("compatible") or row["fwid"]))
            for key, at in (("descriptor", 0), ("name_offset", 20), ("string_offset", 24)):
                if key in row:
                    changes.append((28 * index + at, row[key]))
        data = bytearray(hwids.build(entries))
        for at, value in changes:
            data[at : at + 4] = int(value).to_bytes(4, "little")
        return bytes(data)

    def _guid(self, row: Json) -> UUID:
        if "guid" in row:
            return UUID(row["guid"])
        read = fixture.from_json(
            {key: self.host[key] for key in ("smbios", "smbios_table", "edid") if self.host.get(key)}
        )
        panel = None if read.edid is None else edid.panel_id(read.edid)
        found = chid.chids(read.fields, panel)[row["chid"]]
        if found is None:
            raise StubsimError(f"this machine has no CHID of type {row['chid']}", path=self.case.name)
        return found

    def _file(self, row: Json) -> tuple[str, bytes | tuple[SectionSpec, ...]]:
        if "section" in row:
            repeated = (inner for inner in row["section"] for _ in range(inner.get("repeat", 1)))
            return row["path"], tuple(self.section(inner) for inner in repeated)
        return row["path"], b"" if row["path"].endswith("/") else self.data(row)


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()
