"""Digests of ranges, small and large: the same as hashlib's, each hashed once."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stubsim import digests, extent
from stubsim.digests import Digests, Shared
from stubsim.errors import StubsimError
from stubsim.extent import Extent

BANKS = ("sha1", "sha256", "sha384", "sha512")
LARGE = digests._LARGE
SIZES = [0, 1, LARGE - 1, LARGE, LARGE + 1]


def content(size: int) -> bytes:
    return (bytes(range(251)) * (size // 251 + 1))[:size]


def expected(data: bytes, banks: tuple[str, ...] = BANKS) -> dict[str, bytes]:
    return {bank: hashlib.new(bank, data).digest() for bank in banks}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("ahead", [False, True])
def test_as_hashlib_does(size: int, ahead: bool):
    data = content(size)
    own = Digests(BANKS)
    if ahead:
        own.start(data)
    assert own.of(data) == expected(data)
    assert own.of(data) == expected(data)
    assert own.of(memoryview(data)) == expected(data)
    assert own.of(data, ("sha1",)) == expected(data, ("sha1",))
    assert own.sha256(data) == hashlib.sha256(data).digest()


def test_in_chunks(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(extent, "BLOCK", 1000)
    data = content(LARGE + 77)
    assert Digests().of(data) == expected(data, ("sha256",))


def test_many_at_once():
    ranges = [memoryview(content(LARGE + number)) for number in range(6)]
    own = Digests(("sha1", "sha256"))
    for data in ranges:
        own.start(data)
    assert [own.of(data) for data in ranges] == [expected(bytes(data), ("sha1", "sha256")) for data in ranges]


def test_a_large_range_is_hashed_once(monkeypatch: pytest.MonkeyPatch):
    calls = []
    update = digests._update
    monkeypatch.setattr(digests, "_update", lambda state, data: (calls.append(len(data)), update(state, data))[1])
    own, data = Digests(), content(LARGE)
    own.start(data)
    for _ in range(3):
        own.of(data)
        own.sha256(data)
    assert own.sha256_of_parts([data]) == hashlib.sha256(data).digest()
    assert calls == [LARGE]


def test_a_small_view_is_hashed_once(monkeypatch: pytest.MonkeyPatch):
    calls = []
    hashing = digests._hashing
    monkeypatch.setattr(digests, "_hashing", lambda state, data: (calls.append(state.name), hashing(state, data))[1])
    own, data = Digests(BANKS), b"a section"
    view = memoryview(data)
    for _ in range(3):
        assert own.of(view) == expected(data)
    assert calls == list(BANKS)


@pytest.mark.parametrize("sizes", [[], [0], [5], [5, 0, 7], [LARGE, 3], [3, LARGE], [LARGE, LARGE]])
def test_parts(sizes: list[int]):
    parts = [content(size) for size in sizes]
    own = Digests()
    if parts:
        own.start(parts[0])
    assert own.sha256_of_parts(parts) == hashlib.sha256(b"".join(parts)).digest()
    # The first part's own digest is not disturbed.
    for part in parts:
        assert own.sha256(part) == hashlib.sha256(part).digest()


@given(st.lists(st.binary(max_size=50), max_size=5))
def test_any_parts(parts: list[bytes]):
    assert Digests().sha256_of_parts(parts) == hashlib.sha256(b"".join(parts)).digest()


class TestShared:
    """What was hashed of a file is known to every boot of it, and nothing else is kept."""

    @pytest.fixture
    def file(self, tmp_path: Path) -> Extent:
        (tmp_path / "file").write_bytes(content(LARGE + 4096))
        return extent.of_file(str(tmp_path / "file"))

    def test_a_view_is_hashed_once_for_all(self, file: Extent, monkeypatch: pytest.MonkeyPatch):
        calls = []
        hashing = digests._hashing
        monkeypatch.setattr(digests, "_hashing", lambda state, data: (calls.append(len(data)), hashing(state, data))[1])
        shared = Shared(file)
        for _ in range(3):
            assert Digests(BANKS, shared).of(file[:100]) == expected(bytes(file[:100]))
        assert calls == [100] * len(BANKS)

    def test_views_of_something_else_are_not_kept(self, file: Extent):
        shared = Shared(file)
        other = extent.of_bytes(b"an addon, opened by one boot")
        assert Digests(BANKS, shared).of(other) == expected(bytes(other))
        assert shared.states == {}

    def test_wait_is_for_what_is_hashed_in_the_background(self, file: Extent):
        shared = Shared(file)
        Digests(("sha256",), shared).start(file)
        shared.wait()
        (state,) = shared.states.values()
        assert state.thread is not None
        assert not state.thread.is_alive()
        assert state.hash.digest() == hashlib.sha256(bytes(file)).digest()

    def test_what_fails_in_the_background_is_told_to_whoever_asks(self, file: Extent, tmp_path: Path):
        shared = Shared(file)
        os.truncate(tmp_path / "file", 4096)
        own = Digests(("sha256",), shared)
        own.start(file)
        for _ in range(2):
            with pytest.raises(StubsimError, match="became shorter"):
                own.sha256(file)
