"""`stubsim log UKI --smbios HOST`."""

from __future__ import annotations

import argparse

from stubsim.cli import firmware, formats, machine, output, progress, start
from stubsim.cli.simulated import all_simulated
from stubsim.explain.whole_log import WholeLog, whole_log
from stubsim.hosts.recognise import HOST_HELP
from stubsim.simulation import boot
from stubsim.views.log import event_log, log_json, render_log


def add_arguments(parser: argparse.ArgumentParser) -> None:
    start.add_uki(parser)
    parser.add_argument("--smbios", "--host", action=machine.Once, metavar="HOST", required=True, help=HOST_HELP)
    firmware.add_arguments(parser)
    start.add_arguments(parser)
    formats.add(
        parser,
        "text",
        "json",
        eventlog="the log itself, binary, where every event of it is known",
    )


def run(arguments: argparse.Namespace) -> int:
    host = machine.load(arguments.smbios, allow_outside=arguments.allow_outside)
    image = start.image(arguments, host)
    platform, host, how = firmware.machine(arguments, host, start.start(arguments))
    with progress.shown(f"booting {arguments.uki}"):
        result = boot(image, host, how)
        if not all_simulated(result):
            return 1
        log = whole_log(result, platform, how)
    if result.outcome.status != "kernel-started":
        output.warn(f"{arguments.uki}: the kernel is not started: {result.outcome.message or result.outcome.status}")
    _write(arguments, log)
    return 0 if result.outcome.status in ("kernel-started", "firmware-update") else 1


def _write(arguments: argparse.Namespace, log: WholeLog) -> None:
    if arguments.format == "eventlog":
        output.write(arguments.output, event_log(log))
    else:
        output.write_report(arguments, log_json(log), render_log)
