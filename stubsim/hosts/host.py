"""A machine as the stub meets it: what the firmware, earlier boot stages and the hypervisor bring along.

The defaults are those of a QEMU q35 guest with OVMF.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

from stubsim.formats import smbios
from stubsim.rows import NamedTuple

if TYPE_CHECKING:
    from collections import Counter

# The compatible of the tree that QEMU makes of virt (hw/arm/virt.c, create_fdt): AAVMF hands it on where there are no
# ACPI tables (-machine acpi=off).
QEMU_VIRT = "linux,dummy-virt"


class Capsules(NamedTuple):
    """What QueryCapsuleCapabilities() says: the largest capsule in bytes, and the reset that it asks for."""

    maximum_size: int
    reset: str = "warm"


class Firmware(NamedTuple):
    """The UEFI system table's words about the firmware; the revisions are the table's raw 32-bit numbers.

    `pflash` tells that a virtual machine has it in flash, not in a ROM; `capsules` is None where UpdateCapsule() takes
    none, as with OVMF.
    """

    vendor: str = "EDK II"
    revision: int = 0x10000
    uefi_revision: int = 0x20046
    sha256: str | None = None
    pflash: bool = False
    capsules: Capsules | None = None


class Console(NamedTuple):
    """Output devices: graphics, the number of virtio consoles, the I/O addresses of ISA serial ports.

    Only virtio consoles of PCI id 1af4:1003 count: 262.1 does not see modern-only ones (1af4:1043; booted in QEMU).
    """

    graphics: bool = True
    virtio: int = 0
    serial: tuple[int, ...] = ()


class Variable(NamedTuple):
    """An EFI variable that exists before the stub runs."""

    name: str
    guid: UUID
    attributes: int
    data: bytes


class VmFwUpdate(NamedTuple):
    """The hypervisor's firmware update device: the dialect it speaks and what it offers; `bios_size` is in bytes."""

    dialect: str
    cap: int
    bios_size: int
    disabled: bool = False


class FwCfg(NamedTuple):
    """QEMU's fw_cfg device: `slots` is the number of files it holds, `legacy_order` that of machine types up to 2.5."""

    dma: bool = True
    vmfwupdate: VmFwUpdate | None = None
    legacy_order: bool = False
    slots: int = 32


class DirectBoot(NamedTuple):
    """The UKI is given to QEMU by -kernel, and started from no partition under the path "kernel".

    `load_options` are what the firmware makes of -append and -initrd, None for none.
    """

    load_options: str | None = None


class Patch(NamedTuple):
    """Bytes that are written over a devicetree's own, from an offset in bytes on."""

    offset: int
    data: bytes


class DevicetreeFixup(NamedTuple):
    """EFI_DT_FIXUP_PROTOCOL: the UEFI status with which it fails, or what it does to the tree in a buffer.

    It asks for a larger buffer where there are fewer than `needs` bytes, or only so in its first call of a boot; puts
    `append` behind the tree, which grows by it; with `fill_buffer` the tree takes all of the buffer and ends with
    copies of that byte, as U-Boot's does with zeros; and writes the `patches`. With all three None it is not known.
    """

    error: str | None = None
    needs: int = 0
    first_call_only: bool = False
    patches: tuple[Patch, ...] | None = None
    append: bytes | None = None
    fill_buffer: int | None = None

    @property
    def known(self) -> bool:
        """Whether the bytes are known that it makes of a tree, if it does not fail."""
        return self.patches is not None or self.append is not None or self.fill_buffer is not None


class Host(NamedTuple):
    """One machine. None means absent; what is not known at all is named in `unknown`.

    `structures` are there only where the raw SMBIOS table was given, and then `fields` and `oem_strings` are read
    from them; `damage` tells what ends such a table before its end. `architecture` None is the UKI's own; `memory` is
    in bytes; `tpm` holds the active PCR banks; `unknown` holds the keys of the host file, dotted below the top level
    ("tpm", "smbios.family"). `chids` are CHIDs by type that count in place of the computed ones, None for an absent
    one; they are for supposing, no host file has any.
    """

    name: str | None = None
    source: str | None = None
    fields: smbios.Fields = smbios.Fields()
    oem_strings: tuple[bytes, ...] = ()
    structures: tuple[smbios.Structure, ...] | None = None
    damage: str | None = None
    edid: bytes | None = None
    devicetree: bytes | None = None
    devicetree_fixup: DevicetreeFixup | None = None
    previous_initrd: bytes | None = None
    architecture: str | None = None
    memory: int = 2 << 30
    hypervisor: bool = True
    confidential: str | None = None
    secure_boot: bool = False
    tpm: tuple[str, ...] | None = ("sha256",)
    rng: bool = False
    variables: tuple[Variable, ...] = ()
    boot_secret: bytes | None = None
    keyboard_layout: str | None = None
    esp_partition_uuid: UUID | None = None
    xbootldr_partition_uuid: UUID | None = None
    console: Console = Console()
    direct_boot: DirectBoot | None = None
    fw_cfg: FwCfg | None = FwCfg()
    firmware: Firmware = Firmware()
    unknown: frozenset[str] = frozenset()
    chids: tuple[tuple[int, UUID | None], ...] = ()

    @property
    def notes(self) -> tuple[str, ...]:
        """What is to be said of the table that it was read from."""
        if self.damage is None:
            return ()
        return (f"the SMBIOS table is damaged: {self.damage}; what stands before that is read, and nothing behind it",)


class Watched(Host):
    """A host that counts which of its fields it is asked for, by name."""

    reads: Counter[str]

    def __new__(cls, host: Host, reads: Counter[str]) -> Watched:
        watched = tuple.__new__(cls, host)
        watched.reads = reads
        return watched

    def _replace(self, **changes: Any) -> Host:  # type: ignore[override]
        """A plain host again."""
        return Host(*self)._replace(**changes)

    def __getattribute__(self, name: str) -> Any:
        if name in _FIELDS:
            self.reads[name] += 1
        return super().__getattribute__(name)


_FIELDS = frozenset(Host._fields)


def changed(host: Host, **changes: Any) -> Host:
    """The host with other values, and still watched if it was."""
    plain = Host(*host)._replace(**changes)
    return Watched(plain, host.reads) if isinstance(host, Watched) else plain


# The forms in which a machine can be described.
KINDS = (
    "json",
    "smbios-table",
    "smbios-folder",
    "dmidecode-bin",
    "dmidecode-text",
    "dmi-id-folder",
    "dmi-id-text",
    "fwupd-hwids",
    "windows-hardware-ids",
    "qemu",
    "libvirt",
    "live",
)
# The same for a file, in an error's words.
EXPECTED = (
    "a host file in JSON, an SMBIOS table, text of dmidecode, fwupdtool hwids, ComputerHardwareIds or the files in "
    "/sys/class/dmi/id, a QEMU command line or libvirt XML"
)


class Reading(NamedTuple):
    """A host and how it was come by: the form of the source (`kind`, one of KINDS), more of it for people
    (`description`), and what was found out on the way (`notes`).
    """

    host: Host
    kind: str
    description: str
    notes: tuple[str, ...] = ()
