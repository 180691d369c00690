"""Pages that the firmware gives out: against what it holds, and with any order of requests."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stubsim.machine.ram import GIB4, PAGE
from stubsim.uefi.memory import Memory, NotAllocated, OutOfResources, Region
from stubsim.uefi.memory_layout import FREE, SPECIAL, TYPES

MIB = 1 << 20
DATA = "EfiLoaderData"
ALLOCATABLE = st.sampled_from([kind for kind in TYPES if kind != FREE])


def assert_covers_ram(memory: Memory) -> None:
    """The map is sorted, without overlap, merged, and is exactly the RAM."""
    rows = memory.map()
    for low, high in pairwise(rows):
        assert low.start + low.pages * PAGE <= high.start
        assert low.start + low.pages * PAGE < high.start or low.type != high.type
    assert all(row.pages > 0 and row.type in TYPES for row in rows)
    assert all(memory.contains(row.start, row.pages * PAGE) for row in rows)
    assert sum(row.pages for row in rows) * PAGE == memory.size == sum(end - start for start, end in memory.ram)


def test_the_highest_free_pages_come_first():
    memory = Memory(384 * MIB)
    first = memory.allocate(1, DATA)
    second = memory.allocate(2 * PAGE + 1, DATA)
    assert second == first - 3 * PAGE
    assert memory.allocate(0, DATA) == second - PAGE
    memory.free(second)
    assert memory.allocate(3 * PAGE, "EfiLoaderCode") == second


def test_ram_above_4_gib_comes_last():
    memory = Memory(8 << 30)
    default_end = memory.layout.default_end
    assert default_end is not None
    free = [row for row in memory.map() if row.type == FREE and row.start < default_end]
    taken = [memory.allocate(row.pages * PAGE, DATA) for row in sorted(free, key=lambda row: -row.pages)]
    assert sorted(taken) == [row.start for row in free]
    assert memory.allocate(PAGE, DATA, below=GIB4) >= default_end  # what is free in and above the bins
    assert memory.allocate(PAGE, DATA) == memory.ram[-1][1] - PAGE
    big = Memory(8 << 30)
    assert big.allocate(3 << 30, DATA) == memory.ram[-1][1] - (3 << 30)
    assert big.allocate(PAGE, DATA) < default_end
    with pytest.raises(OutOfResources):
        big.allocate(3 << 30, DATA, below=GIB4)


def free_in_bin(memory: Memory, kind: str) -> tuple[int, int]:
    """Start and end of what the firmware has left of the type's bin."""
    (row,) = (row for row in memory.layout.bins if row.type == kind)
    used = [held.start for held in memory.layout.held if row.start <= held.start < row.end]
    return row.start, min(used, default=row.end)


def test_each_type_goes_to_its_bin_first():
    memory = Memory(2 << 30)
    default_end = memory.layout.default_end
    assert default_end is not None
    assert len(memory.layout.bins) == 5
    for kind in (row.type for row in memory.layout.bins):
        start, end = free_in_bin(memory, kind)
        assert memory.allocate(end - start - PAGE, kind) == start + PAGE
        assert memory.allocate(2 * PAGE, kind) + 2 * PAGE <= default_end
        assert memory.allocate(PAGE, kind) == start
        assert memory.allocate(PAGE, kind) < default_end


def test_a_limit_inside_a_bin_rules_the_bin_out():
    """Page.c, FindFreePages: the bin counts only if all of it is below the limit."""
    kind = "EfiACPIReclaimMemory"
    memory = Memory(2 << 30)
    default_end = memory.layout.default_end
    assert default_end is not None
    (bin_end,) = (row.end for row in memory.layout.bins if row.type == kind)
    assert memory.allocate(PAGE, kind, below=bin_end) == free_in_bin(memory, kind)[1] - PAGE
    first = memory.allocate(PAGE, kind, below=bin_end - 1)
    assert first < default_end
    assert memory.allocate(PAGE, DATA, below=default_end) == first - PAGE


def test_nobody_gets_an_address_in_the_bin_of_a_lasting_type():
    memory = Memory(2 << 30)
    kind = "EfiACPIReclaimMemory"
    start, end = free_in_bin(memory, kind)
    for at in (start, end - PAGE):
        with pytest.raises(OutOfResources):
            memory.allocate(PAGE, DATA, at=at)
    assert memory.allocate(PAGE, kind, at=start) == start
    arm = Memory(2 << 30, "aa64")
    row = next(row for row in arm.layout.bins if row.type == "EfiLoaderCode")
    assert row.type not in SPECIAL
    assert arm.allocate(PAGE, DATA, at=row.start) == row.start


def test_lasting_types_are_aligned_to_64_kib_on_aarch64():
    memory = Memory(2 << 30, "aa64")
    # The 64 KiB between what the firmware holds.
    memory.allocate(1, "EfiACPIReclaimMemory")
    gpa = memory.allocate(1, "EfiACPIReclaimMemory")
    assert gpa % 0x10000 == 0
    assert memory.allocate(0x10001, "EfiACPIReclaimMemory") == gpa - 0x20000
    with pytest.raises(OutOfResources):
        memory.allocate(1, "EfiACPIReclaimMemory", at=0x50001000)


def test_below_and_at():
    memory = Memory(8 << 30)
    assert memory.allocate(PAGE, DATA, below=64 * MIB + 5) == 64 * MIB - PAGE
    assert memory.allocate(16 * MIB, DATA, at=128 * MIB) == 128 * MIB
    for at in (128 * MIB, 144 * MIB - PAGE, 200 * MIB + 1, 0, 0xA0000, 5 << 40, -PAGE):
        with pytest.raises(OutOfResources):
            memory.allocate(PAGE, DATA, at=at)
    assert_covers_ram(memory)


def test_no_room_is_a_uefi_status_and_changes_nothing():
    memory = Memory(384 * MIB)
    before = memory.map()
    with pytest.raises(OutOfResources, match="no 98304 free pages"):
        memory.allocate(384 * MIB, DATA)
    with pytest.raises(OutOfResources, match="below 0x1000"):
        memory.allocate(PAGE, DATA, below=PAGE)
    assert memory.map() == before
    for kind in (FREE, "EfiNonsense"):
        with pytest.raises(ValueError, match="cannot allocate"):
            memory.allocate(PAGE, kind)


def test_free_restores_the_map():
    memory = Memory(384 * MIB)
    before = memory.map()
    pages = [memory.allocate(PAGE * n, DATA) for n in (1, 5, 3)]
    assert Region(pages[-1], 9, DATA) in memory.map()
    for gpa in (pages[1], pages[0], pages[2]):
        memory.free(gpa)
    assert memory.map() == before
    for gpa in (pages[0], 0x900000):
        with pytest.raises(NotAllocated):
            memory.free(gpa)


def test_staging_keeps_references():
    memory = Memory(1 << 30)
    big = bytearray(100 * MIB)
    staged = memory.stage("initrd", [memoryview(big), b"tail"], DATA, below=GIB4, shared=True)
    assert staged[0:1] + staged[2:] == ("initrd", 100 * MIB + 4, DATA, True)
    big[MIB] = 7
    assert memory.read(staged.gpa + MIB - 1, 3) == b"\0\7\0"
    assert next(iter(memory.parts(staged.gpa, 100 * MIB))).obj is big
    assert memory.read(staged.gpa + 100 * MIB, 6) == b"tail\0\0"


def test_a_reset_keeps_the_content():
    memory = Memory(384 * MIB)
    fresh = memory.map()
    staged = memory.stage("kernel", [b"kernel"], DATA)
    memory.reset()
    assert memory.map() == fresh
    assert memory.read(staged.gpa, 6) == b"kernel"
    with pytest.raises(NotAllocated):
        memory.free(staged.gpa)


ARCHITECTURES = st.sampled_from(["x64", "ia32", "aa64", "arm", "riscv64", "loongarch64"])
SIZES = st.integers(0, 96 * MIB) | st.integers(0, 12 << 30) | st.integers(512 * MIB, 1 << 40)


@given(SIZES, ARCHITECTURES)
def test_any_size_of_memory_has_a_map(size: int, architecture: str):
    memory = Memory(size, architecture)
    assert_covers_ram(memory)
    hole = 0x60000 if architecture in ("x64", "ia32") and size >= 0x100000 else size
    assert size - PAGE < memory.size + hole if size >= 0x100000 else memory.size <= size


STEPS = st.lists(
    st.tuples(
        st.integers(0, 24 * MIB) | st.integers(0, 5 << 30),
        ALLOCATABLE,
        st.none() | st.integers(0, 6 << 30),
        st.none() | st.integers(0, 2 << 30).map(lambda at: at & -PAGE),
        st.booleans(),
    ),
    max_size=25,
)


@given(STEPS, SIZES, ARCHITECTURES)
def test_allocations_never_overlap_and_free_returns_all(steps: list[tuple], size: int, architecture: str):
    """Nor do they overlap what the firmware holds, configuration space or flash; and all of it is RAM."""
    memory = Memory(size, architecture)
    before = memory.map()
    taken = [(row.start, row.end) for row in (*memory.layout.held, *memory.layout.outside)]
    held: dict[int, int] = {}
    for wanted, kind, below, at, release in steps:
        alignment = 0x10000 if architecture == "aa64" and kind in SPECIAL - {"EfiReservedMemoryType"} else PAGE
        length = max(-(-wanted // alignment), 1) * alignment
        gaps = gaps_between([*taken, *held.items()], memory.ram)
        try:
            gpa = memory.allocate(wanted, kind, below=below, at=at)
        except OutOfResources:
            # Address 0 is none to EDK II.
            limit = 1 << 60 if below is None else below
            room = [(min(end, limit) & -alignment) - max(start + -start % alignment, 1) for start, end in gaps]
            assert at is not None or max(room, default=0) < length
            continue
        assert gpa % alignment == 0
        assert at in (None, gpa)
        assert at is not None or below is None or gpa + length <= below
        assert any(start <= gpa and gpa + length <= end for start, end in gaps)
        assert any(
            row.start <= gpa and gpa + length <= row.start + row.pages * PAGE and row.type == kind
            for row in memory.map()
        )
        held[gpa] = gpa + length
        if release:
            first = next(iter(held))
            memory.free(first)
            del held[first]
        assert_covers_ram(memory)
    for gpa in held:
        memory.free(gpa)
    assert memory.map() == before


def gaps_between(taken: list[tuple[int, int]], ram: tuple[tuple[int, int], ...]) -> list[tuple[int, int]]:
    """The RAM that is in none of the ranges."""
    gaps = []
    for low, high in ram:
        edge = low
        for start, end in sorted(taken):
            if start < high and end > edge:
                gaps.append((edge, start))
                edge = end
        gaps.append((edge, high))
    return [(low, high) for low, high in gaps if low < high]
