"""IGVM headers."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stubsim.errors import StubsimError
from stubsim.formats import igvm

FILE = igvm.build([igvm.platform(2), (0x302, b"page data header"), (0x8000_0001, b"odd")], b"contents")


def test_both_ways():
    file = igvm.parse(FILE)
    assert (file.version, file.architecture, file.page_size) == (1, 0, 4096)
    assert file.total_size == len(FILE)
    assert [(header.type, header.data) for header in file.headers[1:]] == [
        (0x302, b"page data header"), (0x8000_0001, b"odd"),
    ]  # fmt: skip
    assert all(FILE[header.offset : header.offset + len(header.data)] == header.data for header in file.headers)
    assert file.platforms == (igvm.Platform(1, 0, 2, 1, 0),)
    assert igvm.PLATFORMS[file.platforms[0].type] == "SEV-SNP"


def test_layout_by_hand():
    variable = bytes.fromhex("01000000100000000100000000030100" + "00" * 8)
    fixed = bytes.fromhex("4947564d0100000018000000180000003000000000000000")
    checksum = zlib.crc32(fixed + variable)
    data = fixed[:20] + checksum.to_bytes(4, "little") + variable
    assert igvm.build([igvm.platform(3)]) == data
    assert igvm.parse(data).platforms[0].type == 3


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (1, "SUPPORTED_PLATFORM"),
        (0x302, "PAGE_DATA"),
        (0x80000302, "PAGE_DATA"),
        (0x306, "type 0x306"),
        (0, "type 0x0"),
    ],
)
def test_names_of_headers(kind: int, name: str):
    """As igvm_defs numbers them; 0x306 is reserved."""
    (header,) = igvm.parse(igvm.build([(kind, b"")])).headers
    assert header.name == name


def test_version_2_names_its_architecture():
    data = igvm.build([igvm.platform(2)], version=2, architecture=1)
    file = igvm.parse(data + b"more")
    assert (file.version, file.architecture, file.page_size, file.total_size) == (2, 1, 4096, len(data))


@pytest.mark.parametrize(
    ("offset", "value"),
    [
        (0, 0),
        (4, 0),
        (8, 16),
        (8, 25),
        (12, 0xFFFFFFFF),
        (16, 0xFFFFFFFF),
        (20, 0),
        (28, 99999),
    ],
)
def test_bad_fields(offset: int, value: int):
    data = bytearray(FILE)
    data[offset : offset + 4] = value.to_bytes(4, "little")
    with pytest.raises(StubsimError) as caught:
        igvm.parse(data)
    assert caught.value.offset is not None
    assert caught.value.expected


def test_an_inner_header_too_long_is_found_behind_a_good_checksum():
    data = bytearray(FILE)
    data[28:32] = (1000).to_bytes(4, "little")
    size = int.from_bytes(data[12:16], "little")
    data[20:24] = bytes(4)
    data[20:24] = zlib.crc32(data[: 24 + size]).to_bytes(4, "little")
    with pytest.raises(StubsimError, match="header of 1000 bytes"):
        igvm.parse(data)


@pytest.mark.parametrize("size", range(0, len(FILE), 3))
def test_cut_short(size: int):
    with pytest.raises(StubsimError):
        igvm.parse(FILE[:size])


@given(st.binary(max_size=100))
def test_arbitrary_bytes(data: bytes):
    for candidate in (data, b"IGVM" + data, FILE[:24] + data):
        try:
            igvm.parse(candidate)
        except StubsimError:
            continue


@given(st.binary(max_size=100), st.integers(1, 3))
def test_arbitrary_headers_behind_a_good_checksum(variable: bytes, version: int):
    body = b"IGVM" + b"".join(n.to_bytes(4, "little") for n in (version, 32, len(variable), 32 + len(variable)))
    extra = bytes(8) if version > 1 else b""
    checksum = zlib.crc32(body + bytes(4) + extra + variable)
    data = (body + checksum.to_bytes(4, "little") + extra).ljust(32, b"\0") + variable
    try:
        file = igvm.parse(data)
    except StubsimError:
        return
    assert all(header.offset + len(header.data) <= len(data) for header in file.headers)
    assert isinstance(file.platforms, tuple)


@given(st.lists(st.tuples(st.integers(0, 0xFFFFFFFF), st.binary(max_size=30)), max_size=5), st.binary(max_size=20))
def test_built_files_come_back(headers: list[tuple[int, bytes]], data: bytes):
    file = igvm.parse(igvm.build(headers, data))
    assert [(header.type, header.data) for header in file.headers] == headers
