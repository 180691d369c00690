"""Where a command's result goes: standard output, or a file that is there whole or not at all; and its complaints."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NoReturn

from stubsim.cli import progress
from stubsim.errors import StubsimError, reason
from stubsim.extent import BLOCK, Bytes, blocks

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable
    from typing import TextIO

    from stubsim.views.json import Json
    from stubsim.views.terminal import Screen

Parts = Iterable[Bytes]
# A text, one in pieces, or binary data.
Content = str | bytes | Iterable[str]
# Names have at most 255 bytes.
_NAME_KEPT = 40
# Of a text in pieces, that are written at once.
_PIECES = 1000
# The arguments that name what is read -> what of a folder is, by the ends of the names.
_INPUTS: dict[str, str | tuple[str, ...]] = {
    "uki": ".efi", "smbios": (), "host": (), "eventlog": (), "load_options": (), "db": (), "esp": "", "hosts": "",
    "input": (".json", ".efi"), "folder": ".json", "paths": ".boot.toml", "init": (),
}  # fmt: skip


def write_report(
    arguments: argparse.Namespace,
    report: Json,
    render: Callable[[Json, Screen], str],
    page: Callable[[Json, str], str] | None = None,
) -> None:
    """Write a report in the --format asked for: as JSON, or as the text or the HTML page made from the JSON."""
    if arguments.format == "json":
        from stubsim.views.json import document

        write(arguments.output, document(report))
    elif arguments.format == "html" and page is not None:
        write(arguments.output, page(report, call(arguments)))
    else:
        write(arguments.output, render(report, screen(arguments)))


def call(arguments: argparse.Namespace) -> str:
    """The command as it was typed, but for where the result goes: a page says what it was made with."""
    import shlex

    words = ["stubsim"]
    given = iter(arguments.call)
    for word in given:
        if word in ("-o", "--output"):
            next(given, None)
        elif not word.startswith(("-o", "--output=")):
            words.append(word)
    return shlex.join(words)


def seen_together(arguments: argparse.Namespace) -> bool:
    """Whether the text and standard error are on one terminal: what is in the text is not said twice then."""
    return arguments.format == "text" and arguments.output == "-" and sys.stdout.isatty() and sys.stderr.isatty()


def screen(arguments: argparse.Namespace) -> Screen:
    """What the text is made for."""
    from stubsim.views import terminal

    return terminal.screen(to_file=arguments.output != "-", color=arguments.color)


def write(path: str, content: Content) -> None:
    """Write text or bytes to a file, or to standard output for ``-``; binary data is kept from a terminal."""
    progress.finish()
    if path != "-":
        write_file(path, _encoded(content))
        return
    if isinstance(content, bytes) and sys.stdout.isatty():
        raise StubsimError("binary output is not written to a terminal", hint="use -o FILE or a pipe")
    try:
        sys.stdout.flush()
        sys.stdout.buffer.writelines(_encoded(content))
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        discard(sys.stdout)
        raise StubsimError(f"cannot be written: {reason(error)}", path="standard output") from error


def _encoded(content: Content) -> Iterator[bytes]:
    if isinstance(content, bytes):
        yield content
        return
    for text in [content] if isinstance(content, str) else _joined(content):
        # A copy of a long one is not held.
        for at in range(0, len(text), BLOCK):
            yield text[at : at + BLOCK].encode("utf-8", "backslashreplace")


def _joined(texts: Iterable[str]) -> Iterator[str]:
    """The many short pieces of a text in fewer, longer ones."""
    held: list[str] = []
    for text in texts:
        held.append(text)
        if len(text) >= BLOCK or len(held) >= _PIECES:
            yield "".join(held)
            held.clear()
    yield "".join(held)


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


def write_file(path: str, parts: Parts) -> None:
    """Write the parts to a file (see `write_files`)."""
    write_files({path: parts})


def write_files(files: Mapping[str, Parts]) -> None:
    """Write each file, and all of them or none: to new files beside the targets, which take their places at the end.

    A link stays one, a file that is there keeps its mode and, where that is allowed, its owner. What is no regular
    file (a device, a pipe) is written to: renaming would take its place.
    """
    for path in files:
        refuse_folder(path)
    with _terminated():
        placed: list[_Placed] = []
        try:
            for path, parts in files.items():
                placed.append(_Placed(path))
                placed[-1].write(parts)
            for one in placed:
                one.put(keep=len(placed) > 1)
        except BaseException:
            for one in reversed(placed):
                one.undo()
            raise
        for one in placed:
            one.forget()


@contextmanager
def placed(path: str) -> Iterator[str]:
    """The name of a file for somebody else to write, which takes the place of the path when that has ended well."""
    refuse_folder(path)
    with _terminated():
        one = _Placed(path)
        try:
            yield one.target if one.in_place else one.temporary
            one.put(keep=False)
        except BaseException:
            one.undo()
            raise


def refuse_folder(path: str) -> None:
    """StubsimError for what cannot be the name of a file to write."""
    if not path:
        raise StubsimError("the name of the file to write is empty")
    if path.endswith(os.sep) or os.path.isdir(path):
        raise StubsimError("cannot be written: is a folder", path=path, expected="the name of a file")


class _Placed:
    """A file on its way to its place: written under another name in the same folder, then renamed."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.target = os.path.realpath(path)
        folder, name = os.path.split(self.target)
        # Nobody can know it beforehand, and put a link there.
        own = os.path.join(folder, f".{name[:_NAME_KEPT]}.{os.urandom(8).hex()}")
        self.temporary, self.before = f"{own}.tmp", f"{own}.old"
        self.was_there = os.path.exists(self.target)
        self.in_place = self.was_there and not os.path.isfile(self.target)
        self.is_put = False

    def write(self, parts: Parts) -> None:
        with self._errors():
            if self.in_place:
                with open(self.target, "wb") as file:
                    file.writelines(block for part in parts for block in blocks(part))
                return
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            with open(os.open(self.temporary, flags, 0o666), "wb") as file:
                file.writelines(block for part in parts for block in blocks(part))
                self._like_before(file.fileno())

    def _like_before(self, descriptor: int) -> None:
        if self.was_there:
            status = os.stat(self.target)
            with suppress(OSError):
                os.fchown(descriptor, status.st_uid, status.st_gid)
            # Behind the owner: chown takes the set-user-ID bit away.
            os.fchmod(descriptor, stat.S_IMODE(status.st_mode))

    def put(self, *, keep: bool) -> None:
        """Take the place; what was there is kept beside it while others may still fail."""
        if self.in_place:
            return
        with self._errors():
            if keep and self.was_there:
                os.rename(self.target, self.before)
            os.replace(self.temporary, self.target)
            self.is_put = True

    def undo(self) -> None:
        if self.in_place:
            return
        with suppress(OSError):
            if not self.is_put:
                os.unlink(self.temporary)
            elif not self.was_there:
                os.unlink(self.target)
        with suppress(OSError):
            os.replace(self.before, self.target)

    def forget(self) -> None:
        with suppress(OSError):
            os.unlink(self.before)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StubsimError(f"cannot be written: {reason(error)}", path=self.path) from error


@contextmanager
def _terminated() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end the program only when what is here has been tidied up."""
    import signal

    received: list[int] = []

    def end(number: int, frame: object) -> NoReturn:
        for other in asked:
            signal.signal(other, signal.SIG_IGN)
        received.append(number)
        raise SystemExit(128 + number)

    # Whoever has it ignored (nohup) or handles it keeps that; only the first thread may ask.
    asked = [number for number in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(number) is signal.SIG_DFL]
    try:
        with suppress(ValueError):
            for number in asked:
                signal.signal(number, end)
        yield
    finally:
        with suppress(ValueError):
            for number in asked:
                signal.signal(number, signal.SIG_DFL)
        if received:
            # As if nothing had been in between, for whoever waits for this process.
            os.kill(os.getpid(), received[0])


def refuse_inputs(path: str, arguments: argparse.Namespace) -> None:
    """StubsimError where a file to write is one that the command reads, by whatever name."""
    for key, suffixes in _INPUTS.items():
        given = getattr(arguments, key, None)
        for name in given if isinstance(given, list) else [given]:
            if isinstance(name, str):
                refuse_input(path, name, suffixes)


def refuse_input(path: str, name: str, suffixes: str | tuple[str, ...] = ()) -> None:
    """The same for one input; of a folder all that it has with these suffixes."""
    if not os.path.isfile(path):
        return
    is_it = os.path.isfile(name) and os.path.samefile(name, path)
    if os.path.isdir(name) and path.endswith(suffixes):
        folder = os.path.realpath(name)
        is_it = os.path.commonpath((folder, os.path.realpath(path))) == folder
    if is_it:
        where = "it is an input" if os.path.isfile(name) else f"it is one of the inputs in {name}"
        raise StubsimError(f"cannot be written: {where}", path=path, hint="write to another file")
