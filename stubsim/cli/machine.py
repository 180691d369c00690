"""The machine of a command, and what is to be said of how it was read."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from stubsim import hosts
from stubsim.cli import output
from stubsim.hosts import Host
from stubsim.hosts.recognise import HOST_HELP


class Once(argparse.Action):
    """An option of a command for one machine: given again, it would take the place of the first without a word."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        if getattr(namespace, self.dest) is not None:
            parser.error(
                f"{option_string} is given twice, and this command is for one machine; stubsim host merge A B -o "
                "host.json joins two sources for one"
            )
        setattr(namespace, self.dest, values)


def add_smbios(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """The option of a command for one machine."""
    parser.add_argument("--smbios", "--host", action=Once, metavar="HOST", required=required, help=HOST_HELP)


def add_allow_outside(parser: argparse.ArgumentParser) -> None:
    """The option of every command that reads machines or cases."""
    parser.add_argument(
        "--allow-outside",
        action="store_true",
        help="read files that a QEMU command line, libvirt XML or a case names wherever they lie (default: below its "
        "folder and the current one)",
    )


def load(path: str, *, allow_outside: bool = False) -> Host:
    """The host at a path; each note of its reading is a line on standard error, damage a warning."""
    reading = hosts.read(path, allow_outside=allow_outside)
    damage = reading.host.notes
    for text in reading.notes:
        output.tell("warning" if text in damage else "note", f"{path}: {text}")
    return reading.host
