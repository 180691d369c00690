"""Every recorded boot of a real stub, compared with the simulated one, key by key.

The recordings lie outside the repository; a selection of their facts is kept in fixtures/golden, see test_own_golden.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from stubsim.cli import main
from tests.conftest import recordings

RECORDINGS = recordings()
Json = dict[str, Any]

each_recording = pytest.mark.parametrize("folder", RECORDINGS, ids=lambda folder: folder.name)
pytestmark = pytest.mark.skipif(not RECORDINGS, reason="no recordings (STUBSIM_SHARED)")

# What a debug log tells of the lab's devices (handle numbers, device paths, PCI ids) is not in a host file.
DEVICE_LISTING = ("find_serial_console_index", "has_virtio_console_pci_device", "has_graphics_output")
# The firmware's own console text, once the stub has returned to it.
FIRMWARE_BANNER = "UEFI Interactive Shell"
# The probe's own code was cut short by the firmware's loader: the recording says nothing about the stub.
UNDEFINED = {"kernel-rawlarger@257.13"}


@cache
def booted(folder: Path) -> Json:
    """The JSON of `stubsim boot` with the recording's own arguments, run inside its folder."""
    arguments = json.loads((folder / "boot.json").read_text())["args"]
    before = os.getcwd()
    output = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    os.chdir(folder)
    try:
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(io.StringIO()):
            status = main(["boot", "uki.efi", "--smbios", "host.json", "--format", "json", *arguments])
    finally:
        os.chdir(before)
    output.flush()
    boot: Json = json.loads(output.buffer.getvalue())  # type: ignore[attr-defined]
    assert status == (0 if boot["outcome"]["status"] == "kernel-started" else 1)
    return boot


@cache
def recorded(folder: Path) -> Json:
    expected: Json = json.loads((folder / "expect.json").read_text())
    if expected["outcome"] == "undefined":
        assert folder.name in UNDEFINED
        pytest.skip("the recording says that its outcome is undefined")
    return expected


def test_there_are_recordings_of_every_class():
    classes = Counter(
        kind for folder in RECORDINGS for kind, sections in (recorded(folder)["selection"] or {}).items() if sections
    )
    assert classes["efifw"] >= 10
    assert classes["dtbauto"] >= 10


@each_recording
def test_outcome(folder: Path):
    assert booted(folder)["outcome"]["status"] == recorded(folder)["outcome"]


@each_recording
def test_selection(folder: Path):
    expected = recorded(folder)["selection"]
    if expected is None:
        pytest.skip("the recording names no selection")
    chosen = booted(folder)["selection"]
    for kind in ("efifw", "dtbauto"):
        assert ([chosen[kind]["section"]] if chosen[kind] else None) == expected[kind], kind


@each_recording
def test_command_line(folder: Path):
    expected, boot = recorded(folder), booted(folder)
    assert boot["load_options"] == (expected["load_options"] or None)
    if expected["outcome"] == "kernel-started":
        assert boot["cmdline"] == expected["cmdline"]


@each_recording
def test_initrd(folder: Path):
    expected, boot = recorded(folder), booted(folder)
    if expected["outcome"] != "kernel-started":
        pytest.skip("no kernel was started, so nothing of it was seen")
    if expected["initrd"] is None:
        assert boot["initrd"] is None
    else:
        assert {key: boot["initrd"][key] for key in ("size", "sha256")} == {
            key: expected["initrd"][key] for key in ("size", "sha256")
        }


@each_recording
def test_devicetree(folder: Path):
    expected, boot = recorded(folder), booted(folder)
    tree = expected["devicetree"]
    if expected["outcome"] != "kernel-started":
        pytest.skip("no kernel was started, so nothing of it was seen")
    if tree is None:
        assert boot["devicetree"] is None
    elif "window" in tree:
        # A blob without a valid header: the probe could not tell its length, and neither can the stub.
        assert boot["devicetree"]["size"] is None
    else:
        assert {key: boot["devicetree"][key] for key in ("size", "sha256")} == {
            key: tree[key] for key in ("size", "sha256")
        }


@each_recording
def test_measurements(folder: Path):
    if recorded(folder)["measurements"] is None:
        pytest.skip("no kernel was started, so nothing of it was seen")
    assert booted(folder)["measurements"] == recorded(folder)["measurements"]


@each_recording
def test_pcrs(folder: Path):
    expected, boot = recorded(folder), booted(folder)
    for pcr in ("11", "12", "13"):
        if expected["pcrs"]:
            assert boot["pcrs"]["sha256"][pcr] == expected["pcrs"][pcr]
    if not expected["pcrs"] and expected["outcome"] == "kernel-started":
        assert boot["pcrs"] == {}


@each_recording
def test_variables(folder: Path):
    expected, boot = recorded(folder), booted(folder)
    if expected["variables"] is None:
        pytest.skip("no kernel was started, so nothing of it was seen")
    simulated = {variable["name"]: variable for variable in boot["variables"]}
    assert {name: row["attributes"] for name, row in simulated.items()} == {
        name: row["attributes"] for name, row in expected["variables"].items()
    }
    for name, row in expected["variables"].items():
        if simulated[name]["data"] is None:
            # Drawn at random by the stub: the simulator says so instead of inventing it.
            assert any("boot secret" in unknown["what"] or name in unknown["what"] for unknown in boot["unknown"]) or (
                name == "LoaderBootSecret" and len(row["hex"]) == 64
            )
        else:
            assert simulated[name]["data"] == row["hex"], name


@each_recording
def test_esp_changes(folder: Path):
    expected, boot = recorded(folder), booted(folder)
    changes = {row["path"].strip("\\").replace("\\", "/"): row["size"] for row in boot["esp_changes"]}
    assert changes == {path: row["size"] for path, row in expected["esp_changes"].items()}


@each_recording
def test_messages(folder: Path):
    expected, boot = recorded(folder), booted(folder)
    host = json.loads((folder / "host.json").read_text())
    if not host["console"]["serial"]:
        pytest.skip("no serial port, so no console text was recorded")
    lines = []
    for line in expected["messages"]:
        if FIRMWARE_BANNER in line:
            break
        place, _, message = line.partition(": ")
        if place.rpartition("@")[2] not in DEVICE_LISTING:
            lines.append(message)
    assert [row["message"] for row in boot["log"]] == lines
