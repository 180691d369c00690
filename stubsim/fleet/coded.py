"""A column by its distinct values, as Arrow's dictionaries are: what many rows share is worked out once."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any

from stubsim.rows import NamedTuple


class Coded(NamedTuple):
    """``values`` and for each row the place of its own among them; a value may stand at several places."""

    codes: Sequence[int]
    values: Sequence[Any]

    @classmethod
    def of(cls, rows: Iterable[Hashable]) -> Coded:
        places: dict[Hashable, int] = {}
        codes = array("i", (places.setdefault(value, len(places)) for value in rows))
        return cls(codes, tuple(places))

    @classmethod
    def alike(cls, rows: int, value: Any) -> Coded:
        """All rows have the same value."""
        return cls(array("i", bytes(4 * rows)), (value,))

    def at(self, row: int) -> Any:
        return self.values[self.codes[row]]

    def each(self, function: Callable[[Any], Any]) -> Coded:
        """Another value in place of each."""
        return Coded(self.codes, [function(value) for value in self.values])

    def merged(self) -> Coded:
        """Each value at one place only."""
        places: dict[Hashable, int] = {}
        codes = [places.setdefault(value, len(places)) for value in self.values]
        if len(places) == len(codes):
            return self
        return Coded(array("i", map(codes.__getitem__, self.codes)), tuple(places))

    def with_(self, other: Coded, joined: Callable[[Any, Any], Any]) -> Coded:
        """What comes of the two values that stand in the same row, for each pair that does."""
        if len(other.values) == 1:
            [single] = other.values
            return self.each(lambda value: joined(value, single))
        count = len(other.values)
        pairs = [one * count + two for one, two in zip(self.codes, other.codes, strict=True)]
        places = {pair: place for place, pair in enumerate(dict.fromkeys(pairs))}
        mine, others = self.values, other.values
        values = [joined(mine[pair // count], others[pair % count]) for pair in places]
        return Coded(array("i", map(places.__getitem__, pairs)), values)
