"""Pages and content of the simulated memory, against a recorded map and a model of plain bytes."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stubsim.machine.memory import (
    FREE,
    GIB4,
    PAGE,
    TYPES,
    Memory,
    NotAllocated,
    OutOfResources,
    OutsideRam,
    Region,
)

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


def test_ram_of_q35_is_split_below_and_above_4_gib():
    assert Memory(384 * MIB).ram == ((0, 0xA0000), (0x100000, 0x18000000))
    assert Memory(0xB0000000 - PAGE).ram[-1] == (0x100000, 0xB0000000 - PAGE)
    assert Memory(0xB0000000).ram[1:] == ((0x100000, 0x80000000), (GIB4, GIB4 + 0x30000000))
    assert Memory(8 << 30, "aa64").ram == ((1 << 30, 9 << 30),)
    assert Memory(64 * MIB, "riscv64").ram == ((2 << 30, (2 << 30) + 64 * MIB),)


def test_the_firmware_leaves_what_ovmf_left(shared: Path):
    """Every row of our map's fixed part has that type in the recording, but for code against data."""
    recorded: list[tuple[int, int, str]] = []
    for line in json.loads((shared / "golden/basic@262.1/expect.json").read_text())["memmap"]:
        number, start, pages, _ = (int(word, 0) for word in line.split())
        if start < 0x18000000:
            recorded.append((start, start + pages * PAGE, TYPES[number]))
    memory = Memory(384 * MIB)
    for row in memory.map():
        if row.type in (FREE, "EfiBootServicesData"):
            continue
        assert (row.start, row.start + row.pages * PAGE, row.type) in recorded
    assert recorded[-1][1] == memory.ram[-1][1]
    loaded = [start for start, _, kind in recorded if kind.startswith("EfiLoader")]
    ours = memory.allocate(PAGE, DATA)
    assert max(loaded) < ours + PAGE <= 0x18000000  # the same place, but for what the firmware itself took


def test_the_highest_free_pages_come_first():
    memory = Memory(384 * MIB)
    first = memory.allocate(1, DATA)
    second = memory.allocate(2 * PAGE + 1, DATA)
    assert second == first - 3 * PAGE
    assert memory.allocate(0, DATA) == second - PAGE
    memory.free(second)
    assert memory.allocate(3 * PAGE, "EfiLoaderCode") == second


def test_below_and_at():
    memory = Memory(8 << 30)
    assert memory.allocate(PAGE, DATA) >= GIB4
    assert memory.allocate(PAGE, DATA, below=GIB4) < GIB4
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


def test_reading_is_of_ram_only():
    memory = Memory(64 * MIB)
    assert memory.read(0x9FFFF, 1) == b"\0"
    assert memory.read(0x9FFFF, 0) == b""
    for gpa, size in ((0x9FFFF, 2), (0xA0000, 1), (64 * MIB, 1), (-1, 1), (0, -1), (1 << 70, 1)):
        assert not memory.contains(gpa, size)
        with pytest.raises(OutsideRam):
            memory.read(gpa, size)
    with pytest.raises(OutsideRam):
        memory.place(64 * MIB - 1, [b"ab"])
    memory.place(64 * MIB - 1, [b"a"])
    assert memory.read(64 * MIB - 1, 3, zeros_outside=True) == b"a\0\0"
    assert memory.read(1 << 50, 70000, zeros_outside=True) == bytes(70000)


def test_a_reset_keeps_the_content():
    memory = Memory(384 * MIB)
    fresh = memory.map()
    staged = memory.stage("kernel", [b"kernel"], DATA)
    memory.reset()
    assert memory.map() == fresh
    assert memory.read(staged.gpa, 6) == b"kernel"
    with pytest.raises(NotAllocated):
        memory.free(staged.gpa)


@given(st.integers(0, 12 << 30), st.sampled_from(["x64", "ia32", "aa64", "riscv64", "loongarch64"]))
def test_any_size_of_memory_has_a_map(size: int, architecture: str):
    memory = Memory(size, architecture)
    assert_covers_ram(memory)
    hole = 0x60000 if architecture in ("x64", "ia32") and size >= 0x100000 else size
    assert size - PAGE < memory.size + hole if size >= 0x100000 else memory.size <= size


STEPS = st.lists(
    st.tuples(
        st.integers(0, 24 * MIB),
        ALLOCATABLE,
        st.none() | st.integers(0, 6 << 30),
        st.none() | st.integers(0, 96 * MIB // PAGE).map(lambda page: page * PAGE),
        st.booleans(),
    ),
    max_size=25,
)


@given(STEPS, st.sampled_from([96 * MIB, 5 << 30]))
def test_allocations_never_overlap_and_free_returns_all(steps: list[tuple], size: int):
    memory = Memory(size)
    before = memory.map()
    held: dict[int, int] = {}
    for length, kind, below, at, release in steps:
        try:
            gpa = memory.allocate(length, kind, below=below, at=at)
        except OutOfResources:
            continue
        end = gpa + max(-(-length // PAGE), 1) * PAGE
        assert gpa % PAGE == 0
        assert at in (None, gpa)
        assert at is not None or below is None or end <= below
        assert all(end <= start or gpa >= last for start, last in held.items())
        assert any(
            row.start <= gpa and end <= row.start + row.pages * PAGE and row.type == kind for row in memory.map()
        )
        held[gpa] = end
        if release:
            first = next(iter(held))
            memory.free(first)
            del held[first]
        assert_covers_ram(memory)
    for gpa in held:
        memory.free(gpa)
    assert memory.map() == before


PLACINGS = st.lists(st.tuples(st.integers(0, 300), st.lists(st.binary(max_size=40), max_size=4)), max_size=20)


@given(PLACINGS, st.integers(0, 400), st.integers(0, 200))
def test_content_is_what_was_placed_last(placings: list[tuple[int, list[bytes]]], offset: int, size: int):
    memory = Memory(64 * MIB)
    model = bytearray(1000)
    for at, parts in placings:
        memory.place(2 * MIB + at, parts)
        model[at : at + sum(map(len, parts))] = b"".join(parts)
    assert memory.read(2 * MIB + offset, size) == model[offset : offset + size]
    assert memory.read(2 * MIB - 10, 1010) == bytes(10) + model
