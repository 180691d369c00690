"""What leads to a value of a PCR, as JSON (`stubsim/which/1`) and as text; the text is made from the JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from stubsim.explain.measure import Measurement
from stubsim.explain.which import Answer, Match, Nearest, Together, Which
from stubsim.formats import eventlog
from stubsim.printable import clean
from stubsim.result import Boot
from stubsim.stub.models import in_words
from stubsim.systemd.measure import PCR_KERNEL_IMAGE
from stubsim.views.json import Json, hexed, measurement_json, profile_json, uki_json, unknown_json
from stubsim.views.terminal import Screen, folded

_MOST = 16


def which_json(result: Which, log: str | None, alike: Mapping[str, Sequence[str]] | None = None) -> Json:
    """The contract of `stubsim which --format json`; ``log`` is the path of the event log.

    ``alike`` are the releases that do what a stub does, by its id.
    """
    measured = result.measurements
    return {
        "schema": "stubsim/which/1",
        "uki": uki_json(measured[0].boot),
        "log": log,
        "stubs": [
            {
                "id": boot.model.id,
                "reason": boot.model_reason,
                "releases": None if alike is None else list(alike[boot.model.id]),
            }
            for boot in _by_stub(measured)
        ],
        "asked": [_answer(row) for row in result.answers],
        "together": [_together(row) for row in result.together],
        "assumed": list(dict.fromkeys(text for row in measured for text in row.assumed)),
        "unknown": [
            unknown_json(row)
            for row in dict.fromkeys(
                row for one in measured for case in one.cases for row in case.unknown if not row.what.startswith("PCR ")
            )
        ],
    }


def _by_stub(measured: Sequence[Measurement]) -> list[Boot]:
    return list({row.boot.model.id: row.boot for row in reversed(measured)}.values())[::-1]


def _answer(row: Answer) -> Json:
    return {
        "pcr": row.asked.pcr,
        "bank": row.asked.bank,
        "value": row.asked.value.hex(),
        "matches": [_match(match) for match in row.matches],
        "compared": row.compared,
        "because": list(row.because),
        "log_phase": None if row.of_log is None else row.of_log or ":",
        "nearest": None if row.nearest is None else _nearest(row.nearest),
    }


def _where(measurement: Measurement, hosts: Sequence[str], conditions: Sequence[str]) -> Json:
    return {
        "stub": measurement.boot.model.id,
        "profile": profile_json(measurement.boot),
        "hosts": list(hosts),
        "conditions": list(conditions),
    }


def _match(row: Match) -> Json:
    phase = (row.value.phase or ":") if row.value.pcr == PCR_KERNEL_IMAGE else None
    return _where(row.measurement, row.value.hosts, row.value.conditions) | {"phase": phase}


def _together(row: Together) -> Json:
    hosts = [host for case in row.cases for host in case.hosts]
    return _where(row.measurement, hosts, [text for case in row.cases for text in case.conditions])


def _nearest(row: Nearest) -> Json:
    predicted = None if row.predicted is None else measurement_json(row.predicted)
    return _where(row.measurement, row.case.hosts, row.case.conditions) | {
        "agreed": row.agreed,
        "predicted": predicted,
        "logged": None if row.logged is None else _logged(row.logged, row.place),
    }


def _logged(event: eventlog.Event, place: int | None) -> Json:
    tag, text = eventlog.describe(event)
    return {
        "index": place,
        "pcr": event.pcr,
        "type": eventlog.type_name(event.type),
        "tag": None if tag is None else f"{tag:#010x}",
        "description": text,
        "digests": hexed(event.digests),
    }


def render_which(report: Json, target: Screen | None = None) -> str:
    """The text for people."""
    return folded(_text(report), target)


def _text(report: Json) -> Iterator[str]:
    yield clean(report["uki"]["path"])
    alike = {row["id"]: row["releases"] for row in report["stubs"] if row["releases"] is not None}
    if alike:
        yield f"simulated as the stub of every release, {len(alike)} of which differ in what they do"
    else:
        yield from (clean(f"simulated as stub {row['id']}: {row['reason']}") for row in report["stubs"])
    for row in report["asked"]:
        yield ""
        yield from _asked(row, report["log"] is not None, alike)
    if len(report["asked"]) > 1:
        yield ""
        yield "all of them together" if report["together"] else "no boot has all of them together"
        yield from (line for row in _joined(report["together"], alike) for line in _lines(row))
    yield ""
    yield from (clean(f"assumed: {text}") for text in report["assumed"])
    yield from (clean(f"unknown: {row['what']}: {row['why']}") for row in report["unknown"])


def _joined(matches: Sequence[Json], alike: Mapping[str, Sequence[str]]) -> Iterator[Json]:
    """Of every release those together that differ in nothing but it."""
    found: dict[str, tuple[Json, list[str]]] = {}
    for match in matches:
        others = match if not alike else {key: value for key, value in match.items() if key != "stub"}
        found.setdefault(repr(others), (match, []))[1].extend(alike.get(match["stub"], ()))
    for match, ids in found.values():
        yield match | {"stub": in_words(ids)} if ids else match


def _asked(row: Json, has_log: bool, alike: Mapping[str, Sequence[str]]) -> Iterator[str]:
    yield f"PCR {row['pcr']} {row['bank']} {row['value']}"
    yield from (line for match in _joined(row["matches"], alike) for line in _lines(match))
    if not row["matches"]:
        yield (
            f"  none of the {row['compared']} values of this UKI"
            if row["compared"]
            else "  there is no value to compare with"
        )
    yield from (clean(f"  not known of all: {text}") for text in row["because"])
    if has_log and row["log_phase"] is None:
        yield "  the log leads to another value"
    elif has_log:
        yield clean("  the log leads to it" + ("" if row["log_phase"] == ":" else f", at {row['log_phase']}"))
    if row["nearest"] is not None:
        yield from _of_nearest(row["nearest"])


def _lines(match: Json) -> Iterator[str]:
    """A boot: profile, phase and stub, and on which machines."""
    profile = match["profile"] or {"index": 0, "id": None}
    name = "" if profile["id"] is None else f" ({profile['id']})"
    phase = "" if match.get("phase") is None else f", {_at(match['phase'])}"
    yield clean(f"  profile {profile['index']}{name}{phase}, stub {match['stub']}")
    texts = match["hosts"] or [f"if {text}" for text in match["conditions"]] or ["on any machine"]
    yield from (clean(f"      {text}") for text in texts[:_MOST])
    if len(texts) > _MOST:
        yield f"      and {len(texts) - _MOST} more, all of them with --format json"


def _at(phase: str) -> str:
    return "right after the stub (:)" if phase == ":" else f"at {phase}"


def _of_nearest(row: Json) -> Iterator[str]:
    events = "1 event" if row["agreed"] == 1 else f"{row['agreed']} events"
    yield f"  nearest by the log, the same for {events}:"
    yield from (f"  {line}" for line in _lines(row))
    predicted, logged = row["predicted"], row["logged"]
    if predicted is None and logged is None:
        yield "    and neither has more: the value is of another log, or of a phase that is not systemd's"
    if predicted is not None:
        yield from _event("    then predicted", predicted)
    if logged is not None:
        yield from _event(f"    {'it would have to be' if predicted else 'then the log has one more'}", logged)
    elif predicted is not None:
        yield "    where the log ends: there is no such event"


def _event(lead: str, event: Json) -> Iterator[str]:
    place = "" if event.get("index") is None else f" (event {event['index']} of the log, from 0)"
    yield clean(f"{lead}{place}: {event['type']} {event['description'] or 'without text'}")
    yield from (f"      {bank} {digest}" for bank, digest in event["digests"].items())
