"""`stubsim stubs`."""

from __future__ import annotations

import argparse

from stubsim.cli import formats, output
from stubsim.views.stubs import render_stubs, stubs_json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    formats.add(parser, "text", "json")


def run(arguments: argparse.Namespace) -> int:
    output.write_report(arguments, stubs_json(), render_stubs)
    return 0
