"""Flattened devicetrees (Devicetree Specification 0.4, chapter 5), as far as a stub reads them."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence

from stubsim.errors import StubsimError
from stubsim.extent import Bytes
from stubsim.rows import NamedTuple

MAGIC = 0xD00DFEED
HEADER_SIZE = 40

_BEGIN_NODE, _END_NODE, _PROP, _NOP, _END = 1, 2, 3, 4, 9
_HEADER = struct.Struct(">10I")
# Bytes of a `compatible` that are looked at, and of the structure block that are read in one go.
_COMPATIBLE_MAX = 64 << 10
_WINDOW = 4096


class CutOffError(StubsimError):
    """What is asked for lies behind the bytes that there are."""


class _Header(NamedTuple):
    magic: int
    total_size: int
    structure: int
    strings: int
    reserved: int
    version: int
    last_compatible_version: int
    boot_cpu: int
    strings_size: int
    structure_size: int


def _header(data: Bytes | bytearray) -> _Header:
    if len(data) < HEADER_SIZE:
        raise CutOffError("devicetree is cut short", offset=0, expected=f"a header of {HEADER_SIZE} bytes")
    header = _Header(*_HEADER.unpack(bytes(data[:HEADER_SIZE])))
    if header.magic != MAGIC:
        raise StubsimError(f"not a devicetree: magic {header.magic:#010x}", offset=0, expected=f"{MAGIC:#010x}")
    return header


def total_size(data: Bytes) -> int:
    """The size in bytes that the header gives. Raises StubsimError for a bad magic and for less than a header."""
    return _header(data).total_size


def set_total_size(data: bytearray, size: int) -> None:
    """Write another size into the header; a blob without one stays as it is."""
    try:
        _header(data)
    except StubsimError:
        return
    data[4:8] = size.to_bytes(4, "big")


def root_compatible(data: Bytes, *, whole: bool = True) -> tuple[str, ...]:
    """The strings of the root node's `compatible`, most specific first; bytes that are not UTF-8 as surrogate escapes.

    Bytes behind the total size do not count. Raises StubsimError for a blob shorter than its total size, for a root
    without `compatible`, and for whatever else makes systemd 262 call a tree bad (devicetree.c). With ``whole`` False
    more of the tree may follow than is known, as behind the address of the firmware's: CutOffError if it is needed.
    """
    header = _header(data)
    if whole and len(data) < header.total_size:
        raise StubsimError(
            f"devicetree of {len(data)} bytes is cut short", offset=4, expected=f"{header.total_size} bytes"
        )
    if header.strings + header.strings_size > header.total_size:
        raise StubsimError(
            "strings block of the devicetree ends outside of it", offset=12, expected="an end within the total size"
        )
    if header.structure % 4 or header.structure_size % 4:
        raise StubsimError("structure block of the devicetree is not aligned", offset=8, expected="multiples of 4")
    if header.structure + header.structure_size > header.strings:
        raise StubsimError(
            "structure block of the devicetree runs into its strings", offset=8, expected="an end before them"
        )

    names = data[header.strings : header.strings + header.strings_size]
    for name_offset, offset, size in _root_properties(data, header):
        if header.strings + name_offset + 11 > len(data) and name_offset + 11 <= header.strings_size:
            raise CutOffError(
                "name of a property is cut short", offset=header.strings + name_offset, expected="11 bytes"
            )
        if bytes(names[name_offset : name_offset + 11]) != b"compatible\0":
            continue
        if offset + size > len(data):
            raise CutOffError("root `compatible` is cut short", offset=offset, expected=f"{size} bytes")
        if not size or data[offset + size - 1]:
            raise StubsimError("root `compatible` has no end", offset=offset, expected="NUL-terminated strings")
        value = bytes(data[offset : offset + min(size - 1, _COMPATIBLE_MAX)])
        return tuple(text.decode(errors="surrogateescape") for text in value.split(b"\0"))
    raise StubsimError("devicetree has no root `compatible`", offset=header.structure, expected="one in the root node")


def _root_properties(data: Bytes, header: _Header) -> Iterator[tuple[int, int, int]]:
    """Offset of the name in the strings block, offset and size of the value, up to the first child node."""
    at, end = header.structure, header.structure + header.structure_size
    window, begin = b"", 0

    def word(offset: int) -> int:
        nonlocal window, begin
        if offset + 4 > end:
            raise StubsimError("structure block of the devicetree is cut short", offset=end, expected="the root node")
        if offset + 4 > len(data):
            raise CutOffError("structure block of the devicetree is cut short", offset=offset, expected="4 bytes")
        if not begin <= offset <= begin + len(window) - 4:
            window, begin = bytes(data[offset : offset + _WINDOW]), offset
        return int.from_bytes(window[offset - begin : offset - begin + 4], "big")

    while True:
        token = word(at)
        if token == _NOP:
            at += 4
        elif token == _BEGIN_NODE and word(at + 4) == 0:
            at += 8
        elif token == _PROP:
            size, name_offset, value = word(at + 4), word(at + 8), at + 12
            if value + size > end:
                raise StubsimError(
                    f"property of {size} bytes is cut short", offset=at, expected=f"at most {end - value}"
                )
            yield name_offset, value, size
            at = value + (size + 3 & ~3)
        else:
            return


def build(
    compatible: Sequence[str],
    properties: Sequence[tuple[str, bytes]] = (),
    *,
    compatible_first: bool = True,
    child_compatible: Sequence[str] = (),
) -> bytes:
    """A tree of version 17: `compatible` before or behind ``properties``, and a child node where it is given one.

    An empty ``compatible`` leaves the property out.
    """
    strings = bytearray()

    def prop(name: str, value: bytes) -> bytes:
        key = name.encode() + b"\0"
        offset = (b"\0" + strings).find(b"\0" + key)
        if offset < 0:
            offset = len(strings)
            strings.extend(key)
        return struct.pack(">III", _PROP, len(value), offset) + value + bytes(-len(value) % 4)

    def texts(values: Sequence[str]) -> bytes:
        return b"".join(value.encode(errors="surrogateescape") + b"\0" for value in values)

    own = [("compatible", texts(compatible))] if compatible else []
    ordered = [*own, *properties] if compatible_first else [*properties, *own]
    structure = struct.pack(">II", _BEGIN_NODE, 0) + b"".join(prop(name, value) for name, value in ordered)
    if child_compatible:
        structure += struct.pack(">I", _BEGIN_NODE) + b"child\0\0\0" + prop("compatible", texts(child_compatible))
        structure += struct.pack(">I", _END_NODE)
    structure += struct.pack(">II", _END_NODE, _END)

    # One empty memory reservation behind the header, then structure and strings.
    at = HEADER_SIZE + 16
    header = _Header(
        magic=MAGIC,
        total_size=at + len(structure) + len(strings),
        structure=at,
        strings=at + len(structure),
        reserved=HEADER_SIZE,
        version=17,
        last_compatible_version=16,
        boot_cpu=0,
        strings_size=len(strings),
        structure_size=len(structure),
    )
    return _HEADER.pack(*header) + bytes(16) + structure + bytes(strings)
