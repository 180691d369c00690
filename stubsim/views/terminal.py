"""A boot as text for people, on a terminal or in a pipe; what it says comes from `stubsim.views.terminal_boot`."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

from stubsim.printable import clean, without_commands
from stubsim.rows import NamedTuple

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from stubsim.explain.snp import Launch
    from stubsim.result import Boot
    from stubsim.views.block import Block

_USUAL_WIDTH = 80
# Wider than any line: what is piped into a file, a pager or grep is not wrapped.
_UNWRAPPED = 1 << 16
# Below, tables fall apart; above, the spaces that fill up lines cost more than the text.
_WIDTHS = (60, 500)
# A hostile image has as many texts as it likes; the JSON has them all.
_MOST_ROWS = 64
_GOOD = ("kernel-started", "firmware-update")
_STYLES = {"error": "red", "warning": "yellow", "chosen": "green", "bad": "red", "added": "green", "removed": "red"}


class Screen(NamedTuple):
    """What the text is made for: its width in columns, and whether it may have escape sequences."""

    width: int = _USUAL_WIDTH
    colour: bool = False


def screen(*, to_file: bool = False, color: str = "auto") -> Screen:
    """Standard output as it is now, or a file; ``color`` is what --color says."""
    terminal = not to_file and sys.stdout.isatty()
    return Screen(_width(terminal), color == "always" or (color == "auto" and _coloured(terminal, to_file)))


def _width(terminal: bool) -> int:
    """COLUMNS counts for whatever is written; without it only a terminal has a width."""
    columns = os.environ.get("COLUMNS", "")
    if columns.isascii() and columns.isdigit() and 0 < len(columns) < 6 and int(columns):
        return min(max(int(columns), _WIDTHS[0]), _WIDTHS[1])
    if not terminal:
        return _UNWRAPPED
    width = _USUAL_WIDTH
    with suppress(OSError):
        width = os.get_terminal_size(sys.stdout.fileno()).columns or _USUAL_WIDTH
    return min(max(width, _WIDTHS[0]), _WIDTHS[1])


def _coloured(terminal: bool, to_file: bool) -> bool:
    """As CPython does it: NO_COLOR, then FORCE_COLOR, then whether a terminal is there that can."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return not to_file
    return terminal and os.environ.get("TERM") != "dumb"


def render_boot(boot: Boot, target: Screen | None = None, launch: Launch | None = None) -> str:
    """The whole text, with a newline at its end; for standard output unless told otherwise."""

    from stubsim.views.terminal_boot import blocks, headline

    def parts() -> Iterator[RenderableType]:
        yield from _parts(headline(boot), boot.outcome.status in _GOOD, blocks(boot, launch))
        if boot.next is not None:
            yield from _second_boot()
            yield from _parts(headline(boot.next), boot.next.outcome.status in _GOOD, blocks(boot.next))

    return _rendered_parts(parts(), target)


def render_blocks(headline: str, good: bool, blocks: Iterable[Block], target: Screen | None = None) -> str:
    """A headline, green or red, and what stands below it in blocks."""
    return _rendered_parts(_parts(headline, good, blocks), target)


def _rendered_parts(parts: Iterable[RenderableType], target: Screen | None) -> str:
    def draw(console: Console) -> None:
        for part in parts:
            console.print(part)

    return rendered(draw, target)


def rendered(draw: Callable[[Console], None], target: Screen | None = None) -> str:
    """What ``draw`` prints with rich, no blanks at line ends; for standard output unless told otherwise."""
    from io import StringIO

    from rich.console import Console

    target = target or screen()
    out = StringIO()
    # Everything rich would find out by itself is said here: its guesses know FORCE_COLOR and notebooks.
    draw(
        Console(
            file=out,
            width=target.width,
            force_terminal=target.colour,
            force_jupyter=False,
            color_system="standard" if target.colour else None,
            no_color=False,
            legacy_windows=False,
            markup=False,
            emoji=False,
            highlight=False,
            _environ={},
        )
    )
    # Texts are clean before they are wrapped; a line of them may begin anywhere.
    return without_commands("\n".join(line.rstrip() for line in out.getvalue().split("\n")))


def folded(lines: Iterable[str], target: Screen | None = None) -> str:
    """The lines with a newline at each end, folded to the width of the screen, but no word of them, as a digest is."""
    from textwrap import wrap

    width = (target or screen()).width
    text: list[str] = []
    for line in lines:
        indent = " " * (len(line) - len(line.lstrip()) + 4)
        rows = wrap(line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
        text += rows if len(line) > width else [line.rstrip()]
    return without_commands("".join(f"{line}\n" for line in text))


def _parts(headline: str, good: bool, blocks: Iterable[Block]) -> Iterator[RenderableType]:
    from rich.text import Text

    yield Text(clean(headline), style="bold green" if good else "bold red")
    for block in blocks:
        yield Text()
        if block.title:
            yield Text(clean(block.title), style="bold")
        if block.rows:
            yield _table(block)
        for note in block.notes:
            yield _indented(Text(clean(note), style="italic"))


def _second_boot() -> Iterator[RenderableType]:
    from rich.text import Text

    yield Text()
    yield Text("The boot after the update", style="bold underline")


def _table(block: Block) -> RenderableType:
    """A grid that is as wide as its content, so that no line has spaces to spare."""
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2, 0, 0))
    for index in range(len(block.rows[0])):
        right = index in block.right
        table.add_column(justify="right" if right else "left", overflow="fold", no_wrap=right or index in block.fixed)
    if block.columns:
        table.add_row(*(Text(clean(name), style="dim") for name in block.columns))
    # What was chosen is what a long table is read for.
    shown = [row for index, row in enumerate(block.rows) if index < _MOST_ROWS or row[0] == "chosen"]
    for row in shown:
        first, *others = row
        style = _STYLES.get(first, "cyan" if block.columns is None else "")
        table.add_row(Text(clean(first), style=style), *(Text(clean(cell)) for cell in others))
    if len(block.rows) > len(shown):
        rest = f"and {len(block.rows) - len(shown)} more, all of them with --format json"
        table.add_row(*[Text()] * (len(block.rows[0]) - 1), Text(rest))
    return _indented(table) if block.title else table


def _indented(content: RenderableType) -> RenderableType:
    from rich.padding import Padding

    return Padding(content, (0, 0, 0, 2), expand=False)
