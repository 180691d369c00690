"""A verdict for each register that a UKI's chain extends: one value, or what it hangs on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from stubsim.explain.dependence import hangs_on
from stubsim.explain.measure import Case, Measurement
from stubsim.linux.measure import PCR_KERNEL_INITRD
from stubsim.linux.releases import LinuxModel, known_model
from stubsim.rows import NamedTuple
from stubsim.stub.boot_secret import DRAWN
from stubsim.systemd.measure import (
    PCR_BOOT_LOADER_CONFIG,
    PCR_KERNEL_CONFIG,
    PCR_KERNEL_IMAGE,
    PCR_PLATFORM_CONFIG,
    PCR_SYSTEM_EXTENSIONS,
)
from stubsim.trace import Measured, Unknown
from stubsim.uefi.boot_manager import PCR_BOOT_MANAGER
from stubsim.uefi.image_path import QEMU_KERNEL

VALUE, IN_PART = "value", "in-part"
BY_MACHINE, BY_BOOT, UNKNOWN = "differs-by-machine", "differs-by-boot", "unknown"
_WHOLE = (PCR_BOOT_MANAGER, PCR_KERNEL_INITRD, PCR_KERNEL_IMAGE, PCR_KERNEL_CONFIG, PCR_SYSTEM_EXTENSIONS)
_PARTS = (PCR_PLATFORM_CONFIG, PCR_BOOT_LOADER_CONFIG)
_PCRS = 24
_SHOWN = 8


class Verdict(NamedTuple):
    """``because`` is None where one value is all there is to say.

    ``events`` are those of loader and stub, the same in all cases, where the rest of a register is the firmware's.
    """

    verdict: str
    because: str | None
    events: tuple[Measured, ...] = ()


def verdicts(measurement: Measurement) -> dict[int, Verdict]:
    """By PCR; of PCR 11 right after the stub. Those of the firmware alone where its files are at hand."""
    anywhere = not any(case.hosts for case in measurement.cases)
    found = hangs_on(measurement.boot) if anywhere else {}
    whole = {*_WHOLE, *(_told_of(measurement.cases) if measurement.with_firmware else ())}
    rows = {pcr: _whole(measurement, pcr, found.get(pcr, ())) for pcr in whole}
    rows |= {pcr: _part(measurement, pcr, anywhere) for pcr in _PARTS if pcr not in whole}
    return dict(sorted(rows.items()))


def _told_of(cases: Iterable[Case]) -> set[int]:
    """The registers of which a case has the whole value, or says why it has none."""
    told = {row.what for case in cases for row in case.unknown}
    valued = {pcr for case in cases for values in case.pcrs.values() for pcr in values}
    return valued | {pcr for pcr in range(_PCRS) if f"PCR {pcr}" in told}


def _whole(measurement: Measurement, pcr: int, by_machine: Sequence[str]) -> Verdict:
    cases = measurement.cases
    stopped = _stopped(cases)
    if stopped:
        return Verdict(UNKNOWN, f"the kernel is not started{stopped}")
    if not all(_known(case, measurement.banks, pcr) for case in cases):
        return _without_value(measurement, pcr, by_machine)
    first, *others = ([case.pcrs[bank][pcr] for bank in case.pcrs] for case in cases)
    if any(other != first for other in others):
        return Verdict(BY_MACHINE, _what_differs(cases, pcr))
    if by_machine:
        return Verdict(BY_MACHINE, f"it depends on {_listed(by_machine)}; the value given is that of a plain machine")
    return Verdict(VALUE, _said_of_value(measurement, pcr))


def _without_value(measurement: Measurement, pcr: int, by_machine: Sequence[str]) -> Verdict:
    """Why there is none, by the reasons of the cases that have none."""
    why = _reasons(measurement.cases, pcr)
    if DRAWN in why:
        return Verdict(BY_BOOT, why)
    if pcr == PCR_KERNEL_INITRD and not why:
        linux = measurement.boot.linux
        if linux is None:
            return Verdict(UNKNOWN, "no known Linux is started, and what another kernel measures is not known")
        measured = f"Linux {linux.release or ''}".rstrip() + " measures its command line and initrd"
        return Verdict(BY_MACHINE, f"{measured}, and they depend on {_listed(by_machine)}" if by_machine else measured)
    return Verdict(UNKNOWN, why or "the boot does not come to it")


def _part(measurement: Measurement, pcr: int, anywhere: bool) -> Verdict:
    """A register that the firmware extends by what is no part of the UKI's chain."""
    doubts = [row.what for row in measurement.boot.events(Unknown) if pcr in row.pcrs]
    if doubts:
        return Verdict(UNKNOWN, f"{'; '.join(doubts)} is not known")
    events = [[event for event in case.measurements if event.pcr == pcr] for case in measurement.cases]
    if any(other != events[0] for other in events[1:]):
        return Verdict(BY_MACHINE, f"{_what_differs(measurement.cases, pcr)}; the rest is the firmware's")
    if (
        not any(case.hosts for case in measurement.cases)
        and pcr == PCR_PLATFORM_CONFIG
        and _measures_smbios(measurement)
    ):
        return Verdict(BY_MACHINE, "the machine's SMBIOS structures are measured, and the rest is the firmware's")
    open_questions = [
        event.why
        for event in measurement.boot.trace
        if isinstance(event, Unknown) and event.what.endswith(f"events of PCR {pcr}")
    ]
    if open_questions:
        return Verdict(UNKNOWN, "; ".join(open_questions))
    what = "these are the events of loader and stub" if events[0] else "neither loader nor stub extends it"
    return Verdict(IN_PART, f"{what}; the rest is the firmware's", tuple(events[0]))


def _measures_smbios(measurement: Measurement) -> bool:
    boot = measurement.boot
    return boot.model.measures_smbios or (boot.loader is not None and boot.loader.loader.model.measures_smbios)


def _said_of_value(measurement: Measurement, pcr: int) -> str | None:
    """What a value rests on, where that is not told."""
    boot = measurement.boot
    linux, start = boot.linux, boot.start
    direct = boot.image is not None and boot.image.path == QEMU_KERNEL
    if pcr == PCR_BOOT_MANAGER and boot.loader is None and (start.loader, start.esp) == (None, None) and not direct:
        return "if the firmware starts the UKI itself, as the host file has no LoaderInfo (--esp, --loader)"
    if pcr != PCR_KERNEL_INITRD or linux is None or known_model(linux) != LinuxModel():
        return None
    return f"Linux {linux.release} measures nothing"


def _what_differs(cases: tuple[Case, ...], pcr: int) -> str:
    """How many values there are, and the events that not all cases have."""
    values = {tuple(case.pcrs.get(bank, {}).get(pcr) for bank in case.pcrs) for case in cases}
    rows = [{_key(event): event.description for event in case.measurements if event.pcr == pcr} for case in cases]
    everywhere = set(rows[0]).intersection(*rows[1:])
    names = dict.fromkeys(text or "an event" for row in rows for key, text in row.items() if key not in everywhere)
    kinds = "machines" if any(case.hosts for case in cases) else "kinds of machines"
    count = f"{len(values)} values on {len(cases)} {kinds}" if values != {(None,)} else f"{len(cases)} {kinds}"
    return f"{count}, by {_listed(names)}" if names else count


def _key(event: Measured) -> tuple[object, ...]:
    return event.type, event.tag, event.data, tuple(event.digests.items())


def _known(case: Case, banks: tuple[str, ...], pcr: int) -> bool:
    return bool(case.pcrs) and all(pcr in values for values in case.pcrs.values()) and bool(banks)


def _stopped(cases: tuple[Case, ...]) -> str | None:
    """Where a boot ends before the kernel, in words: no system sees the registers of that boot."""
    found = [case for case in cases if case.outcome.status != "kernel-started"]
    if not found:
        return None
    told = found[0].outcome.said
    hosts = [host for case in found for host in case.hosts]
    return f" on {_listed(hosts)}: {told}" if len(cases) > 1 and hosts else f": {told}"


def _reasons(cases: tuple[Case, ...], pcr: int) -> str:
    """Why cases have no value, each reason with its machines where there are several; what is drawn says it all."""
    found: dict[str, list[str]] = {}
    for case in cases:
        for row in case.unknown:
            if row.what in (f"PCR {pcr}", "all values"):
                found.setdefault(row.why, []).extend(case.hosts)
    found = {why: hosts for why, hosts in found.items() if DRAWN in why} or found
    about = {why: f" ({_listed(hosts)})" if len(cases) > 1 and hosts else "" for why, hosts in found.items()}
    return "; ".join(f"{why}{about[why]}" for why in found)


def _listed(names: Iterable[str]) -> str:
    texts = list(names)
    more = f" and {len(texts) - _SHOWN} more" if len(texts) > _SHOWN else ""
    return ", ".join(texts[:_SHOWN]) + more
