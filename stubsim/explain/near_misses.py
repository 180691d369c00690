"""GUIDs that a machine nearly has: its ids that no stub looks up, and those made in another way than a stub does.

A hash cannot be inverted, so of a GUID nothing can be said but which of these it equals. Each way here is one that
tables were seen to be made in, or that a table's author may try: other tools, strings not stripped (the shipped entry
of the Dell Latitude 7455), texts copied from dmidecode, another case, a field left empty.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product
from uuid import UUID

from stubsim import chid
from stubsim.formats import edid, efi_string
from stubsim.hosts import Host
from stubsim.rows import NamedTuple
from stubsim.stub.chid_match import unknown_fields
from stubsim.stub.models import StubModel, which
from stubsim.wording import plain

# What dmidecode prints for string number 0.
_NOT_SPECIFIED = "Not Specified"
# "Extra Hardware IDs" of `fwupdtool hwids` (fwupd 2.0 and later), which shipped tables have taken over.
_FWUPD_EXTRA = (
    ("manufacturer", "family", "product_name", "product_sku", "bios_vendor"),
    ("manufacturer", "family", "product_name", "bios_vendor"),
    ("manufacturer", "bios_vendor"),
)
_PROGRAMS = {"fwupd": "fwupd", "systemd-analyze": "systemd-analyze chid"}

Texts = Mapping[str, str]


class _Id(NamedTuple):
    """An id of the machine as a stub would make it; ``remark`` says that this stub does not look it up, or is ""."""

    name: str
    type: int | None
    texts: Texts
    chid: UUID
    remark: str


def near_misses(host: Host, model: StubModel) -> dict[UUID, str]:
    """How each GUID comes about, the simplest way for each; nothing that depends on a field that is not known."""
    own = [*_own(host, model)]
    found: dict[UUID, str] = {}
    for id_ in own:
        if id_.remark:
            found.setdefault(id_.chid, f"this machine's {id_.name}{id_.remark}")
    for id_ in own:
        # In .hwids the first three groups are little-endian, which is easily done twice or not at all.
        how = f"this machine's {id_.name}, {id_.chid}, with its first three groups byte-swapped"
        found.setdefault(UUID(bytes=id_.chid.bytes_le), how + id_.remark)
    for other, how in (*_other_tools(host, own), *_changed(host, own)):
        found.setdefault(other, how)
    for id_ in own:
        if not id_.remark:
            found.pop(id_.chid, None)
    return found


def _own(host: Host, model: StubModel) -> Iterator[_Id]:
    panel = None if host.edid is None else edid.panel_id(host.edid)
    rows = chid.compute(host.fields, panel)
    texts: dict[str, str | None] = {}
    for row in rows:
        unknown = unknown_fields(host, row.type)
        texts |= {field: None if field in unknown else text for field, text in row.parts}
        if row.chid is not None and not unknown:
            known = {field: text or "" for field, text in row.parts}
            yield _Id(f"CHID of type {row.type}", row.type, known, row.chid, _not_looked_up(row.type, model))
    for fields in _FWUPD_EXTRA:
        extra = {field: text for field in fields if (text := texts[field]) is not None}
        if len(extra) == len(fields):
            name = f"id of {', '.join(map(plain, fields))}"
            yield _Id(name, None, extra, chid.hash_texts(extra.values()), ", which fwupd has and no stub looks up")


def _not_looked_up(type_: int, model: StubModel) -> str:
    if type_ in model.chid_priority:
        return ""
    others = which(lambda each: type_ in each.chid_priority and each.matches_devicetree_entries)
    if others:
        return f", which stub {model.id} does not look up (those that do: {others})"
    return ", which no stub looks up"


def _other_tools(host: Host, own: list[_Id]) -> Iterator[tuple[UUID, str]]:
    """The same types as other programs compute them."""
    panel = None if host.edid is None else edid.panel_id(host.edid)
    by_type = {id_.type: id_ for id_ in own}
    for view, program in _PROGRAMS.items():
        for row in chid.compute(host.fields, panel, view):
            id_ = by_type.get(row.type)
            if row.chid is not None and id_ is not None:
                texts = {field: text or "" for field, text in row.parts}
                yield row.chid, _told(id_, f"as {program} computes it", texts)


def _changed(host: Host, own: list[_Id]) -> Iterator[tuple[UUID, str]]:
    """Every id again, of other texts."""
    for id_ in own:
        for way, texts in _ways(host, id_.texts):
            yield chid.hash_texts(texts.values()), _told(id_, way, texts)


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
                yield f"in {word}", {**texts, field: text}
    for field, text in texts.items():
        if text:
            yield "with a field empty", {**texts, field: ""}
        if len(texts) > 1:
            yield "with a field left out", {name: other for name, other in texts.items() if name != field}


def raw_text(host: Host, field: str) -> str | None:
    """A string as it stands in the table, before anything is stripped; None for what is missing or no string."""
    value = getattr(host.fields, field, None)
    return efi_string.decode_utf8(value) if isinstance(value, bytes) else None


def _some(texts: Texts, others: Texts) -> Iterator[Texts]:
    """Any of the other texts in place of ours, at least one: of 6 strings at most, so 63 ways."""
    choices = [(text,) if others[field] == text else (text, others[field]) for field, text in texts.items()]
    for chosen in product(*choices):
        changed = dict(zip(texts, chosen, strict=True))
        if changed != texts:
            yield changed


def _told(id_: _Id, way: str, texts: Texts) -> str:
    """Where the texts differ from those a stub hashes."""
    words = []
    for field, ours in id_.texts.items():
        if field not in texts:
            words.append(f"{plain(field)} {ours!r} is not in it")
        elif texts[field] != ours:
            words.append(f"{plain(field)} {texts[field]!r} where a stub hashes {ours!r}")
    return f"this machine's {id_.name} {way}: {', '.join(words)}{id_.remark}"
