from __future__ import annotations

import fnmatch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stubsim.systemd.pattern import matches


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("", ""), ("abc", "abc"), ("*", ""), ("*", "lab-1.efi"), ("lab-*", "lab-1.efi"), ("*.efi", "lab-1.efi"),
        ("lab-?.efi", "lab-1.efi"), ("[a-c]x", "bx"), ("[]a]", "]"), ("[a-]", "-"), ("[-a]", "-"), ("[\\]]", "]"),
        ("\\*", "*"), ("a*b*c", "a1b2b3c"), ("*a*a*", "aa"), ("**", "x"), ("[a-\\c]", "b"), ("[a-c-f]", "-"),
        ("[^a]", "^"), ("[!a]", "!"), ("a*", "a"),
    ],
)  # fmt: skip
def test_matches(pattern: str, text: str):
    assert matches(pattern, text)


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("", "a"), ("abc", "ab"), ("abc", "abcd"), ("?", ""), ("[", "["), ("[a", "a"), ("a\\", "a\\"), ("[a-", "a"),
        ("*\\", "x"), ("[^a]", "b"), ("*a*a*", "a"), ("ab*ba", "aba"), ("[a-c-f]", "e"), ("x@2", "x@p2"),
        ("[a]", ""), ("A", "a"),
    ],
)  # fmt: skip
def test_does_not_match(pattern: str, text: str):
    assert not matches(pattern, text)


@given(st.text("ab*?", max_size=8), st.text("ab", max_size=8))
def test_is_fnmatch_without_sets(pattern: str, text: str):
    assert matches(pattern, text) == fnmatch.fnmatchcase(text, pattern)


@given(st.text("a-b[]\\*?", max_size=12), st.text("ab-]\\", max_size=6))
def test_any_pattern_gives_an_answer(pattern: str, text: str):
    assert matches(pattern, text) in (True, False)


def test_many_stars_take_no_time():
    assert not matches("*a" * 200 + "b", "a" * 2000)
