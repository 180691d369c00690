"""What changes for a fleet, as JSON (`stubsim/fleet-diff/1`), as text and in Markdown; both are made from the JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from typing import TYPE_CHECKING

from stubsim.printable import clean, without_commands
from stubsim.views.block import Block
from stubsim.views.fleet import machine_json, number, refused_json
from stubsim.views.json import Json, model_json, uki_json
from stubsim.views.terminal import Screen, render_blocks

if TYPE_CHECKING:
    from stubsim.fleet.compare import Change, Comparison
    from stubsim.fleet.engine import Survey
    from stubsim.fleet.plan import Plan

# Rows of a comment; the JSON has them all.
_MOST = 20


def fleet_diff_json(plans: Sequence[Plan], survey: Survey, found: Comparison, source: str, *, boots: bool) -> Json:
    """The contract of `stubsim fleet diff --format json`; ``boots`` is False for sets of hardware ids without a UKI."""
    sides = [{"uki": uki_json(plan.plain), "model": model_json(plan.plain)} for plan in plans]
    return {
        "schema": "stubsim/fleet-diff/1",
        "a": sides[0],
        "b": sides[1],
        "source": source,
        "machines": survey.machines,
        "distinct": survey.distinct,
        "given": plans[0].given,
        "bank": plans[0].bank,
        "refused": refused_json(survey),
        "changed": found.changed,
        "changed_unsure": found.changed_unsure,
        "unsure": found.unsure,
        "changes": [_change(change) for change in found.changes],
        "pcrs": [row._asdict() for row in found.pcrs] if boots else [],
    }


def _change(change: Change) -> Json:
    return change._asdict() | {"example": machine_json(change.example)}


def headline(report: Json) -> str:
    changed = report["changed"]
    verb = "changes" if changed == 1 else "change"
    text = f"{number(changed)} of {number(report['machines'])} machines {verb}"
    unsure = report["changed_unsure"]
    return f"{text}, {number(unsure)} of them unless something unknown decides otherwise" if unsure else text


def render_fleet_diff(report: Json, target: Screen | None = None) -> str:
    """The value of `fleet_diff_json` as text."""
    return render_blocks(headline(report), not report["changed"], blocks(report), target)


def blocks(report: Json) -> Iterator[Block]:
    sides = [(side.upper(), _side(report[side])) for side in "ab"]
    yield Block("Compared", sides)
    rows = [_row(change) for change in report["changes"]]
    if rows:
        yield Block("Changes", rows, ("machines", "what", "from", "to", "unsure", "as"), (0, 4))
    pcrs = [_pcr_row(row) for row in report["pcrs"]]
    if pcrs:
        columns = ("PCR", "machines with another value", "values in A", "values in B", "not known")
        yield Block(f"PCR values ({report['bank']})", pcrs, columns, (0, 1, 2, 3, 4))
    if report["unsure"]:
        text = f"For {number(report['unsure'])} more machines it depends on what is not known of them (--given)."
        yield Block("Unknown", [], notes=(text,))


def _side(row: Json) -> str:
    return f"{row['uki']['path']}, stub {row['model']['id']}"


def _row(change: Json) -> tuple[str, ...]:
    unsure = number(change["unsure"]) if change["unsure"] else ""
    sides = (change["a"] or "none", change["b"] or "none")
    return number(change["machines"]), change["what"], *sides, unsure, _machine(change["example"])


def _machine(example: Json) -> str:
    return " ".join(text for key in ("manufacturer", "product_name") if (text := example.get(key)))


def _pcr_row(row: Json) -> tuple[str, ...]:
    return tuple(number(row[key]) for key in ("pcr", "machines", "values_a", "values_b", "unknown"))


def markdown(report: Json) -> str:
    """A comment on a pull request: what changes for whom, in GitHub's Markdown."""
    lines = [f"**{headline(report)}** ({_cell(report['source'])})", ""]
    if report["changes"]:
        lines += ["| machines | what | from | to | such as |", "| ---: | --- | --- | --- | --- |"]
        for change in report["changes"][:_MOST]:
            machines, what, before, after, unsure, example = _row(change)
            count = f"{machines} ({unsure} unsure)" if unsure else machines
            lines.append(f"| {count} | {_cell(what)} | {_cell(before)} | {_cell(after)} | {_cell(example)} |")
        if len(report["changes"]) > _MOST:
            lines.append(f"| | and {len(report['changes']) - _MOST} more | | | |")
        lines.append("")
    changed = [row for row in report["pcrs"] if row["machines"]]
    if changed:
        parts = [f"PCR {row['pcr']} on {number(row['machines'])}" for row in changed]
        lines += [f"Other values ({report['bank']}): {', '.join(parts)}.", ""]
    if report["unsure"]:
        lines += [f"For {number(report['unsure'])} more machines it depends on what is not known of them.", ""]
    return without_commands("\n".join(lines))


def _cell(text: str) -> str:
    """A text that is nothing but text to GitHub: no markup, no mention, no end of the cell."""
    shown = escape(clean(text))
    for character in "\\`*_{}[]()#+-!|@~":
        shown = shown.replace(character, f"&#{ord(character)};")
    return shown
