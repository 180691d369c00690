"""Shell patterns as systemd-boot matches the ids of its entries with them (efi_fnmatch)."""

from __future__ import annotations

# One character: any of these ranges, both ends included; () is every character.
_One = tuple[tuple[str, str], ...]


def matches(pattern: str, text: str) -> bool:
    """Whether the whole text matches ``*``, ``?``, sets with ranges, and ``\\`` before a character that is itself.

    A pattern that ends in ``\\`` or within a set matches nothing. There are no inverted sets, and ranges do not chain
    (systemd 257.13, efi-string.c).
    """
    pieces = _pieces(pattern)
    if pieces is None:
        return False
    first, *others = pieces
    if not _at(first, text, 0):
        return False
    if not others:
        return len(first) == len(text)
    # Each piece at its first place, and the last one at the end.
    place = len(first)
    for piece in others[:-1]:
        while not _at(piece, text, place):
            if place >= len(text):
                return False
            place += 1
        place += len(piece)
    last = len(text) - len(others[-1])
    return last >= place and _at(others[-1], text, last)


def _at(piece: list[_One], text: str, place: int) -> bool:
    return place + len(piece) <= len(text) and all(
        not one or any(low <= character <= high for low, high in one)
        for one, character in zip(piece, text[place : place + len(piece)], strict=True)
    )


def _pieces(pattern: str) -> list[list[_One]] | None:
    """What stands between the ``*``; None for a pattern that is not complete."""
    pieces: list[list[_One]] = [[]]
    place = 0
    while place < len(pattern):
        character = pattern[place]
        place += 1
        if character == "*":
            pieces.append([])
        elif character == "?":
            pieces[-1].append(())
        elif character == "[":
            end = _set(pattern, place)
            if end is None:
                return None
            one, place = end
            pieces[-1].append(one)
        else:
            if character == "\\":
                if place == len(pattern):
                    return None
                character = pattern[place]
                place += 1
            pieces[-1].append(((character, character),))
    return pieces


def _set(pattern: str, place: int) -> tuple[_One, int] | None:
    """The ranges of a set from behind its ``[``, and the place behind its ``]``; None without one."""
    ranges: list[tuple[str, str]] = []
    first = may_range = True
    while place < len(pattern):
        character = pattern[place]
        if character == "]" and not first:
            return tuple(ranges), place + 1
        if character == "-" and may_range and not first and pattern[place + 1 : place + 2] != "]":
            low = pattern[place - 1]
            place += 2 if pattern[place + 1 : place + 2] == "\\" else 1
            if place >= len(pattern):
                return None
            ranges.append((low, pattern[place]))
            may_range = False
        else:
            if character == "\\":
                place += 1
                if place == len(pattern):
                    return None
            ranges.append((pattern[place], pattern[place]))
            may_range = True
        first = False
        place += 1
    return None
