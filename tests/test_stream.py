"""Inputs that are read once: standard input and the pipes of process substitution."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from stubsim import stream
from stubsim.errors import StubsimError
from tests.samples import FULL_UKI, MACHINE, written


def standard_input(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(data)))


@contextmanager
def piped(data: bytes) -> Iterator[str]:
    reading, writing = os.pipe()

    def write() -> None:
        with os.fdopen(writing, "wb") as file:
            file.write(data)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield f"/dev/fd/{reading}"
    finally:
        thread.join()
        os.close(reading)


def test_standard_input_gives_the_same_bytes_again(monkeypatch: pytest.MonkeyPatch):
    standard_input(monkeypatch, b"abc")
    assert stream.content("-") == stream.content("-") == b"abc"
    standard_input(monkeypatch, b"another")
    assert stream.content("-") == b"another"


def test_a_pipe():
    for data in (b"x" * 200_000, b"other"):
        with piped(data) as path:
            assert stream.content(path) == stream.content(path) == data


def test_files_are_none(tmp_path: Path):
    path = written(tmp_path, "file", b"x")
    os.mkfifo(tmp_path / "fifo")
    # A pipe with a name may have no writer, and opening it would block.
    for name in (str(path), str(tmp_path / "fifo"), "/dev/null", "/dev/fd/99", "missing"):
        assert stream.content(name) is None


def test_the_beginning_of_a_file_or_all_of_a_stream(tmp_path: Path):
    path = tmp_path / "file"
    path.write_bytes(b"abcdef")
    assert stream.read(str(path), 4) == b"abcd"
    assert stream.read(str(path), 9) == b"abcdef"
    with piped(b"abcdef") as name:
        assert stream.read(name, 4) == b"abcdef"
    with pytest.raises(FileNotFoundError):
        stream.read(str(tmp_path / "none"), 4)


def test_too_much(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(stream, "MAXIMUM_SIZE", 10)
    standard_input(monkeypatch, b"x" * 11)
    with pytest.raises(StubsimError, match="too large"):
        stream.content("-")


def test_a_closed_standard_input(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(StubsimError, match="is closed"):
        stream.content("-")


@pytest.mark.parametrize(
    "command",
    [
        "inspect <(cat uki.efi)",
        "inspect - < uki.efi",
        "boot - --smbios host.json < uki.efi",
        "boot <(cat uki.efi) --smbios <(cat host.json) --load-options <(printf 'x\\0\\0\\0')",
        "hwids show - < uki.efi",
        "hwids lint --fail-on never <(cat uki.efi)",
        "measure uki.efi --smbios - < host.json",
    ],
)
def test_commands_take_them(tmp_path: Path, command: str):
    written(tmp_path, "uki.efi", FULL_UKI)
    written(tmp_path, "host.json", {"smbios": MACHINE})
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m stubsim {command}"],
        cwd=tmp_path, capture_output=True, check=False, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout
