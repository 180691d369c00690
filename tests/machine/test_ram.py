"""RAM without a firmware in it: its content against a model of plain bytes, and whose its pages are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stubsim.machine.ram import GIB4, PAGE, OutsideRam, Ram, ram_ranges

MIB = 1 << 20


def test_ram_of_q35_is_split_below_and_above_4_gib():
    assert ram_ranges(384 * MIB, "x64") == ((0, 0xA0000), (0x100000, 0x18000000))
    assert ram_ranges(0xB0000000 - PAGE, "x64")[-1] == (0x100000, 0xB0000000 - PAGE)
    assert ram_ranges(0xB0000000, "ia32")[1:] == ((0x100000, 0x80000000), (GIB4, GIB4 + 0x30000000))
    assert ram_ranges(1 << 40, "x64")[-1] == (GIB4, GIB4 + (1 << 40) - 0x80000000)


def test_ram_of_virt_is_one_piece():
    assert ram_ranges(8 << 30, "aa64") == ((1 << 30, 9 << 30),)
    assert ram_ranges(64 * MIB, "riscv64") == ((2 << 30, (2 << 30) + 64 * MIB),)


def test_reading_is_of_ram_only():
    ram = Ram(64 * MIB)
    assert ram.read(0x9FFFF, 1) == b"\0"
    assert ram.read(0x9FFFF, 0) == b""
    for gpa, size in ((0x9FFFF, 2), (0xA0000, 1), (64 * MIB, 1), (-1, 1), (0, -1), (1 << 70, 1)):
        assert not ram.contains(gpa, size)
        with pytest.raises(OutsideRam):
            ram.read(gpa, size)
    with pytest.raises(OutsideRam):
        ram.place(64 * MIB - 1, [b"ab"])
    ram.place(64 * MIB - 1, [b"a"])
    assert ram.read(64 * MIB - 1, 1) == b"a"


PLACINGS = st.lists(st.tuples(st.integers(0, 300), st.lists(st.binary(max_size=40), max_size=4)), max_size=20)


@given(PLACINGS, st.integers(0, 400), st.integers(0, 200))
def test_content_is_what_was_placed_last(placings: list[tuple[int, list[bytes]]], offset: int, size: int):
    ram = Ram(64 * MIB)
    model = bytearray(1000)
    for at, parts in placings:
        ram.place(2 * MIB + at, parts)
        model[at : at + sum(map(len, parts))] = b"".join(parts)
    assert ram.read(2 * MIB + offset, size) == model[offset : offset + size]
    assert ram.read(2 * MIB - 10, 1010) == bytes(10) + model
