"""What the tests of the commands share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.samples import MACHINE, written


@pytest.fixture(autouse=True)
def _narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is piped has no width of its own."""
    monkeypatch.setenv("COLUMNS", "80")


@pytest.fixture
def host(tmp_path: Path) -> Path:
    return written(tmp_path, "host.json", MACHINE)
