"""`stubsim fleet UKI --hosts SOURCE` and `stubsim fleet diff A [B] --hosts SOURCE`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from stubsim import uki
from stubsim.cli import formats, output, progress, start
from stubsim.machine.tpm import BANKS

if TYPE_CHECKING:
    from stubsim.fleet.engine import Fleet
    from stubsim.fleet.plan import Plan
    from stubsim.views.json import Json

TABLE = ".parquet"
SOURCES = "Parquet, NDJSON, CSV, a folder or tar of host files, - for standard input; with --sql a database"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "Columns have the names of a host file's keys: manufacturer, product_name, product_sku, family, "
        "baseboard_manufacturer, baseboard_product, bios_vendor, bios_version, bios_release, secure_boot, edid, ... "
        "Null is unknown, as is what there is no column for. With -o result.parquet the answer for each machine is "
        "written there, and the summary to standard output."
    )
    parser.add_argument("uki", metavar="UKI", help="the unified kernel image")
    add_source(parser)
    parser.add_argument(
        "--bank", metavar="BANK", type=str.lower, choices=BANKS, default="sha256", help=f"one of {', '.join(BANKS)}"
    )
    start.add_arguments(parser)
    formats.add(parser, "text", "json", "html")


def add_source(parser: argparse.ArgumentParser, *, given: bool = True) -> None:
    """The options that say which machines, the same in every command that asks a fleet."""
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


def run(arguments: argparse.Namespace) -> int:
    from stubsim.fleet.columns import given_values
    from stubsim.fleet.engine import fleet_of
    from stubsim.fleet.plan import Plan
    from stubsim.fleet.summary import summary
    from stubsim.views.fleet import fleet_json, render_fleet

    table, arguments.output = _outputs(arguments)
    known = given_values(arguments.given)
    plan = Plan(uki.load(arguments.uki), start.start(arguments), bank=arguments.bank, given=known)
    with (
        progress.shown(f"reading {arguments.hosts}"),
        fleet_of(arguments.hosts, sql=arguments.sql, mapping=dict(arguments.map)) as fleet,
    ):
        survey = fleet.survey([plan], lambda text: progress.say(f"{arguments.hosts}: {text}"))
        report = fleet_json(plan, survey, summary(plan, survey), arguments.hosts)
        if table is not None:
            progress.say(f"writing {table}")
            with output.placed(table) as temporary:
                fleet.write(temporary, plan)
    warn(arguments.hosts, fleet, [plan], survey.refused)
    output.write_report(arguments, report, render_fleet, _page)
    return int(any(row["status"] not in ("kernel-started", "firmware-update") for row in report["outcomes"]))


def _outputs(arguments: argparse.Namespace) -> tuple[str | None, str]:
    """Where the table goes, if anywhere, and where the report goes."""
    if arguments.output.lower().endswith(TABLE):
        return arguments.output, "-"
    return None, arguments.output


def warn(source: str, fleet: Fleet, plans: Sequence[Plan], refused: int) -> None:
    """What the machines are not told of, and what of the source was not read."""
    missing = fleet.unheard(plans)
    if missing:
        there = f"there are {', '.join(fleet.source_columns)}; --map names them"
        output.warn(f"{source}: no column {', '.join(missing)}: not known of any machine ({there})")
    if refused:
        output.warn(f"{source}: {refused} rows describe no machine and are left out")


def _page(report: Json, call: str) -> str:
    from stubsim.views.html_fleet import fleet_page

    return fleet_page(report, call)
