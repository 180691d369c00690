"""A machine's CHIDs, as JSON (`stubsim/chids/1`) and as text; the text is made from the JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stubsim import chid
from stubsim.formats import edid
from stubsim.hosts import Host
from stubsim.printable import clean
from stubsim.stub.chid_match import is_unknown, unknown_fields
from stubsim.stub.models import which
from stubsim.views.terminal import Screen, rendered
from stubsim.wording import plain

if TYPE_CHECKING:
    from rich.console import Console

Json = dict[str, Any]
_NOT_KNOWN = "the host file says that it is not known"


def chids_json(host: Host, view: str = "stub") -> Json:
    """The contract of `stubsim chids --format json`; StubsimError for a view that is none of chid.VIEWS."""
    panel = None if host.edid is None else edid.panel_id(host.edid)
    return {
        "schema": "stubsim/chids/1",
        "host": host.name,
        "view": view,
        "chids": [_row(host, row) for row in chid.compute(host.fields, panel, view)],
    }


def _row(host: Host, row: chid.Chid) -> Json:
    unknown = unknown_fields(host, row.type)
    absent = None
    if unknown:
        absent = f"{_NOT_KNOWN}: {', '.join(unknown)}"
    elif row.chid is None:
        why = [f"{field} {_why_missing(host, field)}" for field, text in row.parts if text is None]
        absent = ", ".join(why) or "its text is empty"
    return {
        "type": row.type,
        "chid": None if absent is not None else str(row.chid),
        "absent": absent,
        "parts": [{"field": field, "value": None if is_unknown(host, field) else text} for field, text in row.parts],
        "matched_by_stub": row.type in chid.PRIORITY,
        "priority": chid.PRIORITY.index(row.type) + 1 if row.type in chid.PRIORITY else None,
    }


def _why_missing(host: Host, field: str) -> str:
    if field == "edid_panel":
        return "missing (no EDID)" if host.edid is None else "missing (the EDID is too short or has a bad header)"
    value = getattr(host.fields, field)
    if value is None:
        return "missing"
    return "not UTF-8" if value else "empty"


def render_chids(report: Json, target: Screen | None = None) -> str:
    """The value of `chids_json` as text."""
    return rendered(lambda console: _draw(console, report), target)


def _draw(console: Console, report: Json) -> None:
    from rich.padding import Padding
    from rich.text import Text

    name = "the host" if report["host"] is None else clean(report["host"])
    view = "a stub" if report["view"] == "stub" else report["view"]
    console.print(f"CHIDs of {name}, as {view} computes them", style="bold", overflow="fold")
    for row in report["chids"]:
        console.print()
        head = Text(f"{row['type']:>2}  ", "bold")
        unknown = _not_known(row)
        head.append(row["chid"] or ("not known" if unknown else "absent"), "" if row["chid"] else "dim")
        if row["chid"] and row["priority"] is not None:
            head.append(f"  looked up, priority {row['priority']}", "green")
        console.print(head)
        if row["absent"] is not None and not unknown:
            console.print(Padding(Text(clean(_absent(row)), "dim", overflow="fold"), (0, 0, 0, 4)))
        parts = ", ".join(_part(part, unknown) for part in row["parts"])
        console.print(Padding(Text(parts, overflow="fold"), (0, 0, 0, 4)))
    console.print()
    order = ", ".join(str(kind) for kind in chid.PRIORITY)
    older = which(lambda model: model.matches_devicetree_entries and max(model.chid_priority) == 11)
    note = f"A stub looks in .hwids for its own view of types {order}, in this order; stub {older} knows none above 11."
    console.print(Text(note))


def _not_known(row: Json) -> list[str]:
    """The fields that are not known; they are null in the JSON, as missing ones are."""
    start, _, names = (row["absent"] or "").partition(": ")
    return names.split(", ") if start == _NOT_KNOWN else []


def _absent(row: Json) -> str:
    """Why there is no id, with the fields as people call them."""
    text = str(row["absent"])
    for part in row["parts"]:
        text = text.replace(part["field"], plain(part["field"]))
    return text


def _part(part: Json, unknown: list[str]) -> str:
    gap = "not known" if part["field"] in unknown else "missing"
    return f"{plain(part['field'])} " + (f"({gap})" if part["value"] is None else f'"{clean(part["value"])}"')
