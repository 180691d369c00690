from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stubsim.stub.models import DESCRIPTIVE, StubModel
from stubsim.stub.releases import CHANGES, changes, fields
from stubsim.systemd.release import KNOWN, NEWEST, OLDEST, Change, Release, Version, in_words, parse


def change(*since: str) -> Change:
    return Change("name", since, {}, "what", "source", "")


@pytest.mark.parametrize(
    ("since", "holding", "not_holding"),
    [
        (("258",), ["258.0", "258.1", "259.0", "262.1"], ["257.13", "252.0"]),
        (
            ("260.3", "261.1", "262"),
            ["260.3", "260.4", "261.1", "261.2", "262.0", "262.1"],
            ["260.2", "261.0", "259.8"],
        ),
        (("258.10", "259.8", "260.4", "261.2"), ["258.10", "262.0", "263.0"], ["258.9", "259.0", "260.3", "261.1"]),
        (("258.10", "260.1"), ["258.10", "260.1", "261.0"], ["259.8", "260.0"]),
    ],
)
def test_a_backport_holds_in_its_own_series_only(since: tuple[str, ...], holding: list[str], not_holding: list[str]):
    for texts, holds in ((holding, True), (not_holding, False)):
        for text in texts:
            version = parse(text)
            assert version is not None
            assert version.release is not None
            assert change(*since).holds(version.release) == holds, text


@pytest.mark.parametrize(
    ("version", "parsed"),
    [
        ("262.1-1", Version(Release(262, 1), 262, None)),
        ("v262", Version(None, 262, None)),
        ("262~rc1-1", Version(None, 262, "rc1")),
        ("258-rc2-4-g0123abc", Version(None, 258, "rc2")),
        ("261~devel", Version(None, 261, "devel")),
        ("257.13-1~deb13u1", Version(Release(257, 13), 257, None)),
        ("258.3-1.fc43", Version(Release(258, 3), 258, None)),
        ("252-51.el9", Version(None, 252, None)),
        ("255.4+suse.1", Version(Release(255, 4), 255, None)),
        ("gabc", None),
        ("", None),
        ("²", None),
        ("9" * 5000, None),
    ],
)
def test_parse(version: str, parsed: Version | None):
    assert parse(version) == parsed


@given(st.text(max_size=40))
def test_anything_is_a_version_or_none(text: str):
    found = parse(text)
    assert found is None or text.lstrip("v").startswith(str(found.major).zfill(1)) or text.lstrip("v")[0] == "0"


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (["257.13"], "257.13"),
        (["258.0"], "258.0"),
        (["257.12", "257.13"], "257.12, 257.13"),
        ([str(release) for release in KNOWN if release.major == 257], "257"),
        ([str(release) for release in KNOWN if Release(258, 0) <= release <= Release(260, 2)], "258 to 260.2"),
        ([str(release) for release in KNOWN if Release(254, 3) <= release <= Release(256, 17)], "254.3 to 256"),
        (["257.1", "257.2", "257.3", "262.1"], "257.1 to 257.3, 262.1"),
    ],
)
def test_in_words(texts: list[str], words: str):
    found = [version.release for text in texts if (version := parse(text)) and version.release]
    assert in_words(found) == words


# The table.


def test_rows_are_named_once_and_say_how_they_are_known():
    assert len({row.name for row in CHANGES}) == len(CHANGES)
    for row in CHANGES:
        assert row.basis in ("recorded", "run", "source"), row.name
        assert row.what, row.name
        assert row.reference, row.name


def test_rows_stand_in_the_order_of_their_first_release():
    firsts = [min(row.borders) for row in CHANGES]
    assert firsts == sorted(firsts)


def test_every_row_sets_fields_of_the_model_and_changes_something():
    """A row that makes no difference where it begins is not needed, or its release is wrong."""
    names = set(StubModel._fields) - set(DESCRIPTIVE)
    for row in CHANGES:
        assert row.sets, row.name
        assert row.sets.keys() <= names, row.name
        for border in row.borders:
            rows = changes(border)
            assert row in rows, row.name
            assert fields(rows) != fields(each for each in rows if each is not row), (row.name, border)


def test_borders_are_known_releases():
    for row in CHANGES:
        for border in row.borders:
            assert OLDEST < border <= NEWEST, row.name
            assert border in KNOWN, row.name
