"""SARIF against the schema that OASIS published, and the parts of the standard that a schema cannot say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from jsonschema import Draft4Validator

from stubsim.formats import hwids
from stubsim.formats.pe import SectionSpec
from stubsim.lint import RULES, SEVERITIES, Finding, Place, lint
from stubsim.views.sarif import SCHEMA, sarif, uri
from tests.samples import uki, written
from tests.sarif import OASIS, SARIF


def log(*findings: Finding) -> Any:
    value = sarif(findings)
    SARIF.validate(value)
    assert json.loads(json.dumps(value)) == value
    return value


def test_the_schema_is_the_published_one_and_can_refuse():
    assert OASIS["id"] == SCHEMA
    Draft4Validator.check_schema(OASIS)
    value = log()
    for change in ({"version": "2.0.0"}, {"runs": [{}]}, {"more": 1}):
        assert not SARIF.is_valid(value | change)


def test_no_findings():
    (run,) = log()["runs"]
    assert run["results"] == []
    rules = run["tool"]["driver"]["rules"]
    assert [rule["id"] for rule in rules] == [rule.code for rule in RULES]
    for rule in rules:
        assert rule["name"].isalnum()
        assert rule["defaultConfiguration"]["level"] in SEVERITIES


@pytest.mark.parametrize("rule", RULES, ids=[rule.code for rule in RULES])
def test_a_result_of_each_rule(rule: Any):
    place = Place("a b/ä.json", line=3, json_path="$.hwids[0]")
    (result,) = log(Finding(rule, "note", "message", "fix it.", place, (place, place)))["runs"][0]["results"]
    assert (result["ruleId"], RULES[result["ruleIndex"]], result["level"]) == (rule.code, rule, "note")
    assert result["message"]["text"] == "Message. Fix: fix it."
    (location,) = result["locations"]
    assert location["physicalLocation"] == {
        "artifactLocation": {"uri": "a%20b/%C3%A4.json"}, "region": {"startLine": 3},
    }  # fmt: skip
    assert [one["id"] for one in result["relatedLocations"]] == [1]


def test_a_place_in_a_uki(tmp_path: Path):
    section = SectionSpec(".hwids", hwids.build([(1, UUID(int=0), "L", "a")]))
    path = written(tmp_path, "uki.efi", uki(section))
    results = log(*lint([str(path)]))["runs"][0]["results"]
    result = next(one for one in results if one["ruleId"] == "HW203")
    physical = result["locations"][0]["physicalLocation"]
    assert physical["artifactLocation"]["uri"] == path.as_uri()
    at = physical["region"]["byteOffset"]
    assert path.read_bytes()[at : at + 4] == b"\x1c\0\0\x10"
    assert result["locations"][0]["logicalLocations"][0]["fullyQualifiedName"] == ".hwids (section 5), entry 0"
    assert result["message"]["text"].startswith(".hwids (section 5): ")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("a.json", "a.json"),
        ("./a/../b.json", "b.json"),
        ("a b#?.json", "a%20b%23%3F.json"),
        ("a:b", "a%3Ab"),
        ("\udcff", "%FF"),
    ],
)
def test_uris(path: str, expected: str):
    assert uri(path) == expected
    assert uri("/a b").startswith("file:///a%20b")
