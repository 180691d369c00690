"""What the tests of `diff-log` share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from stubsim import hosts, uki
from stubsim.result import Boot
from stubsim.simulation import boot
from stubsim.start import Start
from tests.explain.logs import MACHINE, Write
from tests.samples import FULL_UKI


@pytest.fixture
def booted(tmp_path: Path) -> Write:
    """Boot these bytes on this host with this partition; all but those are fields of Start."""
    count = 0

    def run(
        image: bytes = FULL_UKI, host: dict[str, Any] | None = None, files: dict[str, bytes] | None = None, **start: Any
    ) -> Boot:
        nonlocal count
        count += 1
        folder = tmp_path / str(count)
        folder.mkdir()
        (folder / "uki.efi").write_bytes(image)
        if files is not None:
            for name, content in {"EFI/Linux/uki.efi": image, **files}.items():
                path = folder / "esp" / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            start["esp"] = str(folder / "esp")
        return boot(
            uki.load(str(folder / "uki.efi")), hosts.from_json(MACHINE if host is None else host), Start(**start)
        )

    return run
