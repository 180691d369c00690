"""`stubsim which`: what leads to a value of a PCR; recorded values are found in the UKI that was recorded."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from stubsim import schemas
from stubsim.formats import eventlog, hwids
from stubsim.formats.pe import SectionSpec
from stubsim.machine.tpm import replay
from stubsim.systemd.release import KNOWN
from tests import samples
from tests.conftest import recordings
from tests.samples import invoke, written

RECORDINGS = [*recordings(), *recordings("golden-aa64")]
EV_IPL = 0xD


@pytest.fixture
def uki(tmp_path: Path) -> Path:
    """Two profiles, and a firmware for one kind of machine."""
    profiles = [
        SectionSpec(".profile", b"ID=main"),
        SectionSpec(".profile", b"ID=other"),
        SectionSpec(".cmdline", b"x"),
    ]
    return written(tmp_path, "x.efi", samples.uki(samples.table((hwids.UEFI_FW, "fw")), samples.firmware(), *profiles))


@pytest.fixture
def host(tmp_path: Path) -> Path:
    return written(tmp_path, "h.json", {"name": "h", "smbios": samples.MACHINE})


def asked(*arguments: str | Path, status: int = 0) -> Any:
    result = invoke("which", *arguments, "--format", "json")
    assert result.status == status, result.err
    jsonschema.validate(result.json, schemas.load("which"))
    return result.json


def measured(*arguments: str | Path) -> Any:
    return invoke("measure", *arguments, "--format", "json").json


def log_of(folder: Path, *arguments: str | Path) -> Path:
    """The log of a boot, as our own view has it."""
    path = folder / "boot.log"
    result = invoke("boot", *arguments, "--format", "eventlog", "-o", path)
    assert result.status == 0, result.err
    return path


def test_profile_phase_and_kind_of_machine(uki: Path):
    for profile, name in ((0, "main"), (1, "other")):
        for row in measured(uki, "--profile", str(profile))["sha256"]:
            (answer,) = asked(uki, "--pcr", f"11={row['hash']}")["asked"]
            (match,) = answer["matches"]
            assert (match["profile"]["index"], match["profile"]["id"]) == (profile, name)
            assert (match["phase"], match["conditions"]) == (row["phase"], row["conditions"])
            # Two profiles, two kinds of machines, and right after the stub beside four phases.
            assert (answer["compared"], match["stub"]) == (20, "262.1")


def test_machines_by_name(uki: Path, host: Path, tmp_path: Path):
    other = written(tmp_path, "other.json", {"name": "other"})
    value = measured(uki, "--smbios", host, "--phase=:")["sha256"][0]["hash"]
    found = asked(uki, "--smbios", host, "--smbios", other, "--pcr", f"11=0x{value.upper()}")
    assert [match["hosts"] for match in found["asked"][0]["matches"]] == [["h"]]
    text = invoke("which", uki, "--smbios", host, "--smbios", other, "--pcr", f"11={value}").out
    assert "profile 0 (main), right after the stub (:), stub 262.1\n      h\n" in text


def test_banks_by_the_length_of_the_value(uki: Path):
    rows = measured(uki, "--bank=sha1", "--bank=sha512", "--phase=:")
    found = asked(uki, *[f"--pcr=11={rows[bank][0]['hash']}" for bank in ("sha1", "sha512")])
    assert [(row["bank"], len(row["matches"])) for row in found["asked"]] == [("sha1", 1), ("sha512", 1)]
    assert len(found["together"]) == 1


def test_several_values_of_one_boot_or_of_none(uki: Path, host: Path):
    first, second = measured(uki, "--smbios", host)["pcrs"]["sha256"], measured(uki, "--loader=none")
    together = asked(uki, "--smbios", host, "--pcr", f"4={first['4']}", "--pcr", f"12={first['12']}")["together"]
    assert [row["profile"]["index"] for row in together] == [0]
    values = {row["hash"]: row["conditions"] for row in second["sha256"] if row["phase"] == "enter-initrd"}
    found = asked(uki, *[f"--pcr=11={value}" for value in values], status=1)
    assert [len(row["matches"]) for row in found["asked"]] == [1, 1]
    assert found["together"] == []
    assert "no boot has all of them together" in invoke("which", uki, *[f"--pcr=11={value}" for value in values]).out


def test_other_stubs(uki: Path, host: Path):
    value = measured(uki, "--smbios", host, "--stub", "257", "--phase=:")["pcrs"]["sha256"]["4"]
    assert not asked(uki, "--smbios", host, "--pcr", f"4={value}", status=1)["asked"][0]["matches"]
    found = asked(uki, "--smbios", host, "--pcr", f"4={value}", "--stub", "262", "--stub", "257")
    assert {row["stub"] for row in found["asked"][0]["matches"]} == {"257.13"}
    assert [row["id"] for row in found["stubs"]] == ["262.1", "257.13"]


def test_none(uki: Path, host: Path):
    result = invoke("which", uki, "--pcr", f"11={'0' * 64}")
    assert (result.status, "none of the 20 values of this UKI" in result.out) == (1, True)
    (answer,) = asked(uki, "--pcr", f"4={'0' * 64}", status=1)["asked"]
    assert answer["compared"] == 0
    assert "nothing tells whether the firmware or a boot loader" in answer["because"][0]
    assert answer["nearest"] is None


def test_the_nearest_by_a_log(uki: Path, host: Path, tmp_path: Path):
    """A machine with another initrd: the boot of the same profile and machine, and the event that is another."""
    other = tmp_path / "other"
    other.mkdir()
    changed = written(other, "x.efi", uki.read_bytes().replace(samples.INITRD, samples.INITRD[::-1]))
    log = log_of(tmp_path, changed, "--smbios", host, "--profile", "other")
    (value,) = measured(changed, "--smbios", host, "--profile", "other", "--phase=:")["sha256"]
    (answer,) = asked(uki, "--pcr", f"11={value['hash']}", "--eventlog", log, status=1)["asked"]
    near = answer["nearest"]
    assert (answer["log_phase"], near["profile"]["id"], near["predicted"]["description"]) == (":", "other", ".initrd")
    assert near["logged"]["digests"]["sha256"] == sha256(samples.INITRD[::-1]).hexdigest()
    assert near["predicted"]["digests"]["sha256"] == sha256(samples.INITRD).hexdigest()
    text = invoke("which", uki, "--pcr", f"11={value['hash']}", "--eventlog", log).out
    assert "it would have to be (event" in text
    assert near["logged"]["digests"]["sha256"] in text


def test_a_log_of_another_boot_is_said(uki: Path, host: Path, tmp_path: Path):
    log = log_of(tmp_path, uki, "--smbios", host)
    values = measured(uki, "--smbios", host)
    for row in values["sha256"]:
        (answer,) = asked(uki, "--pcr", f"11={row['hash']}", "--eventlog", log)["asked"]
        assert (answer["log_phase"], answer["nearest"]) == (row["phase"], None)
    assert "the log leads to another value" in invoke("which", uki, "--pcr", f"11={'0' * 64}", "--eventlog", log).out


def test_a_log_that_ends_or_goes_on(uki: Path, host: Path, tmp_path: Path):
    parsed = eventlog.parse_log(log_of(tmp_path, uki, "--smbios", host).read_bytes())
    zeros = f"11={'0' * 64}"
    image = [event for event in parsed.events if event.pcr == 11]
    short = written(tmp_path, "short.log", eventlog.build(image[:3], ["sha256"]))
    near = asked(uki, "--pcr", zeros, "--eventlog", short, status=1)["asked"][0]["nearest"]
    assert (near["agreed"], near["logged"]) == (3, None)
    more = eventlog.Event(11, EV_IPL, {"sha256": bytes(32)}, b"more\0")
    long = written(tmp_path, "long.log", eventlog.build([*image, more], ["sha256"]))
    near = asked(uki, "--pcr", zeros, "--eventlog", long, status=1)["asked"][0]["nearest"]
    assert (near["agreed"], near["predicted"]) == (len(image), None)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("11", "not a value of a PCR"), ("11=", "not a value of a PCR"), ("11=0g", "not a value of a PCR"),
        ("11=00", "not a value of a PCR"), ("7=" + "0" * 64, "one of the PCRs 4, 9, 11, 12, 13"),
        ("x=" + "0" * 64, "one of the PCRs"), ("\u00b211=" + "0" * 64, "one of the PCRs"),
    ],
)  # fmt: skip
def test_wrong_values(uki: Path, given: str, told: str):
    result = invoke("which", uki, "--pcr", given)
    assert (result.status, told in result.err, len(result.lines)) == (2, True, 1)


def test_a_log_without_the_bank(uki: Path, host: Path, tmp_path: Path):
    result = invoke("which", uki, "--pcr", f"11={'0' * 40}", "--eventlog", log_of(tmp_path, uki, "--smbios", host))
    assert (result.status, "no sha1 bank" in result.err) == (2, True)


def test_an_image_of_another_program_is_not_simulated(tmp_path: Path):
    path = written(tmp_path, "x.efi", samples.uki(stub="lanzastub 1"))
    assert invoke("which", path, "--pcr", f"11={'0' * 64}").status == 1


@pytest.mark.skipif(not RECORDINGS, reason="no recordings (STUBSIM_SHARED)")
def test_recorded_values_are_found(monkeypatch: pytest.MonkeyPatch):
    """The value that the machine had, without the machine; every 40th recording."""
    for folder in RECORDINGS[::40]:
        expected, start = (json.loads((folder / f"{name}.json").read_text()) for name in ("expect", "boot"))
        if expected["outcome"] == "kernel-started" and expected["pcrs"]:
            monkeypatch.chdir(folder)
            found = asked("uki.efi", "--pcr", f"11={expected['pcrs']['11']}", *start["args"])
            assert found["asked"][0]["matches"], folder.name
            value = replay(eventlog.parse(bytes.fromhex(expected["eventlog"])))["sha256"][11].hex()
            assert value == expected["pcrs"]["11"]


def test_the_stubs_of_every_release(uki: Path):
    """Those that lead to the value, in words, and apart by the machines on which they do."""
    value = measured(uki, "--phase", ":", "--profile", "0", "--stub", "262")["sha256"][0]["hash"]
    result = invoke("which", uki, "--pcr", f"11={value}", "--stub", "all")
    assert result.status == 0
    assert [text.partition(", stub ")[2] for text in result.out.splitlines() if "profile 0" in text] == [
        "257 to 260.2, 261.0",
        "260.3, 260.4, 261.1 to 262",
    ]
    report = asked(uki, "--pcr", f"11={value}", "--stub", "all")
    releases = [name for row in report["stubs"] for name in row["releases"]]
    assert len(releases) == len(set(releases)) == len(KNOWN)
    assert asked(uki, "--pcr", f"11={value}")["stubs"][0]["releases"] is None
