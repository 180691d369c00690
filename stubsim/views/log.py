"""The complete log, as JSON (`stubsim/log/1`), as text made from the JSON, and as the binary event log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stubsim.errors import StubsimError
from stubsim.explain.whole_log import LogEvent, WholeLog
from stubsim.formats import eventlog
from stubsim.views.terminal import Screen, rendered

if TYPE_CHECKING:
    from rich.console import Console

Json = dict[str, Any]
_SHOWN = 16


def log_json(log: WholeLog) -> Json:
    """The contract of `stubsim log --format json`."""
    return {
        "schema": "stubsim/log/1",
        "banks": list(log.banks),
        "events": [_event(event) for event in log.events],
        "pcrs": {bank: {str(pcr): value.hex() for pcr, value in values.items()} for bank, values in log.pcrs.items()},
        "unknown": [{"pcr": pcr, "why": why} for pcr, why in sorted(log.unknown_pcrs.items())],
        "assumed": list(log.assumed),
    }


def _event(event: LogEvent) -> Json:
    digests = None if event.digests is None else {bank: digest.hex() for bank, digest in event.digests.items()}
    return {
        "by": event.by,
        "pcr": event.pcr,
        "type": event.type,
        "description": event.description,
        "digests": digests,
        "how": event.how,
        "because": event.because,
    }


def event_log(log: WholeLog) -> bytes:
    """The log as the firmware hands it over, but for addresses of the machine's memory, which are 0.

    Raises StubsimError where an event is not known: a log with a gap would look complete.
    """
    events = []
    for event in log.events:
        if event.digests is None or event.type is None:
            raise StubsimError(
                f"PCR {event.pcr}: {event.description} is not known: {event.because}",
                hint="--format json or text has the events that are known",
            )
        events.append(eventlog.Event(event.pcr, eventlog.EVENT_TYPES[event.type], event.digests, event.data))
    return eventlog.build(events, log.banks)


def render_log(report: Json, target: Screen | None = None) -> str:
    """The text for people: a line an event, the values, and what is not known."""

    def draw(console: Console) -> None:
        from rich.text import Text

        from stubsim.printable import clean

        for row in report["events"]:
            style = "yellow" if row["digests"] is None else ""
            console.print(Text(clean(_line(row)), style=style))
        for bank, values in report["pcrs"].items():
            console.print()
            console.print(Text(f"PCR values, {bank}", style="bold"))
            for pcr, value in values.items():
                console.print(Text(f"{pcr:>3}  {value}"))
        for title, lines in (
            ("Not known", [f"PCR {row['pcr']}: {row['why']}" for row in report["unknown"]]),
            ("Taken for granted", report["assumed"]),
        ):
            if lines:
                console.print()
                console.print(Text(title, style="bold"))
            for line in lines:
                console.print(Text(clean(f"  {line}")))

    return rendered(draw, target)


def _line(row: Json) -> str:
    head = f"{row['pcr']:>3}  {row['by']:<8}  {row['type'] or 'events':<33}  "
    if row["digests"] is None:
        return f"{head}{'unknown':<{_SHOWN}}  {row['description']}"
    digest = next(iter(row["digests"].values()))[:_SHOWN]
    return f"{head}{digest}  {row['description']}" + ("" if row["how"] == "computed" else f"  ({row['how']})")
