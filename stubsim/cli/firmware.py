"""The options of a virtual machine's firmware and what it reads, the same in every command that has its log."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from stubsim import extent
from stubsim.cli import output
from stubsim.cli.start import read
from stubsim.errors import StubsimError
from stubsim.hosts import Host
from stubsim.hosts.host import Variable
from stubsim.rows import NamedTuple
from stubsim.start import Start

if TYPE_CHECKING:
    from stubsim.explain.snp import Launch, Request
    from stubsim.formats import gpt
    from stubsim.result import Boot
    from stubsim.uefi.platform import Platform

_Value = TypeVar("_Value")
_OPTIONS = ("firmware", "vars", "disk", "gpt", "fw_cfg", "option_rom", "baseline")
_XZ = b"\xfd7zXZ\0"
_MEMORY_MAX, _UNPACKED_MAX, _PIECE = 128 << 20, 64 << 20, 1 << 20


class Machine(NamedTuple):
    """The platform, and host and start as the platform's files have them."""

    platform: Platform
    host: Host
    start: Start


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

    if arguments.format not in ("text", "json"):
        raise StubsimError(f"--format {arguments.format} has no place for --snp", hint="use --format json or text")
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
    from stubsim.formats import eventlog_text, option_rom, varstore
    from stubsim.uefi.baseline import Baseline
    from stubsim.uefi.esp import Esp
    from stubsim.uefi.image_path import QEMU_KERNEL
    from stubsim.uefi.measured.secure_boot_policy import databases, secure_boot
    from stubsim.uefi.platform import Platform, firmware_image

    platform = Platform(
        host,
        firmware=_parsed(arguments.firmware, firmware_image),
        variables=_parsed(arguments.vars, varstore.parse),
        disk=_partition_table(arguments),
        fw_cfg=_fw_cfg(arguments.fw_cfg),
        esp=None if start.esp is None else Esp(start.esp),
        option_roms=tuple(
            program for path in arguments.option_rom or () for program in _parsed(path, option_rom.efi_images) or ()
        ),
        baseline=_parsed(arguments.baseline, lambda data: Baseline(eventlog_text.read_log(data))),
        from_qemu=start.loader == "qemu-kernel" or start.path == QEMU_KERNEL or host.direct_boot is not None,
    )
    is_on = secure_boot(platform)
    if platform.variables is not None or platform.baseline is not None:
        if isinstance(is_on, bool):
            host = _with_secure_boot(host, is_on)
            if is_on:
                if arguments.db:
                    name = arguments.vars or arguments.baseline
                    output.warn(f"{', '.join(arguments.db)}: --db is not used, db of {name} counts")
                try:
                    start = start._replace(trusted=databases(platform).trusts)
                except StubsimError as error:
                    raise error.within(path=arguments.vars or arguments.baseline) from error
        host = _with_variables(host, platform)
        start = start._replace(whole_store=platform.variables is not None)
    return Machine(platform._replace(host=host), host, start)


def _with_secure_boot(host: Host, is_on: bool) -> Host:
    if host.secure_boot != is_on and "secure_boot" not in host.unknown:
        said, found = ("on" if value else "off" for value in (host.secure_boot, is_on))
        text = f"the host file says that Secure Boot is {said}; by --vars or --baseline it is {found}, which counts"
        output.warn(text)
    return host._replace(secure_boot=is_on, unknown=host.unknown - {"secure_boot"})


def _with_variables(host: Host, platform: Platform) -> Host:
    """Those of the store, and of the host file what the store does not have: some live for one boot only."""
    if platform.variables is None:
        return host
    stored = [Variable(*row) for row in platform.variables or ()]
    names = {(row.name, row.guid) for row in stored}
    own = (row for row in host.variables if (row.name, row.guid) not in names)
    return host._replace(variables=(*stored, *own), unknown=host.unknown - {"variables"})


def _parsed(path: str | None, parse: Callable[[bytes], _Value]) -> _Value | None:
    """A file that was named, read by its parser, whose errors name it then."""
    if path is None:
        return None
    try:
        return parse(_content(path))
    except StubsimError as error:
        raise error.within(path=path) from error


def _content(path: str) -> bytes:
    """A file as it is, or unpacked where it is compressed as a whole."""
    data = read(path)
    return _unpacked(data, path) if data.startswith(_XZ) else data


def _unpacked(data: bytes, path: str) -> bytes:
    # Not in every build of Python.
    try:
        import lzma
    except ImportError as error:
        raise StubsimError("this Python has no lzma, which unpacks .xz", path=path) from error
    try:
        unpacker = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MEMORY_MAX)
        # Piece by piece: what turns out to be too large was never in one place.
        pieces, left = [unpacker.decompress(data, _PIECE)], _UNPACKED_MAX
        while not unpacker.eof and pieces[-1] and (left := left - len(pieces[-1])) > 0:
            pieces.append(unpacker.decompress(b"", min(left, _PIECE)))
    except lzma.LZMAError as error:
        raise StubsimError(f"not unpacked: {error}", path=path, expected="a whole .xz file") from error
    if not unpacker.eof:
        raise StubsimError("too large or cut off", path=path, expected=f"at most {_UNPACKED_MAX >> 20} MiB unpacked")
    return b"".join(pieces)


def _fw_cfg(path: str | None) -> dict[str, bytes] | None:
    from stubsim.formats import fw_cfg_files
    from stubsim.uefi.esp import Esp

    if path is None or not os.path.isdir(path):
        return _parsed(path, fw_cfg_files.parse)
    files = Esp(path).paths()
    return {fw_cfg_files.name_of(os.path.relpath(file, path)): _content(file) for file in files}


def _partition_table(arguments: argparse.Namespace) -> gpt.Table | None:
    """Of a disk's image nothing else is read."""
    from stubsim.formats import gpt

    if arguments.disk is None:
        return _parsed(arguments.gpt, gpt.parse)
    try:
        return gpt.parse(extent.of_file(arguments.disk))
    except StubsimError as error:
        raise error.within(path=arguments.disk) from error
