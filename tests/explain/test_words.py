"""Command lines word by word: every word is told, in order, and in time that grows as the lines do."""

from __future__ import annotations

import random
from difflib import SequenceMatcher

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stubsim.explain import words
from stubsim.explain.words import runs

lines = st.lists(st.sampled_from("abcdefgh"), max_size=12)


def told(a: list[str], b: list[str]) -> tuple[list[str], list[str]]:
    found = [*runs(a, b)]
    for operation, old, new in found:
        assert old or new
        assert (operation == "equal") == (old == new)
    return [word for _, old, _ in found for word in old], [word for _, _, new in found for word in new]


@given(lines, lines)
def test_all_words_are_told_in_their_order(a: list[str], b: list[str]):
    assert told(a, b) == (a, b)


@given(lines, lines)
def test_as_difflib_where_the_lines_are_short(a: list[str], b: list[str]):
    equal = sum(len(old) for operation, old, _ in runs(a, b) if operation == "equal")
    matcher = SequenceMatcher(None, a, b, autojunk=False)
    assert equal >= 0.5 * sum(block.size for block in matcher.get_matching_blocks())


@pytest.mark.parametrize("alphabet", [3, 50, 5000])
def test_long_lines(alphabet: int):
    random_ = random.Random(1)
    a, b = ([str(random_.randrange(alphabet)) for _ in range(700)] for _ in range(2))
    assert told(a, b) == (a, b)


def test_a_word_that_moves_in_a_long_line():
    a = [f"w{number}" for number in range(500)]
    b = [*a[:100], *a[101:400], "new", *a[400:], a[100]]
    changed = [(operation, *old, "|", *new) for operation, old, new in runs(a, b) if operation != "equal"]
    assert changed == [("delete", "w100", "|"), ("insert", "|", "new"), ("insert", "|", "w100")]


def test_many_alike_words_are_not_compared_in_pairs(monkeypatch: pytest.MonkeyPatch):
    compared = []

    class Counting(SequenceMatcher):  # type: ignore[type-arg]
        def __init__(self, junk: None, a: list[str], b: list[str], autojunk: bool) -> None:
            compared.append(len(a) * len(b))
            super().__init__(junk, a, b, autojunk)

    monkeypatch.setattr(words, "SequenceMatcher", Counting)
    a, b = ["a", "b"] * 2000, ["b", "a", "a"] * 2000
    assert told(a, b) == (a, b)
    assert max(compared, default=0) <= words._PAIRS_MAX
