"""Raw SMBIOS: tables, dumps and folders, beside what dmidecode reads in them."""

from __future__ import annotations

import re
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stubsim import chid, hosts
from stubsim.errors import StubsimError
from stubsim.formats import smbios
from stubsim.hosts import raw
from stubsim.hosts.recognise import read_bytes
from tests.hosts.outcomes import is_host_or_error
from tests.strategies import mutated

FIELDS = smbios.Fields(b"Maker", b"Product", b"SKU", b"Family", b"Board", b"One", b"V", b"1.2", 3, 4, 0x8A)
TABLE = smbios.from_fields(FIELDS, [b"one", b"two"])
DUMP = smbios.build_entry_point(TABLE).ljust(32, b"\0") + TABLE


def old_dump(table: bytes) -> bytes:
    """As dmidecode writes it for a table of version 2.8: the address is in bytes 24 to 27, the length in 22 and 23."""
    count = len(smbios.parse(table))
    inner = bytearray(b"_DMI_\0" + struct.pack("<HIHB", len(table), 32, count, 0x28))
    inner[5] = -sum(inner) & 0xFF
    outer = bytearray(b"_SM_\0\x1f\2\x08" + bytes(8) + inner)
    outer[4] = -sum(outer) & 0xFF
    return bytes(outer).ljust(32, b"\0") + table


OLD_DUMP = old_dump(TABLE)


def load_error(path: Path) -> StubsimError:
    with pytest.raises(StubsimError) as caught:
        hosts.load(str(path))
    return caught.value


@pytest.mark.parametrize(
    ("data", "kind"), [(TABLE, "smbios-table"), (DUMP, "dmidecode-bin"), (OLD_DUMP, "dmidecode-bin")]
)
def test_every_form_of_a_table(tmp_path: Path, data: bytes, kind: str):
    path = tmp_path / "file"
    path.write_bytes(data)
    reading = hosts.read(str(path))
    assert reading.kind == kind
    assert reading.host.fields == FIELDS
    assert reading.host.oem_strings == (b"one", b"two")
    assert reading.host.structures == smbios.parse(TABLE)
    # All that a table does not tell, and nothing that it tells.
    assert reading.host.unknown == {
        "edid", "devicetree", "memory", "secure_boot", "tpm", "rng", "console", "keyboard_layout", "firmware",
    }  # fmt: skip


def test_a_folder(tmp_path: Path):
    (tmp_path / "DMI").write_bytes(TABLE)
    assert hosts.read(str(tmp_path)).description == "folder with a raw SMBIOS table"
    (tmp_path / "smbios_entry_point").write_bytes(smbios.build_entry_point(TABLE))
    reading = hosts.read(str(tmp_path))
    assert (reading.kind, reading.host.fields) == ("smbios-folder", FIELDS)
    assert reading.description == "folder with a raw SMBIOS table, SMBIOS 3.3"


def test_what_processor_and_firmware_tell():
    x86 = smbios.build_structure(4, bytes([0, 3, 0xB3, 0, *bytes.fromhex("100f8300fffb8b17"), *bytes(20)]))
    arm = smbios.build_structure(4, bytes([0, 3, 0xFE, 0, *bytes.fromhex("41d03f4100000000"), *bytes(20)]))
    assert "devicetree" not in raw.read_table(x86 + TABLE).host.unknown
    assert "devicetree" in raw.read_table(arm + TABLE).host.unknown
    virtual = smbios.build_structure(0, bytes([0, 0, 0, 0, 0, 0, *bytes(9), 0x1C]))
    assert raw.read_table(virtual + TABLE).host.hypervisor
    assert not raw.read_table(TABLE).host.hypervisor


@pytest.mark.parametrize(("data", "start"), [(TABLE, 0), (DUMP, 32), (OLD_DUMP, 32)])
def test_a_damaged_table_is_read_as_far_as_it_goes(tmp_path: Path, data: bytes, start: int):
    """As dmidecode and the stubs do; what there is must be a machine's (systemd-stub 262, smbios.c)."""
    path = tmp_path / "file"
    # Behind a whole structure a table may end, and of the end marker the last two bytes may be missing.
    whole = {structure.offset + start for structure in smbios.parse(TABLE)[1:]} | {len(data) - 2, len(data) - 1}
    formatted = len(smbios.parse(TABLE)[0].formatted)
    for end in range(start + 4, len(data)):
        path.write_bytes(data[:end])
        if end < start + formatted:
            error = load_error(path)
            assert error.path == str(path)
            assert error.offset is not None
            assert start <= error.offset <= end
            assert error.expected
            continue
        reading = hosts.read(str(path))
        assert bool(reading.notes) == (reading.host.damage is not None) == (end not in whole or data is OLD_DUMP)
        for field, value in reading.host.fields._asdict().items():
            assert value in (getattr(FIELDS, field), None)
        assert reading.host.oem_strings in ((), (b"one",), (b"one", b"two"))


def test_damage_behind_what_a_stub_reads(tmp_path: Path):
    """A structure of length 0, as some hypervisors have at the end."""
    path = tmp_path / "file"
    end = TABLE.rindex(b"\x7f\4")
    path.write_bytes(TABLE[:end] + b"\x7c\0\0\0garbage")
    reading = hosts.read(str(path))
    assert (reading.host.fields, reading.host.oem_strings) == (FIELDS, (b"one", b"two"))
    assert reading.host.damage is not None
    assert f"offset {end + 1:#x}" in reading.host.damage
    assert "type 124 has length 0" in reading.notes[0]


def test_a_broken_folder(tmp_path: Path):
    (tmp_path / "DMI").write_bytes(TABLE[:50])
    (tmp_path / "smbios_entry_point").write_bytes(b"nothing")
    assert load_error(tmp_path).path == str(tmp_path / "smbios_entry_point")
    (tmp_path / "smbios_entry_point").unlink()
    assert hosts.load(str(tmp_path)).damage is not None
    (tmp_path / "DMI").write_bytes(TABLE[:10])
    assert load_error(tmp_path).path == str(tmp_path / "DMI")


def test_an_entry_point_without_its_table(tmp_path: Path):
    path = tmp_path / "smbios_entry_point"
    path.write_bytes(smbios.build_entry_point(TABLE))
    error = load_error(path)
    assert "the SMBIOS table is not in this file" in error.message
    assert error.offset == 16
    assert "the folder of both" in str(error)
    path.write_bytes(b"_SM3_")
    assert load_error(path).message == "not an SMBIOS entry point"


def test_a_table_of_no_machine(tmp_path: Path):
    path = tmp_path / "file"
    path.write_bytes(smbios.build([]))
    assert "not recognised" in load_error(path).message or "neither a BIOS" in load_error(path).message
    path.write_bytes(smbios.build([smbios.build_structure(11, b"\1", [b"x"])]))
    error = load_error(path)
    assert "neither a BIOS nor a system structure" in error.message
    assert "found 11, 127" in str(error)


@pytest.mark.parametrize("start", [b" ", b"\t", b"\n"])
def test_a_type_that_looks_like_white_space(start: bytes):
    """Type 32, 9 or 10 in front, with a length that is a bracket."""
    for length in b"<{[":
        first = start + bytes([length, 0, 0]) + bytes(length - 4) + b"\0\0"
        assert read_bytes(first + TABLE).host.fields == FIELDS


def test_the_made_up_machines(shared: Path):
    paths = sorted((shared / "data" / "chids").glob("smbios-*.bin"))
    assert len(paths) == 25
    for path in paths:
        host = hosts.load(str(path))
        assert host.fields == smbios.fields(smbios.parse(path.read_bytes()))
        assert chid.chids(host.fields, None)[14] is not None


@pytest.mark.oracle
def test_dumps_that_dmidecode_reads(shared: Path, oracle: Callable[[str], str], tmp_path: Path):
    """dmidecode takes the dumps for what they are, and prints the strings that are read of them."""
    program = oracle("dmidecode")
    path = tmp_path / "dump.bin"
    tables = [file.read_bytes() for file in sorted((shared / "data" / "chids").glob("smbios-*.bin"))]
    dumps = [smbios.build_entry_point(table).ljust(32, b"\0") + table for table in tables]
    for dump in [DUMP, OLD_DUMP, *dumps]:
        path.write_bytes(dump)
        fields = hosts.load(str(path)).fields
        for keyword, value in (
            ("system-manufacturer", fields.manufacturer),
            ("system-product-name", fields.product_name),
            ("system-sku-number", fields.product_sku),
            ("system-family", fields.family),
            ("baseboard-product-name", fields.baseboard_product),
            ("bios-version", fields.bios_version),
        ):
            command = [program, "--from-dump", str(path), "-s", keyword]
            done = subprocess.run(command, capture_output=True, check=True, timeout=60)
            shown = re.sub(rb"[^ -~]", b".", value) if value else b"Not Specified"
            assert done.stdout.removesuffix(b"\n") in (shown, b""), keyword
            assert done.stdout != b"" or keyword == "baseboard-product-name"


@given(st.binary() | mutated(TABLE) | mutated(DUMP) | mutated(OLD_DUMP))
def test_any_bytes_are_a_host_or_one_error(data: bytes):
    for read in (raw.read_table, raw.read_dump, read_bytes):
        assert is_host_or_error(data, read)
