"""`stubsim inspect UKI` and `stubsim inspect DIR`."""

from __future__ import annotations

import argparse
import os

from stubsim import uki
from stubsim.cli import formats, output, progress
from stubsim.errors import StubsimError
from stubsim.views.inspect import inspect_json, render_inspect

# A UKI with a devicetree for each machine of a distribution can have one for each of them.
_MOST_WARNINGS = 64


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "uki", metavar="UKI", help="a unified kernel image, an addon, or a folder: list the UKIs below it"
    )
    parser.add_argument(
        "--section",
        metavar="NAME",
        help="write the bytes of a section, by name or number, as the stub sees them; with -o FILE",
    )
    formats.add(parser, "text", "json")


def run(arguments: argparse.Namespace) -> int:
    if os.path.isdir(arguments.uki):
        return _list(arguments)
    if arguments.section is not None:
        return _take_out(uki.load(arguments.uki), arguments)
    with progress.shown(f"reading {arguments.uki}"):
        report = inspect_json(uki.load(arguments.uki))
    if not output.seen_together(arguments):
        _warn(arguments.uki, report["warnings"])
    output.write_report(arguments, report, render_inspect)
    return 0


def _list(arguments: argparse.Namespace) -> int:
    from stubsim.explain import partition
    from stubsim.views.partition import folder_json, render_folder

    folder = arguments.uki
    if arguments.section is not None:
        raise StubsimError("a folder has no sections", path=folder, expected="a UKI with --section")
    with progress.shown(f"reading {folder}"):
        report = folder_json(folder, partition.read(folder))
    output.write_report(arguments, report, render_folder)
    return 0


def _warn(path: str, texts: list[str]) -> None:
    for text in texts[:_MOST_WARNINGS]:
        output.warn(f"{path}: {text}")
    if len(texts) > _MOST_WARNINGS:
        output.warn(f"{path}: and {len(texts) - _MOST_WARNINGS} more, all of them with --format json")


def _take_out(image: uki.Uki, arguments: argparse.Namespace) -> int:
    wanted, sections = arguments.section, image.image.sections
    found = [section for section in sections if wanted in (section.name, str(section.index))]
    if not found:
        names = ", ".join(dict.fromkeys(section.name for section in sections))
        raise StubsimError(f"no section {wanted!r}", path=image.path, expected=f"one of {names}")
    if len(found) > 1:
        numbers = ", ".join(str(section.index) for section in found)
        raise StubsimError(f"several sections {wanted!r}", path=image.path, expected=f"one of the numbers {numbers}")
    data = image.data(found[0])
    if arguments.output == "-":
        output.write("-", bytes(data))
    else:
        output.write_file(arguments.output, [data])
    return 0
