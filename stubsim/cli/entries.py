"""`stubsim entries --esp DIR`."""

from __future__ import annotations

import argparse

from stubsim.cli import formats, machine, output
from stubsim.hosts import Host
from stubsim.views.entries import entries_json, render_entries


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--esp", metavar="DIR", required=True, help="the tree of the partition that has systemd-boot")
    parser.add_argument("--xbootldr", metavar="DIR", help="the tree of the XBOOTLDR partition of the same disk")
    parser.add_argument("--boot-file", metavar="PATH", help="systemd-boot's path there, if it is not a usual one")
    machine.add_smbios(parser, required=False)
    formats.add(parser, "text", "json")


def run(arguments: argparse.Namespace) -> int:
    host = Host() if arguments.smbios is None else machine.load(arguments.smbios)
    report = entries_json(arguments.esp, arguments.xbootldr, arguments.boot_file, host)
    output.write_report(arguments, report, render_entries)
    return 0
