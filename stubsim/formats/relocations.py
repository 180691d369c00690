"""Base relocations: where the firmware adds to an image that does not lie at its ImageBase (PE format, `.reloc`)."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from struct import Struct

from stubsim.extent import Extent
from stubsim.formats import pe

_BLOCK = Struct("<II")
_ENTRY = Struct("<H")
# Type -> bytes that change; ABSOLUTE (0) fills up a block, of the others the widest is assumed.
_WIDTHS = {0: 0, 1: 2, 2: 2, 3: 4}
_WIDEST = 8
# A stub has some hundred; of a larger directory every section is taken to be changed.
_SIZE_MAX = 1 << 20


def relocated(image: pe.Image, loaded: Extent, sections: Sequence[pe.Section]) -> tuple[pe.Section, ...]:
    """Those of the sections that base relocations change in memory."""
    address, size = image.base_relocations
    if not size or image.characteristics & pe.RELOCS_STRIPPED:
        return ()
    if size > _SIZE_MAX:
        return tuple(sections)
    places = sorted(set(_places(bytes(loaded[address:][:size]))))
    return tuple(section for section in sections if _is_hit(section, places))


def _places(data: bytes) -> Iterator[tuple[int, int]]:
    """Address and number of the bytes of each relocation, block by block."""
    at = 0
    while at + _BLOCK.size <= len(data):
        page, size = _BLOCK.unpack_from(data, at)
        if size < _BLOCK.size:
            return
        entries = data[at + _BLOCK.size : at + size]
        for (entry,) in _ENTRY.iter_unpack(entries[: len(entries) & ~1]):
            width = _WIDTHS.get(entry >> 12, _WIDEST)
            if width:
                yield page + (entry & 0xFFF), width
        at += size


def _is_hit(section: pe.Section, places: Sequence[tuple[int, int]]) -> bool:
    start, end = section.virtual_address, section.virtual_address + section.virtual_size
    first = bisect_left(places, (start - _WIDEST, 0))
    # Of three widths each at so many addresses before it; the next one lies inside or behind.
    near = places[first : first + 3 * _WIDEST + 1]
    return any(address < end and address + width > start for address, width in near)
