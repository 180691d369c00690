"""The text of `fwupdtool hwids`: the strings and numbers CHIDs are made of, and the CHIDs."""

from __future__ import annotations

import re

from stubsim.errors import StubsimError
from stubsim.formats import edid, smbios
from stubsim.hosts.described import machine
from stubsim.hosts.host import Reading

_TITLE = b"Computer Information"
_STRINGS = {
    "Manufacturer": "manufacturer",
    "ProductName": "product_name",
    "ProductSku": "product_sku",
    "Family": "family",
    "BaseboardManufacturer": "baseboard_manufacturer",
    "BaseboardProduct": "baseboard_product",
    "BiosVendor": "bios_vendor",
    "BiosVersion": "bios_version",
}
# Name -> field, and the base of the number: the releases are printed in decimal, the enclosure as it is hashed, in hex.
_NUMBERS = {
    "BiosMajorRelease": ("bios_major", 10),
    "BiosMinorRelease": ("bios_minor", 10),
    "EnclosureKind": ("enclosure_type", 16),
}
_LINE = re.compile(rb"[ \t]*([A-Za-z]+):[ ]?(.*)")
_CHID = re.compile(rb"[ \t]*\{[0-9A-Fa-f-]{36}\}[ \t]*\\?<-[ ]*(.*)")
# Texts pasted into Markdown have backslashes before its punctuation.
_ESCAPED = re.compile(rb"\\([\\`*_{}\[\]()<>#+.!|~-])")
_PANEL = re.compile(r"[A-Z@]{3}[0-9A-Fa-f]{4}")


def is_one(data: bytes) -> bool:
    """Whether this is text of `fwupdtool hwids`."""
    return re.search(rb"^[ \t]*Computer Information[ \t]*\r?$", data, re.MULTILINE) is not None


def read(data: bytes) -> Reading:
    """The first machine in the text. Raises StubsimError for a text without one, and for numbers that are none."""
    start = data.index(_TITLE)
    end = data.find(_TITLE, start + 1)
    notes = [] if end < 0 else ["there are several machines in the text; this is the first"]
    text = data[start : end if end >= 0 else len(data)]
    values, listed, has_list = _lines(text, start)
    if not values:
        raise StubsimError("no line with a value", offset=start, expected='lines like "Manufacturer: LENOVO"')
    found: dict[str, bytes | int | None] = {}
    unknown = set()
    for name, key in _STRINGS.items():
        if name in values:
            found[key] = values[name][0] or b" "
        elif name in listed or not has_list:
            unknown.add(f"smbios.{key}")
    for name, (key, base) in _NUMBERS.items():
        if name in values:
            found[key] = _number(name, *values[name], base)
        elif name in listed or not has_list:
            unknown.add(f"smbios.{key}")
    notes.append("fwupd strips blanks and leading zeros; what systemd-analyze hashes may have them")
    description = "text of fwupdtool hwids"
    host = machine(
        smbios.Fields(**found),  # type: ignore[arg-type]
        source=description,
        unknown={*unknown, "smbios.oem_strings"},
    )
    if "EDID" in values:
        panel = values["EDID"][0].decode("ascii", "replace")
        if not _PANEL.fullmatch(panel):
            raise StubsimError(
                f"EDID: {panel!r}", offset=values["EDID"][1], expected="a panel id like AUO1234, or no such line"
            )
        host = host._replace(edid=edid.build(panel[:3] + panel[3:].lower()), unknown=host.unknown - {"edid"})
    return Reading(host, "fwupd-hwids", description, tuple(notes))


def _lines(text: bytes, start: int) -> tuple[dict[str, tuple[bytes, int]], set[str], bool]:
    """The values by name with their offsets; the names that CHIDs are listed of; whether there is a list at all."""
    is_markdown = b"\\<-" in text
    values: dict[str, tuple[bytes, int]] = {}
    listed: set[str] = set()
    has_list = False
    offset = start
    for whole in text.split(b"\n"):
        line = whole.removesuffix(b"\r")
        if match := _CHID.fullmatch(line):
            has_list = True
            listed.update(match[1].decode("ascii", "replace").replace(" ", "").split("+"))
        elif (match := _LINE.fullmatch(line)) and not has_list:
            value = _ESCAPED.sub(rb"\1", match[2]) if is_markdown else match[2]
            values.setdefault(match[1].decode(), (value, offset))
        offset += len(whole) + 1
    return values, listed, has_list


def _number(name: str, value: bytes, offset: int, base: int) -> int:
    text = value.strip().decode("ascii", "replace")
    digits = "0123456789abcdefABCDEF"[: 10 if base == 10 else None]
    if not text or len(text) > 3 or set(text) - set(digits) or int(text, base) > 0xFF:
        expected = "a number from 0 to 255" if base == 10 else "a hexadecimal number of one byte"
        raise StubsimError(f"{name}: {text[:40]!r}", offset=offset, expected=expected)
    return int(text, base)
