"""Cores in firmware volumes, in images laid out by hand; Debian's firmware packages are the oracle."""

from __future__ import annotations

import lzma
import struct
from collections.abc import Callable
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stubsim.formats import firmware_volume, pe
from stubsim.formats.firmware_volume import Core, cores, volumes
from stubsim.formats.pe import SectionSpec
from tests.strategies import mutated

X64, IA32, AA64 = 0x8664, 0x14C, 0xAA64
# UEFI PI 1.8, volume 3, 3.2: the types of files and sections.
SEC, PEI, DXE, IMAGE = 3, 4, 5, 11
FFS2 = UUID("8c8ce578-8a3d-4f1c-9935-896185c32dd3")
LZMA = UUID("ee4e5898-3914-4259-9d6e-dc7bd79403cf")


def section(kind: int, content: bytes) -> bytes:
    data = struct.pack("<I", len(content) + 4 | kind << 24) + content
    return data + bytes(-len(data) % 4)


def program(machine: int) -> bytes:
    return section(0x10, pe.build([SectionSpec(".text", b"\xf4")], machine=machine))


def terse(machine: int) -> bytes:
    return section(0x12, b"VZ" + struct.pack("<H", machine) + bytes(36))


def file(kind: int, *sections: bytes, large: bool = False) -> bytes:
    body = b"".join(sections)
    size = len(body) + (32 if large else 24)
    head = UUID(int=9).bytes_le + bytes([0xAA, 0x55, kind, int(large)])
    head += struct.pack("<I", 0xF8FFFFFF if large else size | 0xF8000000)
    return head + (struct.pack("<Q", size) if large else b"") + body + b"\xff" * (-size % 8)


def volume(*files: bytes, extended: bool = False, file_system: UUID = FFS2) -> bytes:
    head = 72 + (24 if extended else 0)
    body = b"".join(files)
    length = head + len(body) + 64
    data = bytes(16) + file_system.bytes_le + struct.pack("<Q4sIHHHBB", length, b"_FVH", 0, 72, 0, 72 * extended, 0, 2)
    data += struct.pack("<IIII", 1, length, 0, 0)
    if extended:
        data += UUID(int=1).bytes_le + struct.pack("<I", 20) + bytes(4)
    return (data + body).ljust(length, b"\xff")


def packed(content: bytes) -> bytes:
    data = lzma.compress(content, lzma.FORMAT_ALONE)
    return section(0x02, LZMA.bytes_le + struct.pack("<HH", 24, 1) + data)


def ovmf_like(start: int, dxe: int) -> bytes:
    """PEI and DXE volumes in an LZMA section of one volume, SEC in the next, as OVMF has them."""
    inner = section(0x17, volume(file(PEI, program(start)))) + section(0x17, volume(file(DXE, program(dxe))))
    return volume(file(0xF0), file(IMAGE, packed(inner))) + volume(file(SEC, terse(start)), extended=True)


@pytest.mark.parametrize(("start", "dxe"), [(X64, X64), (IA32, X64), (IA32, IA32)])
def test_the_builds_of_ovmf(start: int, dxe: int):
    image = b"\xff" * 4096 + ovmf_like(start, dxe) + b"code that looks for _FVH " + bytes(100)
    assert cores(image) == (Core("SEC", start), Core("PEI", start), Core("DXE", dxe))
    assert cores(memoryview(image)) == cores(image)


def test_volumes_that_are_not_packed():
    image = volume(file(IMAGE, section(0x17, volume(file(DXE, section(0x19, b"raw"), program(AA64), large=True)))))
    assert cores(image) == (Core("DXE", AA64),)


@pytest.mark.parametrize(
    "image",
    [
        b"",
        b"_FVH",
        volume(file(SEC, terse(X64)), file_system=UUID(int=3)),
        volume(file(SEC, terse(X64)))[:-1],
        volume(file(SEC, section(0x10, b"MZ"), section(0x12, b"??"))),
        volume(file(7, program(X64))),
        volume(file(IMAGE, section(0x02, UUID(int=2).bytes_le + struct.pack("<HH", 24, 1) + b"data"))),
        volume(file(IMAGE, section(0x02, LZMA.bytes_le + struct.pack("<HH", 24, 1) + b"no LZMA"))),
        volume(file(IMAGE, section(0x02, LZMA.bytes_le))),
    ],
)
def test_nothing_to_tell(image: bytes):
    assert cores(image) == ()


def test_a_bomb_is_not_unpacked():
    """Zeros pack a thousandfold: what lies behind them is out of reach, and the memory is not taken."""
    bomb = packed(bytes(32 << 20) + volume(file(DXE, program(X64))))
    assert len(bomb) < 64 << 10
    assert cores(volume(file(IMAGE, bomb))) == ()


def test_what_an_image_unpacks_to_is_bounded_in_all(monkeypatch: pytest.MonkeyPatch):
    """Sections one behind the other take no more memory than one."""
    monkeypatch.setattr(firmware_volume, "_UNPACKED_MAX", 4096)
    core = packed(section(0x17, volume(file(DXE, program(X64)))))
    others = [file(IMAGE, packed(section(0x17, volume(file(0xF0, bytes(size)))))) for size in (1000, 2500)]
    assert [len(found.phases) for found in volumes(volume(*others[:1], file(IMAGE, core)))] == [0, 0, 1]
    assert not any(found.phases for found in volumes(volume(*others, file(IMAGE, core))))


def test_a_million_sections_are_not_walked():
    empty = section(0x19, b"")
    assert cores(volume(file(SEC, empty * 60000, terse(X64)))) == (Core("SEC", X64),)
    assert cores(volume(file(SEC, empty * 70000, terse(X64)))) == ()


def test_a_dictionary_too_large():
    data = bytearray(lzma.compress(volume(file(DXE, program(X64))), lzma.FORMAT_ALONE))
    data[1:5] = b"\xff" * 4
    bomb = section(0x02, LZMA.bytes_le + struct.pack("<HH", 24, 1) + data)
    assert cores(volume(file(IMAGE, bomb))) == ()


@given(st.binary(max_size=200) | mutated(ovmf_like(X64, X64)))
def test_total(data: bytes):
    assert {core.phase for core in cores(data)} <= {"SEC", "PEI", "DXE"}


@pytest.mark.oracle
@pytest.mark.parametrize(
    ("path", "machines"),
    [
        ("/usr/share/ovmf/OVMF.fd", (X64, X64, X64)),
        ("/usr/share/OVMF/OVMF_CODE.secboot.fd", (X64, X64, X64)),
        # Built from OvmfPkgIa32X64.dsc.
        ("/usr/share/OVMF/OVMF_CODE_4M.fd", (IA32, IA32, X64)),
        ("/usr/share/OVMF/OVMF32_CODE_4M.secboot.fd", (IA32, IA32, IA32)),
        ("/usr/share/AAVMF/AAVMF_CODE.fd", (AA64, AA64, AA64)),
    ],
)
def test_debian_images(oracle_file: Callable[[str], bytes], path: str, machines: tuple[int, int, int]):
    found = cores(oracle_file(path))
    assert found == tuple(Core(*pair) for pair in zip(("SEC", "PEI", "DXE"), machines, strict=True))


def test_volumes_are_found_with_their_phases_as_they_are_unpacked():
    inner = volume(file(PEI, program(IA32))), volume(file(DXE, program(X64)))
    body = b"".join(section(0x17, each) for each in inner)
    image = volume(file(IMAGE, packed(body))) + volume(file(SEC, terse(X64)))
    found = volumes(image)
    assert [(sorted(each.phases), each.packed) for each in found] == [
        ([], False), (["PEI"], True), (["DXE"], True), (["SEC"], False)
    ]  # fmt: skip
    assert [bytes(each.content) for each in found[1:3]] == list(inner)
