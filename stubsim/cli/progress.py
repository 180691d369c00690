"""A line on standard error for whoever waits at a terminal longer than a second; gone once something is written."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from stubsim.printable import clean

if TYPE_CHECKING:
    from threading import Event

# Seconds before there is a line at all, and between two of them.
_DELAY, _STEP = 1.0, 0.25
_ERASE = "\r\x1b[K"


class _Line:
    """What is shown now; written to from a thread of its own, since hashing does not come by here."""

    def __init__(self) -> None:
        self.what = ""
        self.visible = False
        self.stop: Event | None = None

    def erase(self) -> None:
        if self.visible:
            self.visible = False
            _write(_ERASE)


_LINE = _Line()


@contextmanager
def shown(what: str, delay: float = _DELAY) -> Iterator[None]:
    """Show that something goes on for as long as it does; nothing where standard error is no terminal."""
    if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb" or _LINE.stop is not None:
        yield
        return
    from threading import Event, Thread

    _LINE.what, _LINE.stop = what, Event()
    thread = Thread(target=_show, args=(_LINE.stop, delay), daemon=True)
    thread.start()
    try:
        yield
    finally:
        finish()
        thread.join()


def say(what: str) -> None:
    """What it is that goes on."""
    _LINE.what = what


def finish() -> None:
    """Take the line away for good: now something is written."""
    if _LINE.stop is not None:
        _LINE.stop.set()
        _LINE.stop = None
        _LINE.erase()


def _show(stop: Event, delay: float) -> None:
    seconds = delay
    while not stop.wait(delay if seconds == delay else _STEP):
        _LINE.visible = True
        _write(f"{_ERASE}{clean(_LINE.what)} ({seconds:.0f} s)")
        seconds += _STEP
    _LINE.erase()


def _write(text: str) -> None:
    with suppress(OSError, ValueError):
        sys.stderr.write(text)
        sys.stderr.flush()
