"""`stubsim chids --smbios HOST`."""

from __future__ import annotations

import argparse

from stubsim import chid
from stubsim.cli import formats, machine, output
from stubsim.views.chids import chids_json, render_chids


def add_arguments(parser: argparse.ArgumentParser) -> None:
    machine.add_smbios(parser)
    machine.add_allow_outside(parser)
    parser.add_argument("--view", choices=chid.VIEWS, default="stub", help="by whose rules (default: stub)")
    formats.add(parser, "text", "json")


def run(arguments: argparse.Namespace) -> int:
    report = chids_json(machine.load(arguments.smbios, allow_outside=arguments.allow_outside), arguments.view)
    output.write_report(arguments, report, render_chids)
    return 0
