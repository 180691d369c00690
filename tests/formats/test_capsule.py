"""UEFI capsule headers."""

from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stubsim.errors import StubsimError
from stubsim.formats import capsule

# The header as UEFI 2.10, 8.5.3.1 lays it out: GUID (mixed endian), HeaderSize, Flags, CapsuleImageSize.
BY_HAND = bytes.fromhex("edd5cb6d2de8444cbda17194199ad92a" + "1c000000" + "00000500" + "20000000") + b"BODY"


def test_both_ways():
    read = capsule.parse(BY_HAND)
    assert read.guid == capsule.FIRMWARE_MANAGEMENT
    assert (read.header_size, read.flags, read.image_size) == (28, 0x50000, 32)
    assert bytes(read.body) == b"BODY"
    assert capsule.build(read.guid, b"BODY", flags=read.flags) == BY_HAND


def test_names():
    read = capsule.parse(BY_HAND)
    assert read.name == "firmware management protocol"
    assert read.flag_names == ("persist across reset", "initiate reset")
    own = capsule.parse(capsule.build(UUID(int=7), b"", flags=0x20001))
    assert own.name is None
    assert own.flag_names == ("populate system table",)


def test_larger_header_and_trailing_bytes():
    data = capsule.build(UUID(int=7), b"body", header_size=32) + b"more"
    read = capsule.parse(data)
    assert (read.header_size, read.image_size, bytes(read.body)) == (32, 36, b"body")


@pytest.mark.parametrize(
    ("flags", "valid"), [(0, True), (0x10000, True), (0x70000, True), (0x20000, False), (0x40001, False), (1, True)]
)
def test_flags(flags: int, valid: bool):
    assert capsule.parse(capsule.build(UUID(int=7), b"", flags=flags)).flags_valid is valid


@pytest.mark.parametrize(("offset", "value"), [(16, 27), (16, 33), (24, 27), (24, 33)])
def test_bad_sizes(offset: int, value: int):
    data = bytearray(BY_HAND)
    data[offset : offset + 4] = value.to_bytes(4, "little")
    with pytest.raises(StubsimError) as caught:
        capsule.parse(data)
    assert caught.value.offset in (16, 24)


@pytest.mark.parametrize("size", range(len(BY_HAND)))
def test_cut_short(size: int):
    with pytest.raises(StubsimError):
        capsule.parse(BY_HAND[:size])


@given(st.binary(max_size=64))
def test_arbitrary_bytes(data: bytes):
    try:
        read = capsule.parse(data)
    except StubsimError:
        return
    assert len(read.body) == read.image_size - read.header_size


@given(st.uuids(), st.binary(max_size=40), st.integers(0, 0xFFFFFFFF), st.integers(28, 64))
def test_built_capsules_come_back(guid: UUID, body: bytes, flags: int, header_size: int):
    read = capsule.parse(capsule.build(guid, body, flags=flags, header_size=header_size))
    assert (read.guid, bytes(read.body), read.flags, read.header_size) == (guid, body, flags, header_size)
