"""`stubsim check PATH...`, and `stubsim check --init UKI --hosts DIR`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from stubsim.cli import formats, machine, output
from stubsim.cli.run import INTERNAL_ERROR
from stubsim.errors import InternalError, StubsimError, reason
from stubsim.testing import cases
from stubsim.testing.cases import Case, Machine
from stubsim.testing.running import Result, Run, check_all, runs_of, unread
from stubsim.testing.update import Update, updates
from stubsim.views.check import check_json, render_check

# Fewer boots are done before a bar has moved.
_WORTH_A_BAR = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "paths", metavar="PATH", nargs="*", help=f"a case file, or a folder with files *{cases.SUFFIX} at any depth"
    )
    parser.add_argument("--update", action="store_true", help="rewrite expectations that do not hold (needs tomlkit)")
    parser.add_argument("--junit", metavar="FILE", help="also write the results as JUnit XML")
    parser.add_argument(
        "-j", "--jobs", metavar="N", type=_jobs, help="at most N processes (default: as many as save time)"
    )
    machine.add_allow_outside(parser)
    first = parser.add_argument_group("a first suite")
    first.add_argument("--init", metavar="UKI", help="write a case file with what this UKI does now")
    first.add_argument("--hosts", metavar="DIR", help="on these machines: a folder of host files, or a pattern")
    formats.add(parser, "text", "json")


def run(arguments: argparse.Namespace) -> int:
    if arguments.init is not None or arguments.hosts is not None:
        return _init(arguments)
    if not arguments.paths:
        raise StubsimError("nothing to check", expected="case files or folders", hint="see stubsim check --help")
    files = cases.find(arguments.paths)
    results = _checked(files, arguments.jobs, update=arguments.update, allow_outside=arguments.allow_outside)
    for path in (arguments.output, arguments.junit):
        for name in {name for result in results for name in (result.run.case.uki, result.run.machine.path)}:
            if path is not None:
                output.refuse_input(path, name)
    updated: Sequence[Update] = ()
    if arguments.update:
        updated = updates(results)
        changed = [update for update in updated if update.places]
        for update in changed:
            output.write_file(update.file, [update.content])
        results = (
            _checked(files, arguments.jobs, update=True, allow_outside=arguments.allow_outside) if changed else results
        )
    report = check_json(results, updated)
    if arguments.junit is not None:
        from stubsim.views.junit import junit

        output.write(arguments.junit, junit(report, [result.seconds for result in results]))
    output.write_report(arguments, report, render_check)
    if any(isinstance(result.error, InternalError) for result in results):
        return INTERNAL_ERROR
    errors = _errors(results)
    for text in errors:
        output.tell("error", text)
    return 2 if errors else 1 if report["failed"] else 0


def _errors(results: Sequence[Result]) -> dict[str, StubsimError]:
    """What could not be read, each once: a UKI may be that of many runs."""
    found = (result.error for result in results if result.error is not None)
    return {str(error): error for error in found if not isinstance(error, InternalError)}


def _checked(files: Sequence[str], jobs: int | None, *, update: bool, allow_outside: bool) -> Sequence[Result]:
    """What came of every file; a mistake in one, or a UKI or host that cannot be read, does not hide the others.

    Raises the StubsimError where nothing could be booted, and before anything is updated; also for a file that is not
    there.
    """
    found: list[Case] = []
    broken: list[Result] = []
    for file in files:
        try:
            found += cases.load(file, allow_outside=allow_outside)
        except StubsimError as error:
            if update or not os.path.exists(file):
                raise
            broken.extend(unread(file, one) for one in (error, *error.more))
    runs = runs_of(found)
    with _progress(runs) as tick:
        results = (*broken, *check_all(runs, jobs, tick, allow_outside=allow_outside))
    errors = _errors(results)
    if errors and (update or all(str(result.error) in errors for result in results)):
        first, *others = errors.values()
        first.more = tuple(others)
        raise first
    return results


@contextmanager
def _progress(runs: Sequence[Run]) -> Iterator[Callable[[int], None]]:
    """A bar on standard error, which goes away when all is done; none where nobody looks."""
    if len(runs) < _WORTH_A_BAR or not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        yield lambda done: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress

    # No thread of its own: processes are forked while it stands there.
    console = Console(stderr=True)
    with Progress(BarColumn(), MofNCompleteColumn(), console=console, transient=True, auto_refresh=False) as bar:
        task = bar.add_task("", total=len(runs))
        yield lambda done: bar.update(task, completed=done, refresh=done % _WORTH_A_BAR == 0 or done == len(runs))


def _init(arguments: argparse.Namespace) -> int:
    if arguments.init is None or arguments.hosts is None or arguments.paths or arguments.update or arguments.junit:
        raise StubsimError("a first suite takes --init UKI and --hosts DIR, and nothing to check")
    from stubsim.testing.suite import first_suite

    folder = "." if arguments.output == "-" else os.path.dirname(arguments.output) or "."
    output.write(
        arguments.output,
        first_suite(arguments.init, _machines(arguments.hosts), folder, allow_outside=arguments.allow_outside),
    )
    return 0


def _machines(place: str) -> Sequence[Machine]:
    """The files of a folder, or those that a pattern matches."""
    if not os.path.isdir(place):
        return cases.machines(place, place) or _none(place)
    try:
        names = sorted(name for name in os.listdir(place) if not name.startswith("."))
    except OSError as error:
        raise StubsimError(f"cannot be read: {reason(error)}", path=place) from error
    paths = [os.path.join(place, name) for name in names if not name.endswith(cases.SUFFIX)]
    return [Machine(path, path) for path in paths if os.path.isfile(path)] or _none(place)


def _none(place: str) -> Sequence[Machine]:
    raise StubsimError("no host file there", path=place, expected="a folder of host files, or a pattern (--hosts)")


def _jobs(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 4 and int(text)):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of processes from 1 to 9999")
    return int(text)
