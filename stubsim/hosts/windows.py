"""The output of Windows' ComputerHardwareIds (WDK, Windows SDK): the strings that CHIDs are made of, and the CHIDs."""

from __future__ import annotations

import re

from stubsim import chid
from stubsim.errors import StubsimError
from stubsim.formats import smbios
from stubsim.hosts.described import machine
from stubsim.hosts.dmidecode import ENCLOSURE_TYPES
from stubsim.hosts.host import Reading

_TITLE = re.compile(rb"^[ \t]*(?:##? *)?Computer Information[ \t]*\r?$", re.MULTILINE)
_LINE = re.compile(rb"[ \t]*([A-Za-z][A-Za-z ]{0,40}):[ ]?(.*)")
_CHID = re.compile(rb"[ \t]*\{([0-9A-Fa-f-]{36})\}[ \t]*\\?<-[ ]*(.*)")
# Names without their blanks and in lower case: they differ between the releases of the tool.
_STRINGS = {
    "biosvendor": "bios_vendor",
    "biosversionstring": "bios_version",
    "systemmanufacturer": "manufacturer",
    "systemfamily": "family",
    "systemproductname": "product_name",
    "skunumber": "product_sku",
    "systemskunumber": "product_sku",
    "baseboardmanufacturer": "baseboard_manufacturer",
    "baseboardproduct": "baseboard_product",
}
_NUMBERS = {
    "systembiosmajorrelease": "bios_major",
    "systembiosmajorversion": "bios_major",
    "systembiosminorrelease": "bios_minor",
    "systembiosminorversion": "bios_minor",
}
_ENCLOSURE = "enclosuretype"
_PARTS = {
    "manufacturer": "manufacturer",
    "family": "family",
    "productname": "product_name",
    "skunumber": "product_sku",
    "biosvendor": "bios_vendor",
    "biosversion": "bios_version",
    "biosmajorrelease": "bios_major",
    "majorversion": "bios_major",
    "biosminorrelease": "bios_minor",
    "minorversion": "bios_minor",
    "baseboardmanufacturer": "baseboard_manufacturer",
    "baseboardproduct": "baseboard_product",
    "enclosuretype": "enclosure_type",
}
_NOTHING = b"(null)"


def is_one(data: bytes) -> bool:
    """Whether this is the tool's output: fwupd has the same title and writes names without blanks."""
    return (
        _TITLE.search(data) is not None and re.search(rb"^[ \t]*System Manufacturer:", data, re.MULTILINE) is not None
    )


def read(data: bytes) -> Reading:
    """The machine in the text. Raises StubsimError for one without values, and for numbers that are none."""
    title = _TITLE.search(data)
    start = 0 if title is None else title.end()
    values, ids = _parse(data, start)
    fields: dict[str, bytes | int | None] = {}
    notes, unknown = [], {"smbios.oem_strings"}
    for name, (value, offset) in values.items():
        if name in _STRINGS:
            fields[_STRINGS[name]] = None if value == _NOTHING else value or b" "
        elif name in _NUMBERS and value != _NOTHING:
            fields[_NUMBERS[name]] = _number(value, offset)
        elif name == _ENCLOSURE:
            kind = _enclosure(value)
            if kind is not None:
                fields["enclosure_type"] = kind
    for key in smbios.Fields._fields:
        value_of = fields.get(key)
        if key not in fields:
            unknown.add(f"smbios.{key}")
        elif isinstance(value_of, bytes) and not _is_text(value_of):
            unknown.add(f"smbios.{key}")
            notes.append(f"{key}: not UTF-8, so its characters are not known; redirect the output in UTF-8 or UTF-16")
    description = "output of ComputerHardwareIds"
    host = machine(smbios.Fields(**fields), source=description, unknown=unknown)  # type: ignore[arg-type]
    own = {frozenset(part for part, _ in row.parts): str(row.chid) for row in chid.compute(host.fields, None)}
    differing = [
        parts
        for parts, id_ in ids.items()
        if own.get(parts, id_) != id_ and not unknown & {f"smbios.{part}" for part in parts}
    ]
    if differing:
        notes.append(f"{len(differing)} of the listed ids are not those of the strings as they stand here")
    return Reading(host, "windows-hardware-ids", description, tuple(notes))


def _parse(data: bytes, start: int) -> tuple[dict[str, tuple[bytes, int]], dict[frozenset[str], str]]:
    """The values by name with their offsets, and the ids by the fields that they are made of."""
    values: dict[str, tuple[bytes, int]] = {}
    ids: dict[frozenset[str], str] = {}
    offset = start
    for whole in data[start:].split(b"\n"):
        line = whole.removesuffix(b"\r")
        if match := _CHID.fullmatch(line):
            names = [_plain(name) for name in match[2].split(b"+")]
            if all(name in _PARTS for name in names):
                ids[frozenset(_PARTS[name] for name in names)] = match[1].decode().lower()
        elif (match := _LINE.fullmatch(line)) and not ids:
            values.setdefault(_plain(match[1]), (match[2].rstrip(), offset))
        offset += len(whole) + 1
    if not {*_STRINGS} & {*values}:
        raise StubsimError("no line with a value", offset=start, expected='lines like "System Manufacturer: LENOVO"')
    return values, ids


def _plain(name: bytes) -> str:
    return name.decode("ascii", "replace").replace(" ", "").strip().lower()


def _number(value: bytes, offset: int) -> int:
    text = value.decode("ascii", "replace")
    if not (text.isascii() and text.isdigit() and len(text) <= 3 and int(text) <= 0xFF):
        raise StubsimError(f"{text[:40]!r} is not a release number", offset=offset, expected="a number from 0 to 255")
    return int(text)


def _enclosure(value: bytes) -> int | None:
    """A number in hexadecimal digits and a name, or the name alone."""
    match = re.fullmatch(rb'([0-9A-Fa-f]{1,2})?[ ]*"?([A-Za-z][A-Za-z /-]*)?"?', value)
    if match is None:
        return None
    if match[2] and match[2] in ENCLOSURE_TYPES:
        return ENCLOSURE_TYPES[match[2]]
    return int(match[1], 16) if match[1] else None


def _is_text(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True
