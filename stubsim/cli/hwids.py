"""`stubsim hwids build|show|from-host|lint|audit`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from stubsim.cli import formats, inventory, machine, output, parsers, progress
from stubsim.cli.machines import host_files, named_hosts
from stubsim.errors import StubsimError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from stubsim.hosts import Host


def add_arguments(parser: argparse.ArgumentParser) -> None:
    action = parsers.actions(parser)
    build = action("build", "the .hwids section that ukify 262 makes of a folder of descriptions, byte for byte")
    build.add_argument("folder", metavar="DIR", help="hwids descriptions, *.json in it and below")
    formats.add(build, section="the bytes of the section", json="what show says of it")

    show = action("show", "the entries of a section, a UKI, a folder of descriptions or one description")
    show.add_argument("input", metavar="INPUT", help="a .hwids section, a UKI, a folder or a description")
    _add_hosts(show, "a machine whose ids are named in it")
    formats.add(show, "text", "json")

    create = action("from-host", "a description, as ukify takes it, from a machine")
    create.add_argument("host", metavar="HOST", help="the machine")
    machine.add_allow_outside(create)
    device = create.add_mutually_exclusive_group(required=True)
    device.add_argument("--compatible", metavar="TEXT", help="its devicetree's first compatible")
    device.add_argument("--fwid", metavar="TEXT", help="its firmware's id")
    create.add_argument("--types", metavar="N,N,...", type=_types, default=(), help="CHID types (default: 3,4,5,8,9)")
    create.add_argument("--name", metavar="TEXT", help="what it is called (default: manufacturer and family)")
    formats.add(create, json="a description as ukify reads it")

    lint = action("lint", "what is wrong with descriptions, sections and UKIs")
    lint.add_argument(
        "input",
        metavar="INPUT",
        nargs="*",
        help="a folder of descriptions or of UKIs, a description, a UKI or a .hwids section",
    )
    _add_hosts(lint, "a machine whose ids are known, so that more can be found")
    lint.add_argument("--hosts", metavar="DIR", help="a folder of such machines, every file in it")
    lint.add_argument(
        "--fail-on",
        choices=("error", "warning", "note", "never"),
        default="warning",
        help="exit with 1 when there is one as bad as this (default: warning)",
    )
    for name, text in (("--select", "look for these findings only"), ("--ignore", "leave these findings out")):
        lint.add_argument(
            name,
            metavar="CODE",
            action="append",
            type=_codes,
            default=[],
            help=f"{text}: HW207, or HW2 for all that begin so; may be repeated, or be a list with commas",
        )
    lint.add_argument("--explain", metavar="CODE", help="say what a finding means and what to do, and nothing else")
    formats.add(
        lint,
        "text",
        concise="path:line: CODE message, a line for each",
        json="for programs (schemas: stubsim schema)",
        sarif="SARIF 2.1.0, for code scanning",
    )

    audit = action("audit", "which entries are for machines of several models, on an inventory of machines")
    audit.add_argument("input", metavar="INPUT", help="a folder of descriptions or of UKIs, a UKI or a .hwids section")
    inventory.add_arguments(audit, given=False)
    formats.add(audit, "text", "json")


def _add_hosts(parser: argparse.ArgumentParser, text: str) -> None:
    parser.add_argument(
        "--smbios", "--host", metavar="HOST", action="append", default=[], help=f"{text}; may be repeated"
    )
    machine.add_allow_outside(parser)


def _types(text: str) -> tuple[int, ...]:
    numbers = text.split(",")
    if not all(number.isascii() and number.isdigit() and len(number) <= 2 for number in numbers):
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of CHID types such as 3,4,9")
    return tuple(dict.fromkeys(int(number) for number in numbers))


def _codes(text: str) -> tuple[str, ...]:
    """Codes or beginnings of codes, each one that there is."""
    from stubsim.lint import RULES

    codes = tuple(code.strip().upper() for code in text.split(","))
    for code in codes:
        if not code or not any(rule.code.startswith(code) for rule in RULES):
            raise argparse.ArgumentTypeError(f"{code!r} is not a code, nor the beginning of one")
    return codes


def run(arguments: argparse.Namespace) -> int:
    return {"build": _build, "show": _show, "from-host": _from_host, "lint": _lint, "audit": _audit}[arguments.action](
        arguments
    )


def _build(arguments: argparse.Namespace) -> int:
    from stubsim.formats import hwids_json

    files = hwids_json.files(arguments.folder)
    if not files:
        output.warn(f"{arguments.folder}: no {hwids_json.PATTERN} in or below it, so the section has no entries")
    data = hwids_json.build([hwids_json.read(file) for file in files])
    if arguments.format == "section":
        output.write(arguments.output, data)
        return 0
    return _write_tables(arguments, arguments.folder)


def _show(arguments: argparse.Namespace) -> int:
    return _write_tables(
        arguments, arguments.input, named_hosts(arguments.smbios, allow_outside=arguments.allow_outside)
    )


def _write_tables(arguments: argparse.Namespace, path: str, hosts: Iterable[tuple[str, Host]] = ()) -> int:
    from stubsim.lint.subjects import read
    from stubsim.views.hwids import hwids_json, render_hwids

    output.write_report(arguments, hwids_json(path, read([path], tuple(hosts))), render_hwids)
    return 0


def _from_host(arguments: argparse.Namespace) -> int:
    from stubsim.formats import hwids
    from stubsim.lint.from_host import from_host
    from stubsim.views.json import dumps

    kind, string = (
        (hwids.DEVICETREE, arguments.compatible) if arguments.fwid is None else (hwids.UEFI_FW, arguments.fwid)
    )
    try:
        draft = from_host(
            machine.load(arguments.host, allow_outside=arguments.allow_outside),
            kind,
            string,
            arguments.name,
            arguments.types,
        )
    except StubsimError as error:
        raise error.within(path=arguments.host) from error
    for note in draft.notes:
        output.tell("note", f"{arguments.host}: {note}")
    output.write(arguments.output, dumps(draft.description, indent=4))
    return 0


def _lint(arguments: argparse.Namespace) -> int:
    from stubsim.lint import SEVERITIES, lint, selected

    if arguments.explain is not None:
        return _explain(arguments)
    if not arguments.input:
        raise StubsimError("nothing to look at: no INPUT", expected="folders, descriptions, sections or UKIs")
    hosts = named_hosts([*arguments.smbios, *host_files(arguments.hosts)], allow_outside=arguments.allow_outside)
    findings = lint(arguments.input, hosts, selected(sum(arguments.select, ()), sum(arguments.ignore, ())))
    if arguments.format == "concise":
        from stubsim.views.lint import render_concise

        output.write(arguments.output, render_concise(findings))
    elif arguments.format == "sarif":
        from stubsim.views.json import dumps
        from stubsim.views.sarif import sarif

        output.write(arguments.output, dumps(sarif(findings)))
    else:
        from stubsim.views.lint import lint_json, render_lint

        report = lint_json(arguments.input, [label for label, _ in hosts], findings)
        output.write_report(arguments, report, render_lint)
    failing = SEVERITIES[: SEVERITIES.index(arguments.fail_on) + 1] if arguments.fail_on != "never" else ()
    return int(any(finding.severity in failing for finding in findings))


def _audit(arguments: argparse.Namespace) -> int:
    from stubsim.fleet.audit import audit
    from stubsim.fleet.engine import fleet_of
    from stubsim.lint.subjects import read
    from stubsim.views.audit import audit_json, render_audit

    subjects = read([arguments.input])
    with (
        progress.shown(f"reading {arguments.hosts}"),
        fleet_of(arguments.hosts, sql=arguments.sql, mapping=dict(arguments.map)) as machines,
    ):
        found = audit(subjects, machines, lambda text: progress.say(f"{arguments.hosts}: {text}"))
        refused, _ = machines.refused()
    inventory.warn_of_refused(arguments.hosts, refused)
    report = audit_json(arguments.input, arguments.hosts, found)
    output.write_report(arguments, report, render_audit)
    return int(bool(report["several_models"]))


def _explain(arguments: argparse.Namespace) -> int:
    from stubsim.lint import RULES
    from stubsim.views.lint import explanation

    rule = next((rule for rule in RULES if arguments.explain.upper() in (rule.code, rule.name.upper())), None)
    if rule is None:
        codes = f"{RULES[0].code} to {RULES[-1].code}"
        raise StubsimError(f"unknown finding {arguments.explain!r}", expected=codes)
    output.write(arguments.output, explanation(rule, output.screen(arguments)))
    return 0
