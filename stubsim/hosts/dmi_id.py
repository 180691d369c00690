"""The strings of /sys/class/dmi/id (Linux, drivers/firmware/dmi-id.c): the folder, or what grep prints of its files."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from stubsim.formats import smbios
from stubsim.hosts.described import machine
from stubsim.hosts.host import Host, Reading

_FIELDS = {
    "sys_vendor": "manufacturer",
    "product_name": "product_name",
    "product_sku": "product_sku",
    "product_family": "family",
    "board_vendor": "baseboard_manufacturer",
    "board_name": "baseboard_product",
    "bios_vendor": "bios_vendor",
    "bios_version": "bios_version",
}
_RELEASE = "bios_release"
# Not shown by every kernel: without a file the string may be there all the same.
_NEWER = frozenset({"manufacturer", "product_name", "product_sku", "family"})
_LINE = re.compile(rb"(?m)^(?:[^\n:]*/)?([a-z_]+):(.*)$")
_FIRST = re.compile(rb"(?m)^(?:[^\n:]*/)?(?:sys_vendor|product_name):")
_LONGEST = 4096
_BLANKS = "the kernel shows a string of nothing but blanks as an empty one"


def read_folder(path: str) -> Reading:
    """A folder like it: strings without those of no letters, and no bit for the chassis lock."""
    values = {name: text for name in (*_FIELDS, _RELEASE) if (text := _line(os.path.join(path, name))) is not None}
    description = "folder like /sys/class/dmi/id"
    return Reading(_host(values, description, _NEWER), "dmi-id-folder", description, (_BLANKS,))


def is_text(data: bytes) -> bool:
    """Whether these are lines of files of such a folder, as `grep . /sys/class/dmi/id/*` prints them."""
    return b"\0" not in data and _FIRST.search(data) is not None


def read_text(data: bytes) -> Reading:
    """Lines of a file's name, a colon and what is in it; the first of a name counts.

    A file of which there is no line is empty, does not exist, or was not asked for.
    """
    values: dict[str, bytes] = {}
    for name, text in _LINE.findall(data):
        values.setdefault(name.decode(), text.removesuffix(b"\r")[:_LONGEST])
    description = "text of the files in /sys/class/dmi/id"
    note = "of a file without a line it is not known whether it is empty"
    return Reading(_host(values, description, frozenset(_FIELDS.values())), "dmi-id-text", description, (_BLANKS, note))


def _host(values: Mapping[str, bytes], description: str, unsure: frozenset[str]) -> Host:
    """``unsure`` are the fields that are not known where they have no value."""
    fields: dict[str, bytes | int | None] = {
        key: values[name] or None for name, key in _FIELDS.items() if name in values
    }
    unknown = {"smbios.oem_strings", "smbios.enclosure_type"} | {f"smbios.{key}" for key in unsure - fields.keys()}
    release = re.fullmatch(rb"(\d{1,3})\.(\d{1,3})", values.get(_RELEASE, b""))
    if release and max(int(release[1]), int(release[2])) <= 0xFF:
        fields |= {"bios_major": int(release[1]), "bios_minor": int(release[2])}
    else:
        unknown |= {"smbios.bios_major", "smbios.bios_minor"}
    return machine(smbios.Fields(**fields), source=description, unknown=unknown)  # type: ignore[arg-type]


def _line(path: str) -> bytes | None:
    """A file's only line; None where it cannot be read."""
    try:
        with open(path, "rb") as file:
            return file.read(_LONGEST).removesuffix(b"\n")
    except OSError:
        return None
