"""GUID partition tables (UEFI 2.10, 5.3): the primary one of a disk image, or of its first sectors alone.

Offsets in errors are bytes from the start of the image.
"""

from __future__ import annotations

from struct import Struct
from uuid import UUID

from stubsim.errors import StubsimError
from stubsim.extent import Bytes
from stubsim.rows import NamedTuple

_SIGNATURE = b"EFI PART"
# Signature, revision, header size, checksum, reserved, own and other LBA, first and last usable one, disk GUID, where
# the entries are, how many, how large each is, their checksum.
_HEADER = Struct("<8sIIIIQQQQ16sQIII")
_ENTRY_SIZE = 128
_BLOCKS = (512, 4096)
# A table has 128 entries of 128 bytes; room for 256 times that.
_TABLE_MAX = 4 << 20


class Partition(NamedTuple):
    """A used entry: type and its own GUID, first and last LBA, name, and all its bytes."""

    number: int
    type: UUID
    guid: UUID
    first: int
    last: int
    name: str
    raw: bytes


class Table(NamedTuple):
    """``header`` are its 92 bytes."""

    header: bytes
    disk: UUID
    block_size: int
    partitions: tuple[Partition, ...]


def parse(image: Bytes) -> Table:
    """The primary table, whose checksums are not looked at. Raises StubsimError where there is none."""
    block = next((size for size in _BLOCKS if bytes(image[size : size + 8]) == _SIGNATURE), None)
    if block is None:
        raise StubsimError(
            "no GUID partition table", offset=_BLOCKS[0], expected='"EFI PART", in a disk image or --gpt'
        )
    header = bytes(image[block : block + _HEADER.size])
    if len(header) < _HEADER.size:
        raise StubsimError("the partition table's header is cut short", offset=block, expected=f"{_HEADER.size} bytes")
    *_, disk, lba, count, size, _ = _HEADER.unpack(header)
    # DxeTpm2MeasureBootLib, Tpm2SanitizeEfiPartitionTableHeader: 128 times a power of two.
    if size < _ENTRY_SIZE or size & (size - 1):
        message = f"partition entries of {size} bytes"
        raise StubsimError(message, offset=block + 84, expected=f"{_ENTRY_SIZE} times a power of two")
    start = lba * block
    if count * size > _TABLE_MAX or start + count * size > len(image):
        message = f"{count} partition entries of {size} bytes at block {lba}"
        raise StubsimError(message, offset=block + 72, expected=f"at most {_TABLE_MAX} bytes, within the image")
    entries = bytes(image[start : start + count * size])
    rows = [entries[at : at + size] for at in range(0, len(entries), size)]
    used = [_partition(number, row) for number, row in enumerate(rows, 1) if any(row[:16])]
    return Table(header, UUID(bytes_le=disk), block, tuple(used))


def _partition(number: int, raw: bytes) -> Partition:
    name = raw[56:128].decode("utf-16-le", "replace").partition("\0")[0]
    first, last = int.from_bytes(raw[32:40], "little"), int.from_bytes(raw[40:48], "little")
    return Partition(number, UUID(bytes_le=raw[:16]), UUID(bytes_le=raw[16:32]), first, last, name, raw)
