"""What changes for a fleet as one HTML page, made from the JSON."""

from __future__ import annotations

from stubsim.views.fleet_diff import blocks, headline
from stubsim.views.html import block, page
from stubsim.views.html import headline as heading
from stubsim.views.json import Json
from stubsim.views.markup import element


def fleet_diff_page(report: Json, call: str | None = None) -> str:
    """The page of `stubsim fleet diff --format html`; the same bytes for the same report and command."""
    tone = "warn" if report["changed"] or report["unsure"] else "good"
    head = heading("stubsim fleet diff", headline(report), tone, element("p", f"Machines: {report['source']}."))
    names = " and ".join(report[side]["uki"]["path"].rstrip("/").rpartition("/")[2] for side in "ab")
    shown = [block(each) for each in blocks(report) if each.title is not None and (each.rows or each.notes)]
    return page(f"Fleet: {names}", head, shown, call)
