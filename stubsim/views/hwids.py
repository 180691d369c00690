"""The entries of `.hwids` tables, as JSON (`stubsim/hwids/1`) and as text; the text is made from the JSON."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any

from stubsim.errors import StubsimError
from stubsim.formats import hwids
from stubsim.lint.identities import WORDS, Identity
from stubsim.lint.subjects import Row, Subject
from stubsim.lint.table_rules import refused_by
from stubsim.printable import clean
from stubsim.stub.models import in_words, stubs
from stubsim.views.inspect import entry_json
from stubsim.views.terminal import Screen, rendered

if TYPE_CHECKING:
    from rich.console import Console

Json = dict[str, Any]


def hwids_json(path: str, subjects: tuple[Subject, ...]) -> Json:
    """The contract of `stubsim hwids show --format json`; StubsimError for a description that ukify would refuse."""
    for subject in subjects:
        if subject.refused:
            raise subject.refused[0]
    tables = [subject for subject in subjects if subject.data is not None]
    return {"schema": "stubsim/hwids/1", "path": path, "tables": [_table(subject) for subject in tables]}


def _table(subject: Subject) -> Json:
    error = None
    refused = in_words(refused_by(subject))
    try:
        hwids.parse(subject.data or b"")
    except StubsimError as found:
        error = str(StubsimError(found.message, offset=found.offset, expected=found.expected))
    return {
        "section": subject.place.section,
        "profile": subject.place.profile,
        "error": error,
        "refused_by": refused.split(", ") if refused else [],
        "entries": [_entry(subject, row) for row in subject.rows],
    }


def _entry(subject: Subject, row: Row) -> Json:
    known = subject.known.get(row.entry.chid, ())
    return {
        **entry_json(row.entry),
        "source": None if row.place.line is None else {"path": row.place.path, "line": row.place.line},
        "known": [_identity(one) for one in known],
    }


def _identity(one: Identity) -> Json:
    return {
        "host": one.source,
        "type": one.type,
        "looked_up": one.looked_up,
        "stripped": one.stripped,
        "parts": [{"field": field, "value": text} for field, text in zip(one.fields, one.texts, strict=True)],
    }


def render_hwids(report: Json, target: Screen | None = None) -> str:
    """The value of `hwids_json` as text."""
    return rendered(lambda console: _draw(console, report), target)


def _draw(console: Console, report: Json) -> None:
    from rich.text import Text

    def line(text: str, style: str = "", indent: int = 0) -> None:
        from rich.padding import Padding

        console.print(Padding(Text(text, style, overflow="fold"), (0, 0, 0, indent), expand=False))

    line(clean(report["path"]), "bold")
    if not report["tables"]:
        line("no .hwids", indent=2)
    for table in report["tables"]:
        devices = [
            (device, list(rows)) for device, rows in groupby(table["entries"], lambda row: (row["type"], *_texts(row)))
        ]
        count, different = len(table["entries"]), len({device for device, _ in devices})
        words = ("entry" if count == 1 else "entries", "device" if different == 1 else "devices")
        line(f"{_where(table)}{count} {words[0]}, {different} {words[1]}")
        if table["error"]:
            line(f"! {clean(table['error'])}", "red", 2)
        if table["refused_by"]:
            line(f"! refused as a whole by {stubs(', '.join(table['refused_by']))}", "red", 2)
        for (kind, string, name), rows in devices:
            console.print()
            line(f"{kind} {clean(string or 'none')}, {clean(name or 'no name')}", "bold", 2)
            for row in rows:
                known = "; ".join(dict.fromkeys(_known(one) for one in row["known"]))
                line(f"{row['index']:>5} {row['chid']}" + (f"  {clean(known)}" if known else ""), indent=2)


def _where(table: Json) -> str:
    if table["section"] is None:
        return ""
    profile = "" if table["profile"] is None else f" of profile {table['profile']}"
    return f".hwids (section {table['section']}{profile}): "


def _texts(row: Json) -> tuple[str | None, str | None]:
    return row.get("compatible", row.get("fwid")), row["name"]


def _known(one: Json) -> str:
    words = " + ".join(WORDS[part["field"]] for part in one["parts"])
    text = f"type {one['type']}" if one["type"] is not None else words
    if not one["stripped"]:
        text += " of strings not stripped, which no stub computes"
    elif not one["looked_up"]:
        text += ", which no stub looks for"
    return text + (f" ({one['host']})" if one["host"] else " (by its name)")
