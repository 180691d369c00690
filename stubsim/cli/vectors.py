"""`stubsim vectors -o DIR`."""

from __future__ import annotations

import argparse
import os

from stubsim.cli import formats, output
from stubsim.errors import StubsimError, reason
from stubsim.testing.vectors import vectors
from stubsim.views.json import dumps
from stubsim.views.vectors import vectors_c, vectors_json

_NAME = "stubsim-vectors"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = f"{parser.description}; with -o DIR as {_NAME}.json and {_NAME}.h in a folder"
    formats.add(parser, "json", c="a header with the same as tables")


def run(arguments: argparse.Namespace) -> int:
    report = vectors_json(vectors())
    if arguments.output == "-":
        output.write("-", dumps(report) if arguments.format == "json" else vectors_c(report))
        return 0
    folder = arguments.output
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        raise StubsimError(f"cannot be made a folder: {reason(error)}", path=folder) from error
    output.write(os.path.join(folder, f"{_NAME}.json"), dumps(report))
    output.write(os.path.join(folder, f"{_NAME}.h"), vectors_c(report))
    return 0
