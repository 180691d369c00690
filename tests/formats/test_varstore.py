"""EDK II's variable store, in stores laid out by hand; virt-firmware is the oracle where it is installed."""

from __future__ import annotations

import struct
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stubsim.errors import StubsimError
from stubsim.formats import varstore
from stubsim.formats.varstore import StoredVariable
from tests.strategies import mutated

NV_DATA = UUID("fff12b8d-7696-4c8b-a985-2747075b4f50")
AUTHENTICATED = UUID("aaf32c78-947b-439a-a180-2e144ec37792")
GUID = UUID("8be4df61-93ca-11d2-aa0d-00e098032b8c")
ADDED, IN_DELETION, DELETED, HEADER_ONLY = 0x3F, 0x3E, 0x3C, 0x7F


def variable(name: str, data: bytes, state: int = ADDED, attributes: int = 7) -> bytes:
    text = name.encode("utf-16-le") + b"\0\0"
    head = struct.pack("<HBxIQ16sIII", 0x55AA, state, attributes, 0, bytes(16), 0, len(text), len(data))
    whole = head + GUID.bytes_le + text + data
    return whole + b"\xff" * (-len(whole) % 4)


def store(*variables: bytes, size: int = 4096, in_front: bytes = b"") -> bytes:
    """A volume of one block with the store in it, free space behind the variables."""
    head = AUTHENTICATED.bytes_le + struct.pack("<IBB6x", size - 72, 0x5A, 0xFE)
    volume = bytes(16) + NV_DATA.bytes_le + struct.pack("<Q4sIHHHBB", size, b"_FVH", 0, 72, 0, 0, 0, 2)
    volume += struct.pack("<IIII", 1, size, 0, 0)
    return in_front + (volume + head + b"".join(variables)).ljust(size, b"\xff")


def row(name: str, data: bytes, attributes: int = 7) -> StoredVariable:
    return StoredVariable(name, GUID, attributes, data)


def test_an_empty_store_has_no_variables():
    assert varstore.parse(store()) == ()


def test_variables_are_read_in_their_order_with_names_attributes_and_data():
    image = store(variable("BootOrder", b"\1\0"), variable("Ä", b"odd", attributes=3))
    assert varstore.parse(image) == (row("BootOrder", b"\1\0"), row("Ä", b"odd", 3))


def test_the_store_is_found_behind_other_things():
    assert varstore.parse(store(variable("A", b"1"), in_front=bytes(0x10000))) == (row("A", b"1"),)


@pytest.mark.parametrize("state", [DELETED, HEADER_ONLY, 0xFF])
def test_what_was_deleted_or_never_written_to_the_end_does_not_count(state: int):
    assert varstore.parse(store(variable("A", b"1", state), variable("B", b"2"))) == (row("B", b"2"),)


def test_one_in_deletion_counts_until_there_is_a_new_one():
    half = variable("A", b"old", IN_DELETION)
    assert varstore.parse(store(half)) == (row("A", b"old"),)
    assert varstore.parse(store(half, variable("A", b"new"))) == (row("A", b"new"),)
    assert varstore.parse(store(variable("A", b"new"), half)) == (row("A", b"new"),)


def test_free_space_ends_the_variables():
    assert varstore.parse(store(variable("A", b"1"), b"\xff" * 8, variable("B", b"2"))) == (row("A", b"1"),)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (b"", "no variable store"),
        (bytes(4096), "no variable store"),
        (b"QFI\xfb" + bytes(4096), "qcow2"),
        (store().replace(AUTHENTICATED.bytes_le, UUID(int=1).bytes_le), "another format"),
        (store()[:80], "cut short"),
        (store()[:1000], "a variable store of 4024 bytes"),
        (store(variable("A", b"1"))[:136] + b"\xff" * 4 + store(variable("A", b"1"))[140:], "a variable with a name"),
    ],
)
def test_what_is_no_store_is_an_error_that_says_so(image: bytes, message: str):
    with pytest.raises(StubsimError, match=message):
        varstore.parse(image)


@given(mutated(store(variable("A", b"1"), variable("B", b"22", IN_DELETION), variable("B", b"3"), size=512)))
def test_any_store_is_read_or_refused(image: bytes):
    try:
        rows = varstore.parse(image)
    except StubsimError:
        return
    assert sum(len(each.data) for each in rows) <= len(image)


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(data: bytes):
    image = store(size=400)
    try:
        varstore.parse(image[: 72 + 28] + data)
    except StubsimError:
        return


def test_virt_firmware_reads_the_same(tmp_path: Path):
    edk2 = pytest.importorskip("virt.firmware.varstore.edk2")
    rows = [variable(f"Var{number}", bytes(number), attributes=number % 8) for number in range(40)]
    path = tmp_path / "vars.fd"
    path.write_bytes(store(*rows, variable("Gone", b"x", DELETED), size=8192))
    theirs = {
        (name, UUID(str(found.guid)), found.attr, bytes(found.data))
        for name, found in edk2.Edk2VarStore(str(path)).get_varlist().items()
    }
    assert len(theirs) == 40
    assert theirs == {tuple(each) for each in varstore.parse(path.read_bytes())}
