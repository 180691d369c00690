"""Inputs that can be read only once: standard input, named by ``-``, and the pipe of a process substitution."""

from __future__ import annotations

import os
import sys

from stubsim.errors import StubsimError, reason

STANDARD_INPUT = "-"
# A UKI with its initrd; what is piped is held in memory.
MAXIMUM_SIZE = 1 << 30

# The stream itself, by which another one of the same name is told apart, and what was in it.
_read: dict[str, tuple[object, bytes]] = {}


def content(path: str) -> bytes | None:
    """All bytes of such an input, the same ones each time; None where `path` is a file like any other.

    Raises StubsimError for one that cannot be read or has more than MAXIMUM_SIZE bytes.
    """
    if path != STANDARD_INPUT and not _is_pipe(path):
        return None
    name = "standard input" if path == STANDARD_INPUT else path
    try:
        identity = sys.stdin if path == STANDARD_INPUT else os.stat(path).st_ino
        known, data = _read.get(path, (None, b""))
        if known is None or known != identity:
            data = _all(path)
            _read[path] = identity, data
    except (OSError, ValueError) as error:
        raise StubsimError(reason(error), path=name) from error
    if len(data) > MAXIMUM_SIZE:
        raise StubsimError("too large", path=name, expected=f"at most {MAXIMUM_SIZE >> 20} MiB of a pipe")
    return data


def read(path: str, most: int) -> bytes:
    """So many bytes of a file, or all of such an input. OSError and ValueError of a file go through."""
    streamed = content(path)
    if streamed is not None:
        return streamed
    with open(path, "rb") as file:
        return file.read(most)


def _is_pipe(path: str) -> bool:
    """Whether this is a descriptor of this process, as in ``<(command)``; a named pipe may have no writer and block."""
    return path.startswith(("/dev/fd/", "/proc/self/fd/", "/dev/stdin")) and "/fd/pipe:[" in os.path.realpath(path)


def _all(path: str) -> bytes:
    if path != STANDARD_INPUT:
        with open(path, "rb") as file:
            return file.read(MAXIMUM_SIZE + 1)
    if sys.stdin is None:
        raise ValueError("is closed")
    return sys.stdin.buffer.read(MAXIMUM_SIZE + 1)
