"""`stubsim schema [NAME]`."""

from __future__ import annotations

import argparse
from difflib import get_close_matches

from stubsim import schemas
from stubsim.cli import formats, output
from stubsim.errors import StubsimError
from stubsim.views.json import dumps


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="SCHEMA", nargs="?", help="its name (default: list them all)")
    formats.add(parser, text="the schema as it is in the package, or the list", json="the same, the list as an object")


def run(arguments: argparse.Namespace) -> int:
    if arguments.name is None:
        titles = {name: schemas.load(name)["title"] for name in schemas.NAMES}
        table = "".join(f"{name:<15}{title}\n" for name, title in titles.items())
        output.write(arguments.output, dumps(titles) if arguments.format == "json" else table)
        return 0
    if arguments.name not in schemas.NAMES:
        near = get_close_matches(arguments.name, schemas.NAMES, 1)
        hint = f"did you mean {near[0]}?" if near else None
        raise StubsimError(f"unknown schema {arguments.name!r}", expected=", ".join(schemas.NAMES), hint=hint)
    output.write(arguments.output, dumps(schemas.load(arguments.name)))
    return 0
