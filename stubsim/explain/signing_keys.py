"""The public keys that signed policies are checked against (cryptography, the extra `sign`)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from stubsim.errors import StubsimError
from stubsim.rows import NamedTuple

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

KEY_MAX = 1 << 16


class NoCryptographyError(StubsimError):
    """The package is not installed."""


class Key(NamedTuple):
    """``fingerprints`` are what "pkfp" may be; ``holds(hash, signature, signed)``: is it the key's over these bytes."""

    kind: str
    fingerprints: tuple[bytes, ...]
    holds: Callable[[str, bytes, bytes], bool]


def read(data: bytes) -> Key:
    """A public key in PEM. Raises StubsimError for anything else, and where cryptography is not there."""
    try:
        from cryptography.hazmat.primitives.asymmetric import ec, rsa
        from cryptography.hazmat.primitives.serialization import load_pem_public_key
    except ImportError:
        raise NoCryptographyError(
            "checking signatures needs the cryptography package", hint="pip install cryptography"
        ) from None
    expected = "a public key of RSA or ECC in PEM"
    if len(data) > KEY_MAX:
        raise StubsimError(f"larger than {KEY_MAX >> 10} KiB", expected=expected)
    try:
        key = load_pem_public_key(data)
    except Exception as error:  # what cryptography raises for hostile input differs from release to release
        raise StubsimError("not a public key", expected=expected) from error
    if isinstance(key, rsa.RSAPublicKey):
        return _rsa(key)
    if isinstance(key, ec.EllipticCurvePublicKey):
        return _ecc(key)
    raise StubsimError("a public key of another kind", expected=expected)


def _rsa(key: rsa.RSAPublicKey) -> Key:
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    def holds(algorithm: str, signature: bytes, signed: bytes) -> bool:
        try:
            key.verify(signature, signed, padding.PKCS1v15(), getattr(hashes, algorithm.upper())())
        except (InvalidSignature, UnsupportedAlgorithm, ValueError):
            return False
        return True

    return Key(f"RSA {key.key_size}", (_digest(key.public_bytes(Encoding.DER, PublicFormat.PKCS1)),), holds)


def _ecc(key: ec.EllipticCurvePublicKey) -> Key:
    """The DER of a point says nothing of the curve, and has the form that the key was written in."""
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    def holds(algorithm: str, signature: bytes, signed: bytes) -> bool:
        try:
            key.verify(signature, signed, ec.ECDSA(getattr(hashes, algorithm.upper())()))
        except (InvalidSignature, UnsupportedAlgorithm, ValueError):
            return False
        return True

    forms = (PublicFormat.UncompressedPoint, PublicFormat.CompressedPoint)
    return Key(f"ECC {key.curve.name}", tuple(_digest(key.public_bytes(Encoding.X962, form)) for form in forms), holds)


def _digest(data: bytes) -> bytes:
    """As systemd's pubkey_fingerprint(): of i2d_PublicKey(), which is not the SubjectPublicKeyInfo of a PEM file."""
    return hashlib.sha256(data).digest()
