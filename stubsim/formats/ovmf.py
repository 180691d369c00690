"""OVMF's table of GUIDed entries at the end of a raw firmware image (edk2, OvmfPkg/ResetVector).

It is read backwards from 32 bytes before the image's end: a GUID, before it the u16 length of the entry (its data and
these 18 bytes), before that the data. The first one met, the footer, has the length of the whole table.
Offsets are bytes from the start of the image.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple
from uuid import UUID

from stubsim.errors import StubsimError

FOOTER = UUID("96b582de-1fb2-45f7-baea-a366c55a082d")
SEV_ES_RESET = UUID("00f771de-1a7e-4fcb-890e-68c77e2fb44e")
SEV_SECRET = UUID("4c2eb361-7d9b-4cc3-8081-127c90d3d294")
SEV_HASHES = UUID("7255371f-3a3b-4b04-927b-1da6efa8d454")
SEV_METADATA = UUID("dc886566-984a-4798-a75e-5585a7bf67cc")
TDX_METADATA = UUID("e47a6535-984a-4798-865e-4685a7bf8ec2")
NAMES = {
    SEV_ES_RESET: "SEV-ES reset block",
    SEV_SECRET: "SEV secret block",
    SEV_HASHES: "SEV hash table",
    SEV_METADATA: "SEV metadata",
    TDX_METADATA: "TDX metadata",
}
_TAIL = 32
_HEAD = 18


class Entry(NamedTuple):
    """A table entry; offset is where its data begin."""

    guid: UUID
    offset: int
    data: bytes

    @property
    def name(self) -> str:
        return NAMES.get(self.guid, str(self.guid))

    @property
    def numbers(self) -> tuple[int, ...]:
        """The data as little-endian u32: an address, an address and a size, or an offset from the image's end."""
        return tuple(int.from_bytes(self.data[at : at + 4], "little") for at in range(0, len(self.data) - 3, 4))


def has_table(data: bytes | memoryview) -> bool:
    """Whether the footer's GUID is in its place."""
    return len(data) >= _TAIL + _HEAD and bytes(data[-_TAIL - 16 : len(data) - _TAIL]) == FOOTER.bytes_le


def parse(data: bytes | memoryview) -> tuple[Entry, ...]:
    """The table's entries, the one next to the footer first; StubsimError without a table or for a broken one."""
    end = len(data) - _TAIL - _HEAD
    if not has_table(data):
        expected = f"{FOOTER} 48 bytes before the end"
        raise StubsimError("no OVMF table", offset=max(end + 2, 0), expected=expected)
    start = end + _HEAD - _u16(data, end)
    if not 0 <= start <= end:
        expected = f"{_HEAD} to {end + _HEAD} bytes"
        raise StubsimError(f"an OVMF table of {_u16(data, end)} bytes", offset=end, expected=expected)
    entries = []
    at = end
    while at > start:
        head = at - _HEAD
        length = _u16(data, head) if head >= start else 0
        if not _HEAD <= length <= at - start:
            expected = f"{_HEAD} to {at - start} bytes"
            raise StubsimError(f"an OVMF table entry of {length} bytes", offset=max(head, start), expected=expected)
        guid = UUID(bytes_le=bytes(data[head + 2 : at]))
        at -= length
        entries.append(Entry(guid, at, bytes(data[at:head])))
    return tuple(entries)


def build(entries: Iterable[tuple[UUID, bytes]], size: int = 65536) -> bytes:
    """An image that is empty but for the table, the entries in the order in which ``parse`` returns them."""
    limit = min(size - _TAIL, 0xFFFF)
    rows = [*entries]
    total = sum(len(data) + _HEAD for _, data in rows) + _HEAD
    if total > limit:
        raise StubsimError(f"an OVMF table of {total} bytes", expected=f"at most {limit}")
    body = b"".join(data + (len(data) + _HEAD).to_bytes(2, "little") + guid.bytes_le for guid, data in reversed(rows))
    table = body + total.to_bytes(2, "little") + FOOTER.bytes_le
    return table.rjust(size - _TAIL, b"\xff") + bytes(_TAIL)


def _u16(data: bytes | memoryview, offset: int) -> int:
    return int.from_bytes(data[offset : offset + 2], "little")
