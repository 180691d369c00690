"""PCR values of a UKI: on one machine, on several, or on whatever machine (`stubsim measure`)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

from stubsim.explain.boot_manager import BY_LOADER, BY_SHIM, CONDITION, boot_manager_pcr, loaded_addons, starts_the_same
from stubsim.explain.possible import Possible, possible
from stubsim.formats import pe
from stubsim.formats.efi_program import SYSTEMD_STUB
from stubsim.front import untold
from stubsim.hosts import Host
from stubsim.linux.measure import PCR_KERNEL_INITRD
from stubsim.machine.tpm import BANKS
from stubsim.result import Boot, Outcome
from stubsim.rows import NamedTuple
from stubsim.simulation import boot
from stubsim.start import Start
from stubsim.systemd.measure import PCR_KERNEL_CONFIG, PCR_KERNEL_IMAGE, PCR_PLATFORM_CONFIG, PCR_SYSTEM_EXTENSIONS
from stubsim.trace import ImageLoaded, Measured, Unknown
from stubsim.uefi.boot_manager import PCR_BOOT_MANAGER
from stubsim.uki import Uki

# What systemd-measure calculates when it is given no --phase= (systemd-pcrphase-initrd, systemd-pcrphase services).
PHASES = (
    "enter-initrd",
    "enter-initrd:leave-initrd",
    "enter-initrd:leave-initrd:sysinit",
    "enter-initrd:leave-initrd:sysinit:ready",
)

Values = dict[str, dict[int, bytes]]

_STUB_PCRS = (PCR_KERNEL_IMAGE, PCR_KERNEL_CONFIG, PCR_SYSTEM_EXTENSIONS)
_NO_HOST = (
    "no --smbios: Secure Boot is off, SMBIOS holds no io.systemd.stub.kernel-cmdline-extra, the machine is not a "
    "confidential guest"
)


class Case(NamedTuple):
    """PCR values (bank -> PCR -> value right after the stub) and when they come about; what is not known is left out.

    ``hosts`` are the machines that lead to them; or each of ``conditions`` does, none meaning that all machines do.
    """

    hosts: tuple[str, ...]
    conditions: tuple[str, ...]
    outcome: Outcome
    dtbauto: pe.Section | None
    efifw: pe.Section | None
    pcrs: Values
    measurements: tuple[Measured, ...]
    unknown: tuple[Unknown, ...]


class Measurement(NamedTuple):
    """All cases, and one boot that tells of the UKI and its stub what is the same in all of them.

    ``with_firmware``: its registers are in the values, as far as they are known.
    """

    boot: Boot
    banks: tuple[str, ...]
    cases: tuple[Case, ...]
    assumed: tuple[str, ...]
    with_firmware: bool = False


class Value(NamedTuple):
    """One value of a PCR at a phase, with the cases that have it."""

    bank: str
    pcr: int
    phase: str
    value: bytes
    cases: tuple[Case, ...]

    @property
    def hosts(self) -> tuple[str, ...]:
        return tuple(host for case in self.cases for host in case.hosts)

    @property
    def conditions(self) -> tuple[str, ...]:
        return tuple(condition for case in self.cases for condition in case.conditions)


def phase_path(text: str) -> str:
    """A phase path as systemd-measure writes it; empty words do not count, and "" is the value right after the stub.

    Blanks do not part words: systemd-measure 252.39 takes "a b:c" as two, and systemd-pcrextend measures any word.
    """
    return ":".join(word for word in text.split(":") if word)


def at_phase(bank: str, value: bytes, phase: str) -> bytes:
    """PCR 11 at a phase: extended by each word of the path, as systemd-pcrphase does, without a NUL."""
    for word in filter(None, phase.split(":")):
        digest = hashlib.new(bank, word.encode(errors="surrogateescape"), usedforsecurity=False).digest()
        value = hashlib.new(bank, value + digest, usedforsecurity=False).digest()
    return value


def measure_hosts(
    uki: Uki,
    hosts: Sequence[tuple[str, Host]],
    start: Start,
    banks: Sequence[str] | None = None,
    tick: Callable[[int], None] = lambda done: None,
) -> Measurement:
    """A case for each machine, by its label; ``banks`` stand in for those of the machine's own TPM.

    ``tick`` is told how many machines are done.

    Raises StubsimError as `stubsim.boot` does.
    """
    boots = [(label, _with_banks(host, banks), host) for label, host in hosts]
    cases, assumed = [], []
    shown = None
    for label, host, own in boots:
        result = boot(uki, host, start)
        # What is verified is less in a confidential guest: one of those speaks for all.
        shown = result if shown is None or result.host.confidential is not None else shown
        cases.append(_case((label,), result, start))
        assumed += [*(() if untold(host, start) else (_started(result),)), *result.assumed]
        if banks is not None and not own.tpm:
            assumed.append(f"{label}: has no TPM; the values are those of a TPM with these banks")
        tick(len(cases))
    assert shown is not None
    used = {bank for _, host, _ in boots for bank in host.tpm or ()}
    return Measurement(
        shown, tuple(bank for bank in BANKS if bank in used), tuple(cases), tuple(dict.fromkeys(assumed))
    )


def measure_any(uki: Uki, start: Start, banks: Sequence[str] | None = None) -> Measurement:
    """A case for each PCR 11 value that some machine gets; the other PCRs are those of a plain machine.

    Those that a boot loader extends are left out where nothing tells whether there is one. Raises StubsimError as
    `stubsim.boot` does, and when there are too many ways.
    """
    host = _with_banks(Host(), banks or ("sha256",))
    result = boot(uki, host, start)
    case = _case((), result, start)
    if _addons_choose_devicetrees(result):
        case = _without(case, PCR_KERNEL_CONFIG, "the devicetree of an addon (.dtbauto) depends on the machine")
    why = untold(host._replace(unknown=frozenset({"variables"})), start)
    if why is not None:
        case = _without(case, PCR_BOOT_MANAGER, why)
        case = _without(
            case, PCR_KERNEL_CONFIG, f"{why}, and with which load options, which a boot loader measures too"
        )
    cases = [case]
    is_known = any(PCR_KERNEL_IMAGE in values for values in case.pcrs.values())
    if is_known and result.model.name == SYSTEMD_STUB:
        cases = [_with_pcr_11(case, row) for row in possible(result, start)]
    assumed = (_NO_HOST, *(() if why else (_started(result),)), *result.assumed)
    return Measurement(result, tuple(host.tpm or ()), tuple(cases), assumed)


def _started(result: Boot) -> str:
    if any(event.by == "shim" for event in result.events(ImageLoaded)):
        return BY_SHIM
    return CONDITION if result.loader is None else BY_LOADER


def values_at(measurement: Measurement, pcr: int, phases: Sequence[str]) -> list[Value]:
    """The distinct values of a PCR by bank and phase; only PCR 11 changes with the phase.

    A machine that does not start the kernel comes to no phase, and without a measured UKI there is none
    (systemd-pcrphase.service, ConditionSecurity=measured-uki).
    """
    changes = pcr == PCR_KERNEL_IMAGE and measures_image(measurement.boot)
    rows = []
    for bank in measurement.banks:
        for phase in phases if changes else ("",):
            found: dict[bytes, list[Case]] = {}
            for case in measurement.cases:
                value = case.pcrs.get(bank, {}).get(pcr)
                reached = not phase or not case.hosts or case.outcome.status == "kernel-started"
                if value is not None and reached:
                    found.setdefault(at_phase(bank, value, phase), []).append(case)
            rows += [Value(bank, pcr, phase, value, tuple(cases)) for value, cases in found.items()]
    return rows


def measures_image(boot: Boot) -> bool:
    """Whether the stub measures the image into PCR 11 at all."""
    return boot.model.name == SYSTEMD_STUB


def pcrs_of(measurement: Measurement) -> tuple[int, ...]:
    """The PCRs that at least one case has a value of."""
    return tuple(sorted({pcr for case in measurement.cases for values in case.pcrs.values() for pcr in values}))


def in_every_case(measurement: Measurement) -> Values:
    """The values that all cases agree on."""
    first, *others = measurement.cases
    common: Values = {}
    for bank, values in first.pcrs.items():
        common[bank] = {
            pcr: value
            for pcr, value in values.items()
            if all(case.pcrs.get(bank, {}).get(pcr) == value for case in others)
        }
    return common


def policy(measurement: Measurement) -> Measurement:
    """The cases that differ in a value; machines with the same values are one case."""
    merged: dict[object, Case] = {}
    for case in measurement.cases:
        key = (case.outcome.status, *((b, p, v) for b, values in sorted(case.pcrs.items()) for p, v in values.items()))
        same = merged.get(key, case._replace(hosts=(), unknown=()))
        unknown = tuple(dict.fromkeys((*same.unknown, *case.unknown)))
        merged[key] = same._replace(hosts=(*same.hosts, *case.hosts), unknown=unknown)
    return measurement._replace(cases=tuple(merged.values()))


def _with_banks(host: Host, banks: Sequence[str] | None) -> Host:
    if banks is None:
        return host
    return host._replace(
        tpm=tuple(bank for bank in BANKS if bank in banks), unknown=host.unknown - {"tpm", "tpm.banks"}
    )


def _case(hosts: tuple[str, ...], result: Boot, start: Start) -> Case:
    """One boot's values; left out are those that the boot did not come to, and those nobody can know."""
    unknown = _from_the_boot(result, by_host=bool(hosts))
    pcrs: Values = {}
    if result.prepared is not None:
        pcrs = {bank: {pcr: values[pcr] for pcr in _STUB_PCRS} for bank, values in result.pcrs.items()}
    if pcrs and hosts:
        # Command line and initrd are those of a machine.
        for bank, known in result.known_pcrs.items():
            if PCR_KERNEL_INITRD in known:
                pcrs[bank] = {PCR_KERNEL_INITRD: known[PCR_KERNEL_INITRD]} | pcrs[bank]
    if result.outcome.status != "kernel-started":
        what = "the phases of this boot" if pcrs else "all values"
        told = (result.outcome.said, result.outcome.because)
        unknown.append(_unknown(what, f"the kernel is not started: {': '.join(filter(None, told))}"))
    if not result.host.tpm:
        why = "the machine has no TPM (--bank takes one for granted)"
        if result.host.confidential == "tdx":
            why += "; it measures into RTMRs, which are not calculated here"
        unknown.append(_unknown("all values", why))
    sections = None if result.prepared is None else result.prepared.sections
    case = Case(
        hosts,
        (),
        result.outcome,
        sections and sections.section(".dtbauto"),
        sections and sections.section(".efifw"),
        pcrs,
        tuple(event for event in result.trace if isinstance(event, Measured)),
        tuple(unknown),
    )
    if not pcrs:
        return case
    started = boot_manager_pcr(result, start)
    if isinstance(started, str):
        case = _without(case, PCR_BOOT_MANAGER, started)
    else:
        for bank, value in started.items():
            pcrs[bank] = {PCR_BOOT_MANAGER: value} | pcrs[bank]
    case = _without(case, PCR_PLATFORM_CONFIG, "the firmware's own events come before the stub's")
    for event in unknown:
        for values in case.pcrs.values() if event.what.startswith("PCR ") else ():
            for pcr in event.pcrs:
                values.pop(pcr, None)
    for pcr, why in _lost(result).items():
        case = _without(case, pcr, why)
    return case


def _from_the_boot(result: Boot, *, by_host: bool) -> list[Unknown]:
    """What the boot left open about measurements; without a host only what the stub's model leaves open."""
    open_questions = [what for what, _ in result.model.open_questions]
    return [
        event._replace(affects=tuple(key for key in event.affects if key in ("measurements", "pcrs")))
        for event in result.trace
        if isinstance(event, Unknown) and "pcrs" in event.affects and (by_host or event.what in open_questions)
    ]


def _lost(result: Boot) -> dict[int, str]:
    """The PCRs that have another value on a machine with other values for what is not known of it.

    A boot that the stub does not survive has none.
    """
    lost: dict[int, str] = {}
    for event in result.trace:
        if isinstance(event, Unknown):
            # What a boot says of a register itself is in ``unknown`` as it is.
            for pcr in () if event.what.startswith("PCR ") else event.pcrs:
                lost.setdefault(pcr, f"{event.what} is not known")
    for other in result.others:
        if PCR_BOOT_MANAGER not in lost and not starts_the_same(result, other.boot):
            lost[PCR_BOOT_MANAGER] = f"{' and '.join(sorted(other.keys))} of the machine is not known"
    return lost


def _addons_choose_devicetrees(result: Boot) -> bool:
    """Whether an addon has a devicetree that depends on the machine."""
    return any(section.name == ".dtbauto" for addon in loaded_addons(result) for section in addon.image.sections)


def _without(case: Case, pcr: int, why: str) -> Case:
    pcrs = {bank: {p: value for p, value in values.items() if p != pcr} for bank, values in case.pcrs.items()}
    return case._replace(pcrs=pcrs, unknown=(*case.unknown, _unknown(f"PCR {pcr}", why)))


def _with_pcr_11(case: Case, row: Possible) -> Case:
    pcrs = {bank: case.pcrs[bank] | {PCR_KERNEL_IMAGE: value} for bank, value in row.values.items()}
    ours = [index for index, event in enumerate(case.measurements) if event.pcr == PCR_KERNEL_IMAGE] or [0]
    events = (
        *case.measurements[: ours[0]],
        *(event for event in row.events if isinstance(event, Measured)),
        *(event for event in case.measurements[ours[0] :] if event.pcr != PCR_KERNEL_IMAGE),
    )
    return case._replace(
        conditions=row.conditions, dtbauto=row.dtbauto, efifw=row.efifw, pcrs=pcrs, measurements=events
    )


def _unknown(what: str, why: str) -> Unknown:
    return Unknown(what, why, ("pcrs",))
