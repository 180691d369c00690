"""Parsing the command line, and turning errors into one line and an exit status."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from itertools import pairwise

from stubsim.cli import output, parsers
from stubsim.cli.commands import COMMANDS, DESCRIPTION
from stubsim.errors import InternalError, StubsimError
from stubsim.version import __version__

# EX_SOFTWARE of sysexits.h: neither the input nor the call is to blame.
INTERNAL_ERROR = 70


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
            status = INTERNAL_ERROR if isinstance(error, InternalError) else 2
            _debug(argv)
            _complain(error, argv)
        except BrokenPipeError:
            raise
        except Exception as error:
            status = INTERNAL_ERROR
            _debug(argv)
            _tell_fault(error, argv)
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
        output.write("-", f"{parsers.PROGRAM} {__version__}\n")
        return 0
    name = argv[0]
    if name not in COMMANDS:
        from difflib import get_close_matches

        near = get_close_matches(name, COMMANDS, 1)
        hint = f"did you mean {near[0]}?" if near else f"see {parsers.PROGRAM} --help"
        raise StubsimError(f"no such command or option: {name}", hint=hint)
    arguments = parsers.one(name).parse_args(argv[1:])
    arguments.call = argv
    _look_at_targets(name, arguments)
    status: int = parsers.module(name).run(arguments)
    return status


def _look_at_targets(name: str, arguments: argparse.Namespace) -> None:
    """Before anything is done in vain: files to write are no folders, and none of those that are read."""
    for path in (arguments.output, getattr(arguments, "junit", None)):
        # The vectors and pcrlock's components are written into a folder.
        into_folder = name == "vectors" or getattr(arguments, "format", None) == "pcrlock"
        if path not in (None, "-") and not into_folder:
            output.refuse_folder(path)
            output.refuse_inputs(path, arguments)


def _overview() -> str:
    lines = [f"usage: {parsers.PROGRAM} COMMAND ...", "", DESCRIPTION, "", "commands:"]
    lines += [f"  {name:<13} {text}" for name, text in COMMANDS.items()]
    lines += ["", "options:", "  -h, --help  show this, or behind a command its options and an example"]
    lines += [
        "  --version   show the version",
        "",
        "Every command takes --format json, -o FILE, --color and --debug.",
        "",
    ]
    return "\n".join(lines)


def _debug(argv: Sequence[str]) -> None:
    """Where in the program the error arose, if that was asked for."""
    if "--debug" in argv:
        import traceback

        from stubsim.printable import clean_lines

        print(clean_lines(traceback.format_exc().rstrip()), file=sys.stderr, flush=True)


def _tell_fault(error: Exception, argv: Sequence[str]) -> None:
    """What nobody expected, in one line all the same, be it that there is no memory left to say more."""
    # The frames hold what filled the memory.
    error.__traceback__ = error.__context__ = None
    try:
        _complain(InternalError.of(error), argv)
    except BrokenPipeError:
        raise
    except Exception:
        with suppress(OSError):
            os.write(2, b"stubsim: error: internal error: not enough memory to say more\n")


def _complain(error: StubsimError, argv: Sequence[str]) -> None:
    for one in (error, *error.more):
        output.tell("error", str(one))
    if _wants_json(argv):
        from stubsim.views.json import dumps, error_json

        # Where that cannot be written either, the line above has to do.
        with suppress(StubsimError):
            output.write("-", dumps(error_json(error)))


def _wants_json(argv: Sequence[str]) -> bool:
    """Whether errors go to standard output as well; looked up in the words, since parsing may have failed."""
    return "--format=json" in argv or ("--format", "json") in pairwise(argv)
