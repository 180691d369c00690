"""`stubsim stubs`: the table of releases as people and programs read it."""

from __future__ import annotations

from jsonschema import Draft202012Validator

from stubsim import schemas
from stubsim.stub.releases import CHANGES
from stubsim.systemd.release import parse
from tests.samples import invoke


def test_json_has_every_row():
    report = invoke("stubs", "--format", "json").json
    Draft202012Validator(schemas.load("stubs")).validate(report)
    assert [row["name"] for row in report["changes"]] == [row.name for row in CHANGES]
    firmware = next(row for row in report["changes"] if row["name"] == "firmware-selection")
    assert firmware["since"] == ["260.3", "261.1", "262.0"]
    assert all(parse(row["version"]) for row in report["shipped"])


def test_the_text_says_all_of_it():
    text = " ".join(invoke("stubs").out.split())
    for word in ("260.3, 261.1, 262.0", "systemd pull request 42570", "257.13", "Debian 13", "aa64"):
        assert word in text
