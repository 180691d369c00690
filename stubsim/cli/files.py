"""What the command line names beside UKI and host: each file is read whole, and what is wrong in it bears its name."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TypeVar

from stubsim import stream
from stubsim.errors import StubsimError, reason
from stubsim.uefi.esp import walk

_Data = TypeVar("_Data")
_Value = TypeVar("_Value")
# Load options, a certificate or an event log; what has no size, as in /sys, is read up to its end.
_FILE_MAX = 64 << 20
_XZ = b"\xfd7zXZ\0"
_MEMORY_MAX, _UNPACKED_MAX, _PIECE = 128 << 20, 64 << 20, 1 << 20


def content(path: str) -> bytes:
    """A whole file, or a stream. Raises StubsimError with the system's reason."""
    try:
        data = stream.read(path, _FILE_MAX + 1)
    except (OSError, ValueError) as error:
        raise StubsimError(reason(error), path=path) from error
    if len(data) > _FILE_MAX:
        raise StubsimError("too large", path=path, expected=f"at most {_FILE_MAX >> 20} MiB")
    return data


def unpacked(path: str) -> bytes:
    """The same, unpacked where it is compressed as a whole."""
    data = content(path)
    return _unpacked(data, path) if data.startswith(_XZ) else data


def parsed(path: str, parser: Callable[[_Data], _Value], read: Callable[[str], _Data]) -> _Value:
    """A file's value; the errors of its parser name it."""
    try:
        return parser(read(path))
    except StubsimError as error:
        raise error.within(path=path) from error


def folder(path: str) -> dict[str, bytes]:
    """The same of every file below a folder, by their paths there."""
    found = (os.path.join(place, name) for place, _, names in sorted(walk(path)) for name in sorted(names))
    return {os.path.relpath(file, path): unpacked(file) for file in found if os.path.isfile(file)}


def _unpacked(data: bytes, path: str) -> bytes:
    # Not in every build of Python.
    try:
        import lzma
    except ImportError as error:
        raise StubsimError("this Python has no lzma, which unpacks .xz", path=path) from error
    try:
        unpacker = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MEMORY_MAX)
        # Piece by piece: what turns out to be too large was never in one place.
        pieces, left = [unpacker.decompress(data, _PIECE)], _UNPACKED_MAX
        while not unpacker.eof and pieces[-1] and (left := left - len(pieces[-1])) > 0:
            pieces.append(unpacker.decompress(b"", min(left, _PIECE)))
    except lzma.LZMAError as error:
        raise StubsimError(f"not unpacked: {error}", path=path, expected="a whole .xz file") from error
    if not unpacker.eof:
        raise StubsimError("too large or cut short", path=path, expected=f"at most {_UNPACKED_MAX >> 20} MiB unpacked")
    return b"".join(pieces)
