"""Which pages of the RAM the firmware has given out: the allocator and the memory map.

Addresses are given out as EDK II does (MdeModulePkg/Core/Dxe/Mem/Page.c), from the layout of a QEMU guest; they are
plausible, not a prediction: each firmware and each device moves them.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from functools import lru_cache

from stubsim.extent import Bytes
from stubsim.machine.ram import PAGE, Ram
from stubsim.rows import NamedTuple
from stubsim.trace import Staged
from stubsim.uefi.memory_layout import BUILD, FREE, SPECIAL, TYPES, Layout, layout

# Bytes around what the firmware's AllocatePool() gives out (EDK II, MdeModulePkg/Core/Dxe/Mem/Pool.c, 64 bit).
POOL_OVERHEAD = 40


class OutOfResources(Exception):  # noqa: N818 - the UEFI status it stands for
    """EFI_OUT_OF_RESOURCES: no free pages of that size where they were asked for."""


class NotAllocated(LookupError):  # noqa: N818
    """An address at which no allocation starts was to be freed (EFI_NOT_FOUND)."""


class Region(NamedTuple):
    """A row of the memory map: start is a gpa, pages are of 4096 bytes, type is a UEFI name."""

    start: int
    pages: int
    type: str


class Memory(Ram):
    """The RAM of a QEMU guest with a firmware in it; ``layout`` tells what the firmware holds."""

    def __init__(
        self,
        size: int,
        architecture: str = "x64",
        *,
        devices: Sequence[str] = (),
        build: str = BUILD,
        confidential: bool = False,
    ) -> None:
        super().__init__(size, architecture, confidential=confidential)
        self.layout = layout(size, architecture, tuple(devices), build)
        self._forget_allocations()

    def reset(self) -> None:
        """The same, and the firmware starts again, which knows of no allocations."""
        super().reset()
        self._forget_allocations()

    def allocate(self, size: int, type: str, *, below: int | None = None, at: int | None = None) -> int:
        """The gpa of enough pages for `size` bytes, at least one so that all has an address of its own.

        They are the highest free ones of the type's bin, else below all bins, else anywhere; with `below` they also end
        at or before it; or they are those at the gpa `at`. RAM above 4 GiB so comes last, as in a booted OVMF. Raises
        OutOfResources; ValueError for a type nobody can allocate.
        """
        if type not in TYPES or type == FREE or size < 0:
            raise ValueError(f"cannot allocate {size} bytes of {type}")
        alignment = self.layout.alignment(type)
        length = max(-(-size // alignment), 1) * alignment
        gpa = self._find(length, type, below) if at is None else self._fixed(length, type, at)
        if gpa is None:
            where = f" at {at:#x}" if at is not None else f" below {below:#x}" if below is not None else ""
            raise OutOfResources(f"no {length // PAGE} free pages{where} in {self.size} bytes of memory")
        self._mark(gpa, gpa + length, type)
        self._allocated[gpa] = gpa + length
        return gpa

    def free(self, gpa: int) -> None:
        """Give back what one allocate() gave; the content stays until it is overwritten. Raises NotAllocated."""
        end = self._allocated.pop(gpa, None)
        if end is None:
            raise NotAllocated(f"nothing was allocated at {gpa:#x}")
        self._mark(gpa, end, FREE)

    def keep(self, gpa: int, start: int, end: int) -> None:
        """Give back all but the pages from start to end of what one allocate() gave. Raises NotAllocated."""
        last = self._allocated.pop(gpa, None)
        if last is None or not gpa <= start <= end <= last:
            raise NotAllocated(f"nothing from {start:#x} to {end:#x} was allocated at {gpa:#x}")
        self._mark(gpa, start, FREE)
        self._mark(end, last, FREE)
        self._allocated[start] = end

    def stage(
        self,
        name: str,
        parts: Sequence[Bytes],
        type: str,
        *,
        below: int | None = None,
        at: int | None = None,
        shared: bool = False,
    ) -> Staged:
        """Allocate pages for the parts and place them there, shared if wanted; raises as allocate() does."""
        size = sum(map(len, parts))
        gpa = self.allocate(size, type, below=below, at=at)
        if shared:
            self.share(gpa, size)
        self.place(gpa, parts)
        return Staged(name, gpa, size, type, shared)

    def map(self) -> tuple[Region, ...]:
        """The memory map: RAM exactly, sorted, neighbours of one type merged.

        What is free in a bin of a type that lasts into the operating system has that type, as EDK II tells it.
        """
        shown = self._regions
        for row in self.layout.bins:
            if row.type in SPECIAL:
                shown = _retyped(shown, *row, only_free=True)
        return tuple(Region(start, (end - start) // PAGE, kind) for start, end, kind in shown)

    @property
    def free_size(self) -> int:
        """Bytes of RAM that nobody holds, those in bins included."""
        return sum(end - start for start, end, kind in self._regions if kind == FREE)

    def _forget_allocations(self) -> None:
        self._regions = _at_start(self.layout)
        self._allocated: dict[int, int] = {}

    def _find(self, length: int, type: str, below: int | None) -> int | None:
        """Page.c, FindFreePages: a limit below the end of a window rules the whole window out."""
        top = self.ram[-1][1] if self.ram else 0
        limit = top if below is None else below
        windows = [(row.start, row.end) for row in self.layout.bins if row.type == type]
        windows.append((0, top if self.layout.default_end is None else self.layout.default_end))
        for low, high in (*(window for window in windows if window[1] <= limit), (0, limit)):
            gpa = self._highest(length, self.layout.alignment(type), low, high)
            if gpa is not None:
                return gpa
        return None

    def _highest(self, length: int, alignment: int, low: int, high: int) -> int | None:
        for start, end, kind in reversed(self._regions):
            gpa = (min(end, high) & -alignment) - length
            if kind == FREE and gpa >= max(start, low) and gpa > 0:  # 0 stands for none
                return gpa
        return None

    def _fixed(self, length: int, type: str, at: int) -> int | None:
        free = any(kind == FREE and start <= at and at + length <= end for start, end, kind in self._regions)
        others = (row for row in self.layout.bins if row.type in SPECIAL and row.type != type)
        kept = any(row.start < at + length and at < row.end for row in others)
        return at if free and not kept and at % self.layout.alignment(type) == 0 else None

    def _mark(self, start: int, end: int, kind: str) -> None:
        """Give the RAM from start to end the type; regions stay sorted, apart, and merged where equal."""
        self._regions = _retyped(self._regions, start, end, kind)


# A suite boots the same few machines over and over; the rows are never changed in place.
@lru_cache(maxsize=16)
def _at_start(layout: Layout) -> list[tuple[int, int, str]]:
    regions = [(start, end, FREE) for start, end in layout.ram]
    for row in layout.held:
        regions = _retyped(regions, *row)
    return regions


def _retyped(
    regions: list[tuple[int, int, str]], start: int, end: int, kind: str, *, only_free: bool = False
) -> list[tuple[int, int, str]]:
    """The regions with that type from start to end; those that neither overlap nor touch it stay as they are."""
    before = bisect_left(regions, start, key=lambda region: region[1])
    behind = bisect_right(regions, end, key=lambda region: region[0])
    pieces: list[tuple[int, int, str]] = []
    for first, last, old in regions[before:behind]:
        new = old if only_free and old != FREE else kind
        middle = (max(first, start), min(last, end), new)
        for piece in ((first, min(last, start), old), middle, (max(first, end), last, old)):
            if piece[0] >= piece[1]:
                continue
            if pieces and pieces[-1][1] == piece[0] and pieces[-1][2] == piece[2]:
                pieces[-1] = (pieces[-1][0], piece[1], piece[2])
            else:
                pieces.append(piece)
    return [*regions[:before], *pieces, *regions[behind:]]
