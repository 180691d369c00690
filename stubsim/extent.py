"""Bytes that are known but not held: ranges of files, read when they are needed, and zeros, which are never built.

A map of a file that shrinks ends the process with SIGBUS, so large files are read, and every read is checked
(docs/decisions/0004-files-are-read-not-mapped.md).
"""

from __future__ import annotations

import os
import stat
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, overload

from stubsim.errors import StubsimError, reason
from stubsim.rows import NamedTuple

if TYPE_CHECKING:
    import mmap

# Bytes that are read, hashed or written in one go.
BLOCK = 1 << 20
_ZEROS = memoryview(bytes(BLOCK))
# A file up to this size is read whole: what is in it is looked at more than once.
_HELD = 4 << 20
# Of a larger one this much is kept in pieces of this size, for parsers that look at a few bytes at a time.
_PIECE, _PIECES = 64 << 10, 64
# A section has its bytes and a tail of zeros; one that others lie over has more places, and is known by its own.
_KEY_PLACES = 4


class File:
    """A regular file that is open; what is read of it is what was there, or an error."""

    def __init__(self, path: str, expected: str | None = None) -> None:
        """Open it. StubsimError: no such file, not a regular one, not to be read."""
        self.path = path
        self._descriptor = -1
        try:
            status = os.stat(path)
            if stat.S_ISDIR(status.st_mode):
                raise StubsimError("is a folder", path=path, expected=expected)
            # A pipe would block, a device might have no end.
            if not stat.S_ISREG(status.st_mode):
                raise StubsimError("not a regular file", path=path, expected=expected)
            self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            self.size = os.fstat(self._descriptor).st_size
        except (OSError, ValueError) as error:
            text = reason(error)
            raise StubsimError(text, path=path, expected=expected) from error
        self._pieces: dict[int, bytes] = {}

    def __del__(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)

    def read(self, start: int, size: int) -> bytes:
        """Exactly these bytes; StubsimError where the file has become shorter, or the disk fails."""
        parts = []
        while size:
            try:
                part = os.pread(self._descriptor, size, start)
            except OSError as error:
                raise StubsimError(reason(error), path=self.path, offset=start) from error
            if not part:
                expected = f"{self.size} bytes, as when it was opened"
                raise StubsimError(
                    "the file became shorter while it was read", path=self.path, offset=start, expected=expected
                )
            parts.append(part)
            start, size = start + len(part), size - len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def piece(self, number: int) -> bytes:
        """One of the pieces of _PIECE bytes; the last ones asked for are kept."""
        if number not in self._pieces:
            start = number * _PIECE
            if len(self._pieces) == _PIECES:
                self._pieces.pop(next(iter(self._pieces)), None)
            self._pieces[number] = self.read(start, min(_PIECE, self.size - start))
        return self._pieces[number]


class Piece(NamedTuple):
    """One of the places that bytes come from: those of the source from the offset on are at start to end."""

    start: int
    end: int
    source: Source
    offset: int


class _Map:
    """Pieces sorted and apart; zeros between them. The origin is that of all ranges that share digests."""

    def __init__(self, pieces: Sequence[Piece], origin: object) -> None:
        self.pieces = pieces
        self.starts = [piece.start for piece in pieces]
        self.origin = origin

    def between(self, start: int, end: int) -> Iterator[tuple[Source | None, int, int]]:
        """Source (None: zeros), the offset there and the size, one behind the other from start to end."""
        index = max(bisect_right(self.starts, start) - 1, 0)
        while start < end:
            if index == len(self.pieces) or self.pieces[index].start >= end:
                yield None, 0, end - start
                return
            piece = self.pieces[index]
            index += 1
            if piece.end <= start:
                continue
            if piece.start > start:
                yield None, 0, piece.start - start
                start = piece.start
            stop = min(piece.end, end)
            yield piece.source, piece.offset + start - piece.start, stop - start
            start = stop


class Extent:
    """A range of bytes as `bytes` has them: it has a length, slices (which copy nothing) and numbers.

    Whatever reads it raises StubsimError where the file behind it has become shorter.
    """

    __slots__ = ("_map", "_size", "_start", "_view")

    def __init__(self, map_: _Map, start: int, size: int) -> None:
        self._map = map_
        self._start = start
        self._size = size
        self._view: memoryview | None = None

    def __len__(self) -> int:
        return self._size

    @overload
    def __getitem__(self, key: int) -> int: ...
    @overload
    def __getitem__(self, key: slice) -> Extent: ...
    def __getitem__(self, key: int | slice) -> int | Extent:
        if isinstance(key, int):
            if not -self._size <= key < self._size:
                raise IndexError(key)
            at = key % self._size
            return self[at : at + 1].__bytes__()[0]
        start, stop, step = key.indices(self._size)
        if step != 1:
            raise ValueError(f"a step of {step}")
        return Extent(self._map, self._start + start, max(stop - start, 0))

    def __eq__(self, other: object) -> bool:
        """Whether the other, an extent or bytes, has the same bytes."""
        if not isinstance(other, bytes | bytearray | memoryview | Extent):
            return NotImplemented
        if len(other) != len(self):
            return False
        at = 0
        for block in self.blocks():
            if bytes(other[at : at + len(block)]) != block:
                return False
            at += len(block)
        return True

    __hash__ = None  # type: ignore[assignment]  # by its bytes it would be read, by its place it would not be equal

    def __repr__(self) -> str:
        return f"<Extent of {self._size} bytes>"

    def __bytes__(self) -> bytes:
        """All of it; of zeros that a file only claims there can be gigabytes."""
        parts = [
            bytes(size) if source is None else _read(source, offset, size)
            for source, offset, size in self._map.between(self._start, self._start + self._size)
        ]
        return bytes(parts[0]) if len(parts) == 1 else b"".join(parts)

    def blocks(self) -> Iterator[bytes | memoryview]:
        """The bytes in pieces of at most BLOCK bytes."""
        for source, offset, size in self._map.between(self._start, self._start + self._size):
            for at in range(0, size, BLOCK):
                length = min(BLOCK, size - at)
                yield _ZEROS[:length] if source is None else _read(source, offset + at, length)

    def view(self) -> memoryview:
        """The bytes in one piece, held once they were asked for; zeros at the end cost nothing before they are read.

        StubsimError: no address space for them.
        """
        if self._view is None:
            held = self.held()
            zeros = self._size - len(held)
            self._view = memoryview(held if not zeros else _with_zeros(held, zeros)).toreadonly()
        return self._view

    @property
    def stored(self) -> int:
        """The size without the zeros at the end that are nowhere but in memory."""
        pieces, end = self._map.pieces, self._start + self._size
        index = bisect_right(self._map.starts, end - 1) - 1
        return max(min(pieces[index].end, end) - self._start, 0) if index >= 0 else 0

    def held(self, zeros: int = 0) -> bytes | memoryview:
        """The bytes up to the last one that is somewhere, and at most so many of the zeros behind it."""
        kept = self[: min(self.stored + zeros, self._size)]
        for source, offset, size in kept._map.between(kept._start, kept._start + kept._size):
            if source is not None and size == len(kept):
                return _read(source, offset, size)
        return bytes(kept)

    @property
    def zeros(self) -> int:
        """How many of the bytes are zeros that are nowhere but in memory."""
        end = self._start + self._size
        return sum(size for source, _, size in self._map.between(self._start, end) if source is None)

    @property
    def key(self) -> object:
        """Equal for ranges of the same bytes of a file, wherever they are loaded, as long as one of them is there."""
        found = tuple(islice(self._map.between(self._start, self._start + self._size), _KEY_PLACES + 1))
        if len(found) > _KEY_PLACES:
            return id(self._map), self._start, self._size
        return tuple((id(source), offset, size) for source, offset, size in found)

    @property
    def origin(self) -> object:
        """The file or bytes that it is a range of, be it as loaded into memory."""
        return self._map.origin


Source = File | memoryview | Extent
Bytes = bytes | memoryview | Extent


def of_file(path: str, expected: str | None = None) -> Extent:
    """A file's bytes. StubsimError: cannot be read, or is no regular file (``expected`` says what it should be)."""
    file = File(path, expected)
    return of_bytes(file.read(0, file.size)) if file.size <= _HELD else _whole(file, file.size)


def of_bytes(data: Bytes) -> Extent:
    return data if isinstance(data, Extent) else _whole(memoryview(data).toreadonly(), len(data))


def laid_out(pieces: Sequence[Piece], size: int, origin: Extent) -> Extent:
    """Pieces, sorted and apart, at their places in so many zeros; of a file that ``origin`` is a range of."""
    return Extent(_Map([_direct(piece) for piece in pieces], origin.origin), 0, size)


def _direct(piece: Piece) -> Piece:
    """The same piece without an extent between it and its bytes, where they are in one place."""
    if not isinstance(piece.source, Extent):
        return piece
    whole = piece.source[piece.offset :][: piece.end - piece.start]
    source, offset, size = next(whole._map.between(whole._start, whole._start + len(whole)))
    if source is None or size < len(whole):
        return piece
    return Piece(piece.start, piece.end, source, offset)


def blocks(data: Bytes) -> Iterator[bytes | memoryview]:
    """The bytes in pieces of at most BLOCK bytes, for hashing and writing."""
    if isinstance(data, Extent):
        yield from data.blocks()
    else:
        view = memoryview(data)
        for at in range(0, len(view), BLOCK):
            yield view[at : at + BLOCK]


def view_of(data: Bytes) -> memoryview:
    """The bytes in one piece, for parsers that need them so."""
    return data.view() if isinstance(data, Extent) else memoryview(data).toreadonly()


def _whole(source: Source, size: int) -> Extent:
    return Extent(_Map([Piece(0, size, source, 0)] if size else [], source), 0, size)


def _read(source: Source, offset: int, size: int) -> bytes | memoryview:
    if isinstance(source, memoryview):
        return source[offset : offset + size]
    if isinstance(source, Extent):
        return bytes(source[offset : offset + size])
    first, last = offset // _PIECE, (offset + size - 1) // _PIECE
    if first == last:
        return source.piece(first)[offset % _PIECE :][:size]
    return source.read(offset, size)


def _with_zeros(held: bytes | memoryview, zeros: int) -> bytes | mmap.mmap:
    if zeros <= BLOCK:
        return bytes(held) + bytes(zeros)
    import mmap

    # Pages that are only read are all the same page of zeros; without MAP_NORESERVE (mmap has it from 3.13 on) the
    # system would refuse what it could not hold if it were written.
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000
    try:
        room = mmap.mmap(-1, len(held) + zeros, flags=flags)
    except (OSError, ValueError, OverflowError, MemoryError) as error:
        raise StubsimError(f"no memory for a section of {len(held) + zeros} bytes") from error
    room[: len(held)] = held
    return room
