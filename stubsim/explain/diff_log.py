"""A real machine's event log beside the prediction: which event differs first, which others do, and how many agree.

Compared is what the stub measures: PCR 11, 12 and 13, and the SMBIOS structures in PCR 1, each PCR by itself, since
its value depends on the order within it only. The log of a real machine has more in these registers. A boot loader may
measure SMBIOS in the stub's place (recorded with systemd-boot 262.1), and the load options it hands on into PCR 12,
which the stub then measures again (public source of systemd-boot, not recorded). What userspace extends PCR 11 and 12
by is in a log of its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from hashlib import new
from typing import NamedTuple

from stubsim.errors import StubsimError
from stubsim.explain import ccel
from stubsim.explain.diff_log_causes import Case, Item, Pair, cause, is_command_line, is_smbios, smbios_is_measured
from stubsim.formats import eventlog
from stubsim.machine.tpm import replay
from stubsim.result import Boot
from stubsim.start import DEFAULT_START, Start
from stubsim.stub.profile import PROFILE_EVENT_TAG
from stubsim.systemd.measure import PCR_KERNEL_CONFIG, PCR_KERNEL_IMAGE, PCR_PLATFORM_CONFIG, PCR_SYSTEM_EXTENSIONS
from stubsim.trace import Measured
from stubsim.uefi.boot_manager import PCR_BOOT_MANAGER

_APPLICATION = eventlog.EVENT_TYPES["EV_EFI_BOOT_SERVICES_APPLICATION"]
_NO_ACTION = eventlog.EVENT_TYPES["EV_NO_ACTION"]
_SHOWN = 8
_STUB_PCRS = (PCR_KERNEL_IMAGE, PCR_KERNEL_CONFIG, PCR_SYSTEM_EXTENSIONS)


class Difference(NamedTuple):
    """``kind`` is differs (both have it), missing (predicted only), extra (logged only), order, or bank (no event)."""

    kind: str
    predicted: Item | None
    logged: Item | None
    cause: str


class Comparison(NamedTuple):
    """``matched`` events agree in all ``banks``; ``skipped`` are the events that are not the stub's, by PCR.

    ``pcrs`` are the log's values of PCR 11 to 13 by bank: of all its events, whoever caused them.
    """

    banks: tuple[str, ...]
    matched: int
    differences: tuple[Difference, ...]
    skipped: dict[int, int]
    hints: tuple[str, ...]
    pcrs: dict[str, dict[int, bytes]]


class _Log(NamedTuple):
    """The log's events: the stub's, those of a stub that ran before it, and of all others how many by PCR."""

    items: list[Item]
    earlier: list[Item]
    skipped: Counter[int]
    hints: list[str]


def compare(boot: Boot, log: eventlog.Log, start: Start = DEFAULT_START) -> Comparison:
    """Lay a log beside a boot; ``start`` is how the boot was started, for the causes.

    Raises StubsimError where nothing can be compared: a host without a TPM, or no bank that both have.
    """
    is_ccel, hints = log.is_ccel, [*_userspace(log)]
    if is_ccel:
        banks = _rtmr_bank(boot)
        hints += _rtmrs(boot, log)
        log = ccel.as_pcrs(log)
    else:
        banks = _common_banks(boot, log.header)
    measured = [event for event in boot.trace if isinstance(event, Measured) and event.by == "stub"]
    predicted = [Item.predicted(place, event) for place, event in enumerate(measured)]
    real = _split(boot, log, predicted, banks)
    pairs = [
        pair
        for pcr in (*_STUB_PCRS, PCR_PLATFORM_CONFIG)
        for pair in _aligned(_of(predicted, pcr), _of(real.items, pcr), banks)
    ]
    pairs += [Pair("extra", None, item) for item in real.earlier]
    case = Case.of(boot, start, banks[0], real.items, real.earlier)
    differences = [
        Difference(pair.kind, pair.predicted, pair.logged, cause(case, pair))
        for pair in _in_boot_order(pairs)
        if pair.kind is not None
    ]
    matched = sum(pair.kind is None for pair in pairs)
    for bank in () if is_ccel else boot.host.tpm or ():
        if bank not in banks:
            text = f"the log has no {bank} bank: the machine's TPM does not use it, or the host file names too many"
            differences.append(Difference("bank", None, None, text))
    pcrs = {} if is_ccel else {bank: values for bank, values in replay(log.events).items() if bank in banks}
    return Comparison(
        banks,
        matched,
        tuple(differences),
        dict(sorted(real.skipped.items())),
        (*real.hints, *hints),
        {bank: {pcr: value for pcr, value in values.items() if pcr in _STUB_PCRS} for bank, values in pcrs.items()},
    )


def _common_banks(boot: Boot, header: eventlog.Header) -> tuple[str, ...]:
    wanted, there = boot.host.tpm or (), list(header.banks)
    if not wanted:
        raise StubsimError(
            "the host has no TPM, so nothing is predicted that a log could be compared with",
            hint=f"the log's banks are {', '.join(there) or 'none'}: name them in the host file's tpm.banks",
        )
    banks = tuple(bank for bank in wanted if bank in there)
    if not banks:
        raise StubsimError(
            f"the log and the host have no bank in common: the log has {', '.join(there) or 'none'}",
            expected=f"one of the host's: {', '.join(wanted)}",
            hint="name the log's banks in the host file's tpm.banks",
        )
    return banks


def _rtmr_bank(boot: Boot) -> tuple[str, ...]:
    if boot.host.confidential != "tdx":
        raise StubsimError(
            "the log is one of a TDX guest (CCEL), whose index is a register",
            expected='a host file with "confidential": "tdx"',
        )
    return (ccel.BANK,)


def _rtmrs(boot: Boot, log: eventlog.Log) -> Iterator[str]:
    """RTMR 2 has the events of every stage from the boot loader on, so that two values cannot just be compared."""
    yield "the log is one of a TDX guest (CCEL): its registers are shown as the PCRs that are mapped to them"
    value = ccel.rtmrs(log).get(2)
    if value is not None:
        yield f"RTMR 2 after all events of the log is {value.hex()}, and after the stub's own {boot.rtmrs[2].hex()}"


def _userspace(log: eventlog.Log) -> Iterator[str]:
    """What systemd has measured once the kernel ran, which a firmware's log never has."""
    if not log.userspace:
        return
    texts = ", ".join(dict.fromkeys(event.text for event in log.userspace[:_SHOWN]))
    count = len(log.userspace)
    events = "1 event" if count == 1 else f"{count} events"
    yield f"{events} of userspace in the log, {texts}: not compared, and not in the values of the log's PCRs below"
    later = [eventlog.Event(event.pcr, 0, event.digests, b"") for event in log.userspace]
    for bank, values in replay([*log.events, *later]).items():
        for pcr in sorted({event.pcr for event in later} & {*_STUB_PCRS}):
            yield f"with them PCR {pcr} {bank} is {values[pcr].hex()}"


def _split(boot: Boot, log: eventlog.Log, predicted: Sequence[Item], banks: Sequence[str]) -> _Log:
    """Find the stub's own events, and say what stands before them."""
    items = [Item.logged(place, event) for place, event in enumerate(log.events) if event.type != _NO_ACTION]
    hints = []
    if boot.outcome.status not in ("kernel-started", "firmware-update"):
        told = ": ".join(text for text in (boot.outcome.message, boot.outcome.because) if text)
        hints.append(f"the boot is predicted to fail: {told}")
    started, hint = _started(boot, log, banks)
    hints += hint
    images = [item.place for item in items if item.pcr == PCR_KERNEL_IMAGE]
    # Where the UKI was started, unless its stub measured nothing from there on.
    started = started if any(place > started for place in images) else -1
    first = min((place for place in images if place > started), default=len(log.events))

    found = _Log([], [], Counter(), hints)
    smbios_unknown = boot.host.structures is None and boot.model.measures_smbios and not smbios_is_measured(boot.host)
    expects_smbios = any(item.pcr == PCR_PLATFORM_CONFIG for item in predicted)
    for item in items:
        early = item.place < first
        # The profile is measured before PCR 11; all else there is the boot loader's.
        is_profile = item.tag == PROFILE_EVENT_TAG and item.place > started
        if item.pcr in (PCR_KERNEL_IMAGE, PCR_SYSTEM_EXTENSIONS) and item.place < started:
            found.earlier.append(item)
        elif (
            item.pcr in (PCR_KERNEL_IMAGE, PCR_SYSTEM_EXTENSIONS)
            or (item.pcr == PCR_KERNEL_CONFIG and (is_profile or not early))
            or (is_smbios(item) and not smbios_unknown and (expects_smbios or not early))
        ):
            found.items.append(item)
        else:
            found.skipped[item.pcr] += 1

    if count := found.skipped[PCR_KERNEL_CONFIG]:
        events = "1 event" if count == 1 else f"{count} events"
        hints.append(f"PCR 12 has {events} from before the stub, by a boot loader: its value is not the stub's alone")
    smbios = [item.place for item in found.items if is_smbios(item)]
    if smbios and expects_smbios and max(smbios) < first:
        hints.append("SMBIOS was measured before the stub, by a boot loader, which then sets LoaderPcrSMBIOS")
    return found


def _started(boot: Boot, log: eventlog.Log, banks: Sequence[str]) -> tuple[int, list[str]]:
    """Where the firmware last started this UKI (-1: not found), and what is to be said if it did not."""
    applications = [
        (place, event)
        for place, event in enumerate(log.events)
        if (event.pcr, event.type) == (PCR_BOOT_MANAGER, _APPLICATION)
    ]
    if not applications:
        return -1, ["the log does not say which images were started (no boot application in PCR 4)"]
    bank = "sha256" if "sha256" in banks else banks[0]
    try:
        digest = boot.uki.authenticode(bank)
    except StubsimError as error:
        return -1, [f"whether this UKI was started is not known, it has no Authenticode digest: {error.message}"]
    places = [place for place, event in applications if event.digests.get(bank) == digest]
    if places:
        return places[-1], []
    many = "the image" if len(applications) == 1 else f"none of the {len(applications)} images"
    has = "does not have" if len(applications) == 1 else "has"
    return -1, [f"this log is of another UKI: {many} started (PCR 4) {has} this file's digest, {bank} {digest.hex()}"]


def _of(items: Sequence[Item], pcr: int) -> list[Item]:
    return [item for item in items if item.pcr == pcr]


def _aligned(predicted: list[Item], logged: list[Item], banks: Sequence[str]) -> Iterator[Pair]:
    """Pairs of one PCR's events: first those that say the same of themselves, then what stands in another's place."""
    from difflib import SequenceMatcher

    matcher = SequenceMatcher(
        None, [_key(item, banks[0]) for item in predicted], [_key(item, banks[0]) for item in logged], autojunk=False
    )
    left, right = [], []
    for operation, low, high, start, end in matcher.get_opcodes():
        if operation == "equal":
            yield from (_both(*pair, banks) for pair in zip(predicted[low:high], logged[start:end], strict=True))
            continue
        rest = logged[start:end]
        for item in predicted[low:high]:
            other = next((each for each in rest if _slot(each) == _slot(item) is not None), None)
            if other is None:
                left.append(item)
            else:
                rest.remove(other)
                yield _both(item, other, banks)
        right += rest
    for item in left:
        key = _key(item, banks[0])
        moved = next((each for each in right if _key(each, banks[0]) == key and _agree(item, each, banks)), None)
        if moved is None:
            yield Pair("missing", item, None)
        else:
            right.remove(moved)
            yield Pair("order", item, moved)
    yield from (Pair("extra", None, item) for item in right)


def _in_boot_order(pairs: Sequence[Pair]) -> list[Pair]:
    """As predicted, and what is only in the log behind what stands before it there."""
    partner = {
        pair.logged.place: pair.predicted.place
        for pair in pairs
        if pair.predicted and pair.logged and pair.kind != "order"
    }
    behind: dict[int, int] = {}
    last = -1
    for place in sorted(pair.logged.place for pair in pairs if pair.logged):
        last = behind[place] = partner.get(place, last)

    def order(pair: Pair) -> tuple[int, int]:
        if pair.predicted is not None:
            return pair.predicted.place, -1
        assert pair.logged is not None
        return behind[pair.logged.place], pair.logged.place

    return sorted(pairs, key=order)


def _key(item: Item, bank: str) -> tuple[object, ...]:
    """What an event says it is; of the two events of a section, which one."""
    is_name = item.pcr == PCR_KERNEL_IMAGE and item.digests.get(bank) == _name_digest(item.description, bank)
    return item.type, item.tag, item.description, is_name


def _name_digest(name: str, bank: str) -> bytes:
    return new(bank, name.encode("utf-8", "surrogatepass") + b"\0", usedforsecurity=False).digest()


def _slot(item: Item) -> str | None:
    """Events whose text is their content stand for each other: another profile, another command line."""
    if item.tag == PROFILE_EVENT_TAG:
        return "profile"
    return "command line" if is_command_line(item) else None


def _both(predicted: Item, logged: Item, banks: Sequence[str]) -> Pair:
    agree = predicted.description == logged.description and _agree(predicted, logged, banks)
    return Pair(None if agree else "differs", predicted, logged)


def _agree(predicted: Item, logged: Item, banks: Sequence[str]) -> bool:
    return all(predicted.digests[bank] == logged.digests.get(bank) for bank in banks)
