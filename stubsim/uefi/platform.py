"""A virtual machine's firmware and what it reads before anything is started, as far as the files are at hand."""

from __future__ import annotations

from uuid import UUID

from stubsim.errors import StubsimError
from stubsim.formats import firmware_volume
from stubsim.formats.gpt import Table
from stubsim.formats.smbios import Structure
from stubsim.formats.varstore import StoredVariable
from stubsim.hosts import Host
from stubsim.rows import NamedTuple
from stubsim.uefi.baseline import Baseline
from stubsim.uefi.builds import Build, build_of
from stubsim.uefi.esp import Esp
from stubsim.uefi.variables import GLOBAL

# Pre-EFI code starts the processors of the table, of which ACPI's MADT lists each.
_MADT, _LOCAL_APIC, _LOCAL_X2APIC = b"APIC", 0, 9
_ENABLED = 1
_PROCESSOR, _CORES, _THREADS = 4, 0x23, 0x25


class FirmwareImage(NamedTuple):
    """The code of a firmware: the volumes with PEI and DXE, unpacked, which build it is, and the file as it is."""

    pei: memoryview | None
    dxe: memoryview | None
    build: Build | None
    file: memoryview = memoryview(b"")


class Platform(NamedTuple):
    """What the firmware has in front of it; None is what is not at hand.

    ``variables`` are those of the store before the boot, ``disk`` the partition table of the disk that it starts from,
    ``esp`` that disk's partition; ``option_roms`` are the EFI programs in the ROMs of devices, in the order of
    their loading. ``baseline`` is a real log of the machine. ``from_qemu`` tells that the image was given by QEMU's
    -kernel.
    """

    host: Host
    firmware: FirmwareImage | None = None
    variables: tuple[StoredVariable, ...] | None = None
    disk: Table | None = None
    fw_cfg: dict[str, bytes] | None = None
    esp: Esp | None = None
    option_roms: tuple[bytes, ...] = ()
    from_qemu: bool = False
    baseline: Baseline | None = None

    @property
    def build(self) -> Build | None:
        return None if self.firmware is None else self.firmware.build

    @property
    def no_build(self) -> str:
        """Why it is not known what the firmware does in its own way."""
        if self.firmware is None:
            return "the firmware is not at hand (--firmware)"
        return "the firmware is not a build that was recorded"

    @property
    def structures(self) -> tuple[Structure, ...] | None:
        """SMBIOS as the firmware hands it over; None where it is not known, or not all of it."""
        if any(key.partition(".")[0] in ("smbios", "smbios_table") for key in self.host.unknown):
            return None
        return self.host.structures

    def variable(self, name: str, guid: UUID = GLOBAL) -> bytes | None:
        """A variable of the store, or as the baseline has it where there is no store; None for an absent one."""
        rows = self.variables
        if rows is None:
            known = None if self.baseline is None else self.baseline.variables.get(name)
            return known.data if known is not None and known.guid == guid else None
        return next((row.data for row in rows if (row.name, row.guid) == (name, guid)), None)


def firmware_image(data: bytes) -> FirmwareImage:
    """Find the code in an image. Raises StubsimError where there is no DXE volume."""
    found: dict[str, memoryview] = {}
    for volume in firmware_volume.volumes(data):
        for phase in volume.phases:
            found.setdefault(phase, volume.content)
    if firmware_volume.DXE not in found:
        hint = "a variable store goes to --vars" if b"_FVH" in data else None
        expected = "an image of OVMF with its code, such as OVMF_CODE.fd"
        raise StubsimError("no firmware volume with a DXE core", offset=0, expected=expected, hint=hint)
    pei = found.get(firmware_volume.PEI)
    dxe = found[firmware_volume.DXE]
    return FirmwareImage(pei, dxe, build_of(pei, dxe), memoryview(data))


def processors(platform: Platform) -> int | None:
    """How many processors there are, by ACPI's table of them or by SMBIOS; None where neither tells."""
    tables = (platform.fw_cfg or {}).get("etc/acpi/tables")
    if tables is not None and (count := _in_madt(tables)) is not None:
        return count
    rows = [row.formatted for row in platform.structures or () if row.type == _PROCESSOR]
    if not rows or any(len(row) <= _THREADS for row in rows):
        return None
    # One structure a socket; 0xFF stands for more than a byte can say.
    threads = [row[_THREADS] for row in rows]
    return None if 0xFF in threads or 0 in threads else sum(threads)


def _in_madt(tables: bytes) -> int | None:
    """The enabled processors of the MADT, which lies aligned among the others; None: there is none."""
    at = tables.find(_MADT)
    while at >= 0:
        size = int.from_bytes(tables[at + 4 : at + 8], "little")
        if 44 <= size <= len(tables) - at:
            return _enabled(tables[at : at + size])
        at = tables.find(_MADT, at + 1)
    return None


def _enabled(madt: bytes) -> int:
    count, at = 0, 44
    while at + 2 <= len(madt) and madt[at + 1] >= 2:
        kind, size = madt[at], madt[at + 1]
        flags = {_LOCAL_APIC: at + 4, _LOCAL_X2APIC: at + 8}.get(kind)
        count += flags is not None and bool(int.from_bytes(madt[flags : flags + 4], "little") & _ENABLED)
        at += size
    return count
