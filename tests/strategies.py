"""Hypothesis strategies that several tests share."""

from __future__ import annotations

from hypothesis import strategies as st

# Numbers at which a size or an offset begins to hurt.
_EDGES = (0, 1, 0x7FFF, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFF0, 0xFFFFFFFF)


def mutated(data: bytes, *, places: list[int] | None = None) -> st.SearchStrategy[bytes]:
    """The bytes with a few of them flipped, numbers in them grown, or the end cut off; preferably at ``places``."""
    anywhere = st.integers(0, len(data) - 1)
    where = st.one_of(st.sampled_from(places), anywhere) if places else anywhere
    flip = st.tuples(where, st.binary(min_size=1, max_size=1))
    grow = st.tuples(
        where, st.sampled_from([number.to_bytes(4, "little") for number in _EDGES] + [b"\xff\xff", b"\x01\0"])
    )
    cut = st.one_of(st.none(), st.none(), anywhere)
    return st.builds(
        lambda edits, end: _edited(data, edits)[:end], st.lists(st.one_of(flip, grow), min_size=1, max_size=4), cut
    )


def _edited(data: bytes, edits: list[tuple[int, bytes]]) -> bytes:
    changed = bytearray(data)
    for at, new in edits:
        changed[at : at + len(new)] = new
    return bytes(changed[: len(data)])
