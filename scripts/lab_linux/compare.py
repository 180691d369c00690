"""What `stubsim boot` says of a recorded boot beside what happened."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from scripts.lab.compare import Differences, narrowed
from stubsim import uki
from stubsim.cli import parsers
from stubsim.cli.start import start as start_of
from stubsim.errors import StubsimError
from stubsim.explain.measure import measure_hosts
from stubsim.hosts import recognise
from stubsim.simulation import boot
from stubsim.uefi.variables import LOADER, RUNTIME
from stubsim.views.json import boot_json

Json = dict[str, Any]

_REGISTERS = ("4", "9", "11", "12", "13")
_APPLICATION = "EV_EFI_BOOT_SERVICES_APPLICATION"


class Compared(NamedTuple):
    """The keys in which both differ, and those of which the simulator says that it does not know them."""

    differ: Differences
    unknown: tuple[str, ...]


def compared(folder: Path) -> Compared:
    expected = json.loads((folder / "expect.json").read_text())
    try:
        report = simulated(folder)
    except StubsimError as error:
        return Compared({"refused": (str(error), "it booted")}, ())
    affected = {key for row in report["unknown"] for key in row["affects"]}
    pairs = [*_pairs(report, expected)]
    unknown = tuple(key for key, _, _ in pairs if key in affected)
    differ = {key: narrowed(ours, theirs) for key, ours, theirs in pairs if ours != theirs and key not in unknown}
    return Compared(differ, unknown)


def simulated(folder: Path) -> Json:
    """The JSON of `stubsim boot`, run inside the folder, with PCR 4 as `stubsim measure` has it."""
    recorded, before = json.loads((folder / "boot.json").read_text()), Path.cwd()
    os.chdir(folder)
    try:
        arguments = [recorded["uki"], "--smbios", "host.json", *recorded["args"]]
        start = start_of(parsers.one("boot").parse_args(arguments))
        image, host = uki.load(recorded["uki"]), recognise.load("host.json")
        report = boot_json(boot(image, host, start))
        measured = measure_hosts(image, [("it", host)], start).cases[0].pcrs
    finally:
        os.chdir(before)
    for bank, values in measured.items():
        report["pcrs"][bank] = {str(pcr): value.hex() for pcr, value in values.items()}
    return report


def _pairs(report: Json, expected: Json) -> Iterator[tuple[str, Any, Any]]:
    yield "outcome", report["outcome"]["status"], "kernel-started"
    for bank, values in expected["pcrs"].items():
        ours = report["pcrs"].get(bank, {})
        yield f"pcrs.{bank}", {pcr: ours.get(pcr) for pcr in _REGISTERS}, {pcr: values[pcr] for pcr in _REGISTERS}
    yield "measurements", list(_measured(report["measurements"])), list(_measured(_after_firmware(expected)))
    changes = {row["path"].strip("\\").replace("\\", "/").casefold(): row["size"] for row in report["esp_changes"]}
    yield "esp_changes", changes, {path.casefold(): size for path, size in expected["esp_changes"].items()}
    if expected["cmdline"] is not None:
        yield "cmdline", (report["cmdline"] or "").strip(), expected["cmdline"].strip()
        yield "initrd", _sized(report["initrd"]), expected["initrd"]
        # Those for boot services only are gone when Linux runs; the times are a clock's.
        ours = {
            row["name"]: {"attributes": row["attributes"], "data": row["data"]}
            for row in report["variables"]
            if row["guid"] == str(LOADER) and row["attributes"] & RUNTIME
        }
        yield "variables", _timeless(ours), _timeless(expected["variables"])


def _after_firmware(expected: Json) -> Iterator[Json]:
    """The events of loader, stub and kernel; images in PCR 4 are compared by its value."""
    for event in expected["events"]:
        if event["pcr"] in (9, 11, 12, 13) or (event["pcr"] in (1, 5) and event["type"] == "EV_EVENT_TAG"):
            yield event


def _measured(rows: Iterator[Json] | list[Json]) -> Iterator[Json]:
    for row in rows:
        if row["type"] != _APPLICATION and row["pcr"] != 4:
            yield {key: row[key] for key in ("pcr", "type", "tag", "description", "digests")}


def _timeless(variables: Json) -> Json:
    return {name: row for name, row in variables.items() if not name.startswith("LoaderTime")}


def _sized(row: Json | None) -> Json | None:
    return row and {"size": row["size"], "sha256": row["sha256"]}
