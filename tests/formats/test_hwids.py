"""The `.hwids` section against the one ukify 262 made of the descriptions that ship with it."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stubsim.errors import StubsimError
from stubsim.formats import hwids
from tests.strategies import mutated

A = UUID("0f2de380-a687-530c-9964-9da649e77a0d")
B = UUID("c1c530a2-b47f-59bc-848c-b78981b4073e")
TABLE = [(hwids.DEVICETREE, A, "Lab", "lab,board"), (hwids.UEFI_FW, B, "Lab", "ovmf")]
VALID = hwids.build(TABLE)


def descriptions(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(file.read_text()) for file in sorted(folder.glob("*.json"))]


def test_same_bytes_as_ukify(shared: Path) -> None:
    folder = shared / "data/hwids"
    found = descriptions(folder / "json")
    assert len(found) == 51
    assert hwids.from_descriptions(found) == (folder / "ukify-262.hwids").read_bytes()


def test_reads_ukifys_section(shared: Path) -> None:
    folder = shared / "data/hwids"
    entries = hwids.parse((folder / "ukify-262.hwids").read_bytes())
    assert len(entries) == 615
    listed = {
        (UUID(chid), row["name"], row["compatible"]) for row in descriptions(folder / "json") for chid in row["hwids"]
    }
    assert {(entry.chid, entry.name, entry.string) for entry in entries} == listed
    assert {(entry.type, entry.size) for entry in entries} == {(hwids.DEVICETREE, 28)}


def test_layout() -> None:
    """Entries, a zero entry, sorted strings; the descriptors are those of systemd's chid.h."""
    assert (
        bytes.fromhex("1c000010 80e32d0f 87a6 0c53 99649da649e77a0d 54000000 58000000")
        + bytes.fromhex("1c000020 a230c5c1 7fb4 bc59 848cb78981b4073e 54000000 62000000")
        + bytes(28)
        + b"Lab\0lab,board\0ovmf\0"
    ) == VALID


def test_there_and_back() -> None:
    entries = hwids.parse(VALID)
    assert [(entry.type, entry.chid, entry.name, entry.string) for entry in entries] == TABLE
    assert [(entry.index, entry.offset, entry.size) for entry in entries] == [(0, 0, 28), (1, 28, 28)]
    assert (entries[1].name_offset, entries[1].string_offset) == (84, 98)
    assert hwids.walk(VALID) == hwids.parse(memoryview(VALID)) == entries


def entry(descriptor: int, name: int = 0, string: int = 0) -> bytes:
    return descriptor.to_bytes(4, "little") + A.bytes_le + name.to_bytes(4, "little") + string.to_bytes(4, "little")


@pytest.mark.parametrize(
    ("data", "count"),
    [
        (b"", 0),
        (b"x", 0),
        # Recording hwids-noeol-exact: 28 bytes hold no entry, at least one more must follow.
        (entry(0x1000001C), 0),
        (entry(0x1000001C) + b"\0", 1),
        (entry(0x1000001C) * 2, 1),
        (entry(0x1000001C) * 2 + b"\0", 2),
        # Whatever follows a zero descriptor does not count.
        (entry(0x1000001C) + entry(0) + entry(0x1000001C) * 2, 1),
        # Recordings hwids-badsize, hwids-size0: systemd 262 ignores the size in the descriptor.
        (entry(0x10000000) + entry(0x2FFFFFFF) + b"\0", 2),
        # Offsets into the table are fine.
        (entry(0x1000001C, name=27, string=28) + bytes(28), 1),
    ],
)
def test_what_counts(data: bytes, count: int) -> None:
    assert len(hwids.parse(data)) == len(hwids.walk(data)) == count


@pytest.mark.parametrize(
    ("data", "offset", "message"),
    [
        (entry(0x3000001C) + bytes(28), 0, "device type 3"),
        (entry(0x0000001C) + bytes(28), 0, "device type 0"),
        (entry(0x1000001C) + entry(0xF000001C) + bytes(28), 28, "entry 1 has device type 15"),
        (entry(0x1000001C, string=56) + bytes(28), 24, "outside"),
        (entry(0x1000001C, name=0xFFFFFFFF) + bytes(28), 20, "outside"),
        (entry(0x1000001C) + entry(0x2000001C, name=85) + bytes(28) + b"\0", 48, "outside"),
        (entry(0x1000001C, string=56) + bytes(28) + b"lab,board", 24, "no end"),
    ],
)
def test_refused(data: bytes, offset: int, message: str) -> None:
    with pytest.raises(StubsimError, match=message) as caught:
        hwids.parse(data)
    assert (caught.value.section, caught.value.offset) == (".hwids", offset)
    assert caught.value.expected
    assert hwids.walk(data)


def test_strings_that_are_not_readable() -> None:
    data = entry(0x1000001C, name=60, string=56) + bytes(28) + b"abc\0end"
    (found,) = hwids.walk(data)
    assert (found.name, found.string) == (None, "abc")


def test_bytes_that_are_no_utf8() -> None:
    (found,) = hwids.parse(entry(0x1000001C, string=56) + bytes(28) + b"a\xff\0")
    assert found.string is not None
    assert found.string.encode(errors="surrogateescape") == b"a\xff"
    assert hwids.build([(1, A, "", found.string)]).endswith(b"\0a\xff\0")


def test_overlapping_strings_are_bounded() -> None:
    """Every byte of a long string as the start of one: not the square of the section's size."""
    count = 4000
    start = (count + 1) * 28
    data = b"".join(entry(0x1000001C, string=start + at) for at in range(count)) + bytes(28) + b"x" * 100_000 + b"\0"
    assert sum(len(found.string or "") for found in hwids.walk(data)) <= 8 * len(data)
    assert len(hwids.parse(data)) == count


DESCRIPTION = {"type": "uefi-fw", "name": "Lab", "fwid": "ovmf", "hwids": [str(B), str(A), str(B)]}


def test_descriptions_are_grouped() -> None:
    other = {"type": "devicetree", "name": "Other", "compatible": "lab,other", "hwids": [str(A)]}
    again = DESCRIPTION | {"hwids": [str(UUID(int=1))]}
    entries = hwids.parse(hwids.from_descriptions([DESCRIPTION, other, again]))
    assert [(row.type, row.chid, row.string) for row in entries] == [
        (2, UUID(int=1), "ovmf"),
        (2, A, "ovmf"),
        (2, B, "ovmf"),
        (1, A, "lab,other"),
    ]


@pytest.mark.parametrize(
    "change",
    [
        {"type": "igvm"},
        {"type": None},
        {"type": "devicetree"},
        {"compatible": "lab,board"},
        {"name": None},
        {"fwid": 3},
        {"fwid": "a\0b"},
        {"hwids": str(A)},
        {"hwids": ["0f2de380"]},
        {"hwids": [None]},
    ],
)
def test_descriptions_ukify_refuses(change: dict[str, object]) -> None:
    with pytest.raises(StubsimError):
        hwids.from_descriptions([DESCRIPTION | change])


rows = st.tuples(
    st.sampled_from([hwids.DEVICETREE, hwids.UEFI_FW]),
    st.uuids(),
    *[st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)] * 2,
)


@given(st.lists(rows, max_size=6))
def test_any_table_there_and_back(table: list[tuple[int, UUID, str, str]]) -> None:
    data = hwids.build(table)
    # The very first string may be empty, but never stands at offset 0.
    assert [(row.type, row.chid, row.name, row.string) for row in hwids.parse(data)] == table


def check_total(data: bytes) -> None:
    entries = hwids.walk(data)
    with contextlib.suppress(StubsimError):
        assert hwids.parse(data) == entries


@given(st.binary(max_size=200))
def test_arbitrary_bytes(data: bytes) -> None:
    check_total(data)


@given(mutated(VALID))
def test_mutated(data: bytes) -> None:
    check_total(data)
