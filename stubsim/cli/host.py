"""`stubsim host show|convert HOST`, `stubsim host capture`."""

from __future__ import annotations

import argparse

from stubsim import hosts
from stubsim.cli import output
from stubsim.errors import StubsimError
from stubsim.hosts.recognise import HOST_HELP, LIVE


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "action",
        choices=("show", "convert", "capture"),
        help="show what is understood of a machine; convert it to a host file in JSON; capture this machine as one",
    )
    parser.add_argument("host", metavar="HOST", nargs="?", help=f"{HOST_HELP} (not with capture)")
    parser.add_argument(
        "--keep-ids",
        action="store_true",
        help="keep what identifies one machine in a host file: the raw SMBIOS table with its serial numbers and "
        "UUIDs, OEM strings, EFI variables, secrets",
    )
    parser.add_argument("--format", choices=("text", "json"), default="text", help="of show; a host file is JSON")


def run(arguments: argparse.Namespace) -> int:
    reading = hosts.read(_source(arguments))
    if arguments.action == "show":
        from stubsim.views.host import host_json, render_host

        output.write_report(arguments, host_json(reading), render_host)
        return 0
    from stubsim.hosts.writing import to_json
    from stubsim.views.json import dumps

    value, dropped = to_json(reading.host, keep_ids=arguments.keep_ids)
    for text in dropped:
        output.warn(f"{arguments.host or LIVE}: {text}")
    output.write(arguments.output, dumps(value))
    return 0


def _source(arguments: argparse.Namespace) -> str:
    capture = arguments.action == "capture"
    if capture == (arguments.host is not None):
        wrong = "capture is of this machine and takes no HOST" if capture else f"{arguments.action} wants a HOST"
        raise StubsimError(wrong, hint="see stubsim host --help")
    if arguments.keep_ids and arguments.action == "show":
        raise StubsimError("--keep-ids is for convert and capture", hint="see stubsim host --help")
    return LIVE if capture else str(arguments.host)
