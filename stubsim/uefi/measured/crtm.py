"""PCR 0: the firmware's version and its volumes (OvmfPkg, SecurityPkg/Tcg/Tcg2Pei)."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from stubsim.formats.efi_string import utf16z
from stubsim.uefi.baseline import DXE_VOLUME, PEI_VOLUME
from stubsim.uefi.builds import Build
from stubsim.uefi.measured.row import Row, plain, unknown
from stubsim.uefi.platform import Platform, processors

_BLOB = "EV_EFI_PLATFORM_FIRMWARE_BLOB"
_MIB = 1 << 20
# Memory below 4 GiB of q35 (hw/i386/pc_q35.c): all of it, or 2 GiB where there is as much as this.
_SPLIT_FROM, _SPLIT_AT = 0xB0000000, 0x80000000
# What was recorded goes up to 4 GiB; with more than this PlatformPei's first address above memory is another one.
_MEMORY_MAX = 32 << 30
# Where the globals of PlatformPei lie in the PEI volume of 2022.11: memory type information and platform info.
_MEMORY_TYPES, _PLATFORM_INFO = 0xE090, 0xE0C0
_MEMORY_TYPE_ENTRIES = 5
_MEMORY_TYPE_SIZE_MAX = 17 * 8
# Address bits and PCI windows as PlatformPei finds them with -cpu max under TCG.
_ADDRESS_BITS, _PCI_WINDOWS = 40, bytes.fromhex("0000e00000000000000020000000000000c00000003c006000000000000000a0")
_AS_IN_RAM = "the PEI volume is measured as it lies in RAM, with"
# What SMBIOS says of such a processor: CPUID's signature and features (type 4, bytes 8 to 15), for 1 to 4 of them.
_TCG_MAX, _PROCESSOR, _ID = bytes.fromhex("b10f0600fdfbcb0f"), 4, slice(8, 16)
ASSUMES_TCG = (
    "PCR 0: the processor is QEMU's -cpu max under TCG, by its id, and is taken to have 40 address bits, as that has "
    "without phys-bits= (OVMF 2022.11 measures them)"
)


def events(platform: Platform) -> Iterator[Row]:
    build = platform.build
    if build is None:
        yield unknown(0, "EV_S_CRTM_VERSION", "firmware version", platform.no_build)
    else:
        yield plain(0, "EV_S_CRTM_VERSION", build.crtm_version or "no firmware version", utf16z(build.crtm_version))
    yield _pei(platform)
    if platform.firmware is None or platform.firmware.dxe is None:
        yield unknown(0, _BLOB, DXE_VOLUME, platform.no_build)
    else:
        dxe = platform.firmware.dxe
        yield Row(0, _BLOB, DXE_VOLUME, dxe, _where(build, 1, len(dxe)))


def _where(build: Build | None, index: int, size: int) -> bytes:
    """The address, which only known builds tell, and the size."""
    return struct.pack("<QQ", 0 if build is None else build.volume_bases[index], size)


def _pei(platform: Platform) -> Row:
    """The volume as it lies in RAM: PEIMs run there and have written to their globals."""
    build = platform.build
    if build is None or platform.firmware is None or platform.firmware.pei is None:
        return unknown(0, _BLOB, PEI_VOLUME, platform.no_build)
    volume = bytearray(platform.firmware.pei)
    because = build.pei_unknown
    if because is None and build.has_platform_info:
        because = _with_platform_info(volume, platform, build)
    if because is not None:
        return unknown(0, _BLOB, PEI_VOLUME, because)
    for patch in build.pei_patches:
        volume[patch.offset : patch.offset + len(patch.data)] = patch.data
    return Row(0, _BLOB, PEI_VOLUME, bytes(volume), _where(build, 0, len(volume)))


def _with_platform_info(volume: bytearray, platform: Platform, build: Build) -> str | None:
    """Fill in what PlatformPei of 2022.11 does (EFI_HOB_PLATFORM_INFO, packed), or why it cannot be told."""
    host, cpus = platform.host, processors(platform)
    if b"i440FX" in (host.fields.product_name or b""):
        return f"{_AS_IN_RAM} what differs by the kind of machine: only q35 was recorded"
    if "memory" in host.unknown:
        return "the PEI volume is measured as it lies in RAM, with the size of memory in it, which is not known"
    if host.memory > _MEMORY_MAX:
        return (
            "the PEI volume is measured as it lies in RAM, with addresses that were never recorded with so much memory"
        )
    if cpus is None:
        return (
            "the PEI volume is measured as it lies in RAM, with the number of processors in it (--fw-cfg, smbios_table)"
        )
    if not _is_tcg_max(platform):
        return (
            f"{_AS_IN_RAM} the address bits of the processor in it: only QEMU's -cpu max under TCG was recorded, and "
            "smbios_table has no such one"
        )
    if build.smm and platform.variables is None:
        return "the PEI volume is measured as it lies in RAM, with MemoryTypeInformation of the store (--vars)"
    low = _SPLIT_AT if host.memory >= _SPLIT_FROM else host.memory
    size = 0x80000 + cpus * 0x8000
    base = low - (16 * _MIB if build.smm else 0) - size

    def put(offset: int, form: str, *values: int) -> None:
        struct.pack_into("<" + form, volume, _PLATFORM_INFO + offset, *values)

    put(0x18, "H", 0x29C0)
    put(0x27, "B", 1)
    if build.smm:
        put(0x28, "BBH", 1, 1, 16)
    put(0x2C, "QBI", 0x1000000000, _ADDRESS_BITS, _SPLIT_AT)
    volume[_PLATFORM_INFO + 0x48 : _PLATFORM_INFO + 0x48 + len(_PCI_WINDOWS)] = _PCI_WINDOWS
    put(0x76, "IIIIIBB", cpus, cpus, 64, base, size, 1, 1)
    if build.smm:
        _memory_types(volume, platform)
    return None


def _is_tcg_max(platform: Platform) -> bool:
    rows = [row.formatted for row in platform.structures or () if row.type == _PROCESSOR]
    return bool(rows) and all(row[_ID] == _TCG_MAX for row in rows)


def _memory_types(volume: bytearray, platform: Platform) -> None:
    """The store's MemoryTypeInformation raises the defaults (OvmfPkg/PlatformPei/MemTypeInfo.c)."""
    data = next((row.data for row in platform.variables or () if row.name == "MemoryTypeInformation"), b"")
    if len(data) % 8 or len(data) > _MEMORY_TYPE_SIZE_MAX:
        return
    pages: dict[int, int] = {}
    for kind, count in struct.iter_unpack("<II", data):
        pages.setdefault(kind, count)
    for index in range(_MEMORY_TYPE_ENTRIES):
        at = _MEMORY_TYPES + 8 * index
        kind, default = struct.unpack_from("<II", volume, at)
        struct.pack_into("<II", volume, at, kind, max(default, pages.get(kind, 0)))
