"""Why a boot chose what it chose, as one HTML page, made from the JSON of `stubsim why`."""

from __future__ import annotations

from collections.abc import Iterator
from xml.etree.ElementTree import Element

from stubsim.views.block import DOUBT
from stubsim.views.chain import TITLE, heading, read
from stubsim.views.html import (
    UNKNOWN,
    Cell,
    badge,
    block,
    block_table,
    code,
    details,
    facts,
    headline,
    node,
    page,
    section,
    table,
    tree,
)
from stubsim.views.html_chain import chain_figure
from stubsim.views.json import Json
from stubsim.views.markup import Child, element
from stubsim.views.why import FILES, GOOD, KEYS, NOUNS, blocks, hashed_text, lookup_rows, misses, owner
from stubsim.views.why import headline as headline_text
from stubsim.wording import plain

_TONES = {"chosen": "good", "bad": "bad", "overridden": "warn", "later": "warn"}
# Entries that a line of the tree lists; the JSON has them all.
_MOST = 32


def why_page(report: Json, call: str | None = None) -> str:
    """The page of `stubsim why --format html`; the same bytes for the same report and command."""
    name, machine = report["uki"]["path"].rpartition("/")[2], report["host"] or "the machine"
    choices = report["choices"].values()
    undecided = any(choice["undecided"] for choice in choices)
    tone = "good" if any(choice["chosen"] for choice in choices) else "calm"
    if undecided:
        tone = "warn"
    if report["outcome"]["status"] not in GOOD:
        tone = "bad"
    text = headline_text(report).replace(DOUBT, "") + (DOUBT if undecided else "")
    about = element("p", code(report["uki"]["path"]), " on ", element("strong", machine))
    return page(f"Why: {name} on {machine}", headline("stubsim why", text, tone, about), [*_sections(report)], call)


def _sections(report: Json) -> Iterator[Element]:
    summary, *others = blocks(report)
    yield section("Summary", block_table(summary))
    if report["outcome"]["status"] != "not-simulated":
        yield section(heading(report["chain"]), chain_figure(read(report["chain"])), short=TITLE, id="the-chain")
    for word, choice in report["choices"].items():
        if choice["offered"]:
            yield _choice(report, word, choice)
    if report["outcome"]["status"] != "not-simulated":
        yield _hardware_ids(report)
    for each in others:
        if each.title == "Unknown":
            yield block(each, id=UNKNOWN)
        elif each.title == FILES:
            yield block(each, short="Files")
        elif each.title == "What each stub would choose":
            yield block(each, short="Other stubs")


def _choice(report: Json, word: str, choice: Json) -> Element:
    _, name = KEYS[word]
    chosen = choice["chosen"]
    result = badge("none", "calm") if chosen is None else badge(f"section {chosen['section']}", "good")
    parts: list[Child] = [element("p", f"{choice['reason'][:1].upper()}{choice['reason'][1:]}.")]
    if choice["meaning"]:
        parts.append(element("ul", *(element("li", text) for text in choice["meaning"])))
    for lookup in choice["lookups"]:
        id_ = f"{word}-{lookup['section']}"
        steps = _lookup(report, word, lookup)
        parts.append(section(f"The look-up{owner(lookup)}", *steps, level=3, id=f"look-up-{id_}"))
    if choice["sections"]:
        parts.append(_candidates(word, choice["sections"]))
    for lookup in choice["lookups"]:
        rows = misses(lookup, KEYS[word][0])
        if rows:
            heading = f"Other {word} entries{owner(lookup)}"
            listed = table(("entries", "what is known of them"), rows, heading, hidden=True)
            parts.append(section(heading, listed, level=3, id=f"others-{word}-{lookup['section']}"))
    heading = f"{NOUNS[word].capitalize()} ({name})"
    return section(heading, *parts, doubt=bool(choice["undecided"]), beside=result, short=NOUNS[word].capitalize())


def _lookup(report: Json, word: str, lookup: Json) -> Iterator[Element]:
    yield facts(lookup_rows(word, lookup))
    found: dict[int, list[Json]] = {}
    for match in lookup["matches"]:
        found.setdefault(match["chid_type"], []).append(match)
    order = [row for row in report["chids"] if row["priority"] is not None]
    winner = lookup["winner"]
    places = [place for place, row in enumerate(order) if winner and row["type"] == winner["chid_type"]]
    end = places[0] + 1 if places else len(order)
    steps = [_step(row, found.get(row["type"], []), word, looked_up=True) for row in order[:end]]
    rest = [_step(row, found.get(row["type"], []), word, looked_up=False) for row in order[end:]]
    if lookup["prevented"] is not None:
        yield details("What it would have found", tree(*steps))
        return
    if rest:
        types = ", ".join(str(row["type"]) for row in order[end:])
        steps.append(node(details(f"Types {types} are not looked up any more", tree(*rest)), tone="calm"))
    yield tree(node("The machine's ids are looked up in this order:", below=steps))


def _step(row: Json, found: list[Json], word: str, *, looked_up: bool) -> Element:
    """One CHID, and the entries that have it."""
    label = f"type {row['type']}: "
    if row["unknown"]:
        return node(label, badge("not known", "warn"), f" {', '.join(map(plain, row['unknown']))}", tone="warn")
    own: Child = code(row["chid"]) if row["chid"] else "absent, so all zeros are looked up"
    if not found:
        return node(label, own, ", in no entry", tone="calm")
    key, _ = KEYS[word]
    shown = [f"entry {match['entry']} ({match[key] or f'no {key}'})" for match in found[:_MOST]]
    more = f" and {len(found) - _MOST} more" if len(found) > _MOST else ""
    if not looked_up:
        return node(label, own, f", would be {', '.join(shown)}{more}", tone="calm")
    behind = f", and behind it {', '.join(shown[1:])}{more}" if len(found) > 1 else ""
    return node(label, own, " ", badge(shown[0], "good"), behind or None, tone="good")


def _candidates(word: str, rows: list[Json]) -> Element:
    key, name = KEYS[word]
    lines: list[tuple[Cell, ...]] = []
    for row in rows:
        strings = row[key] if isinstance(row[key], list) else [row[key]]
        texts = [text for text in strings if text is not None]
        verdict = badge(row["verdict"], _TONES.get(row["verdict"], "calm"))
        lines.append((f"{row['section']}{owner(row)}", verdict, code(", ".join(texts)) if texts else "", row["why"]))
    heading = f"The {name} sections"
    columns = ("section", "verdict", key, "why")
    kept = [index for index, row in enumerate(rows) if row["verdict"] == "chosen"]
    listed = table(columns, lines, f"{heading} in file order", hidden=True, kept=kept)
    return section(heading, listed, level=3, id=f"sections-{word}")


def _hardware_ids(report: Json) -> Element:
    """What they are made of, and all of them with the entries that have them."""
    strings = [(plain(row["field"]), hashed_text(row)) for row in report["strings"]]
    rows = []
    for row in report["chids"]:
        missing = badge("not known", "warn") if row["unknown"] else badge("none")
        own: Cell = element("code", row["chid"], class_="nowrap") if row["chid"] else (missing, f" {row['absent']}")
        text = "&".join(part["value"] or "" for part in row["parts"]) if row["chid"] else ""
        entries = [
            f"{word} {match['entry']}{owner(lookup)}"
            for word, choice in report["choices"].items()
            for lookup in choice["lookups"]
            for match in lookup["matches"]
            if match["chid_type"] == row["type"]
        ][:_MOST]
        place = "" if row["priority"] is None else str(row["priority"])
        rows.append((place, str(row["type"]), own, code(text) if text else "", ", ".join(entries)))
    columns = ("order", "type", "CHID", "the text it is the hash of", "found in")
    caption = f"In the order in which stub {report['model']['id']} looks them up; those without a number it does not"
    return section(
        "Hardware ids", facts(strings), table(columns, rows, caption, right=(0, 1), key=1), short="Hardware ids"
    )
