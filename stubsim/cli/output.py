"""Where a command's result goes: standard output, or a file that is there whole or not at all; and its complaints."""

from __future__ import annotations

import os
import stat
import sys
from typing import TYPE_CHECKING

from stubsim.cli import progress
from stubsim.errors import StubsimError
from stubsim.extent import Bytes, blocks

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable
    from typing import TextIO

    from stubsim.views.json import Json
    from stubsim.views.terminal import Screen


def write_report(
    arguments: argparse.Namespace,
    report: Json,
    render: Callable[[Json, Screen], str],
    page: Callable[[Json], str] | None = None,
) -> None:
    """Write a report in the --format asked for: as JSON, or as the text or the HTML page made from the JSON."""
    if arguments.format == "json":
        from stubsim.views.json import dumps

        write(arguments.output, dumps(report))
    elif arguments.format == "html" and page is not None:
        write(arguments.output, page(report))
    else:
        write(arguments.output, render(report, screen(arguments)))


def seen_together(arguments: argparse.Namespace) -> bool:
    """Whether the text and standard error are on one terminal: what is in the text is not said twice then."""
    return arguments.format == "text" and arguments.output == "-" and sys.stdout.isatty() and sys.stderr.isatty()


def screen(arguments: argparse.Namespace) -> Screen:
    """What the text is made for."""
    from stubsim.views import terminal

    return terminal.screen(to_file=arguments.output != "-", color=arguments.color)


def write(path: str, content: str | bytes) -> None:
    """Write text or bytes to a file, or to standard output for ``-``; binary data is kept from a terminal."""
    data = content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content
    progress.finish()
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
        discard(sys.stdout)
        raise StubsimError(f"cannot be written: {error.strerror or error}", path="standard output") from error


def warn(text: str) -> None:
    tell("warning", text)


def tell(level: str, text: str) -> None:
    """One line on standard error; the result does not depend on somebody reading it."""
    from stubsim.printable import clean

    progress.finish()
    try:
        print(f"stubsim: {level}: {clean(text)}", file=sys.stderr, flush=True)
    except OSError:
        discard(sys.stderr)


def discard(stream: TextIO) -> None:
    """Lose what is still to be written to a standard stream, or the interpreter complains of it at its end."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)


def write_file(path: str, parts: list[Bytes]) -> None:
    """Write the parts to a temporary file beside the target and rename it.

    A link stays one, a file that is there keeps its mode, and what is no regular file (a device, a pipe) is written
    to: renaming would take its place.
    """
    if not path:
        raise StubsimError("the name of the file to write is empty")
    target = os.path.realpath(path)
    temporary = f"{target}.{os.getpid()}.tmp"
    try:
        if os.path.exists(target) and not os.path.isfile(target):
            with open(target, "wb") as file:
                file.writelines(block for part in parts for block in blocks(part))
            return
        try:
            with open(temporary, "wb") as file:
                file.writelines(block for part in parts for block in blocks(part))
            if os.path.exists(target):
                os.chmod(temporary, stat.S_IMODE(os.stat(target).st_mode))
            os.replace(temporary, target)
        except BaseException:
            if os.path.exists(temporary):
                os.unlink(temporary)
            raise
    except OSError as error:
        raise StubsimError(f"cannot be written: {error.strerror or error}", path=path) from error
