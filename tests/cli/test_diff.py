"""`stubsim diff`: neighbouring recordings compared with what `boot` says of them, and the rules of the call."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from stubsim import schemas
from tests.conftest import recordings
from tests.samples import FULL_UKI, MACHINE, Result, execute, invoke, uki, written

RECORDINGS = recordings()
SCHEMA = Draft202012Validator(schemas.load("diff"))


def compared(*arguments: str | Path) -> tuple[Any, Result]:
    result = invoke("diff", *arguments, "--format", "json")
    SCHEMA.validate(result.json)
    assert result.status == (0 if result.json["equal"] else 1)
    assert result.json["equal"] == (result.json["differing"] == [])
    return result.json, result


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return written(tmp_path, "uki.efi", FULL_UKI)


@pytest.fixture
def other(tmp_path: Path) -> Path:
    return written(tmp_path, "other.json", MACHINE | {"product_sku": "SKU-2"})


@pytest.mark.parametrize("pair", [*pairwise(RECORDINGS)][::3], ids=lambda pair: f"{pair[0].name}-{pair[1].name}")
def test_neighbouring_recordings(pair: tuple[Path, Path]):
    """Both UKIs on both machines; what the two boots say of themselves, by their own JSON."""
    esp = ("--esp", pair[0] / "esp")
    words = [pair[0] / "uki.efi", pair[1] / "uki.efi"]
    machines = [word for folder in pair for word in ("--smbios", folder / "host.json")]
    report, _ = compared(*words, *machines, *esp)
    a, b = (
        invoke("boot", folder / "uki.efi", "--smbios", folder / "host.json", *esp, "--format", "json").json
        for folder in pair
    )
    differs = set(report["differing"])
    assert report["varies"] == ["uki", "host"]
    for part in ("outcome", "cmdline"):
        assert (part in differs) == (a[part] != b[part])
    assert ("initrd" in differs) == (whole(a) != whole(b))
    banks = set(a["pcrs"]) & set(b["pcrs"])
    pcrs = {int(pcr) for bank in banks for pcr in a["pcrs"][bank] if a["pcrs"][bank][pcr] != b["pcrs"][bank].get(pcr)}
    assert pcrs <= {row["pcr"] for row in report["measurements"]}
    chosen = [
        {
            kind: row and row.get("fwid", row.get("compatible"))
            for kind, row in boot["selection"].items()
            if kind != "reasons"
        }
        for boot in (a, b)
    ]
    if "selection" not in differs:
        assert chosen[0] == chosen[1]
    text = invoke("diff", *words, *machines, *esp)
    assert all(line.isprintable() and len(line) <= 80 for line in text.out.splitlines())


def whole(boot: Any) -> Any:
    return boot["initrd"] and (boot["initrd"]["size"], boot["initrd"]["sha256"])


@pytest.mark.skipif(not RECORDINGS, reason="no recordings (STUBSIM_SHARED)")
def test_every_recording_is_equal_to_itself():
    for folder in RECORDINGS[::5]:
        report, result = compared(folder / "uki.efi", folder / "uki.efi", "--smbios", folder / "host.json")
        assert (report["differing"], result.status) == ([], 0), folder.name


def test_what_varies(tmp_path: Path, image: Path, host: Path, other: Path):
    report, _ = compared(image, "--smbios", host, "--smbios", other)
    assert report["varies"] == ["host"]
    assert report["machine"]["strings"] == [
        {
            "field": "product_sku",
            "a": {"hashed": "SKU", "unknown": False},
            "b": {"hashed": "SKU-2", "unknown": False},
        }
    ]
    assert report["machine"]["same_chids"] == [8, 10, 5, 9, 11]
    assert not report["selection"]["uefi-fw"]["same"]
    report, _ = compared(image, image, "--smbios", host)
    assert (report["varies"], report["equal"]) == (["uki"], True)
    report, _ = compared(image, "--smbios", host, "--profile", "0", "--profile", "1", "--stub", "257", "--stub", "262")
    assert report["varies"] == ["stub", "profile"]
    assert report["cmdline"] == {
        "a": "quiet",
        "b": "rescue",
        "words": [{"change": "removed", "text": "quiet"}, {"change": "added", "text": "rescue"}],
    }
    report, _ = compared(image, "--smbios", host, "--cmdline", "a", "--cmdline", "b")
    assert [(row["pcr"], row["what"]) for row in report["measurements"]] == [
        (12, "A measures 'a' where B measures 'b'")
    ]


def test_rows_of_the_stub(image: Path, host: Path):
    """What changed between two releases, where it changes this boot; with how that is known."""
    words = (image, "--smbios", host, "--stub", "260.2", "--stub", "260.3")
    report, _ = compared(*words)
    (row,) = report["stub_changes"]
    assert row["name"] == "firmware-selection"
    assert (row["side"], row["since"], row["alone"]) == ("b", ["260.3", "261.1", "262.0"], True)
    assert row["changes"]["selection"] == [".efifw"]
    assert (row["basis"], row["reference"]) == ("recorded", "efifw-both@260.4")
    assert [*row["changes"]] == [part for part in report["differing"] if part in row["changes"]]
    text = " ".join(invoke("diff", *words).out.split())
    assert "only B 260.3, 261.1, 262.0: .efifw is selected by .hwids and measured" in text
    assert "(recorded: efifw-both@260.4): what is chosen, sections (.efifw), measurements (PCR 11)" in text
    report, _ = compared(image, "--smbios", host, "--stub", "261.2", "--stub", "257", "--cmdline", "a")
    assert {row["side"] for row in report["stub_changes"]} == {"a"}


def test_without_rows_of_the_stub(image: Path, host: Path, other: Path):
    for words, rows in (
        (["--stub", "262", "--stub", "262.1"], []),
        (["--stub", "262", "--stub", "next"], None),
        (["--smbios", other], []),
    ):
        report, _ = compared(image, "--smbios", host, *words)
        assert report["stub_changes"] == rows, words


def test_as_a_program_and_into_a_file(tmp_path: Path, image: Path, host: Path, other: Path):
    result = execute("diff", image, "--smbios", host, "--smbios", other)
    assert (result.status, result.err) == (1, "")
    assert result.out.startswith("different: what is chosen")
    result = execute("diff", image, image, "--smbios", host)
    assert (result.status, result.err) == (0, "")
    assert result.out.startswith("the two boots are equal")
    target = tmp_path / "diff.json"
    assert invoke("diff", image, "--smbios", host, "--smbios", other, "--format", "json", "-o", target).status == 1
    SCHEMA.validate(json.loads(target.read_text()))


def test_boots_that_fail(tmp_path: Path, image: Path, host: Path):
    """The same failure twice is equal; one that fails and one that does not are different."""
    bad = written(tmp_path, "bad.efi", uki(linux=None))
    report, _ = compared(bad, bad, "--smbios", host)
    assert report["equal"]
    report, result = compared(image, bad, "--smbios", host)
    assert report["outcome"][0]["b"]["status"] == "failed"
    assert "Image lacks .linux section." in invoke("diff", image, bad, "--smbios", host).out
    assert result.err == ""


def test_a_missing_partition_is_told_once(tmp_path: Path, image: Path, host: Path):
    missing = tmp_path / "missing"
    for words in ([image, image, "--esp", missing], [image, "--esp", missing, "--esp", tmp_path / "no"]):
        result = invoke("diff", *words, "--smbios", host)
        assert (result.status, result.out, len(result.lines)) == (2, "", 1)
        assert str(missing) in result.err


def test_wrong_calls(image: Path, host: Path):
    for words, text in (
        ([image, "--smbios", host], "nothing to compare"),
        ([image] * 3 + ["--smbios", host], "3 times UKI (expected once for both boots, or twice)"),
        ([image, "--smbios", host, "--stub", "257", "--stub", "262", "--stub", "256"], "3 times --stub"),
        ([image, image], "--smbios"),
        (["--smbios", host, "--smbios", host], "UKI"),
        ([image, "--smbios", host, "--stub", "262", "--stub", "grub"], "grub"),
        ([image, "--smbios", host, "--profile", "0", "--profile", "other"], "other"),
        ([image, "--smbios", host, "--cmdline", "a", "--shell", "b"], "--shell"),
    ):
        result = invoke("diff", *words)
        assert (result.status, result.out, len(result.lines)) == (2, "", 1), words
        assert text in result.err
