"""What is shown as a titled table, on a terminal and in HTML alike."""

from __future__ import annotations

from collections.abc import Sequence

from stubsim.result import Boot
from stubsim.rows import NamedTuple
from stubsim.trace import Unknown

# The mark of an answer that something not known has a say in.
DOUBT = " (see Unknown)"


class Block(NamedTuple):
    """A titled table: cells as plain text, not yet cleaned.

    ``right`` are the columns of numbers; they and the ``fixed`` ones are never wrapped, the others where they must.
    """

    title: str | None
    rows: Sequence[tuple[str, ...]]
    columns: tuple[str, ...] | None = None
    right: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()
    fixed: tuple[int, ...] = ()


def doubt(boot: Boot, *keys: str) -> str:
    """A mark where something that is not known has a say in it."""
    affected = {key for event in boot.events(Unknown) for key in event.affects}
    return DOUBT if affected.intersection(keys) else ""
