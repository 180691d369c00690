"""ELF headers, laid out by hand; GNU readelf is the oracle."""

from __future__ import annotations

import re
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stubsim.errors import StubsimError
from stubsim.formats import elf
from stubsim.formats.elf import Segment
from tests.strategies import mutated

HIGH = 0xFFFFFFFF81000000


def image(*, bits: int = 64, machine: int = 62, count: int = 2, size: int | None = None) -> bytes:
    """ELF-64 or ELF-32 as the specification lays them out: a PT_LOAD at HIGH and a PT_GNU_STACK."""
    wide = bits == 64
    header, row = (64, 56) if wide else (52, 32)
    address = HIGH if wide else 0x8000
    size = row if size is None else size
    ident = b"\x7fELF" + bytes([2 if wide else 1, 1, 1]).ljust(12, b"\0")
    numbers = "QQQ" if wide else "III"
    fields = (2, machine, 1, address + 8, header, 0, 0, header, size, count, 0, 0, 0)
    data = ident + struct.pack(f"<HHI{numbers}IHHHHHH", *fields)
    if wide:
        data += struct.pack("<IIQQQQQQ", 1, 5, 0, address, 0x100000, 200, 4096, 4096)
        return data + struct.pack("<IIQQQQQQ", 0x6474E551, 6, 0, 0, 0, 0, 0, 16)
    data += struct.pack("<IIIIIIII", 1, 0, address, 0x100000, 200, 4096, 5, 4096)
    return data + struct.pack("<IIIIIIII", 0x6474E551, 0, 0, 0, 0, 0, 6, 16)


@pytest.mark.parametrize(("bits", "address"), [(64, HIGH), (32, 0x8000)])
def test_layout_by_hand(bits: int, address: int):
    file = elf.parse(image(bits=bits))
    assert (file.bits, file.machine, file.type, file.entry) == (bits, "x64", "ET_EXEC", address + 8)
    assert file.segments == (
        Segment("PT_LOAD", 0, address, 0x100000, 200, 4096, 5),
        Segment("PT_GNU_STACK", 0, 0, 0, 0, 0, 6),
    )


MACHINES = [
    (62, 64, "x64"),
    (3, 32, "ia32"),
    (183, 64, "aa64"),
    (243, 64, "riscv64"),
    (243, 32, "riscv32"),
    (8, 32, "EM_MIPS"),
    (0x7777, 64, "0x7777"),
]


@pytest.mark.parametrize(("number", "bits", "name"), MACHINES)
def test_machines(number: int, bits: int, name: str):
    assert elf.parse(memoryview(image(machine=number, bits=bits))).machine == name


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "ELF"),
        (image()[:60], "readable ELF header"),
        (image()[:-1], "readable ELF header"),
        (image(count=257), "257 ELF segments"),
        (image(count=0xFFFF, size=0), "65535 ELF segments"),
        (image(size=0), "program headers of 0 bytes"),
    ],
)
def test_refused(data: bytes, text: str):
    with pytest.raises(StubsimError, match=text):
        elf.parse(data)


@given(st.binary(max_size=80) | mutated(image()) | mutated(image(bits=32)))
def test_total(data: bytes):
    for candidate in (data, image()[:16] + data):
        try:
            file = elf.parse(candidate)
        except StubsimError:
            continue
        assert len(file.segments) <= 256


@pytest.mark.oracle
@pytest.mark.parametrize("path", [sys.executable, "/bin/ls", "/usr/bin/env"])
def test_readelf_says_the_same(oracle: Callable[[str], str], path: str):
    """Type, offset, addresses, sizes and flags of each segment, and the entry."""
    data = Path(path).read_bytes()
    if data[:4] != elf.MAGIC:
        pytest.skip("no ELF file")
    command = [oracle("readelf"), "-hlW", path]
    text = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    file = elf.parse(data)
    entry = re.search(r"Entry point address: +(\S+)", text)
    assert entry is not None
    assert file.entry == int(entry[1], 16)
    rows = re.findall(r"^  (\S+) +(0x\S+) (0x\S+) (0x\S+) (0x\S+) (0x\S+) ([R ][W ][E ]) 0x", text, re.MULTILINE)
    assert [(kind, *(int(number, 16) for number in numbers), access(flags)) for kind, *numbers, flags in rows] == [
        (row.type.removeprefix("PT_"), *row[1:]) for row in file.segments
    ]
    assert rows


def access(flags: str) -> int:
    return sum(bit for letter, bit in zip(flags, (4, 2, 1), strict=True) if letter != " ")
