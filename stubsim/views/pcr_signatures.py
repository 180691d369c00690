"""Signed PCR policies as JSON (`stubsim/verify-pcrsig/1`) and as text; the text is made from the JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from stubsim.explain.pcr_signatures import Handed, Missing, Verdict, Verification, policy_of
from stubsim.printable import clean
from stubsim.views.json import Json, model_json, profile_json, uki_json, unknown_json
from stubsim.views.terminal import Screen, folded

_MOST = 16
_WORDS = {"holds": "holds", "only": "holds only", "never": "never holds", "unknown": "not known to hold"}


def verify_pcrsig_json(result: Verification) -> Json:
    """The contract of `stubsim verify-pcrsig --format json`; see the schema of the same name."""
    boot = result.handed[0].measurement.boot
    return {
        "schema": "stubsim/verify-pcrsig/1",
        "uki": uki_json(boot),
        "model": model_json(boot),
        "complete": not result.missing,
        "phases": [phase or ":" for phase in result.phases],
        "profiles": [_profile(one) for one in result.handed],
        "signatures": [_verdict(one) for one in result.verdicts],
        "missing": [_missing(one) for one in result.missing],
        "faults": list(result.faults),
        "assumed": list(result.assumed),
        "unknown": [unknown_json(row) for row in result.unknown],
    }


def _profile(one: Handed) -> Json:
    return {
        "profile": profile_json(one.measurement.boot),
        "pcrsig": None if one.table is None else one.table.section.index,
        "pcrpkey": None if one.key_section is None else one.key_section.index,
        "keys": [{"kind": key.kind, "pkfp": key.fingerprints[0].hex()} for key in one.keys],
        "values": [
            {
                "phase": value.phase or ":",
                "bank": value.bank,
                "hash": value.value.hex(),
                "pol": policy_of(value).hex(),
                "hosts": list(value.hosts),
                "conditions": list(value.conditions),
            }
            for value in one.values
        ],
    }


def _verdict(one: Verdict) -> Json:
    entry = one.entry
    return {
        "section": one.section.index,
        "bank": one.bank,
        "entry": one.place,
        "pcrs": None if entry.pcrs is None else list(entry.pcrs),
        "pkfp": None if entry.pkfp is None else entry.pkfp.hex(),
        "ref": entry.ref,
        "pol": None if entry.pol is None else entry.pol.hex(),
        "status": one.status,
        "because": one.because,
        "holds_for": [
            {
                "profile": row.handed.profile,
                "phase": row.value.phase or ":",
                "hosts": list(row.value.hosts),
                "conditions": list(row.value.conditions),
            }
            for row in one.held
        ],
    }


def _missing(one: Missing) -> Json:
    return {
        "profile": one.handed.profile,
        "bank": one.bank,
        "phase": None if one.phase is None else one.phase or ":",
        "hosts": list(one.hosts),
        "conditions": list(one.conditions),
        "because": one.because,
    }


def render_verify_pcrsig(report: Json, target: Screen | None = None) -> str:
    """The text for people."""
    return folded(_text(report), target)


def _text(report: Json) -> Iterator[str]:
    yield clean(report["uki"]["path"])
    yield clean(f"simulated as stub {report['model']['id']}: {report['model']['reason']}")
    yield from (clean(f"fault: {text}") for text in report["faults"])
    for section in dict.fromkeys(row["section"] for row in report["signatures"]):
        yield ""
        yield _heading(report, section)
        yield from (line for row in report["signatures"] if row["section"] == section for line in _signature(row))
    yield ""
    if report["complete"]:
        yield f"every value has a signature that holds ({', '.join(map(clean, report['phases']))})"
    else:
        yield "without a signature that holds"
        yield from (line for row in report["missing"] for line in _without(row))
    yield ""
    yield from (clean(f"assumed: {text}") for text in report["assumed"])
    yield from (clean(f"unknown: {row['what']}: {row['why']}") for row in report["unknown"])


def _heading(report: Json, section: int) -> str:
    """The section, and whose boots hand it on with which keys."""
    mine = [one for one in report["profiles"] if one["pcrsig"] == section]
    names = []
    for one in mine:
        profile = one["profile"] or {"index": 0, "id": None}
        names.append(f"{profile['index']} {profile['id'] or ''}".strip())
    keys = {f"{key['kind']}, {key['pkfp']}": None for one in mine for key in one["keys"]}
    text = f".pcrsig (section {section}) of profile {', '.join(names) or 'none'}; keys: {'; '.join(keys) or 'none'}"
    return clean(text)


def _signature(row: Json) -> Iterator[str]:
    because = f": {row['because']}" if row["because"] else ""
    phases = ", ".join(dict.fromkeys(held["phase"] for held in row["holds_for"]))
    where = f" at {phases}" if phases else ""
    about = f", for the reference {row['ref']!r}" if row["ref"] else ""
    yield clean(f"  {row['bank']} {row['pol'] or 'no policy'}  {_WORDS[row['status']]}{where}{about}{because}")
    if row["status"] == "only":
        for held in row["holds_for"]:
            yield from _reasons(held, f"profile {held['profile']}")


def _without(row: Json) -> Iterator[str]:
    bank = "" if row["bank"] is None else f", {row['bank']}"
    phase = "" if row["phase"] is None else f" at {row['phase']}"
    yield clean(f"  profile {row['profile']}{bank}{phase}: {row['because']}")
    yield from _reasons(row, "")


def _reasons(row: Json, otherwise: str) -> Iterator[str]:
    texts: Sequence[str] = row["hosts"] or [f"if {text}" for text in row["conditions"]] or [otherwise]
    yield from (clean(f"      {text}") for text in texts[:_MOST] if text)
    if len(texts) > _MOST:
        yield f"      and {len(texts) - _MOST} more, all of them with --format json"
