"""`stubsim inspect UKI`."""

from __future__ import annotations

import argparse

from stubsim import uki
from stubsim.cli import formats, output, progress
from stubsim.views.inspect import inspect_json, render_inspect


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("uki", metavar="UKI", help="a unified kernel image, or an addon")
    formats.add(parser, "text", "json")


def run(arguments: argparse.Namespace) -> int:
    with progress.shown(f"reading {arguments.uki}"):
        report = inspect_json(uki.load(arguments.uki))
    for text in report["warnings"]:
        output.warn(f"{arguments.uki}: {text}")
    output.write_report(arguments, report, render_inspect)
    return 0
