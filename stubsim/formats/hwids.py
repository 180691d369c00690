"""The `.hwids` section: which hardware ids call for which devicetree or firmware (systemd 257 and later, chid.h)."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import overload
from uuid import UUID

from stubsim.errors import StubsimError
from stubsim.extent import Bytes, Extent
from stubsim.rows import NamedTuple

SECTION = ".hwids"
DEVICETREE = 1
UEFI_FW = 2
ENTRY_SIZE = 28
# ukify's words in a description: its type, and the key that holds the compatible or the firmware id.
KINDS = {"devicetree": (DEVICETREE, "compatible"), "uefi-fw": (UEFI_FW, "fwid")}

_ENTRY = struct.Struct("<I16sII")
_SIZE_MASK = 0x0FFFFFFF
_NULL = bytes(16)
# Entries of a table that are kept once they were read.
_LONG = 4096
# Bytes of a string that is no longer than the entries that name it.
_SHORT = 64
_DIGITS = "[0-9a-fA-F]{32}"
_SURROGATE = "[\ud800-\udfff]"


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
    """NUL-terminated strings by offset; a long one is decoded once."""

    def __init__(self, data: bytes, size: int) -> None:
        self._data = data
        self._last_nul = last_nul(data, size)
        self._known: dict[int, str | None] = {0: None}
        # Overlapping strings could add up to the square of the section's size.
        self._left = max(1 << 20, 8 * len(data))

    def readable(self, offset: int) -> bool:
        """Whether the offset lies inside and a NUL follows; 0 is no offset at all."""
        return offset == 0 or offset <= self._last_nul

    def __getitem__(self, offset: int) -> str | None:
        if offset in self._known:
            return self._known[offset]
        if not self.readable(offset):
            return None
        end = self._data.find(b"\0", offset)
        if end < 0:
            return ""
        if end - offset <= _SHORT:
            return self._data[offset:end].decode(errors="surrogateescape")
        self._left -= end - offset
        text = self._data[offset:end].decode(errors="surrogateescape") if self._left >= 0 else None
        self._known[offset] = text
        return text


def held(data: Bytes) -> tuple[bytes, int]:
    """The section without the zeros that it ends with in memory only, but for those an entry needs; and its size."""
    return _one(bytes(data.held(ENTRY_SIZE) if isinstance(data, Extent) else data)), len(data)


@lru_cache(maxsize=2)
def _one(raw: bytes) -> bytes:
    """One object for equal bytes: what is known of a table is known by them."""
    return raw


def last_nul(raw: bytes, size: int) -> int:
    """The offset of the last NUL, -1 without one: no string ends behind it; of bytes and size as `held`."""
    return raw.rfind(b"\0") if len(raw) == size else size - 1


def string_at(data: Bytes, offset: int) -> bytes | None:
    """The NUL-terminated string at an offset, None when it does not end inside the section."""
    raw, size = held(data)
    if offset > last_nul(raw, size):
        return None
    return raw[offset:].partition(b"\0")[0]


class Entries(Sequence[Entry]):
    """The entries of a long table, each made anew when it is asked for: a file can hold hundreds of thousands."""

    def __init__(self, data: bytes, size: int) -> None:
        self._data = data
        self._strings = _Strings(data, size)
        self._count = _count(data, size)

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, key: int) -> Entry: ...
    @overload
    def __getitem__(self, key: slice) -> tuple[Entry, ...]: ...
    def __getitem__(self, key: int | slice) -> Entry | tuple[Entry, ...]:
        if isinstance(key, slice):
            return tuple(self._entry(index) for index in range(*key.indices(self._count)))
        if not -self._count <= key < self._count:
            raise IndexError(key)
        return self._entry(key % self._count)

    def _entry(self, index: int) -> Entry:
        descriptor, chid, name_offset, string_offset = _ENTRY.unpack_from(self._data, index * ENTRY_SIZE)
        return Entry(
            index,
            index * ENTRY_SIZE,
            descriptor >> 28,
            descriptor & _SIZE_MASK,
            UUID(bytes_le=chid),
            name_offset,
            string_offset,
            self._strings[name_offset],
            self._strings[string_offset],
        )


def _count(data: bytes, size: int) -> int:
    """Entries up to descriptor 0, or as many as leave at least one byte behind them (the stub's count)."""
    most = max(size - 1, 0) // ENTRY_SIZE
    whole = memoryview(data)[: min(most, len(data) // ENTRY_SIZE) * ENTRY_SIZE]
    return next((index for index, row in enumerate(_ENTRY.iter_unpack(whole)) if row[0] == 0), most)


def walk(data: Bytes) -> Sequence[Entry]:
    """Every entry that counts, whatever its type and offsets are; never raises."""
    return _walk(*held(data))


def descriptors(raw: bytes, size: int) -> Iterator[tuple[int, int, int]]:
    """Descriptor, name offset and string offset of every entry of `walk`; of bytes and size as `held`."""
    for descriptor, _, name_offset, string_offset in _rows(raw, size):
        yield descriptor, name_offset, string_offset


def _rows(raw: bytes, size: int) -> Iterator[tuple[int, bytes, int, int]]:
    return _ENTRY.iter_unpack(memoryview(raw)[: _whole(raw, size)])


class Leads(NamedTuple):
    """Where the entries of a table lead to, in their order: an id for each name that was asked for, one for any other
    string, one for no string at all. All-zero ids are none of these, and ``wildcard`` tells whether there is one.
    """

    named: Mapping[tuple[int, str], UUID]
    others: Mapping[int, UUID]
    nothing: Mapping[int, UUID]
    wildcard: bool


def leads(data: Bytes, names: frozenset[tuple[int, str]]) -> Leads:
    """Of the entries of `walk` the first that leads to each of these (device type, string), and by type elsewhere."""
    return _leads(*held(data), names)


@lru_cache(maxsize=8)
def _leads(raw: bytes, size: int, names: frozenset[tuple[int, str]]) -> Leads:
    strings = _Strings(raw, size)
    named: dict[tuple[int, str], UUID] = {}
    others: dict[int, UUID] = {}
    nothing: dict[int, UUID] = {}
    wildcard = False
    for descriptor, chid, _, offset in _rows(raw, size):
        if chid == _NULL:
            wildcard = True
            continue
        type_, string = descriptor >> 28, strings[offset]
        if string is None:
            if type_ not in nothing:
                nothing[type_] = UUID(bytes_le=chid)
        elif (type_, string) in names:
            if (type_, string) not in named:
                named[type_, string] = UUID(bytes_le=chid)
        elif type_ not in others:
            others[type_] = UUID(bytes_le=chid)
    return Leads(named, others, nothing, wildcard)


def first(data: Bytes, type_: int, chids: Sequence[UUID]) -> tuple[int, Entry] | None:
    """Of the CHIDs the first that an entry of `walk` with this device type has: its index, and the first such entry."""
    raw, size = held(data)
    for index, chid in enumerate(chids):
        at = _first(raw, size, type_, chid)
        if at is not None:
            return index, _walk(raw, size)[at]
    return None


@lru_cache(maxsize=128)
def _first(raw: bytes, size: int, type_: int, chid: UUID) -> int | None:
    end, wanted, at = _whole(raw, size), chid.bytes_le, 4
    while (at := raw.find(wanted, at, end)) >= 0:
        index, offset = divmod(at - 4, ENTRY_SIZE)
        if offset == 0 and raw[index * ENTRY_SIZE + 3] >> 4 == type_:
            return index
        at += 1
    return None


def first_by_chid(data: Bytes) -> dict[tuple[int, UUID], Entry]:
    """Of the entries of `walk`, the first with each device type and CHID."""
    return _first_by_chid(*held(data))


@lru_cache(maxsize=4)
def _first_by_chid(raw: bytes, size: int) -> dict[tuple[int, UUID], Entry]:
    return {(entry.type, entry.chid): entry for entry in reversed(_walk(raw, size))}


# A stub looks into the same table once for each kind of entry, and whoever compares stubs or machines once for each.
@lru_cache(maxsize=4)
def _walk(raw: bytes, size: int) -> Sequence[Entry]:
    entries = Entries(raw, size)
    return tuple(entries) if len(entries) <= _LONG else entries


@lru_cache(maxsize=4)
def _whole(raw: bytes, size: int) -> int:
    """Where the last entry ends."""
    return _count(raw, size) * ENTRY_SIZE


def parse(data: Bytes) -> Sequence[Entry]:
    """Every entry of a table that systemd 262 accepts.

    Raises StubsimError for a device type other than 1 and 2, an offset outside the section, and a string without NUL.
    """
    raw, size = held(data)
    strings = _Strings(raw, size)
    entries = _walk(raw, size)
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
                outside = target >= size
                raise StubsimError(
                    f"{what} of entry {entry.index} at {target:#x} "
                    + ("is outside of the section" if outside else "has no end"),
                    section=SECTION,
                    offset=entry.offset + at,
                    expected=f"less than {size:#x}" if outside else "a NUL before the end of the section",
                )
    return entries


def build(entries: Iterable[tuple[int, UUID, str, str]], unused: Iterable[str] = ()) -> bytes:
    """A section of (type, CHID, name, compatible or firmware id), laid out as ukify 262 does.

    The entries in the given order, a zero entry, and the unique strings in sorted order, ``unused`` ones among them.
    Raises StubsimError for a string with a NUL.
    """
    rows = list(entries)
    texts = sorted({text for _, _, *pair in rows for text in pair}.union(unused))
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


Device = tuple[int, str, str]


def build_devices(devices: Iterable[tuple[Device, Iterable[UUID]]]) -> bytes:
    """The section ukify 262 builds of devices (type, name, compatible or fwid) and their ids, in the order of files.

    One device may come several times: its ids are unique and sorted, and it stands where it was first named. The
    strings of one without ids are there as well. Raises StubsimError for a string with a NUL.
    """
    merged: dict[Device, set[UUID]] = {}
    for device_, chids in devices:
        merged.setdefault(device_, set()).update(chids)
    rows = [(type_, chid, name, string) for (type_, name, string), chids in merged.items() for chid in sorted(chids)]
    return build(rows, [text for _, *pair in merged for text in pair])


def from_descriptions(descriptions: Iterable[Mapping[str, object]]) -> bytes:
    """`build_devices` for the objects in hwids JSON files; StubsimError for a description that `device` refuses."""
    return build_devices(
        (device(description), [guid(hwid) for hwid in _hwids(description)]) for description in descriptions
    )


def device(description: Mapping[str, object]) -> Device:
    """Type, name and string of the object in a hwids JSON file. Raises StubsimError for one that ukify refuses."""
    missing = [key for key in ("type", "name", "hwids") if key not in description]
    if missing:
        raise StubsimError(f"no {', '.join(map(repr, missing))}", expected="type, name, hwids, and compatible or fwid")
    kind = description["type"]
    if not isinstance(kind, str) or kind not in KINDS:
        raise StubsimError(f"type: {_shown(kind)}", expected=" or ".join(KINDS))
    type_, key = KINDS[kind]
    for _, other in KINDS.values():
        if other != key and other in description:
            raise StubsimError(f"{other}: not for type {kind}", expected=f"{key!r} only")
    _hwids(description)
    return type_, _text(description, "name"), _text(description, key)


def _hwids(description: Mapping[str, object]) -> list[object]:
    value = description["hwids"]
    if not isinstance(value, list):
        raise StubsimError(f"hwids: {_shown(value)}", expected="an array of GUIDs")
    return value


def _text(description: Mapping[str, object], key: str) -> str:
    if key not in description:
        raise StubsimError(f"no {key!r}", expected="a string")
    value = description[key]
    if not isinstance(value, str) or re.search(_SURROGATE, value):
        raise StubsimError(f"{key}: {_shown(value)}", expected="a string without lone surrogates")
    if "\0" in value:
        raise StubsimError(f"{key}: {_shown(value)}", expected="a string without NUL")
    return value


def guid(value: object) -> UUID:
    """An id as ukify reads it: hyphens, braces and "urn:uuid:" do not count. StubsimError for anything else."""
    if isinstance(value, str):
        digits = value.replace("urn:", "").replace("uuid:", "").strip("{}").replace("-", "")
        if re.fullmatch(_DIGITS, digits):
            return UUID(digits)
    raise StubsimError(f"{_shown(value)} is not a GUID", expected="8-4-4-4-12 hex digits")


def _shown(value: object) -> str:
    from json import dumps

    return dumps(value)[:60]
