"""`stubsim which UKI --pcr N=HEX`."""

from __future__ import annotations

import argparse

from stubsim.cli import files, formats, output, progress, start
from stubsim.cli.machines import add_machines, given_machines
from stubsim.cli.simulated import all_simulated
from stubsim.errors import StubsimError
from stubsim.explain.which import PCRS, Asked, which
from stubsim.formats import eventlog_text
from stubsim.machine.tpm import BANKS, DIGEST_SIZES
from stubsim.stub.models import kinds
from stubsim.views.which import render_which, which_json

# The stub of every known release.
ALL = "all"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    # With all options it is wider than a terminal.
    parser.usage = "%(prog)s [OPTION]... [UKI] --pcr N=HEX"
    parser.epilog = (
        "Exit status: 0 there is a boot of this UKI with the value, or with all of them, 1 there is none, 2 trouble."
    )
    start.add_uki(parser)
    parser.add_argument(
        "--pcr",
        metavar="N=HEX",
        action="append",
        type=_asked,
        required=True,
        help=f"a value of PCR {', '.join(map(str, PCRS[:-1]))} or {PCRS[-1]}, whose length tells the bank; may be "
        "repeated",
    )
    parser.add_argument(
        "--eventlog",
        metavar="FILE",
        help="a log of the machine with the value: where no boot has it, the nearest one and the first event that "
        "departs from it",
    )
    add_machines(parser)
    start.add_arguments(parser, stub_action="append")
    formats.add(parser, "text", "json")


def run(arguments: argparse.Namespace) -> int:
    machines = given_machines(arguments)
    image, how = start.given(arguments, *(host for _, host in machines))
    stubs = list(dict.fromkeys(arguments.stub or [None]))
    alike = None
    if ALL in stubs:
        alike = {ids[-1]: ids for ids in kinds()}
        stubs = [*alike]
    log = None
    if arguments.eventlog is not None:
        log = files.parsed(arguments.eventlog, eventlog_text.read_log, files.content)
    try:
        with progress.shown(f"hashing {image.path}"):
            result = which(image, machines, how._replace(stub=None), arguments.pcr, stubs=stubs, log=log)
    except StubsimError as error:
        raise error.within(path=image.path) from error
    output.write_report(arguments, which_json(result, arguments.eventlog, alike), render_which)
    simulated = all_simulated(*(row.boot for row in result.measurements))
    found = all(row.matches for row in result.answers) and (len(result.answers) == 1 or result.together)
    return 0 if simulated and found else 1


def _asked(text: str) -> Asked:
    number, _, value = text.partition("=")
    pcrs = ", ".join(map(str, PCRS))
    if not (number.isascii() and number.isdigit() and int(number) in PCRS):
        raise argparse.ArgumentTypeError(f"{text!r} is not N=HEX with one of the PCRs {pcrs}")
    try:
        data = bytes.fromhex(value.lower().removeprefix("0x"))
    except ValueError:
        data = b""
    if len(data) not in DIGEST_SIZES.values():
        sizes = ", ".join(f"{bank} {2 * DIGEST_SIZES[bank]}" for bank in BANKS)
        raise argparse.ArgumentTypeError(f"{value!r} is not a value of a PCR, which has so many digits: {sizes}")
    return Asked(int(number), data)
