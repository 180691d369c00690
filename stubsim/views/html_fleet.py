"""What a fleet makes of a UKI as one HTML page, with a picture of who gets what, made from the JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from xml.etree.ElementTree import Element

from stubsim.views.fleet import blocks, headline, number
from stubsim.views.html import block, page, section
from stubsim.views.html import headline as heading
from stubsim.views.json import Json
from stubsim.views.markup import SVG_NAMESPACE, element, style
from stubsim.views.style import FLEET_CHART

_WIDTH, _LABEL, _NUMBER = 760, 250, 70
_ROW, _BAR = 24, 15
_COLOURS = 7
# The longest bars; the table has all rows.
_MOST_BARS = 40
_TEXT_MAX = 34


def fleet_page(report: Json, call: str | None = None) -> str:
    """The page of `stubsim fleet --format html`; the same bytes for the same report and command."""
    unsure = any(row["unsure"] for row in (*report["sections"], *report["outcomes"]))
    about = element("p", f"Machines: {report['source']}. Stub {report['model']['id']}: {report['model']['reason']}.")
    name = report["uki"]["path"].rpartition("/")[2]
    head = heading("stubsim fleet", headline(report), "warn" if unsure else "good", about)
    return page(f"Fleet: {name}", head, [*_sections(report)], call)


def _sections(report: Json) -> Iterator[Element]:
    for each in blocks(report):
        if each.title == "Chosen":
            yield section(
                "Machines by choice", element("figure", chart(report)), element("figcaption", _caption(report))
            )
        if each.title is not None and (each.rows or each.notes):
            yield block(each)


def _caption(report: Json) -> str:
    none = sum(row["machines"] for row in report["sections"] if row["index"] is None)
    return f"Coloured by the CHID type that chose. Not drawn: {number(none)} times no section of a kind is chosen."


def chart(report: Json) -> Element:
    """A bar for each section that is chosen, as long as it has machines, in the colours of the CHID types."""
    rows = sorted((row for row in report["sections"] if row["index"] is not None), key=lambda row: -row["machines"])
    rows = rows[:_MOST_BARS]
    types = list(dict.fromkeys(each["chid_type"] for row in rows for each in row["types"]))
    longest = max((row["machines"] for row in rows), default=1)
    height = _ROW * (len(rows) + 1) + 12
    bars = [part for place, row in enumerate(rows) for part in _bar(row, _ROW * (place + 1) + 8, longest, types)]
    return element(
        "svg",
        element("title", "Machines by the section that is chosen and by the CHID type that chose it"),
        style(FLEET_CHART),
        *_legend(types),
        *bars,
        xmlns=SVG_NAMESPACE,
        class_="fleet-chart",
        role="img",
        viewBox=f"0 0 {_WIDTH} {height}",
        width=_WIDTH,
        height=height,
    )


def _legend(types: Sequence[int | None]) -> Iterator[Element]:
    x = _LABEL
    for place, kind in enumerate(types[:_COLOURS]):
        more = place == _COLOURS - 1 and len(types) > _COLOURS
        text = "other types" if more else "not known" if kind is None else f"type {kind}"
        yield element("rect", class_=_colour(place), x=x, y=4, width=10, height=10, rx=2)
        yield element("text", text, class_="note", x=x + 14, y=13)
        x += 24 + 7 * len(text)


def _bar(row: Json, y: int, longest: int, types: Sequence[int | None]) -> Iterator[Element]:
    label = row["string"] or f"section {row['index']}"
    short = label if len(label) <= _TEXT_MAX else label[: _TEXT_MAX - 3] + "..."
    yield element("text", short, x=_LABEL - 8, y=y + _BAR - 3, text_anchor="end")
    x = float(_LABEL)
    for each in row["types"]:
        # What is there can be seen, be it one machine of a million.
        width = max(each["machines"] / longest * (_WIDTH - _LABEL - _NUMBER), 1.0)
        colour = _colour(types.index(each["chid_type"]))
        yield element("rect", class_=colour, x=f"{x:.1f}", y=y, width=f"{width:.1f}", height=_BAR)
        x += width
    yield element("text", number(row["machines"]), class_="note", x=f"{x + 6:.1f}", y=y + _BAR - 3)


def _colour(place: int) -> str:
    return f"s{min(place, _COLOURS - 1)}"
