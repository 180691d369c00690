"""Guest RAM: where it lies, what is in it, and which pages of a confidential guest the hypervisor sees.

The content is held by reference: staging a 100 MB initrd keeps the memoryviews it came in and copies nothing. Who was
given which pages is the firmware's to know (uefi/memory.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from stubsim.extent import Bytes, Extent
from stubsim.machine.content import Content

PAGE = 4096
GIB4 = 1 << 32

# QEMU, hw/i386/pc_q35.c: with 2.75 GiB or more only 2 GiB lie below 4 GiB.
_Q35_MOST_LOW, _Q35_LOW = 0xB0000000, 0x80000000
# QEMU, hw/arm/virt.c and hw/riscv/virt.c.
_VIRT_START = {"riscv64": 2 << 30, "riscv32": 2 << 30}


class OutsideRam(MemoryError):  # noqa: N818
    """An access to guest addresses that are not, or not all, RAM."""


class PrivatePage(Exception):  # noqa: N818
    """The hypervisor would see a private page of a confidential guest: what led to it is wrong, and nothing goes on."""


def ram_ranges(size: int, architecture: str) -> tuple[tuple[int, int], ...]:
    """Start and end of the pieces of RAM of a QEMU guest of `size` bytes; a part of a page at its end does not count.

    x86 is q35: 640 KiB from 0, then from 1 MiB; from 2.75 GiB on only 2 GiB lie below 4 GiB and the rest above. Others
    are virt: in one piece from 1 GiB (RISC-V: 2 GiB).
    """
    size &= -PAGE
    if architecture in ("x64", "ia32"):
        low = q35_low(size)
        pieces = [(0, min(low, 0xA0000)), (0x100000, low), (GIB4, GIB4 + size - low)]
    else:
        start = virt_start(architecture)
        pieces = [(start, start + size)]
    return tuple((start, end) for start, end in pieces if start < end)


def q35_low(size: int) -> int:
    """How many of the bytes lie below 4 GiB, the hole at 640 KiB included."""
    return size if size < _Q35_MOST_LOW else _Q35_LOW


def virt_start(architecture: str) -> int:
    """Where the RAM begins, as a gpa."""
    return _VIRT_START.get(architecture, 1 << 30)


class Ram:
    """The RAM of a QEMU guest, as ram_ranges() has it in ``ram``.

    In a confidential guest every page is private until it is shared with the hypervisor.
    """

    def __init__(self, size: int, architecture: str = "x64", *, confidential: bool = False) -> None:
        self.ram = ram_ranges(size, architecture)
        self.architecture = architecture
        self.confidential = confidential
        self._shared: list[tuple[int, int]] = []
        self._content = Content()

    def reset(self) -> None:
        """What a reset does to it: nothing; but the content of private pages is gone, shared ones stay."""
        if not self.confidential:
            return
        kept = [(start, [*self.parts(start, end - start)]) for start, end in self._shared]
        self._content = Content()
        for start, parts in kept:
            self._content.place(start, parts)

    def place(self, gpa: int, parts: Sequence[Bytes]) -> None:
        """Put the parts one behind the other at gpa, by reference: whoever changes a part changes the memory.

        Raises OutsideRam.
        """
        self._check(gpa, sum(map(len, parts)))
        self._content.place(gpa, parts)

    def read(self, gpa: int, size: int) -> bytes:
        """The bytes there, zeros where nothing was placed; raises OutsideRam."""
        return b"".join(map(bytes, self.parts(gpa, size)))

    def parts(self, gpa: int, size: int) -> Iterator[memoryview | Extent]:
        """The same bytes piece by piece and uncopied, for hashing; raises like read(), on the first step."""
        self._check(gpa, size)
        yield from self._content.parts(gpa, size)

    def clear(self, gpa: int, size: int) -> None:
        """Fill the range with zeros; raises OutsideRam."""
        self._check(gpa, size)
        self._content.clear(gpa, size)

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

    def contains(self, gpa: int, size: int) -> bool:
        """Whether all of the range is RAM, in one piece."""
        return size >= 0 and any(start <= gpa and gpa + size <= end for start, end in self.ram)

    @property
    def size(self) -> int:
        """Bytes of RAM: less than asked for on x86, where 640 KiB to 1 MiB is none."""
        return sum(end - start for start, end in self.ram)

    def _check(self, gpa: int, size: int) -> None:
        if not self.contains(gpa, size):
            raise OutsideRam(f"{size} bytes at {gpa:#x} are not all in RAM")
