"""Which entry of db lets an image through, by the store's own db and dbx (UEFI 2.10, 32.5.3).

EDK II, DxeImageVerificationLib: signatures in their order, of each dbx first and then db in its order; an image's own
digest counts beside them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from stubsim.errors import StubsimError
from stubsim.formats.signature_list import CERTIFICATE_DIGESTS, IMAGE_DIGESTS, X509, Entry
from stubsim.rows import NamedTuple
from stubsim.uefi.secure_boot import readable, vouched_for
from stubsim.uki import Uki

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

    from stubsim.formats.signature import Signature


class Databases(NamedTuple):
    """``db`` and ``dbx`` in their order."""

    db: Sequence[Entry]
    dbx: Sequence[Entry]

    def trusts(self, image: Uki) -> bool:
        return self.authority(image) is not None

    def authority(self, image: Uki) -> Entry | None:
        """The entry that lets the image through, None where it is refused. StubsimError without cryptography."""
        found = None
        for signature in signatures(image):
            if any(_forbids(entry, signature) for entry in self.dbx):
                return None
            if has_digest(self.dbx, image, signature.algorithm) is not None:
                return None
            if found is None:
                found = next((entry for entry in self.db if vouches(entry, signature)), None)
            if found is None:
                found = has_digest(self.db, image, signature.algorithm)
        if image.image.certificate_table[1] == 0:
            # One without any signature is looked for by its SHA-256 alone.
            refused = has_digest(self.dbx, image, "sha256")
            return None if refused else has_digest(self.db, image, "sha256")
        return found


def signatures(image: Uki) -> Iterable[Signature]:
    """Those that are over this image; one that cannot be read does not spoil the others."""
    from stubsim.formats import signature

    try:
        blobs = signature.entries(image.image)
    except StubsimError:
        return
    for blob in blobs:
        try:
            found = signature.parse(blob)
            if found.vouches_for(image.authenticode(found.algorithm)):
                yield found
        except StubsimError:
            continue


def vouches(entry: Entry, signature: Signature) -> bool:
    """Whether the signature leads to the certificate of the entry."""
    if entry.type != X509:
        return False
    certificates = list(readable((entry.data,)))
    return bool(certificates) and vouched_for(signature, certificates)


def _forbids(entry: Entry, signature: Signature) -> bool:
    """A revoked certificate, or the digest of one; the time behind a digest is not looked at: revoked is revoked."""
    if entry.type == X509:
        return vouches(entry, signature)
    algorithm = CERTIFICATE_DIGESTS.get(entry.type)
    if algorithm is None:
        return False
    digest = entry.data[: hashlib.new(algorithm).digest_size]
    return any(_of_its_body(certificate, algorithm) == digest for certificate in readable(signature.certificates))


def _of_its_body(certificate: Certificate, algorithm: str) -> bytes:
    return hashlib.new(algorithm, certificate.tbs_certificate_bytes, usedforsecurity=False).digest()


def has_digest(entries: Sequence[Entry], image: Uki, algorithm: str) -> Entry | None:
    """The entry that is the image's own digest."""
    if not any(IMAGE_DIGESTS.get(entry.type) == algorithm for entry in entries):
        return None
    try:
        digest = image.authenticode(algorithm)
    except StubsimError:
        return None
    matching = (entry for entry in entries if IMAGE_DIGESTS.get(entry.type) == algorithm and entry.data == digest)
    return next(matching, None)
