"""Raw SMBIOS: a table, what `dmidecode --dump-bin` writes, and a folder like /sys/firmware/dmi/tables."""

from __future__ import annotations

import os
import struct

from stubsim.errors import StubsimError, reason
from stubsim.formats import smbios
from stubsim.hosts.described import of_table
from stubsim.hosts.host import Host, Reading

# Anchor -> where the table's address is in the entry point, and how it is written (DSP0134 5.2).
_ADDRESS = {b"_SM3_": (16, "<Q"), b"_SM_": (24, "<I")}

TABLE, ENTRY_POINT = "DMI", "smbios_entry_point"


def is_dump(data: bytes) -> bool:
    """Whether the bytes start as a file of `dmidecode --dump-bin` does: with an entry point."""
    return data.startswith(tuple(_ADDRESS))


def is_table(data: bytes) -> bool:
    """Whether binary data starts with the header of a structure: of a type that DSP0134 has or leaves to vendors."""
    if b"\0" not in data or len(data) < 2:
        return False
    return (data[0] < 64 or data[0] == smbios.INACTIVE or data[0] > smbios.END_OF_TABLE) and data[1] >= 4


def read_dump(data: bytes) -> Reading:
    """An entry point at offset 0 and the table at the offset it names, as `dmidecode --dump-bin` writes them."""
    major, minor, length = smbios.parse_entry_point(data)
    offset, layout = next(place for anchor, place in _ADDRESS.items() if data.startswith(anchor))
    (address,) = struct.unpack_from(layout, data, offset)
    if address >= len(data):
        raise StubsimError(
            f"the SMBIOS table is not in this file: the entry point has it at {address:#x}, the file ends at "
            f"{len(data):#x}",
            offset=offset,
            expected="a file of dmidecode --dump-bin",
            hint=f"beside an {ENTRY_POINT} lies the table, {TABLE}: give that file, or the folder of both",
        )
    # A version 3 entry point has the largest size that the table may have, an older one the size.
    table = data[address : address + length]
    host = _host(table, f"dmidecode --dump-bin, SMBIOS {major}.{minor}", address, size=length)
    if data.startswith(b"_SM_") and len(table) < length and host.damage is None:
        host = host._replace(damage=f"offset {len(data):#x}: only {len(table)} bytes of {length} are there")
    return Reading(host, "dmidecode-bin", host.source or "", host.notes)


def read_table(data: bytes, description: str = "raw SMBIOS table") -> Reading:
    """A table and nothing else, as in /sys/firmware/dmi/tables/DMI or QEMU's etc/smbios/smbios-tables."""
    host = _host(data, description)
    return Reading(host, "smbios-table", description, host.notes)


def read_folder(path: str, source: str | None = None) -> Reading:
    """A folder that holds the files of /sys/firmware/dmi/tables; the entry point is read only for its version."""
    table = _read(os.path.join(path, TABLE))
    entry_path = os.path.join(path, ENTRY_POINT)
    description = "folder with a raw SMBIOS table"
    if os.path.exists(entry_path):
        try:
            major, minor, _ = smbios.parse_entry_point(_read(entry_path))
        except StubsimError as error:
            raise error.within(path=entry_path) from error
        description += f", SMBIOS {major}.{minor}"
    try:
        host = _host(table, source or description)
    except StubsimError as error:
        raise error.within(path=os.path.join(path, TABLE)) from error
    return Reading(host, "smbios-folder", description, host.notes)


def _host(table: bytes, source: str, offset: int = 0, size: int = 0) -> Host:
    structures, damage = smbios.walk(table, size)
    if damage is not None:
        damage.offset = None if damage.offset is None else damage.offset + offset
    if not any(structure.type in (0, 1) for structure in structures):
        if damage is not None:
            raise damage
        found = ", ".join(sorted({str(structure.type) for structure in structures}, key=int)[:5]) or "none"
        raise StubsimError(
            "no SMBIOS table of a machine: neither a BIOS nor a system structure is in it",
            offset=offset,
            expected=f"structures of type 0 or 1 (found {found})",
        )
    return of_table(structures, source=source)._replace(damage=None if damage is None else str(damage))


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise StubsimError(f"cannot be read: {reason(error)}", path=path) from error
