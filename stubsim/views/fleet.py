"""What a fleet makes of a UKI, as JSON (`stubsim/fleet/1`) and as text; the text is made from the JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from stubsim.explain.selection import KINDS
from stubsim.fleet.columns import HOST, STRINGS
from stubsim.fleet.summary import Count, OfEntry, OfPcr, OfSection, Summary
from stubsim.formats.hwids import Entry
from stubsim.views.block import Block
from stubsim.views.json import Json, model_json, uki_json
from stubsim.views.measure import WORDS
from stubsim.views.terminal import Screen, render_blocks
from stubsim.wording import plain

if TYPE_CHECKING:
    from stubsim.fleet.engine import Survey
    from stubsim.fleet.plan import Plan

_ASSUMED = (
    "each machine is of the UKI's architecture (column architecture)",
    "no stage before it leaves variables or an initrd (columns variables, previous_initrd)",
)
_SHOWN_VALUES = 4
_SHOWN_REASONS = 3


def fleet_json(plan: Plan, survey: Survey, found: Summary, source: str) -> Json:
    """The contract of `stubsim fleet --format json`."""
    return {
        "schema": "stubsim/fleet/1",
        "uki": uki_json(plan.plain),
        "model": model_json(plan.plain),
        "source": source,
        "machines": survey.machines,
        "distinct": survey.distinct,
        "given": plan.given,
        "bank": plan.bank,
        "refused": refused_json(survey),
        "outcomes": [
            {"status": status, "message": message, **_count(count)}
            for (status, message), count in found.outcomes.items()
        ],
        "sections": [_section(row) for row in found.sections],
        "entries": [_entry(row) for row in found.entries],
        "pcrs": [_pcr(row) for row in found.pcrs],
        "assumed": list(dict.fromkeys([*_ASSUMED, *found.assumed])),
    }


def refused_json(survey: Survey) -> Json:
    return {"rows": survey.refused, "first": [{"line": row.line, "why": row.why} for row in survey.listed]}


def machine_json(example: Mapping[str, Any]) -> Json:
    """The strings of a machine that stands for others; null is string number 0 or not known."""
    texts = example
    if isinstance(example.get(HOST), str):
        texts = json.loads(example[HOST]).get("smbios", {})
    return {name: texts.get(name) for name in STRINGS if texts.get(name) is not None}


def _count(count: Count) -> Json:
    return {"machines": count.machines, "unsure": count.unsure, "hangs_on": count.hangs_on}


def _section(row: OfSection) -> Json:
    return {
        "name": KINDS[row.kind].section,
        "index": row.section,
        "string": row.string,
        **_count(row.of),
        "types": [{"chid_type": kind, "machines": machines} for kind, machines in row.types.items()],
        "example": machine_json(row.example),
    }


def _entry(row: OfEntry) -> Json:
    return {
        **entry_json(row.entry),
        "machines": row.machines,
        "types": [{"chid_type": kind, "machines": machines} for kind, machines in row.types.items()],
    }


def entry_json(entry: Entry) -> Json:
    """An entry of `.hwids`."""
    kind = KINDS.get(entry.type)
    return {
        "index": entry.index,
        "type": entry.type if kind is None else kind.word,
        "chid": str(entry.chid),
        "name": entry.name,
        "string": entry.string,
    }


def _pcr(row: OfPcr) -> Json:
    return {
        "pcr": row.pcr,
        "verdict": row.verdict,
        "values": [{"value": value.hex(), "machines": machines} for value, machines in row.values.items()],
        "unknown": row.unknown,
        "because": list(row.because),
    }


def render_fleet(report: Json, target: Screen | None = None) -> str:
    """The value of `fleet_json` as text."""
    return render_blocks(headline(report), _good(report), blocks(report), target)


def headline(report: Json) -> str:
    started = sum(row["machines"] for row in report["outcomes"] if row["status"] in _GOOD)
    name = report["uki"]["path"].rpartition("/")[2]
    text = f"{number(report['machines'])} machines ({number(report['distinct'])} distinct): {name} starts on "
    if not report["machines"]:
        return f"No machine: nothing is said of {name}"
    text += "all of them" if started == report["machines"] else number(started)
    keys = sorted({key for row in report["outcomes"] for key in row["hangs_on"]})
    return f"{text}, unless {' or '.join(map(plain, keys))} decides otherwise" if keys else text


_GOOD = ("kernel-started", "firmware-update")


def _good(report: Json) -> bool:
    return all(row["status"] in _GOOD for row in report["outcomes"])


def number(count: int) -> str:
    return f"{count:,}"


def blocks(report: Json) -> Iterator[Block]:
    yield Block("Outcome", [*map(_outcome, report["outcomes"])], ("machines", "outcome", "depends on"), (0,))
    rows = [_section_row(row) for row in report["sections"]]
    if rows:
        columns = ("machines", "section", "for", "by CHID type", "depends on")
        yield Block("Chosen", rows, columns, (0,), tuple(_entries(report)), fixed=(1,))
    verdicts = [(str(row["pcr"]), _verdict(row, report), _because(row["because"])) for row in report["pcrs"]]
    yield Block("Registers", verdicts, ("PCR", "verdict", "because"), (0,))
    for row in (row for row in report["pcrs"] if row["values"]):
        # A block each: beside both numbers a SHA-256 has no room in 80 columns.
        yield Block(f"PCR {row['pcr']}, {report['bank']}", [*_pcr_rows(row)], ("machines", "value"), (0,))
    refused = report["refused"]
    if refused["rows"]:
        listed = [(str(row["line"]), row["why"]) for row in refused["first"]]
        yield Block(f"Rows that describe no machine: {number(refused['rows'])}", listed, ("line", "why"), (0,))
    given = [f"{key} is {json.dumps(value)} on every machine (--given)" for key, value in report["given"].items()]
    yield Block("Assumed", [], notes=(*given, *report["assumed"], *_hints(report)))


def _outcome(row: Json) -> tuple[str, ...]:
    text = ": ".join(filter(None, (plain(row["status"]), row["message"])))
    return number(row["machines"]), text, _hangs_on(row)


def _section_row(row: Json) -> tuple[str, ...]:
    section = "none" if row["index"] is None else f"section {row['index']}"
    types = ", ".join(f"{_type(each['chid_type'])}: {number(each['machines'])}" for each in row["types"])
    return number(row["machines"]), f"{row['name']}, {section}", row["string"] or "", types, _hangs_on(row)


def _entries(report: Json) -> Iterator[str]:
    total = len(report["entries"])
    if total:
        choosing = sum(bool(row["machines"]) for row in report["entries"])
        yield f"{number(choosing)} of {number(total)} entries of .hwids choose for a machine (each with --format json)."


def _type(kind: int | None) -> str:
    return "not known" if kind is None else str(kind)


def _hangs_on(row: Json) -> str:
    """The keys, with how many machines where not all of them do."""
    keys = [
        plain(key) if machines == row["machines"] else f"{plain(key)} ({number(machines)})"
        for key, machines in row["hangs_on"].items()
    ]
    return ", ".join(keys)


def _hints(report: Json) -> Iterator[str]:
    keys = {key for row in (*report["sections"], *report["outcomes"]) for key in row["hangs_on"] if "." not in key}
    if keys:
        known = " ".join(f"--given {key}=VALUE" for key in sorted(keys))
        yield f"What holds for every machine can be given where no column has it: {known}."


def _verdict(row: Json, report: Json) -> str:
    some = 0 < row["unknown"] < report["machines"]
    return WORDS[row["verdict"]] + (f" on {number(row['unknown'])} of them" if some else "")


def _because(reasons: list[str]) -> str:
    others = len(reasons) - _SHOWN_REASONS
    more = [f"{others} more (--format json)"] if others > 0 else []
    return "; ".join([*reasons[:_SHOWN_REASONS], *more])


def _pcr_rows(row: Json) -> Iterator[tuple[str, ...]]:
    for value in row["values"][:_SHOWN_VALUES]:
        yield number(value["machines"]), value["value"]
    others = row["values"][_SHOWN_VALUES:]
    if others:
        yield number(sum(value["machines"] for value in others)), f"{len(others)} more (--format json)"
    if row["unknown"]:
        yield number(row["unknown"]), "not known"
