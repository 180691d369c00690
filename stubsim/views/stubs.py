"""The table of releases, as JSON (`stubsim/stubs/1`) and as text; the text is made from the JSON."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Any

from stubsim.formats.efi_program import SYSTEMD_STUB
from stubsim.stub import releases, rhel
from stubsim.stub.distributions import SHIPPED
from stubsim.stub.recorded import RECORDED
from stubsim.systemd import release as systemd_releases
from stubsim.views.block import Block
from stubsim.views.terminal import Screen, render_blocks

Json = dict[str, Any]


def stubs_json() -> Json:
    """The contract of `stubsim stubs --format json`; see the schema of the same name."""
    return {
        "schema": "stubsim/stubs/1",
        "series": [
            {"series": major, "newest": f"{major}.{point}"} for major, point in systemd_releases.NEWEST_POINT.items()
        ],
        "changes": [change_json(row) for row in releases.CHANGES],
        "builds": [_build_json(row) for row in rhel.BUILDS],
        "recorded": [
            {"release": release, "architecture": machine, "areas": dict(areas)}
            for (name, release, machine), areas in RECORDED.items()
            if name == SYSTEMD_STUB
        ],
        "shipped": [row._asdict() for row in SHIPPED],
    }


def _build_json(row: rhel.Build) -> Json:
    """What a distribution's builds have of later releases, and what no release has."""
    return {
        "first": row.first,
        "release": str(row.release),
        "changes": list(row.has),
        "what": row.what,
    }


def change_json(row: systemd_releases.Change) -> Json:
    """A row of the table."""
    return {
        "name": row.name,
        "since": [str(border) for border in row.borders],
        "what": row.what,
        "basis": row.basis,
        "reference": row.reference,
    }


def change_text(row: Json) -> str:
    """What it says, and how that is known."""
    return f"{row['what']} ({row['basis']}: {row['reference']})"


def render_stubs(report: Json, target: Screen | None = None) -> str:
    """The text for people."""
    recorded = [(row["release"], row["architecture"], ", ".join(row["areas"])) for row in report["recorded"]]
    shipped = [(row["distribution"], row["version"], f"{row['source']}, {row['seen']}") for row in report["shipped"]]
    series = [(str(row["series"]), row["newest"]) for row in report["series"]]
    builds = [
        (row["first"], f"{row['release']} and {row['what']}", ", ".join(row["changes"])) for row in report["builds"]
    ]
    blocks = (
        *_changes(report["changes"]),
        Block(
            "RHEL and CentOS Stream, from which build on: its release, and which later changes it has",
            builds,
            fixed=(0,),
        ),
        Block("The newest known release of each series", series, fixed=(0, 1)),
        Block("Recorded boots, and the areas that they show", recorded, fixed=(0, 1)),
        Block("What distributions ship, as found", shipped, fixed=(0, 1)),
    )
    first, last = report["series"][0]["series"], report["series"][-1]["newest"]
    return render_blocks(f"systemd-stub {first} to {last}, by what changed", True, iter(blocks), target)


def _changes(rows: list[Json]) -> Iterator[Block]:
    """By the series in which a change came first; a block of all would be cut short."""
    for series, changes in groupby(rows, lambda row: row["since"][0].partition(".")[0]):
        listed = [("-", f"{', '.join(row['since'])}: {change_text(row)}") for row in changes]
        yield Block(f"What changed in {series}, and since which release of each series", listed, fixed=(0,))
