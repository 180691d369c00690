"""What a recorded boot and a simulated one are compared in, for the recordings and for the project's own fixtures.

A comparison takes the recording and the JSON of `stubsim boot`, and gives the two values that have to be equal, the
simulated one first; None: the recording holds nothing of it.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from stubsim.cli import main

Json = dict[str, Any]
Pair = tuple[object, object]

# What a debug log tells of the lab's devices (handle numbers, device paths, PCI ids) is not in a host file.
DEVICE_LISTING = ("find_serial_console_index", "has_virtio_console_pci_device", "has_graphics_output")
# From 255 on a message has its place in front: function@file:line.
PLACE = re.compile(r"(?:(\S+@\S+): )?(.*)", re.DOTALL)
# The firmware's own console text, once the stub has returned to it.
FIRMWARE_BANNER = "UEFI Interactive Shell"
# UEFI specification, appendix D, without the bit that says that it is an error.
STATUS = {
    1: "EFI_LOAD_ERROR", 2: "EFI_INVALID_PARAMETER", 3: "EFI_UNSUPPORTED", 9: "EFI_OUT_OF_RESOURCES",
    14: "EFI_NOT_FOUND", 15: "EFI_ACCESS_DENIED", 20: "EFI_ALREADY_STARTED",
}  # fmt: skip


class Recording(NamedTuple):
    """A boot of a real stub: its machine, how it was started, and what came of it."""

    name: str
    host: Json
    args: list[str]
    expected: Json

    @property
    def kernel_started(self) -> bool:
        return bool(self.expected["outcome"] == "kernel-started")


def booted(folder: Path, arguments: list[str]) -> Json:
    """The JSON of `stubsim boot` with the recording's own arguments, run inside its folder (uki.efi, host.json)."""
    before = os.getcwd()
    written = io.BytesIO()
    output = io.TextIOWrapper(written, encoding="utf-8")
    os.chdir(folder)
    try:
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(io.StringIO()):
            status = main(["boot", "uki.efi", "--smbios", "host.json", "--format", "json", *arguments])
    finally:
        os.chdir(before)
    output.flush()
    boot: Json = json.loads(written.getvalue())
    assert status == (0 if boot["outcome"]["status"] == "kernel-started" else 1)
    return boot


def outcome(recording: Recording, boot: Json) -> Pair | None:
    return boot["outcome"]["status"], recording.expected["outcome"]


def efi_status(recording: Recording, boot: Json) -> Pair | None:
    """What the stub returns to the firmware, where that was recorded."""
    expected = recording.expected.get("status")
    if expected is None:
        named = recording.expected.get("efi_status")
        return named and (boot["outcome"]["efi_status"], named)
    return boot["outcome"]["efi_status"], STATUS[int(expected, 16) & ~(1 << 63)]


def selection(recording: Recording, boot: Json) -> Pair | None:
    expected = recording.expected["selection"]
    if expected is None:
        return None
    chosen = boot["selection"]
    return {kind: [chosen[kind]["section"]] if chosen[kind] else None for kind in ("efifw", "dtbauto")}, expected


def command_line(recording: Recording, boot: Json) -> Pair | None:
    """The kernel's load options, which a kernel that was not started has not got, and the text in them."""
    keys = ("load_options", "cmdline") if recording.kernel_started else ("load_options",)
    expected = {**recording.expected, "load_options": recording.expected["load_options"] or None}
    return {key: boot[key] for key in keys}, {key: expected[key] for key in keys}


def initrd(recording: Recording, boot: Json) -> Pair | None:
    if not recording.kernel_started:
        return None
    return _size_and_hash(boot["initrd"]), _size_and_hash(recording.expected["initrd"])


def devicetree(recording: Recording, boot: Json) -> Pair | None:
    if not recording.kernel_started:
        return None
    expected = recording.expected["devicetree"]
    if expected is not None and "window" in expected:
        # A blob without a valid header: the probe could not tell its length, and neither can the stub.
        return boot["devicetree"] and {"size": boot["devicetree"]["size"]}, {"size": None}
    return _size_and_hash(boot["devicetree"]), _size_and_hash(expected)


def measurements(recording: Recording, boot: Json) -> Pair | None:
    """Those of the stub, which is what the recordings hold, in the banks of the TPM."""
    expected = recording.expected["measurements"]
    ours = [{key: row[key] for key in row if key != "by"} for row in boot["measurements"] if row["by"] == "stub"]
    if recording.host.get("confidential"):
        # A confidential guest's own registers need one more digest.
        tpm = recording.host.get("tpm", {})
        if tpm is None:
            return None
        banks = tpm.get("banks", ["sha256"])
        ours = [row | {"digests": {bank: row["digests"][bank] for bank in banks}} for row in ours]
    return None if expected is None else (ours, expected)


def pcrs(recording: Recording, boot: Json) -> Pair | None:
    expected = recording.expected["pcrs"]
    if not expected:
        return (boot["pcrs"], {}) if recording.kernel_started else None
    simulated = boot["pcrs"].get("sha256", {})
    numbers = ("11", "12", "13")
    return {pcr: simulated.get(pcr) for pcr in numbers}, {pcr: expected[pcr] for pcr in numbers}


def rtmrs(recording: Recording, boot: Json) -> Pair | None:
    """Those of a TDX guest that are known: firmware extends the others."""
    if recording.host.get("confidential") != "tdx" or "rtmrs" not in recording.expected:
        return None
    return boot["rtmrs"], {index: recording.expected["rtmrs"][index] for index in boot["rtmrs"]}


def variables(recording: Recording, boot: Json) -> Pair | None:
    if recording.expected["variables"] is None:
        return None
    simulated = {row["name"]: {"attributes": row["attributes"], "hex": row["data"]} for row in boot["variables"]}
    expected = {
        name: {"attributes": row["attributes"], "hex": row["hex"]}
        for name, row in recording.expected["variables"].items()
    }
    for name, row in expected.items():
        if name in simulated and simulated[name]["hex"] is None and _is_random(name, row["hex"], boot):
            row["hex"] = None
    return simulated, expected


def esp_changes(recording: Recording, boot: Json) -> Pair | None:
    if "esp_changes" not in recording.expected:
        return None
    simulated = {row["path"].strip("\\").replace("\\", "/"): row["size"] for row in boot["esp_changes"]}
    return simulated, {path: row["size"] for path, row in recording.expected["esp_changes"].items()}


def messages(recording: Recording, boot: Json) -> Pair | None:
    """Of a PC without a serial port no console text was recorded, but where the stub's calls were watched.

    Arm's virt always has a port, which no host file names.
    """
    watched = recording.expected.get("recorded_by", "").startswith(("emulation", "efirun"))
    has_port = recording.host.get("console", {}).get("serial") or recording.host.get("architecture") == "aa64"
    if not has_port and not watched:
        return None
    lines = []
    for line in recording.expected["messages"]:
        if FIRMWARE_BANNER in line:
            break
        place, message = PLACE.match(line).groups()  # type: ignore[union-attr]
        if (place or "").rpartition("@")[2] not in DEVICE_LISTING:
            lines.append(message)
    return [row["message"] for row in boot["log"]], lines


COMPARISONS: dict[str, Callable[[Recording, Json], Pair | None]] = {
    compare.__name__: compare
    for compare in (
        outcome, efi_status, selection, command_line, initrd, devicetree, measurements, pcrs, rtmrs, variables,
        esp_changes, messages,
    )
}  # fmt: skip


def _size_and_hash(row: Json | None) -> Json | None:
    return row and {"size": row["size"], "sha256": row["sha256"]}


def _is_random(name: str, data: str, boot: Json) -> bool:
    """Drawn at random by the stub: the simulator says so instead of inventing it."""
    unknown = [row["what"] for row in boot["unknown"]]
    return any("boot secret" in what or name in what for what in unknown) or (
        name == "LoaderBootSecret" and len(data) == 64
    )
