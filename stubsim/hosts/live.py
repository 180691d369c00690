"""This machine, as Linux shows it in /sys, /proc and /dev."""

from __future__ import annotations

import os
import re

from stubsim.errors import StubsimError
from stubsim.formats import smbios
from stubsim.hosts import live_devices, live_variables, raw
from stubsim.hosts.described import machine
from stubsim.hosts.host import Reading
from stubsim.hosts.live_findings import Findings

_TABLES = "sys/firmware/dmi/tables"
_ID = "sys/class/dmi/id"

# The file below /sys/class/dmi/id -> the field (Linux, drivers/firmware/dmi-id.c).
_FILES = {
    "sys_vendor": "manufacturer",
    "product_name": "product_name",
    "product_sku": "product_sku",
    "product_family": "family",
    "board_vendor": "baseboard_manufacturer",
    "board_name": "baseboard_product",
    "bios_vendor": "bios_vendor",
    "bios_version": "bios_version",
}


def read(root: str = "/") -> Reading:
    """The machine whose /sys, /proc and /dev are below `root`. Raises StubsimError where there is no SMBIOS."""
    tables, ids = os.path.join(root, _TABLES), os.path.join(root, _ID)
    try:
        reading = raw.read_folder(tables, "this machine, /sys/firmware/dmi/tables")
        description, notes = "this machine, by its SMBIOS table", reading.notes
    except StubsimError as error:
        if not isinstance(error.__cause__, OSError):
            raise
        if not os.path.isdir(ids):
            raise StubsimError(
                f"this machine's SMBIOS table {error.message}",
                path=error.path,
                expected=f"/{_TABLES} of a Linux with DMI",
                hint="run as root" if isinstance(error.__cause__, PermissionError) else None,
            ) from error
        reading = read_id_folder(ids)
        description = "this machine, by what /sys/class/dmi/id shows everybody"
        why = "as root the whole table can be read" if isinstance(error.__cause__, PermissionError) else error.message
        notes = (*reading.notes, why)
    found = Findings(reading.host._replace(source=description), root)
    for key in ("console", "firmware"):
        found.split(key)
    live_variables.read(found)
    live_devices.read(found)
    host = found.host._replace(unknown=frozenset(found.unknown))
    return Reading(host, "live", description, (*notes, *found.notes, *found.how_to_find()))


def read_id_folder(path: str) -> Reading:
    """A folder like /sys/class/dmi/id: strings without those of no letters, and no bit for the chassis lock."""
    fields: dict[str, bytes | int | None] = {}
    unknown = {"smbios.oem_strings", "smbios.enclosure_type"}
    for name, key in _FILES.items():
        text = _line(os.path.join(path, name))
        if text is not None:
            fields[key] = text or None
        elif key.startswith(("product", "family", "manufacturer")):
            unknown.add(f"smbios.{key}")
    release = re.fullmatch(rb"(\d{1,3})\.(\d{1,3})", _line(os.path.join(path, "bios_release")) or b"")
    if release and max(int(release[1]), int(release[2])) <= 0xFF:
        fields |= {"bios_major": int(release[1]), "bios_minor": int(release[2])}
    else:
        unknown |= {"smbios.bios_major", "smbios.bios_minor"}
    description = "folder like /sys/class/dmi/id"
    host = machine(smbios.Fields(**fields), source=description, unknown=unknown)  # type: ignore[arg-type]
    notes = ("the kernel shows a string of nothing but blanks as an empty one",)
    return Reading(host, "dmi-id-folder", description, notes)


def _line(path: str) -> bytes | None:
    """A file's only line; None where it cannot be read."""
    try:
        with open(path, "rb") as file:
            return file.read(4096).removesuffix(b"\n")
    except OSError:
        return None
