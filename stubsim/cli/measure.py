"""`stubsim measure UKI [--smbios HOST]...`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from stubsim.cli import firmware, formats, output, progress, start
from stubsim.cli.machines import add_banks, add_machines, add_phases, given_machines
from stubsim.errors import StubsimError
from stubsim.explain.measure import PHASES, Measurement, measure_any, measure_hosts, policy
from stubsim.hosts import Host
from stubsim.start import Start

if TYPE_CHECKING:
    from stubsim.explain.snp import Launch
    from stubsim.uefi.platform import Platform


def add_arguments(parser: argparse.ArgumentParser) -> None:
    start.add_uki(parser)
    add_machines(parser)
    add_banks(parser, "may be repeated (default: those of the machine's TPM; without one sha256)")
    add_phases(parser, "a boot phase path as of systemd-measure")
    parser.add_argument("--policy", action="store_true", help="the set of values to seal against, with their machines")
    firmware.add_snp(parser)
    firmware.add_arguments(parser)
    start.add_arguments(parser)
    formats.add(
        parser,
        "text",
        json="systemd-measure's keys and more beside them",
        systemd_measure="the JSON of systemd-measure, and nothing else",
    )


def run(arguments: argparse.Namespace) -> int:
    request, launch = firmware.snp_request(arguments), None
    machines = given_machines(arguments)
    image, how = start.given(arguments, *(host for _, host in machines))
    if arguments.smbios or arguments.hosts is not None:

        def tick(done: int) -> None:
            progress.say(f"{image.path}: {done} of {len(machines)} machines")

        platform = None
        if firmware.is_given(arguments):
            platform, machines, how = _machine(arguments, machines, how)
        with progress.shown(f"hashing {image.path}"):
            result = measure_hosts(image, machines, how, arguments.bank, tick)
            if platform is not None:
                from stubsim.explain.whole_log import measured_whole

                result = measured_whole(result, platform, how)
                launch = firmware.launch(request, result.boot, platform, arguments.firmware)
    elif firmware.is_given(arguments):
        raise StubsimError("the firmware's files are those of one machine", expected="its host file (--smbios)")
    else:
        try:
            with progress.shown(f"hashing {image.path}"):
                result = measure_any(image, how, arguments.bank)
        except StubsimError as error:
            raise error.within(path=image.path) from error
    _warn(image.path, result)
    if arguments.policy:
        result = policy(result)
    output.write(arguments.output, _rendered(result, arguments, launch))
    return _status(result, bool(arguments.smbios) or arguments.hosts is not None)


def _machine(
    arguments: argparse.Namespace, machines: Sequence[tuple[str, Host]], how: Start
) -> tuple[Platform, list[tuple[str, Host]], Start]:
    """The one machine with what its firmware's files say of it."""
    if len(machines) != 1:
        raise StubsimError(f"the firmware's files are those of one machine, not of {len(machines)}", expected="one")
    (label, host) = machines[0]
    platform, host, how = firmware.machine(arguments, host, how)
    return platform, [(label, host)], how


def _warn(path: str, result: Measurement) -> None:
    for case in result.cases:
        if case.outcome.status != "kernel-started":
            where = f" on {case.hosts[0]}" if case.hosts else ""
            why = case.outcome.told
            if case.outcome.status == "firmware-update":
                why = "a firmware update is handed over first (--handover none: as released stubs do)"
            output.warn(f"{path}: the kernel is not started{where}: {why}")


def _status(result: Measurement, on_machines: bool) -> int:
    """1: a boot fails; without a machine only where it fails before there is anything to measure."""
    for case in result.cases:
        failed = case.outcome.status not in ("kernel-started", "firmware-update")
        if failed and (on_machines or not case.pcrs):
            return 1
    return 0


def _rendered(result: Measurement, arguments: argparse.Namespace, launch: Launch | None) -> str:
    phases = PHASES if arguments.phase is None else sorted(set(arguments.phase))
    if arguments.format == "text":
        from stubsim.views.measure import render_measure

        return render_measure(result, phases, output.screen(arguments), policy=arguments.policy, launch=launch)
    from stubsim.views.json import dumps
    from stubsim.views.measure import measure_json, systemd_measure_json

    if arguments.format == "systemd-measure":
        return dumps(systemd_measure_json(result, phases))
    return dumps(measure_json(result, phases, policy=arguments.policy, launch=launch))
