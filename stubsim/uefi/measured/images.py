"""PCR 4 and 2: images, each by its Authenticode digest (SecurityPkg, DxeTpm2MeasureBootLib)."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from stubsim.errors import StubsimError
from stubsim.formats import load_option, pe
from stubsim.uefi.measured.boot_variables import device_of_disk
from stubsim.uefi.measured.row import Row, unknown
from stubsim.uefi.platform import Platform

# All builds that are known are for it.
MACHINE = "x64"


def load_event(image: pe.Image, size: int, path: bytes) -> bytes:
    """UEFI_IMAGE_LOAD_EVENT, its address of the machine's memory as 0: address, size, link-time address, path."""
    return struct.pack("<QQQQ", 0, size, image.image_base, len(path)) + path


def path_on_disk(platform: Platform, path: str) -> bytes:
    """The device path of a file of the partition, b"" where the disk's is not known."""
    disk, table = device_of_disk(platform), platform.disk
    guid = platform.host.esp_partition_uuid
    rows = () if table is None else table.partitions
    row = next((row for row in rows if row.guid == guid), rows[0] if len(rows) == 1 else None)
    if disk is None or row is None:
        return b""
    partition = load_option.hard_drive(row.number, row.first, row.last - row.first + 1, row.guid)
    return load_option.build_path(*disk, partition, load_option.file_path(path))


def file_alone(path: str) -> bytes:
    """The device path that shim has of an image: the file without its disk."""
    return load_option.build_path(load_option.file_path(path))


def option_roms(platform: Platform) -> Iterator[tuple[pe.Image | None, Row]]:
    """The driver of each program that a ROM has; its digest is the caller's to make."""
    for program in platform.option_roms:
        kind, name = "EV_EFI_BOOT_SERVICES_DRIVER", "option ROM"
        try:
            image = pe.open_bytes(program, name)
        except StubsimError as error:
            yield None, unknown(2, kind, name, str(error))
            continue
        if pe.MACHINES.get(image.machine) == MACHINE:
            yield image, Row(2, kind, name, None, load_event(image, len(program), b""))
