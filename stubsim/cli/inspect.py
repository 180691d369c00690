"""`stubsim inspect UKI`."""

from __future__ import annotations

import argparse

from stubsim import uki
from stubsim.cli import output, start
from stubsim.views.inspect import inspect_json, render_inspect


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("uki", metavar="UKI", help="a unified kernel image, or an addon")
    parser.add_argument("--format", choices=("text", "json"), default="text")


def run(arguments: argparse.Namespace) -> int:
    report = inspect_json(uki.load(arguments.uki))
    for text in report["warnings"]:
        start.warn(f"{arguments.uki}: {text}")
    if arguments.format == "json":
        from stubsim.views.json import dumps

        output.write(arguments.output, dumps(report))
    else:
        from stubsim.views.terminal import screen

        output.write(arguments.output, render_inspect(report, screen(to_file=arguments.output != "-")))
    return 0
