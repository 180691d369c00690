"""A log beside the prediction, as JSON (`stubsim/diff-log/1`) and as text; the text is made from the JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from stubsim.explain.boot_manager import boot_manager_pcr
from stubsim.explain.diff_log import Comparison
from stubsim.explain.log_items import Difference, Item
from stubsim.printable import clean
from stubsim.result import Boot
from stubsim.trace import Unknown
from stubsim.uefi.boot_manager import PCR_BOOT_MANAGER
from stubsim.views.json import Json, hexed, model_json, uki_json, unknown_json
from stubsim.views.terminal import Screen, rendered

if TYPE_CHECKING:
    from rich.console import Console

    from stubsim.explain.firmware_in_log import FirmwareComparison

# Enough of a digest to tell two apart by eye; the JSON has them whole.
_SHORT = 16
_MOST_ROWS = 64
_PCRS = (4, 9, 11, 12, 13)
_STAGES = {"firmware": "firmware", "shim": "shim", "loader": "boot loader", "stub": "stub", "kernel": "kernel"}
_WORDS = {"differs": "differs", "missing": "only predicted", "extra": "only in the log", "order": "other order"}


def diff_log_json(boot: Boot, comparison: Comparison, log: str, firmware: FirmwareComparison | None = None) -> Json:
    """The contract of `stubsim diff-log --format json`; ``log`` is the path of the event log."""
    banks = comparison.banks
    differences = [_difference(row, banks) for row in comparison.differences]
    unknown = [row for row in boot.events(Unknown) if {"measurements", "pcrs"} & set(row.affects)]
    return {
        "schema": "stubsim/diff-log/1",
        "uki": uki_json(boot),
        "model": model_json(boot),
        "host": boot.host.name,
        "log": log,
        "equal": comparison.equal and (firmware is None or not firmware.differences),
        "root_cause": comparison.root,
        "disagreements": [row._asdict() for row in comparison.disagreements],
        "banks": list(banks),
        "matched": comparison.matched,
        "matched_by": comparison.matched_by,
        "skipped": {str(pcr): count for pcr, count in comparison.skipped.items()},
        "hints": list(comparison.hints),
        "first": differences[0] if differences else None,
        "differences": differences,
        "pcrs": {"predicted": _pcrs(_predicted(boot), banks), "logged": _pcrs(comparison.pcrs, banks)},
        "assumed": list(boot.assumed),
        "unknown": [unknown_json(row) for row in unknown],
        **({} if firmware is None else {"firmware": _firmware_json(firmware)}),
    }


def _firmware_json(firmware: FirmwareComparison) -> Json:
    rows = [
        row._asdict()
        | {
            key: None if value is None else hexed(value)
            for key, value in (("predicted", row.predicted), ("logged", row.logged))
        }
        for row in firmware.differences
    ]
    return {"matched": firmware.matched, "unknown": firmware.unknown, "differences": rows}


def _difference(row: Difference, banks: Sequence[str]) -> Json:
    item = row.predicted or row.logged
    return {
        "kind": row.kind,
        "pcr": item and item.pcr,
        "index": row.logged and row.logged.place,
        "predicted": row.predicted and _event(row.predicted, banks),
        "logged": row.logged and _event(row.logged, banks),
        "cause": row.cause,
    }


def _event(item: Item, banks: Sequence[str]) -> Json:
    return {
        "pcr": item.pcr,
        "type": item.type,
        "tag": None if item.tag is None else f"{item.tag:#010x}",
        "description": item.description,
        "digests": hexed({bank: item.digests[bank] for bank in banks if bank in item.digests}),
    }


def _predicted(boot: Boot) -> dict[str, dict[int, bytes]]:
    """The values that are known, PCR 4 with them."""
    started = boot_manager_pcr(boot, boot.start)
    images = {} if isinstance(started, str) else started
    return {
        bank: values | ({PCR_BOOT_MANAGER: images[bank]} if bank in images else {})
        for bank, values in boot.known_pcrs.items()
    }


def _pcrs(values: dict[str, dict[int, bytes]], banks: Sequence[str]) -> Json:
    return {
        bank: {str(pcr): values[bank][pcr].hex() for pcr in _PCRS if pcr in values[bank]}
        for bank in banks
        if bank in values
    }


def render_diff_log(report: Json, target: Screen | None = None) -> str:
    """The value of `diff_log_json` as text."""
    return rendered(lambda console: _draw(console, report), target)


def _draw(console: Console, report: Json) -> None:
    events = _events(report["matched_by"])
    first = report["first"]
    if report["equal"]:
        console.print(f"equal: {events} as predicted", style="bold green", overflow="fold")
    elif report["root_cause"] is None and report.get("firmware", {}).get("differences"):
        console.print("the firmware's own events are not as predicted", style="bold red", overflow="fold")
    elif first is None or report["root_cause"] != first["cause"]:
        console.print(f"cause: {clean(report['root_cause'])}", style="bold red", overflow="fold")
    else:
        _draw_first(console, first)
        first = None
    for text in report["hints"]:
        console.print(f"note: {clean(text)}", style="yellow", overflow="fold")
    for row in report["disagreements"]:
        text = f"host file: {row['key']} is {row['host']}, and {row['log']} in the log, which is taken"
        console.print(clean(text), style="yellow", overflow="fold")
    if first is not None:
        _draw_first(console, first)
    console.print()
    for key, value in _facts(report, events):
        _line(console, f"{key:<14}", clean(value))
    if report["differences"]:
        _draw_all(console, report["differences"])
    if "firmware" in report:
        _draw_firmware(console, report["firmware"])
    _draw_pcrs(console, report)
    for text in report["assumed"]:
        _line(console, "- ", clean(text))
    for row in report["unknown"]:
        _line(console, "- ", f"unknown: {clean(row['what'])} ({clean(row['why'])})")


def _events(matched: dict[str, int]) -> str:
    """How many agree, by the stage that made them."""
    parts = {name: matched[stage] for stage, name in _STAGES.items() if matched.get(stage)}
    count = sum(matched.values())
    events = "1 event" if count == 1 else f"{count} events"
    if len(parts) < 2:
        return events + "".join(f" of the {name}" for name in parts)
    return f"{events} ({', '.join(f'{number} of the {name}' for name, number in parts.items())})"


def _line(console: Console, mark: str, text: str) -> None:
    """A line whose continuations are indented below its text."""
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid()
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row(Text(mark), Text(text))
    console.print(grid)


def _facts(report: Json, events: str) -> list[tuple[str, str]]:
    stub = report["uki"]["stub"]
    name = f"{stub['name']} {stub['version']}" if stub else "stub not recognised"
    model = report["model"]
    skipped = ", ".join(f"{count} of PCR {pcr}" for pcr, count in report["skipped"].items())
    known = "" if model["verified"] else ", not verified by recordings"
    return [
        ("UKI", f"{report['uki']['path']} ({name}; model {model['id']}{known})"),
        ("log", f"{report['log']} ({', '.join(report['banks'])})"),
        ("as predicted", events),
        ("not compared", f"{skipped} (the firmware's)" if skipped else "nothing"),
    ]


def _draw_first(console: Console, first: Json) -> None:
    console.print(f"first difference: {clean(first['cause'])}", style="bold red", overflow="fold")
    for key in ("predicted", "logged"):
        event = first[key]
        if event is None:
            continue
        place = f", event {first['index']} of the log (from 0)" if key == "logged" else ""
        console.print(f"  {key:<11}PCR {event['pcr']}{place}: {event['type']} {_what(event)}", overflow="fold")
        for bank, digest in event["digests"].items():
            console.print(f"    {bank} {digest}", overflow="fold")


def _draw_all(console: Console, differences: list[Json]) -> None:
    from rich.table import Table
    from rich.text import Text

    console.print()
    count = len(differences)
    console.print("1 event differs" if count == 1 else f"all {count} differences", style="bold")
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(justify="right", no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    for _ in range(3):
        table.add_column(overflow="fold")
    table.add_row(*(Text(name, style="dim") for name in ("PCR", "event", "", "what", "likely cause")))
    before = ""
    for row in differences[:_MOST_ROWS]:
        event = row["predicted"] or row["logged"]
        # The two events of a section have one cause.
        cause = "as above" if row["cause"] == before else row["cause"]
        before = row["cause"]
        cells: list[str] = [
            "" if row["pcr"] is None else str(row["pcr"]),
            "" if row["index"] is None else str(row["index"]),
            _WORDS.get(row["kind"], ""),
            "" if event is None else _what(event),
            clean(cause),
        ]
        table.add_row(*(Text(cell) for cell in cells))
    if count > _MOST_ROWS:
        table.add_row(*[Text()] * 4, Text(f"and {count - _MOST_ROWS} more, all of them with --format json"))
    console.print(table)


def _draw_firmware(console: Console, firmware: Json) -> None:
    console.print()
    told = f"{firmware['matched']} events of the firmware as predicted, {firmware['unknown']} sources not known"
    console.print(told, style="bold", overflow="fold")
    for row in firmware["differences"]:
        text = f"  {row['kind']}: PCR {row['pcr']} {row['type']} {row['description']}"
        console.print(clean(text), style="red", overflow="fold")


def _draw_pcrs(console: Console, report: Json) -> None:
    console.print()
    for bank in report["banks"]:
        predicted, logged = (report["pcrs"][key].get(bank, {}) for key in ("predicted", "logged"))
        for pcr in sorted({*predicted, *logged}, key=int):
            # A PCR that no event of the log extends is all zero.
            ours, theirs = predicted.get(pcr, ""), logged.get(pcr, "0" * len(predicted.get(pcr, "")))
            verdict = "as predicted" if ours == theirs else f"predicted {ours[:_SHORT]}..., not the log's"
            if not ours:
                verdict = "not predicted: it depends on what is unknown"
            console.print(f"PCR {pcr} {bank} {theirs[:_SHORT]}...  {verdict}", overflow="fold")
    console.print()


def _what(event: Json) -> str:
    text = clean(event["description"])
    return f"{text} ({event['tag']})" if event["tag"] else text
