"""`stubsim diff UKI [UKI] --smbios HOST [--smbios HOST] [--stub MODEL --stub MODEL]`."""

from __future__ import annotations

import argparse

from stubsim import hosts, uki
from stubsim.cli import formats, output, progress, start
from stubsim.cli.simulated import all_simulated
from stubsim.errors import StubsimError
from stubsim.explain.diff import diff
from stubsim.hosts import Host
from stubsim.hosts.recognise import HOST_HELP
from stubsim.simulation import boot
from stubsim.views.diff import diff_json, render_diff
from stubsim.views.json import Json

# What may be given twice, and what it is called in the report.
_OPTIONS = {
    "uki": "UKI", "smbios": "--smbios", "stub": "--stub", "profile": "--profile", "cmdline": "--cmdline",
    "load_options": "--load-options", "shell": "--shell", "esp": "--esp", "path": "--path", "handover": "--handover",
    "memory": "--memory", "loader": "--loader", "boot_file": "--boot-file", "entry": "--entry",
    "xbootldr": "--xbootldr",
}  # fmt: skip
_REPORTED = {"smbios": "host"}
_STARTED = tuple(name for name in _OPTIONS if name not in ("uki", "smbios"))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "What is given once holds for both boots, what is given twice is first A's, then B's: two UKIs, two --smbios, "
        "two --stub, or any other option with a value. Exit status: 0 equal, 1 different, 2 trouble."
    )
    parser.add_argument(
        "uki", metavar="UKI", nargs="*", help="the unified kernel image, or two (default: those of --esp and --entry)"
    )
    parser.add_argument(
        "--smbios", "--host", metavar="HOST", action="append", required=True, help=f"{HOST_HELP}; or two of them"
    )
    start.add_arguments(parser, action="append")
    formats.add(parser, "text", "json", "html")


def run(arguments: argparse.Namespace) -> int:
    varies = _varies(arguments)
    machines = [hosts.load(path, allow_outside=arguments.allow_outside) for path in arguments.smbios]
    secure = next((machine for machine in machines if machine.secure_boot), machines[0])
    sides = starts(arguments)
    images = _images(arguments, sides, machines)
    started = [start.start(side, secure) for side in sides]
    ways = [started[place]._replace(entry=images[place].entry) for place in (0, -1)]
    with progress.shown("booting twice"):
        a, b = (boot(images[place].uki, machines[place], ways[place]) for place in (0, -1))
    report = diff_json(diff((a, b), (ways[0], ways[1])), varies)
    output.write_report(arguments, report, render_diff, _page)
    return 0 if all_simulated(a, b) and report["equal"] else 1


def _images(arguments: argparse.Namespace, sides: list[argparse.Namespace], machines: list[Host]) -> list[start.Image]:
    """Those given, each read once, since it may be a pipe; or that of each side's entry."""
    if not arguments.uki:
        return [start.found(sides[place], machines[place]) for place in (0, -1)]
    images = [uki.load(path) for path in arguments.uki]
    return [start.Image(images[place], sides[place].entry) for place in (0, -1)]


def _page(report: Json, call: str) -> str:
    from stubsim.views.html_diff import diff_page

    return diff_page(report, call)


def _varies(arguments: argparse.Namespace) -> list[str]:
    """What was given twice; StubsimError when nothing was, or something more often."""
    given = {name: len(getattr(arguments, name) or ()) for name in _OPTIONS}
    for name, count in given.items():
        if count > 2:
            raise StubsimError(f"{count} times {_OPTIONS[name]}", expected="once for both boots, or twice")
    varies = [_REPORTED.get(name, name) for name, count in given.items() if count == 2]
    if not varies:
        raise StubsimError("nothing to compare", expected="two UKIs, two --smbios, two --stub or another option twice")
    return varies


def starts(arguments: argparse.Namespace) -> list[argparse.Namespace]:
    """The arguments of each way of starting: one, unless an option of it was given twice."""
    given = {name: getattr(arguments, name) or [None] for name in _STARTED}
    count = max(map(len, given.values()))
    sides = ({name: values[-1 if place else 0] for name, values in given.items()} for place in range(count))
    return [argparse.Namespace(**vars(arguments) | side) for side in sides]
