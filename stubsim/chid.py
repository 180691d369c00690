"""Computer hardware ids (CHIDs): what a machine is called, from its SMBIOS strings, as three programs compute them.

The stub and `fwupdtool hwids` agree but for details, `systemd-analyze chid` goes its own way. Observed with systemd
262.1 and fwupd 2.1.8 on 25 made-up machines, and with what fwupd printed on 45 real ones (ubuntu/stubble,
TravMurav/dtbloader).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from functools import lru_cache
from uuid import UUID

from stubsim.errors import StubsimError
from stubsim.formats import efi_string
from stubsim.formats.smbios import Fields
from stubsim.rows import NamedTuple

NAMESPACE = UUID("70ffd812-4c7f-4c7d-0000-000000000000")
_JOINT = efi_string.utf16("&")
# What each CHID begins with; a copy of it costs less than another one.
_BEGUN = hashlib.sha1(NAMESPACE.bytes, usedforsecurity=False)

_BIOS = ("bios_vendor", "bios_version", "bios_major", "bios_minor")
_BOARD = ("baseboard_manufacturer", "baseboard_product")

# 0-14 are Microsoft's HardwareID-0 to -14, 15-17 systemd's own (chid.c, systemd 258 and later).
PARTS: dict[int, tuple[str, ...]] = {
    0: ("manufacturer", "family", "product_name", "product_sku", *_BIOS),
    1: ("manufacturer", "family", "product_name", *_BIOS),
    2: ("manufacturer", "product_name", *_BIOS),
    3: ("manufacturer", "family", "product_name", "product_sku", *_BOARD),
    4: ("manufacturer", "family", "product_name", "product_sku"),
    5: ("manufacturer", "family", "product_name"),
    6: ("manufacturer", "product_sku", *_BOARD),
    7: ("manufacturer", "product_sku"),
    8: ("manufacturer", "product_name", *_BOARD),
    9: ("manufacturer", "product_name"),
    10: ("manufacturer", "family", *_BOARD),
    11: ("manufacturer", "family"),
    12: ("manufacturer", "enclosure_type"),
    13: ("manufacturer", *_BOARD),
    14: ("manufacturer",),
    15: ("manufacturer", "family", "product_name", "edid_panel"),
    16: ("manufacturer", "family", "edid_panel"),
    17: ("manufacturer", "product_sku", "edid_panel"),
}

# The types a stub matches, most specific first (systemd 262, observed in recordings chid-priority-* and launch-edid-*).
PRIORITY: tuple[int, ...] = (17, 16, 15, 3, 6, 8, 10, 4, 5, 7, 9, 11)


class Chid(NamedTuple):
    """One CHID and the texts it is the hash of, by field.

    ``chid`` is None where a text is missing; to a stub that is the all-zero GUID.
    """

    type: int
    chid: UUID | None
    parts: tuple[tuple[str, str | None], ...]


def hash_texts(texts: Iterable[str]) -> UUID:
    """The UUIDv5 of the texts joined by `&`, in UTF-16LE without terminator."""
    # Not uuid.uuid5(): it takes bytes only since Python 3.12.
    return UUID(bytes=hash_utf16(_JOINT.join(map(efi_string.utf16, texts))), version=5)


def compute(fields: Fields, panel: str | None, view: str = "stub") -> tuple[Chid, ...]:
    """All 18 types, in order, as the stub, fwupd or systemd-analyze computes them (``view``, one of VIEWS).

    Raises StubsimError for another view.
    """
    if view not in VIEWS:
        raise StubsimError(f"unknown CHID view {view!r}", expected=", ".join(VIEWS))
    texts = _texts(fields, view) | {"edid_panel": panel}
    rows = ((type_, tuple((name, texts[name]) for name in names)) for type_, names in PARTS.items())
    return tuple(Chid(type_, _chid(parts, view), parts) for type_, parts in rows)


def chids(fields: Fields, panel: str | None) -> dict[int, UUID | None]:
    """The CHIDs the stub computes, by type; None is an absent one."""
    return dict(_chids(fields, panel))


# A boot asks three times for those of its machine.
@lru_cache(maxsize=64)
def _chids(fields: Fields, panel: str | None) -> tuple[tuple[int, UUID | None], ...]:
    return tuple((chid.type, chid.chid) for chid in compute(fields, panel))


# Many machines have the same manufacturer.
@lru_cache(maxsize=1 << 15)
def stub_text(value: bytes | None) -> bytes:
    """What the stub hashes of a string, in UTF-16LE; a missing one counts as empty."""
    return efi_string.utf16(_stub_text(value))


def stub_number(field: str, value: int | None) -> bytes | None:
    """What the stub hashes of bios_major, bios_minor or enclosure_type, in UTF-16LE; None for a missing one."""
    return None if value is None else efi_string.utf16(f"{value:{_NUMBERS[field]}}")


def hash_utf16(text: bytes) -> bytes:
    """The first 16 bytes of the SHA-1 that `hash_texts` makes a UUID of, from the joined texts in UTF-16LE."""
    digest = _BEGUN.copy()
    digest.update(text)
    return digest.digest()[:16]


def _chid(parts: tuple[tuple[str, str | None], ...], view: str) -> UUID | None:
    texts = [text for _, text in parts if text is not None]
    if len(texts) < len(parts):
        return None
    # fwupd hashes no empty text: a machine with an empty manufacturer has no type 14 there.
    if view == "fwupd" and texts == [""]:
        return None
    return hash_texts(texts)


def _stub_text(value: bytes | None) -> str:
    """A missing string counts as empty; blanks in front go, then zeros in front, then blanks behind, once."""
    return efi_string.decode_utf8((value or b"").partition(b"\0")[0].lstrip(b" ").lstrip(b"0").rstrip(b" "))


def _fwupd_text(value: bytes | None) -> str | None:
    """As the stub, but all white space of GLib goes, at both ends; no CHID for what is missing or not UTF-8."""
    return None if value is None else _strict(value.strip(b" \t\n\f\r").lstrip(b"0"))


def _analyze_text(value: bytes | None) -> str | None:
    """Nothing is stripped; no CHID for what is missing or empty. Bytes that are not UTF-8: unknown, so none either."""
    return _strict(value) if value else None


def _strict(value: bytes) -> str | None:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return None


_READ: dict[str, Callable[[bytes | None], str | None]] = {
    "stub": _stub_text,
    "fwupd": _fwupd_text,
    "systemd-analyze": _analyze_text,
}
VIEWS = tuple(_READ)

# Hashed as hex of the byte, and never stripped of zeros; a missing number has no CHID in any view.
_NUMBERS = {"bios_major": "02x", "bios_minor": "02x", "enclosure_type": "x"}


def _texts(fields: Fields, view: str) -> dict[str, str | None]:
    values = fields._asdict()
    if view == "systemd-analyze" and fields.enclosure_type is not None:
        # It reads chassis_type from sysfs, where Linux leaves out bit 7, the chassis lock.
        values["enclosure_type"] = fields.enclosure_type & 0x7F
    texts = {name: _READ[view](value) for name, value in values.items() if name not in _NUMBERS}
    for name, digits in _NUMBERS.items():
        texts[name] = None if values[name] is None else f"{values[name]:{digits}}"
    return texts
