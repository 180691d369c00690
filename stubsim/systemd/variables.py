"""What loader and stub both tell userspace in EFI variables (src/boot/export-vars.c, export_common_variables)."""

from __future__ import annotations

from uuid import UUID

from stubsim.formats.efi_string import utf16z
from stubsim.hosts import Host
from stubsim.machine.tpm import Tpm
from stubsim.uefi.services import Services

# EFI_VARIABLE_BOOTSERVICE_ACCESS | EFI_VARIABLE_RUNTIME_ACCESS: volatile.
ATTRIBUTES = 0x6
NON_VOLATILE_BOOT_ONLY = 0x3


def export_common_variables(
    services: Services, host: Host, path: str | None, partition: str | None, *, tpm_banks: bool, keyboard_layout: bool
) -> None:
    """The Loader* ones, each only where no boot loader has set it; the partition's GUID as text."""
    firmware = host.firmware
    texts = {
        "LoaderDevicePartUUID": partition,
        "LoaderImageIdentifier": path,
        "LoaderFirmwareInfo": f"{firmware.vendor} {firmware.revision >> 16}.{firmware.revision & 0xFFFF:02}",
        "LoaderFirmwareType": f"UEFI {firmware.uefi_revision >> 16}.{firmware.uefi_revision & 0xFFFF:02}",
        "LoaderTpm2ActivePcrBanks": _banks(services.tpm) if tpm_banks else None,
        "LoaderKeyboardLayout": host.keyboard_layout if keyboard_layout else None,
    }
    for name, text in texts.items():
        if text is not None and services.variables.get(name) is None:
            services.set_variable(name, utf16z(text), ATTRIBUTES)


def partition_text(uuid: UUID, in_lower_case: bool) -> str:
    """In upper case, but as 253 prints it."""
    return str(uuid) if in_lower_case else str(uuid).upper()


def _banks(tpm: Tpm) -> str:
    return f"{tpm.active_banks_mask:#010x}"
