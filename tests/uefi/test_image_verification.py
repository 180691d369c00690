"""Which entry of db lets an image through: EDK II's rules for db and dbx, with identities made up here."""

from __future__ import annotations

import hashlib
from uuid import UUID

import pytest

from stubsim.formats import pe
from stubsim.formats.signature_list import SHA256, X509, X509_SHA256, Entry
from stubsim.uefi.image_verification import Databases
from stubsim.uki import Uki

pytest.importorskip("cryptography")

from tests.stub.signing import Identity, identity, image_digest, indirect_data, pkcs7, signed_image

SIGNER, OTHER = identity("signer"), identity("other")
CONTENT = indirect_data(image_digest())
OWNER = UUID(int=5)
UNSIGNED = Entry(SHA256, OWNER, image_digest())


def entry(who: Identity) -> Entry:
    return Entry(X509, OWNER, who.der)


def revoked(who: Identity) -> Entry:
    digest = hashlib.sha256(who.certificate.tbs_certificate_bytes).digest()
    return Entry(X509_SHA256, OWNER, digest + bytes(16))


def image(*signers: Identity) -> Uki:
    """Signed by each in a signature of its own."""
    return Uki(pe.open_bytes(signed_image(*(pkcs7(CONTENT, who) for who in signers)), "signed.efi"))


def authority(by: Uki, *db: Entry, dbx: tuple[Entry, ...] = ()) -> Entry | None:
    return Databases(db, dbx).authority(by)


def test_the_first_entry_of_db_that_vouches_for_the_first_signature():
    assert authority(image(SIGNER), entry(OTHER), entry(SIGNER)) == entry(SIGNER)
    assert authority(image(SIGNER, OTHER), entry(OTHER), entry(SIGNER)) == entry(SIGNER)
    assert authority(image(SIGNER, OTHER), entry(OTHER)) == entry(OTHER)
    assert authority(image(SIGNER), entry(OTHER)) is None


def test_the_images_own_digest_counts_as_well():
    assert authority(image(SIGNER), entry(OTHER), UNSIGNED) == UNSIGNED
    plain = Uki(pe.open_bytes(signed_image(), "plain.efi"))
    assert authority(plain, UNSIGNED) == UNSIGNED
    assert authority(plain, entry(SIGNER)) is None
    assert authority(plain, UNSIGNED, dbx=(UNSIGNED,)) is None


@pytest.mark.parametrize("dbx", [entry(SIGNER), revoked(SIGNER), UNSIGNED])
def test_dbx_counts_before_db(dbx: Entry):
    assert authority(image(SIGNER), entry(SIGNER), dbx=(dbx,)) is None


def test_dbx_of_somebody_else_does_no_harm():
    others = (entry(OTHER), revoked(OTHER), UNSIGNED._replace(data=bytes(32)), Entry(UUID(int=9), OWNER, b"x"))
    assert authority(image(SIGNER), entry(SIGNER), dbx=others) == entry(SIGNER)


def test_one_revoked_signature_spoils_the_image():
    assert authority(image(SIGNER, OTHER), entry(SIGNER), dbx=(entry(OTHER),)) is None


def test_certificates_that_cannot_be_read_vouch_for_nothing():
    assert authority(image(SIGNER), Entry(X509, OWNER, b"no certificate"), entry(SIGNER)) == entry(SIGNER)
