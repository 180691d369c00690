"""A verdict for each register that a UKI's chain extends: one value, or what it hangs on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from stubsim.explain.measure import Case, Measurement
from stubsim.linux.measure import PCR_KERNEL_INITRD
from stubsim.systemd.measure import PCR_KERNEL_CONFIG, PCR_KERNEL_IMAGE, PCR_SYSTEM_EXTENSIONS
from stubsim.trace import Unknown

VALUE, BY_MACHINE, BY_BOOT, UNKNOWN = "value", "differs-by-machine", "differs-by-boot", "unknown"
_PCR_BOOT_MANAGER = 4
_PCRS = (_PCR_BOOT_MANAGER, PCR_KERNEL_INITRD, PCR_KERNEL_IMAGE, PCR_KERNEL_CONFIG, PCR_SYSTEM_EXTENSIONS)
_RANDOM = "drawn at random at this boot"


class Verdict(NamedTuple):
    """``because`` is None where one value is all there is to say."""

    verdict: str
    because: str | None


def verdicts(measurement: Measurement) -> dict[int, Verdict]:
    """By PCR; of PCR 11 right after the stub."""
    return {pcr: _verdict(measurement, pcr) for pcr in _PCRS}


def _verdict(measurement: Measurement, pcr: int) -> Verdict:
    cases = measurement.cases
    if not all(_known(case, measurement.banks, pcr) for case in cases):
        why = "; ".join(dict.fromkeys(row.why for case in cases for row in _rows(case, pcr)))
        return Verdict(BY_BOOT if _RANDOM in why else UNKNOWN, why or _otherwise(measurement, pcr))
    first, *others = ([case.pcrs[bank][pcr] for bank in case.pcrs] for case in cases)
    if any(other != first for other in others):
        shown = [", ".join(case.hosts) or " or ".join(case.conditions) or "all other machines" for case in cases]
        return Verdict(BY_MACHINE, "; ".join(dict.fromkeys(shown)))
    plain = not cases[0].hosts and pcr in (PCR_KERNEL_CONFIG, PCR_SYSTEM_EXTENSIONS)
    if plain:
        return Verdict(BY_MACHINE, "the value is that of a plain machine, without --smbios")
    return Verdict(VALUE, None)


def _known(case: Case, banks: tuple[str, ...], pcr: int) -> bool:
    return bool(case.pcrs) and all(pcr in values for values in case.pcrs.values()) and bool(banks)


def _rows(case: Case, pcr: int) -> Iterator[Unknown]:
    yield from (row for row in case.unknown if row.what in (f"PCR {pcr}", "all values") or pcr in row.pcrs)


def _otherwise(measurement: Measurement, pcr: int) -> str:
    if pcr != PCR_KERNEL_INITRD:
        return "the boot does not come to it"
    if measurement.boot.linux is None:
        return "no Linux is started, and what another kernel measures is not known"
    return "the kernel measures its command line and initrd, which are those of a machine (--smbios)"
