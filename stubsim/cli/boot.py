"""`stubsim boot UKI --smbios HOST`."""

from __future__ import annotations

import argparse
import os

from stubsim import hosts, uki
from stubsim.boot import Boot, boot
from stubsim.cli import output, start
from stubsim.trace import Log


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("uki", metavar="UKI", help="the unified kernel image")
    parser.add_argument("--smbios", metavar="HOST", required=True, help="the machine, a host file in JSON")
    start.add_arguments(parser)
    parser.add_argument("--format", choices=("text", "json"), default="text")
    parser.add_argument("--extract", metavar="DIR", help="write what kernel and hypervisor get as files into DIR")


def run(arguments: argparse.Namespace) -> int:
    result = boot(uki.load(arguments.uki), hosts.load(arguments.smbios), start.start(arguments))
    for event in result.trace:
        if isinstance(event, Log) and event.level in ("error", "warning"):
            start.warn(f"{arguments.uki}: {event.message}")
    if arguments.extract is not None:
        _extract(result, arguments.extract)
    output.write(arguments.output, _rendered(result, arguments.format))
    return 0 if result.outcome.status in ("kernel-started", "firmware-update") else 1


def _rendered(result: Boot, form: str) -> str | bytes:
    if form == "json":
        from stubsim.views.json import boot_json, dumps

        return dumps(boot_json(result))
    from stubsim.views.terminal import render_boot

    return render_boot(result)


def _extract(result: Boot, folder: str) -> None:
    from stubsim.views.files import handed_over

    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        from stubsim.errors import StubsimError

        raise StubsimError(error.strerror or str(error), path=folder) from error
    for name, parts in handed_over(result).items():
        output.write_file(os.path.join(folder, name), parts)
