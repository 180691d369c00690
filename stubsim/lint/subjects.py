"""What is looked at: a set of descriptions, a `.hwids` section in a file, or a part of a UKI with its own."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from uuid import UUID

from stubsim import stream, uki
from stubsim.errors import StubsimError, reason
from stubsim.explain import contents
from stubsim.explain.selection import KINDS
from stubsim.extent import Bytes
from stubsim.formats import hwids, hwids_json, pe
from stubsim.hosts import Host
from stubsim.lint.identities import Known, Machine, known_ids
from stubsim.lint.places import Place
from stubsim.rows import NamedTuple
from stubsim.stub.chid_match import machine_chids
from stubsim.stub.models import StubModel
from stubsim.stub.recognise import model_for

_SECTION_MAX = 64 << 20


class Row(NamedTuple):
    """One entry of a table and where it stands: in a table, or in the description it is made from."""

    entry: hwids.Entry
    place: Place

    @property
    def device(self) -> tuple[int, str | None, str | None]:
        return self.entry.type, self.entry.name, self.entry.string


class Subject(NamedTuple):
    """One table, which a stub would look through on its own, and what it came from.

    ``data`` is the section, None where there is none that could be read; ``descriptions`` are the files it would be
    built from and ``refused`` those that ukify would not take. ``model`` is None where no stub is beside it.
    """

    path: str
    place: Place
    data: Bytes | None
    rows: tuple[Row, ...]
    descriptions: tuple[hwids_json.Description, ...] = ()
    refused: tuple[StubsimError, ...] = ()
    part: contents.Part | None = None
    uki: uki.Uki | None = None
    model: StubModel | None = None
    machines: Sequence[Machine] = ()
    known: Known = {}  # noqa: RUF012  # an empty one is never filled

    @property
    def is_set(self) -> bool:
        """Whether the section is one that would be built, and so well formed."""
        return bool(self.descriptions or self.refused)

    def devices(self) -> dict[tuple[int, str | None, str | None], list[Row]]:
        """The rows of each device, in the order in which they are first met."""
        found: dict[tuple[int, str | None, str | None], list[Row]] = {}
        for row in self.rows:
            if row.entry.type in KINDS:
                found.setdefault(row.device, []).append(row)
        return found


def read(paths: Iterable[str], hosts: Sequence[tuple[str, Host]] = ()) -> tuple[Subject, ...]:
    """Every table there is in folders of descriptions, descriptions, sections and UKIs, told apart by content.

    Descriptions given one by one are one set, as in a folder. Raises StubsimError for a path that cannot be read, for
    a file that begins like a UKI and is none, and for a folder without descriptions.
    """
    found: list[Subject] = []
    single: list[str] = []
    for path in dict.fromkeys(paths):
        if os.path.isdir(path):
            files = hwids_json.files(path)
            images = sorted(map(str, Path(path).rglob("*.efi")))
            if not files and not images:
                expected = f"{hwids_json.PATTERN}, or UKIs (*.efi), in or below it"
                raise StubsimError("no hwids descriptions", path=path, expected=expected)
            if files:
                found.append(_set(path, files))
            for image in images:
                found += _parts(uki.load(image))
            continue
        kind = kind_of(path)
        if kind == "uki":
            found += _parts(uki.load(path))
        elif kind == "description":
            single.append(path)
        else:
            found.append(_section(path))
    if single:
        found.append(_set(os.path.dirname(single[0]) if len(single) > 1 else single[0], sorted(single, key=Path)))
    machines = [Machine(label, host, machine_chids(host)) for label, host in hosts]
    return tuple(_with_known(subject, machines) for subject in found)


def kind_of(path: str) -> str:
    """What a file is, by its first bytes: "uki", "description" or "section". StubsimError: it cannot be read."""
    start = _bytes(path, 512)
    if start[:2] == b"MZ":
        return "uki"
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip(b" \t\r\n")
    return "description" if path.endswith(".json") or text[:1] in (b"{", b"[") else "section"


def _bytes(path: str, size: int) -> bytes:
    """The first bytes of a regular file, or a stream. Raises StubsimError with the system's reason."""
    streamed = stream.content(path)
    if streamed is not None:
        return streamed[:size]
    try:
        if os.path.exists(path) and not os.path.isfile(path):
            raise StubsimError("not a regular file", path=path)
        with open(path, "rb") as file:
            return file.read(size)
    except (OSError, ValueError) as error:
        raise StubsimError(reason(error), path=path) from error


def _with_known(subject: Subject, machines: Sequence[Machine]) -> Subject:
    names = (row.entry.name or "" for row in subject.rows)
    return subject._replace(machines=machines, known=known_ids(names, machines))


def _set(path: str, files: Sequence[str]) -> Subject:
    descriptions, refused = [], []
    for file in files:
        try:
            descriptions.append(hwids_json.read(file))
        except StubsimError as error:
            refused.append(error)
    data = hwids_json.build(descriptions)
    places: dict[tuple[tuple[int, str, str], UUID], Place] = {}
    for description in descriptions:
        for hwid in description.hwids:
            places.setdefault((description.device, hwid.chid), place_of(description, hwid))
    rows = tuple(Row(entry, places[_device(entry), entry.chid]) for entry in hwids.walk(data))
    return Subject(path, Place(path), data, rows, tuple(descriptions), tuple(refused))


def _device(entry: hwids.Entry) -> tuple[int, str, str]:
    return entry.type, entry.name or "", entry.string or ""


def place_of(description: hwids_json.Description, hwid: hwids_json.Hwid) -> Place:
    return Place(description.path, line=hwid.line, json_path=f"$.hwids[{hwid.position}]")


# A table's numbers have bytes of 0.
_NO_TEXT = re.compile(rb"[\x00-\x08\x0e-\x1f\x7f]")


def _section(path: str) -> Subject:
    data = _bytes(path, _SECTION_MAX + 1)
    if len(data) > _SECTION_MAX:
        raise StubsimError("too large", path=path, expected=f"a .hwids section of at most {_SECTION_MAX >> 20} MiB")
    if data and (_NO_TEXT.search(data) is None or data.startswith((b"\xff\xfe", b"\xfe\xff"))):
        raise StubsimError(
            "text, not a .hwids section", path=path, expected="a UKI, a description in JSON or a .hwids section"
        )
    rows = tuple(
        Row(entry, Place(path, entry=entry.index, offset=entry.offset, file_offset=entry.offset))
        for entry in hwids.walk(data)
    )
    return Subject(path, Place(path), data, rows)


def _parts(image: uki.Uki) -> Iterator[Subject]:
    """The base and every profile that has a table, something to choose by one, or a kernel."""
    model, _ = model_for(image)
    budget = contents.Budget(image)
    for part in contents.read(image, budget):
        kernel = any(section.name == ".linux" for section in part.sections)
        if not (part.tables or part.firmwares or part.trees or kernel):
            continue
        place = Place(image.path, profile=part.profile)
        data: Bytes | None = None
        rows: tuple[Row, ...] = ()
        if part.table is not None:
            section = part.table.section
            place = section_place(image, part, section)
            try:
                data = budget.data(section)
            except StubsimError:
                data = None
            rows = tuple(
                Row(entry, section_place(image, part, section, entry.offset)._replace(entry=entry.index))
                for entry in part.table.entries
            )
        yield Subject(image.path, place, data, rows, part=part, uki=image, model=model)


def section_place(image: uki.Uki, part: contents.Part, section: pe.Section, offset: int | None = None) -> Place:
    """A section, or a byte in it."""
    inside = offset is None or offset < section.raw_size
    return Place(
        image.path,
        section=section.index,
        section_name=section.name,
        profile=part.profile,
        offset=offset,
        file_offset=section.raw_offset + (offset or 0) if inside and section.raw_size else None,
    )


def count(rows: list[Row], one: str, many: str) -> str:
    return f"{len(rows)} {one if len(rows) == 1 else many}"


def places(rows: Iterable[Row]) -> tuple[Place, ...]:
    return tuple(row.place for row in rows)
