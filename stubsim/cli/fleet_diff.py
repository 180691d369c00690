"""`stubsim fleet diff A [B] --hosts SOURCE`: two UKIs, two sets of hardware ids, or two ways to start one."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from stubsim import uki
from stubsim.cli import inventory, output, progress, start
from stubsim.cli.diff import starts
from stubsim.errors import StubsimError

if TYPE_CHECKING:
    from stubsim.views.json import Json


def run(arguments: argparse.Namespace, paths: Sequence[str]) -> int:
    from stubsim.fleet.columns import given_values
    from stubsim.fleet.compare import compare
    from stubsim.fleet.crew import crew_for
    from stubsim.fleet.engine import fleet_of
    from stubsim.fleet.hwids_set import is_set, uki_of
    from stubsim.fleet.plan import Plan
    from stubsim.views.fleet_diff import fleet_diff_json, markdown, render_fleet_diff

    sides = starts(arguments)
    if max(len(paths), len(sides)) != 2 or not 1 <= len(paths) <= 2:
        expected = "two UKIs, two sets of hardware ids, or one and two --stub or another option twice"
        raise StubsimError("not two things to compare", expected=expected)
    sets = [is_set(path) for path in paths]
    images = [uki_of(path) if own else uki.load(path) for path, own in zip(paths, sets, strict=True)]
    known = given_values(arguments.given)
    plans = [Plan(images[place], start.start(sides[place]), bank=arguments.bank, given=known) for place in (0, -1)]
    with (
        crew_for(plans) as crew,
        progress.shown(f"reading {arguments.hosts}"),
        fleet_of(arguments.hosts, sql=arguments.sql, mapping=dict(arguments.map)) as machines,
    ):
        survey = machines.survey(crew, lambda text: progress.say(f"{arguments.hosts}: {text}"))
    found = compare(plans, survey)
    inventory.warn(arguments.hosts, machines, plans, survey.refused)
    report = fleet_diff_json(plans, survey, found, arguments.hosts, boots=not any(sets))
    if arguments.format == "markdown":
        output.write(arguments.output, markdown(report))
    else:
        output.write_report(arguments, report, render_fleet_diff, _page)
    return int(arguments.fail_on_change and found.changed > 0)


def _page(report: Json, call: str) -> str:
    from stubsim.views.html_fleet_diff import fleet_diff_page

    return fleet_diff_page(report, call)
