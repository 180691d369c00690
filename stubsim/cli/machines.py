"""Several machines at once, as --smbios and --hosts name them."""

from __future__ import annotations

import argparse
import os
from collections import Counter
from collections.abc import Sequence

from stubsim import hosts
from stubsim.errors import StubsimError, reason
from stubsim.hosts import Host
from stubsim.hosts.recognise import HOST_HELP
from stubsim.machine.tpm import BANKS


def add_machines(parser: argparse.ArgumentParser) -> None:
    """The options of a command for any number of machines, or for whatever machine."""
    parser.add_argument(
        "--smbios",
        "--host",
        metavar="HOST",
        action="append",
        default=[],
        help=f"{HOST_HELP}; may be repeated (default: every value that any machine can get)",
    )
    parser.add_argument("--hosts", metavar="DIR", help="a folder of machines, every file in it")


def add_phases(parser: argparse.ArgumentParser, what: str) -> None:
    """--phase; ``what`` says what the path is one of."""
    from stubsim.explain.measure import phase_path

    parser.add_argument(
        "--phase",
        metavar="PHASE",
        action="append",
        type=phase_path,
        help=f"{what}; ':' is right after the stub; may be repeated (default: enter-initrd, and on to leave-initrd, "
        "sysinit and ready)",
    )


def add_banks(parser: argparse.ArgumentParser, which: str) -> None:
    """--bank; ``which`` says what is asked of them, and which there are by default."""
    banks = f"{', '.join(BANKS)}; {which}"
    parser.add_argument("--bank", metavar="BANK", action="append", type=str.lower, choices=BANKS, help=banks)


def given_machines(arguments: argparse.Namespace) -> list[tuple[str, Host]]:
    """The machines that were given, each by its name."""
    paths = [*arguments.smbios, *host_files(arguments.hosts)]
    return named_hosts(paths, allow_outside=arguments.allow_outside)


def named_hosts(paths: Sequence[str], *, allow_outside: bool = False) -> list[tuple[str, Host]]:
    """Each machine by its name, or by its file where the name is missing or not its own."""
    loaded = [(path, hosts.load(path, allow_outside=allow_outside)) for path in dict.fromkeys(paths)]
    names = Counter(host.name for _, host in loaded)
    return [(host.name if host.name and names[host.name] == 1 else path, host) for path, host in loaded]


def host_files(folder: str | None) -> list[str]:
    """The files right in a folder, in the order of their names; none without a folder."""
    if folder is None:
        return []
    try:
        with os.scandir(folder) as entries:
            found = sorted(entry.path for entry in entries if entry.is_file() and not entry.name.startswith("."))
    except OSError as error:
        raise StubsimError(reason(error), path=folder, expected="a folder of machines (--hosts)") from error
    if not found:
        raise StubsimError("no files", path=folder, expected="a folder of machines (--hosts)")
    return found
