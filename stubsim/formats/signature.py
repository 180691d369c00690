"""Signatures in a PE image's certificate table: WIN_CERTIFICATE rows with PKCS #7 over an Authenticode digest.

Windows Authenticode Portable Executable Signature Format 1.0; RFC 2315 (PKCS #7) and RFC 5652 (CMS); DER only, which is
what signing tools write. What counts is what EDK II makes of it (DxeImageVerificationLib, DxeImageVerificationHandler
and HashPeImageByType; BaseCryptLib, AuthenticodeVerify), which looks at some bytes by their place. Nothing is verified
here but the shape. Offsets in errors count from the start of the file for the table, from the start of the signature
otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator

from stubsim.errors import StubsimError
from stubsim.extent import Bytes, Extent
from stubsim.formats import pe
from stubsim.rows import NamedTuple

# WIN_CERTIFICATE (UEFI 2.10, 32.2.4): u32 length with the header, u16 revision, u16 type.
_HEADER_SIZE, _GUID_SIZE = 8, 16
_PKCS_SIGNED_DATA, _EFI_GUID = 0x0002, 0x0EF1
# EFI_CERT_TYPE_PKCS7_GUID, as it lies in the file.
_PKCS7_GUID = bytes.fromhex("9dd2af4adf68ee498aa9347d375665a7")

_SEQUENCE, _SET, _INTEGER, _OCTETS, _OID, _CONTEXT_0 = 0x30, 0x31, 0x02, 0x04, 0x06, 0xA0
_SIGNED_DATA = "1.2.840.113549.1.7.2"
_CONTENT_TYPE = "1.2.840.113549.1.9.3"
_MESSAGE_DIGEST = "1.2.840.113549.1.9.4"
_INDIRECT_DATA = "1.3.6.1.4.1.311.2.1.4"
# Far more than any signature has; each costs the reader a public-key operation.
_CERTIFICATES_MAX, _SIGNERS_MAX = 64, 16
# Where the first of digestAlgorithms is, if all lengths in front of it have two bytes; only the first one is looked at.
_ALGORITHM_AT, _TWO_BYTES = 32, 0x82
# By hashlib name: what EDK II's DxeImageVerificationLib hashes images with, and how long that is.
_DIGESTS = {
    "1.3.14.3.2.26": "sha1",
    "2.16.840.1.101.3.4.2.1": "sha256",
    "2.16.840.1.101.3.4.2.2": "sha384",
    "2.16.840.1.101.3.4.2.3": "sha512",
}

_ENCODED = {
    bytes.fromhex("2b0e03021a"): "sha1",
    bytes.fromhex("608648016503040201"): "sha256",
    bytes.fromhex("608648016503040202"): "sha384",
    bytes.fromhex("608648016503040203"): "sha512",
}
# Bytes that a row needs by its type; of another type it is only passed over.
_LEAST = {_PKCS_SIGNED_DATA: _HEADER_SIZE + 1, _EFI_GUID: _HEADER_SIZE + _GUID_SIZE + 1}


class Signer(NamedTuple):
    """Who signed what: ``signed`` are the bytes the signature is over, hashed by ``algorithm`` (hashlib's name).

    ``issuer`` (the DER of the name) and ``serial`` name the certificate. ``message_digest`` is the digest the signed
    attributes give of the content, None where there are no attributes and the content itself is signed.
    """

    issuer: bytes
    serial: int
    algorithm: str
    signed: bytes
    message_digest: bytes | None
    signature: bytes


class Signature(NamedTuple):
    """One PKCS #7 signature: what the image is hashed by, the ``content`` that ends with its digest, and who vouches.

    ``algorithms`` are digestAlgorithms, by hashlib name: what its signers may have used. ``certificates`` are DER, as
    they are in the signature.
    """

    algorithm: str
    algorithms: tuple[str, ...]
    content: bytes
    certificates: tuple[bytes, ...]
    signers: tuple[Signer, ...]

    def vouches_for(self, digest: bytes) -> bool:
        """Whether the content ends with the digest; EDK II reads no more, so bytes behind a DigestInfo spoil it."""
        return self.content.endswith(digest)


class _Value(NamedTuple):
    """One DER value; ``whole`` has tag and length in front of the content."""

    tag: int
    content: memoryview
    whole: memoryview
    offset: int


def entries(image: pe.Image) -> tuple[Extent, ...]:
    """The PKCS #7 blobs of the certificate table, in file order; rows of other types are passed over.

    Raises StubsimError for a table that its rows do not fill exactly, be it that a row is too short for its type: EDK
    II trusts nothing in such an image.
    """
    offset, size = image.certificate_table
    end = offset + size
    if end > len(image.data):
        raise StubsimError(
            "the certificate table is cut short", path=image.path, offset=offset, expected=f"{size} bytes"
        )
    found = []
    while offset < end:
        length = int.from_bytes(bytes(image.data[offset : offset + 4]), "little")
        kind = int.from_bytes(bytes(image.data[offset + 6 : offset + 8]), "little")
        least = _LEAST.get(kind, _HEADER_SIZE)
        # One that would fill the rest with its header alone is not looked at.
        if end - offset <= _HEADER_SIZE or not least <= length <= end - offset:
            message = f"a certificate of {length} bytes"
            expected = f"{least} to {end - offset}"
            raise StubsimError(message, path=image.path, offset=offset, expected=expected)
        content = image.data[offset + _HEADER_SIZE : offset + length]
        if kind == _PKCS_SIGNED_DATA:
            found.append(content)
        elif kind == _EFI_GUID and bytes(content[:_GUID_SIZE]) == _PKCS7_GUID:
            found.append(content[_GUID_SIZE:])
        offset += length + -length % 8
    if offset != end:
        message = "the certificate table does not end with its last certificate"
        raise StubsimError(message, path=image.path, offset=end, expected=f"its end at {offset:#x}")
    return tuple(found)


def parse(data: Bytes) -> Signature:
    """A signature over an image's digest; zeros behind it are padding. Raises StubsimError for anything else."""
    # A SpcIndirectDataContent is short and certificates are a few KiB each; copied once, then only sliced.
    raw = memoryview(bytes(data))
    outer = _expect(_first(raw, 0), _SEQUENCE, "ContentInfo")
    algorithm = _image_algorithm(raw)
    items = _children(outer)
    kind = _expect(next(items, None), _OID, "the content type", outer)
    if _oid(kind) != _SIGNED_DATA:
        raise _error("not signed data", kind.offset, _SIGNED_DATA)
    wrapped = _expect(next(items, None), _CONTEXT_0, "the signed data", kind)
    outer = _expect(next(_children(wrapped), None), _SEQUENCE, "the signed data", wrapped)
    fields = _children(outer)
    _expect(next(fields, None), _INTEGER, "version", outer)
    used = _expect(next(fields, None), _SET, "digestAlgorithms", outer)
    algorithms = tuple(_algorithm(_expect(item, _SEQUENCE, "an algorithm")) for item in _at_most(_SIGNERS_MAX, used))
    info = _expect(next(fields, None), _SEQUENCE, "contentInfo", outer)
    content = _indirect_data(info)

    certificates: tuple[bytes, ...] = ()
    for field in fields:
        if field.tag == _CONTEXT_0:
            certificates = tuple(bytes(item.whole) for item in _at_most(_CERTIFICATES_MAX, field))
        elif field.tag == _SET:
            signers = tuple(_signer(item, content) for item in _at_most(_SIGNERS_MAX, field))
            return Signature(algorithm, algorithms, content, certificates, signers)
    raise _error("no signer", outer.offset, "signerInfos")


def _image_algorithm(data: memoryview) -> str:
    """What the image is hashed by: the object identifier at one place, which holds no other if a length has one byte.

    So a signature of less than 256 bytes, above 64 KiB or without its ContentInfo is none (HashPeImageByType).
    """
    if data[1] & _TWO_BYTES == _TWO_BYTES:
        for oid, name in _ENCODED.items():
            if bytes(data[_ALGORITHM_AT : _ALGORITHM_AT + len(oid)]) == oid:
                return name
    raise _error("no digest algorithm is known", _ALGORITHM_AT, ", ".join(_ENCODED.values()))


def _indirect_data(info: _Value) -> bytes:
    """The content that is signed, without tag and length."""
    items = _children(info)
    kind = _expect(next(items, None), _OID, "the content type", info)
    if _oid(kind) != _INDIRECT_DATA:
        raise _error("the content is not an image digest", kind.offset, f"SpcIndirectDataContent, {_INDIRECT_DATA}")
    wrapped = _expect(next(items, None), _CONTEXT_0, "the content", info)
    return bytes(_expect(next(_children(wrapped), None), _SEQUENCE, "SpcIndirectDataContent", wrapped).content)


def _signer(info: _Value, content: bytes) -> Signer:
    fields = _children(_expect(info, _SEQUENCE, "SignerInfo"))
    _expect(next(fields, None), _INTEGER, "version", info)
    name = _expect(next(fields, None), _SEQUENCE, "issuerAndSerialNumber", info)
    parts = _children(name)
    issuer = _expect(next(parts, None), _SEQUENCE, "issuer", name)
    serial = _expect(next(parts, None), _INTEGER, "serialNumber", name)
    algorithm = _algorithm(_expect(next(fields, None), _SEQUENCE, "digestAlgorithm", info))
    field = next(fields, None)
    message_digest, signed = None, content
    if field is not None and field.tag == _CONTEXT_0:
        message_digest = _attributes(field)
        # The signature is over the attributes as a SET, not under the tag they have here (RFC 5652, 5.4).
        signed = bytes((_SET,)) + bytes(field.whole[1:])
        field = next(fields, None)
    _expect(field, _SEQUENCE, "digestEncryptionAlgorithm", info)
    signature = _expect(next(fields, None), _OCTETS, "encryptedDigest", info)
    number = int.from_bytes(serial.content, "big", signed=True)
    return Signer(bytes(issuer.whole), number, algorithm, signed, message_digest, bytes(signature.content))


def _attributes(attributes: _Value) -> bytes:
    """The message digest among the signed attributes, which must say that they are about an image's digest."""
    values = {}
    for attribute in _children(attributes):
        items = _children(_expect(attribute, _SEQUENCE, "an attribute"))
        kind = _oid(_expect(next(items, None), _OID, "an attribute's type", attribute))
        value = next(_children(_expect(next(items, None), _SET, "an attribute's values", attribute)), None)
        values[kind] = _expect(value, None, "an attribute's value", attribute)
    content_type, digest = values.get(_CONTENT_TYPE), values.get(_MESSAGE_DIGEST)
    if content_type is None or content_type.tag != _OID or _oid(content_type) != _INDIRECT_DATA:
        raise _error("the attributes are not about an image's digest", attributes.offset, f"{_INDIRECT_DATA}")
    return bytes(_expect(digest, _OCTETS, "messageDigest", attributes).content)


def _algorithm(identifier: _Value) -> str:
    kind = _expect(next(_children(identifier), None), _OID, "an algorithm", identifier)
    name = _DIGESTS.get(_oid(kind))
    if name is None:
        raise _error(f"unknown digest algorithm {_oid(kind)}", kind.offset, ", ".join(_DIGESTS.values()))
    return name


def _first(data: memoryview, base: int) -> _Value:
    """The DER value at the start of the data, which begins at offset ``base``."""
    if len(data) < 2:
        raise _error("a value is cut short", base, "tag and length")
    tag, size, start = data[0], data[1], 2
    if tag & 0x1F == 0x1F:
        raise _error(f"tag {tag:#04x} with more bytes", base, "a tag of one byte")
    if size >= 0x80:
        count = size & 0x7F
        if not 1 <= count <= 4:
            raise _error(f"length byte {size:#04x}", base + 1, "a length of up to 4 bytes (DER)")
        start += count
        size = int.from_bytes(data[2:start], "big")
    if len(data) < start + size:
        raise _error(f"a value of {size} bytes is cut short", base, f"at most {max(0, len(data) - start)}")
    return _Value(tag, data[start : start + size], data[: start + size], base)


def _children(value: _Value) -> Iterator[_Value]:
    rest = value.content
    offset = value.offset + len(value.whole) - len(rest)
    while rest:
        child = _first(rest, offset)
        yield child
        rest, offset = rest[len(child.whole) :], offset + len(child.whole)


def _at_most(count: int, value: _Value) -> Iterator[_Value]:
    for index, child in enumerate(_children(value)):
        if index == count:
            raise _error("too many values", child.offset, f"at most {count}")
        yield child


def _expect(value: _Value | None, tag: int | None, what: str, parent: _Value | None = None) -> _Value:
    if value is None:
        raise _error(f"{what} is missing", parent.offset if parent else 0, what)
    if tag is not None and value.tag != tag:
        raise _error(f"tag {value.tag:#04x} for {what}", value.offset, f"{tag:#04x}")
    return value


def _oid(value: _Value) -> str:
    numbers: list[int] = []
    number = 0
    for byte in bytes(value.content[:32]):
        number = number << 7 | byte & 0x7F
        if byte < 0x80:
            numbers.append(number)
            number = 0
    first = min(numbers[0] // 40, 2) if numbers else 0
    return ".".join(map(str, [first, numbers[0] - 40 * first, *numbers[1:]])) if numbers else ""


def _error(message: str, offset: int, expected: str) -> StubsimError:
    return StubsimError(f"signature: {message}", offset=offset, expected=expected)
