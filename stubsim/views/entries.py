"""The entries of systemd-boot, as JSON (`stubsim/entries/1`) and as text; the text is made from the JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stubsim.entry_image import loader_of
from stubsim.hosts import Host
from stubsim.loader import handing_on
from stubsim.loader.entry import Entry, Hidden
from stubsim.loader.menu import Menu, Partitions, left_open, menu_of
from stubsim.uefi.esp import Esp
from stubsim.views.terminal import Screen, rendered

if TYPE_CHECKING:
    from rich.console import Console

Json = dict[str, Any]


def entries_json(esp: str, xbootldr: str | None, boot_file: str | None, host: Host) -> Json:
    """The contract of `stubsim entries --format json`; raises StubsimError where there is no systemd-boot."""
    partitions = Partitions(Esp(esp), None if xbootldr is None else Esp(xbootldr))
    loader = loader_of(partitions.esp, host, boot_file)
    menu = menu_of(loader, host, partitions)
    default, (entries, hidden, fatal) = menu.default, menu.entries
    if fatal is not None:
        entries = ()
        hidden = (Hidden(fatal.file, fatal.partition, f"{fatal.why}: systemd-boot halts there"), *hidden)
    return {
        "schema": "stubsim/entries/1",
        "loader": {"path": loader.path, "version": loader.version},
        "entries": [_entry(row, menu, host, is_default=row == default) for row in entries],
        "hidden": [row._asdict() for row in hidden],
        "ignored": list(menu.config.ignored),
        "unknown": left_open(menu, host),
    }


def _entry(entry: Entry, menu: Menu, host: Host, *, is_default: bool) -> Json:
    esp = menu.partitions.of(entry)
    oem_strings = () if host.confidential is not None else host.oem_strings
    return {
        "id": entry.id,
        "kind": entry.kind,
        "default": is_default,
        "title": entry.title,
        "version": entry.version,
        "profile": entry.profile,
        "partition": entry.partition,
        "file": entry.file,
        "image": entry.loader,
        "load_options": handing_on.load_options(entry, menu.loader.model, esp, oem_strings),
        "initrds": list(entry.initrds),
        "devicetree": entry.devicetree,
        "extras": list(entry.extras),
        "ignored": [f"{path}: {why}" for path, why in handing_on.ignored_extras(entry, esp)],
        "tries": None if entry.tries is None else {"left": entry.tries.left, "done": entry.tries.done},
    }


def render_entries(report: Json, target: Screen | None = None) -> str:
    """The text for people."""

    def draw(console: Console) -> None:
        from rich.text import Text

        from stubsim.printable import clean

        loader = report["loader"]
        console.print(Text(clean(f"systemd-boot {loader['version']} ({loader['path']})"), style="bold"))
        for text in report["ignored"]:
            console.print(Text(clean(f"  ignored in loader.conf: {text}"), style="yellow"))
        for row in report["entries"]:
            console.print(Text(clean(f"{'*' if row['default'] else ' '} {row['id']}: {_told(row)}")))
            for ignored in row["ignored"]:
                console.print(Text(clean(f"    ignored: {ignored}"), style="yellow"))
        for row in report["hidden"]:
            console.print(Text(clean(f"  hidden: {row['file']}: {row['why']}"), style="yellow"))
        for text in report["unknown"]:
            console.print(Text(clean(f"  not known: {text}"), style="yellow"))

    return rendered(draw, target)


def _told(row: Json) -> str:
    title = " ".join(text for text in (row["title"], row["version"]) if text) or "no title"
    words = [title, *([] if row["image"] is None else [row["image"]])]
    if row["load_options"] is not None:
        words.append(f"passes on {row['load_options']!r}")
    if row["tries"] is not None:
        words.append(f"{row['tries']['left']} tries left, {row['tries']['done']} done")
    return ", ".join(words)
