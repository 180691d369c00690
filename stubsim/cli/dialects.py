"""`stubsim dialects`."""

from __future__ import annotations

import argparse

from stubsim.cli import formats, output
from stubsim.views.dialects import dialects_json, render_dialects


def add_arguments(parser: argparse.ArgumentParser) -> None:
    formats.add(parser, "text", "json")


def run(arguments: argparse.Namespace) -> int:
    output.write_report(arguments, dialects_json(), render_dialects)
    return 0
