"""The parsers of the command line: one command's when it runs, all of them for completions and the manual."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib import import_module
from types import ModuleType
from typing import Any, NoReturn

from stubsim.cli import output
from stubsim.cli.commands import COMMANDS, DESCRIPTION, EXAMPLES
from stubsim.errors import StubsimError
from stubsim.version import __version__

PROGRAM = "stubsim"


class _Formatter(argparse.HelpFormatter):
    """As argparse's, but the name of a program or a file is not broken at its hyphens."""

    def _split_lines(self, text: str, width: int) -> list[str]:
        from textwrap import wrap

        return wrap(" ".join(text.split()), width, break_on_hyphens=False)


class Parser(argparse.ArgumentParser):
    """An argument parser whose complaint is one line and goes the way of every other error."""

    # What it is given, for a complaint that looks at all of it.
    _given: Sequence[str] = ()

    def __init__(self, **options: Any) -> None:
        # argparse makes a formatter for each argument that is added, and one without a width loads shutil.
        super().__init__(formatter_class=partial(argparse.HelpFormatter, width=80), allow_abbrev=False, **options)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        self._given = tuple(args or ())
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        """A typo in an option comes first: often it is why something else is missing, or too much."""
        typo = next((word for word in self._options() if word not in self._known()), None)
        if typo is not None and message.startswith(("the following arguments are required", "unrecognized arguments")):
            from difflib import get_close_matches

            near = get_close_matches(typo, self._known(), 1)
            hint = f"did you mean {near[0]}?" if near else f"see {self.prog} --help"
            raise StubsimError(f"no such option: {typo}", hint=hint)
        raise StubsimError(message, hint=f"see {self.prog} --help")

    def _options(self) -> Iterator[str]:
        for word in self._given:
            if word == "--":
                return
            if word.startswith("--"):
                yield word.partition("=")[0]

    def _known(self) -> list[str]:
        """The options of this command, and of its actions if it has any."""
        below = [one for action in self._actions if isinstance(action.choices, dict) for one in action.choices.values()]
        return [*self._option_string_actions, *(option for one in below for option in one._option_string_actions)]

    def format_help(self) -> str:
        self.formatter_class = _Formatter
        example = EXAMPLES.get(self.prog.removeprefix(f"{PROGRAM} "))
        return super().format_help() + ("" if example is None else f"\nexample:\n  $ {example}\n")

    def print_help(self, file: object = None) -> None:
        output.write("-", self.format_help())


def module(name: str) -> ModuleType:
    """The module of a command, with ``add_arguments`` and ``run``."""
    return import_module(f"stubsim.cli.{name.replace('-', '_')}")


def one(name: str) -> Parser:
    """The parser of a command."""
    return _filled(name, Parser(prog=f"{PROGRAM} {name}", description=COMMANDS[name]))


def every() -> Parser:
    """One parser with all commands below it. It imports every command, so nothing is parsed with it."""
    parser = Parser(prog=PROGRAM, description=DESCRIPTION)
    parser.add_argument("--version", action="version", version=__version__, help="show the version")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command", required=True)
    for name, text in COMMANDS.items():
        _filled(name, commands.add_parser(name, help=text, description=text))
    return parser


def actions(parser: argparse.ArgumentParser) -> Callable[[str, str], argparse.ArgumentParser]:
    """Give a command actions of its own: a function that makes the parser of one, from its name and what it is."""
    below = parser.add_subparsers(title="actions", dest="action", metavar="ACTION", required=True)

    def action(name: str, text: str) -> argparse.ArgumentParser:
        one: argparse.ArgumentParser = below.add_parser(name, help=text, description=text)
        # Behind the action as well as in front of it.
        _add_common(one, suppressed=True)
        return one

    return action


def _filled(name: str, parser: Parser) -> Parser:
    module(name).add_arguments(parser)
    _add_common(parser)
    return parser


def _add_common(parser: argparse.ArgumentParser, *, suppressed: bool = False) -> None:
    def add(*names: str, default: object, **options: Any) -> None:
        parser.add_argument(*names, default=argparse.SUPPRESS if suppressed else default, **options)

    add("-o", "--output", metavar="FILE", default="-", help="write to FILE; - is standard output")
    add(
        "--color",
        choices=("auto", "always", "never"),
        default="auto",
        help="colour in text (default: on a terminal, unless NO_COLOR is set; with FORCE_COLOR also in a pipe)",
    )
    add("--debug", action="store_true", default=False, help="show where in the program an error arose")
