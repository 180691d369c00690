"""GUIDs that a machine nearly has: its CHIDs of types no stub looks up, and those made in another way than a stub does.

A hash cannot be inverted, so of a GUID nothing can be said but which of these it equals. Each way here is one that
tables were seen to be made in, or that a table's author may try: other tools, strings not stripped (the shipped entry
of the Dell Latitude 7455), texts copied from dmidecode, another case, a field left empty.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product
from typing import NamedTuple
from uuid import UUID

from stubsim import chid
from stubsim.formats import edid, efi_string
from stubsim.hosts import Host
from stubsim.stub.chid_match import unknown_fields
from stubsim.stub.models import MODELS, StubModel

# What dmidecode prints for string number 0.
_NOT_SPECIFIED = "Not Specified"

Texts = dict[str, str]


class NearMiss(NamedTuple):
    """A GUID, the CHID type it would be, and in words how it comes about."""

    chid: UUID
    type: int
    how: str


def near_misses(host: Host, model: StubModel) -> dict[UUID, NearMiss]:
    """By GUID, the simplest way for each; nothing of a type with an unknown field, and no GUID that is looked up."""
    panel = None if host.edid is None else edid.panel_id(host.edid)
    own = [row for row in chid.compute(host.fields, panel) if not unknown_fields(host, row.type)]
    found: dict[UUID, NearMiss] = {}
    for way in (_not_looked_up, _swapped, _other_tools, _changed):
        for miss in way(host, model, own):
            found.setdefault(miss.chid, miss)
    for row in own:
        if row.type in model.chid_priority and row.chid is not None:
            found.pop(row.chid, None)
    return found


def _not_looked_up(host: Host, model: StubModel, own: list[chid.Chid]) -> Iterator[NearMiss]:
    for row in own:
        if row.chid is not None and row.type not in model.chid_priority:
            yield NearMiss(row.chid, row.type, f"this machine's CHID of type {row.type}{_looked_up_by(row, model)}")


def _looked_up_by(row: chid.Chid, model: StubModel) -> str:
    """Which stubs look the type up; nothing to add where this one does."""
    if row.type in model.chid_priority:
        return ""
    if row.type not in chid.PRIORITY:
        return ", which no stub looks up"
    others = [other.id for other in MODELS.values() if row.type in other.chid_priority and other.basis != "proposal"]
    return f", which stub {model.id} does not look up (those that do: {', '.join(others)})"


def _swapped(host: Host, model: StubModel, own: list[chid.Chid]) -> Iterator[NearMiss]:
    """In .hwids the first three groups are little-endian, which is easily done twice or not at all."""
    for row in own:
        if row.chid is not None:
            how = f"this machine's CHID of type {row.type}, {row.chid}, with its first three groups byte-swapped"
            yield NearMiss(UUID(bytes=row.chid.bytes_le), row.type, how + _looked_up_by(row, model))


def _other_tools(host: Host, model: StubModel, own: list[chid.Chid]) -> Iterator[NearMiss]:
    panel = None if host.edid is None else edid.panel_id(host.edid)
    ours = {row.type: row for row in own}
    for view in chid.VIEWS:
        for row in chid.compute(host.fields, panel, view):
            if row.chid is not None and row.type in ours and row.chid != ours[row.type].chid:
                differences = _differences(dict(row.parts), ours[row.type])
                how = f"CHID type {row.type} as {_PROGRAMS[view]} computes it: {differences}"
                yield NearMiss(row.chid, row.type, how + _looked_up_by(row, model))


_PROGRAMS = {"stub": "the stub", "fwupd": "fwupd", "systemd-analyze": "systemd-analyze chid"}


def _changed(host: Host, model: StubModel, own: list[chid.Chid]) -> Iterator[NearMiss]:
    """Every CHID again, of other texts."""
    for row in own:
        if row.chid is None:
            continue
        texts = {field: text or "" for field, text in row.parts}
        for why, changed in _ways(host, texts):
            how = f"CHID type {row.type} {why}: {_differences(changed, row)}"
            yield NearMiss(chid.hash_texts(changed.values()), row.type, how + _looked_up_by(row, model))


def _ways(host: Host, texts: Texts) -> Iterator[tuple[str, Texts]]:
    """What is done to the texts, and the texts then."""
    raw = {field: raw_text(host, field) or text for field, text in texts.items()}
    yield from (("of strings that were not stripped", changed) for changed in _some(texts, raw))
    unnamed = {field: _NOT_SPECIFIED if text == "" else text for field, text in texts.items()}
    yield from (("with dmidecode's words for a missing string", changed) for changed in _some(texts, unnamed))
    for convert, word in ((str.lower, "lower case"), (str.upper, "upper case")):
        converted = {field: convert(text) for field, text in texts.items()}
        if converted != texts:
            yield f"in {word}", converted
        for field, text in converted.items():
            if text != texts[field]:
                yield f"in {word}", texts | {field: text}
    for field, text in texts.items():
        if text:
            yield "with a field empty", texts | {field: ""}
        yield "with a field left out", {name: other for name, other in texts.items() if name != field}


def raw_text(host: Host, field: str) -> str | None:
    """A string as it stands in the table, before anything is stripped; None for what is missing or no string."""
    value = getattr(host.fields, field, None)
    return efi_string.decode_utf8(value) if isinstance(value, bytes) else None


def _some(texts: Texts, others: Texts) -> Iterator[Texts]:
    """Any of the other texts in place of ours, at least one: 6 strings at most, so 63 ways."""
    choices = [(text,) if others[field] == text else (text, others[field]) for field, text in texts.items()]
    for chosen in product(*choices):
        changed = dict(zip(texts, chosen, strict=True))
        if changed != texts:
            yield changed


def _differences(texts: Mapping[str, str | None], row: chid.Chid) -> str:
    """Where texts differ from those a stub hashes."""
    words = []
    for field, ours in row.parts:
        name = field.replace("_", " ")
        if field not in texts:
            words.append(f"{name} {ours!r} is not in it")
        elif texts[field] != ours:
            words.append(f"{name} {texts[field]!r} where a stub hashes {ours!r}")
    return ", ".join(words)
