"""OVMF's GUIDed table; the images of Debian's ovmf package are the oracle where they are installed."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stubsim.errors import StubsimError
from stubsim.formats import ovmf

ENTRIES = (
    (ovmf.SEV_ES_RESET, bytes.fromhex("04b08000")),
    (ovmf.SEV_SECRET, bytes.fromhex("00d0800000040000")),
    (UUID(int=5), b"abc"),
)
IMAGE = ovmf.build(ENTRIES, 4096)


def test_both_ways():
    entries = ovmf.parse(IMAGE)
    assert [(entry.guid, entry.data) for entry in entries] == list(ENTRIES)
    assert [entry.name for entry in entries[:2]] == ["SEV-ES reset block", "SEV secret block"]
    assert entries[0].numbers == (0x80B004,)
    assert entries[1].numbers == (0x80D000, 0x400)
    assert entries[2].name == str(UUID(int=5))
    assert entries[2].numbers == ()
    assert all(IMAGE[entry.offset : entry.offset + len(entry.data)] == entry.data for entry in entries)


def test_layout_by_hand():
    """The bytes before the last 32: data, u16 length, GUID, and the same again for the footer."""
    image = ovmf.build([(ovmf.SEV_METADATA, b"\x2c\x05\0\0")], 128)
    assert image[-32:] == bytes(32)
    table = image[-32 - 40 : -32]
    assert table[:6].hex() == "2c0500001600"
    assert table[6:22].hex() == "666588dc" + "4a98" + "9847" + "a75e5585a7bf67cc"
    assert table[22:24].hex() == "2800"
    assert table[24:].hex() == "de82b596b21ff745baeaa366c55a082d"


def test_an_empty_table():
    assert ovmf.parse(ovmf.build((), 64)) == ()


@pytest.mark.parametrize("size", [0, 1, 31, 32, 49, 50, 4095])
def test_cut_short(size: int):
    with pytest.raises(StubsimError):
        ovmf.parse(IMAGE[:size])


def test_wrong_lengths():
    end = len(IMAGE) - 50
    for at in (end, end - 18):
        for length in (0, 17, 5000, 0xFFFF):
            data = bytearray(IMAGE)
            data[at : at + 2] = length.to_bytes(2, "little")
            with pytest.raises(StubsimError) as caught:
                ovmf.parse(data)
            assert caught.value.offset is not None


def test_a_table_that_does_not_fit():
    with pytest.raises(StubsimError):
        ovmf.build([(UUID(int=1), bytes(100))], 100)
    with pytest.raises(StubsimError):
        ovmf.build([(UUID(int=1), bytes(70000))], 1 << 20)


def test_debian_images():
    """Debian 12: OVMF_CODE.fd has all five entries, OVMF_CODE_4M.fd the first three."""
    found = [path for path in Path("/usr/share/OVMF").glob("OVMF_CODE*.fd") if path.is_file()]
    if not found:
        pytest.skip("no ovmf package")
    for path in found:
        names = {entry.name for entry in ovmf.parse(path.read_bytes())}
        assert {"SEV-ES reset block", "SEV secret block", "SEV hash table"} <= names


@given(st.binary(max_size=200), st.integers(0, 400))
def test_arbitrary_bytes(data: bytes, keep: int):
    for candidate in (data, data + IMAGE[-keep:], IMAGE[: len(IMAGE) - 50 - len(data)] + data + IMAGE[-48:]):
        try:
            entries = ovmf.parse(candidate)
        except StubsimError:
            continue
        assert all(0 <= entry.offset < len(candidate) for entry in entries)


@given(st.lists(st.tuples(st.uuids(), st.binary(max_size=40)), max_size=6))
def test_built_tables_come_back(entries: list[tuple[UUID, bytes]]):
    assert [(entry.guid, entry.data) for entry in ovmf.parse(ovmf.build(entries, 1024))] == entries
