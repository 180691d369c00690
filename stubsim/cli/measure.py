"""`stubsim measure UKI [--smbios HOST]...`."""

from __future__ import annotations

import argparse
from collections import Counter

from stubsim import hosts, uki
from stubsim.cli import formats, output, start
from stubsim.errors import StubsimError
from stubsim.explain.measure import PHASES, Measurement, measure_any, measure_hosts, phase_path, policy
from stubsim.hosts import Host
from stubsim.hosts.recognise import HOST_HELP
from stubsim.machine.tpm import BANKS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("uki", metavar="UKI", help="the unified kernel image")
    parser.add_argument(
        "--smbios",
        "--host",
        metavar="HOST",
        action="append",
        help=f"{HOST_HELP}; may be repeated (default: every value that any machine can get)",
    )
    parser.add_argument(
        "--bank",
        metavar="BANK",
        action="append",
        type=str.lower,
        choices=BANKS,
        help=f"{', '.join(BANKS)}; may be repeated (default: those of the machine's TPM; without one sha256)",
    )
    parser.add_argument(
        "--phase",
        metavar="PHASE",
        action="append",
        type=phase_path,
        help="a boot phase path as of systemd-measure; ':' is right after the stub; may be repeated (default: "
        "enter-initrd, and on to leave-initrd, sysinit and ready)",
    )
    parser.add_argument("--policy", action="store_true", help="the set of values to seal against, with their machines")
    start.add_arguments(parser)
    formats.add(
        parser,
        "text",
        json="systemd-measure's keys and more beside them",
        systemd_measure="the JSON of systemd-measure, and nothing else",
    )


def run(arguments: argparse.Namespace) -> int:
    image, how = uki.load(arguments.uki), start.start(arguments)
    if arguments.smbios:
        result = measure_hosts(image, _hosts(arguments.smbios), how, arguments.bank)
    else:
        try:
            result = measure_any(image, how, arguments.bank)
        except StubsimError as error:
            raise error.within(path=arguments.uki) from error
    _warn(arguments.uki, result)
    if arguments.policy:
        result = policy(result)
    output.write(arguments.output, _rendered(result, arguments))
    return _status(result, bool(arguments.smbios))


def _hosts(paths: list[str]) -> list[tuple[str, Host]]:
    """Each machine by its name, or by its file where the name is missing or not its own."""
    loaded = [(path, hosts.load(path)) for path in dict.fromkeys(paths)]
    names = Counter(host.name for _, host in loaded)
    return [(host.name if host.name and names[host.name] == 1 else path, host) for path, host in loaded]


def _warn(path: str, result: Measurement) -> None:
    for case in result.cases:
        if case.outcome.status != "kernel-started":
            where = f" on {case.hosts[0]}" if case.hosts else ""
            why = case.outcome.message or case.outcome.status
            if case.outcome.because is not None:
                why += f": {case.outcome.because}"
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


def _rendered(result: Measurement, arguments: argparse.Namespace) -> str:
    phases = PHASES if arguments.phase is None else sorted(set(arguments.phase))
    if arguments.format == "text":
        from stubsim.views.measure import render_measure

        return render_measure(result, phases, output.screen(arguments), policy=arguments.policy)
    from stubsim.views.json import dumps
    from stubsim.views.measure import measure_json, systemd_measure_json

    if arguments.format == "systemd-measure":
        return dumps(systemd_measure_json(result, phases))
    return dumps(measure_json(result, phases, policy=arguments.policy))
