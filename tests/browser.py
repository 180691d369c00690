"""A real browser, headless, without network: what a page becomes in it, and how it looks."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

_QUIET = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
    "--hide-scrollbars",
)  # fmt: skip


def _run(chromium: str, page: Path, *arguments: str, dark: bool) -> subprocess.CompletedProcess[bytes]:
    scheme = ["--blink-settings=preferredColorScheme=0"] if dark else ["--blink-settings=preferredColorScheme=1"]
    with tempfile.TemporaryDirectory() as profile:
        command = [chromium, *_QUIET, f"--user-data-dir={profile}", *scheme, *arguments, page.as_uri()]
        return subprocess.run(command, capture_output=True, check=True, timeout=120)


def dumped_dom(chromium: str, page: Path, *, dark: bool = False, width: int = 1000) -> str:
    """The page as the browser has it after loading."""
    return _run(chromium, page, "--dump-dom", f"--window-size={width},900", dark=dark).stdout.decode()
