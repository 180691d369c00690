"""The option --format, with a word on each of the forms a result has."""

from __future__ import annotations

import argparse

_WIDTH = 48
# What is meant wherever a command does not say something else.
_MEANING = {
    "text": "for people",
    "json": "for programs (schemas: stubsim schema)",
    "html": "one page that needs neither network nor script",
}


def add(parser: argparse.ArgumentParser, *names: str, **own: str) -> None:
    """The option with these forms, the first the default; ``own`` has those that are particular to the command."""
    meaning = {name: _MEANING[name] for name in names} | {name.replace("_", "-"): text for name, text in own.items()}
    default = next(iter(meaning))
    told = "; ".join(f"{name}{' (default)' if name == default else ''}: {text}" for name, text in meaning.items())
    # All of them in one word do not fit into a line of the usage.
    metavar = None if len(",".join(meaning)) < _WIDTH else "FORM"
    parser.add_argument("--format", choices=tuple(meaning), default=default, metavar=metavar, help=told)
