"""What README promises of a fresh Debian with python3, git and make, tried on one."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable

import pytest

from tests.documents import ROOT


@pytest.mark.heavy
@pytest.mark.parametrize("suite", ["bookworm", "trixie"])
def test_make_demo_is_enough_on_a_fresh_debian(suite: str, oracle: Callable[[str], str]):
    oracle("debootstrap")
    if os.geteuid() != 0:
        pytest.skip("debootstrap and chroot need root")
    done = subprocess.run(
        [ROOT / "scripts" / "fresh.sh", suite],
        capture_output=True, text=True, timeout=1800, stdin=subprocess.DEVNULL, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    assert "installing python3-venv: apt-get install python3-venv" in done.stdout
    assert done.stdout.count("$ stubsim boot") == 3
    assert done.stdout.endswith(f"fresh: make demo is done on a fresh {suite}\n")
