"""`stubsim dialects`: what each hand-over is, by its own words."""

from __future__ import annotations

from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from stubsim import handover, schemas
from stubsim.formats.vmfwupdate import FILES
from tests.samples import execute, invoke

SCHEMA = Draft202012Validator(schemas.load("dialects"))


def test_json():
    result = invoke("dialects", "--format", "json")
    assert (result.status, result.err) == (0, "")
    SCHEMA.validate(result.json)
    rows = {row["name"]: row for row in result.json["dialects"]}
    assert [*rows] == ["qemu-v5", "spec", "fuki-2024", "capsule"] == [*handover.DIALECTS]
    for name, row in rows.items():
        assert [file["name"] for file in row["files"]] == [file.name for file in FILES.get(name, ())]
        assert row["decisions"]
        assert row["source"]
        assert row["revision"]
    assert all("no released stub" in rows[name]["status"] for name in ("qemu-v5", "capsule"))


def test_text_says_what_the_json_says():
    report = invoke("dialects", "--format", "json").json
    result = invoke("dialects")
    assert result.status == 0
    assert all(len(line) <= 80 for line in result.out.splitlines())
    text = "".join(result.out.split())
    for row in report["dialects"]:
        for words in (row["name"], row["source"], row["status"], row["revision"], *row["decisions"]):
            assert "".join(words.split()) in text
        for file in row["files"]:
            assert file["name"] in text


def test_to_a_file(tmp_path: Path):
    path = tmp_path / "dialects"
    assert invoke("dialects", "-o", path).out == ""
    assert "qemu-v5" in path.read_text()


def test_as_a_program():
    result = execute("dialects")
    assert (result.status, result.err) == (0, "")
    assert result.out.startswith("qemu-v5")


@pytest.mark.parametrize("argument", ["--format=qtest", "something"])
def test_wrong_calls(argument: str):
    result = invoke("dialects", argument)
    assert result.status == 2
    assert result.out == ""
    assert result.err
