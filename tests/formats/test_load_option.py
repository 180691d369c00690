"""Load options and device paths: what is built is read, and virt-firmware reads the same where it is installed."""

from __future__ import annotations

import struct
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stubsim.errors import StubsimError
from stubsim.formats import load_option
from stubsim.formats.load_option import HardDrive, LoadOption, Node
from tests.strategies import mutated

PARTITION = UUID("c0ffee00-1111-4222-8333-444455556666")
PATH = load_option.build_path(
    load_option.hard_drive(1, 2048, 4096, PARTITION), load_option.file_path("\\EFI\\Linux\\a.efi")
)
OPTION = LoadOption(1, "Lab UKI", PATH, b"quiet")


def test_an_option_is_read_as_it_was_built():
    assert load_option.parse(OPTION.raw) == OPTION
    drive, file = load_option.nodes(OPTION.path)
    assert load_option.partition_of(drive) == HardDrive(1, 2048, 4096, PARTITION)
    assert load_option.path_of_file(file) == "\\EFI\\Linux\\a.efi"


def test_the_bytes_are_those_of_the_specification():
    """UEFI 2.10, 3.1.3, 10.3.2.1 and 10.3.3.1, byte by byte."""
    path = load_option.build_path(load_option.pci_root(), load_option.pci(1, 0))
    assert path.hex() == "02010c00d041030a00000000" + "010106000001" + "7fff0400"
    assert LoadOption(9, "A", path).raw.hex() == "09000000" + "1600" + "41000000" + path.hex()
    assert load_option.is_pci_root(load_option.nodes(path)[0])
    assert not load_option.is_pci_root(load_option.nodes(path)[1])


def test_nodes_end_at_the_end_of_the_first_path():
    assert load_option.nodes(PATH + PATH) == load_option.nodes(PATH)
    assert load_option.nodes(b"") == ()


def test_a_partition_of_another_table_is_none():
    node = load_option.hard_drive(1, 2048, 4096, PARTITION)
    assert load_option.partition_of(node._replace(data=node.data[:-2] + b"\1\1")) is None
    assert load_option.partition_of(Node(load_option.FILE_PATH, node.data)) is None


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\1\0\0", "cut short"),
        (struct.pack("<IH", 1, 0) + b"A\0B\0", "no end"),
        (struct.pack("<IH", 1, 9) + b"A\0\0\0", "device path of 9 bytes"),
    ],
)
def test_what_is_no_option_is_an_error(data: bytes, message: str):
    with pytest.raises(StubsimError, match=message):
        load_option.parse(data)


@pytest.mark.parametrize("data", [b"\1", b"\1\1\3\0", b"\1\1\xff\0"])
def test_a_node_that_is_cut_off_is_an_error(data: bytes):
    with pytest.raises(StubsimError, match="device path node"):
        load_option.nodes(data)


@given(mutated(OPTION.raw, places=[4, 22, 24, 66]))
def test_any_option_is_read_or_refused(data: bytes):
    try:
        found = load_option.parse(data)
        load_option.nodes(found.path)
    except StubsimError:
        return
    assert len(found.raw) <= len(data) + 2


@given(st.binary(max_size=80))
def test_any_path_is_read_or_refused(data: bytes):
    try:
        found = load_option.nodes(data)
    except StubsimError:
        return
    assert sum(len(node.raw) for node in found) <= len(data)


def test_virt_firmware_reads_the_same():
    bootentry = pytest.importorskip("virt.firmware.efi.bootentry")
    theirs = bootentry.BootEntry(data=OPTION.raw)
    assert (theirs.attr, str(theirs.title), theirs.optdata) == (1, "Lab UKI", b"quiet")
    assert str(theirs.devicepath).endswith("\\EFI\\Linux\\a.efi)") or "a.efi" in str(theirs.devicepath)
