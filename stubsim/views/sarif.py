"""What `stubsim hwids lint` found as SARIF 2.1.0 (OASIS), which code hosts show beside the lines of a change."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from stubsim.lint import RULES, Finding, Place, Rule
from stubsim.printable import clean
from stubsim.version import __version__

Json = dict[str, Any]

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"


def sarif(findings: Sequence[Finding]) -> Json:
    """A log of one run; its severities are SARIF's own words."""
    return {
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {"name": "stubsim", "version": __version__, "rules": [_rule(rule) for rule in RULES]}
                },
                "columnKind": "unicodeCodePoints",
                "results": [_result(one) for one in findings],
            }
        ],
    }


def _rule(rule: Rule) -> Json:
    return {
        "id": rule.code,
        "name": "".join(word.capitalize() for word in rule.name.split("-")),
        "shortDescription": {"text": _sentence(rule.summary)},
        "fullDescription": {"text": rule.explanation},
        "help": {"text": f"{rule.explanation} Fix: {rule.fix}"},
        "defaultConfiguration": {"level": rule.severity},
    }


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def _result(one: Finding) -> Json:
    message = f"{_name(one.place, _sentence(one.message))} Fix: {one.fix}"
    result: Json = {
        "ruleId": one.rule.code,
        "ruleIndex": RULES.index(one.rule),
        "level": one.severity,
        "message": {"text": _text(message)},
        "locations": [_location(one.place)],
    }
    if one.related:
        places = list(dict.fromkeys(one.related))
        result["relatedLocations"] = [{"id": number, **_location(place)} for number, place in enumerate(places, 1)]
    return result


def _text(text: str) -> str:
    """A plain text message, in which only this would be markup: an embedded link (SARIF 2.1.0, 3.11.6)."""
    return clean(text).replace("](", r"]\x28")


def _name(place: Place, text: str) -> str:
    """With the section in front: code hosts show no logical locations."""
    return text if place.section is None else f"{place.section_name} (section {place.section}): {text}"


def _location(place: Place) -> Json:
    physical: Json = {"artifactLocation": {"uri": uri(place.path)}}
    if place.line is not None:
        physical["region"] = {"startLine": place.line}
    elif place.file_offset is not None:
        physical["region"] = {"byteOffset": place.file_offset}
    location: Json = {"physicalLocation": physical}
    if place.section is not None:
        name = f"{place.section_name} (section {place.section})"
        if place.entry is not None:
            name += f", entry {place.entry}"
        location["logicalLocations"] = [{"fullyQualifiedName": clean(name), "kind": "member"}]
    elif place.json_path is not None:
        location["logicalLocations"] = [{"fullyQualifiedName": clean(place.json_path), "kind": "value"}]
    return location


def uri(path: str) -> str:
    """A path as a URI reference: relative as it was given, so that it is found in the repository it is checked in."""
    plain = os.path.normpath(path)
    if os.path.isabs(plain):
        return Path(plain).as_uri()
    return quote(plain.encode(errors="surrogateescape"))
