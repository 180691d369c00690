"""The writable files of a stock QEMU (hw/misc/vmcoreinfo.c, hw/display/ramfb.c, hw/isa/lpc_ich9.c)."""

from __future__ import annotations

from stubsim.machine.devices.device import Device
from stubsim.machine.fwcfg import GROUP_DEVICE, Item
from stubsim.machine.ram import GIB4, Ram

VMCOREINFO = "etc/vmcoreinfo"
RAMFB = "etc/ramfb"
SMI_REQUESTED = "etc/smi/requested-features"
SMI_SUPPORTED = "etc/smi/supported-features"
SMI_OK = "etc/smi/features-ok"

# struct FWCfgVMCoreInfo: host_format 1 is ELF; guest_format, size and paddr are the guest's to fill in.
_ELF_NOTE = (1).to_bytes(2, "little").ljust(16, b"\0")


class VmCoreInfo(Device):
    """-device vmcoreinfo: where the guest keeps a note for crash dumps; a reset takes it back."""

    def __init__(self) -> None:
        super().__init__()
        self._info = bytearray(_ELF_NOTE)

    def items(self) -> tuple[Item, ...]:
        return (Item(VMCOREINFO, self._info, writable=True, group=GROUP_DEVICE),)

    def reset(self) -> None:
        self._info[:] = _ELF_NOTE


class Ramfb(Device):
    """-device ramfb: the guest's frame buffer; a reset leaves the file."""

    def __init__(self) -> None:
        super().__init__()
        self._config = bytearray(28)

    def items(self) -> tuple[Item, ...]:
        return (Item(RAMFB, self._config, writable=True, group=GROUP_DEVICE),)


class Smi(Device):
    """The ICH9's SMI features, settled by reading features-ok: the guest's wishes count once, until a reset.

    `supported` are the machine's own. A wish beyond them, for hotplug (bit 1) without broadcast (bit 0), or for
    hot-unplug (bit 2) without hotplug, leaves features-ok at 0.
    """

    def __init__(self, supported: int = 0x7) -> None:
        super().__init__()
        self._supported = supported
        self._requested = bytearray(8)
        self._ok = bytearray(1)

    def items(self) -> tuple[Item, ...]:
        return (
            Item(SMI_SUPPORTED, self._supported.to_bytes(8, "little")),
            Item(SMI_REQUESTED, self._requested, writable=True),
            Item(SMI_OK, self._ok, selected=self._settle),
        )

    def reset(self) -> None:
        self._requested[:] = bytes(8)
        self._ok[:] = bytes(1)

    def _settle(self) -> None:
        wanted = int.from_bytes(self._requested, "little")
        if not wanted & ~self._supported and wanted & 0b110 != 0b100 and (wanted & 1 or not wanted & 0b110):
            self._ok[:] = b"\1"


# By the file that shows that the machine has it.
DEVICES: dict[str, type[Device]] = {VMCOREINFO: VmCoreInfo, RAMFB: Ramfb, SMI_OK: Smi}


# What a machine of QEMU 10.0.13 has without any option: name and size in bytes. Their content is not simulated, but
# for that of Smi; the sizes of the SMBIOS tables and of etc/e820 go with the machine, and with the release.
_Q35_FILES = (
    ("bios-geometry", 0),
    ("bootorder", 0),
    ("etc/acpi/rsdp", 20),
    ("etc/acpi/tables", 131072),
    ("etc/boot-fail-wait", 4),
    ("etc/smbios/smbios-anchor", 31),
    ("etc/smbios/smbios-tables", 312),
    ("etc/system-states", 6),
    ("etc/table-loader", 4096),
    ("genroms/kvmvapic.bin", 9216),
)
_VIRT_FILES = (
    ("bios-geometry", 0),
    ("bootorder", 0),
    ("etc/acpi/rsdp", 36),
    ("etc/acpi/tables", 131072),
    ("etc/boot-fail-wait", 4),
    ("etc/smbios/smbios-anchor", 24),
    ("etc/smbios/smbios-tables", 266),
    ("etc/table-loader", 3072),
)
# QEMU 7.2 makes an empty log area also for a machine without a TPM.
TPM_LOG = ("etc/tpm/log", 0)
_E820_ENTRY = 20


def stock_items(memory: Ram, *more: tuple[str, int], legacy: bool = False) -> tuple[Item, ...]:
    """The files of a machine of q35's kind, or virt's, with nothing but ``more`` added: the read-only ones.

    A ``legacy`` machine type, up to pc-2.5, knows no geometry of disks.
    """
    files = [*more]
    if memory.architecture in ("x64", "ia32"):
        # The RAM below 4 GiB is one entry, and the last one is what AMD's HyperTransport keeps for itself.
        pieces = 1 + any(start >= GIB4 for start, _ in memory.ram)
        files += [*_Q35_FILES, ("etc/e820", (pieces + 1) * _E820_ENTRY)]
    else:
        files += _VIRT_FILES
    return tuple(Item(name, bytes(size)) for name, size in files if not (legacy and name == "bios-geometry"))


def stock_devices(memory: Ram) -> tuple[Device, ...]:
    """The devices behind the files of such a machine."""
    return (Smi(),) if memory.architecture in ("x64", "ia32") else ()
