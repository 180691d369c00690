"""A column by its distinct values says of each row what a list would."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from stubsim.fleet.coded import Coded

ROWS = st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from("abcd"), st.integers(0, 2)))


def rows(column: Coded) -> list[object]:
    return [column.at(row) for row in range(len(column.codes))]


@given(ROWS)
def test_each_row_is_what_a_list_has(table: list[tuple[str, str, int]]):
    one, two, three = (Coded.of(row[place] for row in table) for place in range(3))
    joined = one.with_(two, lambda x, y: x + y).with_(three, lambda text, number: f"{text}{number}")
    assert rows(joined) == [f"{a}{b}{c}" for a, b, c in table]
    assert len(joined.values) == len({*table})
    assert rows(one.each(str.upper)) == [row[0].upper() for row in table]


@given(ROWS)
def test_what_becomes_alike_is_joined_once(table: list[tuple[str, str, int]]):
    many = Coded.of(table).each(lambda row: row[2])
    merged = many.merged()
    assert rows(merged) == rows(many)
    assert len(merged.values) == len({row[2] for row in table})


@given(st.integers(0, 3))
def test_one_value_for_all(count: int):
    alike = Coded.alike(count, "x")
    assert rows(alike) == ["x"] * count
    assert rows(alike.with_(Coded.alike(count, "y"), lambda x, y: x + y)) == ["xy"] * count
