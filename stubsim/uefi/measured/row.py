"""One event of the firmware before it is hashed."""

from __future__ import annotations

from uuid import UUID

from stubsim.extent import Bytes
from stubsim.formats.efi_string import utf16
from stubsim.rows import NamedTuple


class Row(NamedTuple):
    """``content`` is what is hashed, None where that is not known, and ``because`` says why.

    ``data`` is the event's as the log holds it, which may have an address of the machine's memory in it: that is 0
    here, and is part of no digest.
    """

    pcr: int
    type: str
    description: str
    content: Bytes | None
    data: bytes = b""
    because: str | None = None


def unknown(pcr: int, kind: str, description: str, because: str) -> Row:
    return Row(pcr, kind, description, None, b"", because)


def plain(pcr: int, kind: str, description: str, content: bytes) -> Row:
    """An event whose data is what is hashed."""
    return Row(pcr, kind, description, content, content)


def variable_data(name: str, guid: UUID, data: bytes) -> bytes:
    """UEFI_VARIABLE_DATA (TCG PC Client Platform Firmware Profile 1.06, 10.2.6): the name without its NUL."""
    text = utf16(name)
    sizes = (len(text) // 2).to_bytes(8, "little") + len(data).to_bytes(8, "little")
    return guid.bytes_le + sizes + text + data
