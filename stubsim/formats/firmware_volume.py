"""Firmware volumes (UEFI Platform Initialization 1.8, volume 3): what is where in an image, and for which processor.

OVMF keeps SEC in a volume that is executed in place, PEI and DXE in volumes of an LZMA section of another. Its IA32X64
build has SEC and PEI for ia32 and DXE for x64: the SEC core alone does not tell what the firmware can start.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from struct import Struct
from uuid import UUID

from stubsim.rows import NamedTuple

SECURITY, PEI, DXE = "SEC", "PEI", "DXE"
# File types, 3.2.3.1.
_CORES = {0x03: SECURITY, 0x04: PEI, 0x05: DXE}
_VOLUME_IMAGE = 0x0B
# Section types, 3.2.4.1.
_GUID_DEFINED, _PE32, _TE, _VOLUME = 0x02, 0x10, 0x12, 0x17
_FILE_SYSTEMS = (
    UUID("8c8ce578-8a3d-4f1c-9935-896185c32dd3").bytes_le,
    UUID("5473c07a-3dcb-4dca-bd6f-1e9689e7349a").bytes_le,
)
_LZMA = UUID("ee4e5898-3914-4259-9d6e-dc7bd79403cf").bytes_le
# From the file system to the signature, with the length between them; code that looks for volumes has the latter alone.
_VOLUME_START = re.compile(b"(?:" + b"|".join(map(re.escape, _FILE_SYSTEMS)) + b").{8}_FVH", re.DOTALL)
# Zero vector, file system, length, signature, attributes, header length, checksum, extended header, reserved, revision.
_HEADER = Struct("<16s16sQ4sIHHHBB")
_LARGE_FILE = 0x01
# How often volumes may be within volumes, and how far one may unpack: OVMF needs one level and 9 times its size.
_DEPTH = 1
_UNPACKED_RATIO, _UNPACKED_MAX = 16, 32 << 20
_DICTIONARY_MAX = 256 << 20
# Files and sections; a real image has some hundreds.
_STEPS_MAX = 1 << 16


class Core(NamedTuple):
    """The core of a phase, and its machine as the COFF number."""

    phase: str
    machine: int


class Volume(NamedTuple):
    """A volume with files, and which phases' cores it has; ``packed``: it was in a compressed section."""

    content: memoryview
    phases: frozenset[str]
    packed: bool


def volumes(data: bytes | memoryview) -> tuple[Volume, ...]:
    """Every volume of an image, packed ones as they are when unpacked, in their order.

    Never raises: what is not well-formed is passed over, and so is what is packed in another way than with LZMA.
    """
    return tuple(_every_volume(memoryview(data).toreadonly(), _DEPTH, _Budget(), packed=False))


def cores(data: bytes | memoryview) -> tuple[Core, ...]:
    """The cores in the volumes of an image, each phase and machine once, in the order of the phases.

    Never raises: what is not well-formed is passed over, and so is what is packed in another way than with LZMA.
    """
    found = dict.fromkeys(_cores(memoryview(data).toreadonly(), _DEPTH, _Budget()))
    return tuple(sorted(found, key=lambda core: [*_CORES.values()].index(core.phase)))


class _Budget:
    """What reading an image may cost: files and sections passed, and bytes that are unpacked, in all."""

    def __init__(self) -> None:
        self.steps = iter(range(_STEPS_MAX))
        self.unpacked = _UNPACKED_MAX


def _every_volume(view: memoryview, depth: int, budget: _Budget, *, packed: bool) -> Iterator[Volume]:
    for volume in _volumes(view):
        phases, within = set(), []
        for file_type, body in _files(volume, budget):
            if file_type in _CORES:
                phases.add(_CORES[file_type])
            elif file_type == _VOLUME_IMAGE and depth:
                within.append(body)
        yield Volume(volume, frozenset(phases), packed)
        for body in within:
            for section_type, header, section in _sections(body, budget):
                plain = section_type == _VOLUME
                inner = section[header:] if plain else _unpacked(section_type, header, section, budget)
                yield from _every_volume(inner, depth - 1, budget, packed=packed or not plain)


def _cores(view: memoryview, depth: int, budget: _Budget) -> Iterator[Core]:
    for volume in _volumes(view):
        for file_type, body in _files(volume, budget):
            for section_type, header, section in _sections(body, budget):
                machine = _machine(section_type, section[header:]) if file_type in _CORES else None
                if machine is not None:
                    yield Core(_CORES[file_type], machine)
                elif file_type == _VOLUME_IMAGE and depth:
                    inner = (
                        section[header:]
                        if section_type == _VOLUME
                        else _unpacked(section_type, header, section, budget)
                    )
                    yield from _cores(inner, depth - 1, budget)


def _volumes(view: memoryview) -> Iterator[memoryview]:
    """The volumes with files that lie one behind the other."""
    behind = 0
    for match in _VOLUME_START.finditer(view):
        start = match.start() - 16
        if start < behind or len(view) - start < _HEADER.size:
            continue
        _, _, length, _, _, header_length, *_ = _HEADER.unpack_from(view, start)
        if _HEADER.size <= header_length <= length <= len(view) - start:
            behind = start + length
            yield view[start:behind]


def _files(volume: memoryview, budget: _Budget) -> Iterator[tuple[int, memoryview]]:
    """Type and content of each file."""
    _, _, _, _, _, at, _, extended, _, _ = _HEADER.unpack_from(volume)
    if extended:
        # A GUID, and the size with it.
        at = extended + _number(volume, extended + 16, 4)
    at += -at % 8
    while at + 24 <= len(volume) and next(budget.steps, None) is not None:
        size, header = _number(volume, at + 20, 3), 24
        if volume[at + 19] & _LARGE_FILE:
            size, header = _number(volume, at + 24, 8), 32
        if not header <= size <= len(volume) - at:
            return
        yield volume[at + 18], volume[at + header : at + size]
        at += size + -size % 8


def _sections(body: memoryview, budget: _Budget) -> Iterator[tuple[int, int, memoryview]]:
    """Type, size of the header, and the section with its header."""
    at = 0
    while at + 4 <= len(body) and next(budget.steps, None) is not None:
        size, header = _number(body, at, 3), 4
        if size == 0xFFFFFF:
            size, header = _number(body, at + 4, 4), 8
        if not header <= size <= len(body) - at:
            return
        yield body[at + 3], header, body[at : at + size]
        at += size + -size % 4


def _machine(section_type: int, image: memoryview) -> int | None:
    """The machine of a PE32 or TE image."""
    if section_type == _TE and bytes(image[:2]) == b"VZ":
        return _number(image, 2, 2)
    if section_type == _PE32 and bytes(image[:2]) == b"MZ":
        at = _number(image, 0x3C, 4)
        if bytes(image[at : at + 4]) == b"PE\0\0":
            return _number(image, at + 4, 2)
    return None


def _unpacked(section_type: int, header: int, section: memoryview, budget: _Budget) -> memoryview:
    """What an LZMA section holds, or as much of it as is worth the memory; nothing for any other."""
    start = _number(section, header + 16, 2)
    if section_type != _GUID_DEFINED or section[header : header + 16] != _LZMA or start < header + 20:
        return memoryview(b"")
    # Not in every build of Python.
    try:
        import lzma
    except ImportError:
        return memoryview(b"")
    limit = min(budget.unpacked, _UNPACKED_RATIO * len(section))
    try:
        unpacker = lzma.LZMADecompressor(lzma.FORMAT_ALONE, memlimit=_DICTIONARY_MAX)
        content = unpacker.decompress(section[start:], limit)
    except lzma.LZMAError:
        return memoryview(b"")
    budget.unpacked -= len(content)
    return memoryview(content)


def _number(view: memoryview, offset: int, size: int) -> int:
    """A little-endian number; what is cut short reads as if zeros followed."""
    return int.from_bytes(view[offset : offset + size], "little")
