"""The `.hwids` section: which hardware ids call for which devicetree or firmware (systemd 257 and later, chid.h)."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import NamedTuple
from uuid import UUID

from stubsim.errors import StubsimError

SECTION = ".hwids"
DEVICETREE = 1
UEFI_FW = 2
ENTRY_SIZE = 28
# ukify's words in a description: its type, and the key that holds the compatible or the firmware id.
KINDS = {"devicetree": (DEVICETREE, "compatible"), "uefi-fw": (UEFI_FW, "fwid")}

_ENTRY = struct.Struct("<I16sII")
_SIZE_MASK = 0x0FFFFFFF


class Entry(NamedTuple):
    """One entry; offsets in bytes from the start of the section.

    ``type`` and ``size`` are the high 4 and the low 28 bits of the descriptor. ``string`` is the compatible or the
    firmware id. ``name`` and ``string`` are None at offset 0, and where the offset is outside or no NUL follows;
    bytes that are not UTF-8 are kept as surrogate escapes.
    """

    index: int  # type: ignore[assignment]  # rows are never searched with tuple.index()
    offset: int
    type: int
    size: int
    chid: UUID
    name_offset: int
    string_offset: int
    name: str | None
    string: str | None


class _Strings:
    """NUL-terminated strings by offset, each decoded once."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._last_nul = data.rfind(b"\0")
        self._known: dict[int, str | None] = {0: None}
        # Overlapping strings could add up to the square of the section's size.
        self._left = max(1 << 20, 8 * len(data))

    def readable(self, offset: int) -> bool:
        """Whether the offset lies inside and a NUL follows; 0 is no offset at all."""
        return offset == 0 or offset <= self._last_nul

    def __getitem__(self, offset: int) -> str | None:
        if offset not in self._known:
            self._known[offset] = self._decode(offset)
        return self._known[offset]

    def _decode(self, offset: int) -> str | None:
        if not self.readable(offset):
            return None
        end = self._data.index(b"\0", offset)
        self._left -= end - offset
        return self._data[offset:end].decode(errors="surrogateescape") if self._left >= 0 else None


def _rows(data: bytes) -> Iterator[tuple[int, int, UUID, int, int]]:
    """Entries up to descriptor 0, or as many as leave at least one byte behind them (the stub's count)."""
    for index in range(max(len(data) - 1, 0) // ENTRY_SIZE):
        descriptor, chid, name_offset, string_offset = _ENTRY.unpack_from(data, index * ENTRY_SIZE)
        if descriptor == 0:
            return
        yield index, descriptor, UUID(bytes_le=chid), name_offset, string_offset


def walk(data: bytes | memoryview) -> tuple[Entry, ...]:
    """Every entry that counts, whatever its type and offsets are; never raises."""
    return _walk(bytes(data))


# Every boot of a UKI walks the same table, once for each kind of entry.
@lru_cache(maxsize=2)
def _walk(raw: bytes) -> tuple[Entry, ...]:
    strings = _Strings(raw)
    return tuple(
        Entry(
            index,
            index * ENTRY_SIZE,
            descriptor >> 28,
            descriptor & _SIZE_MASK,
            chid,
            name_offset,
            string_offset,
            strings[name_offset],
            strings[string_offset],
        )
        for index, descriptor, chid, name_offset, string_offset in _rows(raw)
    )


def parse(data: bytes | memoryview) -> tuple[Entry, ...]:
    """Every entry of a table that systemd 262 accepts.

    Raises StubsimError for a device type other than 1 and 2, an offset outside the section, and a string without NUL.
    """
    raw = bytes(data)
    strings = _Strings(raw)
    entries = walk(raw)
    for entry in entries:
        if entry.type not in (DEVICETREE, UEFI_FW):
            raise StubsimError(
                f"entry {entry.index} has device type {entry.type}",
                section=SECTION,
                offset=entry.offset,
                expected="1 (devicetree) or 2 (uefi-fw)",
            )
        for what, at, target in (("name", 20, entry.name_offset), ("string", 24, entry.string_offset)):
            if not strings.readable(target):
                outside = target >= len(raw)
                raise StubsimError(
                    f"{what} of entry {entry.index} at {target:#x} " + ("is outside" if outside else "has no end"),
                    section=SECTION,
                    offset=entry.offset + at,
                    expected=f"less than {len(raw):#x}" if outside else "a NUL before the end of the section",
                )
    return entries


def build(entries: Iterable[tuple[int, UUID, str, str]]) -> bytes:
    """A section of (type, CHID, name, compatible or firmware id), laid out as ukify 262 does.

    The entries in the given order, a zero entry, and the unique strings in sorted order. Raises StubsimError for a
    string with a NUL.
    """
    rows = list(entries)
    texts = sorted({text for _, _, *pair in rows for text in pair})
    offsets: dict[str, int] = {}
    blob = bytearray()
    for text in texts:
        if "\0" in text:
            raise StubsimError(f"string {text!r} cannot be written", section=SECTION, expected="no NUL")
        offsets[text] = (len(rows) + 1) * ENTRY_SIZE + len(blob)
        blob += text.encode(errors="surrogateescape") + b"\0"
    table = b"".join(
        _ENTRY.pack(type_ << 28 | ENTRY_SIZE, chid.bytes_le, offsets[name], offsets[string])
        for type_, chid, name, string in rows
    )
    return table + bytes(ENTRY_SIZE) + bytes(blob)


def from_descriptions(descriptions: Iterable[Mapping[str, object]]) -> bytes:
    """The section ukify 262 builds of the objects in its hwids JSON files, given in the order of the sorted files.

    One (type, name, compatible or fwid) is one device: its ids are unique and sorted, and it stands where it was first
    named. Raises StubsimError for a description ukify would refuse.
    """
    devices: dict[tuple[int, str, str], set[UUID]] = {}
    for description in descriptions:
        device, chids = _device(description)
        devices.setdefault(device, set()).update(chids)
    return build(
        (type_, chid, name, string) for (type_, name, string), chids in devices.items() for chid in sorted(chids)
    )


def _device(description: Mapping[str, object]) -> tuple[tuple[int, str, str], set[UUID]]:
    if not isinstance(description, Mapping):
        raise StubsimError("hwids description is not an object", expected="type, name, hwids and compatible or fwid")
    kind = description.get("type")
    if not isinstance(kind, str) or kind not in KINDS:
        raise StubsimError(f"hwids description has type {kind!r}", expected=" or ".join(KINDS))
    type_, key = KINDS[kind]
    for _, other in KINDS.values():
        if other != key and other in description:
            raise StubsimError(f"hwids description of type {kind} has {other!r}", expected=f"{key!r} only")
    name, string, hwids = _text(description, "name"), _text(description, key), description.get("hwids")
    if not isinstance(hwids, list | tuple):
        raise StubsimError(f"hwids of {name!r} is not a list", expected="a list of GUIDs")
    return (type_, name, string), {_uuid(hwid) for hwid in hwids}


def _text(description: Mapping[str, object], key: str) -> str:
    value = description.get(key)
    if not isinstance(value, str):
        raise StubsimError(f"hwids description has no {key!r}", expected="a text")
    return value


def _uuid(value: object) -> UUID:
    try:
        return UUID(str(value))
    except ValueError:
        raise StubsimError(f"hwid {value!r} is no GUID", expected="8-4-4-4-12 hex digits") from None
