"""What the keys and words of host files and of the JSON are called in text for people: the same words in every view."""

from __future__ import annotations

_CAPITALS = {word: word.upper() for word in ("bios", "edid", "efi", "esp", "oem", "pcr", "sku", "tpm", "uuid")}
# Where the key's own words are not those of the field.
_KEYS = {
    "secure_boot": "Secure Boot",
    "rng": "random number generator",
    "direct_boot": "QEMU's -kernel",
    "vmfwupdate": "update device",
    "uki": "UKI",
    "confidential": "confidential guest",
    "bios_major": "BIOS major release",
    "bios_minor": "BIOS minor release",
    "chids": "CHIDs",
    "cmdline": "command line",
    "esp_changes": "files on the partition",
    "fw_cfg": "fw_cfg writes",
    "log": "messages",
    "next": "the boot after the update",
    "pcrs": "PCR values",
    "rtmrs": "RTMR values",
    "selection": "what is chosen",
    "kernel-started": "the kernel starts",
    "firmware-update": "the firmware is updated",
    "failed": "the boot fails",
    "hypervisor-abort": "the hypervisor stops the machine",
    "boot-loop": "the machine starts again and again",
    "not-simulated": "not simulated",
}


def plain(key: str) -> str:
    """A key as people say it: "product_sku" is the product SKU, and so is "smbios.product_sku"."""
    return _KEYS.get(key) or " ".join(_CAPITALS.get(word, word) for word in key.removeprefix("smbios.").split("_"))
