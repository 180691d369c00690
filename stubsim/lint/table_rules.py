"""Rules about descriptions as files, and about a table as a stub reads it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from stubsim.errors import StubsimError
from stubsim.explain.selection import KINDS
from stubsim.formats import hwids
from stubsim.lint.findings import Hit
from stubsim.lint.places import Place
from stubsim.lint.subjects import Subject, count, places, section_place
from stubsim.stub.chid_match import refusal
from stubsim.stub.models import NEWEST, StubModel, in_words, released, stubs

# How the complaints about a place in a description begin.
_LINE = re.compile("line ([0-9]+)[,:]")


def refused_descriptions(subject: Subject) -> Iterator[Hit]:
    for error in subject.refused:
        text = str(StubsimError(error.message, expected=error.expected))
        line = _LINE.match(error.message)
        yield Hit(text, Place(error.path or subject.path, line=int(line[1]) if line else None))


def ignored_keys(subject: Subject) -> Iterator[Hit]:
    for one in subject.descriptions:
        if one.ignored:
            yield Hit(f"ukify does not read {', '.join(map(repr, one.ignored))}", Place(one.path))


def repeated_keys(subject: Subject) -> Iterator[Hit]:
    for one in subject.descriptions:
        if one.repeated:
            yield Hit(f"{', '.join(map(repr, one.repeated))} given twice: ukify takes the last", Place(one.path))


def no_ids(subject: Subject) -> Iterator[Hit]:
    for one in subject.descriptions:
        if not one.hwids:
            yield Hit(f"{one.string!r} has no hwids", Place(one.path, json_path="$.hwids"))


def refused_table(subject: Subject) -> Iterator[Hit]:
    """By the newest stub; what only older ones refuse is another rule's."""
    if subject.data is None or refusal(NEWEST, subject.data) is None:
        return
    try:
        hwids.parse(subject.data)
    except StubsimError as error:
        row = subject.rows[(error.offset or 0) // hwids.ENTRY_SIZE]
        models = in_words(refused_by(subject))
        yield Hit(f"{error.message} (expected {error.expected}): refused by {stubs(models)}", row.place)


def older_stubs(subject: Subject) -> Iterator[Hit]:
    """By the stub in the UKI, or else by any; where the newest refuses the table that is said already."""
    firmware = [row for row in subject.rows if row.entry.type == hwids.UEFI_FW]
    inexact = [row for row in subject.rows if row.entry.type in KINDS and row.entry.size != hwids.ENTRY_SIZE]
    models = _reading() if subject.model is None else [one for one in _reading() if one.id == subject.model.id]
    refused = refused_by(subject)
    refusing = [model.id for model in models if model.id in refused]
    deaf = [model.id for model in models if not model.matches_firmware_entries and model.id not in refusing]
    rows = firmware or inexact
    if NEWEST.id in refused or not rows:
        return
    said = [f"the whole table is refused by {stubs(in_words(refusing))}, devicetrees included"] * bool(refusing)
    said += [f"they are never matched by {stubs(in_words(deaf))}"] * bool(firmware and deaf)
    if said:
        what = "for firmware" if firmware else f"with another size than {hwids.ENTRY_SIZE} in the descriptor"
        severity = None if subject.model is None else "error" if refusing else "warning"
        text = f"{count(rows, 'entry', 'entries')} {what}: {'; '.join(said)}"
        yield Hit(text, rows[0].place, places(rows[1:]), severity)


def no_end(subject: Subject) -> Iterator[Hit]:
    if not subject.data or subject.is_set:
        return
    number = len(subject.rows)
    at = number * hwids.ENTRY_SIZE
    if bytes(subject.data[at : at + 4]) == bytes(4):
        return
    if len(subject.data) - at == hwids.ENTRY_SIZE:
        text = f"entry {number} ends with the section, so a stub does not count it"
        yield Hit(text, _at(subject, at), severity="error")
    elif number:
        yield Hit("no zero entry ends the table", _at(subject, at))


def behind_end(subject: Subject) -> Iterator[Hit]:
    """Something that is surely an entry, at or behind the place where the stub stops."""
    if subject.data is None or subject.is_set:
        return
    end = len(subject.rows) * hwids.ENTRY_SIZE
    offsets = [offset for row in subject.rows for offset in (row.entry.name_offset, row.entry.string_offset) if offset]
    first = min(offsets, default=len(subject.data))
    if bytes(subject.data[end : end + 4]) != bytes(4):
        return
    if any(bytes(subject.data[end + 4 : end + 20])) and first >= end + hwids.ENTRY_SIZE:
        yield Hit(f"entry {len(subject.rows)} has descriptor 0, which ends the table, and a CHID", _at(subject, end))
    start = at = end + hwids.ENTRY_SIZE
    while at + hwids.ENTRY_SIZE <= min(first, len(subject.data)) and _is_entry(bytes(subject.data[at : at + 4])):
        at += hwids.ENTRY_SIZE
    if at > start:
        lost = (at - start) // hwids.ENTRY_SIZE
        text = f"{lost} {'entry' if lost == 1 else 'entries'} behind the zero entry that ends the table"
        yield Hit(text, _at(subject, start))


def _is_entry(descriptor: bytes) -> bool:
    return int.from_bytes(descriptor, "little") in {kind << 28 | hwids.ENTRY_SIZE for kind in KINDS}


def no_string(subject: Subject) -> Iterator[Hit]:
    for row in subject.rows:
        if row.entry.type in KINDS and row.entry.string_offset == 0:
            word = KINDS[row.entry.type].string
            yield Hit(
                f"entry {row.entry.index} has no {word}: a machine that matches it gets nothing, and no other entry is "
                "tried",
                row.place,
            )


def empty_table(subject: Subject) -> Iterator[Hit]:
    if subject.data is not None and not subject.rows and not subject.is_set:
        yield Hit("the table has no entries", subject.place)


def refused_by(subject: Subject) -> list[str]:
    """The released stubs that refuse the whole table, by id."""
    if subject.data is None:
        return []
    data = subject.data
    # Many releases read a table alike.
    refused: dict[tuple[bool, bool], bool] = {}
    ids = []
    for model in _reading():
        reading = model.refuses_inexact_descriptors, model.checks_hwids_offsets
        if reading not in refused:
            refused[reading] = refusal(model, data) is not None
        if refused[reading]:
            ids.append(model.id)
    return ids


def _reading() -> list[StubModel]:
    """The released stubs that know the section."""
    return [model for model in released() if hwids.SECTION in model.sections]


def _entries(subject: Subject) -> tuple[hwids.Entry, ...]:
    return tuple(row.entry for row in subject.rows)


def _at(subject: Subject, offset: int) -> Place:
    """A byte of the table that is in no entry which counts."""
    if subject.uki is not None and subject.part is not None and subject.part.table is not None:
        return section_place(subject.uki, subject.part, subject.part.table.section, offset)
    return subject.place._replace(offset=offset, file_offset=offset)
