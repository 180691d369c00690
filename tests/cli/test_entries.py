"""`stubsim entries`; the order and the rules are tested in tests/loader."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from stubsim import schemas
from stubsim.cli.run import run
from tests.loader.test_run import esp_of


def test_entries(tmp_path: Path):
    esp, out = esp_of(tmp_path), tmp_path / "out"
    (esp / "loader/entries/broken.conf").write_bytes(b"linux /nothing\n")
    assert run(["entries", "--esp", str(esp), "--format", "json", "-o", str(out)]) == 0
    report = json.loads(out.read_text())
    Draft202012Validator(schemas.load("entries")).validate(report)
    rows = [(row["id"], row["load_options"], row["default"]) for row in report["entries"]]
    assert rows[:2] == [("lab.efi", None, True), ("lab.efi@b", "@1", False)]
    assert [row["why"] for row in report["hidden"]] == ["\\nothing does not exist"]
    assert run(["entries", "--esp", str(esp), "-o", str(out)]) == 0
    assert "* lab.efi: lab 1" in out.read_text()


@pytest.mark.parametrize(
    ("version", "unknown", "said"),
    [
        ("257.13", [], []),
        ("257.13", ["variables"], ["which entry is the default"]),
        ("257.13", ["smbios"], ["what is appended to the load options of kernels from SMBIOS"]),
        (
            "262.1",
            ["smbios.oem_strings"],
            ["whether there are entries from SMBIOS", "what is appended to the load opti"],
        ),
        ("254.26", ["smbios", "secure_boot"], []),
        ("262.1", ["confidential"], []),
    ],
)
def test_what_hangs_on_the_unknown(tmp_path: Path, version: str, unknown: list[str], said: list[str]):
    esp, out, host = esp_of(tmp_path, version), tmp_path / "out", tmp_path / "host.json"
    host.write_text(json.dumps({"schema": "stubsim/host/1", "unknown": unknown}))
    assert run(["entries", "--esp", str(esp), "--smbios", str(host), "--format", "json", "-o", str(out)]) == 0
    found = json.loads(out.read_text())["unknown"]
    assert [line[: len(text)] for line, text in zip(found, said, strict=True)] == said
    assert run(["entries", "--esp", str(esp), "--smbios", str(host), "-o", str(out)]) == 0
    assert out.read_text().count("not known: ") == len(said)


def test_no_loader(tmp_path: Path):
    assert run(["entries", "--esp", str(tmp_path)]) == 2
