"""OVMF's GUIDed table; the images of Debian's ovmf package, and sev-snp-measure's reader of them, are the oracles."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stubsim.errors import StubsimError
from stubsim.formats import ovmf
from tests.strategies import mutated

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


SEV = (
    ovmf.SevSection(0x800000, 0x9000, 1),
    ovmf.SevSection(0x80D000, 0x1000, 2),
    ovmf.SevSection(0x80E000, 0x1000, 3),
    ovmf.SevSection(0x80F000, 0x1000, 4),
    ovmf.SevSection(0x810000, 0x1000, 0x10),
    ovmf.SevSection(0x811000, 0x1000, 0x77),
)
TDX = (
    ovmf.TdxSection(0x20000, 0x1E0000, 0xFFE20000, 0x1E0000, 0, ovmf.EXTEND_MR),
    ovmf.TdxSection(0, 0, 0x810000, 0x10000, 3, 0),
    ovmf.TdxSection(0, 0, 1 << 40, 0x1000, 99, 0),
)
BOTH = ovmf.build(ENTRIES, 4096, sev=SEV, tdx=TDX)


def test_metadata_both_ways():
    entries = ovmf.parse(BOTH)
    assert [(entry.guid, entry.data) for entry in entries[:3]] == list(ENTRIES)
    sev, tdx = ovmf.sev_metadata(BOTH, entries), ovmf.tdx_metadata(memoryview(BOTH), entries)
    assert sev is not None
    assert tdx is not None
    assert (sev.sections, tdx.sections) == (SEV, TDX)
    assert [row.name for row in sev.sections] == [
        "SNP_SEC_MEM", "SNP_SECRETS", "CPUID", "SVSM_CAA", "KERNEL_HASHES", "type 0x77",
    ]  # fmt: skip
    assert [row.name for row in tdx.sections] == ["BFV", "TempMem", "type 0x63"]
    assert BOTH[sev.offset :][:4] == b"ASEV"
    assert BOTH[tdx.offset :][:4] == b"TDVF"
    assert ovmf.table_size(entries) == int.from_bytes(BOTH[-50:-48], "little")
    assert ovmf.sev_metadata(IMAGE, ovmf.parse(IMAGE)) is None
    assert ovmf.tdx_metadata(IMAGE, ovmf.parse(IMAGE)) is None


def test_metadata_by_hand():
    """Laid out as OvmfSevMetadata.asm and IntelTdxMetadata.asm do."""
    sev = b"ASEV" + bytes.fromhex("1c000000 01000000 01000000 00008000 00900000 01000000")
    tdx = b"TDVF" + bytes.fromhex("30000000 01000000 01000000 00000200 00001e00 0000e2ff00000000 00001e0000000000")
    tdx += bytes.fromhex("00000000 01000000")
    image = ovmf.build([], 4096, sev=SEV[:1], tdx=TDX[:1])
    assert image.count(sev) == image.count(tdx) == 1
    # The entry of either has the distance of the signature from the end.
    for guid, blob in ((ovmf.SEV_METADATA, sev), (ovmf.TDX_METADATA, tdx)):
        found = ovmf.entry(ovmf.parse(image), guid)
        assert found is not None
        assert found.numbers == (len(image) - image.index(blob),)


def test_the_entry_next_to_the_footer_counts():
    """As QEMU (hw/i386/pc_sysfw_ovmf.c) looks for it, from the footer on."""
    entries = ovmf.parse(ovmf.build([(ovmf.SEV_HASHES, b"1234"), (ovmf.SEV_HASHES, b"5678")], 4096))
    found = ovmf.entry(entries, ovmf.SEV_HASHES)
    assert found is not None
    assert found.data == b"1234"


def sev_at(image: bytes, offset: int, value: int) -> bytes:
    at = image.index(b"ASEV") + offset
    return image[:at] + value.to_bytes(4, "little") + image[at + 4 :]


@pytest.mark.parametrize(
    "data",
    [
        sev_at(BOTH, 0, 0),
        sev_at(BOTH, 4, 15),
        sev_at(BOTH, 4, 5000),
        sev_at(BOTH, 8, 2),
        sev_at(BOTH, 12, len(SEV) + 1),
        sev_at(BOTH, 12, 0xFFFFFFFF),
        ovmf.build([(ovmf.SEV_METADATA, b"\0\0")], 4096),
        *(ovmf.build([(ovmf.SEV_METADATA, n.to_bytes(4, "little"))], 4096) for n in (0, 15, 4097, 0xFFFFFFFF)),
    ],
)
def test_broken_metadata(data: bytes):
    entries = ovmf.parse(data)
    with pytest.raises(StubsimError) as caught:
        ovmf.sev_metadata(data, entries)
    assert caught.value.offset is not None
    assert caught.value.expected


@given(mutated(BOTH, places=[*range(len(BOTH) - 600, len(BOTH) - 32)]))
def test_mutated_metadata(data: bytes):
    for read in (ovmf.sev_metadata, ovmf.tdx_metadata):
        try:
            found = read(data, ovmf.parse(data))
        except StubsimError:
            continue
        assert found is None or len(found.sections) < len(data) / 12


ROW = st.tuples(*[st.integers(0, 0xFFFFFFFF)] * 3).map(lambda row: ovmf.SevSection(*row))
TDX_ROW = st.tuples(*[st.integers(0, 0xFFFFFFFF)] * 6).map(lambda row: ovmf.TdxSection(*row))


@given(st.none() | st.lists(ROW, max_size=9), st.none() | st.lists(TDX_ROW, max_size=5))
def test_built_metadata_come_back(sev: list[ovmf.SevSection] | None, tdx: list[ovmf.TdxSection] | None):
    image = ovmf.build(ENTRIES, 2048, sev=sev, tdx=tdx)
    entries = ovmf.parse(image)
    for read, rows in ((ovmf.sev_metadata, sev), (ovmf.tdx_metadata, tdx)):
        found = read(image, entries)
        assert (None if found is None else list(found.sections)) == rows


DEBIAN = ("ovmf/OVMF.fd", "OVMF/OVMF_CODE.fd", "OVMF/OVMF_CODE_4M.fd", "OVMF/OVMF_CODE_4M.secboot.fd")


@pytest.mark.oracle
@pytest.mark.parametrize("name", DEBIAN)
def test_debian_images(oracle_file: Callable[[str], bytes], name: str):
    """Debian 12: the 2 MiB builds are for x64 and have all five entries; the 4 MiB ones are IA32X64 and have three."""
    image = oracle_file(f"/usr/share/{name}")
    entries = ovmf.parse(image)
    large = "4M" in name
    assert ovmf.table_size(entries) == (92 if large else 136)
    names = ["SEV-ES reset block", "SEV secret block", "SEV hash table", "SEV metadata", "TDX metadata"]
    assert [entry.name for entry in entries] == names[: 3 if large else 5]
    hashes = ovmf.entry(entries, ovmf.SEV_HASHES)
    assert hashes is not None
    assert hashes.numbers == (0, 0)
    tdx = ovmf.tdx_metadata(image, entries)
    if not large:
        assert tdx is not None
        volume = next(row for row in tdx.sections if row.name == "BFV")
        # The code ends with the image, at 4 GiB, and is what MRTD is extended with.
        assert volume.address + volume.size == 1 << 32
        assert volume.attributes == ovmf.EXTEND_MR


@pytest.mark.oracle
@pytest.mark.parametrize("name", DEBIAN)
def test_sev_snp_measure_reads_the_same(oracle_file: Callable[[str], bytes], name: str):
    image = oracle_file(f"/usr/share/{name}")
    compare_with_the_tool(image, f"/usr/share/{name}")


def test_sev_snp_measure_reads_what_we_build(tmp_path: Path):
    path = tmp_path / "image.fd"
    path.write_bytes(BOTH)
    compare_with_the_tool(BOTH, str(path))


def compare_with_the_tool(image: bytes, path: str) -> None:
    theirs = pytest.importorskip("sevsnpmeasure.ovmf").OVMF(path)
    entries = ovmf.parse(image)
    for entry in entries:
        assert bytes(theirs.table_item(str(entry.guid))) == entry.data
    sev = ovmf.sev_metadata(image, entries)
    rows = [] if sev is None else [tuple(row) for row in sev.sections]
    assert [(row.gpa, row.size, row.section_type_int) for row in theirs.metadata_items()] == rows


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
