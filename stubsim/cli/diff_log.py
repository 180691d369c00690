"""`stubsim diff-log UKI --smbios HOST --eventlog FILE`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from stubsim.cli import files, firmware, formats, machine, output, progress, start
from stubsim.cli.simulated import all_simulated
from stubsim.errors import StubsimError
from stubsim.explain.diff_log import compare
from stubsim.explain.log_facts import applied
from stubsim.explain.log_start import with_loader
from stubsim.formats import eventlog, eventlog_text
from stubsim.simulation import boot
from stubsim.views.diff_log import diff_log_json, render_diff_log

if TYPE_CHECKING:
    from stubsim.explain.firmware_in_log import FirmwareComparison
    from stubsim.result import Boot
    from stubsim.start import Start
    from stubsim.uefi.platform import Platform


def add_arguments(parser: argparse.ArgumentParser) -> None:
    start.add_uki(parser)
    machine.add_smbios(parser)
    parser.add_argument(
        "--eventlog",
        metavar="FILE",
        required=True,
        help="the machine's log: /sys/kernel/security/tpm0/binary_bios_measurements, the CCEL of a TDX guest, text of "
        "tpm2_eventlog or JSON of systemd-pcrlock cel",
    )
    firmware.add_arguments(parser)
    start.add_arguments(parser)
    formats.add(parser, "text", "json")


def run(arguments: argparse.Namespace) -> int:
    host = machine.load(arguments.smbios, allow_outside=arguments.allow_outside)
    image, started = start.given(arguments, host, told=host)
    log = files.parsed(arguments.eventlog, eventlog_text.read_log, files.content)
    if log.sha1_only and host.tpm is not None:
        # It has digests of this bank alone, whatever banks the TPM uses.
        host = host._replace(tpm=("sha1",))
    host, disagreements = applied(host, log, image)
    started = with_loader(started, log, image)
    platform = None
    if firmware.is_given(arguments):
        platform, host, started = firmware.machine(arguments, host, started)
    with progress.shown(f"booting {image.path}"):
        result = boot(image, host, started)
        own = None if platform is None or not result.host.tpm else _firmware(result, platform, started, log)
    try:
        comparison = compare(result, log, started, disagreements)
    except StubsimError as error:
        raise error.within(path=arguments.eventlog) from error
    report = diff_log_json(result, comparison, arguments.eventlog, own)
    output.write_report(arguments, report, render_diff_log)
    return 0 if all_simulated(result) and report["equal"] else 1


def _firmware(result: Boot, platform: Platform, started: Start, log: eventlog.Log) -> FirmwareComparison:
    from stubsim.explain.firmware_in_log import compare_firmware
    from stubsim.explain.whole_log import whole_log

    return compare_firmware(whole_log(result, platform, started), log)
