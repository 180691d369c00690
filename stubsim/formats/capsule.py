"""UEFI capsules (UEFI 2.10, 8.5.3): what UpdateCapsule() is given. Sizes are in bytes."""

from __future__ import annotations

from struct import Struct
from uuid import UUID

from stubsim.errors import StubsimError
from stubsim.extent import Bytes, view_of
from stubsim.rows import NamedTuple

PERSIST_ACROSS_RESET = 0x0001_0000
POPULATE_SYSTEM_TABLE = 0x0002_0000
INITIATE_RESET = 0x0004_0000
# The low 16 bits belong to the capsule's GUID.
FLAGS = {
    PERSIST_ACROSS_RESET: "persist across reset",
    POPULATE_SYSTEM_TABLE: "populate system table",
    INITIATE_RESET: "initiate reset",
}
HEADER_SIZE = 28
FIRMWARE_MANAGEMENT = UUID("6dcbd5ed-e82d-4c44-bda1-7194199ad92a")
# UEFI 2.10: 23.2 firmware management and 23.5 JSON capsules; Windows shows the third while firmware is written (edk2,
# MdeModulePkg). Any other GUID is a firmware class of the machine's ESRT.
NAMES = {
    FIRMWARE_MANAGEMENT: "firmware management protocol",
    UUID("67d6f4cd-d6b8-4573-bf4a-de5e252d61ae"): "JSON",
    UUID("3b8c8162-188c-46a4-aec9-be43f1d65697"): "Windows display",
}
_HEADER = Struct("<16sIII")


class Capsule(NamedTuple):
    """The header's fields; body is what follows it, up to image_size."""

    guid: UUID
    header_size: int
    flags: int
    image_size: int
    body: memoryview

    @property
    def name(self) -> str | None:
        """Of a GUID that the specification or edk2 gives a meaning."""
        return NAMES.get(self.guid)

    @property
    def flag_names(self) -> tuple[str, ...]:
        return tuple(text for bit, text in FLAGS.items() if self.flags & bit)

    @property
    def flags_valid(self) -> bool:
        """Populating the system table and initiating the reset both need the capsule to persist."""
        return not self.flags & (POPULATE_SYSTEM_TABLE | INITIATE_RESET) or bool(self.flags & PERSIST_ACROSS_RESET)


def parse(data: Bytes) -> Capsule:
    """Read the header; StubsimError for one that is cut short or whose sizes do not fit. More bytes may follow."""
    if len(data) < HEADER_SIZE:
        raise StubsimError("the capsule is cut short", offset=len(data), expected=f"a header of {HEADER_SIZE} bytes")
    guid, header_size, flags, image_size = _HEADER.unpack(bytes(data[: _HEADER.size]))
    if not HEADER_SIZE <= header_size <= image_size:
        expected = f"{HEADER_SIZE} to {image_size} (CapsuleImageSize)"
        raise StubsimError(f"a capsule header of {header_size} bytes", offset=16, expected=expected)
    if image_size > len(data):
        raise StubsimError(
            f"a capsule of {image_size} bytes", offset=24, expected=f"at most {len(data)}, as many as there are"
        )
    body = view_of(data)[header_size:image_size]
    return Capsule(UUID(bytes_le=guid), header_size, flags, image_size, body)


def build(guid: UUID, body: bytes, *, flags: int = PERSIST_ACROSS_RESET, header_size: int = HEADER_SIZE) -> bytes:
    """A capsule; a header larger than 28 bytes is filled up with zeros."""
    header = _HEADER.pack(guid.bytes_le, header_size, flags, header_size + len(body))
    return header.ljust(header_size, b"\0") + body
