"""What the firmware's options name, read in their order: the platform, and host and start as it has them."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from typing import TypeVar

from stubsim import extent
from stubsim.cli import files, output
from stubsim.errors import StubsimError
from stubsim.formats import eventlog_text, fw_cfg_files, gpt, option_rom, varstore
from stubsim.hosts import Host
from stubsim.rows import NamedTuple
from stubsim.start import Start
from stubsim.uefi.baseline import Baseline
from stubsim.uefi.esp import Esp
from stubsim.uefi.image_path import QEMU_KERNEL
from stubsim.uefi.known_host import known_host
from stubsim.uefi.measured.secure_boot_policy import databases, secure_boot
from stubsim.uefi.platform import Platform, firmware_image

_Value = TypeVar("_Value")


class Machine(NamedTuple):
    """The platform, and host and start as the platform's files have them."""

    platform: Platform
    host: Host
    start: Start


def machine_of(arguments: argparse.Namespace, host: Host, start: Start) -> Machine:
    """Read the files. What they say of Secure Boot and variables counts, also against the host file."""
    platform = Platform(
        host,
        firmware=_parsed(arguments.firmware, firmware_image),
        variables=_parsed(arguments.vars, varstore.parse),
        disk=_partition_table(arguments),
        fw_cfg=_fw_cfg(arguments.fw_cfg),
        esp=None if start.esp is None else Esp(start.esp),
        option_roms=tuple(
            program
            for path in arguments.option_rom or ()
            for program in files.parsed(path, option_rom.efi_images, files.unpacked)
        ),
        baseline=_parsed(arguments.baseline, lambda data: Baseline(eventlog_text.read_log(data))),
        from_qemu=start.loader == "qemu-kernel" or start.path == QEMU_KERNEL or host.direct_boot is not None,
    )
    known = known_host(platform)
    _tell(host, known)
    start = _as_known(arguments, start, platform)
    return Machine(platform._replace(host=known), known, start)


def _tell(host: Host, known: Host) -> None:
    if host.secure_boot != known.secure_boot and "secure_boot" not in host.unknown:
        said, found = ("on" if value else "off" for value in (host.secure_boot, known.secure_boot))
        text = f"the host file says that Secure Boot is {said}; by --vars or --baseline it is {found}, which counts"
        output.warn(text)


def _as_known(arguments: argparse.Namespace, start: Start, platform: Platform) -> Start:
    """The start with db of the store or the baseline in place of --db, where images are checked by it."""
    start = start._replace(whole_store=platform.variables is not None)
    if secure_boot(platform) is not True:
        return start
    name = arguments.vars or arguments.baseline
    if arguments.db:
        output.warn(f"{', '.join(arguments.db)}: --db is not used, db of {name} counts")
    try:
        return start._replace(trusted=databases(platform).trusts)
    except StubsimError as error:
        raise error.within(path=name) from error


def _parsed(path: str | None, parser: Callable[[bytes], _Value]) -> _Value | None:
    return None if path is None else files.parsed(path, parser, files.unpacked)


def _fw_cfg(path: str | None) -> dict[str, bytes] | None:
    if path is None or not os.path.isdir(path):
        return _parsed(path, fw_cfg_files.parse)
    return files.parsed(path, fw_cfg_files.named, files.folder)


def _partition_table(arguments: argparse.Namespace) -> gpt.Table | None:
    """Of a disk's image nothing else is read."""
    if arguments.disk is None:
        return _parsed(arguments.gpt, gpt.parse)
    return files.parsed(arguments.disk, gpt.parse, extent.of_file)
