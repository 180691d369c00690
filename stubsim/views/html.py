"""Self-contained HTML pages: the shell, its style, and the elements that pages are made of.

A page has no script and loads nothing, which its own Content-Security-Policy enforces; it follows the reader's colour
scheme, prints, and fits a phone. Every text goes through `stubsim.views.markup.element`, which cleans and escapes it:
pass texts as they are, hostile ones too.

    page("stubsim why: uki.efi", headline("stubsim why", "section 9 is chosen", "good"), [
        section("Hardware ids", table(("type", "CHID"), [("3", code("82fb97f9-..."))], caption="In the stub's order")),
        section("Unknown", id=UNKNOWN, ...),
    ])

- `page(title, head, sections)`: the whole document, with a list of its sections as contents
- `headline(command, text, tone, *children)`: the answer in one line, and below it what it is about
- `section(heading, *children, id, level, doubt)`: a heading and what belongs to it; level 3 inside of another section
- `table(columns, rows, caption, right, key)`, `facts(rows)`, `listing(lines)`, `hexdump(data)`, `details(summary, ...)`
- `tree(*nodes)` and `node(*children, below, tone)`: a decision with what led to it, nested
- `badge(text, tone)`, `code(text)`, `unsure()`, `marked(text)`: in a line of text
- `block(block)`: a `Block` of the terminal's text as a section, so that both say the same

A cell, fact or child is a text, an element, or several of them in a tuple. A tone is "good", "bad", "warn" or "calm".
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from xml.etree.ElementTree import Element

from stubsim.version import __version__
from stubsim.views.block import DOUBT, Block
from stubsim.views.markup import Child, element, extend, style, to_html
from stubsim.views.style import PAGE

Cell = Child | tuple[Child, ...]

# The id of the section to which every doubtful answer points.
UNKNOWN = "unknown"
# A hostile image has as many rows as it likes; the JSON has them all.
_MOST_ROWS = 500
_BYTES_A_LINE = 16
# A command line of 4096 characters is 8 KiB of them.
_MOST_BYTES = 64 << 10
# Addresses and digests, which are easier compared in a font of one width.
_NUMBERS = re.compile(r"0x[0-9a-f]+(-0x[0-9a-f]+)?|[0-9a-f]{16,}(\.\.\.)?")


def page(title: str, head: Element, sections: Sequence[Element], call: str | None = None) -> str:
    """The document; ``sections`` are those of `section`, and the contents list them; ``call`` is what made it."""
    main = element("main", *sections)
    root = element(
        "html",
        element(
            "head",
            element("meta", charset="utf-8"),
            element("meta", name="viewport", content="width=device-width, initial-scale=1"),
            element("meta", name="color-scheme", content="light dark"),
            element("title", title),
            style(PAGE),
        ),
        element(
            "body",
            head,
            element("div", _contents(sections), main, class_="columns"),
            element(
                "footer",
                None if call is None else element("p", code(call)),
                element("p", f"Made by stubsim {__version__}. This page loads nothing and runs nothing."),
            ),
        ),
        lang="en",
    )
    # Only the styles that are in it now may ever apply, and nothing may be loaded, run, framed or sent.
    hashes = dict.fromkeys(_source_hash(node) for node in root.iter("style"))
    policy = f"default-src 'none'; style-src {' '.join(hashes)}; base-uri 'none'; form-action 'none'"
    root[0].insert(1, element("meta", http_equiv="Content-Security-Policy", content=policy))
    return to_html(root)


def _source_hash(node: Element) -> str:
    return f"'sha256-{b64encode(sha256((node.text or '').encode()).digest()).decode()}'"


def _contents(sections: Sequence[Element]) -> Element:
    links = [
        element("li", element("a", part.get("data-short") or part.findtext("h2/span"), href=f"#{part.get('id')}"))
        for part in sections
    ]
    return element("nav", element("ul", *links), aria_label="Contents")


def headline(command: str, text: str, tone: str, *children: Child) -> Element:
    """The top of a page."""
    heading = element("h1", *marked(text[:1].upper() + text[1:]))
    return element("header", element("p", command, class_="command"), heading, *children, class_=f"outcome {tone}")


def section(
    heading: str,
    *children: Child,
    id: str | None = None,
    level: int = 2,
    doubt: bool = False,
    beside: Child = None,
    short: str | None = None,
) -> Element:
    """A part of a page under a heading.

    ``doubt`` marks it, ``beside`` stands behind the heading, such as a badge, and ``short`` is for the contents.
    """
    text = element("span", heading)
    return element(
        "section",
        element(f"h{level}", text, " " if doubt or beside is not None else None, beside, unsure() if doubt else None),
        *children,
        id=id or slug(short or heading),
        data_short=short,
    )


def slug(text: str) -> str:
    """A heading as an id: its letters and digits."""
    return "-".join(re.findall(r"[a-z0-9]+", text.lower())) or "section"


def table(
    columns: Sequence[str],
    rows: Iterable[Sequence[Cell]],
    caption: str | None = None,
    *,
    right: Sequence[int] = (),
    key: int | None = 0,
    hidden: bool = False,
    kept: Sequence[int] = (),
) -> Element:
    """A table; ``right`` are columns of numbers, ``key`` the column that names a row.

    A caption that says the same as the heading is ``hidden`` from those who see both. A long table is cut, but for the
    rows that are to be ``kept``.
    """
    listed = list(rows)
    shown = [*listed[:_MOST_ROWS], *(listed[index] for index in kept if index >= _MOST_ROWS)]
    body = [
        element(
            "tr",
            *(_cell(cell, columns[index], right=index in right, key=index == key) for index, cell in enumerate(row)),
        )
        for row in shown
    ]
    if len(listed) > len(shown):
        rest = f"and {len(listed) - len(shown)} more, all of them with --format json"
        body.append(element("tr", element("td", rest, colspan=len(listed[0]))))
    heads = (element("th", name, scope="col", class_=_right(index in right)) for index, name in enumerate(columns))
    return element(
        "div",
        element(
            "table",
            None if caption is None else element("caption", caption, class_="hidden" if hidden else None),
            element("thead", element("tr", *heads)) if any(columns) else None,
            element("tbody", *body),
        ),
        class_="scroll",
        tabindex=0,
        role="region",
        aria_label=caption or "table",
    )


def _cell(cell: Cell, label: str, *, right: bool, key: bool) -> Element:
    """On a narrow screen rows stand below each other, and each cell shows its column's name in front."""
    children = cell if isinstance(cell, tuple) else (cell,)
    attributes = {"class_": _right(right), "data_label": label or None}
    if key:
        return element("th", *children, scope="row", **attributes)
    return element("td", *children, **attributes)


def _right(right: bool) -> str | None:
    return "right" if right else None


def facts(rows: Iterable[tuple[str, Cell]]) -> Element:
    """Names and what they are; an empty name goes on with the one before it."""
    listed = element("dl", class_="facts")
    for name, cell in rows:
        children = cell if isinstance(cell, tuple) else (cell,)
        extend(listed, element("dt", name) if name else None, element("dd", *children))
    return listed


def listing(lines: Iterable[str]) -> Element:
    """Lines of code, each a line whatever is in it."""
    return element("pre", *(element("span", line, class_="line") for line in lines), tabindex=0)


def hexdump(data: bytes | memoryview) -> Element:
    """Offset and bytes, 16 a line, up to 64 KiB; lines of zeros are left out."""
    lines = [*_hex_lines(bytes(data[:_MOST_BYTES]))]
    if len(data) > _MOST_BYTES:
        lines.append(f"and {len(data) - _MOST_BYTES} more bytes, all of them with --format json")
    return listing(lines)


def _hex_lines(data: bytes) -> Iterator[str]:
    skipped = False
    for offset in range(0, len(data), _BYTES_A_LINE):
        row = data[offset : offset + _BYTES_A_LINE]
        if any(row) or offset == 0:
            text = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in row)
            yield f"{offset:04x}  {row.hex(' '):<47}  {text}"
            skipped = False
        elif not skipped:
            yield "*"
            skipped = True
    yield f"{len(data):04x}"


def details(summary: Cell, *children: Child, open: bool = False) -> Element:
    """What is shown only when asked for, or printed."""
    words = summary if isinstance(summary, tuple) else (summary,)
    return element("details", element("summary", *words), *children, open="" if open else None)


def tree(*nodes: Element) -> Element:
    """A decision as nested steps."""
    return element("ul", *nodes, class_="tree")


def node(*children: Child, below: Sequence[Element] = (), tone: str | None = None) -> Element:
    """A step, and the steps below it."""
    nested = element("ul", *below) if below else None
    return element("li", element("div", *children), nested, class_=tone)


def badge(text: str, tone: str = "calm") -> Element:
    return element("span", text, class_=f"badge {tone}")


def code(text: str) -> Element:
    return element("code", text)


def unsure() -> Element:
    """The mark of an answer that depends on what is not known."""
    return element("a", "see Unknown", href=f"#{UNKNOWN}", class_="badge warn")


def marked(text: str) -> tuple[Child, ...]:
    """A text in which the terminal's mark of a doubt is one of HTML."""
    return (text.removesuffix(DOUBT), " ", unsure()) if text.endswith(DOUBT) else (text,)


def block(given: Block, *before: Child, id: str | None = None, short: str | None = None) -> Element:
    """A block of the terminal's text as a section, ``before`` in front of its table."""
    title = given.title or ""
    heading = title.removesuffix(DOUBT)
    notes = [element("p", note, class_="note") for note in given.notes]
    doubt = title.endswith(DOUBT)
    return section(heading, *before, block_table(given), *notes, id=id, doubt=doubt, short=short)


def block_table(given: Block) -> Element | None:
    """The rows of a block: a list of facts where the columns have no names."""
    if not given.rows:
        return None
    if given.columns is None and len(given.rows[0]) == 2:
        return facts((name, _block_cell(text)) for name, text in given.rows)
    rows = [tuple(_block_cell(cell) for cell in row) for row in given.rows]
    caption = (given.title or "").removesuffix(DOUBT)
    return table(given.columns or [""] * len(rows[0]), rows, caption, right=given.right, hidden=True)


def _block_cell(text: str) -> Cell:
    return code(text) if _NUMBERS.fullmatch(text) else marked(text)
