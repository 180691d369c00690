"""PCR values as JSON (`stubsim/measure/1`), as systemd-measure writes them, and as text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from stubsim.explain.measure import Case, Measurement, Value, in_every_case, measures_image, pcrs_of, values_at
from stubsim.explain.pcr_signatures import policy_of
from stubsim.explain.verdicts import BY_BOOT, BY_MACHINE, IN_PART, UNKNOWN, VALUE, Verdict, verdicts
from stubsim.printable import clean
from stubsim.stub.programs import is_simulated
from stubsim.systemd.measure import PCR_KERNEL_IMAGE
from stubsim.trace import Measured, Unknown
from stubsim.views.json import Json, measurement_json, model_json, profile_json, uki_json, unknown_json

if TYPE_CHECKING:
    from stubsim.explain.snp import Launch
    from stubsim.views.terminal import Screen

WORDS = {
    VALUE: "one value",
    IN_PART: "in part",
    BY_MACHINE: "differs by machine",
    BY_BOOT: "differs by boot",
    UNKNOWN: "not known",
}
# A long list of machines or conditions is cut in the text; the JSON has it whole.
_MOST_LINES = 16


def systemd_measure_json(measurement: Measurement, phases: Sequence[str]) -> Json:
    """What `systemd-measure calculate --json` has: bank -> rows of PCR 11, without a phase right after the stub."""
    banks = _banks(measurement, values_at(measurement, PCR_KERNEL_IMAGE, phases))
    return {
        bank: [{key: row[key] for key in ("phase", "pcr", "hash") if key in row} for row in rows]
        for bank, rows in banks.items()
    }


def measure_json(
    measurement: Measurement, phases: Sequence[str], *, policy: bool = False, launch: Launch | None = None
) -> Json:
    """systemd-measure's banks with their rows of PCR 11, and beside them what it does not tell."""
    boot, cases = measurement.boot, measurement.cases
    hosts = [host for case in cases for host in case.hosts]
    result: Json = {
        "schema": "stubsim/measure/1",
        "uki": uki_json(boot),
        "model": model_json(boot),
        "host": hosts[0] if len(hosts) == 1 else None,
        "profile": profile_json(boot),
        "banks": list(measurement.banks),
        "phases": [phase or ":" for phase in phases],
    }
    result |= _banks(measurement, values_at(measurement, PCR_KERNEL_IMAGE, phases))
    result |= {
        "policy_digests": _policy_digests(measurement, phases),
        "pcrs": _pcrs(in_every_case(measurement)),
        "cases": [_case(case) for case in cases],
        "measurements": [measurement_json(event) for event in _common_events(cases)],
        "assumed": list(measurement.assumed),
        "verdicts": {str(pcr): _verdict(row) for pcr, row in verdicts(measurement).items()},
        "unknown": _unknown(cases),
    }
    if policy:
        rows = [row for pcr in pcrs_of(measurement) for row in values_at(measurement, pcr, phases)]
        result["policy"] = _banks(measurement, rows)
    if launch is not None:
        from stubsim.views.launch import launch_json

        result["snp"] = launch_json(launch)
    return result


def _verdict(row: Verdict) -> Json:
    parts = {"events": [measurement_json(event) for event in row.events]} if row.verdict == IN_PART else {}
    return {"verdict": row.verdict, "because": row.because, **parts}


def _banks(measurement: Measurement, rows: Sequence[Value]) -> Json:
    banks: Json = {bank: [] for bank in measurement.banks}
    for row in rows:
        banks[row.bank].append(_row(row, measurement))
    return banks


def _policy_digests(measurement: Measurement, phases: Sequence[str]) -> Json:
    """The rows of PCR 11 once more, as what is signed of them (`systemd-measure policy-digest` has "pol", too)."""
    banks: Json = {bank: [] for bank in measurement.banks}
    for value in values_at(measurement, PCR_KERNEL_IMAGE, phases):
        row = _row(value, measurement)
        del row["hash"], row["pcr"]
        banks[value.bank].append(row | {"pcrs": [value.pcr], "pol": policy_of(value).hex()})
    return banks


def _row(value: Value, measurement: Measurement) -> Json:
    row: Json = {"phase": value.phase} if value.phase else {}
    row |= {"pcr": value.pcr, "hash": value.value.hex()}
    if len(measurement.cases) > 1 or len(value.hosts) > 1:
        if value.hosts:
            row["hosts"] = list(value.hosts)
        if value.conditions:
            row["conditions"] = list(value.conditions)
    return row


def _case(case: Case) -> Json:
    return {
        "hosts": list(case.hosts),
        "conditions": list(case.conditions),
        "outcome": case.outcome._asdict(),
        "selection": {
            "efifw": None if case.efifw is None else case.efifw.index,
            "dtbauto": None if case.dtbauto is None else case.dtbauto.index,
        },
        "pcrs": _pcrs(case.pcrs),
    }


def _pcrs(values: dict[str, dict[int, bytes]]) -> Json:
    return {bank: {str(pcr): value.hex() for pcr, value in sorted(pcrs.items())} for bank, pcrs in values.items()}


def _common_events(cases: Sequence[Case]) -> list[Measured]:
    def key(event: Measured) -> tuple[object, ...]:
        return event.pcr, event.tag, event.data, tuple(event.digests.items())

    others = [{key(event) for event in case.measurements} for case in cases[1:]]
    return [event for event in cases[0].measurements if all(key(event) in other for other in others)]


def _unknown(cases: Sequence[Case]) -> list[Json]:
    """What is not known, once, with the machines that it is about where there are several."""
    rows: list[Json] = []
    for row, hosts in _unknowns(cases).items():
        about = {"hosts": hosts} if len(cases) > 1 and hosts else {}
        rows.append(unknown_json(row) | about)
    return rows


def _unknowns(cases: Sequence[Case]) -> dict[Unknown, list[str]]:
    found: dict[Unknown, list[str]] = {}
    for case in cases:
        for row in dict.fromkeys(case.unknown):
            found.setdefault(row, []).extend(case.hosts)
    return found


def render_measure(
    measurement: Measurement,
    phases: Sequence[str],
    target: Screen | None = None,
    *,
    policy: bool = False,
    launch: Launch | None = None,
) -> str:
    """The text, with a newline at its end, folded to the width of the screen.

    Digests are never cut, and stand on the line of their register and bank.
    """
    from stubsim.views.terminal import folded

    return folded((*_text(measurement, phases, policy), *_launch(launch)), target)


def _text(measurement: Measurement, phases: Sequence[str], policy: bool) -> Iterator[str]:
    boot, cases = measurement.boot, measurement.cases
    yield clean(boot.uki.path)
    if not is_simulated(boot.model):
        yield clean(f"not simulated: {boot.outcome.message}")
        return
    yield clean(f"simulated as stub {boot.model.id}: {boot.model_reason}")
    if "measurements" not in boot.verified:
        yield "not verified: no recording of this stub, architecture or kind of guest"
    if not measures_image(boot):
        yield f"PCR 11 and 13 are not extended: {boot.model.name} measures nothing but load options, into PCR 12"
    yield ""
    if policy:
        yield from _policy(measurement, phases)
    elif len(cases) == 1:
        yield from (f"host: {clean(host)}" for host in cases[0].hosts)
        yield from _table(measurement, pcrs_of(measurement), phases)
    else:
        yield from _cases(measurement, phases)
    yield ""
    found = verdicts(measurement)
    yield from _verdicts(found)
    yield ""
    for text in measurement.assumed:
        yield f"assumed: {clean(text)}"
    for row, hosts in _unknowns(cases).items():
        if row.what in {f"PCR {pcr}" for pcr in found}:
            continue
        about = f" ({_shortened(hosts)})" if len(cases) > 1 and hosts else ""
        yield clean(f"unknown: {row.what}: {row.why}{about}")


def _launch(launch: Launch | None) -> Iterator[str]:
    if launch is not None:
        from stubsim.views.launch import TITLE, launch_json, launch_rows

        yield from ("", TITLE, *(f"  {name:<11}  {text}" for name, text in launch_rows(launch_json(launch))))


def _verdicts(found: Mapping[int, Verdict]) -> Iterator[str]:
    for pcr, row in found.items():
        because = "" if row.because is None else f": {row.because}"
        yield clean(f"PCR {pcr:<2} {WORDS[row.verdict]}{because}")
        for event in row.events:
            for bank, digest in event.digests.items():
                yield f"       {bank} {digest.hex()}  {clean(event.description)}"


def _cases(measurement: Measurement, phases: Sequence[str]) -> Iterator[str]:
    """First what all cases share, then each with the rest."""
    shared = {pcr for values in in_every_case(measurement).values() for pcr in values}
    # A machine with other banks than the rest shares nothing: then each case has its whole table.
    if any(set(case.pcrs) != set(measurement.banks) for case in measurement.cases):
        shared = set()
    if shared:
        yield f"in all {len(measurement.cases)} cases"
        yield from _table(measurement, sorted(shared), phases)
    for case in measurement.cases:
        yield ""
        yield from (f"host: {clean(host)}" for host in case.hosts)
        for number, condition in enumerate(case.conditions[:_MOST_LINES]):
            yield f"{'or if' if number else 'if'} {clean(condition)}"
        yield from _more(len(case.conditions), "conditions")
        alone = measurement._replace(cases=(case,))
        rest = [pcr for pcr in pcrs_of(alone) if pcr not in shared]
        if rest:
            yield from _table(alone, rest, phases)
        elif not shared:
            yield "  no values"


def _policy(measurement: Measurement, phases: Sequence[str]) -> Iterator[str]:
    """Each distinct value with what leads to it."""
    for pcr in pcrs_of(measurement):
        for value in values_at(measurement, pcr, phases):
            yield from _line(value)
            reasons = value.hosts or tuple(f"if {condition}" for condition in value.conditions)
            yield from (f"      {clean(text)}" for text in reasons[:_MOST_LINES])
            yield from _more(len(reasons), "hosts" if value.hosts else "conditions", "      ")


def _table(measurement: Measurement, pcrs: Sequence[int], phases: Sequence[str]) -> Iterator[str]:
    for pcr in pcrs:
        for value in values_at(measurement, pcr, phases):
            yield from _line(value)


def _line(value: Value) -> Iterator[str]:
    # The other registers are the same in every phase. In this order register, bank and SHA-256 fit into 80 columns.
    phase = (value.phase or ":") if value.pcr == PCR_KERNEL_IMAGE else ""
    yield f"  PCR {value.pcr:<2} {value.bank} {value.value.hex()}  {clean(phase)}"
    if value.pcr == PCR_KERNEL_IMAGE:
        yield f"         policy {policy_of(value).hex()}"


def _more(count: int, what: str, indent: str = "") -> Iterator[str]:
    if count > _MOST_LINES:
        yield f"{indent}and {count - _MOST_LINES} more {what}, all of them with --format json"


def _shortened(texts: Sequence[str]) -> str:
    more = f" and {len(texts) - 4} more" if len(texts) > 4 else ""
    return ", ".join(texts[:4]) + more
