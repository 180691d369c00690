"""PCR 5: the partition table of the disk that the first image comes from (SecurityPkg, DxeTpm2MeasureBootLib)."""

from __future__ import annotations

from collections.abc import Iterator

from stubsim.uefi.measured.row import Row, plain, unknown
from stubsim.uefi.platform import Platform

_KIND = "EV_EFI_GPT_EVENT"


def events(platform: Platform) -> Iterator[Row]:
    """UEFI_GPT_DATA: the header, u64 number of used entries, those entries."""
    disk = platform.disk
    if disk is None:
        yield unknown(5, _KIND, "GPT", "the partition table is not at hand (--disk, --gpt)")
    else:
        used = b"".join(row.raw for row in disk.partitions)
        yield plain(5, _KIND, "GPT", disk.header + len(disk.partitions).to_bytes(8, "little") + used)
