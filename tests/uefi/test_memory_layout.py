"""RAM and the firmware's part of it, against recorded memory maps and those of a booted OVMF."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stubsim.hosts.fixture import memory_size
from stubsim.machine.ram import PAGE
from stubsim.uefi.memory import Memory
from stubsim.uefi.memory_layout import DEVICES, FREE, SPECIAL, TYPES, Layout, layout

MIB = 1 << 20
NUMBERS = {*TYPES, "EfiMemoryMappedIO"}
BOOT_SERVICES = ("EfiBootServicesCode", "EfiBootServicesData")
Rows = list[tuple[int, int, str]]


def merged(rows: Rows) -> Rows:
    """Boot services code and data as one type, neighbours of one type as one row."""
    pieces: Rows = []
    for start, end, exact in rows:
        kind = "EfiBootServicesData" if exact in BOOT_SERVICES else exact
        if pieces and pieces[-1][1:] == (start, kind):
            pieces[-1] = (pieces[-1][0], end, kind)
        else:
            pieces.append((start, end, kind))
    return pieces


def ours(size: int) -> Rows:
    rows = [(row.start, row.start + row.pages * PAGE, row.type) for row in Memory(size).map()]
    return merged(sorted([*rows, *layout(size, "x64").outside]))


@pytest.mark.parametrize("stub", ["257.13", "262.1"])
def test_the_map_is_the_recorded_one(shared: Path, stub: str):
    """Where loader pages, those of stub and probe, count as free."""
    rows: Rows = []
    for line in json.loads((shared / f"golden/basic@{stub}/expect.json").read_text())["memmap"]:
        number, start, pages, _ = (int(word, 0) for word in line.split())
        kind = "EfiMemoryMappedIO" if number == 11 else TYPES[number]
        rows.append((start, start + pages * PAGE, FREE if "Loader" in kind else kind))
    assert merged(sorted(rows)) == ours(384 * MIB)


VIRT = [
    ("basic@257.13", ()),
    ("basic@262.1", ()),
    ("basic-1g@262.1", ()),
    ("basic-4g@262.1", ()),
    ("basic-el2@262.1", ()),
    ("basic-novga@262.1", ("no graphics",)),
    ("kernel-align64k@262.1", ()),
]


@pytest.mark.parametrize(("name", "devices"), VIRT)
def test_the_map_of_virt_is_the_recorded_one(shared: Path, name: str, devices: tuple[str, ...]):
    """Below the bins; in those of the boot services each boot leaves other small gaps."""
    folder = shared / "golden-aa64" / name
    rows: Rows = []
    for line in json.loads((folder / "expect.json").read_text())["memmap"]:
        number, start, pages, _ = (int(word, 0) for word in line.split())
        kind = TYPES[number] if number < len(TYPES) else "EfiMemoryMappedIO"
        rows.append((start, start + pages * PAGE, FREE if "Loader" in kind else kind))
    memory = Memory(memory_size(json.loads((folder / "host.json").read_text())["memory"]) or 0, "aa64", devices=devices)
    bottom, top = memory.ram[0][0], memory.layout.default_end
    assert top is not None
    found = [(row.start, row.start + row.pages * PAGE, row.type) for row in memory.map()]
    assert cut(found, bottom, top) == cut(sorted(rows), bottom, top)


def cut(rows: Rows, bottom: int, top: int) -> Rows:
    pieces = [(max(start, bottom), min(end, top), kind) for start, end, kind in rows]
    return merged([row for row in pieces if row[0] < row[1]])


def test_devices_of_virt_have_ranges_of_their_own():
    """dtfw-*: with acpi=off there are no tables, and one of the two ranges of the TPM.

    Without a TPM the 64 KiB that stay free are the lowest of them.
    """
    plain = layout(2 << 30, "aa64")
    for device, pages in (("no graphics", 768), ("no tpm", 48), ("no acpi", 48)):
        lowest = min(row.start for row in layout(2 << 30, "aa64", (device,)).held if row.start > plain.ram[0][1] >> 1)
        assert lowest - 0xBC100000 == pages * PAGE


def test_the_newer_build_has_its_bins_at_128_mib_whatever_the_ram():
    small, large = (Memory(size, "aa64", build="2026.08") for size in (384 * MIB, 8 << 30))
    assert small.layout.bins == large.layout.bins
    assert small.layout.bins[0].end <= 0x48000000
    # All else comes from below, and trees have pages of their own size.
    assert small.allocate(PAGE, "EfiLoaderData") == large.allocate(PAGE, "EfiLoaderData") < small.layout.bins[-1].start
    assert small.layout.alignment("EfiACPIReclaimMemory") == PAGE
    assert small.layout.alignment("EfiRuntimeServicesData") == 0x10000


def test_devices_move_what_the_drivers_hold_and_nothing_above_it():
    plain = layout(2 << 30, "x64")
    for device, pages in DEVICES.items():
        moved = layout(2 << 30, "x64", (device,))
        changed = set(plain.held) ^ set(moved.held)
        assert {row.type for row in changed} == {"EfiBootServicesData"}
        assert lowest_driver(plain) - lowest_driver(moved) == pages * PAGE
        assert moved._replace(held=()) == plain._replace(held=())
    both = layout(2 << 30, "x64", ("rng", "no tpm"))
    assert lowest_driver(plain) - lowest_driver(both) == (3 - 38) * PAGE
    assert layout(2 << 30, "aa64", ("rng",)) == layout(2 << 30, "aa64")


def lowest_driver(found: Layout) -> int:
    return min(row.start for row in found.held if row.start > 0x7D000000)


# As the shell's memmap names them.
SHELL = {
    "BS_Code": "EfiBootServicesCode",
    "BS_Data": "EfiBootServicesData",
    "RT_Code": "EfiRuntimeServicesCode",
    "RT_Data": "EfiRuntimeServicesData",
    "Reserved": "EfiReservedMemoryType",
    "ACPI_Recl": "EfiACPIReclaimMemory",
    "ACPI_NVS": "EfiACPIMemoryNVS",
    "MMIO": "EfiMemoryMappedIO",
    "LoaderCode": "EfiLoaderCode",
    "LoaderData": "EfiLoaderData",
    "Available": FREE,
}
ROW = re.compile(rf"({'|'.join(SHELL)}) +([0-9A-F]{{16}})-([0-9A-F]{{16}}) ")
OVMF = Path("/usr/share/OVMF")


@pytest.mark.oracle
def test_the_firmware_lies_where_a_booted_ovmf_puts_it(oracle: Callable[[str], str], tmp_path: Path):
    """But for 64 MiB below the end of the low RAM, where the shell that prints the map lies, and its serial port."""
    rows = merged(sorted(booted_map(oracle("qemu-system-x86_64"), tmp_path, "5G")))
    expected, low = ours(5 << 30), 0x80000000
    lasting = SPECIAL - {"EfiRuntimeServicesData"}  # of which 258 pages lie among the drivers' own

    def settled(rows: Rows) -> Rows:
        return [row for row in rows if row[2] in lasting or row[1] <= low - 0x04000000 or row[0] >= low]

    assert settled(rows) == settled(expected)
    assert len(settled(rows)) >= 14
    (bin,) = (row for row in layout(5 << 30, "x64").bins if row.type == "EfiRuntimeServicesData")
    assert (bin.start, bin.end, bin.type) in rows
    # The shell: below all bins, and so below 4 GiB although there is room above.
    assert all(low - 0x04000000 < start and end <= bin.start for start, end, kind in rows if "Loader" in kind)


def overlaps(start: int, end: int, other: tuple[int, int]) -> bool:
    return start < other[1] and other[0] < end


def booted_map(qemu: str, folder: Path, size: str) -> Rows:
    if not (OVMF / "OVMF_CODE_4M.fd").exists():
        pytest.skip("oracle not installed: ovmf (make test-oracles)")
    shutil.copy(OVMF / "OVMF_VARS_4M.fd", folder / "vars.fd")
    (folder / "disk").mkdir()
    (folder / "disk/startup.nsh").write_text("memmap\r\nreset -s\r\n")
    code = f"if=pflash,unit=0,format=raw,readonly=on,file={OVMF}/OVMF_CODE_4M.fd"
    command = [qemu, "-machine", "q35,accel=tcg", "-m", size, "-nodefaults", "-vga", "std", "-display", "none"]
    command += ["-serial", f"file:{folder}/serial.txt", "-drive", code, "-net", "none"]
    command += ["-drive", f"if=pflash,unit=1,format=raw,file={folder}/vars.fd"]
    command += ["-drive", f"file=fat:rw:{folder}/disk,format=raw,if=none,id=disk", "-device", "ide-hd,drive=disk"]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    text = (folder / "serial.txt").read_text(errors="replace")
    rows = [(int(start, 16), int(end, 16) + 1, SHELL[kind]) for kind, start, end in ROW.findall(text)]
    assert rows
    return rows


def test_bins_of_arm_begin_at_the_end_of_ram_and_do_not_overlap():
    """A driver of QEMU 8.0's own ArmVirtQemu lay at 0xbfd84000 with 2 GiB (QEMU issue 1801): in its bin."""
    bins = layout(2 << 30, "arm").bins
    assert bins[0].end == 0xC0000000
    assert all(low.start == high.end for low, high in pairwise(bins))
    (code,) = (row for row in bins if row.type == "EfiBootServicesCode")
    assert code.start <= 0xBFD84000 < code.end


@given(st.integers(0, 1 << 40), st.sampled_from(["x64", "aa64", "arm", "riscv64"]))
def test_all_of_a_layout_is_in_its_ram(size: int, architecture: str):
    found = layout(size, architecture)
    assert sum(end - start for start, end in found.ram) <= size
    for row in (*found.held, *found.bins):
        assert any(start <= row.start < row.end <= end for start, end in found.ram)
        assert row.type in NUMBERS
        assert row.start % PAGE == row.end % PAGE == 0
    for row in found.outside:
        assert not any(overlaps(start, end, (row.start, row.end)) for start, end in found.ram)
