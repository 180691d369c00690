"""What a firmware payload is said to be."""

from __future__ import annotations

import sys
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stubsim.formats import capsule, igvm, ovmf, payload

OVMF = ovmf.build([(ovmf.SEV_ES_RESET, b"\x04\xb0\x80\0"), (ovmf.SEV_HASHES, bytes(8))], 4096)
IGVM = igvm.build([igvm.platform(2), igvm.platform(3, 2)])
CAPSULE = capsule.build(UUID("6dcbd5ed-e82d-4c44-bda1-7194199ad92a"), b"x" * 100, flags=0x50000)
ELF = Path(sys.executable).read_bytes() if sys.platform == "linux" else b""


@pytest.mark.parametrize(
    ("data", "name", "description"),
    [
        (OVMF, "ovmf", "OVMF: 4096 bytes, SEV-ES reset block 0x80b004, SEV hash table absent"),
        (ovmf.build((), 64), "ovmf", "OVMF: 64 bytes, an empty table"),
        (IGVM, "igvm", "IGVM: version 1, x64, SEV-SNP, TDX, 2 headers, 72 bytes"),
        (
            CAPSULE,
            "capsule",
            "UEFI capsule: 6dcbd5ed-e82d-4c44-bda1-7194199ad92a, 128 bytes, persist across reset, initiate reset",
        ),
        (CAPSULE + b"1", "unknown", "unknown, 129 bytes"),
        (b"IGVM", "igvm", "IGVM, broken: offset 0x4: the IGVM file is cut short (expected a header of 24 bytes)"),
        (bytes(40) + b"_FVH" + bytes(100), "unknown", "UEFI firmware volume without OVMF's table, 144 bytes"),
        (b"FIRMWARE", "unknown", "unknown, 8 bytes"),
        (b"", "unknown", "empty"),
    ],
)
def test_kinds(data: bytes, name: str, description: str):
    assert payload.kind(data) == (name, description)


@pytest.mark.skipif(ELF[:4] != b"\x7fELF", reason="the interpreter is no ELF file")
def test_elf():
    found = payload.kind(memoryview(ELF))
    assert found.name == "elf"
    assert found.description.startswith("ELF: 64 bit, " if ELF[4] == 2 else "ELF: 32 bit, ")
    assert f"{len(ELF)} bytes" in found.description
    assert payload.kind(ELF[:64]).name == "elf"
    assert "broken" in payload.kind(ELF[:20]).description


def test_a_broken_table_is_still_ovmf():
    data = bytearray(OVMF)
    data[-50:-48] = b"\xff\xff"
    found = payload.kind(data)
    assert found.name == "ovmf"
    assert "broken" in found.description


@given(st.binary(max_size=200), st.integers(0, 3))
def test_total(data: bytes, which: int):
    for start in (b"", b"IGVM", b"\x7fELF\2\1\1", b"\x7fELF\1\2\1"):
        assert payload.kind(start + data).name in {"ovmf", "igvm", "capsule", "elf", "unknown"}
    base = (OVMF, IGVM, CAPSULE, ELF[:4096])[which]
    mutated = bytearray(base)
    for at, value in zip(data[::2], data[1::2], strict=False):
        mutated[-at % max(len(base), 1) if which == 0 else at % max(len(base), 1)] = value
    found = payload.kind(mutated)
    assert "\n" not in found.description
