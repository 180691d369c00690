"""`stubsim verify-pcrsig`: exit status, both formats."""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from scripts import build_fixtures
from stubsim import schemas
from stubsim.formats.pe import SectionSpec
from tests import samples
from tests.samples import invoke, written

SCHEMA = Draft202012Validator(schemas.load("verify-pcrsig"))


def report(*arguments: str | Path, status: int) -> Any:
    result = invoke("verify-pcrsig", *arguments, "--format", "json")
    assert result.status == status, result.err
    SCHEMA.validate(result.json)
    return result.json


@pytest.fixture
def signed(tmp_path: Path) -> Path:
    return written(tmp_path, "signed.efi", build_fixtures.signed())


def test_all_is_signed(signed: Path, host: Path):
    found = report(signed, status=0)
    assert (found["complete"], found["missing"], found["faults"]) == (True, [], [])
    assert [row["status"] for row in found["signatures"]] == ["holds"] * 4
    assert report(signed, "--smbios", host, status=0)["profiles"][0]["values"][0]["hosts"] == [str(host)]
    text = invoke("verify-pcrsig", signed).out
    assert all(row["pol"] in text for row in found["signatures"])
    assert "every value has a signature that holds" in text
    assert all(len(line) <= 100 for line in text.splitlines() if "keys:" not in line)


def test_a_bank_and_a_phase_that_are_not(signed: Path):
    (missing,) = report(signed, "--bank", "sha384", "--bank", "sha256", "--phase", "enter-initrd", status=1)["missing"]
    assert (missing["bank"], missing["phase"]) == ("sha384", "enter-initrd")
    (missing,) = report(signed, "--phase", "enter-initrd", "--phase", ":", status=1)["missing"]
    assert missing["phase"] == ":"
    assert "profile 0, sha256 at :" in invoke("verify-pcrsig", signed, "--phase", ":").out


def test_machines_are_named(tmp_path: Path, host: Path):
    image = written(tmp_path, "x.efi", samples.FIRMWARE_UKI)
    (missing,) = report(image, "--smbios", host, status=1)["missing"]
    assert (missing["hosts"], missing["bank"]) == ([str(host)], None)
    assert str(host) in invoke("verify-pcrsig", image, "--smbios", host).out.replace("\n      ", "")


def test_what_cannot_be_read_of_it(tmp_path: Path):
    image = written(tmp_path, "x.efi", samples.uki(SectionSpec(".pcrsig", b'{"sha256": [\x1b')))
    found = report(image, status=1)
    assert found["faults"] == [".pcrsig (section 5): offset 0xc: Expecting value"]
    assert "fault: .pcrsig (section 5)" in invoke("verify-pcrsig", image).out


def test_texts_of_the_file_are_cleaned(tmp_path: Path):
    rows = b'{"sha\\u001b[2J256": [{"pcrs": [11], "pkfp": "00", "pol": "00", "sig": "AA==", "ref": "\\u001b\\ud800"}]}'
    image = written(tmp_path, "x.efi", samples.uki(SectionSpec(".pcrsig", rows)))
    assert report(image, status=1)["signatures"][0]["status"] == "unknown"
    assert "\x1b" not in invoke("verify-pcrsig", image).out


def test_another_stub(tmp_path: Path):
    image = written(tmp_path, "x.efi", samples.uki(stub="lanzastub 1"))
    result = invoke("verify-pcrsig", image)
    assert result.status == 1
    assert "not simulated" in result.err
    report(image, status=1)


def test_no_kernel(tmp_path: Path):
    image = written(tmp_path, "x.efi", samples.uki(SectionSpec(".pcrsig", b"{}"), linux=None))
    (missing,) = report(image, status=1)["missing"]
    assert missing["phase"] is None


def test_keys(tmp_path: Path, signed: Path):
    key = written(tmp_path, "key.pem", build_fixtures.SIGNING_KEY)
    assert len(report(signed, "--public-key", key, status=0)["profiles"][0]["keys"]) == 2
    for path, why in ((written(tmp_path, "no.pem", b"x"), "not a public key"), (tmp_path / "none", "No such file")):
        result = invoke("verify-pcrsig", signed, "--public-key", path)
        assert (result.status, result.out) == (2, "")
        assert str(path) in result.err
        assert why in result.err


def test_without_cryptography(monkeypatch: pytest.MonkeyPatch, signed: Path):
    real = builtins.__import__

    def absent(name: str, *rest: Any) -> Any:
        if name.startswith("cryptography"):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", absent)
    result = invoke("verify-pcrsig", signed)
    assert (result.status, result.out) == (2, "")
    assert "pip install cryptography" in result.err
