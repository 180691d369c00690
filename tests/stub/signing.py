"""Signed images: keys, certificates and a PKCS #7 signature, value by value, so that each can be made wrong."""

from __future__ import annotations

import datetime
import hashlib
import struct
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from stubsim.formats import authenticode, pe
from stubsim.formats.pe import SectionSpec

DIGESTS = {
    "sha1": "2b0e03021a",
    "sha256": "608648016503040201",
    "sha384": "608648016503040202",
    "sha512": "608648016503040203",
}
# The object identifiers of RFC 5652 and of the Authenticode format, encoded.
SIGNED_DATA, CONTENT_TYPE, MESSAGE_DIGEST = "2a864886f70d010702", "2a864886f70d010903", "2a864886f70d010904"
INDIRECT_DATA, PE_IMAGE, RSA = "2b060104018237020104", "2b06010401823702010f", "2a864886f70d010101"

SECTIONS = [SectionSpec(".text", b"code" * 200)]


def der(tag: int, *contents: bytes) -> bytes:
    content = b"".join(contents)
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + content


def oid(encoded: str) -> bytes:
    return der(6, bytes.fromhex(encoded))


def integer(value: int) -> bytes:
    return der(2, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def algorithm(name: str) -> bytes:
    return der(0x30, oid(DIGESTS[name]), der(5))


class Identity(NamedTuple):
    """A private key and its certificate."""

    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.DER)

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        return self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )


def identity(
    name: str = "signer",
    issuer: Identity | None = None,
    *,
    elliptic: bool = False,
    authority: bool | None = True,
    year: int = 2020,
) -> Identity:
    """Self-signed unless there is an issuer; valid for one year; an authority, not one, or (None) silent about it."""
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
    key = ec.generate_private_key(ec.SECP256R1()) if elliptic else rsa.generate_private_key(65537, 2048)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    start = datetime.datetime(year, 1, 1, tzinfo=datetime.UTC)
    builder = x509.CertificateBuilder(
        issuer.certificate.subject if issuer else subject,
        subject,
        key.public_key(),
        x509.random_serial_number(),
        start,
        start.replace(year=year + 1),
    )
    if authority is not None:
        builder = builder.add_extension(x509.BasicConstraints(authority, None), critical=True)
    return Identity(key, builder.sign(issuer.key if issuer else key, hashes.SHA256()))


def indirect_data(digest: bytes, name: str = "sha256") -> bytes:
    """The content (without its tag) that vouches for an image's digest."""
    return der(0x30, oid(PE_IMAGE), der(0x30)) + der(0x30, algorithm(name), der(4, digest))


def pkcs7(
    content: bytes,
    *signers: Identity,
    embedded: tuple[Identity, ...] | None = None,
    name: str = "sha256",
    attributes: bool = True,
    message_digest: bytes | None = None,
) -> bytes:
    """A signature over the content; the signers' own certificates are in it unless others are given."""
    infos = []
    for signer in signers:
        found = hashlib.new(name, content).digest() if message_digest is None else message_digest
        rows = (
            der(0x30, oid(CONTENT_TYPE), der(0x31, oid(INDIRECT_DATA)))
            + der(0x30, oid(MESSAGE_DIGEST), der(0x31, der(4, found)))
            if attributes
            else b""
        )
        signed = der(0x31, rows) if attributes else content
        chosen = getattr(hashes, name.upper())()
        if isinstance(signer.key, rsa.RSAPrivateKey):
            signature = signer.key.sign(signed, padding.PKCS1v15(), chosen)
        else:
            signature = signer.key.sign(signed, ec.ECDSA(chosen))
        issuer = signer.certificate.issuer.public_bytes()
        infos.append(
            der(
                0x30,
                integer(1),
                der(0x30, issuer, integer(signer.certificate.serial_number)),
                algorithm(name),
                der(0xA0, rows) if attributes else b"",
                der(0x30, oid(RSA), der(5)),
                der(4, signature),
            )
        )
    certificates = b"".join(each.der for each in (signers if embedded is None else embedded))
    data = der(
        0x30,
        integer(1),
        der(0x31, algorithm(name)),
        der(0x30, oid(INDIRECT_DATA), der(0xA0, der(0x30, content))),
        der(0xA0, certificates) if certificates else b"",
        der(0x31, *infos),
    )
    return der(0x30, oid(SIGNED_DATA), der(0xA0, data))


def certificate_table(*blobs: bytes, kind: int = 2) -> bytes:
    rows = b""
    for blob in blobs:
        row = struct.pack("<IHH", 8 + len(blob), 0x200, kind) + blob
        rows += row + bytes(-len(row) % 8)
    return rows


def image_digest(name: str = "sha256") -> bytes:
    return authenticode.digest(pe.build(SECTIONS), name)


def signed_image(*blobs: bytes, kind: int = 2) -> bytes:
    return pe.build(SECTIONS, certificates=certificate_table(*blobs, kind=kind))
