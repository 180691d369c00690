"""What the firmware lets through under Secure Boot (UEFI specification, LoadImage; 32.5, image verification)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from stubsim.errors import StubsimError
from stubsim.formats import pe
from stubsim.rows import NamedTuple
from stubsim.uefi.esp import Esp
from stubsim.uki import Uki

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

    from stubsim.formats.signature import Signature, Signer

# Whether an image's signature leads to a certificate in db.
Trusted = Callable[[Uki], bool]

# Machine of the firmware -> those of images that its PE loader knows, and so measures (EDK II, BasePeCoffLib,
# PeCoffLoaderImageFormatSupported), and that it loads, be it without starting them (MdePkg, UefiBaseType.h,
# EFI_IMAGE_MACHINE_TYPE_SUPPORTED and EFI_IMAGE_MACHINE_CROSS_TYPE_SUPPORTED); elsewhere its own.
_KNOWN = {"x64": ("x64", "ia32", "aa64"), "ia32": ("ia32", "x64", "aa64")}
_LOADED = {"x64": ("x64", "ia32"), "ia32": ("ia32", "x64")}

# A chain longer than this is taken for a loop.
_CHAIN_MAX = 8


def is_allowed(uki: Uki, *, secure_boot: bool, trusted: Trusted | None) -> bool:
    """Without --db (``trusted`` None) an image counts as signed when it has a certificate table."""
    if not secure_boot:
        return True
    return uki.image.certificate_table[1] != 0 if trusted is None else trusted(uki)


class Loaded(NamedTuple):
    """What LoadImage() makes of a file: the image as far as it is measured, and the status that refuses it, if any."""

    image: Uki | None
    status: str | None = None


def load_image(
    esp: Esp, path: str, machine: str, *, secure_boot: bool, trusted: Trusted | None, given_bytes: bool = False
) -> Loaded:
    """An image of the partition as the firmware of a machine loads it.

    The signature comes first, and what is no PE has none; but a caller who gives the bytes of the file has to have some
    (EDK II, CoreLoadImageCommon, DxeImageVerificationHandler). Then what the PE loader knows is measured, and only then
    the machine counts (CoreLoadPeImage; an addon for aa64, one for ia32, and one for no machine by OVMF 2022.11).
    Raises StubsimError where the file cannot be read.
    """
    data = esp.read(path)
    if data is None:
        return Loaded(None, "EFI_NOT_FOUND")
    if given_bytes and not len(data):
        return Loaded(None, "EFI_LOAD_ERROR")
    image = esp.program(path)
    if image is None:
        return Loaded(None, "EFI_ACCESS_DENIED" if secure_boot else "EFI_UNSUPPORTED")
    of = pe.MACHINES.get(image.image.machine)
    is_known = of in _KNOWN.get(machine, (machine,))
    if not is_allowed(image, secure_boot=secure_boot, trusted=trusted) or (secure_boot and not is_known):
        return Loaded(None, "EFI_ACCESS_DENIED")
    if not is_known or image.image.subsystem not in pe.EFI_SUBSYSTEMS:
        return Loaded(None, "EFI_UNSUPPORTED")
    return Loaded(image, None if of in _LOADED.get(machine, (machine,)) else "EFI_UNSUPPORTED")


def read_certificates(data: bytes, path: str) -> list[Certificate]:
    """The X.509 certificates of a file: one in DER, or any number in PEM.

    Raises StubsimError for something else, and where the package that reads them is not installed.
    """
    try:
        from cryptography import x509
    except ImportError as error:
        raise StubsimError(
            "checking signatures needs the cryptography package", hint="pip install cryptography"
        ) from error
    try:
        return (
            x509.load_pem_x509_certificates(data) if b"-----BEGIN " in data else [x509.load_der_x509_certificate(data)]
        )
    except ValueError as error:
        raise StubsimError(
            "not a certificate", path=path, expected="X.509 in PEM or DER", hint=f"cryptography says: {error}"
        ) from error


def trusted_by(db: Sequence[Certificate]) -> Callable[[Uki], bool]:
    """Whether an image has a signature that leads to one of the certificates, as in the firmware's db.

    One of several signatures is enough, and dates are not looked at: at boot the firmware trusts no clock (UEFI 2.10,
    32.5.1; EDK II, DxeImageVerificationLib and Pkcs7Verify).
    """

    def trusted(uki: Uki) -> bool:
        from stubsim.formats import signature

        try:
            blobs = signature.entries(uki.image)
        except StubsimError:
            return False
        digests: dict[str, bytes] = {}
        for blob in blobs:
            try:
                found = signature.parse(blob)
                if found.algorithm not in digests:
                    digests[found.algorithm] = uki.authenticode(found.algorithm)
                if found.vouches_for(digests[found.algorithm]) and vouched_for(found, db):
                    return True
            except StubsimError:
                # One that cannot be read does not spoil the others.
                continue
        return False

    return trusted


def vouched_for(found: Signature, db: Sequence[Certificate]) -> bool:
    """Whether all signers are known and right, as PKCS7_verify() of OpenSSL asks for.

    Each must have used one of digestAlgorithms (pk7_doit.c, PKCS7_signatureVerify).
    """
    embedded = list(readable(found.certificates))
    return bool(found.signers) and all(
        signer.algorithm in found.algorithms
        and any(
            _signed(found, signer, certificate) and _leads_to(certificate, embedded, db)
            for certificate in (*embedded, *db)
            if _is_named(certificate, signer)
        )
        for signer in found.signers
    )


def readable(certificates: Iterable[bytes]) -> Iterable[Certificate]:
    """Those that cryptography can read, from their DER."""
    from cryptography import x509

    for der in certificates:
        try:
            certificate = x509.load_der_x509_certificate(der)
            # Both are parsed when they are first asked for.
            certificate.issuer, certificate.public_key()
            yield certificate
        except Exception:  # what cryptography raises for hostile input differs from release to release
            continue


def _is_named(certificate: Certificate, signer: Signer) -> bool:
    return certificate.serial_number == signer.serial and certificate.issuer.public_bytes() == signer.issuer


def _signed(found: Signature, signer: Signer, certificate: Certificate) -> bool:
    """Whether the signature is that of the certificate's key, over attributes that have the content's digest."""
    import hashlib

    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

    digest = hashlib.new(signer.algorithm, found.content, usedforsecurity=False).digest()
    if signer.message_digest not in (None, digest):
        return False
    algorithm = getattr(hashes, signer.algorithm.upper())()
    key = certificate.public_key()
    try:
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(signer.signature, signer.signed, padding.PKCS1v15(), algorithm)
        elif isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signer.signature, signer.signed, ec.ECDSA(algorithm))
        else:
            return False
    except (InvalidSignature, UnsupportedAlgorithm, ValueError):
        return False
    return True


def _leads_to(certificate: Certificate, embedded: Sequence[Certificate], db: Sequence[Certificate]) -> bool:
    """Whether the certificate is in db or was issued, directly or by embedded ones, by one that is."""
    reached, seen = [certificate], {certificate}
    for _ in range(_CHAIN_MAX):
        if any(each in db for each in reached):
            return True
        reached = [
            issuer
            for issuer in (*db, *embedded)
            if issuer not in seen and any(_issued(issuer, each) for each in reached)
        ]
        seen.update(reached)
    return False


def _issued(issuer: Certificate, certificate: Certificate) -> bool:
    from cryptography import x509

    try:
        certificate.verify_directly_issued_by(issuer)
        return issuer.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        # Only the first version of X.509 has authorities that do not say so.
        return issuer.version is x509.Version.v1
    except Exception:  # not its signature, or something that cryptography cannot read
        return False
