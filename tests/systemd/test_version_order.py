from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stubsim.systemd.version_order import compare_versions

# The specification's example, oldest first (UAPI.10 Version Format Specification).
OLDEST_FIRST = (
    "122.1", "123~rc1-1", "123", "123-a", "123-a.1", "123-1", "123-1.1", "123^post1", "123.a-1", "123.1-1", "123a-1",
    "124-1",
)  # fmt: skip
VERSIONS = st.text("01a~-^._", max_size=10)


@pytest.mark.parametrize("older", range(len(OLDEST_FIRST)))
def test_example_of_the_specification(older: int):
    for newer in range(older + 1, len(OLDEST_FIRST)):
        assert compare_versions(OLDEST_FIRST[older], OLDEST_FIRST[newer]) < 0
        assert compare_versions(OLDEST_FIRST[newer], OLDEST_FIRST[older]) > 0


@pytest.mark.parametrize(
    ("one", "other"), [("", None), ("1", "01"), ("1_2", "1+2"), ("é1", "1"), ("a", "_a"), ("1.0", "1.00")]
)
def test_equal(one: str, other: str | None):
    assert compare_versions(one, other) == 0


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ("9", "10"),
        ("a", "b"),
        ("ab", "abc"),
        ("a", "1"),
        ("~1", ""),
        ("", "1"),
        ("1-2", "1.1"),
        ("lab-1.efi", "lab-2.efi"),
    ],
)
def test_older(older: str, newer: str):
    assert compare_versions(older, newer) < 0 < compare_versions(newer, older)


@given(VERSIONS, VERSIONS)
def test_is_antisymmetric(one: str, other: str):
    assert compare_versions(one, other) == -compare_versions(other, one)
    assert compare_versions(one, one) == 0
