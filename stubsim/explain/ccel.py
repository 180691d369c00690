"""The log of a TDX guest, whose events name a register, seen as one of PCRs.

UEFI 2.10, 38.4.1: index 0 is MRTD, 1 RTMR 0 (PCR 1 and 7), 2 RTMR 1 (PCR 2 to 6), 3 RTMR 2 (PCR 8 to 15). Which
of them an event would have been for follows from what it says of itself.
"""

from __future__ import annotations

from stubsim.formats import eventlog
from stubsim.machine.tpm import replay
from stubsim.stub.models import NEWEST
from stubsim.stub.sidecars import TABLE as SIDECARS
from stubsim.systemd.measure import PCR_KERNEL_CONFIG, PCR_KERNEL_IMAGE, PCR_PLATFORM_CONFIG

BANK = "sha384"
# Of the firmware, of the boot loader (GRUB's commands and files), and of Linux.
_PCR_BOOT_MANAGER, _PCR_BOOT_LOADER, _PCR_LINUX = 4, 8, 9
_LINUX_TAGS = (0x8F3B22EC, 0x8F3B22ED)
_ARCHIVES = {row.description: row.pcr for row in SIDECARS}
_APPLICATION = eventlog.EVENT_TYPES["EV_EFI_BOOT_SERVICES_APPLICATION"]
_STUBS = (eventlog.EVENT_TYPES["EV_IPL"], eventlog.EVENT_TYPES["EV_EVENT_TAG"])
# The log's index of it.
_RTMR_0 = 1
# An event of a register that no stub's event is taken for.
_OTHER = 0


def as_pcrs(log: eventlog.Log) -> eventlog.Log:
    """The same events, each with the PCR that it would have been for."""
    return log._replace(events=tuple(event._replace(pcr=_pcr(event)) for event in log.events))


def rtmrs(log: eventlog.Log) -> dict[int, bytes]:
    """RTMR -> value after all events of the log."""
    values = replay(log.events).get(BANK, {})
    return {index - 1: value for index, value in values.items() if index}


def has_rtmr_0(log: eventlog.Log) -> bool:
    """A firmware's log has; one that was predicted may be without."""
    return any(event.pcr == _RTMR_0 for event in log.events)


def _pcr(event: eventlog.Event) -> int:
    if event.pcr == 2 and event.type == _APPLICATION:
        return _PCR_BOOT_MANAGER
    if event.type not in _STUBS:
        return _OTHER
    tag, text = eventlog.describe(event)
    if event.pcr == 1 and (text or "").startswith("smbios:"):
        return PCR_PLATFORM_CONFIG
    if event.pcr != 3:
        return _OTHER
    if tag in _LINUX_TAGS:
        return _PCR_LINUX
    if text in NEWEST.sections:
        return PCR_KERNEL_IMAGE
    if (text or "").startswith(("grub_cmd: ", "kernel_cmdline: ", "module_cmdline: ")):
        return _PCR_BOOT_LOADER
    return _ARCHIVES.get(text or "", PCR_KERNEL_CONFIG)
