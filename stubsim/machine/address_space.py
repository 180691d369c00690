"""What a device, or the CPU, finds at a guest physical address: RAM, the BIOS region, or nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from stubsim.extent import Bytes, Extent
from stubsim.machine.content import Content
from stubsim.machine.ram import GIB4, PrivatePage, Ram

# QEMU, x86_isa_bios_init(): the end of the region is seen again below 1 MiB.
_LOW_END = 1 << 20
_LOW_MOST = 128 << 10
_TOP = 1 << 64


class BiosRegion:
    """The ROM with the firmware, `size` bytes that end at 4 GiB; `end` is what lies at its end, zeros before it."""

    def __init__(self, size: int, end: bytes = b"") -> None:
        self.size = size
        self._content = Content()
        self.replace_end([memoryview(end)])

    @property
    def start(self) -> int:
        """The gpa it starts at."""
        return GIB4 - self.size

    def replace_end(self, parts: Sequence[Bytes]) -> None:
        """Put the parts so that they end at 4 GiB; what lies before them stays."""
        self._content.place(GIB4 - sum(map(len, parts)), parts)

    def end(self, size: int) -> list[memoryview | Extent]:
        """The last bytes of the region, uncopied."""
        return [*self._content.parts(GIB4 - size, size)]

    def ranges(self) -> tuple[tuple[int, int, int], ...]:
        """Where it is seen: start and end, and what to add for the address in the region proper."""
        low = min(self.size, _LOW_MOST)
        return (self.start, GIB4, 0), (_LOW_END - low, _LOW_END, GIB4 - _LOW_END)

    def parts(self, gpa: int, size: int) -> Iterator[memoryview | Extent]:
        yield from self._content.parts(gpa, size)


class AddressSpace:
    """Guest physical addresses as QEMU's address_space_memory has them; no other devices are there.

    Accesses that are not all memory do what can be done and say so, as QEMU's do.
    """

    def __init__(self, memory: Ram, bios: BiosRegion | None = None) -> None:
        self.memory = memory
        self.bios = bios

    def read(self, gpa: int, size: int) -> tuple[bytes, bool]:
        """The bytes, zeros where there is no memory, and whether all of it was memory (ROM is)."""
        pieces = [*self.pieces(gpa, size)]
        data = b"".join(bytes(part) for _, _, parts in pieces for part in parts)
        return data, all(kind != "nothing" for kind, _, _ in pieces)

    def pieces(self, gpa: int, size: int) -> Iterator[tuple[str, int, list[memoryview | Extent]]]:
        """The range cut where what is there changes: "ram", "rom" or "nothing", the size and the content."""
        for kind, start, length, offset in self._segments(gpa, size):
            if kind == "ram":
                yield kind, length, [*self.memory.parts(start, length)]
            elif kind == "rom" and self.bios is not None:
                yield kind, length, [*self.bios.parts(start + offset, length)]
            else:
                yield kind, length, [memoryview(bytes(length))]

    def write(self, gpa: int, data: bytes | memoryview) -> bool:
        """Store what falls into RAM; whether all of it did."""
        complete, position = True, 0
        for kind, start, length, _ in self._segments(gpa, len(data)):
            if kind == "ram":
                self.memory.place(start, [data[position : position + length]])
            complete &= kind == "ram"
            position += length
        return complete

    def clear(self, gpa: int, size: int) -> bool:
        """Zeros for what is RAM; whether all of it is."""
        complete = True
        for kind, start, length, _ in self._segments(gpa, size):
            if kind == "ram":
                self.memory.clear(start, length)
            complete &= kind == "ram"
        return complete

    def check_shared(self, gpa: int, size: int) -> None:
        """Raises PrivatePage where the hypervisor would come upon a private page of a confidential guest."""
        for kind, start, length, _ in self._segments(gpa, size):
            if kind == "ram" and not self.memory.is_shared(start, length):
                raise PrivatePage(f"the hypervisor accesses private memory: {length} bytes at {start:#x}")

    def _segments(self, gpa: int, size: int) -> Iterator[tuple[str, int, int, int]]:
        """Kind, start, size, and what to add for the place in the BIOS region."""
        known = [("ram", start, end, 0) for start, end in self.memory.ram]
        if self.bios is not None:
            known += [("rom", *row) for row in self.bios.ranges()]
        if gpa + size > _TOP:
            # Addresses of 64 bits wrap around (seen on QEMU 7.2.22).
            yield from self._segments(gpa, _TOP - gpa)
            yield from self._segments(0, gpa + size - _TOP)
            return
        position, end = gpa, gpa + size
        while position < end:
            inside = next((row for row in known if row[1] <= position < row[2]), None)
            if inside is not None:
                kind, _, stop, offset = inside
            else:
                kind, offset = "nothing", 0
                stop = min((row[1] for row in known if row[1] > position), default=end)
            stop = min(stop, end)
            yield kind, position, stop - position, offset
            position = stop
