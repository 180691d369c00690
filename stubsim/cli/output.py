"""Where a command's result goes: standard output, or a file that is there whole or not at all."""

from __future__ import annotations

import os
import sys

from stubsim.errors import StubsimError


def write(path: str, content: str | bytes) -> None:
    """Write text or bytes to a file, or to standard output for ``-``; binary data is kept from a terminal."""
    data = content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content
    if path != "-":
        write_file(path, [data])
        return
    if isinstance(content, bytes) and sys.stdout.isatty():
        raise StubsimError("binary output would garble the terminal", hint="use -o FILE or a pipe")
    try:
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        discard()
        raise StubsimError(f"cannot be written: {error.strerror or error}", path="standard output") from error


def discard() -> None:
    """Lose what is still to be written to standard output, or the interpreter complains of it at its end."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)


def write_file(path: str, parts: list[bytes | memoryview]) -> None:
    """Write the parts to a temporary file beside the target and rename it.

    A link stays one, and what is no regular file (a device, a pipe) is written to: renaming would take its place.
    """
    target = os.path.realpath(path)
    temporary = f"{target}.{os.getpid()}.tmp"
    try:
        if os.path.exists(target) and not os.path.isfile(target):
            with open(target, "wb") as file:
                file.writelines(parts)
            return
        try:
            with open(temporary, "wb") as file:
                file.writelines(parts)
            os.replace(temporary, target)
        except BaseException:
            if os.path.exists(temporary):
                os.unlink(temporary)
            raise
    except OSError as error:
        raise StubsimError(f"cannot be written: {error.strerror or error}", path=path) from error
