"""GUID partition tables, laid out by hand; sfdisk of util-linux is the oracle."""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given

from stubsim.errors import StubsimError
from stubsim.formats import gpt
from stubsim.formats.gpt import Partition
from tests.strategies import mutated

ESP = UUID("c12a7328-f81f-11d2-ba4b-00a0c93ec93b")
DISK, FIRST, SECOND = (UUID(int=number) for number in (1, 2, 3))


def entry(guid: UUID, first: int, last: int, name: str = "", size: int = 128) -> bytes:
    text = name.encode("utf-16-le").ljust(72, b"\0")
    return (ESP.bytes_le + guid.bytes_le + struct.pack("<QQQ", first, last, 0) + text).ljust(size, b"\0")


def disk(*entries: bytes, block: int = 512, count: int = 128, size: int = 128, lba: int = 2) -> bytes:
    """The first blocks of a disk, with as many entries as the header says."""
    table = b"".join(entries).ljust(count * size, b"\0")
    head = struct.pack("<8sIIIIQQQQ", b"EFI PART", 0x10000, 92, 0, 0, 1, 9999, 34, 9966)
    head += DISK.bytes_le + struct.pack("<QIII", lba, count, size, 0)
    return bytes(block) + head.ljust(block, b"\0") + bytes((lba - 2) * block) + table


def test_the_used_entries_are_read_with_their_numbers():
    image = disk(entry(FIRST, 2048, 4095, "ESP"), bytes(128), entry(SECOND, 4096, 8191))
    table = gpt.parse(image)
    assert (table.disk, table.block_size, len(table.header)) == (DISK, 512, 92)
    assert table.partitions == (
        Partition(1, ESP, FIRST, 2048, 4095, "ESP", entry(FIRST, 2048, 4095, "ESP")),
        Partition(3, ESP, SECOND, 4096, 8191, "", entry(SECOND, 4096, 8191)),
    )


@pytest.mark.parametrize(("block", "size", "lba"), [(4096, 128, 2), (512, 256, 2), (512, 128, 8)])
def test_blocks_entries_and_places_of_other_sizes(block: int, size: int, lba: int):
    table = gpt.parse(disk(entry(FIRST, 6, 9, size=size), block=block, size=size, lba=lba, count=4))
    assert [len(row.raw) for row in table.partitions] == [size]
    assert table.block_size == block


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (b"", "no GUID partition table"),
        (bytes(40000), "no GUID partition table"),
        (disk()[:560], "cut short"),
        (disk()[:2000], "128 partition entries of 128 bytes at block 2"),
        (disk(size=128)[:596] + struct.pack("<I", 100) + disk()[600:], "entries of 100 bytes"),
        (disk(count=4)[:592] + b"\xff" * 4 + disk(count=4)[596:], "4294967295 partition entries"),
    ],
)
def test_what_is_no_table_is_an_error_that_says_so(image: bytes, message: str):
    with pytest.raises(StubsimError, match=message):
        gpt.parse(image)


@given(mutated(disk(entry(FIRST, 6, 9, "ESP"), count=4), places=[592, 596, 584, 1024, 1080]))
def test_any_table_is_read_or_refused(image: bytes):
    try:
        table = gpt.parse(image)
    except StubsimError:
        return
    assert sum(len(row.raw) for row in table.partitions) <= len(image)


@pytest.mark.oracle
def test_sfdisk_writes_what_is_read(oracle: Callable[[str], str], tmp_path: Path):
    path = tmp_path / "disk.img"
    with path.open("wb") as file:
        file.truncate(16 << 20)
    script = f'label: gpt\nlabel-id: {DISK}\nstart=2048, size=2048, type=U, uuid={FIRST}, name="boot ü"\n'
    script += f"start=8192, size=1024, type=U, uuid={SECOND}\n"
    command = [oracle("sfdisk"), "--quiet", str(path)]
    subprocess.run(command, input=script, text=True, check=True, capture_output=True)
    table = gpt.parse(path.read_bytes())
    assert table.disk == DISK
    rows = [(row.number, row.type, row.guid, row.first, row.last, row.name) for row in table.partitions]
    assert rows == [(1, ESP, FIRST, 2048, 4095, "boot ü"), (2, ESP, SECOND, 8192, 9215, "")]
