"""OVMF's table of GUIDed entries at the end of a raw firmware image (edk2, OvmfPkg/ResetVector).

It is read backwards from 32 bytes before the image's end: a GUID, before it the u16 length of the entry (its data and
these 18 bytes), before that the data. The first one met, the footer, has the length of the whole table.
Two entries lead to lists of what a confidential guest has in memory at launch: SEV metadata (OvmfSevMetadata) and TDX
metadata (Intel's TDX Virtual Firmware Design Guide, 11.2; the types from 5 on are td-shim's). Images built for ia32
have neither.
Offsets are bytes from the start of the image.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from struct import Struct
from uuid import UUID

from stubsim.errors import StubsimError
from stubsim.rows import NamedTuple

FOOTER = UUID("96b582de-1fb2-45f7-baea-a366c55a082d")
SEV_ES_RESET = UUID("00f771de-1a7e-4fcb-890e-68c77e2fb44e")
SEV_SECRET = UUID("4c2eb361-7d9b-4cc3-8081-127c90d3d294")
SEV_HASHES = UUID("7255371f-3a3b-4b04-927b-1da6efa8d454")
SEV_METADATA = UUID("dc886566-984a-4798-a75e-5585a7bf67cc")
TDX_METADATA = UUID("e47a6535-984a-4798-865e-4685a7bf8ec2")
IGVM_METADATA = UUID("784fa70e-3176-4677-8a20-04b68699e374")
# Of images of the COCONUT secure VM service module.
SVSM_INFO = UUID("a789a612-0597-4c4b-a49f-cbb1fe9d1ddd")
NAMES = {
    SEV_ES_RESET: "SEV-ES reset block",
    SEV_SECRET: "SEV secret block",
    SEV_HASHES: "SEV hash table",
    SEV_METADATA: "SEV metadata",
    TDX_METADATA: "TDX metadata",
    IGVM_METADATA: "IGVM metadata",
    SVSM_INFO: "SVSM info",
}
# Their data are an address and a size in guest memory; both 0: the build has no such area.
AREAS = (SEV_SECRET, SEV_HASHES)
# Theirs are where something lies, counted back from the image's end.
POINTERS = (SEV_METADATA, TDX_METADATA, IGVM_METADATA)
SEV_SECTIONS = {1: "SNP_SEC_MEM", 2: "SNP_SECRETS", 3: "CPUID", 4: "SVSM_CAA", 0x10: "KERNEL_HASHES"}
TDX_SECTIONS = {
    0: "BFV", 1: "CFV", 2: "TD_HOB", 3: "TempMem", 4: "PermMem", 5: "Payload", 6: "PayloadParam", 7: "TdInfo",
}  # fmt: skip
# TDX: the section's content is measured into MRTD page by page.
EXTEND_MR = 1
# What follows the table: the entry point of application processors and the reset vector.
TAIL = 32
_HEAD = 18
_SEV_SIGNATURE, _TDX_SIGNATURE = b"ASEV", b"TDVF"
# Signature, length with this header, version, number of sections.
_METADATA = Struct("<4sIII")
_METADATA_VERSION = 1
_SEV_SECTION = Struct("<III")
_TDX_SECTION = Struct("<IIQQII")


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


class SevSection(NamedTuple):
    """Guest memory that the hypervisor prepares before an SEV-SNP launch; base is a gpa, size in bytes."""

    base: int
    size: int
    type: int

    @property
    def name(self) -> str:
        return SEV_SECTIONS.get(self.type, f"type {self.type:#x}")


class TdxSection(NamedTuple):
    """A part of the image and the guest memory it is loaded to; without data_size it has no content."""

    data_offset: int
    data_size: int
    address: int
    size: int
    type: int
    attributes: int

    @property
    def name(self) -> str:
        return TDX_SECTIONS.get(self.type, f"type {self.type:#x}")


class SevMetadata(NamedTuple):
    """Offset is where the list begins, at its signature."""

    offset: int
    sections: tuple[SevSection, ...]


class TdxMetadata(NamedTuple):
    """Offset is where the list begins, at its signature."""

    offset: int
    sections: tuple[TdxSection, ...]


def has_table(data: bytes | memoryview) -> bool:
    """Whether the footer's GUID is in its place."""
    return len(data) >= TAIL + _HEAD and bytes(data[-TAIL - 16 : len(data) - TAIL]) == FOOTER.bytes_le


def parse(data: bytes | memoryview) -> tuple[Entry, ...]:
    """The table's entries, the one next to the footer first; StubsimError without a table or for a broken one."""
    end = len(data) - TAIL - _HEAD
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


def table_size(entries: Iterable[Entry]) -> int:
    """Bytes of the table that holds these entries, with its footer."""
    return sum(len(each.data) + _HEAD for each in entries) + _HEAD


def entry(entries: Iterable[Entry], guid: UUID) -> Entry | None:
    """The entry of that GUID; where there are several, the one nearest to the footer, which readers meet first."""
    return next((each for each in entries if each.guid == guid), None)


def sev_metadata(data: bytes | memoryview, entries: Iterable[Entry]) -> SevMetadata | None:
    """SEV metadata; None without that entry, StubsimError for what is broken."""
    found = _metadata(data, entry(entries, SEV_METADATA), _SEV_SIGNATURE, _SEV_SECTION)
    return None if found is None else SevMetadata(found[0], tuple(SevSection(*row) for row in found[1]))


def tdx_metadata(data: bytes | memoryview, entries: Iterable[Entry]) -> TdxMetadata | None:
    """The same for TDX metadata."""
    found = _metadata(data, entry(entries, TDX_METADATA), _TDX_SIGNATURE, _TDX_SECTION)
    return None if found is None else TdxMetadata(found[0], tuple(TdxSection(*row) for row in found[1]))


def build(
    entries: Iterable[tuple[UUID, bytes]],
    size: int = 65536,
    *,
    sev: Sequence[SevSection] | None = None,
    tdx: Sequence[TdxSection] | None = None,
) -> bytes:
    """An image that is empty but for the table, the entries in the order in which ``parse`` returns them.

    Metadata stand before the table, and the entries that lead to them come last.
    """
    limit = min(size - TAIL, 0xFFFF)
    rows = [*entries]
    lists = [(SEV_METADATA, _packed_sev(sev)), (TDX_METADATA, _packed_tdx(tdx))]
    blobs = [(guid, blob) for guid, blob in lists if blob]
    total = sum(len(data) + _HEAD for _, data in rows) + len(blobs) * (4 + _HEAD) + _HEAD
    metadata = b""
    for guid, blob in blobs:
        metadata = blob + metadata
        rows.append((guid, (TAIL + total + len(metadata)).to_bytes(4, "little")))
    if total + len(metadata) > limit:
        raise StubsimError(f"an OVMF table of {total + len(metadata)} bytes", expected=f"at most {limit}")
    body = b"".join(data + (len(data) + _HEAD).to_bytes(2, "little") + guid.bytes_le for guid, data in reversed(rows))
    table = metadata + body + total.to_bytes(2, "little") + FOOTER.bytes_le
    return table.rjust(size - TAIL, b"\xff") + bytes(TAIL)


def _packed_sev(sections: Sequence[SevSection] | None) -> bytes:
    return _packed(_SEV_SIGNATURE, None if sections is None else [_SEV_SECTION.pack(*row) for row in sections])


def _packed_tdx(sections: Sequence[TdxSection] | None) -> bytes:
    return _packed(_TDX_SIGNATURE, None if sections is None else [_TDX_SECTION.pack(*row) for row in sections])


def _packed(signature: bytes, rows: list[bytes] | None) -> bytes:
    if rows is None:
        return b""
    body = b"".join(rows)
    return _METADATA.pack(signature, _METADATA.size + len(body), _METADATA_VERSION, len(rows)) + body


def _metadata(
    data: bytes | memoryview, pointer: Entry | None, signature: bytes, row: Struct
) -> tuple[int, Iterable[tuple[int, ...]]] | None:
    """Offset and sections of what an entry points to."""
    if pointer is None:
        return None
    what = f"{pointer.name} in OVMF"
    if len(pointer.data) < 4:
        size = len(pointer.data)
        raise StubsimError(f"a pointer to {what} of {size} bytes", offset=pointer.offset, expected="4 bytes")
    back = pointer.numbers[0]
    if not _METADATA.size <= back <= len(data):
        expected = f"{_METADATA.size} to {len(data)}"
        raise StubsimError(f"{what} {back} bytes before the end", offset=pointer.offset, expected=expected)
    at = len(data) - back
    found, length, version, count = _METADATA.unpack_from(data, at)
    if found != signature:
        raise StubsimError(f"{what} that begin with {found.hex()}", offset=at, expected=signature.hex())
    if version != _METADATA_VERSION:
        raise StubsimError(f"{what} of version {version}", offset=at + 8, expected=str(_METADATA_VERSION))
    if not _METADATA.size <= length <= back:
        expected = f"{_METADATA.size} to {back}"
        raise StubsimError(f"{what} of {length} bytes", offset=at + 4, expected=expected)
    room = (length - _METADATA.size) // row.size
    if count > room:
        raise StubsimError(f"{what} of {count} sections", offset=at + 12, expected=f"at most {room}")
    start = at + _METADATA.size
    return at, row.iter_unpack(data[start : start + count * row.size])


def _u16(data: bytes | memoryview, offset: int) -> int:
    return int.from_bytes(data[offset : offset + 2], "little")
