"""`stubsim why UKI --smbios HOST`."""

from __future__ import annotations

import argparse

from stubsim.cli import formats, machine, output, progress, start
from stubsim.cli.simulated import all_simulated
from stubsim.explain.why import why
from stubsim.simulation import boot
from stubsim.views.json import Json
from stubsim.views.why import render_why, why_json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    start.add_uki(parser)
    machine.add_smbios(parser)
    start.add_arguments(parser)
    formats.add(parser, "text", "json", "html")


def run(arguments: argparse.Namespace) -> int:
    host = machine.load(arguments.smbios, allow_outside=arguments.allow_outside)
    image, started = start.given(arguments, host, told=host)
    with progress.shown(f"booting {image.path}"):
        result = boot(image, host, started)
    output.write_report(arguments, why_json(why(result, started)), render_why, _page)
    return 0 if all_simulated(result) else 1


def _page(report: Json, call: str) -> str:
    from stubsim.views.html_why import why_page

    return why_page(report, call)
