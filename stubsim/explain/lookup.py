"""The look-up in one `.hwids`, laid open: every entry that a machine has, in the order in which a stub comes to it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from uuid import UUID

from stubsim import chid
from stubsim.explain.contents import Table
from stubsim.explain.selection import KINDS
from stubsim.extent import Bytes, Extent
from stubsim.formats import edid, hwids
from stubsim.hosts import Host
from stubsim.rows import NamedTuple
from stubsim.stub.chid_match import is_unknown, unknown_fields
from stubsim.stub.models import StubModel

_NULL = UUID(int=0)
_PANEL = "edid_panel"
# A descriptor of exactly these values is taken for an entry where the stub looks at none any more.
_DESCRIPTORS = {kind << 28 | hwids.ENTRY_SIZE: kind for kind in KINDS}


class OwnChid(NamedTuple):
    """A CHID of the machine; None where it is absent, and where a part is not known."""

    type: int
    chid: UUID | None
    parts: tuple[tuple[str, str | None], ...]
    unknown: tuple[str, ...]

    @property
    def looked_up(self) -> UUID | None:
        """The GUID the stub looks for: an absent one is all zeros; None where it is not known."""
        return None if self.unknown else self.chid or _NULL


class Candidate(NamedTuple):
    """An entry that the machine has, and the first CHID type by which the stub comes to it."""

    entry: hwids.Entry
    type: int


class Lookup(NamedTuple):
    """One look-up: of the entries of one kind in the base's or the profile's own table.

    ``candidates`` are in the stub's order, and are found whether or not the stub gets to look: ``prevented`` says why
    it does not. ``undecided`` are the CHID types before the winner that are not known, where it depends on them.
    ``misses`` are the other entries by their index, with what is known of the difference. Where there is no candidate,
    ``asides`` are rows that have an id of this machine, but do not count for this look-up.
    """

    kind: int
    profile: int | None
    table: Table
    prevented: str | None
    candidates: tuple[Candidate, ...]
    undecided: tuple[int, ...]
    misses: dict[int, str | None]
    asides: tuple[str, ...]

    @property
    def entries(self) -> tuple[hwids.Entry, ...]:
        return tuple(entry for entry in self.table.entries if entry.type == self.kind)

    @property
    def winner(self) -> Candidate | None:
        return self.candidates[0] if self.candidates and self.prevented is None else None

    @property
    def runner_up(self) -> Candidate | None:
        """What would be found if the winner's entry were not there."""
        return self.candidates[1] if self.winner is not None and len(self.candidates) > 1 else None

    @property
    def alternative(self) -> Candidate | None:
        """The first that leads elsewhere than the winner does."""
        winner = self.winner
        if winner is None:
            return None
        return next((other for other in self.candidates if other.entry.string != winner.entry.string), None)


def own_chids(host: Host) -> dict[int, OwnChid]:
    """All types of CHIDs of a machine, as the stub computes them."""
    panel = None if host.edid is None else edid.panel_id(host.edid)
    rows = {}
    for row in chid.compute(host.fields, panel):
        unknown = unknown_fields(host, row.type)
        parts = tuple((field, None if is_unknown(host, field) else text) for field, text in row.parts)
        rows[row.type] = OwnChid(row.type, None if unknown else row.chid, parts, unknown)
    return rows


def look_up(
    kind: int,
    profile: int | None,
    table: Table,
    data: Bytes,
    *,
    prevented: str | None,
    own: dict[int, OwnChid],
    near: dict[UUID, str],
    model: StubModel,
) -> Lookup:
    """Look a machine's CHIDs up in a table; ``data`` are its bytes, ``near`` what is known of other GUIDs."""
    order = [own[type_] for type_ in model.chid_priority]
    candidates = _candidates(kind, table.entries, order)
    matched = {candidate.entry.index for candidate in candidates}
    misses = {
        entry.index: _known_of(entry, model, order, near)
        for entry in table.entries
        if entry.type == kind and entry.index not in matched
    }
    return Lookup(
        kind,
        profile,
        table,
        prevented,
        candidates,
        _undecided(kind, table.entries, candidates, order),
        misses,
        () if candidates else tuple(_asides(kind, table.entries, data, order)),
    )


def _candidates(kind: int, entries: Sequence[hwids.Entry], order: Sequence[OwnChid]) -> tuple[Candidate, ...]:
    by_chid: dict[UUID, list[hwids.Entry]] = {}
    for entry in entries:
        if entry.type == kind:
            by_chid.setdefault(entry.chid, []).append(entry)
    found: dict[int, Candidate] = {}
    for row in order:
        for entry in by_chid.get(row.looked_up, ()) if row.looked_up is not None else ():
            found.setdefault(entry.index, Candidate(entry, row.type))
    return tuple(found.values())


def _undecided(
    kind: int, entries: Sequence[hwids.Entry], candidates: Sequence[Candidate], order: Sequence[OwnChid]
) -> tuple[int, ...]:
    """An unknown CHID may be that of any entry; where all entries lead to the same, the first one's own is enough."""
    before = []
    for row in order:
        if candidates and candidates[0].type == row.type:
            break
        if row.unknown:
            before.append(row.type)
    strings = {entry.string for entry in entries if entry.type == kind}
    if not strings or (candidates and len(strings) == 1):
        return ()
    return tuple(before)


def _known_of(entry: hwids.Entry, model: StubModel, order: Sequence[OwnChid], near: dict[UUID, str]) -> str | None:
    """What can be said of an entry that the machine does not have; None: nothing in common is known."""
    if entry.chid == _NULL:
        return _no_wildcard(model, order)
    return near.get(entry.chid)


def _no_wildcard(model: StubModel, order: Sequence[OwnChid]) -> str:
    """Why an all-zero CHID is not found: only an absent one equals it, and only the panel's can be absent."""
    panels = [row for row in order if any(field == _PANEL for field, _ in row.parts)]
    if not panels:
        return f"an all-zero CHID: no CHID that stub {model.id} looks up is ever absent, so nothing equals it"
    if panels[0].unknown:
        return "an all-zero CHID: found before all others if the machine has no valid EDID, which is not known"
    return "an all-zero CHID: found on machines without a valid EDID only, and this one has a panel"


def wildcard(candidate: Candidate) -> str | None:
    """Why an all-zero CHID is found, if this is one."""
    if candidate.entry.chid != _NULL:
        return None
    return (
        "an all-zero CHID: without a valid EDID the panel's CHIDs are absent, an absent one is looked up as all zeros, "
        "and they come first"
    )


def _asides(kind: int, entries: Sequence[hwids.Entry], data: Bytes, order: Sequence[OwnChid]) -> Iterator[str]:
    own = {row.looked_up: row.type for row in reversed(order) if row.chid is not None and not row.unknown}
    word = KINDS[kind].word
    for entry in entries:
        if entry.type != kind and entry.chid in own:
            other = KINDS[entry.type].word if entry.type in KINDS else f"of device type {entry.type}"
            yield f"entry {entry.index} has this machine's CHID of type {own[entry.chid]}, but is {other}, not {word}"
    yield from (text for found, text in _behind_the_end(len(hwids.walk(data)), data, own) if found == kind)


def _behind_the_end(count: int, data: Bytes, own: dict[UUID | None, int]) -> Iterator[tuple[int, str]]:
    """Rows that look like entries where the stub looks at none any more, and by which it would find this machine."""
    size = hwids.ENTRY_SIZE
    # No machine is found by zeros.
    held = data.held() if isinstance(data, Extent) else data
    for offset in range(count * size, len(held) - size + 1, size):
        row = bytes(held[offset : offset + size])
        kind, chid_ = _DESCRIPTORS.get(int.from_bytes(row[:4], "little")), UUID(bytes_le=row[4:20])
        if kind is None or chid_ not in own:
            continue
        if offset == count * size:
            why = "an entry counts only if at least one byte follows it"
        else:
            why = f"the table ends at offset {count * size:#x}"
        yield kind, f"the row at offset {offset:#x} has this machine's CHID of type {own[chid_]}, but {why}"
