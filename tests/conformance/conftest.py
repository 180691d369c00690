"""What the tests of the recordings share."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def linux(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """golden-linux with its big files put together."""
    folder, out = shared / "golden-linux", tmp_path_factory.mktemp("linux")
    subprocess.run([sys.executable, str(folder / "restore.py"), str(folder), str(out)], check=True, capture_output=True)
    return out
