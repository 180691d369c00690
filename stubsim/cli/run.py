"""Parsing the command line, and turning errors into one line and an exit status."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from itertools import pairwise
from typing import NoReturn

from stubsim.cli import output
from stubsim.cli.commands import COMMANDS, DESCRIPTION
from stubsim.errors import StubsimError
from stubsim.version import __version__

_PROGRAM = "stubsim"


class _Parser(argparse.ArgumentParser):
    """An argument parser whose complaint is one line and goes the way of every other error."""

    def error(self, message: str) -> NoReturn:
        raise StubsimError(message, hint=f"see {self.prog} --help")

    def print_help(self, file: object = None) -> None:
        output.write("-", self.format_help())


def run(argv: list[str]) -> int:
    """Run one command; see `stubsim.cli.main` for the exit status."""
    status = 0
    # Started with a closed one there is no stream at all; nobody reads what is written then.
    sys.stdout = sys.stdout or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    sys.stderr = sys.stderr or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    try:
        try:
            status = _command(argv)
        except StubsimError as error:
            status = 2
            if "--debug" in argv:
                import traceback

                traceback.print_exc()
            _complain(error, argv)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader has seen enough.
        output.discard(sys.stdout)
    except KeyboardInterrupt:
        return 130
    return status


def _command(argv: Sequence[str]) -> int:
    if not argv or argv[0] in ("-h", "--help"):
        output.write("-", _overview())
        return 0 if argv else 2
    if argv[0] == "--version":
        output.write("-", f"{_PROGRAM} {__version__}\n")
        return 0
    name = argv[0]
    if name not in COMMANDS:
        from difflib import get_close_matches

        near = get_close_matches(name, COMMANDS, 1)
        hint = f"did you mean {near[0]}?" if near else f"see {_PROGRAM} --help"
        raise StubsimError(f"no such command or option: {name}", hint=hint)
    module = import_module(f"stubsim.cli.{name.replace('-', '_')}")
    parser = _Parser(prog=f"{_PROGRAM} {name}", description=COMMANDS[name], allow_abbrev=False)
    module.add_arguments(parser)
    parser.add_argument("-o", "--output", metavar="FILE", default="-", help="write to FILE; - is standard output")
    parser.add_argument("--debug", action="store_true", help="show where in the program an error arose")
    status: int = module.run(parser.parse_args(argv[1:]))
    return status


def _overview() -> str:
    lines = [f"usage: {_PROGRAM} COMMAND ...", "", DESCRIPTION, "", "commands:"]
    lines += [f"  {name:<10} {text}" for name, text in COMMANDS.items()]
    lines += ["", f"{_PROGRAM} COMMAND --help shows a command's options; every command takes --format json", ""]
    return "\n".join(lines)


def _complain(error: StubsimError, argv: Sequence[str]) -> None:
    output.tell("error", str(error))
    if _wants_json(argv):
        from stubsim.views.json import dumps, error_json

        # Where that cannot be written either, the line above has to do.
        with suppress(StubsimError):
            output.write("-", dumps(error_json(error)))


def _wants_json(argv: Sequence[str]) -> bool:
    """Whether errors go to standard output as well; looked up in the words, since parsing may have failed."""
    return "--format=json" in argv or ("--format", "json") in pairwise(argv)
