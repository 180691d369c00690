"""An expectation that does not hold, in words; for the terminal, JUnit and pytest alike."""

from __future__ import annotations

import json
from typing import Any

from stubsim.explain.words import runs
from stubsim.testing.expectations import NONE, Difference

Json = dict[str, Any]

_MOST_MESSAGES = 64


def difference_json(difference: Difference) -> Json:
    """As the report has it (`stubsim/check/1`)."""
    return {
        "key": difference.key,
        "expected": difference.expected,
        "got": difference.got,
        "unknown": difference.unknown,
        "because": list(difference.because),
    }


def rows(difference: Json) -> list[tuple[str, str]]:
    """Label and text: what was expected, what there is, what makes the difference, and why."""
    expected, got = difference["expected"], difference["got"]
    if difference["key"] == "log":
        found = [("expected", f"a message with {_shown(text)}") for text in expected]
        found += [("got", message) for message in got[:_MOST_MESSAGES]] or [("got", "no message")]
        if len(got) > _MOST_MESSAGES:
            found.append(("got", f"and {len(got) - _MOST_MESSAGES} messages more, all of them with --format json"))
    else:
        found = [("expected", _shown(expected))]
        if difference["unknown"] is None:
            found.append(("got", _shown(got)))
            found += _words(expected, got)
    if difference["unknown"] is not None:
        found.append(("unknown", f"because {difference['unknown']}"))
    return found + [("because", text) for text in difference["because"]]


def summary(differences: list[Json]) -> str:
    """The keys in one line."""
    return f"not as expected: {', '.join(difference['key'] for difference in differences)}"


def text(differences: list[Json]) -> str:
    """All of a run as lines, each key above its rows."""
    lines = []
    for difference in differences:
        lines.append(difference["key"])
        lines += [f"  {label:<8}  {said}" for label, said in rows(difference)]
    return "\n".join(lines)


def _shown(value: object) -> str:
    if value is None or value == NONE:
        return NONE
    return json.dumps(value, ensure_ascii=False)


def _words(expected: object, got: object) -> list[tuple[str, str]]:
    """The words that two texts of several words do not share."""
    if not (isinstance(expected, str) and isinstance(got, str)) or " " not in expected + got:
        return []
    old, new = expected.split(), got.split()
    gone: list[str] = []
    come: list[str] = []
    for what, left, right in runs(old, new):
        if what != "equal":
            gone += left
            come += right
    if not gone and not come:
        return [("differ", "in white space only")]
    both = [("missing", " ".join(gone)), ("added", " ".join(come))]
    return [(label, said) for label, said in both if said]
