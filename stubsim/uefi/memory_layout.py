"""What EDK II holds of a QEMU guest's RAM when the stub starts: its bins, drivers and tables.

x86 is q35 with OVMF 2022.11, from recorded memory maps. Booted with 384 MiB, 2, 4 and 8 GiB it holds the same pages
below the end of the low RAM, and RAM above 4 GiB is free. They are those of a machine with VGA, a TPM and no serial
port, and of a CPU without 1 GiB pages: devices move the lower ones (DEVICES), other builds all.
Arm is virt with AAVMF 2022.11 or 2026.08 (Debian's builds, with Secure Boot), from recorded memory maps and from where
kernels were seen to lie; for others little is known.
"""

from __future__ import annotations

from functools import lru_cache

from stubsim.machine.ram import GIB4, PAGE, q35_low, ram_ranges, virt_start
from stubsim.rows import NamedTuple

# UEFI 2.10, 7.2 (EFI_MEMORY_TYPE), in the order of their numbers.
TYPES = (
    "EfiReservedMemoryType",
    "EfiLoaderCode",
    "EfiLoaderData",
    "EfiBootServicesCode",
    "EfiBootServicesData",
    "EfiRuntimeServicesCode",
    "EfiRuntimeServicesData",
    "EfiConventionalMemory",
    "EfiUnusableMemory",
    "EfiACPIReclaimMemory",
    "EfiACPIMemoryNVS",
)
FREE = "EfiConventionalMemory"

# Of the firmware, as their map differs. The oldest is taken for one that is not known.
BUILDS = ("2022.11", "2026.08")
BUILD = BUILDS[0]
# The vendor in the system table -> build; Debian names itself only in the newer one (recorded).
VENDORS = {"EDK II": "2022.11", "Debian distribution of EDK II": "2026.08"}

# EDK II shows free pages in the bin of such a type as allocated, so that the map stays alike from boot to boot, and
# gives another type no address in them that it asks for (MdeModulePkg/Core/Dxe/Mem/Page.c, `Special`).
SPECIAL = frozenset(
    (
        "EfiReservedMemoryType",
        "EfiRuntimeServicesCode",
        "EfiRuntimeServicesData",
        "EfiACPIReclaimMemory",
        "EfiACPIMemoryNVS",
    )
)
_RUNTIME = SPECIAL - {"EfiReservedMemoryType"}


class Range(NamedTuple):
    """From the gpa start up to, not including, the gpa end; type is a UEFI name."""

    start: int
    end: int
    type: str


class Layout(NamedTuple):
    """The RAM in pieces from low to high; all else as ranges.

    ``held`` is taken by the firmware, ``bins`` is RAM that it keeps for one type each, and ``outside`` are addresses
    without RAM that the memory map names. ``granularity`` is the alignment of the ``granular`` types, which last into
    the operating system, in bytes.
    """

    ram: tuple[tuple[int, int], ...]
    held: tuple[Range, ...]
    bins: tuple[Range, ...]
    outside: tuple[Range, ...]
    granularity: int = PAGE
    granular: frozenset[str] = frozenset()

    @property
    def default_end(self) -> int | None:
        """Where allocations without an address of their own begin downwards: below all bins; None without bins."""
        return min((row.start for row in self.bins), default=None)

    def alignment(self, type: str) -> int:
        """Of the addresses and sizes that are given out for the type, in bytes."""
        return self.granularity if type in self.granular else PAGE


@lru_cache(maxsize=16)
def layout(size: int, architecture: str, devices: tuple[str, ...] = (), build: str = BUILD) -> Layout:
    """The layout of a guest with `size` bytes of RAM; a part of a page at its end does not count.

    ``devices`` are keys of DEVICES or of AARCH64_DEVICES, each of no effect elsewhere; ``build`` of the firmware, one
    of BUILDS, is told apart on aa64 only. Where there is less RAM than the firmware would need, its ranges are cut to
    what there is.
    """
    size &= -PAGE
    ram = ram_ranges(size, architecture)
    if architecture in ("x64", "ia32"):
        return _q35(ram, q35_low(size), sum(DEVICES.get(device, 0) for device in devices))
    if architecture == "aa64":
        return _aavmf_2026(ram, devices) if build == "2026.08" else _aavmf_2022(ram, size, devices)
    start = virt_start(architecture)
    top = start + size
    held = [_at(start, *_DEVICETREE)]
    bins: list[Range] = []
    if architecture == "arm":
        for pages, kind in _ARM_BINS:
            bins.append(_at(top - pages * PAGE, pages, kind))
            top = bins[-1].start
        held += [row for row in bins if row.type in _BOOT_SERVICES]
    return _clipped(ram, held, bins, ())


# The last rows of the recorded maps: PCI Express configuration space, and the flash with firmware and variables.
_Q35_OUTSIDE = (
    Range(0xB0000000, 0xC0000000, "EfiReservedMemoryType"),
    Range(0xFFC00000, GIB4, "EfiMemoryMappedIO"),
)
# What the recorded maps have: gpa, pages and type at the bottom, and pages and type from the end of the low RAM
# downwards, above the bins and below them. Pieces that alternate between code and data of the boot services are drawn
# together; the loaded image is left out.
_OVMF_LOW = (
    (0x0, 1, "EfiBootServicesCode"),
    (0x806000, 2, "EfiACPIMemoryNVS"),
    (0x810000, 240, "EfiACPIMemoryNVS"),
    (0x900000, 3072, "EfiBootServicesData"),
)
_OVMF_ABOVE = (
    (136, "EfiACPIMemoryNVS"),
    (132, "EfiRuntimeServicesData"),
    (116, "EfiBootServicesData"),
    (128, FREE),
    (1538, "EfiBootServicesData"),
)
# OvmfPkg/PlatformPei/MemTypeInfo.c, in its order. A memory map does not tell what of a bin is in use: the middle
# column, in pages from its end, is what was in the RAM of OVMF 2022.11 at its shell (a disk, no TPM), down to the last
# page that was not filled with 0xAF, as this build does with freed ones.
_OVMF_BINS = (
    (128, 34, "EfiACPIMemoryNVS"),
    (18, 11, "EfiACPIReclaimMemory"),
    (128, 47, "EfiReservedMemoryType"),
    (256, 148, "EfiRuntimeServicesCode"),
    (256, 208, "EfiRuntimeServicesData"),
)
_OVMF_BELOW = ((2379, "EfiBootServicesData"), (258, "EfiRuntimeServicesData"), (3073, "EfiBootServicesData"))
# The stack of the phase before DXE, at the bottom of its memory: 64 MiB, page tables, and the 136 pages on top.
_OVMF_STACK = (0x448B000, 32, "EfiBootServicesData")
# Pages that the drivers at the bottom of those hold more, by what the machine has or lacks: seen alike in 66 recordings
# with a serial port, 6 with an RNG, 2 with SHA-1, 2 without a TPM and 1 without graphics. The 16 for SHA-1 are the log
# in the format of TPM 1.2 (Tcg2Dxe, PcdTcgLogAreaMinLen); the rest is measured, not derived.
DEVICES = {"serial port beside graphics": 20, "rng": 3, "sha1": 16, "no tpm": -38, "no graphics": -23}
# And what counts on aa64, where it takes away ranges of their own.
AARCH64_DEVICES = ("no tpm", "no graphics", "no acpi")

# QEMU (hw/arm/virt.c, hw/riscv/virt.c) puts the devicetree at the start of RAM; the size is our own guess.
_DEVICETREE = (256, "EfiBootServicesData")
# ArmVirtPkg/ArmVirt.dsc.inc (without Secure Boot) in the order of ArmVirtPkg's MemoryInitPeim.c, which has the first
# 128 MiB for the phase before DXE, so that the bins begin at the end of RAM. Sizes are multiples of the granularity.
_ARM_BINS = (
    (304, "EfiRuntimeServicesData"),
    (160, "EfiRuntimeServicesCode"),
    (1000, "EfiBootServicesCode"),
    (12000, "EfiBootServicesData"),
    (20, "EfiLoaderCode"),
)
# Drivers, page tables and pools: taken to fill their bins.
_BOOT_SERVICES = ("EfiBootServicesCode", "EfiBootServicesData")
# MdePkg/Include/AArch64/ProcessorBind.h, RUNTIME_PAGE_ALLOCATION_GRANULARITY. It is that of all of SPECIAL but the
# reserved one; newer builds leave out ACPI reclaim memory.
_AARCH64_GRANULARITY = 0x10000

# The first 128 MiB of virt are memory of the phase before DXE, and free but for these: gpa, pages.
_VIRT_LOW_END = 0x48000000
_AAVMF_LOW = ((0x44000000, 32), (0x47710000, 2288))
# AAVMF 2022.11 from the end of RAM down, alike from 384 MiB to 8 GiB, on EL1 and EL2: distance to the start, pages in
# the bin, pages in use at its end. What shows as one piece in a map is drawn together where little is free in it.
_AAVMF_BINS = (
    (0x270000, 608, 608, "EfiRuntimeServicesData"),
    (0x400000, 400, 400, "EfiRuntimeServicesCode"),
    (0x9DC000, 1500, 1044, "EfiBootServicesCode"),
    (0x38BC000, 12000, 3882, "EfiBootServicesData"),
    (0x38D0000, 20, 0, "EfiLoaderCode"),
)
# Below the bins, from their start down: pages, type, and those of AARCH64_DEVICES with which they are not there.
_AAVMF_BELOW: tuple[tuple[int, str, set[str]], ...] = (
    (768, "EfiReservedMemoryType", {"no graphics"}),  # the framebuffer of ramfb
    (176, "EfiRuntimeServicesCode", set()),
    (448, "EfiRuntimeServicesData", set()),
    (128, "EfiRuntimeServicesCode", set()),
    (16, "EfiACPIMemoryNVS", {"no tpm"}),
    (16, "EfiACPIReclaimMemory", {"no acpi"}),
    (16, FREE, {"no acpi"}),
    (16, "EfiACPIMemoryNVS", {"no tpm", "no acpi"}),
)
# AAVMF 2026.08: gpa and pages, whatever the RAM; only the types that last have bins, and below them lie the drivers.
_AAVMF_2026_BINS = (
    (0x47FF0000, 4, "EfiACPIReclaimMemory"),
    (0x47FB0000, 64, "EfiACPIMemoryNVS"),
    (0x47D50000, 608, "EfiRuntimeServicesData"),
    (0x47BC0000, 400, "EfiRuntimeServicesCode"),
)
_AAVMF_2026_DRIVERS = 0x45726000
_AAVMF_2026_FRAMEBUFFER = 752 * PAGE


def _q35(ram: tuple[tuple[int, int], ...], low: int, device_pages: int) -> Layout:
    depth, pages, kind = _OVMF_STACK
    held = [_at(low - depth, pages, kind), *(_at(*row) for row in _OVMF_LOW)]
    bins: list[Range] = []
    top = low
    for pages, kind in _OVMF_ABOVE:
        top -= pages * PAGE
        held.append(_at(top, pages, kind))
    for pages, used, kind in _OVMF_BINS:
        top -= pages * PAGE
        bins.append(_at(top, pages, kind))
        held.append(_at(bins[-1].end - used * PAGE, used, kind))
    for pages, kind in _OVMF_BELOW:
        top -= pages * PAGE
        held.append(_at(top, pages, kind))
    held[-1] = held[-1]._replace(start=top - device_pages * PAGE)
    return _clipped(ram, [row for row in held if row.type != FREE], bins, _Q35_OUTSIDE)


def _aavmf_2022(ram: tuple[tuple[int, int], ...], size: int, devices: tuple[str, ...]) -> Layout:
    top = virt_start("aa64") + size
    held = [_at(gpa, pages, "EfiBootServicesData") for gpa, pages in _AAVMF_LOW]
    held.append(_at(top - PAGE, 1, "EfiBootServicesData"))
    bins = [_at(top - depth, pages, kind) for depth, pages, _, kind in _AAVMF_BINS]
    held += [_at(row.end - used * PAGE, used, row.type) for row, (_, _, used, _) in zip(bins, _AAVMF_BINS, strict=True)]
    below = bins[-1].start
    for pages, kind, without in _AAVMF_BELOW:
        if without.isdisjoint(devices):
            below -= pages * PAGE
            held.append(_at(below, pages, kind))
    layout = _clipped(ram, [row for row in held if row.type != FREE], bins, ())
    return layout._replace(granularity=_AARCH64_GRANULARITY, granular=_RUNTIME)


def _aavmf_2026(ram: tuple[tuple[int, int], ...], devices: tuple[str, ...]) -> Layout:
    bins = [_at(*row) for row in _AAVMF_2026_BINS]
    below = _AAVMF_2026_DRIVERS + (_AAVMF_2026_FRAMEBUFFER if "no graphics" in devices else 0)
    held = [Range(below, bins[-1].start, "EfiBootServicesData"), *bins[1:]]
    layout = _clipped(ram, held, bins, ())
    return layout._replace(granularity=_AARCH64_GRANULARITY, granular=_RUNTIME - {"EfiACPIReclaimMemory"})


def _at(start: int, pages: int, kind: str) -> Range:
    return Range(start, start + pages * PAGE, kind)


def _clipped(
    ram: tuple[tuple[int, int], ...], held: list[Range], bins: list[Range], outside: tuple[Range, ...]
) -> Layout:
    def within(rows: list[Range]) -> tuple[Range, ...]:
        cut = [row._replace(start=max(row.start, start), end=min(row.end, end)) for row in rows for start, end in ram]
        return tuple(row for row in cut if row.start < row.end)

    return Layout(ram, within(held), within(bins), outside)
