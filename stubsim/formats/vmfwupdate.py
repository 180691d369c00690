"""File names and structures of every dialect in which a guest asks its hypervisor for other firmware.

qemu-v5     the device of the QEMU patch "hw/misc/vmfwupdate" v5 (29 January 2025); x86 only, so little endian
spec        docs/specs/vmfwupdate.rst, which came with the same patch and differs from its code; nobody built it
fuki-2024   the prototype shown at KVM Forum 2024 (agraf/systemd, branch fuki, September 2024)

The opaque page, a page the hypervisor keeps for the guest over the reset, has no published format. The one here is
stubsim's own, little endian, one whole page of 4096 bytes so that nothing of an earlier page stays behind it:

    offset  size
    0       8     magic: the ASCII bytes STUBSIM and a NUL
    8       4     version, 1
    12      4     count of the entries, at most 72, no kind twice
    16      4     CRC-32 (as in zlib) of header and entries, this field taken as zero; against accidents, not attacks
    20      4     zero
    24      56 a  entries: u32 kind (1 firmware, 2 kernel, 3 initrd, 4 cmdline, 5 devicetree), u32 zero,
            piece u64 gpa (page aligned), u64 size in bytes, 32 bytes SHA-256 of the content
    then          zeros up to 4096

The hypervisor holds the page, so whoever reads it must still compare the digests with what lies in memory, and trusts
them no more than the hypervisor.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from itertools import pairwise
from zlib import crc32

from stubsim.errors import StubsimError
from stubsim.rows import NamedTuple

# qemu-v5
BIOS_SIZE = "etc/vmfwupdate/bios-size"
CAP = "etc/vmfwupdate/cap"
DISABLE = "etc/vmfwupdate/disable"
FW_BLOB = "etc/vmfwupdate/fw-blob"
OPAQUE_BLOB = "etc/vmfwupdate/opaque-blob"
FW_BLOB_SIZE = 16
OPAQUE_SIZE = 4096
CAP_CONSTANT = 0x80
CAP_EDKROM = 0x08
CAP_BIOS_RESIZE = 0x04
CAP_OFFERED = CAP_CONSTANT | CAP_EDKROM
# v6 of the patch (14 February 2025) and the document: cap is all zero but for this bit.
SPEC_CAP_BIOS_RESIZE = 0x01

# spec: the names as printed, without "etc/"
SPEC_CAP = "vmfwupdate/cap"
SPEC_BIOS_SIZE = "vmfwupdate/bios-size"
SPEC_OPAQUE = "vmfwupdate/opaque"
SPEC_DISABLE = "vmfwupdate/disable"
SPEC_BIOS_ADDR = "vmfwupdate/bios-addr"

# fuki-2024
FUKI_BLOB = "etc/vmfwupdate-blob"
FUKI_CPU = "etc/vmfwupdate-cpu"
FUKI_CAP = "etc/fwupdate-cap"
FUKI_CONTROL = "etc/fwupdate-control"
FUKI_ENTRY = struct.Struct("<BB2xIQQ")
FUKI_MOST_ENTRIES = 256
FUKI_SHORTEST_KERNEL = 4096
FUKI_TYPES = {1: "kernel", 2: "setup", 3: "initrd", 4: "cmdline", 5: "firmware"}
FUKI_TRIGGER = b"t"
FUKI_SWITCH_OFF = b"d"

KINDS = ("firmware", "kernel", "initrd", "cmdline", "devicetree")
MAGIC = b"STUBSIM\0"
VERSION = 1
_HEADER = struct.Struct("<8sIIII")
_ENTRY = struct.Struct("<IIQQ32s")
MOST_ENTRIES = (OPAQUE_SIZE - _HEADER.size) // _ENTRY.size
_PAGE = 4096


class DialectFile(NamedTuple):
    """An fw_cfg file of a dialect; size in bytes. None: no source says it."""

    name: str
    size: int | None
    writable: bool | None


FILES: dict[str, tuple[DialectFile, ...]] = {
    "qemu-v5": (
        DialectFile(BIOS_SIZE, 8, False),
        DialectFile(CAP, 8, False),
        DialectFile(DISABLE, 1, True),
        DialectFile(FW_BLOB, FW_BLOB_SIZE, True),
        DialectFile(OPAQUE_BLOB, OPAQUE_SIZE, True),
    ),
    # bios-size is writable with BIOS_RESIZE.
    "spec": (
        DialectFile(SPEC_CAP, 8, False),
        DialectFile(SPEC_BIOS_SIZE, 8, None),
        DialectFile(SPEC_OPAQUE, OPAQUE_SIZE, None),
        DialectFile(SPEC_DISABLE, 1, True),
        DialectFile(SPEC_BIOS_ADDR, 8, None),
    ),
    "fuki-2024": (
        DialectFile(FUKI_BLOB, FUKI_MOST_ENTRIES * FUKI_ENTRY.size, True),
        DialectFile(FUKI_CPU, None, True),
        DialectFile(FUKI_CAP, 2, False),
        DialectFile(FUKI_CONTROL, 1, True),
    ),
}


class FwBlob(NamedTuple):
    """qemu-v5's fw-blob: size in bytes and gpa of the new firmware."""

    bios_size: int
    bios_paddr: int


class FukiEntry(NamedTuple):
    """A row of fuki-2024's blob: type as in FUKI_TYPES, map 0 private or 1 shared, size in bytes, two gpas."""

    type: int
    map: int
    size: int
    gpa: int
    target: int = 0


class Left(NamedTuple):
    """An entry of the opaque page: what the first boot left in memory, size in bytes."""

    kind: str
    gpa: int
    size: int
    sha256: bytes


def pack_fw_blob(size: int, gpa: int) -> bytes:
    """The 16 bytes of fw-blob; raises StubsimError for numbers that do not fit into u64."""
    try:
        return struct.pack("<QQ", size, gpa)
    except struct.error:
        raise StubsimError(f"a firmware of {size:#x} bytes at {gpa:#x} does not fit into fw-blob") from None


def unpack_fw_blob(data: bytes | bytearray | memoryview) -> FwBlob:
    """The two numbers of fw-blob; raises StubsimError unless it has 16 bytes."""
    if len(data) != FW_BLOB_SIZE:
        raise StubsimError(f"fw-blob of {len(data)} bytes", expected=f"{FW_BLOB_SIZE} bytes")
    return FwBlob(*struct.unpack("<QQ", data))


def pack_fuki(entries: Sequence[FukiEntry]) -> bytes:
    """fuki-2024's blob, 24 bytes an entry, the padding zero (the prototype leaves it to chance)."""
    try:
        return b"".join(FUKI_ENTRY.pack(*entry) for entry in entries)
    except struct.error as error:
        raise StubsimError(f"an entry does not fit into the update blob: {error}") from None


def unpack_fuki(data: bytes | memoryview) -> tuple[FukiEntry, ...]:
    """The entries of fuki-2024's blob; raises StubsimError where the prototype's hypervisor refuses it.

    That is: not a multiple of 24 bytes, more than 256 entries, a type of 0 or above 6, a type twice, a map above 1.
    """
    if len(data) % FUKI_ENTRY.size or len(data) > FUKI_MOST_ENTRIES * FUKI_ENTRY.size:
        raise StubsimError(f"an update blob of {len(data)} bytes", expected="0 to 256 entries of 24 bytes")
    entries = tuple(FukiEntry(*row) for row in FUKI_ENTRY.iter_unpack(data)) if len(data) else ()
    seen: set[int] = set()
    for index, entry in enumerate(entries):
        offset = index * FUKI_ENTRY.size
        if not 1 <= entry.type <= 6 or entry.type in seen:
            raise StubsimError(f"blob type {entry.type}", offset=offset, expected="1 to 6, each once")
        if entry.map > 1:
            raise StubsimError(f"map {entry.map}", offset=offset + 1, expected="0 (private) or 1 (shared)")
        seen.add(entry.type)
    return entries


def build_opaque(entries: Sequence[Left]) -> bytes:
    """stubsim's opaque page, 4096 bytes; raises StubsimError for entries that parse_opaque() would refuse."""
    for entry in entries:
        if entry.kind not in KINDS:
            raise StubsimError(f"{entry.kind!r} has no place in the opaque page", expected="one of " + ", ".join(KINDS))
        if len(entry.sha256) != 32:
            raise StubsimError(f"a digest of {len(entry.sha256)} bytes for {entry.kind}", expected="32 (SHA-256)")
    if len(entries) > MOST_ENTRIES:
        raise StubsimError(f"{len(entries)} entries", expected=f"at most {MOST_ENTRIES}")
    try:
        rows = b"".join(_ENTRY.pack(KINDS.index(row.kind) + 1, 0, row.gpa, row.size, row.sha256) for row in entries)
    except struct.error:
        raise StubsimError(
            "an address or a size does not fit into the opaque page", expected="numbers of 64 bits"
        ) from None
    checksum = crc32(_HEADER.pack(MAGIC, VERSION, len(entries), 0, 0) + rows)
    page = (_HEADER.pack(MAGIC, VERSION, len(entries), checksum, 0) + rows).ljust(OPAQUE_SIZE, b"\0")
    parse_opaque(page)
    return page


def parse_opaque(data: bytes | memoryview) -> tuple[Left, ...]:
    """What an opaque page of stubsim's says was left in memory.

    Raises StubsimError for everything else, also ranges that overlap or are not page aligned. Whether they lie
    in RAM and the digests are right, only a look at the memory can tell.
    """
    if len(data) != OPAQUE_SIZE:
        raise StubsimError(f"an opaque page of {len(data)} bytes", expected=f"{OPAQUE_SIZE}")
    page = bytes(data)
    if not any(page):
        raise StubsimError("the opaque page is empty: no earlier boot has left anything")
    magic, version, count, checksum, reserved = _HEADER.unpack_from(page)
    if magic != MAGIC:
        raise StubsimError("not an opaque page of stubsim", offset=0, expected=repr(MAGIC))
    if version != VERSION:
        raise StubsimError(f"opaque page of version {version}", offset=8, expected=str(VERSION))
    if count > MOST_ENTRIES:
        raise StubsimError(f"{count} entries", offset=12, expected=f"at most {MOST_ENTRIES}")
    end = _HEADER.size + count * _ENTRY.size
    if crc32(_HEADER.pack(magic, version, count, 0, reserved) + page[_HEADER.size : end]) != checksum:
        raise StubsimError("the opaque page's checksum is wrong", offset=16)
    if reserved or any(page[end:]):
        raise StubsimError("the opaque page has bytes where none belong", offset=20 if reserved else end)
    entries = tuple(_left(page, _HEADER.size + index * _ENTRY.size) for index in range(count))
    _check_apart(entries)
    return entries


def _left(page: bytes, offset: int) -> Left:
    number, reserved, gpa, size, sha256 = _ENTRY.unpack_from(page, offset)
    if not 1 <= number <= len(KINDS) or reserved:
        raise StubsimError(f"entry of kind {number}, {reserved}", offset=offset, expected=f"1 to {len(KINDS)}, 0")
    if gpa % _PAGE or gpa + size > 1 << 64:
        raise StubsimError(
            f"{size:#x} bytes at {gpa:#x}", offset=offset + 8, expected="a page-aligned range below 2^64"
        )
    return Left(KINDS[number - 1], gpa, size, sha256)


def _check_apart(entries: Sequence[Left]) -> None:
    """No kind twice, and no two ranges in one page."""
    if len({entry.kind for entry in entries}) < len(entries):
        raise StubsimError("the opaque page names a kind twice", offset=_HEADER.size)
    rows = sorted(entries, key=lambda entry: entry.gpa)
    for low, high in pairwise(rows):
        if low.gpa + max(low.size, 1) > high.gpa:
            raise StubsimError(f"{low.kind} and {high.kind} overlap at {high.gpa:#x}", offset=_HEADER.size)
