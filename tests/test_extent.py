"""Ranges of bytes that are not held: compared with plain bytes, and read with a check."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stubsim import extent
from stubsim.errors import StubsimError
from stubsim.extent import Extent, Piece

SIZE = 40
GIB = 1 << 30


@st.composite
def layouts(draw: st.DrawFn) -> tuple[Extent, bytes]:
    """Pieces apart from each other in SIZE bytes, and the same as bytes."""
    plain = bytearray(SIZE)
    pieces = []
    at = 0
    for _ in range(draw(st.integers(0, 4))):
        at += draw(st.integers(0, 6))
        data = draw(st.binary(min_size=1, max_size=10))[: SIZE - at]
        if not data:
            break
        source = extent.of_bytes(b"..." + data)
        pieces.append(Piece(at, at + len(data), source, 3))
        plain[at : at + len(data)] = data
        at += len(data)
    return extent.laid_out(pieces, SIZE, extent.of_bytes(b"")), bytes(plain)


@given(layouts(), st.integers(-50, 50), st.integers(-50, 50), st.integers(0, 60))
def test_it_is_bytes(given_: tuple[Extent, bytes], start: int, end: int, zeros: int):
    own, plain = given_
    cut, expected = own[start:end], plain[start:end]
    assert (len(cut), bytes(cut)) == (len(expected), expected)
    assert b"".join(cut.blocks()) == expected
    assert cut.view() == expected
    assert cut == expected
    assert not expected or cut != expected[:-1] + bytes([expected[-1] ^ 1])
    assert [cut[at] for at in range(-len(cut), len(cut))] == [*expected, *expected]
    held = bytes(cut.held(zeros))
    assert len(held) == min(cut.stored + zeros, len(cut))
    assert expected.startswith(held)
    assert not any(expected[len(held) :])
    assert bytes(cut[2:][1:]) == expected[2:][1:]


def test_outside_is_an_index_error():
    for at in (-4, 3):
        with pytest.raises(IndexError):
            extent.of_bytes(b"abc")[at]
    with pytest.raises(ValueError, match="step"):
        extent.of_bytes(b"abc")[::2]


@pytest.mark.parametrize("size", [0, 1, extent._HELD, extent._HELD + 1, extent._HELD + 3 * extent._PIECE])
def test_a_file_small_and_large(tmp_path: Path, size: int):
    data = (bytes(range(251)) * (size // 251 + 1))[:size]
    (tmp_path / "file").write_bytes(data)
    own = extent.of_file(str(tmp_path / "file"))
    assert own == data
    assert own.view() == data
    for start in (0, extent._PIECE - 1, size - 5):
        assert bytes(own[start : start + 9]) == data[start:][:9] if start >= 0 else True
    assert own.view() is own.view()


def test_a_file_that_shrinks_is_an_error_with_its_place(tmp_path: Path):
    path = tmp_path / "file"
    path.write_bytes(bytes(extent._HELD + 1000))
    own = extent.of_file(str(path))
    os.truncate(path, 70_000)
    assert bytes(own[:1000]) == bytes(1000)
    for part in (own, own[70_000:70_001], own[69_000:80_000]):
        with pytest.raises(StubsimError, match="became shorter while it was read") as caught:
            bytes(part)
        assert caught.value.path == str(path)
        assert caught.value.offset is not None


def test_a_small_file_is_held(tmp_path: Path):
    (tmp_path / "file").write_bytes(b"all of it")
    own = extent.of_file(str(tmp_path / "file"))
    (tmp_path / "file").write_bytes(b"")
    assert own == b"all of it"


def test_no_descriptor_is_left_open(tmp_path: Path):
    (tmp_path / "file").write_bytes(bytes(extent._HELD + 1))
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        assert extent.of_file(str(tmp_path / "file"))[0] == 0
    assert len(os.listdir("/proc/self/fd")) == before


def test_what_is_no_file(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe")
    for name, message in (("", "is a folder"), ("pipe", "not a regular file"), ("gone", "No such file")):
        with pytest.raises(StubsimError, match=message):
            extent.of_file(str(tmp_path / name))


def test_zeros_are_not_built():
    own = extent.laid_out([Piece(0, 3, extent.of_bytes(b"abc"), 0)], 64 * GIB, extent.of_bytes(b""))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert len(own) == 64 * GIB
    assert bytes(own[GIB : GIB + 3]) == bytes(3)
    assert bytes(own.held(5)) == b"abc" + bytes(5)
    assert next(own[GIB:].blocks()).nbytes == extent.BLOCK
    assert own[: 4 * GIB].view()[-1] == 0
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 8 << 10
