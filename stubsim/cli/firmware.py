"""The options of a virtual machine's firmware, the same in every command that has its log."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from stubsim.errors import StubsimError

if TYPE_CHECKING:
    from stubsim.cli.firmware_files import Machine
    from stubsim.explain.snp import Launch, Request
    from stubsim.hosts import Host
    from stubsim.result import Boot
    from stubsim.start import Start
    from stubsim.uefi.platform import Platform

_OPTIONS = ("firmware", "vars", "disk", "gpt", "fw_cfg", "option_rom", "baseline")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("the firmware of a virtual machine, for PCR 0 to 7 and 14")
    group.add_argument("--firmware", metavar="FILE", help="its code, such as OVMF_CODE.fd")
    group.add_argument("--vars", metavar="FILE", help="its variable store before the boot, such as OVMF_VARS.fd")
    table = group.add_mutually_exclusive_group()
    table.add_argument("--disk", metavar="IMAGE", help="the raw image of the disk with --esp, for its partition table")
    table.add_argument("--gpt", metavar="FILE", help="the disk's first 34 sectors instead (more does no harm)")
    group.add_argument(
        "--fw-cfg",
        metavar="TAR",
        help="QEMU's fw_cfg files (bootorder, ...), a tar archive or a folder",
    )
    group.add_argument(
        "--baseline",
        metavar="LOG",
        help="a real log of this machine, of any UKI: what cannot be computed of the firmware is taken from it",
    )
    group.add_argument(
        "--option-rom",
        metavar="FILE",
        action="append",
        help="the option ROM of a device, in the order of their loading; may be repeated",
    )


def add_snp(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--snp",
        metavar="KEY=VALUE,...",
        help="add the SEV-SNP launch measurement of --firmware, for vcpus=4,type=EPYC-v4; also guest_features=0x1, "
        "kernel_hashes=on (for QEMU's -kernel) and vmm=QEMU (needs sev-snp-measure)",
    )


def snp_request(arguments: argparse.Namespace) -> Request | None:
    """What --snp asks for. Raises StubsimError for what is wrong in it, and where nothing could be measured."""
    if arguments.snp is None:
        return None
    from stubsim.explain import snp

    if arguments.format not in ("text", "json", "rvps"):
        raise StubsimError(
            f"--format {arguments.format} has no place for --snp", hint="use --format json, text or (in log) rvps"
        )
    if arguments.firmware is None:
        raise StubsimError("--snp measures the machine's firmware", expected="its image (--firmware)")
    return snp.parse(arguments.snp)


def launch(request: Request | None, result: Boot, platform: Platform, path: str) -> Launch | None:
    """Of the firmware in the file of this path."""
    if request is None or platform.firmware is None:
        return None
    from stubsim.explain import snp

    try:
        return snp.measure_machine(result, request, platform.firmware.file)
    except StubsimError as error:
        raise error.within(path=path) from error


def is_given(arguments: argparse.Namespace) -> bool:
    """Whether anything of the firmware is at hand."""
    return any(getattr(arguments, name) is not None for name in _OPTIONS)


def machine(arguments: argparse.Namespace, host: Host, start: Start) -> Machine:
    """Read the files. What they say of Secure Boot and variables counts, also against the host file."""
    from stubsim.cli import firmware_files

    return firmware_files.machine_of(arguments, host, start)
