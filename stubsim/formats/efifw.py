"""The `.efifw` section: a firmware id and a firmware image that the stub may hand over (efifirmware.h)."""

from __future__ import annotations

import struct
from uuid import UUID

from stubsim import extent
from stubsim.errors import StubsimError
from stubsim.extent import Bytes, Extent
from stubsim.rows import NamedTuple

SECTION = ".efifw"
MAGIC = 0xFEEDDEAD
HEADER_SIZE = 16
# With a target CHID behind the four words: proposed in systemd pull request 43235.
TARGET_HEADER_SIZE = 32

_HEADER = struct.Struct("<IIII")


class Efifw(NamedTuple):
    """A firmware blob; sizes in bytes, ``fwid`` without its NUL, ``payload`` a slice of the input.

    ``target_chid`` is read from headers of 32 bytes only; None also where it is all zero, which asks for nothing.
    """

    header_size: int
    fwid: bytes
    payload: Extent
    target_chid: UUID | None


def parse(data: Bytes) -> Efifw:
    """The blob, by the rules of systemd 262 (observed in recordings efifw-raw-*); bytes behind the payload are fine.

    That the stub also wants the blob 4-byte aligned in memory is for the caller to check. Raises StubsimError for what
    the stub calls a bad blob.
    """
    view = extent.of_bytes(data)
    if len(view) < HEADER_SIZE:
        raise _error(f"firmware blob of {len(view)} bytes", 0, f"at least {HEADER_SIZE}", _old_ukify(view))
    magic, header_size, fwid_size, payload_size = _HEADER.unpack(bytes(view[:HEADER_SIZE]))
    if magic != MAGIC:
        raise _error(f"bad magic {magic:#010x}", 0, f"{MAGIC:#010x}", _old_ukify(view))
    if header_size < HEADER_SIZE:
        raise _error(f"header length {header_size}", 4, f"at least {HEADER_SIZE}")
    start = header_size + fwid_size
    if start + payload_size > len(view):
        raise _error(
            f"header of {header_size}, firmware id of {fwid_size} and payload of {payload_size} bytes do not fit",
            4,
            f"at most {len(view)} bytes",
        )
    text = view[header_size:start]
    end = _first_nul(text)
    if not fwid_size or end != fwid_size - 1:
        raise _error("bad firmware id", header_size, f"{fwid_size} bytes with one NUL, at the end")
    target = UUID(bytes_le=bytes(view[16:32])) if header_size == TARGET_HEADER_SIZE else None
    return Efifw(
        header_size, bytes(text[:-1]), view[start : start + payload_size], target if target and target.int else None
    )


def _first_nul(data: Extent) -> int | None:
    at = 0
    for block in data.blocks():
        found = bytes(block).find(b"\0")
        if found >= 0:
            return at + found
        at += len(block)
    return None


def _error(message: str, offset: int, expected: str, hint: str | None = None) -> StubsimError:
    return StubsimError(message, section=SECTION, offset=offset, expected=expected, hint=hint)


def _old_ukify(view: Extent) -> str | None:
    """What to tell about a blob whose magic is a single zero byte, as ukify 262-1 writes it."""
    if bytes(view[:5]) != b"\0" + HEADER_SIZE.to_bytes(4, "little"):
        return None
    return "made by a ukify that writes a 13-byte header: the UKI boots, but this firmware is silently never used"


def build(fwid: str, payload: bytes, *, header_size: int = HEADER_SIZE, target_chid: UUID | None = None) -> bytes:
    """A blob; the header grows to 32 bytes for a target CHID, and is filled up with zeros.

    Raises StubsimError for an empty firmware id or one with a NUL, and for a header below 16 bytes or one of a size
    that has no room for a target CHID.
    """
    text = fwid.encode(errors="surrogateescape")
    if not text or b"\0" in text:
        raise StubsimError(f"firmware id {fwid!r} cannot be written", section=SECTION, expected="a text without NUL")
    if target_chid and header_size == HEADER_SIZE:
        header_size = TARGET_HEADER_SIZE
    if header_size < HEADER_SIZE or (target_chid and header_size != TARGET_HEADER_SIZE):
        expected = f"{TARGET_HEADER_SIZE}" if target_chid else f"at least {HEADER_SIZE}"
        raise StubsimError(f"header of {header_size} bytes", section=SECTION, expected=expected)
    header = _HEADER.pack(MAGIC, header_size, len(text) + 1, len(payload))
    header += target_chid.bytes_le if target_chid else b""
    return header.ljust(header_size, b"\0") + text + b"\0" + payload
