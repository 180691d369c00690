"""The growth bench: exponents of work that is known, told from counts and not from a clock."""

from __future__ import annotations

import pytest

from scripts import growth
from scripts.growth import Growing


@pytest.mark.parametrize(("power", "exponent"), [(0, 0), (1, 1), (2, 2)])
def test_the_exponent(power: int, exponent: float, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(growth, "_best", lambda size: growth.MEASURABLE * size**power)
    found = growth.measured(Growing("x", 4, lambda n: n, most=4))  # type: ignore[arg-type, return-value]
    assert found.exponent == pytest.approx(exponent)
    assert found.n == 4


def test_a_size_that_cannot_be_measured_grows(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(growth, "_best", lambda size: size / 1e6)
    assert growth.measured(Growing("x", 1, lambda n: n)).n == 4096  # type: ignore[arg-type, return-value]


def test_what_is_over_the_bound(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setattr(growth, "ROWS", (Growing("square", 1, lambda n: n, most=1),))  # type: ignore[arg-type, return-value]
    monkeypatch.setattr(growth, "_best", lambda size: size**2)
    assert growth.report() == 1
    assert capsys.readouterr().out.splitlines()[1].endswith("2.00  over")
    assert growth.report("no such") == 0


@pytest.mark.parametrize("row", growth.ROWS, ids=lambda row: row.name)
def test_each_input_can_be_made(row: Growing):
    """None of them is an error of the bench itself."""
    growth._best(row.make(min(row.start, 16)))
