"""What differs between two boots: of two UKIs, on two machines, by two stubs, or started in two ways.

Compared is what a boot does, not where: addresses are left out, and so are a section's place in its file and the entry
and CHID by which something was chosen, as long as it is the same that was chosen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby

from stubsim.explain import words
from stubsim.explain.diff_selection import Selection, selections
from stubsim.explain.diff_stubs import Names, StubChange, stub_changes
from stubsim.explain.selection import KINDS
from stubsim.explain.why import Why, why
from stubsim.extent import Bytes, Extent
from stubsim.result import Boot
from stubsim.rows import NamedTuple
from stubsim.start import Start
from stubsim.stub.profile import PROFILE_EVENT_TAG
from stubsim.systemd.measure import PCR_KERNEL_IMAGE
from stubsim.trace import EspWritten, FwCfgWritten, Log, Measured, Staged, Unknown, VariableSet
from stubsim.uefi.variables import LOADER

# What there is to compare of a thing: numbers, texts, digests as hex.
Facts = Mapping[str, object]
Rows = Iterable[tuple[str, Facts]]


# Longer command lines are not taken apart: no kernel takes them, and each word costs more than its letters.
_CHARACTERS_MAX = 256 << 10


class Change(NamedTuple):
    """Something that one of the two boots has (None: the other), or that both have with other facts."""

    name: str
    a: Facts | None
    b: Facts | None


class Words(NamedTuple):
    """A run of a command line's words, and whether it is equal, removed or added."""

    change: str
    text: str


class Cmdline(NamedTuple):
    """Two different command lines, and the second as changes to the first; None is no command line."""

    a: str | None
    b: str | None
    words: tuple[Words, ...]


class Register(NamedTuple):
    """A PCR into which not the same was measured: from its event number ``place`` on, counted from 0.

    ``a`` and ``b`` are those events, None where there is none any more; ``what`` says it in words. ``values`` are the
    register's by bank, of the banks that both machines have.
    """

    pcr: int
    place: int
    what: str
    a: Measured | None
    b: Measured | None
    values: dict[str, tuple[bytes | None, bytes | None]]


class Diff(NamedTuple):
    """Two boots and what differs: ``changes`` has all of PARTS, each empty where nothing does.

    ``open`` is what neither of them knows, so that it may differ or not. ``stub_changes`` are the rows of the table of
    releases that make another boot of A's with B's stub; None where one of the stubs is of no release.
    """

    a: Why
    b: Why
    stub_changes: tuple[StubChange, ...] | None
    open: tuple[str, ...]
    selections: tuple[Selection, ...]
    cmdline: Cmdline | None
    registers: tuple[Register, ...]
    changes: dict[str, tuple[Change, ...]]

    @property
    def differing(self) -> tuple[str, ...]:
        """What differs, in the order of the boot."""
        parts = {"selection": any(not row.same for row in self.selections), "cmdline": self.cmdline is not None}
        parts |= {part: bool(changes) for part, changes in self.changes.items()}
        parts["measurements"] = bool(self.registers)
        return tuple(part for part in ORDER if parts[part])


def diff(boots: tuple[Boot, Boot], starts: tuple[Start, Start]) -> Diff:
    """Compare two boots, each started the way that is given for it."""
    a, b = boots
    whys = why(a, starts[0]), why(b, starts[1])
    return Diff(
        *whys,
        stub_changes=stub_changes(a, b, starts[0], differing),
        open=_open(a, b),
        selections=selections(*whys),
        cmdline=_cmdline(a, b),
        registers=tuple(_registers(a, b)),
        changes={part: _changes(_named(rows(a)), _named(rows(b))) for part, rows in PARTS.items()},
    )


def differing(a: Boot, b: Boot) -> Names:
    """What differs between two boots of one UKI, in the order of the boot."""
    parts = {part: _changes(_named(rows(a)), _named(rows(b))) for part, rows in (PARTS | _OTHERS).items()}
    names = {part: frozenset(change.name for change in changes) for part, changes in parts.items()}
    names["measurements"] = frozenset(f"PCR {row.pcr}" for row in _registers(a, b))
    return {part: names[part] for part in ORDER if names[part]}


def _selection(boot: Boot) -> Iterator[tuple[str, Facts]]:
    """By its place, which is the same in one UKI."""
    for kind in KINDS.values():
        yield kind.section, {"section": None if boot.sections is None else boot.sections.section(kind.section)}


def _text(boot: Boot) -> Iterator[tuple[str, Facts]]:
    yield "", {"text": _line(boot)}


def _line(boot: Boot) -> str | None:
    return None if boot.prepared is None else boot.prepared.cmdline


def _open(a: Boot, b: Boot) -> tuple[str, ...]:
    theirs = {what for what, _ in _unknown(b)}
    return tuple(dict.fromkeys(what for what, _ in _unknown(a) if what in theirs))


def _changes(a: Mapping[str, Facts], b: Mapping[str, Facts]) -> tuple[Change, ...]:
    """In the order of the first, and behind them what only the second has."""
    names = [*a, *(name for name in b if name not in a)]
    return tuple(Change(name, a.get(name), b.get(name)) for name in names if a.get(name) != b.get(name))


def _named(rows: Rows) -> dict[str, Facts]:
    """By name; what has the name of another has its number behind it."""
    found: dict[str, Facts] = {}
    seen: dict[str, int] = {}
    for name, facts in rows:
        seen[name] = seen.get(name, 0) + 1
        found[name if seen[name] == 1 else f"{name} ({seen[name]})"] = facts
    return found


def _outcome(boot: Boot) -> Iterator[tuple[str, Facts]]:
    yield "outcome", boot.outcome._asdict()


def _sections(boot: Boot) -> Iterator[tuple[str, Facts]]:
    """Those the stub settled on."""
    for name in boot.model.sections if boot.sections is not None else ():
        data = None if boot.sections is None else boot.sections.data(name)
        if data is not None:
            yield name, {"size": len(data), "sha256": boot.digests.sha256(data).hex()}


def _initrd(boot: Boot) -> Iterator[tuple[str, Facts]]:
    """The whole, then its parts; a content that is not known has no digest."""
    initrd = None if boot.prepared is None else boot.prepared.initrd
    if initrd is None:
        return
    yield "whole", {"size": initrd.size, **_content(boot, initrd.parts, known=initrd.known)}
    for part in initrd.initrds:
        name = part.kind if part.kind == part.name else f"{part.kind} {part.name}"
        yield name, {"size": part.size, **_content(boot, part.parts, known=part.known)}


def _content(boot: Boot, parts: Sequence[Bytes], *, known: bool) -> Facts:
    """The digest; of gigabytes of zeros that a file only claims, that of all else."""
    if not known:
        return {"sha256": None}
    digest = boot.digests.sha256_for_reader(parts)
    if digest is not None:
        return {"sha256": digest.hex()}
    stored = [part[: part.stored] if isinstance(part, Extent) else part for part in parts]
    return {"sha256": None, "stored_sha256": boot.digests.sha256_of_parts(stored).hex()}


def _devicetree(boot: Boot) -> Iterator[tuple[str, Facts]]:
    tree = None if boot.prepared is None else boot.prepared.devicetree
    if tree is not None:
        known: Facts = {"size": None, "sha256": None}
        if tree.data is not None:
            known = {"size": len(tree.data), "sha256": boot.digests.sha256(tree.data).hex()}
        yield "devicetree", {"source": tree.source, **known}


def _variables(boot: Boot) -> Iterator[tuple[str, Facts]]:
    """As they are at the end; one that is drawn at random has no data."""
    random = {event.name for event in boot.trace if isinstance(event, VariableSet) and event.data is None}
    for row in boot.variables:
        name = row.name if row.guid == LOADER else f"{row.name}-{row.guid}"
        yield name, {"attributes": row.attributes, "data": None if row.name in random else row.data.hex()}


def _messages(boot: Boot) -> Iterator[tuple[str, Facts]]:
    for event in boot.trace:
        if isinstance(event, Log):
            yield event.message, {"level": event.level}


def _files(boot: Boot) -> Iterator[tuple[str, Facts]]:
    for event in boot.trace:
        if isinstance(event, EspWritten):
            yield event.path, {"size": event.size}


def _memory(boot: Boot) -> Iterator[tuple[str, Facts]]:
    for event in boot.trace:
        if isinstance(event, Staged):
            yield event.name, {"size": event.size, "type": event.type, "shared": event.shared}


def _fw_cfg(boot: Boot) -> Iterator[tuple[str, Facts]]:
    """What is written has addresses in it."""
    for event in boot.trace:
        if isinstance(event, FwCfgWritten):
            yield event.file, {"offset": event.offset, "size": len(event.data)}


def _unknown(boot: Boot) -> Iterator[tuple[str, Facts]]:
    for event in boot.trace:
        if isinstance(event, Unknown):
            yield event.what, {"why": event.why}


def _rtmrs(boot: Boot) -> Iterator[tuple[str, Facts]]:
    """The registers of a TDX guest."""
    for index, value in boot.rtmrs.items():
        yield f"RTMR {index}", {"sha384": value.hex()}


PARTS: dict[str, Callable[[Boot], Rows]] = {
    "outcome": _outcome,
    "sections": _sections,
    "initrd": _initrd,
    "devicetree": _devicetree,
    "rtmrs": _rtmrs,
    "variables": _variables,
    "messages": _messages,
    "files": _files,
    "memory": _memory,
    "fw_cfg": _fw_cfg,
    "unknown": _unknown,
}
_OTHERS: dict[str, Callable[[Boot], Rows]] = {"selection": _selection, "cmdline": _text}
# These, and what is compared in a way of its own, in the order of the boot.
ORDER = (
    "outcome", "selection", "sections", "cmdline", "initrd", "devicetree", "measurements", "rtmrs", "variables",
    "messages", "files", "memory", "fw_cfg", "unknown",
)  # fmt: skip


def _cmdline(a: Boot, b: Boot) -> Cmdline | None:
    first, second = _line(a), _line(b)
    if first == second:
        return None
    if len(first or "") + len(second or "") > _CHARACTERS_MAX:
        whole = [Words(change, text) for change, text in (("removed", first), ("added", second)) if text]
        return Cmdline(first, second, tuple(whole))
    return Cmdline(first, second, tuple(_words((first or "").split(" "), (second or "").split(" "))))


def _words(a: list[str], b: list[str]) -> Iterator[Words]:
    """Words with the blanks between them, so that the equal and removed runs together are the first line."""
    for operation, old, new in _joined(words.runs(a, b)):
        if operation == "equal":
            yield Words("equal", " ".join(old))
            continue
        if old:
            yield Words("removed", " ".join(old))
        if new:
            yield Words("added", " ".join(new))


def _joined(runs: Iterable[words.Run]) -> Iterator[words.Run]:
    """Equal runs that follow each other as one."""
    for equal, group in groupby(runs, lambda run: run[0] == "equal"):
        if not equal:
            yield from group
            continue
        both = [*group]
        yield "equal", [word for run in both for word in run[1]], [word for run in both for word in run[2]]


def _registers(a: Boot, b: Boot) -> Iterator[Register]:
    """Each PCR by itself; digests are compared by the algorithms that both have."""
    measured = [[event for event in boot.trace if isinstance(event, Measured)] for boot in (a, b)]
    banks = [bank for bank in a.pcrs if bank in b.pcrs]
    ours, theirs = (events[0].digests if events else {} for events in measured)
    algorithms = [name for name in ours if name in theirs]
    for pcr in sorted({event.pcr for events in measured for event in events}):
        first, second = ([event for event in events if event.pcr == pcr] for events in measured)
        keys = [[_key(event, algorithms) for event in events] for events in (first, second)]
        place = words.common(*keys)
        if place == len(first) == len(second):
            continue
        one, other = (events[place] if place < len(events) else None for events in (first, second))
        values = {bank: (a.known_pcrs[bank].get(pcr), b.known_pcrs[bank].get(pcr)) for bank in banks}
        yield Register(pcr, place, _what(one, other), one, other, values)


def _what(a: Measured | None, b: Measured | None) -> str:
    if a is None or b is None:
        return f"only A measures {_described(a)}" if b is None else f"only B measures {_described(b)}"
    if (a.type, a.tag, a.description) == (b.type, b.tag, b.description):
        return f"different content of {_described(a)}"
    return f"A measures {_described(a)} where B measures {_described(b)}"


def _described(event: Measured | None) -> str:
    """A section is called by its name, as is a file; all else is text."""
    assert event is not None
    if event.tag == PROFILE_EVENT_TAG:
        return f"profile {event.description}"
    return event.description if event.pcr == PCR_KERNEL_IMAGE or event.tag is not None else repr(event.description)


def _key(event: Measured, algorithms: list[str]) -> tuple[object, ...]:
    return event.type, event.tag, event.description, *(event.digests[name] for name in algorithms)
