"""EFI_SIGNATURE_LIST (UEFI 2.10, 32.4.1): what db, dbx and MokList hold."""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from uuid import UUID

from stubsim.errors import StubsimError
from stubsim.rows import NamedTuple

X509 = UUID("a5c059a1-94e4-4aa7-87b5-ab155c2bf072")
SHA256 = UUID("c1c41626-504c-4092-aca9-41f936934328")
SHA384 = UUID("ff3e5307-9fd0-48c9-85f1-8ad56c701e01")
SHA512 = UUID("093e0fae-a6c4-4f50-9f1b-d41e2b89c19a")
X509_SHA256 = UUID("3bd2a492-96c0-4079-b420-fcf98ef103ed")
X509_SHA384 = UUID("7076876e-80c2-4ee6-aad2-28b349a6865b")
X509_SHA512 = UUID("446dbf63-2502-4cda-bcfa-2465d2b0fe9d")
# Image digests, and digests of a certificate's to-be-signed part, by the bank's name.
IMAGE_DIGESTS = {SHA256: "sha256", SHA384: "sha384", SHA512: "sha512"}
CERTIFICATE_DIGESTS = {X509_SHA256: "sha256", X509_SHA384: "sha384", X509_SHA512: "sha512"}
_HEADER = Struct("<16sIII")
# A dbx has some hundred entries; 64 KiB is what a variable of OVMF holds.
_ENTRIES_MAX = 1 << 12


class Entry(NamedTuple):
    """One EFI_SIGNATURE_DATA: type, owner, and what it is (a certificate in DER, a digest)."""

    type: UUID
    owner: UUID
    data: bytes

    @property
    def signature_data(self) -> bytes:
        """The bytes as they lie in the list."""
        return self.owner.bytes_le + self.data


def parse(data: bytes) -> tuple[Entry, ...]:
    """The entries of the lists one behind the other. Raises StubsimError for one that is cut short or malformed."""
    return tuple(_entries(data))


def build(type_: UUID, owner: UUID, data: bytes) -> bytes:
    """A list with one entry."""
    return _HEADER.pack(type_.bytes_le, _HEADER.size + 16 + len(data), 0, 16 + len(data)) + owner.bytes_le + data


def _entries(data: bytes) -> Iterator[Entry]:
    at = count = 0
    while at < len(data):
        if len(data) - at < _HEADER.size:
            raise StubsimError("a signature list is cut short", offset=at, expected=f"{_HEADER.size} bytes")
        guid, size, header, each = _HEADER.unpack_from(data, at)
        body = size - _HEADER.size - header
        if size > len(data) - at or body < 0 or each < 16 or body % each:
            message = f"a signature list of {size} bytes with {header} of header and entries of {each}"
            raise StubsimError(message, offset=at, expected=f"entries that fill it, at most {len(data) - at} bytes")
        start = at + _HEADER.size + header
        for offset in range(start, start + body, each):
            count += 1
            if count > _ENTRIES_MAX:
                raise StubsimError("too many signatures", offset=offset, expected=f"at most {_ENTRIES_MAX}")
            owner, content = data[offset : offset + 16], data[offset + 16 : offset + each]
            yield Entry(UUID(bytes_le=guid), UUID(bytes_le=owner), content)
        at += size
