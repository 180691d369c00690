"""What `stubsim check` found, as JSON (`stubsim/check/1`) and as text; the text is made from the JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from stubsim.printable import clean
from stubsim.testing.running import Result
from stubsim.testing.telling import difference_json, rows
from stubsim.testing.update import Update
from stubsim.views.terminal import Screen, rendered

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

Json = dict[str, Any]

# Nobody reads more, and each takes milliseconds; the JSON has them all.
_MOST_RUNS = 64


def check_json(results: Sequence[Result], updated: Sequence[Update] = ()) -> Json:
    """The contract of `stubsim check --format json`."""
    passed = sum(result.passed for result in results)
    return {
        "schema": "stubsim/check/1",
        "passed": passed,
        "failed": len(results) - passed,
        "runs": [_run(result) for result in results],
        "updated": [_update(update) for update in updated],
    }


def _run(result: Result) -> Json:
    case, machine = result.run
    return {
        "file": case.file,
        "case": case.name,
        "uki": case.uki,
        "host": machine.label,
        "passed": result.passed,
        "error": None if result.error is None else str(result.error),
        "differences": [difference_json(row) for row in result.differences],
    }


def _update(update: Update) -> Json:
    kept = [{"place": place, "why": why} for place, why in update.kept]
    return {"file": update.file, "places": list(update.places), "kept": kept}


def render_check(report: Json, target: Screen | None = None) -> str:
    """The value of `check_json` as text: each failed run with its differences, then the sums."""
    return rendered(lambda console: _draw(console, report), target)


def _draw(console: Console, report: Json) -> None:
    from rich.padding import Padding
    from rich.text import Text

    failed = [run for run in report["runs"] if not run["passed"]]
    for run in failed[:_MOST_RUNS]:
        what = f"{run['file']}: {run['case']}, on {run['host']}"
        console.print(_grid([("FAILED", what)], "bold red"))
        if run["error"] is not None:
            console.print(Padding(_grid([("error", run["error"])], "dim"), (0, 0, 0, 2), expand=False))
        for difference in run["differences"]:
            console.print(Text(f"  {clean(difference['key'])}", "bold", overflow="fold"))
            console.print(Padding(_grid(rows(difference), "dim"), (0, 0, 0, 4), expand=False))
        console.print()
    if len(failed) > _MOST_RUNS:
        console.print(Text(f"also FAILED: {len(failed) - _MOST_RUNS} more, all of them with --format json\n"))
    for update in report["updated"]:
        for place in update["places"]:
            console.print(Text(clean(f"{update['file']}: {place} rewritten"), overflow="fold"))
        for row in update["kept"]:
            console.print(Text(clean(f"{update['file']}: {row['place']} kept: {row['why']}"), overflow="fold"))
    console.print(Text(_sums(report), "bold red" if report["failed"] else "bold green"))


_STYLES = {"expected": "green", "got": "red", "missing": "green", "added": "red", "unknown": "yellow", "because": "dim"}


def _grid(lines: Sequence[tuple[str, str]], style: str) -> Table:
    """Labels, in that style, and texts that go on below themselves."""
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for label, said in lines:
        grid.add_row(Text(label, style), Text(clean(said), _STYLES.get(label, "")))
    return grid


def _sums(report: Json) -> str:
    runs = report["runs"]
    cases, files = {(run["file"], run["case"]) for run in runs}, {run["file"] for run in runs}
    count = ", ".join(_many(len(rows), word) for rows, word in ((runs, "boot"), (cases, "case"), (files, "file")))
    return f"{count}: {report['passed']} as expected" + (f", {report['failed']} not" if report["failed"] else "")


def _many(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"
