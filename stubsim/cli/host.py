"""`stubsim host show|convert HOST`, `stubsim host capture`, `stubsim host merge A B`."""

from __future__ import annotations

import argparse

from stubsim import hosts
from stubsim.cli import formats, machine, output, parsers
from stubsim.hosts.recognise import HOST_HELP, LIVE


def add_arguments(parser: argparse.ArgumentParser) -> None:
    action = parsers.actions(parser)
    show = action("show", "what is understood of a machine, and what is not")
    show.add_argument("host", metavar="HOST", help=HOST_HELP)
    machine.add_allow_outside(show)
    formats.add(show, "text", "json")

    convert = action("convert", "a host file made of what is known of a machine")
    convert.add_argument("host", metavar="HOST", help=HOST_HELP)
    merge = action("merge", "a host file of two sources for one machine: the second fills what the first leaves open")
    merge.add_argument("host", metavar="A", help=HOST_HELP)
    merge.add_argument("second", metavar="B", help="another source for the same machine")
    for one in (convert, merge, action("capture", "a host file of the machine that this runs on")):
        one.add_argument(
            "--keep-ids",
            action="store_true",
            help="keep what identifies one machine: the raw SMBIOS table with its serial numbers and UUIDs, OEM "
            "strings, EFI variables, secrets",
        )
        machine.add_allow_outside(one)
        formats.add(one, json="a host file")


def run(arguments: argparse.Namespace) -> int:
    source = LIVE if arguments.action == "capture" else arguments.host
    reading = hosts.read(source, allow_outside=arguments.allow_outside)
    if arguments.action == "show":
        from stubsim.views.host import host_json, render_host

        output.write_report(arguments, host_json(reading), render_host)
        return 0
    from stubsim.hosts.writing import to_json
    from stubsim.views.json import dumps

    host = reading.host
    if arguments.action == "merge":
        from stubsim.hosts.merging import merge

        host, conflicts = merge(host, hosts.load(arguments.second, allow_outside=arguments.allow_outside))
        for row in conflicts:
            output.warn(f"{arguments.second}: {row.key} is {row.second}, and {row.first} in {source}, which counts")
    notes = reading.notes if arguments.action == "capture" else ()
    for text in notes:
        output.tell("note", text)
    value, dropped = to_json(host, keep_ids=arguments.keep_ids, notes=notes)
    for text in dropped:
        output.warn(f"{source}: {text}")
    output.write(arguments.output, dumps(value))
    return 0
