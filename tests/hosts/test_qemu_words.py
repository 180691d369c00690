"""The words of a shell line: those of shlex.split(), which takes the square of a long word."""

from __future__ import annotations

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stubsim.hosts.qemu_options import shell_words

lines = st.text(st.sampled_from("ab -'\"\\\n\t#$"), max_size=16)


@given(lines)
def test_as_shlex(line: str):
    try:
        expected = shlex.split(line)
    except ValueError:
        with pytest.raises(ValueError, match=r"a (quote that is not closed|backslash at its end)"):
            shell_words(line)
    else:
        assert shell_words(line) == expected


def test_messages():
    for line, message in (("a 'b", "a quote"), ('a "b', "a quote"), ("a \\", "a backslash")):
        with pytest.raises(ValueError, match=message):
            shell_words(line)
