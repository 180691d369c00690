"""What changes for whom between two plans: other endings, other sections, other PCR values."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from stubsim.explain.selection import KINDS
from stubsim.fleet.answer import PCRS, Answer
from stubsim.fleet.engine import Group, Survey
from stubsim.fleet.plan import Plan
from stubsim.rows import NamedTuple

OUTCOME = "outcome"


class Change(NamedTuple):
    """Machines for which one thing comes out otherwise, and one of them.

    ``what`` is outcome or the name of a section, which is told by the devicetree's compatible or the firmware's id;
    None is none. For ``unsure`` of the machines one side hangs on something unknown.
    """

    what: str
    a: str | None
    b: str | None
    machines: int
    unsure: int
    example: dict[str, Any]


class PcrChange(NamedTuple):
    """Machines with another value of a PCR, the values on either side, and machines with none that is known."""

    pcr: int
    machines: int
    unknown: int
    values_a: int
    values_b: int


class Comparison(NamedTuple):
    """``changed`` machines end or choose otherwise, which for ``changed_unsure`` of them hangs on something unknown.

    So it does for ``unsure`` of the others.
    """

    changed: int
    changed_unsure: int
    unsure: int
    changes: tuple[Change, ...]
    pcrs: tuple[PcrChange, ...]


Sides = tuple[Answer, Answer, Group]


def compare(plans: Sequence[Plan], survey: Survey) -> Comparison:
    """The survey of two plans by what differs."""
    rows: list[Sides] = []
    for group in survey.groups:
        a, b = (plan.answers[number] for plan, number in zip(plans, group.kinds, strict=True))
        assert isinstance(a, Answer)
        assert isinstance(b, Answer)
        rows.append((a, b, group))
    changed, unsure = [0, 0], [0, 0]
    for a, b, group in rows:
        same = not _differs(a, b)
        changed[same] += group.machines
        unsure[same] += group.machines if _unsure(a, b) else 0
    changes = [change for what, one in _FACTS.items() for change in _changes(rows, what, one)]
    changes.sort(key=lambda change: (-change.machines, change.what, change.a or "", change.b or ""))
    return Comparison(changed[0], unsure[0], unsure[1], tuple(changes), tuple(_pcr(rows, pcr) for pcr in PCRS))


def _outcome(answer: Answer) -> tuple[str | None, tuple[str, ...]]:
    text = answer.status if answer.message is None else f"{answer.status}: {answer.message}"
    return text, answer.hangs_on


def _choice(kind: int) -> Callable[[Answer], tuple[str | None, tuple[str, ...]]]:
    def chosen(answer: Answer) -> tuple[str | None, tuple[str, ...]]:
        own = answer.chosen[kind]
        return None if own.section is None else own.string or "", own.hangs_on

    return chosen


# What may differ -> how it reads, and what it hangs on.
_FACTS = {OUTCOME: _outcome} | {kind.section: _choice(number) for number, kind in KINDS.items()}


def _differs(a: Answer, b: Answer) -> bool:
    return any(one(a)[0] != one(b)[0] for one in _FACTS.values())


def _unsure(a: Answer, b: Answer) -> bool:
    """Whether something unknown may make a difference: what both hang on alike may still come out otherwise."""
    return any(one(a)[1] or one(b)[1] for one in _FACTS.values())


def _changes(
    rows: Sequence[Sides], what: str, one: Callable[[Answer], tuple[str | None, tuple[str, ...]]]
) -> Iterator[Change]:
    found: dict[tuple[str | None, str | None], list[Sides]] = {}
    for row in rows:
        pair = one(row[0])[0], one(row[1])[0]
        if pair[0] != pair[1]:
            found.setdefault(pair, []).append(row)
    for (a, b), sides in found.items():
        machines = sum(group.machines for _, _, group in sides)
        unsure = sum(group.machines for x, y, group in sides if one(x)[1] or one(y)[1])
        most = max((group for _, _, group in sides), key=lambda group: (group.machines, repr(group.example)))
        yield Change(what, a, b, machines, unsure, most.example)


def _pcr(rows: Sequence[Sides], pcr: int) -> PcrChange:
    machines = unknown = 0
    values: tuple[set[bytes], set[bytes]] = (set(), set())
    for a, b, group in rows:
        for answer, own in zip((a, b), values, strict=True):
            own.update([answer.pcrs[pcr]] if pcr in answer.pcrs else ())
        if pcr not in a.pcrs or pcr not in b.pcrs:
            unknown += group.machines
        elif a.pcrs[pcr] != b.pcrs[pcr]:
            machines += group.machines
    return PcrChange(pcr, machines, unknown, len(values[0]), len(values[1]))
