"""The line that somebody sees who waits at a terminal."""

from __future__ import annotations

import io
import time
from contextlib import redirect_stderr

import pytest

from stubsim.cli import output, progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    monkeypatch.setenv("TERM", "xterm")
    return Terminal()


def wait_for(stream: io.StringIO, text: str) -> None:
    """As long as it takes: a thread writes it."""
    for _ in range(10_000):
        if text in stream.getvalue():
            return
        time.sleep(0.001)
    raise AssertionError(stream.getvalue())


def test_it_tells_what_goes_on_and_goes_away(terminal: Terminal):
    with redirect_stderr(terminal), progress.shown("hashing x.efi", delay=0.001):
        wait_for(terminal, "hashing x.efi (0 s)")
        progress.say("x.efi: 3 of 7 machines")
        wait_for(terminal, "x.efi: 3 of 7 machines")
    assert terminal.getvalue().endswith("\r\x1b[K")


def test_what_is_written_takes_its_place(terminal: Terminal):
    with redirect_stderr(terminal), progress.shown("hashing x.efi", delay=0.001):
        wait_for(terminal, "hashing")
        output.warn("something")
        said = terminal.getvalue()
        assert said.endswith("\r\x1b[Kstubsim: warning: something\n")
    assert terminal.getvalue() == said


def test_there_is_none_for_what_is_quick_or_where_nobody_looks(terminal: Terminal, monkeypatch: pytest.MonkeyPatch):
    with redirect_stderr(terminal), progress.shown("hashing", delay=3600):
        pass
    monkeypatch.setenv("TERM", "dumb")
    with redirect_stderr(terminal), progress.shown("hashing", delay=0):
        pass
    assert terminal.getvalue() == ""
