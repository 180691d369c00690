"""What a survey of a fleet comes to: machines by section, by `.hwids` entry and by PCR value."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from stubsim.explain.selection import KINDS
from stubsim.explain.verdicts import BY_BOOT, BY_MACHINE, UNKNOWN, VALUE
from stubsim.fleet.answer import PCRS, Answer, Chosen
from stubsim.fleet.engine import Group, Survey
from stubsim.fleet.plan import Plan
from stubsim.formats import hwids
from stubsim.rows import NamedTuple


class Count(NamedTuple):
    """Machines, those among them where it hangs on something unknown, and the keys that it hangs on with how many.

    A machine counts for each of its keys.
    """

    machines: int
    unsure: int
    hangs_on: dict[str, int]


class OfSection(NamedTuple):
    """A section that machines decide on, or none: who gets it, and by which CHID type (None: another way)."""

    kind: int
    section: int | None
    string: str | None
    of: Count
    types: dict[int | None, int]
    example: dict[str, Any]


class OfEntry(NamedTuple):
    """An entry of `.hwids` and the machines that it chooses for, by CHID type."""

    entry: hwids.Entry
    machines: int
    types: dict[int, int]


class OfPcr(NamedTuple):
    """The known values of a PCR and how many machines get each; how many have none that is known.

    ``verdict`` is one of `explain.verdicts`, of all machines together; ``because`` is what it rests on.
    """

    pcr: int
    verdict: str
    values: dict[bytes, int]
    unknown: int
    because: tuple[str, ...]


class Summary(NamedTuple):
    outcomes: dict[tuple[str, str | None], Count]
    sections: tuple[OfSection, ...]
    entries: tuple[OfEntry, ...]
    pcrs: tuple[OfPcr, ...]
    assumed: tuple[str, ...]


Pair = tuple[Answer, Group]


def summary(plan: Plan, survey: Survey, place: int = 0) -> Summary:
    """The survey by what is chosen; ``place`` is that of the plan in it."""
    pairs: list[Pair] = []
    for group in survey.groups:
        answer = plan.answers[group.kinds[place]]
        assert isinstance(answer, Answer)
        pairs.append((answer, group))
    pairs.sort(key=lambda pair: (-pair[1].machines, repr(pair[1].example)))
    return Summary(
        {
            key: _count(found, lambda answer: answer.hangs_on)
            for key, found in _by(pairs, lambda answer: (answer.status, answer.message)).items()
        },
        tuple(row for kind in KINDS if _offers(plan, kind) for row in _of_sections(pairs, kind)),
        tuple(_of_entries(plan, pairs)),
        tuple(_of_pcr(pairs, pcr) for pcr in PCRS),
        tuple(dict.fromkeys(text for answer, _ in pairs for text in answer.assumed)),
    )


def _offers(plan: Plan, kind: int) -> bool:
    return any(section.name == KINDS[kind].section for section in plan.uki.image.sections)


def _by(pairs: Iterable[Pair], key: Callable[[Answer], Any]) -> dict[Any, list[Pair]]:
    """The pairs by a key, the one with most machines first."""
    found: dict[Any, list[Pair]] = {}
    for pair in pairs:
        found.setdefault(key(pair[0]), []).append(pair)
    return dict(sorted(found.items(), key=lambda item: -sum(group.machines for _, group in item[1])))


def _count(pairs: Iterable[Pair], hangs_on: Callable[[Answer], tuple[str, ...]]) -> Count:
    machines, unsure = 0, 0
    keys: dict[str, int] = {}
    for answer, group in pairs:
        machines += group.machines
        unsure += group.machines if hangs_on(answer) else 0
        for key in hangs_on(answer):
            keys[key] = keys.get(key, 0) + group.machines
    return Count(machines, unsure, dict(sorted(keys.items(), key=lambda item: (-item[1], item[0]))))


def _of_sections(pairs: list[Pair], kind: int) -> Iterator[OfSection]:
    """Each choice of this kind; machines that get none come last."""
    found = _by(pairs, lambda answer: answer.chosen[kind].section)
    for section in sorted(found, key=lambda number: number is None):
        rows = found[section]
        types: dict[int | None, int] = {}
        for answer, group in rows if section is not None else ():
            by = answer.chosen[kind].chid_type
            types[by] = types.get(by, 0) + group.machines
        answer, group = rows[0]
        yield OfSection(
            kind, section, answer.chosen[kind].string, _count(rows, lambda answer: answer.chosen[kind].hangs_on),
            dict(sorted(types.items(), key=lambda item: (-item[1], item[0] or 0))), group.example,
        )  # fmt: skip


def _of_entries(plan: Plan, pairs: list[Pair]) -> Iterator[OfEntry]:
    """Every entry of the base's table, in its order."""
    table = next((section for section in plan.uki.base if section.name == hwids.SECTION), None)
    for entry in () if table is None else hwids.walk(plan.uki.data(table)):
        types: dict[int, int] = {}
        for answer, group in pairs:
            chosen = answer.chosen.get(entry.type, _NOTHING)
            if chosen.entry == entry.index and chosen.chid_type is not None:
                types[chosen.chid_type] = types.get(chosen.chid_type, 0) + group.machines
        yield OfEntry(entry, sum(types.values()), dict(sorted(types.items())))


_NOTHING = Chosen(None, None, None, None, ())


def _of_pcr(pairs: list[Pair], pcr: int) -> OfPcr:
    values: dict[bytes, int] = {}
    unknown = 0
    why: dict[str, dict[str | None, None]] = {}
    for answer, group in pairs:
        if pcr in answer.pcrs:
            values[answer.pcrs[pcr]] = values.get(answer.pcrs[pcr], 0) + group.machines
        else:
            unknown += group.machines
        own = answer.verdicts[pcr]
        why.setdefault(own.verdict, {})[own.because] = None
    verdict = next((word for word in _FIRST if word in why), VALUE)
    if verdict == VALUE and len(values) > 1:
        verdict, why = BY_MACHINE, {BY_MACHINE: {f"{len(values)} values": None}}
    because = tuple(text for text in why.get(verdict, ()) if text)
    return OfPcr(pcr, verdict, dict(sorted(values.items(), key=lambda item: (-item[1], item[0]))), unknown, because)


# Of several verdicts of machines the first of these is that of all.
_FIRST = (BY_BOOT, UNKNOWN, BY_MACHINE)
