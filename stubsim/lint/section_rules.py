"""Rules about the sections of a UKI that are chosen by `.hwids`."""

from __future__ import annotations

from collections.abc import Iterator

from stubsim.errors import StubsimError
from stubsim.explain.kernels import kernel_refused
from stubsim.explain.selection import KINDS
from stubsim.explain.warnings import named_blobs
from stubsim.formats import hwids
from stubsim.lint.findings import Hit
from stubsim.lint.subjects import Row, Subject, count, places, section_place


def bad_blobs(subject: Subject) -> Iterator[Hit]:
    if subject.part is None or subject.uki is None:
        return
    part = subject.part
    blobs = [(one.section, one.error) for one in part.firmwares] + [(one.section, one.error) for one in part.trees]
    for section, error in blobs:
        if error is not None:
            text = StubsimError(error.message, expected=error.expected, hint=error.hint)
            yield Hit(str(text), section_place(subject.uki, part, section, error.offset))


def entry_without_section(subject: Subject) -> Iterator[Hit]:
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
        text = f"{count(rows, 'entry', 'entries')} for {words.string} {string!r}, and no {words.section} in"
        text += f" {subject.part.title} has it"
        blobs = subject.part.trees if kind == hwids.DEVICETREE else subject.part.firmwares
        if any(blob.error for blob in blobs):
            text += ", unless it is one that no stub accepts"
        # Distributions put the ids of all machines they know of into every image.
        yield Hit(text, rows[0].place, places(rows[1:]), "note" if kind == hwids.DEVICETREE else None)


def section_without_entry(subject: Subject) -> Iterator[Hit]:
    if subject.part is None or subject.uki is None or subject.part.table is None:
        return
    named = {(row.entry.type, row.entry.string) for row in subject.rows}
    seen: set[tuple[int, str]] = set()
    for kind, section, string in named_blobs(subject.part):
        if (kind, string) not in named and (kind, string) not in seen:
            place = section_place(subject.uki, subject.part, section)
            yield Hit(f"no entry names its {KINDS[kind].string} {string!r}", place)
        seen.add((kind, string))


def section_behind_another(subject: Subject) -> Iterator[Hit]:
    if subject.part is None or subject.uki is None:
        return
    seen: dict[tuple[int, str], int] = {}
    for kind, section, string in named_blobs(subject.part):
        first = seen.setdefault((kind, string), section.index)
        if first != section.index:
            text = f"has the {KINDS[kind].string} {string!r} of section {first}"
            yield Hit(text, section_place(subject.uki, subject.part, section))


def sections_without_table(subject: Subject) -> Iterator[Hit]:
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


def ignored_table(subject: Subject) -> Iterator[Hit]:
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


def refused_kernel(subject: Subject) -> Iterator[Hit]:
    part, image = subject.part, subject.uki
    if part is None or image is None or subject.model is None:
        return
    section = next((section for section in part.sections if section.name == ".linux"), None)
    why = kernel_refused(image, subject.model, section)
    if why is not None and section is not None:
        yield Hit(f"{part.title} does not boot: {why}", section_place(image, part, section))
