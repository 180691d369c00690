"""`stubsim chids --smbios HOST`."""

from __future__ import annotations

import argparse

from stubsim import chid, hosts
from stubsim.cli import formats, output
from stubsim.hosts import raw
from stubsim.hosts.recognise import HOST_HELP
from stubsim.views.chids import chids_json, render_chids


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--smbios", "--host", metavar="HOST", required=True, help=HOST_HELP)
    parser.add_argument("--view", choices=chid.VIEWS, default="stub", help="by whose rules (default: stub)")
    formats.add(parser, "text", "json")


def run(arguments: argparse.Namespace) -> int:
    host = hosts.load(arguments.smbios)
    for text in raw.notes(host):
        output.warn(f"{arguments.smbios}: {text}")
    report = chids_json(host, arguments.view)
    output.write_report(arguments, report, render_chids)
    return 0
