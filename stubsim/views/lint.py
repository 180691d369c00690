"""What `stubsim hwids lint` found, as JSON (`stubsim/hwids-lint/1`) and as text; the text is made from the JSON."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from stubsim.lint import RULES, SEVERITIES, Finding, Place, Rule
from stubsim.printable import clean
from stubsim.views.terminal import Screen, rendered

if TYPE_CHECKING:
    from rich.console import Console

Json = dict[str, Any]

_STYLES = {"error": "bold red", "warning": "yellow", "note": "cyan"}
# A hostile table has as many findings as it has entries; the JSON has them all.
_MOST = 256
_MOST_INPUTS = 4


def lint_json(paths: Sequence[str], hosts: Sequence[str], findings: Sequence[Finding]) -> Json:
    """The contract of `stubsim hwids lint --format json`; ``hosts`` are the names of the machines that were known."""
    return {
        "schema": "stubsim/hwids-lint/1",
        "inputs": list(paths),
        "hosts": list(hosts),
        "counts": {level: sum(one.severity == level for one in findings) for level in SEVERITIES},
        "findings": [
            {
                "code": one.rule.code,
                "name": one.rule.name,
                "severity": one.severity,
                "message": one.message,
                "explanation": one.rule.explanation,
                "fix": one.fix,
                "location": _place(one.place),
                "related": [_place(place) for place in one.related],
            }
            for one in findings
        ],
    }


def _place(place: Place) -> Json:
    return place._asdict()


def render_lint(report: Json, target: Screen | None = None) -> str:
    """The value of `lint_json` as text."""
    return rendered(lambda console: _draw(console, report), target)


def render_concise(findings: Sequence[Finding]) -> str:
    """A line for each finding, as compilers and linters write them: path:line: CODE message."""
    return "".join(
        clean(f"{where(_place(one.place))}: {one.rule.code} {one.severity}: {one.message}") + "\n" for one in findings
    )


def explanation(rule: Rule, target: Screen | None = None) -> str:
    """What a rule is about, in full."""

    def draw(console: Console) -> None:
        console.print(f"{rule.code} {rule.name} ({rule.severity}): {rule.summary}", style="bold")
        console.print(rule.explanation)
        console.print(f"Fix: {rule.fix}")

    return rendered(draw, target)


def _draw(console: Console, report: Json) -> None:
    from rich.padding import Padding
    from rich.text import Text

    def line(text: Text, indent: int = 0) -> None:
        console.print(Padding(text, (0, 0, 0, indent), expand=False), overflow="fold")

    findings = report["findings"]
    worst = {code: min(map(_rank, rows)) for code, rows in groupby(sorted(findings, key=_code), key=_code)}
    ordered = sorted(findings, key=lambda row: (worst[row["code"]], row["code"]))
    for code, rows in groupby(ordered[:_MOST], key=_code):
        rule = next(rule for rule in RULES if rule.code == code)
        line(Text.assemble((f"{code} {rule.name}", "bold"), f": {rule.summary}"))
        line(Text(rule.explanation, "dim"), 2)
        line(Text(f"Fix: {rule.fix}", "dim"), 2)
        for row in rows:
            head = Text(f"{clean(where(row['location']))}: ")
            head.append(row["severity"], _STYLES[row["severity"]])
            line(head, 2)
            line(Text(clean(row["message"])), 6)
            if row["related"]:
                line(Text(clean(_also(row)), "dim"), 6)
            if row["fix"] != rule.fix:
                line(Text(f"Fix: {clean(row['fix'])}"), 6)
        console.print()
    if len(findings) > _MOST:
        line(Text(f"and {len(findings) - _MOST} more, all of them with --format json"))
    line(Text(_summary(report), "bold"))


def _also(row: Json) -> str:
    """The other places, what stands in the same file or table after one name of it."""
    base = row["location"]
    groups: dict[str, list[str]] = {}
    for place in row["related"]:
        same = all(place[key] == base[key] for key in ("path", "section", "profile"))
        if place["line"] is not None:
            name, number = ("line " if same else f"{place['path']}:"), str(place["line"])
        elif place["entry"] is not None and same:
            name, number = "entry ", str(place["entry"])
        else:
            name, number = where(place), ""
        numbers = groups.setdefault(name, [])
        if number not in numbers:
            numbers.append(number)
    return "see also " + "; ".join(f"{name}{_some(numbers)}" for name, numbers in groups.items())


def _some(numbers: list[str]) -> str:
    more = f" and {len(numbers) - 12} more" if len(numbers) > 13 else ""
    return ", ".join(numbers[:12] if more else numbers) + more


def _code(row: Json) -> str:
    code: str = row["code"]
    return code


def _rank(row: Json) -> int:
    return SEVERITIES.index(row["severity"])


def where(place: Json) -> str:
    """A place in one line: the file, and the line, section, entry and offset as far as there are any."""
    text: str = place["path"]
    if place["line"] is not None:
        text += f":{place['line']}"
    if place["section"] is not None:
        text += f": {place['section_name']} (section {place['section']})"
    elif place["profile"] is not None:
        text += f": profile {place['profile']}"
    if place["entry"] is not None:
        text += f": entry {place['entry']}"
    return text + ("" if place["offset"] is None else f": offset {place['offset']:#x}")


def _summary(report: Json) -> str:
    counts = [f"{count} {level}{'' if count == 1 else 's'}" for level, count in report["counts"].items() if count]
    names = report["inputs"]
    inputs = ", ".join(map(clean, names)) if len(names) <= _MOST_INPUTS else f"{len(names)} inputs"
    known = len(report["hosts"])
    machines = f"{known or 'no'} {'machine' if known == 1 else 'machines'} known"
    return f"{', '.join(counts) or 'nothing found'} in {inputs}; {machines}{'' if known else ' (--smbios, --hosts)'}"
