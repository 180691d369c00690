"""This machine, as Linux shows it in /sys."""

from __future__ import annotations

import os
import re

from stubsim.errors import StubsimError
from stubsim.formats import smbios
from stubsim.hosts import raw
from stubsim.hosts.described import machine
from stubsim.hosts.fixture import BANKS
from stubsim.hosts.host import Host, Reading

_TABLES = "sys/firmware/dmi/tables"
_ID = "sys/class/dmi/id"
_SECURE_BOOT = "sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"
_TPM = "sys/class/tpm/tpm0"

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
    """The machine whose /sys is below `root`. Raises StubsimError where that has no SMBIOS strings to read."""
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
    host = reading.host._replace(source=description)
    return Reading(_with_tpm(_with_secure_boot(host, root), root), "live", description, notes)


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


def _with_secure_boot(host: Host, root: str) -> Host:
    """The variable SecureBoot: four bytes of attributes, and 1 where it is on (UEFI 3.3)."""
    content = _line(os.path.join(root, _SECURE_BOOT))
    if content is None or len(content) != 5:
        return host
    return host._replace(secure_boot=content[4] == 1, unknown=host.unknown - {"secure_boot"})


def _with_tpm(host: Host, root: str) -> Host:
    """Linux shows the PCRs of every active bank. No TPM there may only be no driver."""
    folder = os.path.join(root, _TPM)
    banks = tuple(bank for bank in BANKS if os.path.isdir(os.path.join(folder, f"pcr-{bank}")))
    return host._replace(tpm=banks, unknown=host.unknown - {"tpm"}) if banks else host
