"""What the shells complete, by shtab from the parsers of the command line."""

from __future__ import annotations

import argparse
from collections.abc import Callable

import shtab

from stubsim.cli import parsers
from stubsim.handover import DIALECTS
from stubsim.stub.models import PROPOSALS
from stubsim.systemd.release import NEWEST_POINT

# Shell -> where its completions are looked for, below a prefix such as /usr/local.
PLACES = {
    "bash": "share/bash-completion/completions/stubsim",
    "zsh": "share/zsh/site-functions/_stubsim",
    "fish": "share/fish/vendor_completions.d/stubsim.fish",
}
# What a value or an argument is, by what --help calls it.
_FILES = ("CERT", "FILE", "HOST", "INPUT", "UKI")
_FOLDERS = ("DIR",)
_WORDS: dict[object, Callable[[], list[str]]] = {
    "MODEL": lambda: [*map(str, NEWEST_POINT), *PROPOSALS],
    "NAME": lambda: [*DIALECTS, "none"],
}


def completion(shell: str) -> str:
    """The completion script for one of the shells of PLACES."""
    root = parsers.every()
    _mark(root)
    return str(shtab.complete(root, shell))


def _mark(parser: argparse.ArgumentParser) -> None:
    """Tell shtab which values are files."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                _mark(below)
        elif action.metavar in _WORDS:
            # Not all that is accepted: 257.13 is, too. Nothing is parsed with these.
            action.choices = _WORDS[action.metavar]()
        elif action.metavar in _FOLDERS:
            action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
        elif action.metavar in _FILES or action.dest == "paths":
            action.complete = shtab.FILE  # type: ignore[attr-defined]
