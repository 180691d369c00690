"""`stubsim boot UKI --smbios HOST`."""

from __future__ import annotations

import argparse
import os
from contextlib import suppress
from typing import TYPE_CHECKING

from stubsim.cli import firmware, formats, machine, output, progress, start
from stubsim.errors import StubsimError, reason
from stubsim.formats import pe_memory
from stubsim.result import Boot
from stubsim.simulation import boot
from stubsim.trace import Log, Unknown

if TYPE_CHECKING:
    from stubsim.explain.snp import Launch


def add_arguments(parser: argparse.ArgumentParser) -> None:
    start.add_uki(parser)
    machine.add_smbios(parser)
    firmware.add_arguments(parser)
    start.add_arguments(parser)
    formats.add(
        parser,
        "text",
        "json",
        "html",
        eventlog="what loader, stub and kernel measure as a TCG event log",
        qtest="the accesses to fw_cfg as a script for QEMU's -qtest",
    )
    parser.add_argument(
        "--snp",
        metavar="KEY=VALUE,...",
        help="add the SEV-SNP launch measurement of the chosen firmware, for vcpus=4,type=EPYC-v4; also "
        "guest_features=0x1 and vmm=QEMU (needs sev-snp-measure)",
    )
    parser.add_argument("--extract", metavar="DIR", help="write what kernel and hypervisor get as files into DIR")


def run(arguments: argparse.Namespace) -> int:
    request = None
    if arguments.snp is not None:
        if arguments.format not in ("text", "json"):
            raise StubsimError(f"--format {arguments.format} has no place for --snp", hint="use --format json or text")
        from stubsim.explain import snp

        request = snp.parse(arguments.snp)
    host = machine.load(arguments.smbios, allow_outside=arguments.allow_outside)
    image, how = start.given(arguments, host, told=host)
    platform = None
    if firmware.is_given(arguments):
        platform, host, how = firmware.machine(arguments, host, how)
    with progress.shown(f"booting {image.path}"):
        result = boot(image, host, how)
        if platform is not None and (result.host.tpm or result.host.confidential == "tdx"):
            from stubsim.explain.whole_log import whole_log, with_whole_log

            result = with_whole_log(result, whole_log(result, platform, how))
    launch = None if request is None else snp.measure(result, request)
    good, seen = _is_good(result), output.seen_together(arguments)
    _tell(result, good, result.uki.path, seen=seen)
    if result.next is not None:
        _tell(result.next, good := _is_good(result.next), f"{result.uki.path}: after the update", seen=seen)
    if arguments.extract is not None:
        _extract(result, arguments)
    output.write(arguments.output, _rendered(result, launch, arguments))
    return 0 if good else 1


def _is_good(result: Boot) -> bool:
    return result.outcome.status in ("kernel-started", "firmware-update")


def _tell(result: Boot, good: bool, where: str, *, seen: bool) -> None:
    """A line on standard error for each complaint, and for what ended the boot unless that is ``seen`` beside it."""
    last = result.outcome.said
    complaints = any(isinstance(event, Log) and event.level in ("error", "warning") for event in result.trace)
    if complaints or pe_memory.overlaps(result.uki.image):
        from stubsim.explain.warnings import of_boot

        for text in of_boot(result):
            if good or text != last:
                output.warn(f"{where}: {text}")
    for event in result.trace:
        if isinstance(event, Unknown) and "outcome" in event.affects:
            output.warn(f"{where}: how it ends is not known: {event.what}: {event.why}")
    if not good and not seen:
        output.tell("error", f"{where}: {result.outcome.told}")


def _rendered(result: Boot, launch: Launch | None, arguments: argparse.Namespace) -> output.Content:
    if arguments.format == "eventlog":
        from stubsim.views.eventlog import event_log

        return event_log(result)
    if arguments.format == "qtest":
        from stubsim.views.qtest import script

        return script(result)
    if arguments.format == "json":
        from stubsim.views.json import boot_json, document

        return document(boot_json(result, launch))
    if arguments.format == "html":
        from stubsim.views.html_boot import boot_page

        return boot_page(result, output.call(arguments))
    from stubsim.views.terminal import render_boot

    return render_boot(result, output.screen(arguments), launch)


def _extract(result: Boot, arguments: argparse.Namespace) -> None:
    """What is handed over as files, all of them or none."""
    from stubsim.views.files import NAMES, handed_over

    folder = arguments.extract
    is_new = not os.path.lexists(folder)
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        raise StubsimError(f"cannot be made a folder: {reason(error)}", path=folder) from error
    files = {os.path.join(folder, name): parts for name, parts in handed_over(result).items()}
    try:
        for path in files:
            output.refuse_inputs(path, arguments)
        output.write_files(files)
    except BaseException:
        if is_new:
            with suppress(OSError):
                os.rmdir(folder)
        raise
    for name in NAMES:
        path = os.path.join(folder, name)
        if path not in files and os.path.lexists(path):
            output.warn(f"{path}: was there before and is left as it is; this boot has no {name}")
