"""A folder with a UKI and machines: one that gets its firmware and its devicetree, and one that gets nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.samples import FULL_UKI, MACHINE, written

OTHER = {**MACHINE, "manufacturer": "Somebody else"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    written(tmp_path, "uki.efi", FULL_UKI)
    (tmp_path / "hosts").mkdir()
    written(tmp_path / "hosts", "known.json", MACHINE)
    written(tmp_path / "hosts", "other.json", OTHER)
    return tmp_path


@pytest.fixture
def case_file(folder: Path) -> Callable[..., Path]:
    """Write a case file: the text is put behind a UKI, and a host unless it has one."""

    def write(text: str, name: str = "a.boot.toml", *, host: str | None = '"hosts/known.json"') -> Path:
        head = 'uki = "uki.efi"\n' + ("" if host is None else f"host = {host}\n")
        return written(folder, name, (head + text).encode())

    return write
