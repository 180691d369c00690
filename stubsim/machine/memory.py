"""Guest memory: which pages the firmware has given out, and what lies in them.

The content is held by reference: staging a 100 MB initrd keeps the memoryviews it came in and copies
nothing. The addresses are those of a model, not a prediction: a real firmware has made allocations
of its own by the time the stub runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from stubsim.machine.content import Content
from stubsim.trace import Staged

PAGE = 4096
GIB4 = 1 << 32

# UEFI 2.10, 7.2 (EFI_MEMORY_TYPE), in the order of their numbers.
TYPES = (
    "EfiReservedMemoryType",
    "EfiLoaderCode",
    "EfiLoaderData",
    "EfiBootServicesCode",
    "EfiBootServicesData",
    "EfiRuntimeServicesCode",
    "EfiRuntimeServicesData",
    "EfiConventionalMemory",
    "EfiUnusableMemory",
    "EfiACPIReclaimMemory",
    "EfiACPIMemoryNVS",
)
FREE = "EfiConventionalMemory"

# What OVMF 2022.11 held in a q35 guest when the kernel started (recording basic, 384 MB): pieces that
# alternate between code and data of the boot services are drawn together, and the loader's own left out.
# Pages from address 0, and from the end of the RAM below 4 GiB downwards.
_OVMF_LOW = (
    (0x0, 1, "EfiBootServicesCode"),
    (0x806000, 2, "EfiACPIMemoryNVS"),
    (0x810000, 240, "EfiACPIMemoryNVS"),
    (0x900000, 3072, "EfiBootServicesData"),
)
_OVMF_TOP = (
    (136, "EfiACPIMemoryNVS"),
    (132, "EfiRuntimeServicesData"),
    (1782, "EfiBootServicesData"),
    (128, "EfiACPIMemoryNVS"),
    (18, "EfiACPIReclaimMemory"),
    (128, "EfiReservedMemoryType"),
    (256, "EfiRuntimeServicesCode"),
    (256, "EfiRuntimeServicesData"),
    (2379, "EfiBootServicesData"),
    (258, "EfiRuntimeServicesData"),
    (3073, "EfiBootServicesData"),
)
# QEMU's virt machines put the devicetree for the firmware at the start of RAM; the size is our own guess.
_VIRT_LOW = ((0x0, 256, "EfiBootServicesData"),)
_VIRT_START = {"riscv64": 2 << 30, "riscv32": 2 << 30}


class OutOfResources(Exception):  # noqa: N818 - the UEFI status it stands for
    """EFI_OUT_OF_RESOURCES: no free pages of that size where they were asked for."""


class OutsideRam(MemoryError):  # noqa: N818
    """An access to guest addresses that are not, or not all, RAM."""


class PrivatePage(Exception):  # noqa: N818
    """The hypervisor would see a private page of a confidential guest: what led to it is wrong, and nothing goes on."""


class NotAllocated(LookupError):  # noqa: N818
    """An address at which no allocation starts was to be freed (EFI_NOT_FOUND)."""


class Region(NamedTuple):
    """A row of the memory map: start is a gpa, pages are of 4096 bytes, type is a UEFI name."""

    start: int
    pages: int
    type: str


class Memory:
    """The RAM of a guest of `size` bytes; a part of a page at its end does not count.

    In a confidential guest every page is private until it is shared with the hypervisor.
    x86: as QEMU's q35 lays it out, 640 KiB from 0, then from 1 MiB; from 2.75 GiB on only 2 GiB lie below
    4 GiB and the rest above. Others: as QEMU's virt does, in one piece from 1 GiB (RISC-V: 2 GiB).
    """

    def __init__(self, size: int, architecture: str = "x64", *, confidential: bool = False) -> None:
        self.ram = _ram(size & -PAGE, architecture)
        self.architecture = architecture
        self.confidential = confidential
        self._shared: list[tuple[int, int]] = []
        self._content = Content()
        self.reset()

    def reset(self) -> None:
        """Forget all allocations, as a firmware that starts again does. The content stays."""
        self._regions = [(start, end, FREE) for start, end in self.ram]
        self._allocated: dict[int, int] = {}
        low = [(start, end) for start, end in self.ram if end <= GIB4]
        if not low:
            return
        start, top = low[0][0], low[-1][1]
        for offset, pages, kind in _OVMF_LOW if _is_pc(self.architecture) else _VIRT_LOW:
            self._mark(start + offset, start + offset + pages * PAGE, kind)
        for pages, kind in _OVMF_TOP:
            self._mark(top - pages * PAGE, top, kind)
            top -= pages * PAGE

    def allocate(self, size: int, type: str, *, below: int | None = None, at: int | None = None) -> int:
        """The gpa of enough pages for `size` bytes, at least one so that all has an address of its own.

        They are the highest free ones, as EDK II gives them out; the highest that end at or before `below`;
        or those at the gpa `at`. Raises OutOfResources; ValueError for a type nobody can allocate.
        """
        if type not in TYPES or type == FREE or size < 0:
            raise ValueError(f"cannot allocate {size} bytes of {type}")
        length = max(-(-size // PAGE), 1) * PAGE
        gpa = self._find(length, below) if at is None else self._fixed(length, at)
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

    def place(self, gpa: int, parts: Sequence[bytes | memoryview]) -> None:
        """Put the parts one behind the other at gpa, by reference: whoever changes a part changes the memory.

        Raises OutsideRam.
        """
        self._check(gpa, sum(map(len, parts)))
        self._content.place(gpa, parts)

    def stage(
        self,
        name: str,
        parts: Sequence[bytes | memoryview],
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

    def read(self, gpa: int, size: int, *, zeros_outside: bool = False) -> bytes:
        """The bytes there, zeros where nothing was placed.

        Raises OutsideRam, unless addresses without memory are to read as zeros, too.
        """
        return b"".join(self.parts(gpa, size, zeros_outside=zeros_outside))

    def parts(self, gpa: int, size: int, *, zeros_outside: bool = False) -> Iterator[memoryview]:
        """The same bytes piece by piece and uncopied, for hashing; raises like read(), on the first step."""
        if not zeros_outside:
            self._check(gpa, size)
        yield from self._content.parts(gpa, size)

    def share(self, gpa: int, size: int) -> None:
        """Let the hypervisor see the pages of this range; without a confidential guest it sees all anyway."""
        self._shared.append((gpa & -PAGE, -(-(gpa + size) // PAGE) * PAGE))
        self._shared.sort()

    def is_shared(self, gpa: int, size: int) -> bool:
        """Whether the hypervisor may see all of the range."""
        if not self.confidential:
            return True
        end = gpa + size
        for start, stop in self._shared:
            if start <= gpa < stop:
                gpa = stop
        return gpa >= end

    def lose_private(self) -> None:
        """What a reset does to a confidential guest: the content of private pages is gone, none is shared any more."""
        if not self.confidential:
            return
        kept = [(start, [*self.parts(start, end - start)]) for start, end in self._shared]
        self._content = Content()
        for start, parts in kept:
            self._content.place(start, parts)

    def clear(self, gpa: int, size: int) -> None:
        """Fill the range with zeros; raises OutsideRam."""
        self._check(gpa, size)
        self._content.clear(gpa, size)

    def contains(self, gpa: int, size: int) -> bool:
        """Whether all of the range is RAM, in one piece."""
        return size >= 0 and any(start <= gpa and gpa + size <= end for start, end in self.ram)

    def map(self) -> tuple[Region, ...]:
        """The whole memory map: RAM exactly, sorted, neighbours of one type merged."""
        return tuple(Region(start, (end - start) // PAGE, kind) for start, end, kind in self._regions)

    @property
    def size(self) -> int:
        """Bytes of RAM the map covers: less than asked for on x86, where 640 KiB to 1 MiB is none."""
        return sum(end - start for start, end in self.ram)

    def _check(self, gpa: int, size: int) -> None:
        if not self.contains(gpa, size):
            raise OutsideRam(f"{size} bytes at {gpa:#x} are not all in RAM")

    def _find(self, length: int, below: int | None) -> int | None:
        for start, end, kind in reversed(self._regions):
            gpa = ((end if below is None else min(end, below)) - length) & -PAGE
            if kind == FREE and gpa >= start:
                return gpa
        return None

    def _fixed(self, length: int, at: int) -> int | None:
        free = any(kind == FREE and start <= at and at + length <= end for start, end, kind in self._regions)
        return at if free and at % PAGE == 0 else None

    def _mark(self, start: int, end: int, kind: str) -> None:
        """Give the RAM from start to end the type; regions stay sorted, apart, and merged where equal."""
        pieces: list[tuple[int, int, str]] = []
        for first, last, old in self._regions:
            middle = (max(first, start), min(last, end), kind)
            for piece in ((first, min(last, start), old), middle, (max(first, end), last, old)):
                if piece[0] >= piece[1]:
                    continue
                if pieces and pieces[-1][1] == piece[0] and pieces[-1][2] == piece[2]:
                    pieces[-1] = (pieces[-1][0], piece[1], piece[2])
                else:
                    pieces.append(piece)
        self._regions = pieces


def _is_pc(architecture: str) -> bool:
    return architecture in ("x64", "ia32")


def _ram(size: int, architecture: str) -> tuple[tuple[int, int], ...]:
    """Start and end of each piece of RAM; on x86 as QEMU's hw/i386/pc_q35.c splits it."""
    if not _is_pc(architecture):
        start = _VIRT_START.get(architecture, 1 << 30)
        ranges = [(start, start + size)]
    else:
        low = size if size < 0xB0000000 else 0x80000000
        ranges = [(0, min(low, 0xA0000)), (0x100000, low), (GIB4, GIB4 + size - low)]
    return tuple((start, end) for start, end in ranges if start < end)
