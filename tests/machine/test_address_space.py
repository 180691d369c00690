"""What a device finds at an address: RAM, ROM, nothing, and the private pages of a confidential guest."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stubsim.machine.address_space import AddressSpace, BiosRegion
from stubsim.machine.ram import GIB4, PrivatePage
from stubsim.uefi.memory import Memory

MIB = 1 << 20
TOP = 64 * MIB


def space(**options: bool) -> AddressSpace:
    return AddressSpace(Memory(TOP, **options), BiosRegion(256 << 10, b"reset vector"))


def test_the_bios_region_ends_at_4_gib_and_is_seen_below_1_mib():
    at = space()
    assert at.read(GIB4 - 12, 12) == (b"reset vector", True)
    assert at.read(MIB - 12, 12) == (b"reset vector", True)
    assert at.read(GIB4 - (256 << 10), 4) == (bytes(4), True)
    assert at.read(MIB - (128 << 10) - 1, 1) == (b"\0", False)


@pytest.mark.parametrize(
    ("gpa", "size", "stored"),
    [(TOP - 2, 4, 2), (TOP, 4, 0), (0x9FFFE, 4, 2), (GIB4 - 4, 4, 0), (0, 4, 4), ((1 << 64) - 2, 4, 2)],
)
def test_a_write_stores_what_falls_into_ram(gpa: int, size: int, stored: int):
    """Addresses of 64 bits wrap around, as QEMU 7.2.22 was seen to do."""
    at = space()
    assert at.write(gpa, b"wxyz"[:size]) is (stored == size)
    found, complete = at.read(gpa, size)
    kept = found.count(b"w") + found.count(b"x") + found.count(b"y") + found.count(b"z")
    assert kept == stored
    # ROM counts as memory for whoever reads it.
    assert complete is (stored == size or gpa == GIB4 - 4)


def test_where_there_is_nothing_zeros_are_read():
    at = space()
    at.write(TOP - 1, b"a")
    assert at.read(TOP - 1, 3) == (b"a\0\0", False)
    assert at.read(1 << 50, 70000) == (bytes(70000), False)


def test_a_replaced_end_leaves_what_lies_before():
    region = BiosRegion(8, b"abcdefgh")
    region.replace_end([memoryview(b"X"), memoryview(b"YZ")])
    assert b"".join(region.end(8)) == b"abcdeXYZ"


def test_clear_reaches_over_everything_without_storing_zeros():
    at = space()
    at.write(0x1000, b"x")
    assert not at.clear(0, (1 << 32) - 1)
    assert at.read(0x1000, 1) == (b"\0", True)


def test_private_pages_are_not_for_the_hypervisor():
    at = space(confidential=True)
    memory = at.memory
    at.check_shared(GIB4 - 16, 16)  # ROM is the hypervisor's own
    with pytest.raises(PrivatePage, match="0x5000"):
        at.check_shared(0x5000, 1)
    memory.share(0x5000, 1)
    at.check_shared(0x5000, 0x1000)
    with pytest.raises(PrivatePage):
        at.check_shared(0x5FFF, 2)
    memory.place(0x5000, [b"shared"])
    memory.place(0x7000, [b"private"])
    memory.reset()
    assert memory.read(0x5000, 6) == b"shared"
    assert memory.read(0x7000, 7) == bytes(7)


@given(st.integers(0, (1 << 64) - 1), st.integers(0, 4 * MIB))
def test_every_range_is_cut_without_a_gap(gpa: int, size: int):
    pieces = [*space()._segments(gpa, size)]
    assert sum(length for _, _, length, _ in pieces) == size
    assert all(length > 0 for _, _, length, _ in pieces)
