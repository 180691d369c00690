"""`stubsim verify-pcrsig UKI [--smbios HOST]...`."""

from __future__ import annotations

import argparse

from stubsim.cli import files, formats, output, progress, start
from stubsim.cli.machines import add_banks, add_machines, add_phases, given_machines
from stubsim.cli.simulated import all_simulated
from stubsim.errors import StubsimError
from stubsim.explain import signing_keys
from stubsim.explain.measure import PHASES
from stubsim.explain.pcr_signatures import verify
from stubsim.views.pcr_signatures import render_verify_pcrsig, verify_pcrsig_json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    # With all options it is wider than a terminal.
    parser.usage = "%(prog)s [OPTION]... [UKI]"
    parser.epilog = (
        "Exit status: 0 each profile, phase and machine has a signature that holds, 1 one of them has none, 2 "
        "trouble. Needs cryptography."
    )
    start.add_uki(parser)
    add_machines(parser)
    add_banks(
        parser,
        "each has to have signatures; may be repeated (default: the one that systemd enrols in, sha256 where the "
        "machine has it, else sha1)",
    )
    add_phases(parser, "a boot phase path that has to have a signature, as of systemd-measure")
    parser.add_argument(
        "--public-key",
        metavar="FILE",
        action="append",
        default=[],
        help="a key in PEM that signatures may be of, beside the UKI's .pcrpkey; may be repeated",
    )
    start.add_arguments(parser)
    formats.add(parser, "text", "json")


def run(arguments: argparse.Namespace) -> int:
    machines = given_machines(arguments)
    image, how = start.given(arguments, *(host for _, host in machines))
    keys = [files.parsed(path, signing_keys.read, files.content) for path in arguments.public_key]
    phases = PHASES if arguments.phase is None else sorted(set(arguments.phase))
    try:
        with progress.shown(f"hashing {image.path}"):
            result = verify(image, machines, how, phases=phases, banks=arguments.bank, keys=keys)
    except StubsimError as error:
        raise error.within(path=image.path) from error
    output.write_report(arguments, verify_pcrsig_json(result), render_verify_pcrsig)
    simulated = all_simulated(*(one.measurement.boot for one in result.handed))
    return 0 if simulated and not result.missing else 1
