"""A GPT disk with the partitions of a scenario, and what is on it after a boot."""

from __future__ import annotations

import shutil
from pathlib import Path

from scripts.lab.virtual import tool
from scripts.lab_linux.scenarios import ESP, XBOOTLDR, Files

# The Discoverable Partitions Specification's types; our own GUIDs.
TYPES = {ESP: "c12a7328-f81f-11d2-ba4b-00a0c93ec93b", XBOOTLDR: "bc13c2ff-59e6-4262-a352-b275fd6f7172"}
GUIDS = {ESP: "c0ffee00-1111-4222-8333-444455556666", XBOOTLDR: "c0ffee00-1111-4222-8333-444455557777"}
# In sectors of 512 bytes: each partition has 96 MiB, and starts at a MiB.
_SIZE, _START = 96 << 11, 1 << 11
# Header and entries at the start, and the copy at the end.
_TABLE, _COPY = 34, 33


def start(number: int) -> int:
    return _START + number * _SIZE


def make(disk: Path, trees: dict[str, Path]) -> None:
    """A FAT file system for each tree, in the order given."""
    with disk.open("wb") as file:
        file.truncate((start(len(trees)) + _START) * 512)
    rows = [
        f"start={start(number)}, size={_SIZE}, type={TYPES[name]}, uuid={GUIDS[name]}, name={name}"
        for number, name in enumerate(trees)
    ]
    tool("sfdisk", "-q", str(disk), given="\n".join(["label: gpt", f"label-id: {GUIDS[ESP][:-4]}d15c", *rows, ""]))
    for number, tree in enumerate(trees.values()):
        volume = f"5eed{number:04x}"
        tool("mkfs.fat", "-F", "32", "-i", volume, "--offset", str(start(number)), str(disk), str(_SIZE // 2))
        for entry in sorted(tree.iterdir()):
            tool("mcopy", "-s", "-i", _fat(disk, number), str(entry), "::")


def write(tree: Path, files: Files) -> None:
    for name, data in files.items():
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def read(disk: Path, number: int, tree: Path) -> None:
    """Copy all files of a partition into a folder."""
    shutil.rmtree(tree, ignore_errors=True)
    tree.mkdir()
    tool("mcopy", "-s", "-n", "-i", _fat(disk, number), "::*", str(tree))


def table(disk: Path) -> bytes:
    """What the firmware measures of the disk, and its copy: the first 34 and the last 33 sectors."""
    data = disk.read_bytes()
    return data[: _TABLE * 512] + data[-_COPY * 512 :]


def _fat(disk: Path, number: int) -> str:
    return f"{disk}@@{start(number) * 512}"
