"""Run recorded conversations with a real QEMU's fw_cfg device on the simulated one.

``replay_qtest.py FILE.json...`` prints a JSON object for each file, with the answers of the simulated device and
whether all of them are the recorded ones. Exit status: 0 all equal, 1 one differs, 2 a file cannot be read.

A recording has the machine (arch, memory in M or G, dma), the files of its fw_cfg device with their data at the start,
a script of qtest commands and QEMU's answers. Files of the update device of the patch "hw/misc/vmfwupdate" v5 bring
that device along; the BIOS region is then as large as the file bios-size says.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stubsim.errors import StubsimError
from stubsim.formats import qtest, vmfwupdate
from stubsim.machine.address_space import BiosRegion
from stubsim.machine.devices.device import Device
from stubsim.machine.devices.qemu import DEVICES
from stubsim.machine.devices.qemu_v5 import VmFwUpdate
from stubsim.machine.fwcfg import GROUP_DEVICE, GROUP_USER, MOST_FILES, OLD_SLOTS, Item, by_group, by_name
from stubsim.machine.hypervisor import VirtualMachine
from stubsim.machine.qtest import execute
from stubsim.uefi.memory import Memory

ARCHITECTURES = {"x86_64": "x64", "aarch64": "aa64"}
# The reset vector, date and model byte at the end of every SeaBIOS image (src/romlayout.S): the firmware of QEMU's
# machines unless another one is named.
SEABIOS_END = bytes.fromhex("ea5be000f030362f32332f393900fc00")
SEABIOS_SIZE = 256 << 10
# Machine types with the old order of the directory, and with 16 files (hw/i386/pc_q35.c, pc_piix.c; hw_compat_2_8).
LAST_LEGACY_ORDER, LAST_OF_FEW_SLOTS = (2, 5), (2, 8)


def machine(recording: dict[str, Any]) -> VirtualMachine:
    """The simulated machine of a recording."""
    files = {row["name"]: row for row in recording["files"]}
    old = _version(recording.get("machine", ""))
    devices: list[Device] = []
    bios = None
    if recording["arch"] == "x86_64":
        size = SEABIOS_SIZE
        if vmfwupdate.BIOS_SIZE in files:
            size = int.from_bytes(bytes.fromhex(files[vmfwupdate.BIOS_SIZE]["data"]), "little")
            cap = int.from_bytes(bytes.fromhex(files[vmfwupdate.CAP]["data"]), "little")
            devices.append(VmFwUpdate(size, cap=cap))
        bios = BiosRegion(size, _old_firmware(recording, size))
    devices += [device() for name, device in DEVICES.items() if name in files]
    theirs = {item.name for device in devices for item in device.items()}
    items = [
        Item(name, bytes.fromhex(row.get("data", "")).ljust(row["size"], b"\0"), row["writable"], group=_group(name))
        for name, row in files.items()
        if name not in theirs
    ]
    memory = Memory(_size(recording["memory"]), ARCHITECTURES[recording["arch"]])

    def order(item: Item) -> tuple[int, int]:
        """That of old machine types; within a group it is the order in which QEMU has made the files."""
        return by_group(item), files[item.name]["selector"]

    return VirtualMachine(
        memory,
        bios=bios,
        items=items,
        devices=devices,
        dma=recording["dma"],
        order=order if old <= LAST_LEGACY_ORDER else by_name,
        slots=OLD_SLOTS if old <= LAST_OF_FEW_SLOTS else MOST_FILES,
    )


def _version(machine: str) -> tuple[int, ...]:
    """Of a versioned machine type of x86; any other is a new one."""
    match = re.fullmatch(r"pc(?:-i440fx|-q35)?-(\d+)\.(\d+)", machine)
    return (99,) if match is None else (int(match[1]), int(match[2]))


def _group(name: str) -> int | None:
    """What -fw_cfg, and what -device brings; with -nodefaults there is no other VGA ROM."""
    return GROUP_USER if name.startswith("opt/") else GROUP_DEVICE if name.startswith("vgaroms/") else None


def _size(text: str) -> int:
    return int(text[:-1]) << {"K": 10, "M": 20, "G": 30}[text[-1]]


def _old_firmware(recording: dict[str, Any], size: int) -> bytes:
    """What the answers before the first reset show of the machine's own firmware, zeros elsewhere."""
    image = bytearray(size - len(SEABIOS_END)) + SEABIOS_END
    region = BiosRegion(size)
    for line, reply in zip(recording["script"], recording["answers"], strict=True):
        command = qtest.parse(line)
        if command.name == "outb" and command.address == 0xCF9:
            break
        if command.name != "read" or reply is None:
            continue
        for start, end, offset in region.ranges():
            if start <= command.address and command.address + command.size <= end:
                at = command.address + offset - region.start
                image[at : at + command.size] = bytes.fromhex(reply.removeprefix("OK 0x"))
    return bytes(image)


def replay(recording: dict[str, Any]) -> tuple[list[str | None], VirtualMachine]:
    """The answers of the simulated device, and the machine as the script leaves it."""
    simulated = machine(recording)
    return [execute(simulated, line) for line in recording["script"]], simulated


def main(paths: Sequence[str]) -> int:
    if not paths:
        print("usage: replay_qtest.py FILE.json...", file=sys.stderr)
        return 2
    status = 0
    for path in paths:
        try:
            recording = json.loads(Path(path).read_bytes())
            answers, _ = replay(recording)
        except (OSError, StubsimError, ValueError, KeyError, TypeError, AttributeError) as error:
            print(f"{path}: no recorded conversation: {type(error).__name__}: {error}", file=sys.stderr)
            return 2
        equal = answers == recording["answers"]
        print(json.dumps({"name": recording["name"], "answers": answers, "equal": equal}), flush=True)
        status |= not equal
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
