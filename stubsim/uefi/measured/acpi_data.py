"""PCR 1: ACPI tables as QEMU gives them, measured by OVMF from 2025 on (OvmfPkg/AcpiPlatformDxe).

The raw fw_cfg files, before the loader has patched them: the script, then each file that it allocates, in its order.
"""

from __future__ import annotations

from collections.abc import Iterator

from stubsim.uefi.measured.row import Row, unknown
from stubsim.uefi.platform import Platform

_KIND, _TEXT = "EV_PLATFORM_CONFIG_FLAGS", "ACPI DATA"
_LOADER = "etc/table-loader"
# QEMU's BIOSLinkerLoaderEntry: u32 command, then a file name of 56 bytes for ALLOCATE.
_ENTRY_SIZE, _ALLOCATE, _NAME_SIZE = 128, 1, 56


def events(platform: Platform) -> Iterator[Row]:
    if platform.build is None:
        yield unknown(1, _KIND, _TEXT, platform.no_build)
        return
    if not platform.build.acpi_data:
        return
    files = platform.fw_cfg
    if files is None or _LOADER not in files:
        yield unknown(1, _KIND, _TEXT, "QEMU's ACPI tables are not at hand (--fw-cfg)")
        return
    for name in (_LOADER, *_allocated(files[_LOADER])):
        description = f"{_TEXT} {name}"
        if name in files:
            yield Row(1, _KIND, description, files[name], _TEXT.encode())
        else:
            yield unknown(1, _KIND, description, f"{name} is not among the fw_cfg files")


def _allocated(script: bytes) -> Iterator[str]:
    for at in range(0, len(script) - _ENTRY_SIZE + 1, _ENTRY_SIZE):
        if int.from_bytes(script[at : at + 4], "little") == _ALLOCATE:
            name = script[at + 4 : at + 4 + _NAME_SIZE].partition(b"\0")[0]
            yield name.decode("ascii", "replace")
