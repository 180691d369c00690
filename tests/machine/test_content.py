"""Sparse bytes: compared with a plain bytearray, and held by reference."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from stubsim.machine.content import Content

SIZE = 64
writes = st.lists(st.tuples(st.integers(0, SIZE), st.lists(st.binary(max_size=20), max_size=3)), max_size=12)


@given(writes, st.integers(0, SIZE), st.integers(0, 2 * SIZE))
def test_it_is_a_bytearray(rows: list[tuple[int, list[bytes]]], at: int, size: int):
    content, plain = Content(), bytearray(4 * SIZE)
    for number, (start, parts) in enumerate(rows):
        data = b"".join(parts)
        if number % 4 == 3:
            content.clear(start, len(data))
            plain[start : start + len(data)] = bytes(len(data))
        else:
            content.place(start, parts)
            plain[start : start + len(data)] = data
    assert b"".join(map(bytes, content.parts(at, size))) == plain[at : at + size]


def test_a_whole_piece_comes_back_as_the_object_it_was():
    content, first, second = Content(), memoryview(b"first"), memoryview(b"second")
    content.place(10, [first, second])
    assert [part is own for part, own in zip(content.parts(10, 11), (first, second), strict=True)] == [True, True]
    content.place(30, [b"x"])
    assert next(content.parts(10, 5)) is first
    content.place(12, [b"!"])
    assert b"".join(map(bytes, content.parts(10, 5))) == b"fi!st"


def test_whoever_changes_a_part_changes_the_content():
    data = bytearray(b"abc")
    content = Content()
    content.place(0, [memoryview(data)])
    data[1] = 0x78
    assert b"".join(map(bytes, content.parts(0, 4))) == b"axc\0"
