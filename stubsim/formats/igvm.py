"""IGVM files: a virtual machine's initial state for several isolation platforms (microsoft/igvm, igvm_defs).

Little endian: a fixed header, then the variable headers (type, length, content, each at a multiple of 8), then data.
Offsets and sizes are in bytes from the start of the file.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from struct import Struct

from stubsim.errors import StubsimError
from stubsim.rows import NamedTuple

MAGIC = b"IGVM"
SUPPORTED_PLATFORM = 0x1
PLATFORMS = {0: "native", 1: "VSM isolation", 2: "SEV-SNP", 3: "TDX", 4: "SEV", 5: "SEV-ES"}
ARCHITECTURES = {0: "x64", 1: "aa64"}
# A loader that does not know a header with this bit may pass over it.
OPTIONAL = 0x8000_0000
# IgvmVariableHeaderType without its prefix IGVM_VHT_.
HEADERS = {
    0x001: "SUPPORTED_PLATFORM",
    0x101: "GUEST_POLICY",
    0x102: "RELOCATABLE_REGION",
    0x103: "PAGE_TABLE_RELOCATION_REGION",
    0x301: "PARAMETER_AREA",
    0x302: "PAGE_DATA",
    0x303: "PARAMETER_INSERT",
    0x304: "VP_CONTEXT",
    0x305: "REQUIRED_MEMORY",
    0x307: "VP_COUNT_PARAMETER",
    0x308: "SRAT",
    0x309: "MADT",
    0x30A: "MMIO_RANGES",
    0x30B: "SNP_ID_BLOCK",
    0x30C: "MEMORY_MAP",
    0x30D: "ERROR_RANGE",
    0x30E: "COMMAND_LINE",
    0x30F: "SLIT",
    0x310: "PPTT",
    0x311: "VBS_MEASUREMENT",
    0x312: "DEVICE_TREE",
    0x313: "ENVIRONMENT_INFO_PARAMETER",
    0x314: "CORIM_MEASUREMENT",
}
_FIXED = Struct("<4sIIIII")
_EXTENSION = Struct("<II")
_HEADER = Struct("<II")
_PLATFORM = Struct("<IBBHQ")


class Header(NamedTuple):
    """A variable header; offset is where its content stands. The type's top bit lets a loader ignore it."""

    type: int
    offset: int
    data: bytes

    @property
    def name(self) -> str:
        return header_name(self.type)


class Platform(NamedTuple):
    """A platform the file can be loaded on; shared_gpa_boundary is a gpa, 0 for none."""

    compatibility_mask: int
    highest_vtl: int
    type: int
    version: int
    shared_gpa_boundary: int


class Igvm(NamedTuple):
    """Version 1 files are for x64 with pages of 4096 bytes."""

    version: int
    architecture: int
    page_size: int
    total_size: int
    checksum: int
    headers: tuple[Header, ...]

    @property
    def platforms(self) -> tuple[Platform, ...]:
        bodies = (header.data for header in self.headers if header.type == SUPPORTED_PLATFORM)
        return tuple(Platform(*_PLATFORM.unpack_from(body)) for body in bodies if len(body) >= _PLATFORM.size)


def parse(data: bytes | memoryview) -> Igvm:
    """Read the headers; StubsimError for a wrong magic, size or checksum, or a header that is cut short."""
    if bytes(data[:4]) != MAGIC:
        raise StubsimError("not an IGVM file", offset=0, expected='"IGVM"')
    if len(data) < _FIXED.size:
        raise StubsimError("the IGVM file is cut short", offset=len(data), expected=f"a header of {_FIXED.size} bytes")
    _, version, start, size, total, checksum = _FIXED.unpack_from(data)
    if not version:
        raise StubsimError("IGVM format version 0", offset=4, expected="1 or 2")
    fixed_size = _FIXED.size + (_EXTENSION.size if version > 1 else 0)
    if start < fixed_size or start % 8:
        expected = f"a multiple of 8 from {fixed_size} on"
        raise StubsimError(f"IGVM variable headers at {start:#x}", offset=8, expected=expected)
    if start + size > total:
        expected = f"at most {total:#x}, the file's size"
        raise StubsimError(f"IGVM variable headers up to {start + size:#x}", offset=12, expected=expected)
    if total > len(data):
        raise StubsimError("the IGVM file is cut short", offset=len(data), expected=f"{total} bytes")
    found = _checksum(bytes(data[:fixed_size]), bytes(data[start : start + size]))
    if found != checksum:
        raise StubsimError(f"IGVM checksum {checksum:#010x}", offset=20, expected=f"{found:#010x}")
    architecture, page_size = _EXTENSION.unpack_from(data, _FIXED.size) if version > 1 else (0, 4096)
    return Igvm(version, architecture, page_size, total, checksum, tuple(_headers(data, start, start + size)))


def build(headers: Iterable[tuple[int, bytes]], data: bytes = b"", *, version: int = 1, architecture: int = 0) -> bytes:
    """A file with these variable headers (type and content) and the data behind them."""
    variable = b"".join(
        _HEADER.pack(kind, len(content)) + content + bytes(-len(content) % 8) for kind, content in headers
    )
    extension = _EXTENSION.pack(architecture, 4096) if version > 1 else b""
    start = _FIXED.size + len(extension)
    total = start + len(variable) + len(data)
    unsigned = _FIXED.pack(MAGIC, version, start, len(variable), total, 0) + extension
    checksum = _checksum(unsigned, variable)
    return _FIXED.pack(MAGIC, version, start, len(variable), total, checksum) + extension + variable + data


def header_name(kind: int) -> str:
    """What igvm_defs calls a type of variable header, whether or not it is optional."""
    return HEADERS.get(kind & ~OPTIONAL, f"type {kind:#x}")


def platform(kind: int, compatibility_mask: int = 1) -> tuple[int, bytes]:
    """The variable header of a supported platform, for ``build``."""
    return SUPPORTED_PLATFORM, _PLATFORM.pack(compatibility_mask, 0, kind, 1, 0)


def _headers(data: bytes | memoryview, at: int, end: int) -> Iterable[Header]:
    while at < end:
        if at + _HEADER.size > end:
            raise StubsimError("an IGVM header is cut short", offset=at, expected=f"{_HEADER.size} bytes")
        kind, length = _HEADER.unpack_from(data, at)
        at += _HEADER.size
        if length > end - at:
            raise StubsimError(f"an IGVM header of {length} bytes", offset=at - 4, expected=f"at most {end - at}")
        yield Header(kind, at, bytes(data[at : at + length]))
        at += length + -length % 8


def _checksum(fixed: bytes, variable: bytes) -> int:
    """CRC-32 of the fixed header, its checksum field taken as zero, and the variable headers."""
    return zlib.crc32(variable, zlib.crc32(fixed[:20] + bytes(4) + fixed[24:]))
