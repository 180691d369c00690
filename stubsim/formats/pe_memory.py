"""A PE image in memory: its sections at their addresses, the later over the earlier."""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heappop, heappush

from stubsim import extent
from stubsim.extent import Extent, Piece
from stubsim.formats import pe


def loaded(data: Extent, size_of_image: int, size_of_headers: int, sections: Sequence[pe.Section]) -> Extent:
    """The SizeOfImage bytes in memory: the headers, then the sections in table order, the later over the earlier.

    A section is as many bytes of the file as its VirtualSize, if it has so many (all it has where that is 0), then
    zeros up to its VirtualSize (EDK II, BasePeCoffLib, PeCoffLoaderLoadImage; systemd-stub 262.1, recordings
    pe-virtual-larger, -smaller). What no section covers is taken to be zeros.
    """
    writes: list[tuple[int, int, Extent | None, int]] = [(0, size_of_headers, data, 0)]
    for section in sections:
        at, size = section.virtual_address, section.virtual_size
        present = size if 0 < size <= section.raw_size else section.raw_size
        present = min(present, max(len(data) - section.raw_offset, 0))
        writes += [(at, at + present, data, section.raw_offset), (at + present, at + size, None, 0)]
    return extent.laid_out(_painted(writes, size_of_image), size_of_image, data)


def section_data(image: pe.Image, section: pe.Section) -> memoryview:
    """The section as it is in memory: VirtualSize bytes. StubsimError: no address space for its zeros."""
    whole = loaded(image.data, image.size_of_image, image.size_of_headers, image.sections)
    return whole[section.virtual_address :][: section.virtual_size].view()


def overlaps(image: pe.Image) -> tuple[tuple[pe.Section | None, pe.Section], ...]:
    """Sections that share bytes in memory, as pairs in the order of the table; None are the headers.

    At most one pair for each section: with what reaches furthest of all that starts before it.
    """
    found: list[tuple[pe.Section | None, pe.Section]] = []
    before, end = None, image.size_of_headers
    for section in sorted(image.sections, key=lambda section: section.virtual_address):
        at, size = section.virtual_address, section.virtual_size or section.raw_size
        if size and at < end:
            pair = (before, section) if before is None or before.index < section.index else (section, before)
            found.append(pair)
        if size and at + size > end:
            before, end = section, at + size
    return tuple(found)


def _painted(writes: Sequence[tuple[int, int, Extent | None, int]], size: int) -> list[Piece]:
    """What is left, by address, of writes (start, end, source, offset there) that came one after the other."""
    order = sorted(range(len(writes)), key=lambda number: writes[number][0])
    order = [number for number in order if writes[number][0] < min(writes[number][1], size)]
    # The writes that reach the address, the last one first.
    heap: list[int] = []
    shown: list[tuple[int, int, int]] = []
    at = following = 0
    while heap or following < len(order):
        if not heap:
            at = max(at, writes[order[following]][0])
        while following < len(order) and writes[order[following]][0] <= at:
            heappush(heap, -order[following])
            following += 1
        last = -heap[0]
        if writes[last][1] <= at:
            heappop(heap)
            continue
        stop = min(writes[last][1], size)
        if following < len(order):
            stop = min(stop, writes[order[following]][0])
        if shown and shown[-1][1:] == (at, last):
            shown[-1] = (shown[-1][0], stop, last)
        else:
            shown.append((at, stop, last))
        at = stop
        if at == size:
            break
    pieces = []
    for start, stop, number in shown:
        first, _, source, offset = writes[number]
        if source is not None:
            pieces.append(Piece(start, stop, source, offset + start - first))
    return pieces
