"""What is in a UKI, as JSON (`stubsim/inspect/1`) and as text; the text is made from the JSON."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from stubsim.errors import StubsimError
from stubsim.explain.contents import Budget, Firmware, Image, Part, Table, Tree, read
from stubsim.explain.payload import Content
from stubsim.explain.selection import KINDS
from stubsim.explain.warnings import Subject, warnings
from stubsim.extent import Extent
from stubsim.formats import hwids, pe
from stubsim.printable import clean
from stubsim.stub.models import in_words
from stubsim.stub.recognise import model_for
from stubsim.uki import Uki
from stubsim.views import payload
from stubsim.views.json import stub_json
from stubsim.views.terminal import Screen, rendered

if TYPE_CHECKING:
    from rich.console import Console

Json = dict[str, Any]
Row = TypeVar("Row")

# Sets for hundreds of machines are shown whole; only a hostile table has more.
_MOST_ENTRIES = 4096
_MOST_ROWS = 64
# What people want to read of a UKI, and how much of it.
_TEXTS = (".osrel", ".cmdline", ".uname", ".sbat", ".profile")
_LONGEST, _MOST_LINES = 1 << 16, 16
# More sections, profiles or devicetrees than a UKI for all machines of a distribution has.
_MOST_SECTIONS = 256


def inspect_json(uki: Uki) -> Json:
    """The contract of `stubsim inspect --format json`; see the schema of the same name."""
    model, reason = model_for(uki)
    parts = read(uki, Budget(uki))
    digest, unhashed = _authenticode(uki)
    found = warnings(Subject(uki, model, reason, parts))
    hashes = Budget(uki)
    return {
        "schema": "stubsim/inspect/1",
        "uki": {
            "path": uki.path,
            "size": uki.size,
            "sha256": _sha256(uki.image.data),
            "authenticode": digest,
            "machine": uki.machine,
            "stub": stub_json(uki),
        },
        "model": {
            "id": model.id,
            "reason": reason,
            "verified": list(model.verified(uki.machine)),
        },
        "sections": [_section(uki, section, part, hashes) for part in parts for section in part.sections],
        "profiles": [
            {"index": p.index, "id": p.id, "title": p.title, "sections": [s.index for s in p.sections]}
            for p in uki.profiles
        ],
        "hwids": [_table(table, part) for part in parts for table in part.tables],
        "efifw": [_firmware(firmware, part, hashes) for part in parts for firmware in part.firmwares],
        "fmwimg": [_image(image, part, hashes) for part in parts for image in part.images],
        "dtbauto": [_tree(tree, part) for part in parts for tree in part.trees],
        "warnings": [*found, *unhashed],
    }


def _sha256(data: Extent) -> str:
    from hashlib import sha256

    state = sha256()
    for block in data.blocks():
        state.update(block)
    return state.hexdigest()


def _authenticode(uki: Uki) -> tuple[str | None, list[str]]:
    """The digest, or None and why."""
    try:
        return uki.authenticode("sha256").hex(), []
    except StubsimError as error:
        return None, [f"no Authenticode digest: {error.message}"]


def _section(uki: Uki, section: pe.Section, part: Part, hashes: Budget) -> Json:
    try:
        digest = _sha256(uki.data(section)) if hashes.spend(section.virtual_size) else None
    except StubsimError:
        digest = None
    return {
        "index": section.index,
        "name": section.name,
        "virtual_address": section.virtual_address,
        "virtual_size": section.virtual_size,
        "raw_offset": section.raw_offset,
        "raw_size": section.raw_size,
        "sha256": digest,
        "text": _text(uki, section, hashes),
        "profile": part.profile,
    }


def _text(uki: Uki, section: pe.Section, budget: Budget) -> str | None:
    """What a section of text says; None for others, and for one that is too long to be read."""
    if section.name not in _TEXTS or section.virtual_size > _LONGEST or not budget.spend(section.virtual_size):
        return None
    try:
        return uki.text(section).partition(b"\0")[0].decode("utf-8", "replace")
    except StubsimError:
        return None


def _table(table: Table, part: Part) -> Json:
    return {
        "section": table.section.index,
        "profile": part.profile,
        "entries": [entry_json(entry) for entry in table.entries],
        "error": _message(table.error),
        "refused_by": in_words(table.refused).split(", ") if table.refused else [],
    }


def entry_json(entry: hwids.Entry) -> Json:
    row: Json = {"index": entry.index, "type": str(entry.type), "chid": str(entry.chid), "name": entry.name}
    if entry.type in KINDS:
        kind = KINDS[entry.type]
        row["type"] = kind.word
        row[kind.string] = entry.string
    return row


def _firmware(firmware: Firmware, part: Part, hashes: Budget) -> Json:
    blob = firmware.blob
    return {
        "section": firmware.section.index,
        "profile": part.profile,
        "fwid": firmware.fwid,
        "header_size": blob and blob.header_size,
        "payload": _payload(firmware.payload, firmware.content, hashes),
        "target_chid": None if blob is None or blob.target_chid is None else str(blob.target_chid),
        "error": _message(firmware.error),
    }


def _image(image: Image, part: Part, hashes: Budget) -> Json:
    return {
        "section": image.section.index,
        "profile": part.profile,
        "payload": _payload(image.payload, image.content, hashes),
        "error": _message(image.error),
    }


def _payload(data: Extent | None, content: Content | None, hashes: Budget) -> Json | None:
    if data is None:
        return None
    kind = None if content is None else content.kind
    return {
        "size": len(data),
        "sha256": _sha256(data) if hashes.spend(len(data)) else None,
        "kind": "unknown" if kind is None else kind.name,
        "description": "not decoded, there are too many" if kind is None else kind.description,
        "details": content and content.details,
    }


def _tree(tree: Tree, part: Part) -> Json:
    return {
        "section": tree.section.index,
        "profile": part.profile,
        "compatible": list(tree.compatible),
        "error": _message(tree.error),
    }


def _message(error: StubsimError | None) -> str | None:
    """Without the section, which stands beside it."""
    if error is None:
        return None
    return str(StubsimError(error.message, offset=error.offset, expected=error.expected, hint=error.hint))


def render_inspect(report: Json, target: Screen | None = None) -> str:
    """The value of `inspect_json` as text."""
    return rendered(lambda console: _draw(console, report), target)


def _draw(console: Console, report: Json) -> None:
    _draw_file(console, report)
    _draw_sections(console, report["sections"])
    if report["profiles"]:
        _heading(console, "profiles")
        for row in _first(console, report["profiles"]):
            text = ", ".join(clean(text) for text in (row["id"], row["title"]) if text is not None)
            sections = "section" if len(row["sections"]) == 1 else "sections"
            numbers = ", ".join(str(index) for index in row["sections"])
            _line(console, f"{row['index']:>3}", f"{text or 'without id or title'}: {sections} {numbers}")
    _draw_contents(console, report["sections"])
    for table in _first(console, report["hwids"]):
        _draw_table(console, table)
    for row in _first(console, report["efifw"]):
        _draw_firmware(console, row)
    for row in _first(console, report["fmwimg"]):
        _heading(console, f".fmwimg, {_place(row)}, firmware without header (a prototype of 2024)")
        _draw_payload(console, row["payload"])
        _error(console, row["error"])
    for row in _first(console, report["dtbauto"]):
        _heading(console, f".dtbauto, {_place(row)}")
        for text in _first(console, row["compatible"]):
            _line(console, "", clean(text))
        _error(console, row["error"])
    if report["warnings"]:
        _heading(console, "warnings")
        for text in _first(console, report["warnings"]):
            _line(console, "  -", clean(text), "yellow")


def _draw_file(console: Console, report: Json) -> None:
    uki, model = report["uki"], report["model"]
    stub = uki["stub"]
    console.print(clean(uki["path"]), style="bold", overflow="fold")
    for key, value in (
        ("size", f"{uki['size']} bytes"),
        ("machine", uki["machine"]),
        ("sha256", uki["sha256"]),
        ("authenticode", uki["authenticode"] or "none, see the warnings"),
        ("stub", f"{stub['name']} {stub['version']}" if stub else "not recognised"),
        ("model", f"{model['id']} ({model['reason']})"),
        ("verified", ", ".join(model["verified"]) or "nothing: no recording of this stub on this architecture"),
    ):
        _pair(console, key, clean(value))


def _draw_sections(console: Console, sections: list[Json]) -> None:
    _heading(console, "sections, in file order")
    rows = (
        (
            f"{row['index']:>3}",
            row["name"],
            f"{row['virtual_address']:#x}",
            str(row["virtual_size"]),
            f"{row['raw_offset']:#x}",
            str(row["raw_size"]),
            "" if row["profile"] is None else str(row["profile"]),
        )
        for row in sections[:_MOST_SECTIONS]
    )
    _draw_grid(console, ("  #", "name", "address", "size", "offset", "in file", "profile"), rows)
    _rest(console, len(sections) - _MOST_SECTIONS)


def _first(console: Console, rows: Sequence[Row]) -> Iterator[Row]:
    """As many as anybody reads, each takes milliseconds; then how many there are beyond."""
    yield from rows[:_MOST_SECTIONS]
    _rest(console, len(rows) - _MOST_SECTIONS)


def _rest(console: Console, count: int) -> None:
    if count > 0:
        _line(console, " ", f"and {count} more, all of them with --format json")


def _draw_grid(console: Console, columns: Sequence[str], rows: Iterable[Sequence[str]], indent: str = "") -> None:
    """Numbers to the right; what stands under "name" or "what" is text."""
    from rich.padding import Padding
    from rich.table import Table as Grid

    grid = Grid(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for title in columns:
        left = title in ("name", "what")
        grid.add_column(title, justify="left" if left else "right", overflow="fold", header_style="dim")
    for row in rows:
        grid.add_row(*map(clean, row))
    console.print(Padding(grid, (0, 0, 0, len(indent)), expand=False) if indent else grid)


def _draw_contents(console: Console, sections: list[Json]) -> None:
    """Digests, and what stands in the sections of text, those of the base first."""
    _heading(console, "SHA-256 of the sections, as the stub sees them")
    for row in _first(console, sections):
        digest = row["sha256"] or "not computed"
        console.print(f"{row['index']:>3} {clean(row['name']):<9} {digest}", soft_wrap=True)
    texts = [row for row in sections if row["text"] is not None]
    if texts:
        _heading(console, "contents")
    for row in _first(console, texts):
        lines = row["text"].rstrip("\n").split("\n")
        for number, line in enumerate(lines[:_MOST_LINES]):
            _pair(console, "" if number else f"{row['index']} {row['name']}", clean(line))
        if len(lines) > _MOST_LINES:
            _pair(console, "", f"and {len(lines) - _MOST_LINES} more lines, all of them with --format json")


def _draw_table(console: Console, table: Json) -> None:
    count = len(table["entries"])
    _heading(console, f".hwids, {_place(table)}: {count} {'entry' if count == 1 else 'entries'}")
    _error(console, table["error"])
    if table["refused_by"]:
        _pair(console, "refused by", "stub " + ", ".join(table["refused_by"]))
    device = None
    for row in table["entries"][:_MOST_ENTRIES]:
        string = row.get("compatible", row.get("fwid"))
        if device != (row["type"], row["name"], string):
            device = (row["type"], row["name"], string)
            shown = ", ".join("none" if text is None else clean(text) for text in (string, row["name"]))
            _line(console, " ", f"{row['type']} {shown}")
        console.print(f"{row['index']:>7} {row['chid']}")
    if count > _MOST_ENTRIES:
        _line(console, " ", f"and {count - _MOST_ENTRIES} more, all of them with --format json")


def _draw_firmware(console: Console, row: Json) -> None:
    _heading(console, f".efifw, {_place(row)}")
    content = row["payload"]
    if content is not None:
        _pair(console, "fwid", clean(row["fwid"]))
        _pair(console, "header", f"{row['header_size']} bytes")
        if row["target_chid"] is not None:
            _pair(console, "target CHID", row["target_chid"])
        _draw_payload(console, content)
    _error(console, row["error"])


def _draw_payload(console: Console, content: Json | None) -> None:
    if content is None:
        return
    for key, value in payload.facts(content):
        _pair(console, key, clean(value))
    for table in payload.tables(content):
        _line(console, " ", table.title)
        _draw_grid(console, table.columns, table.rows[:_MOST_ROWS], "    ")
        if len(table.rows) > _MOST_ROWS:
            _line(console, "   ", f"and {len(table.rows) - _MOST_ROWS} more, all of them with --format json")


def _place(row: Json) -> str:
    return f"section {row['section']}" + ("" if row["profile"] is None else f" of profile {row['profile']}")


def _heading(console: Console, text: str) -> None:
    console.print()
    console.print(text, style="bold")


def _error(console: Console, text: str | None) -> None:
    if text is not None:
        _line(console, " !", clean(text), "red")


def _pair(console: Console, key: str, value: str) -> None:
    _line(console, f"  {key:<13}", value)


def _line(console: Console, mark: str, text: str, style: str = "") -> None:
    """A line whose continuations are indented below its text."""
    from rich.table import Table as Grid
    from rich.text import Text

    grid = Grid.grid(padding=(0, 1, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row(Text(mark), Text(text, style))
    console.print(grid)
