"""Two command lines word by word: what is the same, what is gone, what has come; in time that grows as they do."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher

# How many pairs of words are compared at once: difflib takes the cube of their number when all of them are alike.
_PAIRS_MAX = 4096

Run = tuple[str, Sequence[str], Sequence[str]]


def runs(a: Sequence[str], b: Sequence[str]) -> Iterator[Run]:
    """The operations of difflib ("equal", "replace", ...) with the words of both sides, none of them empty on both.

    Of long lists the words that both have once are found first, and what lies between them is compared.
    """
    at = other = 0
    for i, j in [*_anchors(a, b), (len(a), len(b))]:
        yield from _small(a[at:i], b[other:j])
        if i < len(a):
            yield "equal", a[i : i + 1], b[j : j + 1]
        at, other = i + 1, j + 1


def common(a: Sequence[object], b: Sequence[object]) -> int:
    """How many items are the same at the start."""
    shorter = min(len(a), len(b))
    return next((i for i in range(shorter) if a[i] != b[i]), shorter)


def _small(a: Sequence[str], b: Sequence[str]) -> Iterator[Run]:
    start = common(a, b)
    end = common(a[start:][::-1], b[start:][::-1])
    old, new = a[start : len(a) - end], b[start : len(b) - end]
    found: list[Run] = [("equal", a[:start], b[:start])]
    if len(old) * len(new) > _PAIRS_MAX:
        found.append(("replace", old, new))
    else:
        codes = SequenceMatcher(None, old, new, autojunk=False).get_opcodes()
        found += [(operation, old[i:j], new[k:m]) for operation, i, j, k, m in codes]
    found.append(("equal", a[len(a) - end :], b[len(b) - end :]))
    yield from (run for run in found if run[1] or run[2])


def _anchors(a: Sequence[str], b: Sequence[str]) -> list[tuple[int, int]]:
    """The places of most words that are there once on both sides, in the same order; none where all can be compared."""
    if len(a) * len(b) <= _PAIRS_MAX:
        return []
    once = [{word for word, count in Counter(words).items() if count == 1} for words in (a, b)]
    where = {word: place for place, word in enumerate(b) if word in once[0] and word in once[1]}
    pairs = [(place, where[word]) for place, word in enumerate(a) if word in where]
    # The longest run of growing places (patience sorting): the last pair of each length, and who stands before it.
    ends: list[int] = []
    last: list[int] = []
    before: list[int] = []
    for number, (_, place) in enumerate(pairs):
        length = bisect_left(ends, place)
        before.append(last[length - 1] if length else -1)
        ends[length : length + 1] = [place]
        last[length : length + 1] = [number]
    found = []
    number = last[-1] if last else -1
    while number >= 0:
        found.append(pairs[number])
        number = before[number]
    return found[::-1]
