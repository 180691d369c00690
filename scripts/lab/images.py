"""Images as ukify makes them: a stub with sections behind its own."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from stubsim.errors import StubsimError
from stubsim.formats.pe import SectionSpec

_SECTION = struct.Struct("<8sIIIIIIHHI")
_PAGE = 0x1000
# A WIN_CERTIFICATE (Authenticode) that holds nothing: without keys, to have one is to be signed.
CERTIFICATE = struct.pack("<IHH", 16, 0x200, 2) + bytes(8)


def uki(stub: bytes, sections: Sequence[SectionSpec], *, signed: bool = False) -> bytes:
    """The stub with the sections appended; each starts a page, unless it asks for another address.

    StubsimError: the section table does not fit in front of the stub's first section.
    """
    data = bytearray(stub)
    header = int.from_bytes(data[0x3C:0x40], "little")
    count, optional_size = struct.unpack_from("<H12xH", data, header + 6)
    optional = header + 24
    file_alignment, headers_size = struct.unpack_from("<I20xI", data, optional + 36)
    table = optional + optional_size
    rows = [list(_SECTION.unpack_from(data, table + 40 * index)) for index in range(count)]
    end = table + 40 * (count + len(sections))
    shift = max(0, _aligned(end, file_alignment) - headers_size)
    if headers_size + shift > min(row[2] for row in rows):
        raise StubsimError(f"no room for {len(sections)} more sections in front of the stub's own")
    data[headers_size:headers_size] = bytes(shift)
    for row in rows:
        row[4] += shift if row[3] else 0
    address = _aligned(max(row[2] + row[1] for row in rows), _PAGE)
    for spec in sections:
        data += bytes(-len(data) % file_alignment)
        size = len(spec.data) if spec.virtual_size is None else spec.virtual_size
        at = address if spec.virtual_address is None else spec.virtual_address
        raw = spec.data + bytes(-len(spec.data) % file_alignment)
        name = spec.name.encode("latin-1")
        rows.append([name, size, at, len(raw), len(data) if raw else 0, 0, 0, 0, 0, spec.characteristics])
        data += raw
        address = max(address, _aligned(at + max(size, 1), _PAGE))
    data[table:end] = b"".join(_SECTION.pack(*row) for row in rows)
    struct.pack_into("<H", data, header + 6, len(rows))
    struct.pack_into("<II", data, optional + 56, address, headers_size + shift)
    return _signed(data, optional) if signed else bytes(data)


def _signed(data: bytearray, optional: int) -> bytes:
    data += bytes(-len(data) % 8)
    struct.pack_into("<II", data, optional + 112 + 4 * 8, len(data), len(CERTIFICATE))
    return bytes(data) + CERTIFICATE


def _aligned(value: int, alignment: int) -> int:
    return -(-value // alignment) * alignment
