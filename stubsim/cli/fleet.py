"""`stubsim fleet UKI --hosts SOURCE` and `stubsim fleet diff A [B] --hosts SOURCE`."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING

from stubsim import uki
from stubsim.cli import formats, inventory, output, progress, start
from stubsim.cli.diff import starts
from stubsim.errors import StubsimError
from stubsim.machine.tpm import BANKS

if TYPE_CHECKING:
    from stubsim.views.json import Json

TABLE = ".parquet"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "Columns have the names of a host file's keys: manufacturer, product_name, product_sku, family, "
        "baseboard_manufacturer, baseboard_product, bios_vendor, bios_version, bios_release, secure_boot, edid, ... "
        "Null is unknown, as is what there is no column for. With -o result.parquet the answer for each machine is "
        "written there, and the summary to standard output."
    )
    parser.add_argument(
        "uki",
        metavar="UKI",
        nargs="+",
        help="the unified kernel image; or the word diff, and two UKIs or two sets of hardware ids (folders of "
        "descriptions, sections), or one and two --stub or another option twice: what changes for whom",
    )
    inventory.add_arguments(parser)
    parser.add_argument("--fail-on-change", action="store_true", help="with diff: exit with 1 when a machine changes")
    parser.add_argument(
        "--bank",
        metavar="BANK",
        type=str.lower,
        choices=BANKS,
        default="sha256",
        help=f"{', '.join(BANKS)} (default: sha256)",
    )
    start.add_arguments(parser, action="append")
    formats.add(parser, "text", "json", "html", markdown="with diff: a comment on a pull request")


def run(arguments: argparse.Namespace) -> int:
    if arguments.uki[0] == "diff":
        from stubsim.cli import fleet_diff

        return fleet_diff.run(arguments, arguments.uki[1:])
    sides = starts(arguments)
    if len(arguments.uki) > 1 or len(sides) > 1 or arguments.fail_on_change or arguments.format == "markdown":
        raise StubsimError("more than one UKI or way to start it", expected="stubsim fleet diff A B for two")
    return _fleet(arguments, arguments.uki[0], sides[0])


def _fleet(arguments: argparse.Namespace, path: str, side: argparse.Namespace) -> int:
    from stubsim.fleet.columns import given_values
    from stubsim.fleet.crew import crew_for
    from stubsim.fleet.engine import fleet_of
    from stubsim.fleet.plan import Plan
    from stubsim.fleet.summary import summary
    from stubsim.views.fleet import fleet_json, render_fleet

    table, arguments.output = _outputs(arguments)
    if table is not None and not os.path.isdir(os.path.dirname(table) or "."):
        raise StubsimError("cannot be written: no such folder", path=table)
    known = given_values(arguments.given)
    plan = Plan(uki.load(path), start.start(side), bank=arguments.bank, given=known)
    with (
        crew_for([plan]) as crew,
        progress.shown(f"reading {arguments.hosts}"),
        fleet_of(arguments.hosts, sql=arguments.sql, mapping=dict(arguments.map)) as fleet,
    ):
        survey = fleet.survey(crew, lambda text: progress.say(f"{arguments.hosts}: {text}"))
        report = fleet_json(plan, survey, summary(plan, survey), arguments.hosts)
        if table is not None:
            progress.say(f"writing {table}")
            with output.placed(table) as temporary:
                fleet.write(temporary, plan)
    inventory.warn(arguments.hosts, fleet, [plan], survey.refused)
    output.write_report(arguments, report, render_fleet, _page)
    return int(any(row["status"] not in ("kernel-started", "firmware-update") for row in report["outcomes"]))


def _outputs(arguments: argparse.Namespace) -> tuple[str | None, str]:
    """Where the table goes, if anywhere, and where the report goes."""
    if arguments.output.lower().endswith(TABLE):
        return arguments.output, "-"
    return None, arguments.output


def _page(report: Json, call: str) -> str:
    from stubsim.views.html_fleet import fleet_page

    return fleet_page(report, call)
