"""Rules about ids: what they hit, and what they never will."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from uuid import UUID

from stubsim import chid
from stubsim.explain.selection import KINDS
from stubsim.formats import edid
from stubsim.hosts import Host
from stubsim.lint.findings import Hit
from stubsim.lint.identities import Identity, Machine, generic_ids, ids_by_name
from stubsim.lint.places import Place
from stubsim.lint.subjects import Row, Subject, count, place_of, places
from stubsim.rows import NamedTuple
from stubsim.stub.models import NEWEST, StubModel, which
from stubsim.wording import plain

_NULL = UUID(int=0)
# Types without the product's name, so that another product may have the same; how often, `stubsim.lint.from_host` says.
AMBIGUOUS = tuple(kind for kind in chid.PRIORITY if "product_name" not in chid.PARTS[kind])


class _Clash(NamedTuple):
    """Rows of one device whose ids stand earlier for another."""

    later: list[Row]
    earlier: list[Row]


def _clashes(subject: Subject) -> Iterator[_Clash]:
    first: dict[tuple[int, UUID], Row] = {}
    found: dict[tuple[object, object], _Clash] = {}
    for row in subject.rows:
        if row.entry.type not in KINDS:
            continue
        earlier = first.setdefault((row.entry.type, row.entry.chid), row)
        if earlier is not row:
            clash = found.setdefault((earlier.device, row.device), _Clash([], []))
            clash.later.append(row)
            clash.earlier.append(earlier)
    yield from found.values()


def one_id_for_two(subject: Subject) -> Iterator[Hit]:
    owners = {device: _own_machines(subject, rows) for device, rows in subject.devices().items()}
    for clash in _clashes(subject):
        later, earlier = clash.later[0], clash.earlier[0]
        if later.entry.string == earlier.entry.string:
            continue
        own = owners[later.device] | owners[earlier.device]
        known = [_proven(subject, row, own) for row in clash.later]
        useful = [index for index, identities in enumerate(known) if not _is_never_looked_up(identities)]
        if not useful:
            continue
        rows = [clash.later[index] for index in useful]
        verb, them = ("stands", "it") if len(rows) == 1 else ("stand", "them")
        types = _types(known[index] for index in useful)
        yield Hit(
            f"{count(rows, 'id', 'ids')} ({types}) of {later.entry.string!r} {verb} earlier for "
            f"{earlier.entry.string!r}: a machine that matches by {them} gets that one",
            rows[0].place,
            places([*rows[1:], *(clash.earlier[index] for index in useful)]),
        )


def _types(known: Iterable[list[Identity]]) -> str:
    """Of which types ids are, as far as that is known."""
    best = [_best(identities) for identities in known if identities]
    types = sorted({one.type for one in best if one.type is not None})
    return f"type {', '.join(map(str, types)) or 'unknown'}"


def repeated(subject: Subject) -> Iterator[Hit]:
    for clash in _clashes(subject):
        if clash.later[0].entry.string == clash.earlier[0].entry.string:
            text = (
                f"{count(clash.later, 'id stands', 'ids stand')} there before, for {clash.later[0].entry.string!r} too"
            )
            yield Hit(text, clash.later[0].place, places([*clash.later[1:], *clash.earlier]))
    seen: dict[tuple[object, UUID], Place] = {}
    for one in subject.descriptions:
        for hwid in one.hwids:
            place = place_of(one, hwid)
            earlier = seen.setdefault((one.device, hwid.chid), place)
            if earlier is not place:
                yield Hit(f"{hwid.chid} is listed twice for {one.string!r}", place, (earlier,))


def zero(subject: Subject) -> Iterator[Hit]:
    for row in subject.rows:
        if row.entry.type in KINDS and row.entry.chid == _NULL:
            yield Hit(
                f"the id of {row.entry.string!r} is all zeros: stubs {which(_looks_up_panels)} take it before all "
                "others on every machine without an EDID",
                row.place,
            )


def _looks_up_panels(model: StubModel) -> bool:
    return any("edid_panel" in chid.PARTS[kind] for kind in model.chid_priority)


def never_looked_up(subject: Subject) -> Iterator[Hit]:
    for device, rows in subject.devices().items():
        own = _own_machines(subject, rows)
        known = {row.entry.chid: _proven(subject, row, own) for row in rows}
        found = [row for row in rows if _is_never_looked_up(known[row.entry.chid])]
        if not found:
            continue
        best = [_best(known[row.entry.chid]) for row in found]
        types = ", ".join(str(kind) for kind in sorted({one.type for one in best if one.type is not None}))
        extra = sum(one.type is None for one in best)
        kinds = ", and ".join(
            [f"type {types}"] * bool(types) + [f"{extra} of fwupd's extra ids, with BiosVendor"] * bool(extra)
        )
        are = "is of a type" if len(found) == 1 else "are of types"
        text, severity = f"{len(found)} of {len(rows)} ids of {device[2]!r} {are} that no stub looks for", None
        if len(found) == len(rows):
            text, severity = f"no id of {device[2]!r} is of a type that a stub looks for", "error"
        yield Hit(f"{text}: {kinds}", found[0].place, places(found[1:]), severity)


def _own_machines(subject: Subject, rows: list[Row]) -> set[str]:
    """The machines that have one of these ids and would be matched by it."""
    chids = {row.entry.chid for row in rows}
    return {machine.label for machine in subject.machines if _looked_up_types(machine, chids)}


def _proven(subject: Subject, row: Row, own: set[str]) -> list[Identity]:
    """What the id is for sure: of two parts that no stub looks for, only those of the device's own machines count.

    Another device's product, SKU or family may be the same text: Manufacturer + EnclosureKind of a machine of kind 6 is
    Manufacturer + ProductSku of one whose SKU is "6".
    """
    identities = subject.known.get(row.entry.chid, [])
    return [one for one in identities if one.looked_up or len(one.texts) != 2 or one.source in own]


def not_stripped(subject: Subject) -> Iterator[Hit]:
    for device, rows in subject.devices().items():
        found = [row for row in rows if _is_unstripped(subject.known.get(row.entry.chid, []))]
        if not found:
            continue
        whole = [subject.known[row.entry.chid][0] for row in found]
        owners = list(dict.fromkeys(identity.source for identity in whole))
        texts = dict.fromkeys(
            text for one in whole for text in one.texts if text != text.lstrip(" ").lstrip("0").rstrip(" ")
        )
        machines = [machine for machine in subject.machines if machine.label in owners]
        have = {row.entry.chid for row in rows}
        right = dict.fromkeys(text for one in whole for text in _right(one, machines))
        left = sorted({kind for machine in machines for kind in _looked_up_types(machine, have)})
        yield Hit(
            f"{len(found)} of {len(rows)} ids of {device[2]!r} are made from strings that were not stripped "
            f"({', '.join(map(repr, texts))}): no stub computes them, and "
            + (f"{'type' if len(left) == 1 else 'types'} {', '.join(map(str, left))}" if left else "nothing")
            + f" {'is' if len(left) < 2 else 'are'} left for {', '.join(map(str, owners))}",
            found[0].place,
            places(found[1:]),
            fix=f"the ids that a stub computes instead: {'; '.join(right)}." if right else None,
        )


def _right(identity: Identity, machines: list[Machine]) -> Iterator[str]:
    for machine in machines:
        if machine.label == identity.source and identity.type in chid.PRIORITY and machine.chids.get(identity.type):
            yield f"{machine.chids[identity.type]} (type {identity.type})"


def _looked_up_types(machine: Machine, have: set[UUID]) -> list[int]:
    return [kind for kind in chid.PRIORITY if machine.chids.get(kind) in have]


def generic(subject: Subject) -> Iterator[Hit]:
    if not subject.rows:
        return
    texts = generic_ids(row.entry.name or "" for row in subject.rows)
    for device, rows in subject.devices().items():
        found = [row for row in rows if row.entry.chid in texts]
        if found:
            shown = ", ".join(dict.fromkeys(" & ".join(map(repr, texts[row.entry.chid])) for row in found))
            whose = f"{count(found, 'id', 'ids')} of {device[2]!r}"
            text = f"{whose} {'is' if len(found) == 1 else 'are'} the hash of {shown}"
            yield Hit(text, found[0].place, places(found[1:]))


def family_only(subject: Subject) -> Iterator[Hit]:
    devices = subject.devices()
    by_name = ids_by_name(name or "" for _, name, _ in devices)
    called: dict[tuple[int, str], dict[str | None, None]] = {}
    for kind, name, string in devices:
        called.setdefault((kind, name or ""), {})[string] = None
    for (kind, _, string), rows in devices.items():
        for row in rows:
            text = by_name.get(row.entry.chid)
            others = _others(called.get((kind, " ".join(text)), {}), string) if text else []
            identities = [one for one in subject.known.get(row.entry.chid, []) if one.looked_up]
            if text and others:
                what = f"an id of {string!r} is the hash of {text[0]!r} & {text[1]!r}"
                yield Hit(f"{what}, and {', '.join(others)} is called that", row.place, severity="warning")
            elif identities and all(one.type == 11 for one in identities):
                maker, family = identities[0].texts
                yield Hit(f"an id of {string!r} is Manufacturer + Family ({maker!r}, {family!r})", row.place)


def _others(strings: Iterable[str | None], own: str | None) -> list[str]:
    """Some of the strings, without the own one."""
    some = list(islice((repr(string) for string in strings if string != own), 4))
    return [*some[:3], "another"] if len(some) > 3 else some


def weak_match(subject: Subject) -> Iterator[Hit]:
    """A machine that has one vague id of a device, while all its exact ones are those of other machines."""
    if not subject.machines:
        return
    first: dict[tuple[int, UUID], Row] = {}
    for row in subject.rows:
        first.setdefault((row.entry.type, row.entry.chid), row)
    devices = subject.devices()
    for machine in subject.machines:
        # As the stub: the types in its order, an absent id as zeros.
        own = {n: machine.chids[n] or _NULL for n in NEWEST.chid_priority if n in machine.chids}
        exact = {value for n, value in own.items() if n not in AMBIGUOUS}
        for kind in KINDS:
            best = next((n for n, value in own.items() if (kind, value) in first), None)
            if best not in AMBIGUOUS:
                continue
            row = first[kind, own[best]]
            ids = {one.entry.chid for one in devices[row.device]}
            others = ids.difference(own.values())
            if others and row.entry.chid != _NULL and ids.isdisjoint(exact):
                yield Hit(
                    f"{machine.label} gets {row.entry.string!r} by nothing but {_parts(machine.host, best)}; the other "
                    f"{len(others)} {'id' if len(others) == 1 else 'ids'} of that device are not its own",
                    row.place,
                )


def _parts(host: Host, kind: int) -> str:
    row = chid.compute(host.fields, None if host.edid is None else edid.panel_id(host.edid))[kind]
    words = " + ".join(plain(field) for field, _ in row.parts)
    return f"type {kind}, {words} ({', '.join(repr(text) for _, text in row.parts)})"


def _is_never_looked_up(identities: list[Identity]) -> bool:
    """Known, and of no type that a stub looks for."""
    return bool(identities) and all(one.stripped and not one.looked_up for one in identities)


def _is_unstripped(identities: list[Identity]) -> bool:
    return bool(identities) and all(not one.stripped for one in identities)


def _best(identities: Iterable[Identity]) -> Identity:
    """What to call an id: as a stub computes it rather than not, on a machine rather than by a name."""
    return min(identities, key=lambda one: (not one.looked_up, not one.stripped, one.source is None))
