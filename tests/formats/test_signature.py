"""The certificate table and the PKCS #7 in it, against what sbsign and the recorded images hold."""

from __future__ import annotations

import contextlib
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stubsim.errors import StubsimError
from stubsim.formats import authenticode, pe, signature

pytest.importorskip("cryptography")

from tests.strategies import mutated
from tests.stub.signing import (
    certificate_table,
    der,
    identity,
    image_digest,
    indirect_data,
    pkcs7,
    signed_image,
)

SIGNER = identity()
CONTENT = indirect_data(image_digest())
BLOB = pkcs7(CONTENT, SIGNER)


def image(table: bytes) -> pe.Image:
    return pe.open_bytes(pe.build([pe.SectionSpec(".text", b"x")], certificates=table), "signed.efi")


def test_fields():
    found = signature.parse(BLOB)
    assert (found.algorithm, found.algorithms, found.content) == ("sha256", ("sha256",), CONTENT)
    assert found.vouches_for(image_digest())
    assert not found.vouches_for(bytes(32))
    assert found.certificates == (SIGNER.der,)
    (signer,) = found.signers
    assert signer.serial == SIGNER.certificate.serial_number
    assert signer.issuer == SIGNER.certificate.issuer.public_bytes()
    assert signer.algorithm == "sha256"
    assert signer.signed[:1] == b"\x31"


def test_without_attributes_the_content_is_signed():
    (signer,) = signature.parse(pkcs7(CONTENT, SIGNER, attributes=False)).signers
    assert (signer.signed, signer.message_digest) == (CONTENT, None)


def test_no_signer():
    assert signature.parse(pkcs7(CONTENT, embedded=(SIGNER,))).signers == ()


def test_padding_behind_a_signature():
    assert signature.parse(BLOB + bytes(5)) == signature.parse(BLOB)


def test_what_the_image_is_hashed_by_is_at_one_place():
    """EDK II, HashPeImageByType: the first of digestAlgorithms, where two bytes of length stand in front of it."""
    data = BLOB[4:]  # tag and length of the outer SEQUENCE
    inner = data[2 + data[1] :]  # the object identifier
    assert inner[0] == 0xA0
    for odd in (inner[4:], BLOB[:2] + bytes(40), pkcs7(CONTENT, SIGNER, embedded=(SIGNER,) * 64 + (SIGNER,))):
        with pytest.raises(StubsimError):
            signature.parse(odd)
    # Each length of three bytes in front of it moves it on by one.
    large = pkcs7(CONTENT + der(4, bytes(70000)), SIGNER)
    assert large[:2] == b"\x30\x83"
    with pytest.raises(StubsimError, match="no digest algorithm is known"):
        signature.parse(large)
    # The one in DigestInfo is not looked at.
    other = indirect_data(image_digest(), "sha1")
    assert signature.parse(pkcs7(other, SIGNER)).algorithm == "sha256"


def test_bytes_behind_the_digest():
    found = signature.parse(pkcs7(CONTENT + b"\5\0", SIGNER))
    assert not found.vouches_for(image_digest())


@pytest.mark.parametrize("count", [0, 1, 3])
def test_entries(count: int):
    table = certificate_table(*[BLOB] * count)
    assert [bytes(blob[: len(BLOB)]) for blob in signature.entries(image(table))] == [BLOB] * count


def test_entry_types():
    guid = bytes.fromhex("9dd2af4adf68ee498aa9347d375665a7")
    table = certificate_table(guid + BLOB, bytes(16) + BLOB, kind=0xEF1) + certificate_table(b"x" * 8, kind=1)
    (blob,) = signature.entries(image(table))
    assert signature.parse(blob) == signature.parse(BLOB)


def test_rows_that_are_too_short_for_their_type():
    """One that is passed over needs its header, one that is read something behind it, and a GUID counts as header."""
    good = certificate_table(BLOB)
    (blob,) = signature.entries(image(certificate_table(b"", kind=7) + good))
    assert bytes(blob[: len(BLOB)]) == BLOB
    for content, kind in ((b"", 2), (b"", 0xEF1), (bytes(16), 0xEF1)):
        with pytest.raises(StubsimError, match="certificate of"):
            signature.entries(image(certificate_table(content, kind=kind) + good))
    # The last one is not looked at if it is but a header.
    with pytest.raises(StubsimError, match="certificate of"):
        signature.entries(image(good + certificate_table(b"", kind=7)))


@pytest.mark.parametrize("length", [0, 7, 8, 0x10000, 0xFFFFFFFF])
def test_table_rows_of_a_wrong_size(length: int):
    table = bytearray(certificate_table(BLOB))
    struct.pack_into("<I", table, 0, length)
    with pytest.raises(StubsimError, match="certificate of"):
        signature.entries(image(bytes(table)))


def test_a_table_that_ends_inside_a_row():
    """EDK II trusts nothing in such an image."""
    table = certificate_table(BLOB + bytes((-len(BLOB)) % 8 + 1))[:-7]
    with pytest.raises(StubsimError, match="does not end with"):
        signature.entries(image(table))


def test_a_table_behind_the_end_of_the_file():
    data = signed_image(BLOB)
    with pytest.raises(StubsimError):
        signature.entries(pe.open_bytes(data[:-8], "cut.efi"))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "cut short"),
        (b"\x30\x80\x00\x00", "length byte"),
        (b"\x30\x84\xff\xff\xff\xff", "cut short"),
        (b"\x1f\x01\x00", "tag"),
        (der(0x30, der(6, b"\x2a\x03")), "no digest algorithm is known"),
        (BLOB.replace(bytes.fromhex("2a864886f70d010702"), bytes.fromhex("2a864886f70d010703"), 1), "not signed data"),
        (BLOB[:-1], "cut short"),
        (pkcs7(CONTENT, *[SIGNER] * 17, embedded=(SIGNER,)), "too many"),
        (pkcs7(CONTENT, SIGNER, embedded=(SIGNER,) * 65), "too many"),
        (
            BLOB.replace(bytes.fromhex("2b060104018237020104"), bytes.fromhex("2b060104018237020105")),
            "not an image digest",
        ),
        (BLOB.replace(bytes.fromhex("608648016503040201"), bytes.fromhex("608648016503040209")), "no digest"),
    ],
)
def test_what_is_refused(data: bytes, message: str):
    with pytest.raises(StubsimError, match=message):
        signature.parse(data)


@pytest.mark.parametrize("name", ["sb-addons@262.1", "sb-loadopt@262.1", "sb-loadopt@257.13"])
def test_recorded_images(shared: Path, name: str):
    """sbsign signed them, and real firmware let them through."""
    found = pe.open_image(str(shared / "golden" / name / "uki.efi"))
    (blob,) = signature.entries(found)
    parsed = signature.parse(blob)
    assert parsed.vouches_for(authenticode.digest(found, parsed.algorithm))
    assert len(parsed.certificates) == len(parsed.signers) == 1


@given(st.binary(max_size=200) | mutated(BLOB))
def test_arbitrary_bytes(data: bytes):
    with contextlib.suppress(StubsimError):
        assert signature.parse(data).content in data


@given(st.binary(max_size=100))
def test_arbitrary_tables(table: bytes):
    with contextlib.suppress(StubsimError):
        assert sum(map(len, signature.entries(image(table)))) <= len(table)
