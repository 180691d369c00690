from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stubsim.systemd.key_value import key_values


@pytest.mark.parametrize(
    ("line", "separators", "expected"),
    [
        (b"title  Lab OS \t", b" \t", [(b"title", b"Lab OS")]),
        (b"\ttitle\tx", b" \t", [(b"title", b"x")]),
        (b"title", b" \t", []),
        (b"# title x", b" \t", []),
        (b"ID=lab", b"=", [(b"ID", b"lab")]),
        (b"ID=", b"=", [(b"ID", b"")]),
        (b"ID==x", b"=", [(b"ID", b"x")]),
        (b"ID = x", b"=", [(b"ID ", b" x")]),
        (b"=x", b"=", [(b"", b"x")]),
        (b"ID=\"a'", b"=", [(b"ID", b"\"a'")]),
        (b"ID=\"a b\"", b"=", [(b"ID", b"a b")]),
        (b"ID='a'", b"=", [(b"ID", b"a")]),
        (b"ID=\"", b"=", [(b"ID", b"")]),
        (b"a 1\rb 2\r\n\nc 3", b" \t", [(b"a", b"1"), (b"b", b"2"), (b"c", b"3")]),
        (b"a 1\n\0b 2", b" \t", [(b"a", b"1")]),
    ],
)  # fmt: skip
def test_lines(line: bytes, separators: bytes, expected: list[tuple[bytes, bytes]]):
    assert list(key_values(line, separators)) == expected


@pytest.mark.parametrize(
    ("text", "values"),
    [
        (b"ID=\nNAME=x\nB=y\n", [b"NAME=x\nB=y\n", b"x", b"y"]),
        (b"ID=", [b""]),
        (b"ID=\n", [b""]),
        (b"ID= \nA=x", [b"", b"x"]),
        (b"ID=  \nA=x", [b" ", b"x"]),
        (b"ID==\nA=x", [b"", b"x"]),
        (b'ID=""\nA=x', [b"", b"x"]),
        (b"ID=\0NAME=x", [b"NAME=x"]),
    ],
)
def test_what_stands_behind_an_empty_value(text: bytes, values: list[bytes]):
    """By line_get_key_value() of 261.1, line by line; the byte behind the line's NUL is where the value begins."""
    assert [value for _, value in key_values(text, b"=", oversteps=True)] == values


def test_quotes_of_older_releases():
    assert list(key_values(b"A='x'\nB=\"y\"", b"=", quotes=b'"')) == [(b"A", b"'x'"), (b"B", b"y")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"a 1\n \nb 2\nc 3\n", [(b"a", b"1"), (b"b", b"2\nc 3\n")]),
        (b"a 1\n\t\n  b  2\nc 3", [(b"a", b"1"), (b"b", b"2\nc 3")]),
        (b"a 1\n\nb 2", [(b"a", b"1"), (b"b", b"2")]),
        # A comment is passed over alone, and a rest without a separator line by line.
        (b" \n# c\nb 2\nc 3", [(b"b", b"2"), (b"c", b"3")]),
        (b"a 1\n \nb\nc", [(b"a", b"1")]),
        (b"a 1\n \n", [(b"a", b"1")]),
        # The end of the line is the carriage return, and the key begins with the line feed.
        (b"a 1\r\n \r\nb 2\r\n", [(b"a", b"1"), (b"\nb", b"2\r\n")]),
        # What is looked at for a closing quote is the end of the line before.
        (b'a 1"\n \nb "2"\nc', [(b"a", b'1"'), (b"b", b'2"\nc')]),
        (b'a 1\n \nb "2"\nc', [(b"a", b"1"), (b"b", b'"2"\nc')]),
    ],
)
def test_what_stands_behind_a_line_of_blanks(text: bytes, expected: list[tuple[bytes, bytes]]):
    """As line_get_key_value() of 252.12 does it, compiled: nothing stops the search for the key's first letter."""
    assert list(key_values(text, b" \t", runs_on=True)) == expected


@given(st.binary(max_size=60), st.sampled_from([b"=", b" \t"]))
def test_any_bytes_that_are_overstepped_or_run_on(content: bytes, separators: bytes):
    for flag in ("oversteps", "runs_on"):
        for _, value in key_values(content, separators, **{flag: True}):
            assert b"\0" not in value


@given(st.lists(st.sampled_from([b"a 1", b" b  2", b"# c", b"", b"d"])), st.sampled_from([b"=", b" \t"]))
def test_without_lines_of_blanks_nothing_runs_on(lines: list[bytes], separators: bytes):
    text = b"\n".join(lines)
    assert list(key_values(text, separators, runs_on=True)) == list(key_values(text, separators))


@given(st.binary(max_size=60), st.sampled_from([b"=", b" \t"]))
def test_any_bytes(content: bytes, separators: bytes):
    for key, value in key_values(content, separators):
        assert not set(key) & set(separators)
        assert not set(value) & set(b"\0\n\r")


def test_what_follows_is_not_copied_for_each_line():
    """A million lines like that are no reason to copy the text a million times."""
    values = [value for _, value in key_values(b"A=\n" * 100, b"=", oversteps=True)]
    assert all(isinstance(value, memoryview) for value in values[:-1])
