"""The options that say which machines, the same in every command that asks a fleet."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from stubsim.cli import output

if TYPE_CHECKING:
    from stubsim.fleet.engine import Fleet
    from stubsim.fleet.plan import Plan

SOURCES = "Parquet, NDJSON, CSV, a folder or tar of host files, - for standard input; with --sql a database"


def add_arguments(parser: argparse.ArgumentParser, *, given: bool = True) -> None:
    """The options; ``given`` where it matters what holds for every machine."""
    group = parser.add_argument_group("the machines")
    group.add_argument("--hosts", metavar="SOURCE", required=True, help=SOURCES)
    group.add_argument(
        "--sql", metavar="QUERY", help="what to ask the database that --hosts names: postgresql://... or sqlite:FILE"
    )
    group.add_argument(
        "--map",
        metavar="KEY=COLUMN",
        action="append",
        default=[],
        type=_pair,
        help="the column that has a key, as in manufacturer=sys_vendor; may be repeated",
    )
    if given:
        group.add_argument(
            "--given",
            metavar="KEY=VALUE",
            action="append",
            default=[],
            help="what holds for every machine, as in secure_boot=false or edid=null; may be repeated",
        )


def _pair(text: str) -> tuple[str, str]:
    key, equals, column = text.partition("=")
    if not key or not equals or not column:
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=COLUMN")
    return key, column


def warn(source: str, fleet: Fleet, plans: Sequence[Plan], refused: int) -> None:
    """What the machines are not told of, and what of the source was not read."""
    missing = fleet.unheard(plans)
    if missing:
        there = f"there are {', '.join(fleet.source_columns)}; --map names them"
        output.warn(f"{source}: no column {', '.join(missing)}: not known of any machine ({there})")
    warn_of_refused(source, refused)


def warn_of_refused(source: str, refused: int) -> None:
    """Say how many rows are no machines, if any are."""
    if refused:
        rows = "1 row describes no machine and is" if refused == 1 else f"{refused} rows describe no machine and are"
        output.warn(f"{source}: {rows} left out")
