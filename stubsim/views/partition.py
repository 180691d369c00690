"""The EFI programs on a partition, as JSON (`stubsim/inspect-folder/1`) and as text; the text is made from the JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from stubsim.explain.partition import Found, Partition
from stubsim.views import units
from stubsim.views.block import Block
from stubsim.views.json import stub_json
from stubsim.views.terminal import Screen, render_blocks

Json = dict[str, Any]


def folder_json(folder: str, partition: Partition) -> Json:
    """The contract of `stubsim inspect DIR --format json`; see the schema of the same name."""
    return {
        "schema": "stubsim/inspect-folder/1",
        "folder": folder,
        "files": [_file(found) for found in partition.programs],
        "others": partition.others,
    }


def _file(found: Found) -> Json:
    image = found.image
    return {
        "path": found.path,
        "size": found.size,
        "is_uki": found.why is None,
        "why": found.why,
        "machine": image and image.machine,
        "stub": stub_json(image) if image and found.why is None else None,
        "os": found.os,
        "profiles": [
            {"index": profile.index, "id": profile.id, "title": profile.title}
            for profile in (image.profiles if image else ())
        ],
    }


def render_folder(report: Json, target: Screen | None = None) -> str:
    """The value of `folder_json` as text."""
    ukis = [row for row in report["files"] if row["is_uki"]]
    headline = f"{report['folder']}: {_counted(len(ukis), 'UKI')}, {_counted(_others(report), 'other file')}"
    return render_blocks(headline, bool(ukis), _blocks(report, ukis), target)


def _others(report: Json) -> int:
    others: int = report["others"]
    return others + sum(not row["is_uki"] for row in report["files"])


def _blocks(report: Json, ukis: list[Json]) -> Iterator[Block]:
    for row in ukis:
        yield Block(row["path"], tuple(_facts(row)))
    programs = [row for row in report["files"] if not row["is_uki"]]
    if programs:
        yield Block("Not UKIs", tuple((row["path"], row["why"]) for row in programs))


def _facts(row: Json) -> Iterator[tuple[str, str]]:
    yield "os", row["os"] or "not named: no .osrel, or no name in it"
    stub = row["stub"]
    yield "stub", f"{stub['name']} {stub['version']}, {row['machine']}" if stub else f"unknown, {row['machine']}"
    yield "size", units.size(row["size"])
    if row["profiles"]:
        yield "profiles", ", ".join(_profile(profile) for profile in row["profiles"])


def _profile(profile: Json) -> str:
    title = f"({profile['title']})" if profile["title"] else None
    return " ".join(word for word in (str(profile["index"]), profile["id"], title) if word)


def _counted(count: int, what: str) -> str:
    return f"{count or 'no'} {what}{'' if count == 1 else 's'}"
