"""A row is what typing makes of the same class body."""

from __future__ import annotations

import pickle
import typing

import pytest

from stubsim import rows


class Ours(rows.NamedTuple):
    """Of a thing."""

    name: str
    sizes: tuple[int, ...] = ()
    at: int | None = None

    @property
    def total(self) -> int:
        return sum(self.sizes)

    def moved(self, by: int) -> Ours:
        return self._replace(at=(self.at or 0) + by)

    @classmethod
    def named(cls, name: str) -> Ours:
        return cls(name)


class Typings(typing.NamedTuple):
    """Of a thing."""

    name: str
    sizes: tuple[int, ...] = ()
    at: int | None = None

    @property
    def total(self) -> int:
        return sum(self.sizes)


ATTRIBUTES = ("__bases__", "__doc__", "__module__", "__slots__", "__match_args__", "_fields", "_field_defaults")


@pytest.mark.parametrize("attribute", ATTRIBUTES)
def test_the_class_is_as_typing_makes_it(attribute: str):
    assert getattr(Ours, attribute) == getattr(Typings, attribute)
    assert (Ours.__name__, Ours.__qualname__) == ("Ours", "Ours")


def test_its_annotations_are_there_for_whoever_asks():
    assert typing.get_type_hints(Ours) == typing.get_type_hints(Typings)


def test_its_rows_are_tuples_with_names():
    row = Ours("a", (1, 2))
    assert row == Typings("a", (1, 2)) == ("a", (1, 2), None)
    assert row.total == 3
    assert row.moved(5).at == 5
    assert Ours.named("b") == ("b", (), None)
    assert repr(row) == "Ours(name='a', sizes=(1, 2), at=None)"
    assert row._asdict() == Typings("a", (1, 2))._asdict()
    assert type(pickle.loads(pickle.dumps(row))) is Ours


def test_a_field_without_a_value_is_missed():
    with pytest.raises(TypeError):
        Ours()  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        Ours("a", other=1)  # type: ignore[call-arg]
