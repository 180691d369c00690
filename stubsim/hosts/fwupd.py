"""The text of `fwupdtool hwids`: the strings and numbers CHIDs are made of, and the CHIDs."""

from __future__ import annotations

import re
from collections.abc import Iterator

from stubsim import chid
from stubsim.errors import StubsimError
from stubsim.formats import edid, smbios
from stubsim.hosts.described import machine
from stubsim.hosts.host import Reading
from stubsim.rows import NamedTuple

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
_CHID = re.compile(rb"[ \t]*\{([0-9A-Fa-f-]{36})\}[ \t]*\\?<-[ ]*(.*)")
# Texts pasted into Markdown have backslashes before its punctuation.
_ESCAPED = re.compile(rb"\\([\\`*_{}\[\]()<>#+.!|~-])")
_PANEL = re.compile(r"[A-Z@]{3}[0-9A-Fa-f]{4}")


def is_one(data: bytes) -> bool:
    """Whether this is text of `fwupdtool hwids`."""
    return re.search(rb"^[ \t]*Computer Information[ \t]*\r?$", data, re.MULTILINE) is not None


class _Text(NamedTuple):
    """The values by name with their offsets; the CHIDs by the names of their parts; whether any are listed at all."""

    values: dict[str, tuple[bytes, int]]
    ids: dict[tuple[str, ...], str]
    has_list: bool

    def is_lost(self, name: str) -> bool:
        """Whether a value that is not there was there once: a CHID is made of it, or the list is missing too."""
        return name not in self.values and (not self.has_list or any(name in names for names in self.ids))


def read(data: bytes) -> Reading:
    """The first machine in the text. Raises StubsimError for a text without one, and for numbers that are none."""
    start = data.index(_TITLE)
    end = data.find(_TITLE, start + 1)
    notes = [] if end < 0 else ["there are several machines in the text; this is the first"]
    text = _parse(data[start : end if end >= 0 else len(data)], start)
    values = text.values
    if not values:
        raise StubsimError("no line with a value", offset=start, expected='lines like "Manufacturer: LENOVO"')
    rootless = _is_rootless(text, data)
    string = _unstripped if rootless else _string
    strings = {key: string(values[name][0]) for name, key in _STRINGS.items() if name in values}
    numbers = {
        key: _number(name, *values[name], 10 if rootless else base)
        for name, (key, base) in _NUMBERS.items()
        if name in values
    }
    keys = _STRINGS | {name: key for name, (key, _) in _NUMBERS.items()} | {"EDID": "edid_panel"}
    lost = {f"smbios.{key}" for name, key in keys.items() if name != "EDID" and text.is_lost(name)}
    description = "text of fwupdtool hwids" + (", run without root" if rootless else "")
    host = machine(
        smbios.Fields(**strings, **numbers),  # type: ignore[arg-type]
        source=description,
        unknown={*lost, "smbios.oem_strings"},
    )
    panel = _panel(*values["EDID"]) if "EDID" in values else None
    if panel is not None:
        host = host._replace(edid=edid.build(panel), unknown=host.unknown - {"edid"})
    own = {tuple(part for part, _ in row.parts): str(row.chid) for row in chid.compute(host.fields, panel, "fwupd")}
    listed = {tuple(keys.get(name, "") for name in names): id_ for names, id_ in text.ids.items()}
    differing = [
        parts
        for parts, id_ in listed.items()
        if own.get(parts, id_) != id_ and not lost & {f"smbios.{part}" for part in parts}
    ]
    notes += _about_rootless(differing) if rootless else _about_stripped(differing)
    return Reading(host, "fwupd-hwids", description, tuple(notes))


def _is_rootless(text: _Text, data: bytes) -> bool:
    """Whether fwupd had no SMBIOS table: then it knows a BIOS version and no release.

    It takes /sys/class/dmi/id, where nothing is stripped and the enclosure is decimal (fwupd, libfwupdplugin/
    fu-hwids-dmi.c).
    """
    return "BiosVersion" in text.values and b"not available as 'BiosMajorRelease' unknown" in data


def _about_rootless(differing: list[tuple[str, ...]]) -> Iterator[str]:
    count = len(differing)
    ids = f"{count} of the listed ids are not ones that a stub looks for: they are" if count else "ids would be"
    yield (
        f"made without root: fwupd took the strings of /sys/class/dmi/id, and {ids} made of strings that are not "
        "stripped and of a decimal enclosure; run fwupdtool hwids as root"
    )


def _about_stripped(differing: list[tuple[str, ...]]) -> Iterator[str]:
    if differing:
        yield (
            f"{len(differing)} of the listed ids are not those of the strings as they stand here: one of the two was "
            "not stripped, or is in another character set"
        )
    yield "fwupd strips blanks and leading zeros, which only systemd-analyze hashes"


def _parse(text: bytes, start: int) -> _Text:
    is_markdown = b"\\<-" in text
    found = _Text({}, {}, b"not available as" in text)
    offset = start
    for whole in text.split(b"\n"):
        line = whole.removesuffix(b"\r")
        if match := _CHID.fullmatch(line):
            found = found._replace(has_list=True)
            names = match[2].decode("ascii", "replace").replace(" ", "").split("+")
            found.ids[tuple(names)] = match[1].decode().lower()
        elif (match := _LINE.fullmatch(line)) and not found.ids:
            value = _ESCAPED.sub(rb"\1", match[2]) if is_markdown else match[2]
            found.values.setdefault(match[1].decode(), (value, offset))
        offset += len(whole) + 1
    return found


def _panel(value: bytes, offset: int) -> str:
    panel = value.decode("ascii", "replace").strip()
    if not _PANEL.fullmatch(panel):
        raise StubsimError(f"EDID: {panel[:40]!r}", offset=offset, expected="a panel id like AUO1234, or no such line")
    return panel[:3] + panel[3:].lower()


def _string(printed: bytes) -> bytes:
    """A string of the machine that fwupd prints so.

    It strips blanks at both ends, then zeros in front: a blank that is in front now stood behind a zero, and nothing at
    all were blanks or zeros.
    """
    if not printed.strip():
        return b" "
    return b"0" + printed if printed.startswith(b" ") else printed


def _unstripped(printed: bytes) -> bytes:
    """As the kernel shows it; a string of blanks is an empty one there."""
    return printed or b" "


def _number(name: str, value: bytes, offset: int, base: int) -> int:
    text = value.strip().decode("ascii", "replace")
    digits = "0123456789abcdefABCDEF"[: 10 if base == 10 else None]
    if not text or len(text) > 3 or set(text) - set(digits) or int(text, base) > 0xFF:
        expected = "a number from 0 to 255" if base == 10 else "a hexadecimal number of one byte"
        raise StubsimError(f"{name}: {text[:40]!r}", offset=offset, expected=expected)
    return int(text, base)
