"""What two boots choose, and why the one does not choose as the other."""

from __future__ import annotations

from collections.abc import Iterator

from stubsim.explain.lookup import Candidate, Lookup
from stubsim.explain.why import Choice, Why
from stubsim.rows import NamedTuple
from stubsim.wording import plain


class Selection(NamedTuple):
    """One kind of choice in both boots; ``same`` is whether the same content is chosen, or nothing by both.

    ``causes`` say what makes the difference, as far as it can be told.
    """

    kind: int
    same: bool
    a: Choice
    b: Choice
    causes: tuple[str, ...]


def selections(a: Why, b: Why) -> tuple[Selection, ...]:
    """One for each kind."""
    return tuple(_selection(a, b, *pair) for pair in zip(a.choices, b.choices, strict=True))


def _selection(a: Why, b: Why, first: Choice, second: Choice) -> Selection:
    same = _content(a, first) == _content(b, second)
    causes: list[str] = []
    if not same:
        for names, ours, theirs in (("AB", (a, first), (b, second)), ("BA", (b, second), (a, first))):
            causes += [text for text in _causes(names, *ours, *theirs) if text not in causes]
    return Selection(first.kind, same, first, second, tuple(causes))


def _content(why: Why, choice: Choice) -> bytes | None:
    """The digest of the chosen section."""
    if choice.section is None:
        return None
    return why.boot.digests.sha256(why.boot.uki.data(choice.section))


def _causes(names: str, why: Why, choice: Choice, other: Why, other_choice: Choice) -> Iterator[str]:
    """Why the second boot does not find what led the first to its choice."""
    lookup = choice.led_by
    if choice.section is None or lookup is None or lookup.winner is None:
        return
    winner = lookup.winner
    its = next((each for each in other_choice.lookups if each.profile == lookup.profile), None)
    text = f"{names[0]} finds entry {winner.entry.index} by CHID type {winner.type}"
    if its is None:
        yield f"{text}; {names[1]} has no .hwids that its stub reads"
    elif its.prevented is not None:
        yield f"{text}; in {names[1]} {its.prevented}"
    elif not _holds(its, winner):
        yield f"{text}; the .hwids of {names[1]} has no such entry"
    elif all(candidate.entry.chid != winner.entry.chid for candidate in its.candidates):
        yield f"{text}; {_not_its_own(names[1], winner.type, why, other)}"
    elif its.winner is not None and its.winner.entry.string != winner.entry.string:
        yield f"{text}; {names[1]} finds entry {its.winner.entry.index} first, by CHID type {its.winner.type}"


def _holds(lookup: Lookup, wanted: Candidate) -> bool:
    """Whether a table has the entry, wherever it stands in it."""
    key = wanted.entry.chid, wanted.entry.string
    return any((entry.chid, entry.string) == key for entry in lookup.entries)


def _not_its_own(name: str, type_: int, why: Why, other: Why) -> str:
    """Which parts of a CHID are not the other machine's; or that its stub does not look for it."""
    if type_ not in other.boot.model.chid_priority:
        return f"stub {other.boot.model.id} of {name} does not look up that type"
    ours, theirs = why.chids[type_], other.chids[type_]
    if theirs.unknown:
        return f"of {name} is not known: {', '.join(map(plain, theirs.unknown))}"
    differing = [
        f"{plain(field)} {b!r} instead of {a!r}"
        for (field, a), (_, b) in zip(ours.parts, theirs.parts, strict=True)
        if a != b
    ]
    return f"{name} has {', '.join(differing)}" if differing else f"{name} has the same id"


def shared_types(a: Why, b: Why) -> tuple[int, ...]:
    """The types of which both machines have the same CHID, in the order in which the first one's stub looks them up."""
    return tuple(
        type_
        for type_ in a.boot.model.chid_priority
        if a.chids[type_].chid is not None and a.chids[type_].chid == b.chids[type_].chid
    )
