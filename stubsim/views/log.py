"""The complete log, as JSON (`stubsim/log/1`), as text made from the JSON, and as the binary event log."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from stubsim.errors import StubsimError
from stubsim.explain.predicted_log import LogEvent, WholeLog
from stubsim.formats import eventlog
from stubsim.machine.tpm import rtmr
from stubsim.views.launch import TITLE, launch_json, launch_rows
from stubsim.views.terminal import Screen, rendered

if TYPE_CHECKING:
    from rich.console import Console

    from stubsim.explain.snp import Launch

Json = dict[str, Any]
_SHOWN = 16


def log_json(log: WholeLog, launch: Launch | None = None) -> Json:
    """The contract of `stubsim log --format json`."""
    report = {
        "schema": "stubsim/log/1",
        "banks": list(log.banks),
        "events": [_event(event, is_cc=log.is_cc) for event in log.events],
        "pcrs": {bank: {str(pcr): value.hex() for pcr, value in values.items()} for bank, values in log.pcrs.items()},
        "rtmrs": {str(index): value.hex() for index, value in log.rtmrs.items()},
        "unknown": [row._asdict() for row in log.lost],
        "assumed": list(log.assumed),
    }
    return report if launch is None else report | {"snp": launch_json(launch)}


def _event(event: LogEvent, *, is_cc: bool) -> Json:
    digests = None if event.digests is None else {bank: digest.hex() for bank, digest in event.digests.items()}
    return {
        "by": event.by,
        "pcr": event.pcr,
        "rtmr": rtmr(event.pcr) if is_cc else None,
        "type": event.type,
        "description": event.description,
        "digests": digests,
        "how": event.how,
        "because": event.because,
    }


def event_log(log: WholeLog, *, allow_unknown: bool = False) -> bytes:
    """The log as the firmware hands it over, but for addresses of the machine's memory, which are 0.

    Of a TDX guest it is the CCEL: sha384 alone, and the index is that of a register, from 1 on. Raises StubsimError
    where an event is not known, as a log with a gap would look complete, unless registers with one may be left out.
    """
    lost = log.lost_pcrs
    events = []
    for event in log.events:
        if event.pcr in lost and allow_unknown:
            continue
        if event.digests is None or event.type is None:
            raise StubsimError(
                f"{log.register(event.pcr)}: {event.description} is not known: {event.because}",
                hint="--format json or text has the events that are known, --allow-unknown leaves out such registers",
            )
        index = rtmr(event.pcr) if log.is_cc else None
        pcr = event.pcr if index is None else index + 1
        events.append(eventlog.Event(pcr, eventlog.EVENT_TYPES[event.type], event.digests, event.data))
    return eventlog.build(events, log.banks)


def render_log(report: Json, target: Screen | None = None) -> str:
    """The text for people: a line an event, the values, and what is not known."""

    def draw(console: Console) -> None:
        from rich.padding import Padding
        from rich.text import Text

        from stubsim.printable import clean

        console.print(Text(_headline(report), style="bold"))
        console.print()
        bank = next(iter(report["banks"]), "digest")
        register = "PCR" if report["pcrs"] else ""
        console.print(
            Text(f"{register:>3}  {'by':<8}  {'event':<33}  {bank:<{_SHOWN}}  what", style="dim"), soft_wrap=True
        )
        for row in report["events"]:
            style = "yellow" if row["digests"] is None else ""
            console.print(Text(clean(_line(row)), style=style), soft_wrap=True)
        for bank, values in report["pcrs"].items():
            console.print()
            console.print(Text(f"PCR values, {bank}", style="bold"))
            for pcr, value in values.items():
                console.print(Text(f"{pcr:>3}  {value}"), soft_wrap=True)
        if report["rtmrs"]:
            console.print()
            console.print(Text("RTMR values, sha384", style="bold"))
            for index, value in report["rtmrs"].items():
                console.print(Text(f"{index:>3}  {value}"), soft_wrap=True)
        if "snp" in report:
            console.print()
            console.print(Text(TITLE, style="bold"))
            for name, text in launch_rows(report["snp"]):
                console.print(Text(f"  {name:<11}  {text}"), soft_wrap=True)
        for title, lines in (
            ("Unknown", [f"{row['register']}: {row['why']}" for row in report["unknown"]]),
            ("Assumed", report["assumed"]),
        ):
            if lines:
                console.print()
                console.print(Text(title, style="bold"))
            for line in lines:
                console.print(Padding(Text(clean(line)), (0, 0, 0, 2)))

    return rendered(draw, target)


def _headline(report: Json) -> str:
    """How many events there are, and how they are known."""
    counts = Counter(row["how"] for row in report["events"])
    words = {"computed": "computed", "baseline": "from the baseline", "unknown": "unknown"}
    told = ", ".join(f"{counts[how]} {text}" for how, text in words.items() if counts[how])
    return f"{len(report['events'])} events: {told}"


def _line(row: Json) -> str:
    register = row["pcr"] if row["rtmr"] is None else f"R{row['rtmr']}"
    head = f"{register:>3}  {row['by']:<8}  {row['type'] or 'events':<33}  "
    if row["digests"] is None:
        return f"{head}{'unknown':<{_SHOWN}}  {row['description']}"
    digest = next(iter(row["digests"].values()))[:_SHOWN]
    return f"{head}{digest}  {row['description']}" + ("" if row["how"] == "computed" else f"  ({row['how']})")
