"""`stubsim inspect`: on every recorded UKI, and never against what the real stub was seen to do with it."""

from __future__ import annotations

import hashlib
import json
import time
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from jsonschema import Draft202012Validator

from stubsim import schemas
from stubsim.formats import hwids, pe
from stubsim.formats.pe import SectionSpec
from tests.conftest import recordings
from tests.samples import FIRMWARE_UKI, FULL_UKI, Result, execute, invoke, uki, written
from tests.strategies import mutated

RECORDINGS = recordings()
INSPECT = Draft202012Validator(schemas.load("inspect"))
ERROR = Draft202012Validator(schemas.load("error"))
recorded = pytest.mark.skipif(not RECORDINGS, reason="no recordings (STUBSIM_SHARED)")


@cache
def inspected(folder: Path) -> Any:
    result = invoke("inspect", folder / "uki.efi", "--format", "json")
    assert result.status == 0
    value = result.json
    INSPECT.validate(value)
    assert len(result.lines) == len(value["warnings"])
    return value


@cache
def expected(folder: Path) -> Any:
    return json.loads((folder / "expect.json").read_text())


@recorded
def test_every_recorded_uki():
    for folder in RECORDINGS:
        value = inspected(folder)
        release = folder.name.rpartition("@")[2]
        assert value["model"]["id"] == (release if "." in release else f"{release}.0")
        assert value["model"]["verified"]
        text = invoke("inspect", folder / "uki.efi")
        assert text.status == 0
        assert "systemd-stub" in text.out
        assert all(len(line) <= 80 for line in text.out.splitlines() if str(folder) not in line)


def is_among(release: str, runs: list[str]) -> bool:
    """Whether a point release is in runs such as "257" and "260.3 to 261"."""

    def number(text: str) -> list[int]:
        return [int(part) for part in text.split(".")]

    own = number(release)
    ends = [(number(run.split(" to ")[0]), number(run.split(" to ")[-1])) for run in runs if run[0].isdigit()]
    return any(first <= own and own[: len(last)] <= last for first, last in ends)


@recorded
def test_what_is_never_selected_never_was():
    told = 0
    for folder in RECORDINGS:
        selection = expected(folder)["selection"] or {}
        chosen = selection.get("efifw") or []
        for warning in inspected(folder)["warnings"]:
            if "never selected" in warning or "silently never used" in warning:
                told += 1
                assert not any(f".efifw (section {index})" in warning for index in chosen), folder.name
    assert told > 10


@recorded
def test_a_refused_table_was_refused():
    """Both ways: the stub complained of exactly the tables that inspect says it refuses."""
    refusals = 0
    for folder in RECORDINGS:
        value, real = inspected(folder), expected(folder)
        if not value["hwids"] or real["outcome"] == "undefined":
            continue
        host = json.loads((folder / "host.json").read_text())
        if not host["console"]["serial"] or host.get("devicetree"):
            continue
        complaints = [m for m in real["messages"] if "Unsupported" in m or "Invalid parameter" in m]
        refused = is_among(value["model"]["id"], value["hwids"][0]["refused_by"])
        assert refused == bool([m for m in complaints if "selected" in m]), folder.name
        if refused:
            refusals += 1
            selection = real["selection"]
            assert selection["dtbauto"] is selection["efifw"] is None
    assert refusals


@recorded
def test_the_digests_are_those_the_stub_measured():
    for folder in RECORDINGS:
        measured = expected(folder)["measurements"] or []
        linux = [event for event in measured if event["description"] == ".linux" and event["pcr"] == 11]
        if linux:
            known = {row["sha256"] for row in inspected(folder)["sections"] if row["name"] == ".linux"}
            assert any(event["digests"].get("sha256") in known for event in linux), folder.name


def test_all_of_a_uki(tmp_path: Path):
    path = written(tmp_path, "uki.efi", FULL_UKI)
    result = execute("inspect", path, "--format", "json")
    assert result.status == 0
    value = result.json
    INSPECT.validate(value)
    assert value["uki"]["sha256"] == hashlib.sha256(FULL_UKI).hexdigest()
    assert value["uki"]["stub"] == {"name": "systemd-stub", "version": "262.1-1"}
    assert [row["profile"] for row in value["sections"]] == [None] * 9 + [0, 1, 1]
    assert [(row["id"], row["title"], row["sections"]) for row in value["profiles"]] == [
        ("main", "Main", [9]),
        ("rescue", None, [10, 11]),
    ]
    assert [row["type"] for row in value["hwids"][0]["entries"]] == ["devicetree", "uefi-fw"]
    assert value["hwids"][0]["refused_by"] == ["257"]
    assert [row["fwid"] for row in value["efifw"]] == ["other", "fw"]
    assert result.lines == [f"stubsim: warning: {path}: {text}" for text in value["warnings"]]
    assert value["warnings"] == [".efifw (section 7): no entry of .hwids names its fwid 'other'; never selected"]


def test_output_and_options(tmp_path: Path):
    path, target = written(tmp_path, "uki.efi", FIRMWARE_UKI), tmp_path / "out"
    for style in ("text", "json"):
        shown = invoke("inspect", path, "--format", style)
        assert (shown.status, shown.err) == (0, "")
        assert invoke("inspect", "-o", target, "--format", style, path).out == ""
        assert target.read_text() == shown.out


def test_an_addon_is_inspected(tmp_path: Path):
    path = written(tmp_path, "x.addon.efi", pe.build([SectionSpec(".cmdline", b"quiet")]))
    result = invoke("inspect", path)
    assert result.status == 0
    assert result.lines == [
        f"stubsim: warning: {path}: the file is an addon, not a UKI: it has no .linux: "
        "give the UKI, with --esp for the tree that has the addon beside it or in loader/addons"
    ]


def test_sections_that_add_up_to_far_more_than_the_file(tmp_path: Path):
    """Thousands of rows for the same bytes, and gigabytes of zeros: no row is looked at for ever."""
    count = 3000
    data = bytearray(uki(*[SectionSpec(".efifw", b"x")] * count, size_of_image=0xFFFFF000))
    rows = [row for row in pe.open_bytes(bytes(data), "").sections if row.name == ".efifw"]
    for row in rows:
        # VirtualSize, VirtualAddress, SizeOfRawData, PointerToRawData
        for at, number in (
            (8, 0x40000000),
            (12, 0x200000),
            (16, rows[-1].raw_offset - rows[0].raw_offset),
            (20, rows[0].raw_offset),
        ):
            data[row.header_offset + at : row.header_offset + at + 4] = number.to_bytes(4, "little")
    path = written(tmp_path, "uki.efi", bytes(data))
    start = time.process_time()
    result = invoke("inspect", path, "--format", "json")
    assert time.process_time() - start < 10
    assert result.status == 0
    assert "no Authenticode digest" in result.err
    assert any(row["sha256"] is None for row in result.json["sections"])


def test_a_large_table_takes_no_square_time(tmp_path: Path):
    """Every entry names the section's last bytes: nothing is searched or copied for each entry anew."""
    count = 30_000
    end = (count + 1) * hwids.ENTRY_SIZE
    entry = (0x2000001C).to_bytes(4, "little") + b"\7" * 16 + end.to_bytes(4, "little") * 2
    table = entry * count + bytes(hwids.ENTRY_SIZE) + b"fw\0"
    path = written(tmp_path, "uki.efi", uki(SectionSpec(".hwids", table)))
    host = written(tmp_path, "host.json", {})
    start = time.process_time()
    assert invoke("inspect", path).status == 0
    assert invoke("boot", path, "--smbios", host, "--format", "json").status == 0
    assert time.process_time() - start < 20


def survives(result: Result, path: Path) -> None:
    assert result.status in (0, 2), result.err
    assert all(line.startswith(("stubsim: warning: ", "stubsim: error: ")) for line in result.lines)
    assert all(str(path) in line for line in result.lines)
    (INSPECT if result.status == 0 else ERROR).validate(result.json)


ROWS = pe.open_bytes(FULL_UKI, "").sections
PLACES = [
    *range(0x3C, ROWS[-1].header_offset + 40),
    *(at for row in ROWS for at in range(row.raw_offset, row.raw_offset + 96, 4)),
]


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=mutated(FULL_UKI, places=PLACES))
def test_a_mutated_uki(tmp_path: Path, data: bytes):
    path = written(tmp_path, "mutated.efi", data)
    survives(invoke("inspect", path, "--format", "json"), path)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=mutated(FULL_UKI, places=PLACES))
def test_a_mutated_uki_as_text(tmp_path: Path, data: bytes):
    result = invoke("inspect", written(tmp_path, "mutated.efi", data))
    assert result.status in (0, 2)
    assert (result.out == "") == (result.status == 2)
    assert all(text.isprintable() for text in result.out.splitlines())


def test_contents_and_digests_are_shown(tmp_path: Path):
    image = written(tmp_path, "uki.efi", FULL_UKI)
    report = invoke("inspect", image, "--format", "json").json
    texts = {row["name"]: row["text"] for row in report["sections"] if row["profile"] is None}
    assert (texts[".cmdline"], texts[".osrel"]) == ("quiet", "ID=example\nVERSION_ID=1\n")
    assert texts[".linux"] is None
    text = invoke("inspect", image).out
    for row in report["sections"]:
        assert f"{row['index']:>3} {row['name']:<9} {row['sha256']}\n" in text
        for line in (row["text"] or "").splitlines():
            assert line in text


@pytest.mark.parametrize("to_file", [False, True])
def test_a_section_is_taken_out(tmp_path: Path, to_file: bool):
    image, out = written(tmp_path, "uki.efi", FULL_UKI), tmp_path / "out"
    row = next(row for row in invoke("inspect", image, "--format", "json").json["sections"] if row["name"] == ".osrel")
    for name in (".osrel", str(row["index"])):
        result = execute("inspect", image, "--section", name, *(["-o", out] if to_file else []))
        assert (result.status, result.err) == (0, "")
        assert (out.read_text() if to_file else result.out) == row["text"]


def test_a_section_that_is_not_there_or_there_twice(tmp_path: Path):
    image = written(tmp_path, "uki.efi", FULL_UKI)
    missing = invoke("inspect", image, "--section", ".lnux")
    assert (missing.status, "expected one of .sdmagic" in missing.err) == (2, True)
    several = invoke("inspect", image, "--section", ".profile")
    assert (several.status, "one of the numbers" in several.err) == (2, True)


def test_what_is_said_of_several_sections_is_said_once(tmp_path: Path):
    trees = [SectionSpec(".dtbauto", b"no tree")] * 3
    report = invoke("inspect", written(tmp_path, "uki.efi", uki(*trees)), "--format", "json").json
    (text,) = [text for text in report["warnings"] if text.startswith(".dtbauto")]
    numbers = [str(row["index"]) for row in report["sections"] if row["name"] == ".dtbauto"]
    assert text.startswith(f".dtbauto (sections {', '.join(numbers)})")
