"""What of a machine a register hangs on, where no machine was given; PCR 11 has its cases (`possible`)."""

from __future__ import annotations

from stubsim.explain.boot_manager import starts_the_same
from stubsim.linux.measure import PCR_KERNEL_INITRD
from stubsim.result import Boot
from stubsim.simulation import boot
from stubsim.systemd.measure import PCR_KERNEL_CONFIG, PCR_SYSTEM_EXTENSIONS
from stubsim.trace import Unknown
from stubsim.uefi.boot_manager import PCR_BOOT_MANAGER

# What a host file tells of a machine and registers but PCR 11 may hang on.
_OF_A_MACHINE = {
    "secure_boot": "Secure Boot",
    "smbios.oem_strings": "SMBIOS type 11",
    "confidential": "whether it is a confidential guest",
    "console": "its consoles",
    "previous_initrd": "an initrd of an earlier stage",
    "rng": "a random number generator of its firmware",
    "variables": "its EFI variables",
    "esp_partition_uuid": "whether the UKI comes from a partition",
}
_PARTITION = "what lies on its partition (--esp)"
_BY_PARTITION = (PCR_BOOT_MANAGER, PCR_KERNEL_INITRD, PCR_KERNEL_CONFIG, PCR_SYSTEM_EXTENSIONS)


def hangs_on(result: Boot) -> dict[int, tuple[str, ...]]:
    """By PCR what another machine may have otherwise, found by booting on machines of which that is not known."""
    start = result.start
    if result.prepared is None:
        return {}
    doubted = boot(result.uki, result.host._replace(unknown=frozenset(_OF_A_MACHINE)), start)
    rows = [event for event in doubted.trace if isinstance(event, Unknown) and event.what in _OF_A_MACHINE]
    found = {pcr: [_OF_A_MACHINE[event.what] for event in rows if pcr in event.pcrs] for pcr in _BY_PARTITION}
    for other in doubted.others:
        if not starts_the_same(result, other.boot):
            found[PCR_BOOT_MANAGER] += [_OF_A_MACHINE[key] for key in sorted(other.keys) if key in _OF_A_MACHINE]
    if start.esp is None and not start.from_memory:
        found = {pcr: [*texts, _PARTITION] for pcr, texts in found.items()}
    return {pcr: tuple(dict.fromkeys(texts)) for pcr, texts in found.items() if texts}
