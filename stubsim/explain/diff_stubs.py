"""Which rows of the table of releases make two stubs boot one UKI differently: each is turned over by itself."""

from __future__ import annotations

from collections.abc import Callable

from stubsim.result import Boot
from stubsim.rows import NamedTuple
from stubsim.simulation import boot
from stubsim.start import Start
from stubsim.stub.models import behaviour, release_of
from stubsim.stub.releases import CHANGES, changes, fields
from stubsim.systemd.release import Change

# What differs by part of the report: sections, variables, PCRs and so on by name.
Names = dict[str, frozenset[str]]


class StubChange(NamedTuple):
    """A row that one of the two stubs has ("a" or "b"), and what its step changes of what is not the same in the end.

    ``alone`` is whether it does so by itself; else only together with other rows between the two.
    """

    row: Change
    side: str
    changes: Names
    alone: bool


def stub_changes(
    a: Boot, b: Boot, start: Start, differing: Callable[[Boot, Boot], Names]
) -> tuple[StubChange, ...] | None:
    """The rows that make another boot of ``a``, started by ``start``, with the stub of ``b``, in the table's order.

    From the one stub to the other, row by row as history has them, each with what its step changes. None where one of
    the stubs follows no release.
    """
    first, last = release_of(a.model), release_of(b.model)
    if first is None or last is None:
        return None
    between = [row for row in CHANGES if row.holds(first) != row.holds(last)]
    way = between if first <= last else between[::-1]
    again = _Again(a, start)
    ours, theirs = frozenset(row.name for row in changes(first)), frozenset(row.name for row in changes(last))
    end = again(theirs)
    total = differing(a, end)
    if not total:
        return ()

    def changed(one: Boot, other: Boot) -> Names:
        return {part: names for part, names in differing(one, other).items() if part in total}

    found: dict[str, StubChange] = {}
    held, state = ours, a
    for row in way:
        held = held ^ {row.name}
        before, state = state, again(held)
        parts = changed(before, state)
        alone = bool(parts) and bool(changed(a, again(ours ^ {row.name})))
        if not parts:
            # What shows nothing at its step may be what a later one needs.
            parts = changed(again(theirs ^ {row.name}), end)
            parts = {part: names & total[part] for part, names in parts.items() if names & total[part]}
        if parts:
            found[row.name] = StubChange(row, "a" if row.holds(first) else "b", parts, alone)
    return tuple(found[row.name] for row in between if row.name in found)


class _Again:
    """The boot by a stub that has these rows; those that are alike in all they do boot once."""

    def __init__(self, like: Boot, start: Start) -> None:
        self.like, self.start = like, start
        self.done: dict[object, Boot] = {behaviour(like.model): like}

    def __call__(self, names: frozenset[str]) -> Boot:
        model = self.like.model._replace(**fields(row for row in CHANGES if row.name in names))
        key = behaviour(model)
        if key not in self.done:
            self.done[key] = boot(self.like.uki, self.like.host, self.start._replace(stub=model))
        return self.done[key]
