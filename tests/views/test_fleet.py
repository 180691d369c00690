"""An inventory's answer for people."""

from __future__ import annotations

import pytest

from stubsim.views.fleet import _because


@pytest.mark.parametrize(
    ("reasons", "text"),
    [
        ([], ""),
        (["one", "two", "three"], "one; two; three"),
        (["one", "two", "three", "four", "five"], "one; two; three; 2 more (--format json)"),
    ],
)
def test_of_many_reasons_a_few_are_told(reasons: list[str], text: str):
    assert _because(reasons) == text
