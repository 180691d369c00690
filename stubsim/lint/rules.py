"""The rules of `stubsim hwids lint`, as one table; what they look at is in `stubsim.lint.subjects`.

A rule states what can be proven from its input: an id is a hash, so what it stands for is known only where a machine
(`--smbios`), the device's name or a generic text gives the same hash.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple
from uuid import UUID

from stubsim import chid
from stubsim.errors import StubsimError
from stubsim.explain.selection import KINDS
from stubsim.explain.warnings import named_blobs
from stubsim.formats import hwids
from stubsim.hosts import Host
from stubsim.lint.findings import Hit, Place, Rule
from stubsim.lint.identities import Identity, generic_ids
from stubsim.lint.subjects import Row, Subject, place_of, section_place
from stubsim.stub.chid_match import machine_chids, refusal
from stubsim.stub.models import MODELS, StubModel

_NEWEST = MODELS["262"]
_READING = tuple(model for model in MODELS.values() if model.basis != "proposal" and hwids.SECTION in model.sections)
_NULL = UUID(int=0)
# How the complaints about a place in a description begin.
_LINE = re.compile("line ([0-9]+)[,:]")
# Types without the product's name: in linuxhw/DMI (97,824 machines) type 6 of 10 % of them is that of another product
# as well, type 10 of 21 %, type 7 of 63 % and type 11 of 91 %; the others by definition of none.
AMBIGUOUS = tuple(kind for kind in chid.PRIORITY if "product_name" not in chid.PARTS[kind])


# --- descriptions ----------------------------------------------------------------------------------------------------


def _refused_descriptions(subject: Subject) -> Iterator[Hit]:
    for error in subject.refused:
        text = str(StubsimError(error.message, expected=error.expected))
        line = _LINE.match(error.message)
        yield Hit(text, Place(error.path or subject.path, line=int(line[1]) if line else None))


def _ignored_keys(subject: Subject) -> Iterator[Hit]:
    for one in subject.descriptions:
        if one.ignored:
            yield Hit(f"ukify does not read {', '.join(map(repr, one.ignored))}", Place(one.path))


def _repeated_keys(subject: Subject) -> Iterator[Hit]:
    for one in subject.descriptions:
        if one.repeated:
            yield Hit(f"{', '.join(map(repr, one.repeated))} given twice: ukify takes the last", Place(one.path))


def _no_ids(subject: Subject) -> Iterator[Hit]:
    for one in subject.descriptions:
        if not one.hwids:
            yield Hit(f"{one.string!r} has no hwids", Place(one.path, json_path="$.hwids"))


# --- the table -------------------------------------------------------------------------------------------------------


def _refused_table(subject: Subject) -> Iterator[Hit]:
    """By the newest stub; what only older ones refuse is another rule's."""
    if subject.data is None or refusal(_NEWEST, memoryview(subject.data), _entries(subject)) is None:
        return
    try:
        hwids.parse(subject.data)
    except StubsimError as error:
        row = subject.rows[(error.offset or 0) // hwids.ENTRY_SIZE]
        models = ", ".join(refused_by(subject))
        yield Hit(f"{error.message} (expected {error.expected}): refused by stub {models}", row.place)


def _older_stubs(subject: Subject) -> Iterator[Hit]:
    """By the stub in the UKI, or else by any; where the newest refuses the table that is said already."""
    firmware = [row for row in subject.rows if row.entry.type == hwids.UEFI_FW]
    inexact = [row for row in subject.rows if row.entry.type in KINDS and row.entry.size != hwids.ENTRY_SIZE]
    models = _READING if subject.model is None else tuple(one for one in _READING if one.id == subject.model.id)
    refusing = [model.id for model in models if model.id in refused_by(subject)]
    deaf = [model.id for model in models if not model.matches_firmware_entries and model.id not in refusing]
    rows = firmware or inexact
    if _NEWEST.id in refused_by(subject) or not rows:
        return
    said = [f"stub {', '.join(refusing)} refuses the whole table, devicetrees included"] * bool(refusing)
    said += [f"stub {', '.join(deaf)} never matches them"] * bool(firmware and deaf)
    if said:
        what = "for firmware" if firmware else f"with another size than {hwids.ENTRY_SIZE} in the descriptor"
        severity = None if subject.model is None else "error" if refusing else "warning"
        text = f"{_count(rows, 'entry', 'entries')} {what}: {'; '.join(said)}"
        yield Hit(text, rows[0].place, _places(rows[1:]), severity)


def _no_end(subject: Subject) -> Iterator[Hit]:
    if subject.data is None or not subject.data or subject.descriptions or subject.refused:
        return
    count, size = len(subject.rows), len(subject.data)
    at = count * hwids.ENTRY_SIZE
    if subject.data[at : at + 4] == bytes(4) and size >= at + 4:
        return
    place = _at(subject, at)
    if size - at == hwids.ENTRY_SIZE:
        yield Hit(f"entry {count} ends with the section, so a stub does not count it", place, severity="error")
    elif size > at + hwids.ENTRY_SIZE or count:
        yield Hit("no zero entry ends the table", place)


def _behind_end(subject: Subject) -> Iterator[Hit]:
    """Something that is surely an entry, at or behind the place where the stub stops."""
    if subject.data is None or subject.descriptions or subject.refused:
        return
    end = len(subject.rows) * hwids.ENTRY_SIZE
    first = min([row.entry.string_offset or row.entry.name_offset for row in subject.rows] or [len(subject.data)])
    if subject.data[end : end + 4] != bytes(4):
        return
    if any(subject.data[end + 4 : end + 20]) and first >= end + hwids.ENTRY_SIZE:
        yield Hit(f"entry {len(subject.rows)} has descriptor 0, which ends the table, and a CHID", _at(subject, end))
    count, at = 0, end + hwids.ENTRY_SIZE
    while at + hwids.ENTRY_SIZE <= min(first, len(subject.data)) and _is_entry(subject.data[at : at + 4]):
        count, at = count + 1, at + hwids.ENTRY_SIZE
    if count:
        text = f"{count} {'entry' if count == 1 else 'entries'} behind the zero entry that ends the table"
        yield Hit(text, _at(subject, end + hwids.ENTRY_SIZE))


def _is_entry(descriptor: bytes) -> bool:
    return int.from_bytes(descriptor, "little") in {kind << 28 | hwids.ENTRY_SIZE for kind in KINDS}


def _no_string(subject: Subject) -> Iterator[Hit]:
    for row in subject.rows:
        if row.entry.type in KINDS and row.entry.string_offset == 0:
            word = KINDS[row.entry.type].string
            yield Hit(f"{_entry(row)} has no {word}: who matches it gets nothing, and no other entry", row.place)


def _empty_table(subject: Subject) -> Iterator[Hit]:
    if subject.data is not None and not subject.rows and not subject.descriptions and not subject.refused:
        yield Hit("the table has no entries", subject.place)


# --- ids -------------------------------------------------------------------------------------------------------------


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


def _one_id_for_two(subject: Subject) -> Iterator[Hit]:
    for clash in _clashes(subject):
        later, earlier = clash.later[0].entry, clash.earlier[0].entry
        useful = [
            (one, other)
            for one, other in zip(*clash, strict=True)
            if not _is_never_looked_up(subject.known.get(one.entry.chid, []))
        ]
        if later.string == earlier.string or not useful:
            continue
        rows, others = zip(*useful, strict=True)
        yield Hit(
            f"{_ids(subject, rows)} of {later.string!r} {'stands' if len(rows) == 1 else 'stand'} earlier for "
            f"{earlier.string!r}: whoever matches by {'it' if len(rows) == 1 else 'them'} gets that one",
            rows[0].place,
            _places([*rows[1:], *others]),
        )


def _repeated(subject: Subject) -> Iterator[Hit]:
    for clash in _clashes(subject):
        if clash.later[0].entry.string == clash.earlier[0].entry.string:
            text = (
                f"{_count(clash.later, 'id stands', 'ids stand')} there before, for {clash.later[0].entry.string!r} too"
            )
            yield Hit(text, clash.later[0].place, _places([*clash.later[1:], *clash.earlier]))
    seen: dict[tuple[object, UUID], Place] = {}
    for one in subject.descriptions:
        for hwid in one.hwids:
            place = place_of(one, hwid)
            earlier = seen.setdefault((one.device, hwid.chid), place)
            if earlier is not place:
                yield Hit(f"{hwid.chid} is listed twice for {one.string!r}", place, (earlier,))


def _zero(subject: Subject) -> Iterator[Hit]:
    for row in subject.rows:
        if row.entry.type in KINDS and row.entry.chid == _NULL:
            yield Hit(
                f"{_entry(row)} for {row.entry.string!r} is all zeros: stub 258 and later takes it before all "
                "others on every machine without an EDID",
                row.place,
            )


def _never_looked_up(subject: Subject) -> Iterator[Hit]:
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
        yield Hit(f"{text}: {kinds}", found[0].place, _places(found[1:]), severity)


def _own_machines(subject: Subject, rows: list[Row]) -> set[str]:
    """The machines that have one of these ids and would be matched by it."""
    chids = {row.entry.chid for row in rows}
    return {label for label, host in subject.hosts if _looked_up_types(host, chids)}


def _proven(subject: Subject, row: Row, own: set[str]) -> list[Identity]:
    """What the id is for sure: of two parts that no stub looks for, only those of the device's own machines count.

    Another device's product, SKU or family may be the same text: Manufacturer + EnclosureKind of a machine of kind 6 is
    Manufacturer + ProductSku of one whose SKU is "6".
    """
    identities = subject.known.get(row.entry.chid, [])
    return [one for one in identities if one.looked_up or len(one.texts) != 2 or one.source in own]


def _not_stripped(subject: Subject) -> Iterator[Hit]:
    for device, rows in subject.devices().items():
        found = [row for row in rows if _is_unstripped(subject.known.get(row.entry.chid, []))]
        if not found:
            continue
        whole = [subject.known[row.entry.chid][0] for row in found]
        owners = list(dict.fromkeys(identity.source for identity in whole))
        texts = dict.fromkeys(
            text for one in whole for text in one.texts if text != text.lstrip(" ").lstrip("0").rstrip(" ")
        )
        machines = [(label, host) for label, host in subject.hosts if label in owners]
        have = {row.entry.chid for row in rows}
        left = sorted({kind for _, host in machines for kind in _looked_up_types(host, have)})
        yield Hit(
            f"{len(found)} of {len(rows)} ids of {device[2]!r} are made from strings that were not stripped "
            f"({', '.join(map(repr, texts))}): no stub computes them. {', '.join(map(str, owners))} is matched by "
            + (f"{'type' if len(left) == 1 else 'types'} {', '.join(map(str, left))} only" if left else "none of them"),
            found[0].place,
            _places(found[1:]),
            fix="the ids that a stub computes instead: "
            + "; ".join(dict.fromkeys(text for one in whole for text in _right(one, machines))),
        )


def _right(identity: Identity, machines: list[tuple[str, Host]]) -> Iterator[str]:
    for label, host in machines:
        right = machine_chids(host).get(-1 if identity.type is None else identity.type)
        if label == identity.source and right is not None and identity.type in chid.PRIORITY:
            yield f"{right} (type {identity.type})"


def _looked_up_types(host: Host, have: set[UUID]) -> list[int]:
    own = machine_chids(host)
    return [kind for kind in chid.PRIORITY if own.get(kind) in have]


def _generic(subject: Subject) -> Iterator[Hit]:
    if not subject.rows:
        return
    texts = generic_ids(row.entry.name or "" for row in subject.rows)
    for device, rows in subject.devices().items():
        found = [row for row in rows if row.entry.chid in texts]
        if found:
            shown = ", ".join(dict.fromkeys(" & ".join(map(repr, texts[row.entry.chid])) for row in found))
            count = f"{_count(found, 'id', 'ids')} of {device[2]!r} {'is' if len(found) == 1 else 'are'}"
            yield Hit(f"{count} the hash of {shown}", found[0].place, _places(found[1:]))


def _family_only(subject: Subject) -> Iterator[Hit]:
    devices = subject.devices()
    for device, rows in devices.items():
        for row in rows:
            identities = [one for one in subject.known.get(row.entry.chid, []) if one.looked_up]
            if not identities or any(one.type != 11 for one in identities):
                continue
            maker, family = identities[0].texts
            others = dict.fromkeys(
                string
                for kind, name, string in devices
                if kind == device[0] and string != device[2] and name == f"{maker} {family}"
            )
            text = (
                f"an id of {device[2]!r} is Manufacturer + Family ({maker!r}, {family!r}): all machines of the family"
            )
            if others:
                text += f", and {', '.join(map(repr, others))} is for one of them"
            yield Hit(text, row.place, severity="warning" if others else None)


def _weak_match(subject: Subject) -> Iterator[Hit]:
    """A machine that has one vague id of a device, while all its exact ones are those of other machines."""
    if not subject.hosts:
        return
    first: dict[tuple[int, UUID], Row] = {}
    for row in subject.rows:
        first.setdefault((row.entry.type, row.entry.chid), row)
    devices = subject.devices()
    for label, host in subject.hosts:
        own = machine_chids(host)
        for kind in KINDS:
            best = next((n for n in _NEWEST.chid_priority if n in own and (kind, own[n] or _NULL) in first), None)
            if best not in AMBIGUOUS:
                continue
            row = first[kind, own[best] or _NULL]
            others = [other for other in devices[row.device] if other.entry.chid not in own.values()]
            if others and row.entry.chid != _NULL:
                yield Hit(
                    f"{label} gets {row.entry.string!r} by nothing but {_parts(host, best)}; the other "
                    f"{_count(others, 'id', 'ids')} of that device are not its own",
                    row.place,
                )


def _parts(host: Host, kind: int) -> str:
    row = chid.compute(host.fields, None)[kind]
    return f"{Identity(kind, chid.PARTS[kind], (), None).label} ({', '.join(repr(text) for _, text in row.parts)})"


# --- the sections of a UKI -------------------------------------------------------------------------------------------


def _bad_blobs(subject: Subject) -> Iterator[Hit]:
    if subject.part is None or subject.uki is None:
        return
    part = subject.part
    blobs = [(one.section, one.error) for one in part.firmwares] + [(one.section, one.error) for one in part.trees]
    for section, error in blobs:
        if error is not None:
            text = StubsimError(error.message, expected=error.expected, hint=error.hint)
            yield Hit(str(text), section_place(subject.uki, part, section, error.offset))


def _entry_without_section(subject: Subject) -> Iterator[Hit]:
    if subject.part is None:
        return
    there = {(kind, string) for kind, _, string in named_blobs(subject.part)}
    missing: dict[tuple[int, str], list[Row]] = {}
    for row in subject.rows:
        key = row.entry.type, row.entry.string
        if row.entry.type in KINDS and row.entry.string is not None and key not in there:
            missing.setdefault((row.entry.type, row.entry.string), []).append(row)
    for (kind, string), rows in missing.items():
        words = KINDS[kind]
        text = f"{_count(rows, 'entry', 'entries')} for {words.string} {string!r}, and no {words.section} in"
        text += f" {subject.part.title} has it"
        # Distributions put the ids of all machines they know of into every image.
        yield Hit(text, rows[0].place, _places(rows[1:]), "note" if kind == hwids.DEVICETREE else None)


def _section_without_entry(subject: Subject) -> Iterator[Hit]:
    if subject.part is None or subject.uki is None or subject.part.table is None:
        return
    named = {(row.entry.type, row.entry.string) for row in subject.rows}
    seen: set[tuple[int, str]] = set()
    for kind, section, string in named_blobs(subject.part):
        if (kind, string) not in named and (kind, string) not in seen:
            place = section_place(subject.uki, subject.part, section)
            yield Hit(
                f"{section.name} (section {section.index}): no entry names {KINDS[kind].string} {string!r}", place
            )
        seen.add((kind, string))


def _section_behind_another(subject: Subject) -> Iterator[Hit]:
    if subject.part is None or subject.uki is None:
        return
    seen: dict[tuple[int, str], int] = {}
    for kind, section, string in named_blobs(subject.part):
        first = seen.setdefault((kind, string), section.index)
        if first != section.index:
            text = (
                f"{section.name} (section {section.index}) has the {KINDS[kind].string} {string!r} of section {first}"
            )
            yield Hit(text, section_place(subject.uki, subject.part, section))


def _sections_without_table(subject: Subject) -> Iterator[Hit]:
    part, image = subject.part, subject.uki
    if part is None or image is None or part.table is not None:
        return
    for blobs, severity in ((part.firmwares, None), (part.trees, "note")):
        if blobs:
            text = f"no .hwids in {part.title}"
            if severity:
                text += ": used only where the firmware brings a devicetree of that compatible"
            places = tuple(section_place(image, part, blob.section) for blob in blobs)
            yield Hit(text, places[0], places[1:], severity)


def _ignored_table(subject: Subject) -> Iterator[Hit]:
    part, image = subject.part, subject.uki
    if part is None or image is None:
        return
    for table in part.tables:
        section = table.section
        text = None
        if subject.model is not None and hwids.SECTION not in subject.model.sections:
            text = f"stub {subject.model.id} does not know the section"
        elif section is not part.tables[0].section:
            text = f"section {part.tables[0].section.index} is the first of that name in {part.title}"
        elif not section.virtual_size:
            text = "VirtualSize 0 counts as missing"
        if text:
            yield Hit(f"ignored: {text}", section_place(image, part, section))


# --- what they have in common ----------------------------------------------------------------------------------------


def _entries(subject: Subject) -> tuple[hwids.Entry, ...]:
    return tuple(row.entry for row in subject.rows)


def refused_by(subject: Subject) -> list[str]:
    """The released stubs that refuse the whole table."""
    if subject.data is None:
        return []
    data, entries = memoryview(subject.data), _entries(subject)
    return [model.id for model in _READING if refusal(model, data, entries) is not None]


def _at(subject: Subject, offset: int) -> Place:
    """A byte of the table that is in no entry which counts."""
    if subject.uki is not None and subject.part is not None and subject.part.table is not None:
        return section_place(subject.uki, subject.part, subject.part.table.section, offset)
    return subject.place._replace(offset=offset, file_offset=offset)


def _is_never_looked_up(identities: list[Identity]) -> bool:
    """Known, and of no type that a stub looks for."""
    return bool(identities) and all(one.stripped and not one.looked_up for one in identities)


def _is_unstripped(identities: list[Identity]) -> bool:
    return bool(identities) and all(not one.stripped for one in identities)


def _best(identities: Iterable[Identity]) -> Identity:
    """What to call an id: as a stub computes it rather than not, on a machine rather than by a name."""
    return min(identities, key=lambda one: (not one.looked_up, not one.stripped, one.source is None))


def _ids(subject: Subject, rows: Iterable[Row]) -> str:
    """How many, and of which types where that is known."""
    rows = list(rows)
    known = [_best(subject.known[row.entry.chid]) for row in rows if row.entry.chid in subject.known]
    types = ", ".join(str(kind) for kind in sorted({one.type for one in known if one.type is not None}))
    return f"{_count(rows, 'id', 'ids')} (type {types or 'unknown'})"


def _count(rows: list[Row], one: str, many: str) -> str:
    return f"{len(rows)} {one if len(rows) == 1 else many}"


def _entry(row: Row) -> str:
    return "an id" if row.place.entry is None else f"entry {row.place.entry}"


def _places(rows: Iterable[Row]) -> tuple[Place, ...]:
    return tuple(row.place for row in rows)


RULES: tuple[Rule, ...] = (
    Rule(
        "HW001", "refused-description", "error", "a description that ukify refuses",
        "ukify stops at the first file it cannot use, and builds no section at all.",
        "correct the file, or keep it out of the folder.",
        _refused_descriptions,
    ),
    Rule(
        "HW002", "ignored-key", "note", "a key that ukify does not read",
        "ukify reads type, name, hwids, and compatible or fwid; everything else is lost without a word.",
        "remove the key, or correct its spelling.",
        _ignored_keys,
    ),
    Rule(
        "HW003", "repeated-key", "warning", "a key given twice",
        "JSON readers take the last of them, ukify included; the first is lost.",
        "keep one.",
        _repeated_keys,
    ),
    Rule(
        "HW004", "no-ids", "warning", "a device without ids",
        "No machine can match it; only its strings get into the section.",
        "add ids (stubsim hwids from-host), or remove the file.",
        _no_ids,
    ),
    Rule(
        "HW101", "refused-table", "error", "a table that current stubs refuse as a whole",
        "A device type other than 1 and 2, an offset outside the section or a string without NUL, be it in an "
        "entry for another machine, makes systemd-stub 262 select nothing by this table. Older stubs check no offsets "
        "and read what lies behind the section.",
        "build the section anew (stubsim hwids build).",
        _refused_table,
    ),
    Rule(
        "HW102", "older-stubs", "note", "entries that older stubs do not take",
        "systemd-stub 257 refuses a table with any descriptor but 0x1000001c, so that its devicetrees are lost too. "
        "258 to 261 look for devicetree entries only (fixed in 262 by systemd pull request 42570).",
        "use a stub of 262 or later for UKIs with firmware; build a section without firmware for 257.",
        _older_stubs,
    ),
    Rule(
        "HW103", "no-end", "warning", "a table that does not end",
        "A stub counts an entry only if at least one byte follows it, and takes what is behind the last one for "
        "an entry until it meets a descriptor of 0.",
        "end the table with an entry of zeros.",
        _no_end,
    ),
    Rule(
        "HW104", "behind-the-end", "warning", "entries behind the end of the table",
        "A descriptor of 0 ends the table, whatever follows it.",
        "remove the zero entry between them, or correct its descriptor.",
        _behind_end,
    ),
    Rule(
        "HW105", "no-string", "warning", "an entry without compatible or fwid",
        "The entry that matches first decides: one whose string has offset 0 ends the search, and nothing is selected.",
        "give the entry its string, or remove it.",
        _no_string,
    ),
    Rule(
        "HW106", "empty-table", "warning", "a table without entries",
        "Nothing is ever selected by it.",
        "build the section from a folder that has descriptions.",
        _empty_table,
    ),
    Rule(
        "HW201", "one-id-for-two", "warning", "the same id for two devices",
        "The entry that stands first wins, so no machine reaches the later one by this id. A machine of the second "
        "device that has no other id in the table, such as a new variant, silently gets the first one's.",
        "remove the id from both, and keep those that tell them apart: by product name, SKU, board or panel.",
        _one_id_for_two,
    ),
    Rule(
        "HW202", "repeated-id", "note", "an id that is there twice for the same device",
        "The second one is never reached; it does no harm.",
        "remove one.",
        _repeated,
    ),
    Rule(
        "HW203", "zero-id", "error", "an id of zeros",
        "The ids of the panel (types 15 to 17) are all zeros on a machine without a valid EDID, and they are looked "
        "for first: the entry is a wildcard before all others, observed with systemd-stub 262.",
        "remove the id.",
        _zero,
    ),
    Rule(
        "HW204", "never-looked-up", "note", "ids of types that no stub looks for",
        "A stub looks for types 17, 16, 15, 3, 6, 8, 10, 4, 5, 7, 9 and 11, in this order. Types 0 to 2 (with the "
        "firmware's version), 12 to 14 and fwupd's extra ids are never matched; they only make the section larger.",
        "remove the ids.",
        _never_looked_up,
    ),
    Rule(
        "HW205", "not-stripped", "warning", "ids made from strings that were not stripped",
        "A stub strips blanks and then zeros at the front of a string, and blanks at its end, before it hashes. Tools "
        "that do not, such as systemd-analyze chid, print ids that no stub ever computes.",
        "make the ids anew (stubsim hwids from-host).",
        _not_stripped,
    ),
    Rule(
        "HW206", "generic-strings", "warning", "ids made from strings that name nothing",
        "Such an id hits machines that have nothing to do with the device. '' is a string that is missing, or nothing "
        "but blanks and zeros: so is the SKU of 2,943 of the 5,282 machines by Acer in linuxhw/DMI.",
        "remove the ids.",
        _generic,
    ),
    Rule(
        "HW207", "vague-match", "warning", "a machine that matches by a vague id alone",
        "An id without the product's name may hit other products of the maker. This machine has none of the exact ids "
        "of the device, so it is probably another one, and boots with what was made for the device.",
        "remove the vague id, or add the machine's own ids if the device is right for it.",
        _weak_match,
    ),
    Rule(
        "HW208", "family-only", "note", "an id of Manufacturer + Family",
        "Type 11 hits every product of a family, of which there may be more than one board.",
        "remove the id, and keep those with the product's name.",
        _family_only,
    ),
    Rule(
        "HW301", "bad-blob", "error", "a firmware or devicetree that no stub accepts",
        "A stub skips a blob it cannot read and boots on; nobody sees it but in the stub's own messages.",
        "build the UKI anew with a ukify that is fixed, or correct the blob.",
        _bad_blobs,
    ),
    Rule(
        "HW302", "entry-without-section", "warning", "entries that lead nowhere",
        "The first entry that matches decides. Where no section has its string nothing is selected; there is no second "
        "try with another id.",
        "add the section, correct the string, or remove the entries.",
        _entry_without_section,
    ),
    Rule(
        "HW303", "section-without-entry", "warning", "a section that no entry leads to",
        "A firmware without entry is never selected; a devicetree only where the firmware brings one with the same "
        "first compatible.",
        "add a description for it, or correct the string.",
        _section_without_entry,
    ),
    Rule(
        "HW304", "section-behind-another", "warning", "a section behind another of the same string",
        "The first section with the string of the matched entry is taken, so this one never is.",
        "remove one of the two.",
        _section_behind_another,
    ),
    Rule(
        "HW305", "sections-without-table", "warning", "sections to choose from, and no table",
        "A profile's own firmwares and devicetrees are matched only by a .hwids in the same profile, those of the base "
        "by the base's.",
        "add a .hwids to the same part of the UKI.",
        _sections_without_table,
    ),
    Rule(
        "HW306", "ignored-table", "warning", "a .hwids that the stub does not read",
        "The first section of a name counts, an empty one hides the others, and systemd-stub before 257 knows none.",
        "keep one .hwids for each part of the UKI, and a stub of 257 or later.",
        _ignored_table,
    ),
)  # fmt: skip
