"""A real machine's event log beside the prediction: which event differs first, which others do, and how many agree.

Compared is what boot loader, stub and kernel measure, and the images that were started for it: PCR 4, 9, 11, 12 and 13,
loader.conf in PCR 5, the SMBIOS structures in PCR 1; each PCR by itself, since its value depends on the order within it
only. The rest of these registers is the firmware's. What is not known of the boot (what started the UKI, what another
kernel measures) is not compared. What userspace extends PCR 11 and 12 by is in a log of its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from hashlib import new

from stubsim.errors import StubsimError
from stubsim.explain import ccel
from stubsim.explain.diff_log_causes import cause
from stubsim.explain.diff_log_root import Story, root_cause
from stubsim.explain.images_in_log import Images, compare_images
from stubsim.explain.log_case import Case, Logged, is_command_line, is_smbios, smbios_is_measured
from stubsim.explain.log_facts import Disagreement, facts
from stubsim.explain.log_items import Difference, Item, Pair, is_image
from stubsim.formats import eventlog
from stubsim.linux.measure import PCR_KERNEL_INITRD
from stubsim.loader.run import LOADER_CONF_EVENT_TAG
from stubsim.machine.tpm import replay
from stubsim.result import Boot
from stubsim.rows import NamedTuple
from stubsim.start import DEFAULT_START, Start
from stubsim.stub.profile import PROFILE_EVENT_TAG
from stubsim.systemd.measure import (
    PCR_BOOT_LOADER_CONFIG,
    PCR_KERNEL_CONFIG,
    PCR_KERNEL_IMAGE,
    PCR_PLATFORM_CONFIG,
    PCR_SYSTEM_EXTENSIONS,
)
from stubsim.trace import Measured, Unknown
from stubsim.uefi.boot_manager import PCR_BOOT_MANAGER

_NO_ACTION = eventlog.EVENT_TYPES["EV_NO_ACTION"]
_SHOWN = 8
_PCR_9 = f"PCR {PCR_KERNEL_INITRD}"
_STUB_PCRS = (PCR_KERNEL_IMAGE, PCR_KERNEL_CONFIG, PCR_SYSTEM_EXTENSIONS)
_SHOWN_PCRS = frozenset({PCR_BOOT_MANAGER, PCR_KERNEL_INITRD, *_STUB_PCRS})
_COMPARED = (*_STUB_PCRS, PCR_PLATFORM_CONFIG, PCR_BOOT_LOADER_CONFIG, PCR_KERNEL_INITRD)


class Comparison(NamedTuple):
    """``matched`` events agree in all ``banks``, ``matched_by`` counts them by the stage that made them.

    ``skipped`` are not compared, by PCR. ``root`` is what the differences come from, as far as that shows;
    ``disagreements`` are what the host file says otherwise than the log. ``pcrs`` are the log's values by bank: of all
    its events, whoever caused them.
    """

    banks: tuple[str, ...]
    matched_by: dict[str, int]
    differences: tuple[Difference, ...]
    root: str | None
    disagreements: tuple[Disagreement, ...]
    skipped: dict[int, int]
    hints: tuple[str, ...]
    pcrs: dict[str, dict[int, bytes]]

    @property
    def matched(self) -> int:
        return sum(self.matched_by.values())

    @property
    def equal(self) -> bool:
        return not self.differences and not self.disagreements


def compare(
    boot: Boot, log: eventlog.Log, start: Start = DEFAULT_START, disagreements: Sequence[Disagreement] = ()
) -> Comparison:
    """Lay a log beside a boot; ``start`` is how the boot was started, for the causes.

    ``disagreements`` are what was taken from the log against the host file (log_facts.applied). Raises StubsimError
    where nothing can be compared: a host without a TPM, or no bank that both have.
    """
    is_ccel, hints = log.is_ccel, [*_failed(boot), *_userspace(log)]
    banks = _rtmr_bank(boot) if is_ccel else _common_banks(boot, log.header)
    has_config = not is_ccel or ccel.has_rtmr_0(log)
    if is_ccel:
        hints += _rtmrs(boot, log)
        log = ccel.as_pcrs(log)
    seen = _seen(boot, log, start, banks, is_ccel=is_ccel, has_config=has_config)
    case = Case.of(boot, start, banks[0], seen.real)
    differences = [
        Difference(pair.kind, pair.predicted, pair.logged, cause(case, pair))
        for pair in _in_boot_order(seen.pairs)
        if pair.kind is not None
    ]

    def with_stub(stub: str) -> int:
        return _differences_by_another_stub(boot, log, start._replace(stub=stub), banks)

    root = root_cause(Story(case, tuple(disagreements), tuple(differences)), with_stub)
    for bank in () if is_ccel else boot.host.tpm or ():
        if bank not in banks:
            text = f"the log has no {bank} bank: the machine's TPM does not use it, or the host file names too many"
            differences.append(Difference("bank", None, None, text))
            root = root or text
    pcrs = {} if is_ccel else {bank: values for bank, values in replay(log.events).items() if bank in banks}
    return Comparison(
        banks,
        dict(Counter(pair.predicted.by or "" for pair in seen.pairs if pair.kind is None and pair.predicted)),
        tuple(differences),
        root,
        tuple(disagreements),
        dict(sorted(seen.real.skipped.items())),
        (*seen.real.images.hints, *seen.real.hints, *hints),
        {bank: {pcr: value for pcr, value in values.items() if pcr in _SHOWN_PCRS} for bank, values in pcrs.items()},
    )


class _Seen(NamedTuple):
    """The log's events, and how they go together with the predicted ones."""

    real: Logged
    pairs: list[Pair]


def _seen(
    boot: Boot,
    log: eventlog.Log,
    start: Start,
    banks: Sequence[str],
    *,
    is_ccel: bool = False,
    has_config: bool = True,
) -> _Seen:
    items = [Item.logged(place, event) for place, event in enumerate(log.events) if event.type != _NO_ACTION]
    images = compare_images(boot, start, facts(log).applications, items, banks)
    predicted = [item for item in _predicted(boot, is_ccel=is_ccel) if has_config or item.pcr != PCR_PLATFORM_CONFIG]
    real = _split(boot, items, predicted, images, is_ccel=is_ccel)
    pairs = [
        pair
        for pcr in _COMPARED
        for ours, theirs in _by_stage(_of(predicted, pcr), _of(real.items, pcr), real.first)
        for pair in _aligned(ours, theirs, banks)
    ]
    earlier = [Pair("extra", None, item) for item in real.earlier]
    return _Seen(real, [*images.pairs, *pairs, *earlier])


def _differences_by_another_stub(boot: Boot, log: eventlog.Log, start: Start, banks: Sequence[str]) -> int:
    """How many events differ, but for the images that are started."""
    from stubsim.simulation import boot as simulate

    pairs = _seen(simulate(boot.uki, boot.host, start), log, start, banks).pairs
    return sum(1 for pair in pairs if pair.kind is not None and not is_image(pair.item))


def _predicted(boot: Boot, *, is_ccel: bool) -> list[Item]:
    """What is compared of the prediction; a register that is not known has no events."""
    unknown = {event.what for event in boot.trace if isinstance(event, Unknown)}
    return [
        Item.predicted(place, event)
        for place, event in enumerate(boot.trace)
        if isinstance(event, Measured)
        and event.by != "firmware"
        and event.pcr in _COMPARED
        and f"PCR {event.pcr}" not in unknown
        and not (is_ccel and event.pcr == PCR_BOOT_LOADER_CONFIG)
    ]


def _failed(boot: Boot) -> Iterator[str]:
    if boot.outcome.status not in ("kernel-started", "firmware-update"):
        told = ": ".join(text for text in (boot.outcome.message, boot.outcome.because) if text)
        yield f"the boot is predicted to fail: {told}"


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


def _split(boot: Boot, items: Sequence[Item], predicted: Sequence[Item], images: Images, *, is_ccel: bool) -> Logged:
    """Which of the log's events are compared, and what is to be said of others."""
    measuring = [item.place for item in items if item.pcr == PCR_KERNEL_IMAGE]
    first = min((place for place in measuring if place > images.started), default=items[-1].place + 1 if items else 0)
    rules = _Rules(boot, predicted, images, first, is_ccel)
    compared = {pair.logged.place for pair in images.pairs if pair.logged is not None}
    found = Logged(images, first, [], [], Counter(), [])
    for item in items:
        if item.pcr in (PCR_KERNEL_IMAGE, PCR_SYSTEM_EXTENSIONS) and item.place < images.started:
            found.earlier.append(item)
        elif rules.compared(item):
            found.items.append(item)
        elif item.place not in compared:
            found.skipped[item.pcr] += 1
    found.hints.extend(
        f"{event.what} is not compared: {event.why}" for event in boot.events(Unknown) if event.what == _PCR_9
    )
    if images.unknown is not None and (count := found.skipped[PCR_KERNEL_CONFIG]):
        events = "1 event" if count == 1 else f"{count} events"
        found.hints.append(f"PCR 12 has {events} from before the stub, by a boot loader, which are not compared")
    smbios = [item.place for item in found.items if is_smbios(item)]
    if boot.loader is None and smbios and rules.expects_smbios and max(smbios) < first:
        found.hints.append("SMBIOS was measured before the stub, by a boot loader, which then sets LoaderPcrSMBIOS")
    return found


class _Rules:
    """Whether an event of the log is one of loader, stub or kernel; ``first`` is the place of the stub's first one."""

    def __init__(self, boot: Boot, predicted: Sequence[Item], images: Images, first: int, is_ccel: bool) -> None:
        smbios_unknown = boot.host.structures is None and not smbios_is_measured(boot.host) and _measures_smbios(boot)
        self.smbios_unknown = smbios_unknown
        self.expects_smbios = any(item.pcr == PCR_PLATFORM_CONFIG for item in predicted)
        self.knows_kernel = any(item.pcr == PCR_KERNEL_INITRD for item in predicted) or _measures_nothing(boot)
        self.images, self.first, self.is_ccel = images, first, is_ccel

    def compared(self, item: Item) -> bool:
        early = item.place < self.first
        if item.pcr in (PCR_KERNEL_IMAGE, PCR_SYSTEM_EXTENSIONS):
            return True
        if item.pcr == PCR_KERNEL_CONFIG:
            # The profile is measured before PCR 11; all else there is the boot loader's.
            is_profile = item.tag == PROFILE_EVENT_TAG and item.place > self.images.started
            return not early or is_profile or self.images.unknown is None
        if item.pcr == PCR_PLATFORM_CONFIG:
            return is_smbios(item) and not self.smbios_unknown and (self.expects_smbios or not early)
        if item.pcr == PCR_BOOT_LOADER_CONFIG:
            return item.tag == LOADER_CONF_EVENT_TAG and self.images.unknown is None and not self.is_ccel
        return item.pcr == PCR_KERNEL_INITRD and self.knows_kernel


def _measures_smbios(boot: Boot) -> bool:
    return boot.model.measures_smbios or (boot.loader is not None and boot.loader.loader.model.measures_smbios)


def _measures_nothing(boot: Boot) -> bool:
    """Whether it is known that nothing goes into PCR 9."""
    return all(PCR_KERNEL_INITRD in values for values in boot.known_pcrs.values()) and bool(boot.known_pcrs)


def _by_stage(predicted: list[Item], logged: list[Item], first: int) -> Iterator[tuple[list[Item], list[Item]]]:
    """Load options of a boot loader and of the stub, which may be the same; the profile is the stub's first event."""
    if any(item.pcr != PCR_KERNEL_CONFIG for item in (*predicted, *logged)):
        yield predicted, logged
        return
    for early in (True, False):
        yield (
            [item for item in predicted if (item.by == "loader") == early],
            [item for item in logged if (item.place < first and item.tag != PROFILE_EVENT_TAG) == early],
        )


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
