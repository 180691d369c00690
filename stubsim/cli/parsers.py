"""The parsers of the command line: one command's when it runs, all of them for completions and the manual."""

from __future__ import annotations

import argparse
from importlib import import_module
from types import ModuleType
from typing import NoReturn

from stubsim.cli import output
from stubsim.cli.commands import COMMANDS, DESCRIPTION
from stubsim.errors import StubsimError
from stubsim.version import __version__

PROGRAM = "stubsim"


class Parser(argparse.ArgumentParser):
    """An argument parser whose complaint is one line and goes the way of every other error."""

    def error(self, message: str) -> NoReturn:
        raise StubsimError(message, hint=f"see {self.prog} --help")

    def print_help(self, file: object = None) -> None:
        output.write("-", self.format_help())


def module(name: str) -> ModuleType:
    """The module of a command, with ``add_arguments`` and ``run``."""
    return import_module(f"stubsim.cli.{name.replace('-', '_')}")


def one(name: str) -> Parser:
    """The parser of a command."""
    return _filled(name, Parser(prog=f"{PROGRAM} {name}", description=COMMANDS[name], allow_abbrev=False))


def every() -> Parser:
    """One parser with all commands below it. It imports every command, so nothing is parsed with it."""
    parser = Parser(prog=PROGRAM, description=DESCRIPTION, allow_abbrev=False)
    parser.add_argument("--version", action="version", version=__version__, help="show the version")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command", required=True)
    for name, text in COMMANDS.items():
        _filled(name, commands.add_parser(name, help=text, description=text, allow_abbrev=False))
    return parser


def _filled(name: str, parser: Parser) -> Parser:
    module(name).add_arguments(parser)
    parser.add_argument("-o", "--output", metavar="FILE", default="-", help="write to FILE; - is standard output")
    parser.add_argument(
        "--color",
        choices=("auto", "always", "never"),
        default="auto",
        help="colour in text (default: on a terminal, unless NO_COLOR is set; with FORCE_COLOR in a pipe, too)",
    )
    parser.add_argument("--debug", action="store_true", help="show where in the program an error arose")
    return parser
