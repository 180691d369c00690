"""What differs between two boots, as one HTML page, made from the JSON of `stubsim diff`."""

from __future__ import annotations

from collections.abc import Iterator
from xml.etree.ElementTree import Element

from stubsim.views.block import Block
from stubsim.views.diff import TITLES, WORD_MARKS, blocks, chains
from stubsim.views.diff import headline as headline_text
from stubsim.views.html import Cell, badge, block, block_table, code, headline, page, section, table
from stubsim.views.html_chain import chain_figure
from stubsim.views.json import Json
from stubsim.views.markup import element

_TONES = {"added": "good", "removed": "bad", "changed": "warn"}
# The titles of what is listed change by change.
_CHANGES = frozenset(TITLES.values())


def diff_page(report: Json, call: str | None = None) -> str:
    """The page of `stubsim diff --format html`; the same bytes for the same report and command."""
    sides = [(side.upper(), _side(report[side])) for side in "ab"]
    title = " and ".join(dict.fromkeys(text for _, text in sides))
    tone = "good" if report["equal"] else "warn"
    about = [element("p", element("strong", f"{side}: "), text) for side, text in sides]
    return page(
        f"Diff: {title}", headline("stubsim diff", headline_text(report), tone, *about), [*_sections(report)], call
    )


def _side(row: Json) -> str:
    name = row["uki"]["path"].rpartition("/")[2]
    return f"{name} on {row['host'] or 'the machine'}, stub {row['model']['id']}"


def _sections(report: Json) -> Iterator[Element]:
    summary, *others = blocks(report)
    yield section("Summary", block_table(summary))
    pictures = dict(chains(report))
    for each in others:
        if each.title in pictures:
            short = (each.title or "").partition(",")[0]
            id_ = short.lower().replace(" ", "-")
            yield section(each.title or "", chain_figure(pictures[each.title or ""]), short=short, id=id_)
        elif each.title == "Command line":
            yield _command_line(report["cmdline"])
        elif each.title in _CHANGES:
            yield _changes(each)
        else:
            yield block(each, short=(each.title or "").partition(":")[0].partition(",")[0])


def _command_line(cmdline: Json) -> Element:
    """Both lines in one: what is removed and what is added stand where they differ."""
    line = element("pre", class_="wrap", tabindex=0)
    for run in cmdline["words"]:
        tag, tone = {"removed": ("del", "bad"), "added": ("ins", "good")}.get(run["change"], ("span", ""))
        text = WORD_MARKS[run["change"]].format(run["text"] or " ")
        word = element(tag, text, class_=f"badge {tone}" if tone else None)
        word.tail = " "
        line.append(word)
    sides = [(side.upper(), "(none)") for side in "ab" if cmdline[side] is None]
    return section(
        "Command line", element("p", ", ".join(f"{side}: {text}" for side, text in sides)) if sides else None, line
    )


def _changes(given: Block) -> Element:
    rows: list[tuple[Cell, ...]] = [
        (badge(change, _TONES[change]), code(name), facts) for change, name, facts in given.rows
    ]
    heading = given.title or ""
    listed = table(("change", "what", "how"), rows, heading, key=1, hidden=True)
    return section(heading, listed, short=heading.partition(",")[0])
