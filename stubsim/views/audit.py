"""What `stubsim hwids audit` found, as JSON (`stubsim/hwids-audit/1`) and as text; the text is made from the JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from stubsim import chid
from stubsim.fleet.audit import Audit, Hit, Model
from stubsim.views.block import Block
from stubsim.views.fleet import entry_json, number
from stubsim.views.json import Json
from stubsim.views.terminal import Screen, render_blocks
from stubsim.wording import plain

if TYPE_CHECKING:
    from stubsim.lint.subjects import Row

# Models of one entry; the JSON has them all.
_MOST_MODELS = 8


def audit_json(path: str, source: str, found: Audit) -> Json:
    """The contract of `stubsim hwids audit --format json`."""
    return {
        "schema": "stubsim/hwids-audit/1",
        "path": path,
        "source": source,
        "machines": found.machines,
        "distinct": found.distinct,
        "types": list(found.types),
        "left_open": found.left_open,
        "several_models": [_hit(hit) for hit in found.hits if hit.too_wide],
        "one_model": [_hit(hit) for hit in found.hits if not hit.too_wide],
        "nobody": [_row(row) for row in found.silent],
    }


def _row(row: Row) -> Json:
    return {
        **entry_json(row.entry),
        "source": None if row.place.line is None else {"path": row.place.path, "line": row.place.line},
    }


def _hit(hit: Hit) -> Json:
    return {
        **_row(hit.row),
        "chid_type": hit.chid_type,
        "strings": dict(hit.texts),
        "machines": hit.machines,
        "models": [_model(model) | {"machines": machines} for model, machines in hit.models.items()],
        "narrower": list(hit.narrower),
        "kept": [_model(model) for model in hit.kept],
    }


def _model(model: Model) -> Json:
    return model._asdict()


def render_audit(report: Json, target: Screen | None = None) -> str:
    """The value of `audit_json` as text."""
    several = report["several_models"]
    text = "no entry is for machines of several models"
    if several:
        entries = "1 entry is" if len(several) == 1 else f"{number(len(several))} entries are"
        text = f"{entries} for machines of several models"
    return render_blocks(
        f"{report['path']} on {number(report['machines'])} machines: {text}", not several, _blocks(report), target
    )


def _blocks(report: Json) -> Iterator[Block]:
    for row in report["several_models"]:
        yield Block(_title(row), [*_models(row)], ("machines", "model"), (0,), tuple(_notes(row)))
    ones = [
        (number(row["machines"]), str(row["chid_type"]), row["string"] or "", _words(row["models"][0]))
        for row in report["one_model"]
    ]
    if ones:
        yield Block("For machines of one model", ones, ("machines", "type", "for", "model"), (0, 1))
    notes = [f"Entries that are for none of these machines: {number(len(report['nobody']))} (--format json has each)."]
    if report["left_open"]:
        notes.append(
            f"Of {number(report['left_open'])} machines not all CHIDs of types {', '.join(map(str, report['types']))} "
            "are known (null, no column, or no EDID for 15 to 17); what is not known is for nobody here."
        )
    yield Block("The others", [], notes=tuple(notes))


def _title(row: Json) -> str:
    where = f"{row['source']['path']}:{row['source']['line']}: " if row["source"] else f"entry {row['index']}: "
    strings = ", ".join(f"{plain(name)} {text!r}" for name, text in row["strings"].items())
    models, machines = number(len(row["models"])), number(row["machines"])
    by = f"by type {row['chid_type']} ({strings})"
    return f"{where}{row['string']} ({row['chid']}): {models} models, {machines} machines {by}"


def _models(row: Json) -> Iterator[tuple[str, ...]]:
    for model in row["models"][:_MOST_MODELS]:
        kept = ", which narrower entries of the device have as well" if _bare(model) in row["kept"] else ""
        yield number(model["machines"]), _words(model) + kept
    others = row["models"][_MOST_MODELS:]
    if others:
        yield number(sum(model["machines"] for model in others)), f"{number(len(others))} other models (--format json)"


def _bare(model: Json) -> Json:
    return {key: value for key, value in model.items() if key != "machines"}


def _words(model: Json) -> str:
    own = " ".join(model[key] or "-" for key in ("manufacturer", "product_name"))
    board = " ".join(model[key] or "-" for key in ("baseboard_manufacturer", "baseboard_product"))
    return f"{own}, family {model['family'] or '-'}, board {board}"


def _notes(row: Json) -> Iterator[str]:
    if row["narrower"]:
        types = "; ".join(f"{kind} ({' + '.join(map(plain, chid.PARTS[kind]))})" for kind in row["narrower"])
        yield f"An id of the machine that is meant is narrow enough by type {types}."
    else:
        yield "No CHID type with more strings tells all of these models apart."
