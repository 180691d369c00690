"""The dialects of the hand-over, as JSON (`stubsim/dialects/1`) and as text; the text is made from the JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stubsim import handover
from stubsim.formats.vmfwupdate import FILES
from stubsim.views.terminal import Screen, rendered

if TYPE_CHECKING:
    from rich.console import Console

Json = dict[str, Any]


def dialects_json() -> Json:
    """The contract of `stubsim dialects --format json`; see the schema of the same name."""
    rows = []
    for name in handover.DIALECTS:
        about = handover.dialect(name).about
        files = [file._asdict() for file in FILES.get(name, ())]
        rows.append(about._asdict() | {"files": files, "decisions": list(about.decisions)})
    return {"schema": "stubsim/dialects/1", "dialects": rows}


def render_dialects(report: Json, target: Screen | None = None) -> str:
    """The text for people."""

    def draw(console: Console) -> None:
        from rich.padding import Padding
        from rich.table import Table
        from rich.text import Text

        for number, row in enumerate(report["dialects"]):
            if number:
                console.print()
            console.print(Text(row["name"], style="bold"))
            facts = Table.grid(padding=(0, 2, 0, 0))
            facts.add_column(no_wrap=True)
            facts.add_column(overflow="fold")
            for label in ("source", "revision", "status"):
                facts.add_row(Text(label, style="cyan"), Text(row[label]))
            for index, file in enumerate(row["files"]):
                facts.add_row(Text("" if index else "fw_cfg files", style="cyan"), Text(_file(file)))
            for index, decision in enumerate(row["decisions"]):
                label = "" if index else "decided here"
                facts.add_row(Text(label, style="cyan"), Text(f"- {decision}"))
            console.print(Padding(facts, (0, 0, 0, 2), expand=False))

    return rendered(draw, target)


def _file(file: Json) -> str:
    count = file["size"]
    size = "size not published" if count is None else f"{count} byte{'' if count == 1 else 's'}"
    access = {True: "rw", False: "ro", None: "access not said, or by capability"}[file["writable"]]
    return f"{file['name']}, {size}, {access}"
