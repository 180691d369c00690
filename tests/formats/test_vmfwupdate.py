"""Structures of the update dialects; the fw-blob and file facts were seen on a QEMU 10.0.13 with the patch."""

from __future__ import annotations

import json
import struct
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stubsim.errors import StubsimError
from stubsim.formats import vmfwupdate
from stubsim.formats.vmfwupdate import KINDS, FukiEntry, FwBlob, Left

DIGEST = bytes(range(32))
LEFT = (
    Left("firmware", 0x200000, 65536, DIGEST),
    Left("kernel", 0x300000, 5000, DIGEST[::-1]),
    Left("cmdline", 0x302000, 0, bytes(32)),
)


def test_fw_blob_both_ways():
    data = bytes.fromhex("00000100000000000000200000000000")
    assert vmfwupdate.pack_fw_blob(0x10000, 0x200000) == data
    assert vmfwupdate.unpack_fw_blob(data) == FwBlob(0x10000, 0x200000)
    for size, gpa in ((1 << 64, 0), (0, -1)):
        with pytest.raises(StubsimError):
            vmfwupdate.pack_fw_blob(size, gpa)


def test_capabilities():
    assert vmfwupdate.CAP_OFFERED == 0x88


def test_the_recorded_directory_has_the_files_of_qemu_v5(shared: Path):
    recording = json.loads((shared / "golden-fwcfg/v5-directory.json").read_text())
    recorded = [
        (row["name"], row["size"], row["writable"]) for row in recording["files"] if "vmfwupdate" in row["name"]
    ]
    assert sorted(vmfwupdate.FILES["qemu-v5"]) == recorded


def test_sizes_of_the_prototype():
    sizes = {row.name: row.size for row in vmfwupdate.FILES["fuki-2024"]}
    assert sizes["etc/vmfwupdate-blob"] == 6144
    assert vmfwupdate.FUKI_ENTRY.size == 24


def test_fuki_entries_both_ways():
    entries = (FukiEntry(5, 0, 65536, 0x7000000), FukiEntry(4, 1, 4096, 128 << 20, 9))
    data = vmfwupdate.pack_fuki(entries)
    assert data.hex() == (
        "050000000000010000000007000000000000000000000000040100000010000000000008000000000900000000000000"
    )
    assert vmfwupdate.unpack_fuki(data) == entries
    assert vmfwupdate.unpack_fuki(data[:2] + b"\xaa\xbb" + data[4:]) == entries  # padding: any value
    assert vmfwupdate.unpack_fuki(b"") == ()
    with pytest.raises(StubsimError):
        vmfwupdate.pack_fuki([FukiEntry(5, 0, 1 << 32, 0)])


@pytest.mark.parametrize(
    "data",
    [
        bytes(24),
        b"\7" + bytes(23),
        b"\1\2" + bytes(22),
        (b"\1" + bytes(23)) * 2,
        b"\1" + bytes(22),
        bytes(24 * 257),
    ],
)
def test_fuki_blobs_the_prototype_refuses(data: bytes):
    with pytest.raises(StubsimError):
        vmfwupdate.unpack_fuki(data)


def test_the_opaque_page_is_as_documented():
    page = vmfwupdate.build_opaque(LEFT[:1])
    assert len(page) == 4096
    head = b"STUBSIM\0" + struct.pack("<II", 1, 1)
    row = struct.pack("<IIQQ", 1, 0, 0x200000, 65536) + DIGEST
    checksum = zlib.crc32(head + bytes(8) + row)
    assert page == (head + struct.pack("<II", checksum, 0) + row).ljust(4096, b"\0")


def test_the_opaque_page_both_ways():
    assert vmfwupdate.parse_opaque(vmfwupdate.build_opaque(LEFT)) == LEFT
    assert vmfwupdate.parse_opaque(memoryview(vmfwupdate.build_opaque([]))) == ()


@pytest.mark.parametrize(
    "entries",
    [
        [Left("dtb", 0, 1, DIGEST)],
        [Left("kernel", 0, 1, DIGEST[:31])],
        [Left("kernel", 4097, 1, DIGEST)],
        [Left("kernel", -4096, 1, DIGEST)],
        [Left("kernel", (1 << 64) - 4096, 4097, DIGEST)],
        [Left("kernel", 0, 1, DIGEST), Left("kernel", 4096, 1, DIGEST)],
        [Left("kernel", 4096, 4097, DIGEST), Left("initrd", 8192, 1, DIGEST)],
        [Left("kernel", 4096, 0, DIGEST), Left("initrd", 4096, 0, DIGEST)],
        [Left("kernel", 0, 1, DIGEST)] * 73,
    ],
)
def test_entries_that_cannot_be_left(entries: list[Left]):
    with pytest.raises(StubsimError):
        vmfwupdate.build_opaque(entries)


def forged(count: int, rows: bytes, reserved: int = 0, tail: bytes = b"") -> bytes:
    head = struct.pack("<8sII", vmfwupdate.MAGIC, 1, count)
    checksum = zlib.crc32(head + struct.pack("<II", 0, reserved) + rows)
    return (head + struct.pack("<II", checksum, reserved) + rows + tail).ljust(4096, b"\0")


GOOD_ROW = struct.pack("<IIQQ", 2, 0, 4096, 4096) + DIGEST


@pytest.mark.parametrize(
    ("page", "message"),
    [
        (bytes(4096), "empty"),
        (b"x" * 4096, "not an opaque page"),
        (b"", "0 bytes"),
        (forged(1, GOOD_ROW) + b"\0", "4097 bytes"),
        (forged(73, b""), "73 entries"),
        (forged(0xFFFFFFFF, b""), "entries"),
        (forged(2, GOOD_ROW * 2), "twice"),
        (forged(1, GOOD_ROW, reserved=1), "none belong"),
        (forged(1, GOOD_ROW, tail=b"x"), "none belong"),
        (forged(1, struct.pack("<IIQQ", 0, 0, 4096, 1) + DIGEST), "kind 0"),
        (forged(1, struct.pack("<IIQQ", len(KINDS) + 1, 0, 4096, 1) + DIGEST), "kind 6"),
        (forged(1, struct.pack("<IIQQ", 2, 7, 4096, 1) + DIGEST), "kind 2, 7"),
        (forged(1, struct.pack("<IIQQ", 2, 0, 4095, 1) + DIGEST), "at 0xfff"),
        (forged(1, struct.pack("<IIQQ", 2, 0, 4096, (1 << 64) - 1) + DIGEST), "at 0x1000"),
        (forged(2, GOOD_ROW + struct.pack("<IIQQ", 3, 0, 0, 4097) + DIGEST), "initrd and kernel overlap"),
    ],
)
def test_hostile_opaque_pages(page: bytes, message: str):
    with pytest.raises(StubsimError, match=message):
        vmfwupdate.parse_opaque(page)


def test_a_version_and_a_checksum_we_do_not_know():
    page = bytearray(vmfwupdate.build_opaque(LEFT))
    page[8] = 2
    with pytest.raises(StubsimError, match="version 2"):
        vmfwupdate.parse_opaque(bytes(page))
    page[8], page[40] = 1, page[40] ^ 1
    with pytest.raises(StubsimError, match="checksum"):
        vmfwupdate.parse_opaque(bytes(page))


@st.composite
def lefts(draw: st.DrawFn) -> list[Left]:
    """Ranges apart from one another, in any order of kinds."""
    kinds = draw(st.permutations(KINDS))[: draw(st.integers(0, len(KINDS)))]
    gpa, rows = 0, []
    for kind in kinds:
        gpa += draw(st.integers(0, 1 << 40)) * 4096
        size = draw(st.integers(0, 1 << 40))
        rows.append(Left(kind, gpa, size, draw(st.binary(min_size=32, max_size=32))))
        gpa += max(-(-size // 4096), 1) * 4096
    return draw(st.permutations(rows))


@given(lefts(), st.data())
def test_any_page_round_trips_and_any_changed_bit_is_seen(rows: list[Left], data: st.DataObject):
    page = vmfwupdate.build_opaque(rows)
    assert vmfwupdate.parse_opaque(page) == tuple(rows)
    changed = bytearray(page)
    changed[data.draw(st.integers(0, 4095))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(StubsimError):
        vmfwupdate.parse_opaque(bytes(changed))


FORGED = st.builds(forged, st.integers(0, 80), st.binary(max_size=4000), st.integers(0, 3))


@given(
    st.binary(max_size=5000)
    | FORGED
    | st.lists(st.binary(min_size=56, max_size=56)).map(lambda r: forged(len(r), b"".join(r)))
)
def test_parsers_are_total(data: bytes):
    for parse in (vmfwupdate.parse_opaque, vmfwupdate.unpack_fuki, vmfwupdate.unpack_fw_blob):
        try:
            assert isinstance(parse(data), tuple)
        except StubsimError:
            continue


FUKI_ROWS = st.lists(
    st.builds(
        FukiEntry,
        st.integers(1, 6),
        st.integers(0, 1),
        st.integers(0, (1 << 32) - 1),
        st.integers(0, (1 << 64) - 1),
        st.integers(0, (1 << 64) - 1),
    ),
    unique_by=lambda entry: entry.type,
)


@given(FUKI_ROWS)
def test_fuki_round_trips(entries: list[FukiEntry]):
    assert vmfwupdate.unpack_fuki(vmfwupdate.pack_fuki(entries)) == tuple(entries)
