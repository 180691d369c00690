"""Whether it matters that nothing was chosen, and what the stub's message about it is worth."""

from __future__ import annotations

from collections.abc import Iterator

from stubsim.explain.selection import KINDS
from stubsim.formats import hwids
from stubsim.formats.uefi_status import TEXTS
from stubsim.result import Boot
from stubsim.stub.models import which
from stubsim.trace import Log

MISS = "HWID matching failed, no DT blob will be selected"
_FIRMWARE_MISS = "No UEFI FW will be selected"
_X86 = ("x64", "ia32")


def what_it_means(boot: Boot, kind: int, *, offered: bool) -> Iterator[str]:
    """Sentences on one kind of choice; ``offered`` says whether the UKI has anything of the kind."""
    if boot.sections is None:
        return
    found, section = boot.sections.matches.get(kind), boot.sections.section(KINDS[kind].section)
    if found is not None and section is None:
        yield "the stub takes the first entry it finds, and does not go on to the next when that leads to nothing"
    if kind == hwids.DEVICETREE:
        yield from _devicetree(boot, offered=offered)
        yield from _message(boot, MISS)
    else:
        yield from _firmware(boot, offered=offered)
        yield from _message(boot, _FIRMWARE_MISS)


def _devicetree(boot: Boot, *, offered: bool) -> Iterator[str]:
    assert boot.sections is not None
    tree = None if boot.prepared is None else boot.prepared.devicetree
    if boot.sections.section(KINDS[hwids.DEVICETREE].section) is not None:
        if tree is not None and tree.source != ".dtbauto":
            yield f"the kernel gets another devicetree nevertheless, of the addon {tree.source}"
        return
    if tree is not None:
        whose = "the firmware's own devicetree" if tree.source == "firmware" else f"the devicetree of {tree.source}"
        yield f"the kernel gets {whose}"
    elif not offered:
        return
    elif boot.uki.machine in _X86:
        yield (
            "the kernel gets no devicetree; this does no harm on an x86 machine, which describes its hardware by ACPI"
        )
    else:
        yield (
            "the kernel gets no devicetree, neither from the UKI nor from the firmware: harmless on a machine that has "
            "ACPI tables (servers, virtual machines), fatal on one that has none; the host file does not say which"
        )


def _firmware(boot: Boot, *, offered: bool) -> Iterator[str]:
    assert boot.sections is not None
    if boot.sections.section(KINDS[hwids.UEFI_FW].section) is not None:
        yield "it is measured into PCR 11, which therefore differs from that of machines that get none"
        if boot.outcome.status not in ("firmware-update", "hypervisor-abort"):
            yield "the kernel starts on the firmware that is there: no released stub hands the chosen one over"
    elif offered:
        yield "the machine keeps its firmware and the kernel starts as usual"


def _message(boot: Boot, start: str) -> Iterator[str]:
    """What the stub prints about the look-up, and whether that is bad news."""
    texts = [event.message for event in boot.trace if isinstance(event, Log) and event.message.startswith(start)]
    for text in dict.fromkeys(texts):
        yield f'the stub prints "{text}": {_worth(boot, start, text)}'
    if not texts and start == MISS and _missed(boot):
        louder = which(lambda model: model.matches_devicetree_entries and model.reports_no_match_as_error)
        silent = f"stub {boot.model.id} is silent about that at its usual log level"
        yield f'{silent}; for {louder} it is the error "{start}."'


def _missed(boot: Boot) -> bool:
    """Whether the look-up of devicetrees was made and found nothing."""
    sections = boot.sections
    assert sections is not None
    made = sections.section(hwids.SECTION) is not None and boot.host.devicetree is None
    return (
        made
        and boot.model.matches_devicetree_entries
        and sections.hwids_error is None
        and sections.matches.get(hwids.DEVICETREE) is None
    )


def _worth(boot: Boot, start: str, text: str) -> str:
    if text not in (f"{start}.", f"{start}: {TEXTS['EFI_NOT_FOUND']}"):
        return "an error, the table is refused as a whole and no machine is matched by it"
    if boot.model.reports_no_match_as_error:
        return f"shown as an error, but stub {boot.model.id} says so of every machine that is in no devicetree entry"
    return "no error, no entry is for this machine"
