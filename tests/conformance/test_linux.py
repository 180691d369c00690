"""Whole boots of a real Linux, from the boot loader to the kernel (golden-linux): the machine's own registers.

The entry is what systemd-boot itself takes; its variables in the host file are what has to come out.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from stubsim.cli import parsers
from stubsim.cli.start import start as start_of
from stubsim.explain.diff_log import compare
from stubsim.explain.log_facts import applied
from stubsim.explain.measure import measure_hosts
from stubsim.formats import eventlog
from stubsim.hosts import recognise
from stubsim.simulation import boot
from stubsim.start import Start
from stubsim.uki import load
from stubsim.views.json import boot_json
from tests.conftest import SHARED

Json = dict[str, Any]
REGISTERS = ("4", "9", "11", "12", "13")
CASES = sorted(path.parent.name for path in (SHARED / "golden-linux").glob("*/boot.json"))


def started(folder: Path) -> tuple[str, Start]:
    case = json.loads((folder / "boot.json").read_text())
    args = case["args"]
    if case["systemd_boot"] is not None:
        args = ["--esp", "esp", "--entry", "default", *(["--db", "db.crt"] if "--db" in args else [])]
    args = [str(folder / text) if text in ("esp", "db.crt") else text for text in args]
    parsed = parsers.one("boot").parse_args([case["uki"], "--smbios", "host.json", *args])
    return str(folder / case["uki"]), start_of(parsed)


def run(folder: Path, host: str) -> tuple[Json, Json]:
    """The boot, its JSON, and what was recorded; PCR 4 is that of `measure`."""
    path, start = started(folder)
    uki, machine = load(path), recognise.load(str(folder / host))
    report = boot_json(boot(uki, machine, start))
    for bank, values in measure_hosts(uki, [("it", machine)], start).cases[0].pcrs.items():
        report["pcrs"].setdefault(bank, {}).update({"4": values[4].hex()} if 4 in values else {})
    return report, json.loads((folder / "expect.json").read_text())


def wrong(report: Json, expected: Json) -> list[tuple[str, str]]:
    """Registers with another value than the TPM's."""
    return [
        (bank, pcr)
        for bank, values in expected["pcrs"].items()
        for pcr in REGISTERS
        if report["pcrs"][bank].get(pcr, values[pcr]) != values[pcr]
    ]


def missing(report: Json, expected: Json) -> set[str]:
    return {pcr for bank in expected["pcrs"] for pcr in REGISTERS if pcr not in report["pcrs"][bank]}


@pytest.mark.parametrize("name", CASES)
def test_the_complete_machine(name: str, linux: Path):
    folder = linux / name
    secret = folder / "host-secret.json"
    report, expected = run(folder, secret.name if secret.exists() else "host.json")
    assert wrong(report, expected) == []
    assert missing(report, expected) == set()
    assert report["cmdline"].strip() == expected["cmdline"].strip()
    if expected["initrd"] is not None:
        assert report["initrd"]["sha256"] == expected["initrd"]["sha256"]
    ours = {
        row["name"]: (row["attributes"], row["data"])
        for row in report["variables"]
        if row["guid"] == "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f" and not row["name"].startswith("LoaderTime")
    }
    theirs = {
        key: (row["attributes"], row["data"])
        for key, row in expected["variables"].items()
        if not key.startswith("LoaderTime")
    }
    # A variable for boot services only is not there afterwards.
    boot_only = {key for key, (attributes, _) in ours.items() if not attributes & 4}
    assert {key: row for key, row in ours.items() if key not in boot_only} == theirs
    assert not [line for line in report["assumed"] if "of the host file is not what" in line]


@pytest.mark.parametrize("name", CASES)
def test_the_captured_machine(name: str, linux: Path):
    """What a capture cannot tell is announced: no register has a wrong value."""
    report, expected = run(linux / name, "host-captured.json")
    assert wrong(report, expected) == []
    if missing(report, expected):
        assert report["unknown"]


@pytest.mark.parametrize("name", CASES)
def test_the_log(name: str, linux: Path):
    """Every event of boot loader, stub and kernel in the machine's own log; Secure Boot and partition are the log's."""
    folder = linux / name
    path, start = started(folder)
    secret = folder / "host-secret.json"
    log = eventlog.parse_log((folder / "eventlog.bin").read_bytes())
    image = load(path)
    machine = recognise.load(str(secret if secret.exists() else folder / "host.json"))
    machine, disagreements = applied(machine, log, image)
    found = compare(boot(image, machine, start), log, start, disagreements)
    assert (found.root, found.differences, found.disagreements, found.hints) == (None, (), (), ())
    assert found.matched_by["kernel"] == 2
    # The rest are the firmware's own: actions and separators, the GPT, boot options, volumes, Secure Boot's variables.
    extending = [event for event in log.events if event.type != eventlog.EVENT_TYPES["EV_NO_ACTION"]]
    assert found.matched == len(extending) - sum(found.skipped.values())
    assert not {9, 11, 12, 13} & set(found.skipped)
    assert found.skipped[4] == 2
