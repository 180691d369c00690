"""What the simulator says of a case beside what a stub did: the keys in which they differ."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Any

from scripts.lab import efirun
from stubsim import uki
from stubsim.errors import StubsimError
from stubsim.hosts import fixture
from stubsim.result import Boot
from stubsim.simulation import boot
from stubsim.start import Start
from stubsim.uefi.variables import LOADER
from stubsim.views.json import boot_json

Json = dict[str, Any]
# Key -> (the simulator's, the stub's).
Differences = dict[str, tuple[Any, Any]]

# Lines of a debug log that name the lab's devices, which no host file tells.
_DEVICES = ("find_serial_console_index", "has_virtio_console_pci_device", "has_graphics_output")
# What a recording calls otherwise than the simulator's JSON.
_KEYS = {"efi_status": "outcome", "messages": "log"}
# Where in the stub's source it halts: no release says it like another.
_HALTED = re.compile(r" at [\w./-]+\.c:\d+@\w+(?:, halting|\. Halting)\.$")
_REGISTERS = ("11", "12", "13")


def simulate(case: efirun.Case, image: uki.Uki) -> Boot:
    """The simulator's boot of a case; raises StubsimError for what it does not read."""
    host = fixture.from_json(case.host)
    start = Start(
        esp=None if case.esp is None else os.fspath(case.esp),
        path=case.path,
        load_options=case.load_options,
        shell=case.shell,
        from_memory=case.from_memory,
        handover="none",
        # LoaderInfo is but a variable here, no boot loader that measured load options before the stub.
        loader="none",
    )
    return boot(image, host, start)


def differences(case: efirun.Case, seen: Json, image: uki.Uki) -> Differences:
    """Empty where both say the same. What the simulator says it does not know is left out."""
    try:
        simulated = boot_json(simulate(case, image))
    except StubsimError as error:
        return {"refused": (str(error), seen["outcome"])}
    unknown = {key for row in simulated["unknown"] for key in row["affects"]}
    if seen["outcome"] not in ("kernel-started", "failed") and "outcome" in unknown:
        # And with it went what it had said and set.
        return {}
    found: Differences = {}
    for key, ours, theirs in _pairs(case, image, simulated, seen):
        if ours != theirs and _KEYS.get(key, key) not in unknown:
            found[key] = narrowed(ours, theirs)
    return found


def narrowed(ours: Any, theirs: Any) -> tuple[Any, Any]:
    """The parts of two values that differ: keys of objects, and lists without what they begin with alike."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        keys = [key for key in ours | theirs if ours.get(key) != theirs.get(key)]
        return {key: ours.get(key) for key in keys}, {key: theirs.get(key) for key in keys}
    if isinstance(ours, list) and isinstance(theirs, list):
        same = next((at for at, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b), None)
        start = min(len(ours), len(theirs)) if same is None else same
        return ours[start:], theirs[start:]
    return ours, theirs


def _pairs(case: efirun.Case, image: uki.Uki, simulated: Json, seen: Json) -> Iterator[tuple[str, Any, Any]]:
    yield "outcome", simulated["outcome"]["status"], seen["outcome"]
    if seen["efi_status"] is not None:
        yield "efi_status", simulated["outcome"]["efi_status"], seen["efi_status"]
    if seen["outcome"] == "kernel-started":
        if seen["selection"] is not None:
            yield "selection", _selected(image, simulated["selection"]), _selected(image, seen["selection"])
        if seen.get("setup_cmdline") is None:
            yield "load_options", simulated["load_options"], seen["load_options"]
        yield "initrd", _sized(simulated["initrd"]), _sized(seen["initrd"])
        tree = simulated["devicetree"]
        # A blob that does not tell its length, or is cut short, ends where nobody can know.
        if tree is None or tree["size"] is not None or seen["devicetree"] is None:
            yield "devicetree", _sized(tree), _sized(seen["devicetree"])
    if seen["measurements"] is not None:
        # Those of which the simulator says that it does not know them, and gives no value.
        open_pcrs = {pcr for row in simulated["unknown"] for pcr in row.get("pcrs", ())}
        if case.host.get("tpm", {}) is not None:
            yield "measurements", _measurements(simulated, [*seen["pcrs"]]), seen["measurements"]
        for bank, registers in seen["pcrs"].items():
            values = simulated["pcrs"].get(bank, {})
            told = [pcr for pcr in _REGISTERS if pcr in values or int(pcr) not in open_pcrs]
            yield f"pcrs.{bank}", {pcr: values.get(pcr) for pcr in told}, {pcr: registers.get(pcr) for pcr in told}
    if case.host.get("confidential") == "tdx" and "rtmrs" in seen:
        # Those that are known: firmware extends the others.
        yield "rtmrs", simulated["rtmrs"], {index: seen["rtmrs"][index] for index in simulated["rtmrs"]}
    if seen["variables"] is not None:
        yield "variables", *_variables(simulated, seen)
    ours = {row["path"].strip("\\").replace("\\", "/").casefold(): row["size"] for row in simulated["esp_changes"]}
    yield "esp_changes", ours, {path.casefold(): row["size"] for path, row in seen["esp_changes"].items()}
    if seen["messages"] is not None:
        yield "messages", [row["message"] for row in simulated["log"]], list(texts(seen["messages"]))


def _selected(image: uki.Uki, selection: Json) -> Json:
    """What was chosen, by content: two sections may hold the same."""
    chosen: Json = {}
    for kind in ("efifw", "dtbauto"):
        row = selection[kind]
        index = row["section"] if isinstance(row, dict) else row[0] if row else None
        chosen[kind] = None if index is None else bytes(image.data(image.image.sections[index])).hex()
    return chosen


def texts(messages: list[str]) -> Iterator[str]:
    """The stub's lines without what names places in its source or the lab's devices."""
    for line in messages:
        place = efirun.PLACE.match(line)
        if place is None or place[1] not in _DEVICES:
            yield _HALTED.sub("", line if place is None else line[place.end() :])


def _measurements(simulated: Json, banks: list[str]) -> list[Json]:
    """The stub's, without the digests for a confidential guest's own registers."""
    rows = [{key: row[key] for key in row if key != "by"} for row in simulated["measurements"] if row["by"] == "stub"]
    return [row | {"digests": {bank: row["digests"].get(bank) for bank in banks}} for row in rows]


def _variables(simulated: Json, seen: Json) -> tuple[Json, Json]:
    """Attributes and value by name; a value that the stub draws at random is no difference."""
    rows = {row["name"]: row for row in simulated["variables"] if row["guid"] == str(LOADER)}
    theirs = {name: [row["attributes"], row["hex"]] for name, row in seen["variables"].items()}
    for name, row in theirs.items():
        if name in rows and rows[name]["data"] is None:
            row[1] = None
    return {name: [row["attributes"], row["data"]] for name, row in rows.items()}, theirs


def _sized(row: Json | None) -> Json | None:
    return row and {"size": row.get("size"), "sha256": row.get("sha256")}
