"""`stubsim entries`; the order and the rules are tested in tests/loader."""

from __future__ import annotations

import json
from pathlib import Path

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


def test_no_loader(tmp_path: Path):
    assert run(["entries", "--esp", str(tmp_path)]) == 2
