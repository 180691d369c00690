"""SMBIOS tables (DMTF DSP0134): structures, their strings, and the few fields a stub looks at."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence

from stubsim.errors import StubsimError
from stubsim.rows import NamedTuple

INACTIVE = 126
END_OF_TABLE = 127

# Type -> bytes of the formatted area below which a stub does not see the structure at all (systemd 262, smbios.c; type
# 3 needs its type byte).
MINIMUM_LENGTHS = {0: 20, 1: 27, 2: 8, 3: 6, 11: 5}
# From this length on type 0 has a release number.
RELEASE_LENGTH = 24

_HEADER = struct.Struct("<BBH")
_ENTRY_POINT_3 = struct.Struct("<5sBBBBBBBIQ")
_ENTRY_POINT_2 = struct.Struct("<4sBBBBHB5s5sBHIHB")


class Structure(NamedTuple):
    """One structure; ``formatted`` includes the 4-byte header, ``raw`` everything to the closing NULs.

    ``behind`` is how many bytes of the table come after it: a stub looks no further for OEM strings. ``whole`` is False
    for one whose strings are cut short.
    """

    type: int
    handle: int
    formatted: bytes
    strings: tuple[bytes, ...]
    raw: bytes
    offset: int
    behind: int = 0
    whole: bool = True

    def string(self, number: int) -> bytes | None:
        """The string with that number, counted from 1; None for 0 and for numbers past the last one."""
        return self.strings[number - 1] if 0 < number <= len(self.strings) else None


class Fields(NamedTuple):
    """What a machine says about itself; None is string number 0, or a structure that is absent or too short."""

    manufacturer: bytes | None = None
    product_name: bytes | None = None
    product_sku: bytes | None = None
    family: bytes | None = None
    baseboard_manufacturer: bytes | None = None
    baseboard_product: bytes | None = None
    bios_vendor: bytes | None = None
    bios_version: bytes | None = None
    bios_major: int | None = None
    bios_minor: int | None = None
    enclosure_type: int | None = None


class Walk(NamedTuple):
    """The structures of a table, and what ends it before its end, if anything does."""

    structures: tuple[Structure, ...]
    damage: StubsimError | None


def parse(table: bytes | memoryview) -> tuple[Structure, ...]:
    """All structures up to and including type 127, or to the end of a table that has none.

    What lies behind type 127 is not looked at. Raises StubsimError for a structure or strings that are cut short.
    """
    structures, damage = walk(table)
    if damage is not None:
        raise damage
    return structures


def walk(table: bytes | memoryview, size: int = 0) -> Walk:
    """The structures as far as they go, as dmidecode and the stubs come to them; never raises.

    One whose strings are cut short is there, with the strings that have an end (systemd-stub 262, smbios.c,
    get_smbios_table). ``size`` is the table's by its entry point, where that is larger.
    """
    data = bytes(table)
    structures: list[Structure] = []
    offset = 0
    while offset < len(data):
        if offset + _HEADER.size > len(data):
            damage = StubsimError("SMBIOS structure is cut short", offset=offset, expected="a 4-byte header")
            return Walk(tuple(structures), damage)
        type_, length, handle = _HEADER.unpack_from(data, offset)
        tail = offset + length
        if length < _HEADER.size or tail > len(data):
            damage = StubsimError(
                f"SMBIOS structure of type {type_} has length {length}",
                offset=offset + 1,
                expected=f"{_HEADER.size} to {len(data) - offset}",
            )
            return Walk(tuple(structures), damage)
        strings, end, cut_off = _strings(data, tail, type_)
        behind = max(len(data), size) - end
        raw, whole = data[offset:end], cut_off is None
        structures.append(Structure(type_, handle, data[offset:tail], strings, raw, offset, behind, whole))
        if cut_off is not None or type_ == END_OF_TABLE:
            return Walk(tuple(structures), cut_off)
        offset = end
    return Walk(tuple(structures), None)


def is_begun(table: bytes) -> bool:
    """Whether there is the header of a structure that DSP0134 has or leaves to vendors, be the rest cut off."""
    if len(table) < 2:
        return False
    return (table[0] < 64 or table[0] == INACTIVE or table[0] >= END_OF_TABLE) and table[1] >= _HEADER.size


def _strings(data: bytes, start: int, type_: int) -> tuple[tuple[bytes, ...], int, StubsimError | None]:
    """The strings behind a formatted area, and where the next structure starts, or how they are cut short."""
    if data[start : start + 2] == b"\0\0":
        return (), start + 2, None
    # An empty first string does not end the set when it is walked over, only when a string is looked up: such a
    # structure has strings nobody can reach (systemd 262, smbios.c).
    end = data.find(b"\0\0", start + 1)
    if end < 0:
        if type_ == END_OF_TABLE:
            return (), min(start + 2, len(data)), None
        message = f"strings of the SMBIOS structure of type {type_} are cut short"
        return _ended(data[start:]), len(data), StubsimError(message, offset=start, expected="two NUL bytes")
    return _until_empty(data[start:end]), end + 2, None


def _ended(strings: bytes) -> tuple[bytes, ...]:
    """Those with a NUL behind them, up to an empty one."""
    return _until_empty(strings[: strings.rfind(b"\0") + 1])


def _until_empty(strings: bytes) -> tuple[bytes, ...]:
    parts = strings.split(b"\0")
    return tuple(parts[: parts.index(b"")] if b"" in parts else parts)


def first(structures: Iterable[Structure], type_: int, minimum_length: int) -> Structure | None:
    """The first structure of the type; None when it is too short, with no look at a later one, as the stub does."""
    found = next((structure for structure in structures if structure.type == type_), None)
    return found if found and len(found.formatted) >= minimum_length else None


def fields(structures: Sequence[Structure]) -> Fields:
    """The fields CHIDs are made of, by the minimum lengths of systemd 262 (smbios.c)."""
    found = Fields()
    if system := first(structures, 1, MINIMUM_LENGTHS[1]):
        found = found._replace(
            manufacturer=system.string(system.formatted[4]),
            product_name=system.string(system.formatted[5]),
            product_sku=system.string(system.formatted[25]),
            family=system.string(system.formatted[26]),
        )
    if board := first(structures, 2, MINIMUM_LENGTHS[2]):
        found = found._replace(
            baseboard_manufacturer=board.string(board.formatted[4]),
            baseboard_product=board.string(board.formatted[5]),
        )
    if bios := first(structures, 0, MINIMUM_LENGTHS[0]):
        found = found._replace(
            bios_vendor=bios.string(bios.formatted[4]),
            bios_version=bios.string(bios.formatted[5]),
        )
        if len(bios.formatted) >= RELEASE_LENGTH:
            found = found._replace(bios_major=bios.formatted[20], bios_minor=bios.formatted[21])
    if chassis := first(structures, 3, MINIMUM_LENGTHS[3]):
        found = found._replace(enclosure_type=chassis.formatted[5])
    return found


def oem_strings(structures: Iterable[Structure]) -> tuple[bytes, ...]:
    """The strings of the first type 11, from byte 5 to the double NUL whatever its length and count byte say.

    The search ends as many bytes before the end of the table as the structure is longer than 5 (systemd-stub 262.1,
    smbios.c, smbios_find_oem_string): of a long one at the end of a table without type 127 the last one is not seen.
    """
    found = first(structures, 11, MINIMUM_LENGTHS[11])
    if found is None:
        return ()
    end = len(found.raw) + found.behind - (len(found.formatted) - MINIMUM_LENGTHS[11])
    return _ended(found.raw[5:end])


def oem_strings_one_nul_on(structures: Sequence[Structure]) -> tuple[bytes, ...] | None:
    """What a search for type 11 finds that takes a single NUL for the end of a structure without strings.

    It then reads the next header one byte too early, until an empty string puts it right again (systemd 254 to 254.14,
    vmm.c, get_smbios_table). None where it comes to bytes of the table that are in none of the structures.
    """
    table = b"".join(structure.raw for structure in structures)
    size = len(table) + (structures[-1].behind if structures else 0)
    at = 0
    while size - at >= _HEADER.size:
        if len(table) - at < _HEADER.size:
            return None
        type_, length = table[at], table[at + 1]
        if type_ == END_OF_TABLE or length > size - at:
            return ()
        if type_ == 11:
            end = size - length + MINIMUM_LENGTHS[11]
            return _ended(table[at + MINIMUM_LENGTHS[11] : end]) if length >= MINIMUM_LENGTHS[11] else ()
        behind = _behind_one_nul(table, at + length)
        if behind is None:
            return () if size == len(table) else None
        at = behind
    return ()


def _behind_one_nul(table: bytes, at: int) -> int | None:
    """Behind the first empty string from here on."""
    while (end := table.find(b"\0", at)) > at:
        at = end + 1
    return None if end < 0 else at + 1


def build(structures: Iterable[bytes]) -> bytes:
    """A table of the given raw structures, closed by type 127."""
    parts = list(structures)
    return b"".join([*parts, build_structure(END_OF_TABLE, b"", (), len(parts))])


def build_structure(type_: int, formatted_tail: bytes, strings: Sequence[bytes] = (), handle: int = 0) -> bytes:
    """One structure: header, the formatted area behind the header, the strings and the closing NULs.

    Raises StubsimError for a string that is empty or holds a NUL, and for a formatted area above 251 bytes.
    """
    for string in strings:
        if not string or b"\0" in string:
            raise StubsimError(f"SMBIOS string {string!r} cannot be written", expected="one or more bytes without NUL")
    length = _HEADER.size + len(formatted_tail)
    if length > 255:
        raise StubsimError(f"SMBIOS structure of {length} bytes", expected="at most 255")
    closing = b"".join(string + b"\0" for string in strings) or b"\0"
    return _HEADER.pack(type_, length, handle) + formatted_tail + closing + b"\0"


class _Numbering:
    """Gives strings their numbers in one structure; None and the empty string are number 0."""

    def __init__(self) -> None:
        self.strings: list[bytes] = []

    def __call__(self, string: bytes | None) -> int:
        if not string:
            return 0
        self.strings.append(string)
        return len(self.strings)


def from_fields(fields: Fields, oem_strings: Sequence[bytes] = ()) -> bytes:
    """The smallest table that says just this: types 0 and 1, and 2, 3 and 11 where they are needed.

    ``fields(parse(from_fields(f))) == f`` for strings that are not empty and release numbers that come in pairs; a
    lone one is completed with 255, "not supported" in DSP0134.
    """
    number = _Numbering()
    # BIOS characteristics: bit 3 "not supported"; extension byte 2: bit 3 UEFI.
    tail = struct.pack("<BBHBBQBB", number(fields.bios_vendor), number(fields.bios_version), 0, 0, 0, 8, 0, 8)
    if (fields.bios_major, fields.bios_minor) != (None, None):
        release = (255 if value is None else value for value in (fields.bios_major, fields.bios_minor))
        tail += bytes([*release, 255, 255])
    structures = [build_structure(0, tail, number.strings, 0)]

    number = _Numbering()
    # Wake-up type 6: power switch.
    tail = bytes([number(fields.manufacturer), number(fields.product_name), 0, 0, *bytes(16), 6])
    tail += bytes([number(fields.product_sku), number(fields.family)])
    structures.append(build_structure(1, tail, number.strings, 1))

    if fields.baseboard_manufacturer or fields.baseboard_product:
        number = _Numbering()
        tail = bytes([number(fields.baseboard_manufacturer), number(fields.baseboard_product), 0, 0])
        structures.append(build_structure(2, tail, number.strings, 2))
    if fields.enclosure_type is not None:
        # States 3: safe; security status 3: none.
        structures.append(build_structure(3, bytes([0, fields.enclosure_type, 0, 0, 0, 3, 3, 3, 3]), (), 3))
    if oem_strings:
        structures.append(build_structure(11, bytes([min(len(oem_strings), 255)]), oem_strings, 11))
    return build(structures)


def parse_entry_point(data: bytes | memoryview) -> tuple[int, int, int]:
    """Major and minor version and the (maximum) length of the table in bytes, of a `_SM3_` or `_SM_` entry point.

    Checksums are not looked at, the stub does not either. Raises StubsimError for anything else.
    """
    raw = bytes(data[: _ENTRY_POINT_2.size])
    if raw.startswith(b"_SM3_") and len(raw) >= _ENTRY_POINT_3.size:
        _, _, _, major, minor, _, _, _, length, _ = _ENTRY_POINT_3.unpack_from(raw)
    elif raw.startswith(b"_SM_") and len(raw) >= _ENTRY_POINT_2.size:
        _, _, _, major, minor, _, _, _, _, _, length, _, _, _ = _ENTRY_POINT_2.unpack_from(raw)
    else:
        raise StubsimError(
            "not an SMBIOS entry point",
            offset=0,
            expected=f"_SM3_ and {_ENTRY_POINT_3.size} bytes, or _SM_ and {_ENTRY_POINT_2.size}",
        )
    return major, minor, length


def build_entry_point(table: bytes) -> bytes:
    """An SMBIOS 3.3 entry point of 24 bytes; the table's address is 32, where `dmidecode --from-dump` wants it."""
    size = _ENTRY_POINT_3.size
    plain = _ENTRY_POINT_3.pack(b"_SM3_", 0, size, 3, 3, 0, 1, 0, len(table), 32)
    return plain[:5] + bytes([-sum(plain) & 0xFF]) + plain[6:]
