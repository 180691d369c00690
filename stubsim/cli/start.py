"""The options of "how the UKI was started", the same in every command that boots."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from stubsim import uki
from stubsim.cli import machine
from stubsim.cli.output import warn
from stubsim.errors import StubsimError
from stubsim.formats.efi_string import utf16z
from stubsim.hosts import Host
from stubsim.hosts.fixture import MEMORY_SIZES, memory_size
from stubsim.rows import NamedTuple
from stubsim.start import Start
from stubsim.uki import Uki


def add_arguments(parser: argparse.ArgumentParser, *, action: str = "store", stub_action: str | None = None) -> None:
    """The options; ``action`` is what argparse does with those that have a value, but for --db.

    ``stub_action`` is that of --stub where it is another one: a command that tries several.
    """
    group = parser.add_argument_group("how the UKI was started")
    group.add_argument("--esp", action=action, metavar="DIR", help="the tree of the partition that it was started from")
    group.add_argument(
        "--path",
        action=action,
        metavar="PATH",
        help=r"its path there, such as \EFI\Linux\x.efi (default: where it lies in --esp)",
    )
    options = group.add_mutually_exclusive_group()
    options.add_argument("--load-options", action=action, metavar="FILE", help="load options, the raw bytes")
    options.add_argument("--cmdline", action=action, metavar="TEXT", help="load options, as text")
    options.add_argument(
        "--shell", action=action, metavar="LINE", help="the line typed in the UEFI shell, program first"
    )
    group.add_argument(
        "--loader",
        action=action,
        choices=("none", "systemd-boot", "qemu-kernel"),
        help="what starts it: none is the firmware itself, qemu-kernel QEMU's -kernel (default: systemd-boot where "
        "--esp has it as what the firmware starts, else none)",
    )
    group.add_argument(
        "--boot-file",
        action=action,
        metavar="PATH",
        help=r"what the firmware starts from --esp: systemd-boot, or shim, which starts that or the UKI "
        r"(default: \EFI\BOOT\BOOTX64.EFI, \EFI\systemd\systemd-bootx64.efi)",
    )
    group.add_argument(
        "--entry",
        action=action,
        metavar="NAME",
        help="the boot loader's entry, by its id such as x.efi@profile, or default (default: that of the UKI)",
    )
    group.add_argument(
        "--xbootldr", action=action, metavar="DIR", help="the tree of the XBOOTLDR partition of the same disk"
    )
    group.add_argument("--from-memory", action="store_true", help="it was loaded from memory: no device and no path")
    group.add_argument(
        "--profile",
        action=action,
        metavar="N|ID",
        type=_profile,
        help="ask for a profile by number or by its id, as @N in the load options",
    )
    group.add_argument(
        "--memory",
        action=action,
        metavar="SIZE",
        type=_memory,
        help="RAM instead of the host file's: 512M, 8G, 1T, ...",
    )
    group.add_argument(
        "--stub",
        action=stub_action or action,
        metavar="MODEL",
        help="the rules of another stub than the UKI's own: 257, 262, next, stubble, ..."
        + ("" if stub_action is None else "; may be repeated for each in turn; all: that of every release"),
    )
    group.add_argument(
        "--handover",
        action=action,
        metavar="NAME",
        help="how a firmware is handed over: a name of `stubsim dialects`, or none",
    )
    machine.add_allow_outside(parser)
    group.add_argument("--follow", action="store_true", help="go on to the boot after a firmware update")
    group.add_argument(
        "--db",
        metavar="CERT",
        action="append",
        help="a certificate that signatures must lead to under Secure Boot; may be repeated (needs cryptography)",
    )


def add_uki(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "uki",
        metavar="UKI",
        nargs="?",
        help="the unified kernel image (default: that of --entry, or what is started from --esp)",
    )


class Image(NamedTuple):
    """A UKI, and by which of the boot loader's entries it is started."""

    uki: Uki
    entry: str | None


def given(arguments: argparse.Namespace, *hosts: Host, told: Host | None = None) -> tuple[Uki, Start]:
    """The UKI and how it was started; ``told`` as in `start`."""
    image = found(arguments, *hosts) if arguments.uki is None else Image(uki.load(arguments.uki), arguments.entry)
    return image.uki, start(arguments, told)._replace(entry=image.entry)


def found(arguments: argparse.Namespace, *hosts: Host) -> Image:
    """The UKI that was left out: what the machines start from --esp, by --entry or by what the partition shows."""
    if arguments.esp is None and arguments.entry is not None:
        raise StubsimError("an entry is on a partition", expected="its tree (--esp)")
    if arguments.esp is None:
        expected = "UKI, or --esp, and --entry for that of a boot loader's entry"
        raise StubsimError("no UKI is given", expected=expected)
    from stubsim.entry_image import started

    path, entry = started(hosts or (Host(),), arguments.esp, arguments.xbootldr, arguments.boot_file, arguments.entry)
    return Image(uki.load(path), entry)


def start(arguments: argparse.Namespace, told: Host | None = None) -> Start:
    """The options as the boot takes them. A --db that the host ``told`` has no use for is warned of."""
    options = None
    if arguments.load_options is not None:
        from stubsim.cli import files

        options = files.content(arguments.load_options)
    elif arguments.cmdline is not None:
        options = utf16z(arguments.cmdline)
    return Start(
        esp=arguments.esp,
        path=arguments.path,
        load_options=options,
        shell=arguments.shell,
        from_memory=arguments.from_memory,
        profile=arguments.profile,
        memory=arguments.memory,
        stub=arguments.stub,
        handover=arguments.handover,
        follow=arguments.follow,
        loader=arguments.loader,
        boot_file=arguments.boot_file,
        entry=arguments.entry,
        xbootldr=arguments.xbootldr,
        trusted=None if arguments.db is None else _trusted(arguments.db, told),
    )


def _trusted(paths: list[str], host: Host | None) -> Callable[[Uki], bool]:
    from stubsim.cli import files
    from stubsim.uefi.secure_boot import read_certificates, trusted_by

    if host is not None and not host.secure_boot:
        warn(f"{', '.join(paths)}: --db is not used, Secure Boot is off on this host")
    contents = [(files.content(path), path) for path in paths]
    return trusted_by([certificate for data, path in contents for certificate in read_certificates(data, path)])


def _profile(text: str) -> int | str:
    if not (text.isascii() and text.lstrip("-").isdigit()):
        return text
    if text.startswith("-") or len(text) > 10 or int(text) > 0xFFFFFFFF:
        raise argparse.ArgumentTypeError(f"{text!r} is not a profile number from 0 to 4294967295")
    return int(text)


def _memory(text: str) -> int:
    size = memory_size(text)
    if size is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not {MEMORY_SIZES}")
    return size
