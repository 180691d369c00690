"""Which images the firmware lets through; recordings sb-*, and images signed by sbsign and by the tests themselves."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stubsim.errors import StubsimError
from stubsim.formats import pe, signature
from stubsim.hosts import Host
from stubsim.uefi.esp import Esp
from stubsim.uefi.secure_boot import is_allowed, load_image, read_certificates, trusted_by
from stubsim.uki import Uki, load
from tests.stub.harness import make_pe

pytest.importorskip("cryptography")

from tests.stub.signing import (
    SECTIONS,
    Identity,
    certificate_table,
    identity,
    image_digest,
    indirect_data,
    pkcs7,
    signed_image,
)

SECURE = Host(secure_boot=True)
SIGNER, OTHER = identity("signer"), identity("other")
CONTENT = indirect_data(image_digest())
BLOB = pkcs7(CONTENT, SIGNER)


def trusts(data: bytes, *db: Identity) -> bool:
    return trusted_by([each.certificate for each in db])(Uki(pe.open_bytes(data, "signed.efi")))


def signed(*signers: Identity, **how: object) -> bytes:
    return signed_image(pkcs7(CONTENT, *signers, **how))  # type: ignore[arg-type]


def test_by_the_signers_own_certificate():
    assert trusts(signed(SIGNER), SIGNER)
    assert trusts(signed(SIGNER), OTHER, SIGNER)
    assert not trusts(signed(SIGNER), OTHER)
    assert not trusts(signed(SIGNER))


def test_without_attributes():
    assert trusts(signed(SIGNER, attributes=False), SIGNER)


def test_the_certificate_may_be_in_db_alone():
    assert trusts(signed(SIGNER, embedded=()), SIGNER)


@pytest.mark.parametrize("name", ["sha1", "sha256", "sha384", "sha512"])
@pytest.mark.parametrize("elliptic", [False, True])
def test_algorithms(name: str, elliptic: bool):
    signer = identity(elliptic=elliptic)
    blob = pkcs7(indirect_data(image_digest(name), name), signer, name=name)
    assert trusts(signed_image(blob), signer)


def test_a_signer_with_an_algorithm_that_is_not_announced():
    """OpenSSL finds no digest of it; and the image is hashed by the first that is."""
    blob = bytearray(pkcs7(CONTENT, SIGNER))
    blob[32:41] = bytes.fromhex("608648016503040202")
    assert not trusts(signed_image(bytes(blob)), SIGNER)


def test_verdicts_of_a_firmware(shared: Path):
    """Only the image with a row that is passed over is good (DxeImageVerificationHandler)."""
    paths = sorted((shared / "cases" / "hostile").glob("sb-*.efi"))
    for path in paths:
        trusted = trusted_by(read_certificates(path.with_suffix(".pem").read_bytes(), "x"))
        assert trusted(load(str(path))) == ("row-of-unknown-type" in path.name), path.name
    assert paths


def test_one_of_many_signatures_is_enough():
    blobs = [pkcs7(CONTENT, OTHER), b"garbage", pkcs7(CONTENT, SIGNER)]
    assert trusts(signed_image(*blobs), SIGNER)
    assert trusts(signed_image(*blobs), OTHER)
    assert not trusts(signed_image(*blobs), identity())


def test_all_signers_of_one_signature_count():
    """PKCS7_verify() of OpenSSL, which EDK II asks, wants each of them."""
    assert trusts(signed(SIGNER, OTHER), SIGNER, OTHER)
    assert not trusts(signed(SIGNER, OTHER), SIGNER)
    assert not trusts(signed())


def test_chain():
    root = identity("root")
    middle = identity("middle", root)
    leaf = identity("leaf", middle, authority=False)
    assert trusts(signed(leaf), middle)
    assert trusts(signed(leaf, embedded=(leaf, middle)), root)
    assert not trusts(signed(leaf), root), "the one between is missing"
    assert not trusts(signed(leaf, embedded=(leaf, middle)), OTHER)


@pytest.mark.parametrize("authority", [False, None])
def test_an_issuer_must_be_an_authority(authority: bool | None):
    issuer = identity("issuer", authority=authority)
    leaf = identity("leaf", issuer)
    assert not trusts(signed(leaf), issuer)
    assert trusts(signed(leaf), leaf)


def test_a_namesake_of_the_issuer():
    assert not trusts(signed(identity("leaf", identity("root"))), identity("root"))


def test_a_circle_of_issuers_ends():
    one = identity("one")
    two = identity("two", one)
    one = Identity(one.key, identity("one", two).certificate)
    assert not trusts(signed(two, embedded=(one, two)), OTHER)


@pytest.mark.parametrize("year", [1990, 2900])
def test_dates_do_not_matter(year: int):
    """UEFI trusts no clock at boot."""
    signer = identity(year=year)
    assert trusts(signed(signer), signer)


def test_a_changed_image():
    data = bytearray(signed(SIGNER))
    data[data.index(b"code")] ^= 1
    assert not trusts(bytes(data), SIGNER)


def test_a_signature_for_another_image():
    assert not trusts(signed_image(pkcs7(indirect_data(bytes(32)), SIGNER)), SIGNER)


def test_attributes_for_another_content():
    assert not trusts(signed(SIGNER, message_digest=bytes(32)), SIGNER)


def test_a_changed_signature():
    data = bytearray(signed(SIGNER))
    end = len(data) - 1
    while not data[end]:
        end -= 1
    data[end] ^= 1
    assert not trusts(bytes(data), SIGNER)


def test_a_table_with_something_behind_its_rows():
    """EDK II, DxeImageVerificationHandler: then nothing in the image is trusted."""
    assert not trusts(pe.build(SECTIONS, certificates=certificate_table(BLOB) + bytes(4)), SIGNER)


@given(st.lists(st.tuples(st.integers(0, 1 << 20), st.binary(min_size=1, max_size=4)), min_size=1, max_size=3))
def test_mutations_never_crash(changes: list[tuple[int, bytes]]):
    blob = bytearray(BLOB)
    for offset, content in changes:
        at = offset % len(blob)
        blob[at : at + len(content)] = content
    try:
        uki = Uki(pe.open_bytes(signed_image(bytes(blob)), "x"))
    except StubsimError:
        return
    assert trusted_by([SIGNER.certificate])(uki) in (True, False)


def test_is_allowed():
    """sb-unsigned; without --db a certificate table is enough."""
    unsigned, garbage = (Uki(pe.open_bytes(data, "x")) for data in (pe.build(SECTIONS), signed_image(b"garbage")))
    assert is_allowed(unsigned, secure_boot=False, trusted=None)
    assert not is_allowed(unsigned, secure_boot=True, trusted=None)
    assert is_allowed(garbage, secure_boot=True, trusted=None)
    asked = trusted_by([SIGNER.certificate])
    assert not is_allowed(garbage, secure_boot=True, trusted=asked)
    assert is_allowed(Uki(pe.open_bytes(signed(SIGNER), "x")), secure_boot=True, trusted=asked)
    # Where Secure Boot is off nobody is asked.
    assert is_allowed(garbage, secure_boot=False, trusted=asked)


def test_load_image(tmp_path: Path):
    """EDK II looks at the signature before it looks at the machine type."""
    (tmp_path / "foreign.efi").write_bytes(make_pe((".text", b"x"), machine=0xAA64))
    (tmp_path / "signed.efi").write_bytes(signed(SIGNER))
    (tmp_path / "text.efi").write_bytes(b"no PE")
    esp, trusted = Esp(str(tmp_path)), trusted_by([SIGNER.certificate])
    for name in ("foreign", "text"):
        path = f"\\{name}.efi"
        assert load_image(esp, path, "x64", secure_boot=False, trusted=None).status == "EFI_UNSUPPORTED"
        assert load_image(esp, path, "x64", secure_boot=True, trusted=trusted) == (None, "EFI_ACCESS_DENIED")
    image, status = load_image(esp, "\\SIGNED.efi", "x64", secure_boot=True, trusted=trusted)
    assert isinstance(image, Uki)
    assert status is None


@pytest.mark.parametrize(
    ("of", "firmware", "measured", "status"),
    [
        # Addons on OVMF 2022.11, and which of them were in PCR 4.
        (0xAA64, "x64", True, "EFI_UNSUPPORTED"),
        (0x014C, "x64", True, None),
        (0, "x64", False, "EFI_UNSUPPORTED"),
        # By EDK II's source.
        (0x8664, "aa64", False, "EFI_UNSUPPORTED"),
        (0x01C2, "x64", False, "EFI_UNSUPPORTED"),
    ],
)
def test_images_of_other_machines(tmp_path: Path, of: int, firmware: str, measured: bool, status: str | None):
    (tmp_path / "a.efi").write_bytes(make_pe((".cmdline", b"x"), machine=of, certificates=b"signature"))
    found = load_image(Esp(str(tmp_path)), "\\a.efi", firmware, secure_boot=False, trusted=None)
    assert (found.image is not None, found.status) == (measured, status)
    # What the PE loader does not know is not verified.
    found = load_image(Esp(str(tmp_path)), "\\a.efi", firmware, secure_boot=True, trusted=None)
    assert found.status == (status if measured else "EFI_ACCESS_DENIED")


def test_certificate_files():
    assert read_certificates(SIGNER.der, "x") == [SIGNER.certificate]
    assert read_certificates(b"text\n" + SIGNER.pem + OTHER.pem, "x") == [SIGNER.certificate, OTHER.certificate]


@pytest.mark.parametrize("data", [b"", b"x", b"\x30\x00", b"-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----"])
def test_no_certificate(data: bytes):
    with pytest.raises(StubsimError, match=r"^db\.pem: not a certificate") as error:
        read_certificates(data, "db.pem")
    assert error.value.path == "db.pem"


@given(st.binary(max_size=100))
def test_arbitrary_certificate_files(data: bytes):
    with pytest.raises(StubsimError):
        read_certificates(data, "x")


def test_without_the_package(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "cryptography", None)
    with pytest.raises(StubsimError) as error:
        read_certificates(SIGNER.der, "x")
    assert error.value.hint == "pip install cryptography"


# Through the command line


def boot(*arguments: object) -> int:
    from stubsim.cli import main

    return main(["boot", *map(str, arguments), "--format", "json"])


@pytest.mark.parametrize("case", ["sb-addons@262.1", "sb-addons@257.13", "sb-loadopt@262.1", "sb-loadopt@257.13"])
def test_recorded_images(
    shared: Path, case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """Real firmware trusted them by the certificate that is in them; with another one in db it would not have."""
    folder = shared / "golden" / case
    image = load(str(folder / "uki.efi")).image
    (lab,) = signature.parse(signature.entries(image)[0]).certificates
    (tmp_path / "lab.der").write_bytes(lab)
    (tmp_path / "other.pem").write_bytes(OTHER.pem)
    monkeypatch.chdir(folder)
    start = ["uki.efi", "--smbios", "host.json", "--esp", "esp", "--path", "\\EFI\\Linux\\lab.efi"]
    assert boot(*start, "--db", tmp_path / "lab.der") == 0
    addons = sorted(path.name for path in folder.glob("esp/**/*.addon.efi"))
    refused = [line for line in capsys.readouterr().err.splitlines() if "Access denied" in line]
    # b.addon.efi is the one without a signature.
    assert len(refused) == addons.count("b.addon.efi")
    assert boot(*start, "--db", tmp_path / "other.pem") == 1
    assert boot(*start, "--db", tmp_path / "other.pem", "--db", tmp_path / "lab.der") == 0


def test_db_without_secure_boot_is_warned_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "lab.efi").write_bytes(make_pe((".linux", make_pe((".text", bytes(512))))))
    (tmp_path / "host.json").write_text('{"secure_boot": false}')
    (tmp_path / "db.pem").write_bytes(OTHER.pem)
    assert boot(tmp_path / "lab.efi", "--smbios", tmp_path / "host.json", "--db", tmp_path / "db.pem") == 0
    assert "--db is not used" in capsys.readouterr().err


# With a tool that we did not write


def sbsign(oracle: Callable[[str], str], folder: Path, *signers: Identity) -> Path:
    path = folder / "image.efi"
    path.write_bytes(pe.build(SECTIONS))
    for number, signer in enumerate(signers):
        key, certificate, output = (folder / f"{number}.{suffix}" for suffix in ("key", "pem", "efi"))
        key.write_bytes(signer.key_pem)
        certificate.write_bytes(signer.pem)
        command: Sequence[str | Path] = (
            oracle("sbsign"), "--key", key, "--cert", certificate, "--output", output, path,
        )  # fmt: skip
        subprocess.run(command, check=True, capture_output=True, timeout=60)
        path = output
    return path


@pytest.mark.oracle
def test_sbsign(oracle: Callable[[str], str], tmp_path: Path):
    data = sbsign(oracle, tmp_path, SIGNER, OTHER).read_bytes()
    assert len(signature.entries(pe.open_bytes(data, "x"))) == 2
    assert trusts(data, SIGNER)
    assert trusts(data, OTHER)
    assert not trusts(data, identity("signer"))


@pytest.mark.oracle
@pytest.mark.parametrize("changed", [False, True])
def test_sbverify_agrees(oracle: Callable[[str], str], tmp_path: Path, changed: bool):
    """On our own signatures, so that the tests above say something about signatures that others accept."""
    data = bytearray(signed(SIGNER))
    if changed:
        data[data.index(b"code")] ^= 1
    (tmp_path / "image.efi").write_bytes(data)
    (tmp_path / "db.pem").write_bytes(SIGNER.pem)
    command = [oracle("sbverify"), "--cert", tmp_path / "db.pem", tmp_path / "image.efi"]
    good = subprocess.run(command, check=False, capture_output=True, timeout=60).returncode == 0
    assert good is not changed
    assert trusts(bytes(data), SIGNER) is good
