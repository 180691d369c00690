"""What is found out of the machine that this runs on, one file after the other, and how to find what is left open."""

from __future__ import annotations

import os
from typing import Any

from stubsim.hosts.host import Host

# Where Linux cannot tell, or could not: how somebody at the machine finds out.
HOW_TO_FIND = {
    "architecture": "uname -m, and /sys/firmware/efi/fw_platform_size for firmware of 32 bits",
    "boot_secret": "LoaderBootSecret is for boot services only; a running system never sees it",
    "confidential": "dmesg has what memory encryption is active",
    "console.graphics": "in the UEFI shell, dh lists the handles with a GraphicsOutput protocol",
    "console.serial": "in the UEFI shell, dh lists the handles with a SerialIO protocol, and their device paths",
    "console.virtio": "lspci -d 1af4:1003 has one line for each",
    "devicetree": "/sys/firmware/fdt may be what the last stub installed, and the kernel has added to it; "
    "in the UEFI shell, dmem shows whether a table b1b621d5-f19c-41a5-830b-d9152c69aae0 is there before any stub ran",
    "edid": "the stub asks the firmware for it, not the panel: in the UEFI shell, dh lists the handles with "
    "EFI_EDID_DISCOVERED_PROTOCOL (1c0c34f6-d380-41fa-a049-8ad06c1a66aa)",
    "esp_partition_uuid": "blkid -s PART_ENTRY_UUID -p on the partition that the UKI is started from",
    "firmware.capsules": "fwupdmgr get-devices says whether UEFI capsules are taken, the UEFI shell's dmem how large",
    "firmware.pflash": "the command line of the virtual machine: if=pflash or -bios",
    "firmware.revision": "in the UEFI shell, ver",
    "firmware.sha256": "for .efifw: the SHA-256 of the firmware's image, which the virtual machine's owner has",
    "firmware.uefi_revision": "dmesg: efi: EFI v2.70 by EDK II",
    "firmware.vendor": "dmesg: efi: EFI v2.70 by EDK II",
    "fw_cfg": "/sys/bus/acpi/devices/QEMU0002:00 is there where the virtual machine has it",
    "hypervisor": "lscpu names the hypervisor",
    "keyboard_layout": "systemd-stub and systemd-boot from 261 on leave it in the variable LoaderKeyboardLayout",
    "memory": "dmidecode -t 17, or what the virtual machine was given",
    "rng": "in the UEFI shell, dh lists the handles with EFI_RNG_PROTOCOL (3152bca5-eade-433d-862e-c01cdc291f44)",
    "secure_boot": "mokutil --sb-state, or bootctl status",
    "smbios": "as root the whole table can be read",
    "tpm": "ls -d /sys/class/tpm/tpm0/pcr-*, or systemd-analyze has-tpm2",
    "variables": "as root, the files of /sys/firmware/efi/efivars that end with 4a67b082-0a4c-41cf-b6c7-440b29bb8c4f",
}


class Findings:
    """A host that is filled step by step from the files below a root folder."""

    def __init__(self, host: Host, root: str) -> None:
        self.host = host
        self.root = root
        self.unknown = set(host.unknown)
        self.notes: list[str] = []

    def known(self, key: str, value: Any) -> None:
        """A value, dotted below the top level, that the boot will meet as well."""
        self.likely(key, value)
        self.unknown.discard(key)

    def likely(self, key: str, value: Any) -> None:
        """A value of which it is not for certain that the firmware has it like that."""
        outer, _, inner = key.partition(".")
        self.host = self.host._replace(
            **{outer: getattr(self.host, outer)._replace(**{inner: value}) if inner else value}
        )
        self.unknown.add(key)

    def split(self, key: str) -> None:
        """Doubt each part of a key by itself instead of the whole."""
        self.unknown.discard(key)
        self.unknown |= {f"{key}.{part}" for part in getattr(self.host, key)._fields}

    def note(self, text: str) -> None:
        self.notes.append(text)

    def content(self, path: str, size: int = 1 << 16) -> bytes | None:
        """A file's content, at most so many bytes; None where it cannot be read."""
        try:
            with open(os.path.join(self.root, path), "rb") as file:
                return file.read(size)
        except OSError:
            return None

    def line(self, path: str) -> str:
        """A file's only line as text, empty where it cannot be read."""
        return (self.content(path, 4096) or b"").decode("latin-1").strip()

    def names(self, path: str) -> list[str]:
        """What is in a folder, in order; empty where that cannot be read."""
        try:
            return sorted(os.listdir(os.path.join(self.root, path)))
        except OSError:
            return []

    def exists(self, path: str) -> bool:
        return os.path.lexists(os.path.join(self.root, path))

    def how_to_find(self) -> list[str]:
        """A line for each key that is left unknown."""
        return [
            f"{key} is unknown: {HOW_TO_FIND[key if key in HOW_TO_FIND else key.partition('.')[0]]}"
            for key in sorted(self.unknown)
        ]
