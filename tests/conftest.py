"""What every test shares: the recordings' place, and deterministic hypothesis runs."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Generator
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("stubsim", derandomize=True, deadline=None, database=None)
settings.load_profile("stubsim")

ROOT = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("STUBSIM_SHARED", ROOT.parent / "shared"))
NO_ORACLE = "oracle not installed"
NO_RECORDINGS = "no recordings"
# Made by scripts/oracles.sh.
ORACLES = Path(os.environ.get("STUBSIM_ORACLES", "/var/cache/stubsim-oracles"))
# Where Debian keeps dmidecode and systemd-measure.
ORACLE_PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/lib/systemd", "/lib/systemd"])


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Bytes of a fresh key or a whole image are no name of a test: each process of one run has to give the same."""
    return argname if isinstance(val, bytes) and len(val) > 64 else None


def recordings(kind: str = "golden") -> list[Path]:
    """The recorded boots outside the repository, none where they are absent."""
    return sorted(path for path in (SHARED / kind).glob("*@*") if path.is_dir())


@pytest.fixture(scope="session")
def shared() -> Path:
    if not SHARED.is_dir():
        pytest.skip(f"{NO_RECORDINGS} at {SHARED} (STUBSIM_SHARED)")
    return SHARED


@pytest.fixture(scope="session")
def oracle() -> Callable[[str], str]:
    """Find a tool that we did not write: ``oracle("dtc")`` is its path.

    Without the tool the test skips; where CI=true it fails, since a comparison that never runs proves nothing.
    """

    def find(name: str) -> str:
        path = shutil.which(name, path=ORACLE_PATH)
        if path is None:
            reason = f"{NO_ORACLE}: {name} (make test-oracles)"
            if os.environ.get("CI") == "true":
                pytest.fail(reason, pytrace=False)
            pytest.skip(reason)
        return path

    return find


@pytest.fixture(scope="session")
def oracle_file() -> Callable[[str], bytes]:
    """Read a file of a Debian package that we did not make; absent, it is as with ``oracle``."""

    def content(name: str) -> bytes:
        path = Path(name)
        if not path.is_file():
            reason = f"{NO_ORACLE}: {name} (make test-oracles)"
            if os.environ.get("CI") == "true":
                pytest.fail(reason, pytrace=False)
            pytest.skip(reason)
        return path.read_bytes()

    return content


@pytest.fixture(scope="session")
def newer_oracle() -> Callable[..., str]:
    """Run a tool of Debian testing on some bytes: ``newer_oracle("ukify", data, "inspect", "{}")`` is what it prints.

    ``{}`` stands for the file with the data, ``suite`` for another Debian. Absent, or for anyone but root, it is as
    with ``oracle``.
    """

    def execute(name: str, data: bytes, *arguments: str, suite: str = "testing") -> str:
        root = ORACLES / suite
        if not (root / "usr/bin" / name).exists() or os.geteuid() != 0:
            reason = f"{NO_ORACLE}: {name} of Debian {suite} (make test-oracles as root)"
            if os.environ.get("CI") == "true":
                pytest.fail(reason, pytrace=False)
            pytest.skip(reason)
        with tempfile.NamedTemporaryFile(dir=root / "tmp") as file:
            file.write(data)
            file.flush()
            command = [argument.format(f"/tmp/{Path(file.name).name}") for argument in arguments]
            done = subprocess.run(
                ["chroot", str(root), name, *command], capture_output=True, check=True, text=True, timeout=120
            )
        return done.stdout

    return execute


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> Generator[None]:
    """Say right above the closing line how much was not tested, since skips are easily overlooked."""
    yield
    reasons = [str(report.longrepr) for report in terminalreporter.stats.get("skipped", [])]
    oracles = sum(NO_ORACLE in reason for reason in reasons)
    # A parametrization over absent recordings is one skip of an empty set.
    absent = sum(NO_RECORDINGS in reason or "empty parameter set" in reason for reason in reasons)
    terminalreporter.write_line(f"{len(reasons)} skipped: {oracles} oracle tools missing, {absent} recordings absent")
