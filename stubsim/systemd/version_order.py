"""The order of version strings (UAPI specification "Version Format"; systemd's strverscmp_improved)."""

from __future__ import annotations

import re
from typing import Any

_IGNORED = re.compile(r"[^0-9A-Za-z~^.-]*")
_DIGITS, _LETTERS = re.compile(r"[0-9]*"), re.compile(r"[A-Za-z]*")
# Separators in the order in which they are looked for; the string that has one is the older one.
_SEPARATORS = "-^."


def compare_versions(one: str | None, other: str | None) -> int:
    """Negative, 0 or positive, as ``one`` is older than, as old as or newer than ``other``; None is as good as ""."""
    a, b = _Cursor(one or ""), _Cursor(other or "")
    while True:
        a.skip(_IGNORED)
        b.skip(_IGNORED)
        if order := _compare_separator(a, b, "~"):
            return order
        if not a.next or not b.next:
            return _compare(a.next, b.next)
        for separator in _SEPARATORS:
            if order := _compare_separator(a, b, separator):
                return order
        numeric = a.next.isdecimal() or b.next.isdecimal()
        kind = _DIGITS if numeric else _LETTERS
        mine, theirs = a.skip(kind), b.skip(kind)
        if order := _compare_numbers(mine, theirs) if numeric else _compare_words(mine, theirs):
            return order


class _Cursor:
    """A place in a string."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._place = 0

    @property
    def next(self) -> str:
        """The character there, "" at the end."""
        return self._text[self._place : self._place + 1]

    def skip(self, pattern: re.Pattern[str]) -> str:
        """Go over what matches and give it back."""
        match = pattern.match(self._text, self._place)
        assert match is not None
        self._place = match.end()
        return match.group()

    def step(self) -> None:
        self._place += 1


def _compare_separator(a: _Cursor, b: _Cursor, separator: str) -> int:
    """0 where both have it, which then is behind them, or neither."""
    mine, theirs = a.next == separator, b.next == separator
    if mine and theirs:
        a.step()
        b.step()
    return _compare(theirs, mine)


def _compare_numbers(mine: str, theirs: str) -> int:
    """Any number is newer than none; without leading zeros the longer one is the greater."""
    a, b = mine.lstrip("0"), theirs.lstrip("0")
    return _compare((bool(mine), len(a), a), (bool(theirs), len(b), b))


def _compare_words(mine: str, theirs: str) -> int:
    common = min(len(mine), len(theirs))
    return _compare((mine[:common], len(mine)), (theirs[:common], len(theirs)))


def _compare(one: Any, other: Any) -> int:
    return int(one > other) - int(one < other)
