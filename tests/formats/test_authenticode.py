"""The Authenticode digest, against what firmware measured and what signing tools calculate."""

from __future__ import annotations

import datetime
import json
import re
import shutil
import subprocess
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stubsim.errors import StubsimError
from stubsim.formats import authenticode, pe, pe_memory
from stubsim.formats.pe import SectionSpec

DATA = pe.build([SectionSpec(".a", b"1" * 700), SectionSpec(".b", b"2" * 30)])
CHECKSUM = 0x58 + 64
DIRECTORY = 0x58 + 112 + 4 * 8


def test_what_is_hashed():
    expected = DATA[:CHECKSUM] + DATA[CHECKSUM + 4 : DIRECTORY] + DATA[DIRECTORY + 8 :]
    assert authenticode.digest(DATA) == sha256(expected).digest()
    assert authenticode.digest(pe.open_bytes(DATA, "x"), "sha256") == sha256(expected).digest()


def test_checksum_and_certificates_do_not_count():
    changed = bytearray(pe.build([SectionSpec(".a", b"1" * 700), SectionSpec(".b", b"2" * 30)], certificates=bytes(64)))
    changed[CHECKSUM : CHECKSUM + 4] = b"abcd"
    assert authenticode.digest(changed) == authenticode.digest(DATA)
    changed[0x30] ^= 1
    assert authenticode.digest(changed) != authenticode.digest(DATA)


def test_sections_count_by_their_place_in_the_file():
    """The order of the table is in the hashed headers; the data follow by their raw offset."""
    data = bytearray(DATA)
    table = 0x58 + 240
    data[table : table + 80] = data[table + 40 : table + 80] + data[table : table + 40]
    body = bytes(data)
    expected = body[:CHECKSUM] + body[CHECKSUM + 4 : DIRECTORY] + body[DIRECTORY + 8 :]
    assert authenticode.digest(body) == sha256(expected).digest()


def test_trailing_data_count():
    assert authenticode.digest(DATA + b"tail") != authenticode.digest(DATA)


def test_a_certificate_table_over_the_sections():
    data = bytearray(DATA)
    data[DIRECTORY : DIRECTORY + 8] = (512).to_bytes(4, "little") + (len(DATA) - 512).to_bytes(4, "little")
    with pytest.raises(StubsimError, match="overlaps"):
        authenticode.digest(bytes(data))


def test_sections_over_each_other():
    """Each of them as large as the file: hashing them would take as many times as long."""
    data = bytearray(DATA)
    first = int.from_bytes(data[0x58 + 240 + 20 : 0x58 + 240 + 24], "little")
    for row in (0x58 + 240, 0x58 + 280):
        data[row + 16 : row + 24] = (len(data) - first).to_bytes(4, "little") + first.to_bytes(4, "little")
    with pytest.raises(StubsimError, match="overlap in the file"):
        authenticode.digest(bytes(data))


def test_firmware_measured_the_same(shared: Path):
    """PCR 4 of every recording has the UKI's digest; 257.13 starts the kernel by LoadImage(), its is the last."""
    images = kernels = 0
    for path in sorted(shared.glob("golden*/*@*/expect.json")):
        recording = json.loads(path.read_text())
        events = recording.get("pcr4_events")
        # Where the stub's own code is blanked in the file, its digest is another one.
        if not events or "not_comparable" in (path.with_name("boot.json")).read_text():
            continue
        image = pe.open_image(str(path.with_name("uki.efi")))
        assert authenticode.digest(image).hex() in events, path
        images += 1
        # With Secure Boot the stub vouches for the kernel itself, and this firmware does not measure it then.
        if path.parent.name.endswith("@257.13") and not path.parent.name.startswith("sb-"):
            section = next(each for each in image.sections if each.name == ".linux" and each.virtual_size)
            kernel = pe.open_bytes(pe_memory.section_data(image, section), ".linux")
            # A driver goes into PCR 2.
            is_last = authenticode.digest(kernel).hex() == events[-1]
            assert is_last == (kernel.subsystem == pe.APPLICATION), path
            kernels += 1
    assert images > 100
    assert kernels > 30


def test_firmware_measured_the_addons(shared: Path):
    """The stub opens an addon by LoadImage(), which measures it whether or not the stub uses it afterwards."""
    recording = json.loads((shared / "golden/addon-order-mixed@262.1/expect.json").read_text())
    addons = (shared / "golden/addon-order-mixed@262.1/esp").glob("**/*.addon.efi")
    digests = {authenticode.digest(pe.open_image(str(addon))).hex() for addon in addons}
    assert len(digests) == 2
    assert digests < set(recording["pcr4_events"])


def key_and_certificate(folder: Path) -> tuple[Path, Path]:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "stubsim test")])
    start = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, start, start.replace(year=2120))
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "key.pem").write_bytes(private)
    certificate = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    (folder / "certificate.pem").write_bytes(certificate)
    return folder / "key.pem", folder / "certificate.pem"


@pytest.mark.parametrize("algorithm", ["sha256", "sha384"])
def test_osslsigncode_calculates_the_same(tmp_path: Path, algorithm: str):
    tool = shutil.which("osslsigncode")
    if not tool:
        pytest.skip("no osslsigncode")
    key, certificate = key_and_certificate(tmp_path)
    source, signed = tmp_path / "a.efi", tmp_path / "b.efi"
    source.write_bytes(DATA)
    sign = [tool, "sign", "-h", algorithm, "-key", key, "-certs", certificate, "-in", source, "-out", signed]
    subprocess.run(sign, check=True, capture_output=True, timeout=60)
    verify = subprocess.run([tool, "verify", "-in", signed], check=False, capture_output=True, text=True, timeout=60)
    found = re.search(r"Calculated message digest\s*:\s*([0-9A-F]+)", verify.stdout)
    assert found, verify.stdout
    image = pe.open_image(str(signed))
    assert image.certificate_table[1] > 0
    assert authenticode.digest(image, algorithm).hex() == found[1].lower()
    assert authenticode.digest(DATA, algorithm) == authenticode.digest(image, algorithm)


def test_pesign_calculates_the_same(tmp_path: Path):
    tool = shutil.which("pesign")
    if not tool:
        pytest.skip("no pesign")
    path = tmp_path / "a.efi"
    path.write_bytes(DATA)
    output = subprocess.run([tool, "-h", "-i", path], check=True, capture_output=True, text=True, timeout=60).stdout
    assert authenticode.digest(DATA).hex() in output


@given(st.lists(st.tuples(st.integers(0, 0x58 + 320), st.binary(min_size=1, max_size=6)), max_size=4))
def test_mutated_images(changes: list[tuple[int, bytes]]):
    data = bytearray(DATA)
    for offset, content in changes:
        data[offset : offset + len(content)] = content
    try:
        assert len(authenticode.digest(bytes(data))) == 32
    except StubsimError:
        return


@given(st.binary(max_size=300))
def test_arbitrary_bytes(data: bytes):
    with pytest.raises(StubsimError):
        authenticode.digest(data)
