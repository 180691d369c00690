"""`stubsim log UKI --smbios HOST`."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from stubsim.cli import firmware, formats, machine, output, progress, start
from stubsim.cli.simulated import all_simulated
from stubsim.errors import StubsimError, reason
from stubsim.explain.measure import phase_path
from stubsim.explain.predicted_log import WholeLog
from stubsim.explain.whole_log import whole_log
from stubsim.hosts import Host
from stubsim.simulation import boot
from stubsim.views.log import event_log, log_json, render_log

if TYPE_CHECKING:
    from stubsim.explain.snp import Launch

Json = dict[str, Any]
_PCR_MAX = 23
# The forms that have values of registers, not events.
_VALUES = ("rvps", "keylime", "pcr-policy")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    start.add_uki(parser)
    machine.add_smbios(parser)
    parser.add_argument(
        "--pcr",
        metavar="N",
        action="append",
        type=_pcr,
        help="a register of the values for those who verify; may be repeated (default: all that are extended)",
    )
    parser.add_argument(
        "--allow-unknown",
        action="store_true",
        help="leave out registers that are not known of such values and of --format eventlog (default: an error)",
    )
    parser.add_argument(
        "--phase",
        metavar="PHASE",
        type=phase_path,
        help="the boot phase path whose PCR 11 rvps, keylime and pcr-policy have (default: as the kernel starts)",
    )
    firmware.add_snp(parser)
    firmware.add_arguments(parser)
    start.add_arguments(parser)
    formats.add(
        parser,
        "text",
        "json",
        eventlog="the log itself, binary (of a TDX guest the CCEL)",
        pcrlock="components for systemd-pcrlock, into the folder of -o",
        rvps="a message of reference values for trustee's RVPS",
        keylime="a TPM policy for keylime (--tpm_policy)",
        keylime_refstate="a measured boot reference state for keylime (--mb-policy)",
        pcr_policy="what tpm2_createpolicy and systemd-cryptenroll take",
    )


def run(arguments: argparse.Namespace) -> int:
    if arguments.phase is not None and arguments.format not in _VALUES:
        raise StubsimError("--phase is of a register's value", expected=f"--format {', '.join(_VALUES)}")
    request = firmware.snp_request(arguments)
    host = machine.load(arguments.smbios, allow_outside=arguments.allow_outside)
    image, how = start.given(arguments, host)
    platform, host, how = firmware.machine(arguments, host, how)
    with progress.shown(f"booting {image.path}"):
        result = boot(image, host, how)
        if not all_simulated(result):
            return 1
        log = whole_log(result, platform, how)
        launch = firmware.launch(request, result, platform, arguments.firmware)
    started = result.outcome.status == "kernel-started"
    if not started:
        output.warn(f"{image.path}: the kernel is not started: {result.outcome.said}")
    if arguments.format in ("text", "json"):
        output.write_report(arguments, log_json(log, launch), render_log)
    elif arguments.format == "eventlog":
        output.write(arguments.output, event_log(log, allow_unknown=arguments.allow_unknown))
    elif started:
        _write_values(arguments, log, host, launch)
    return 0 if result.outcome.status in ("kernel-started", "firmware-update") else 1


def _write_values(arguments: argparse.Namespace, log: WholeLog, host: Host, launch: Launch | None) -> None:
    from stubsim.views import keylime, reference_values
    from stubsim.views.json import dumps

    if log.is_cc:
        given = [name for name in ("--pcr", "--phase") if getattr(arguments, name[2:])]
        if arguments.format != "rvps" or given:
            what = given[0] if given else f"--format {arguments.format}"
            raise StubsimError(
                f"{what} is of a TPM's registers, and the host is a TDX guest without one",
                expected="--format json, eventlog or rvps, without --pcr and --phase",
            )
        found = reference_values.registers(log, allow_unknown=arguments.allow_unknown)
        output.write(arguments.output, dumps(reference_values.rvps_of_registers(log, found)))
        return
    phase = arguments.phase or ""
    wanted = reference_values.values(log, arguments.pcr, allow_unknown=arguments.allow_unknown, phase=phase)
    if arguments.format == "pcrlock":
        _write_components(arguments.output, reference_values.pcrlock(log, wanted, host.name))
    elif arguments.format == "rvps":
        output.write(arguments.output, dumps(reference_values.rvps(log, wanted, host, launch, phase)))
    elif arguments.format == "pcr-policy":
        output.write(arguments.output, dumps(reference_values.pcr_policy(log, wanted, phase)))
    elif arguments.format == "keylime-refstate":
        said = reference_values.conditions(log, wanted)
        output.write(arguments.output, dumps(keylime.reference_state(log, wanted, host.name, said)))
    else:
        # It has no room for them.
        for text in reference_values.conditions_at(log, wanted, phase):
            output.tell("note", text)
        output.write(arguments.output, dumps(keylime.tpm_policy(wanted)))


def _write_components(folder: str, files: Mapping[str, Json]) -> None:
    from stubsim.views.json import dumps

    if folder == "-":
        raise StubsimError("components are files in a folder", expected="-o and a folder such as /var/lib/pcrlock.d")
    paths = {os.path.join(folder, path): [dumps(content).encode()] for path, content in files.items()}
    for path in paths:
        try:
            os.makedirs(os.path.dirname(path), exist_ok=True)
        except OSError as error:
            raise StubsimError(reason(error), path=os.path.dirname(path)) from error
    output.write_files(paths)


def _pcr(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 2 or int(text) > _PCR_MAX:
        raise argparse.ArgumentTypeError(f"{text!r} is not a register from 0 to {_PCR_MAX}")
    return int(text)
