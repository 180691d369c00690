"""What lies at which address: bytes held by reference, so that staging 100 MB copies nothing."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence

from stubsim.extent import Bytes, Extent

_ZEROS = memoryview(bytes(64 << 10))


class Content:
    """Sparse bytes over any range of addresses; zeros where nothing was placed."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._views: list[memoryview | Extent] = []

    def place(self, at: int, parts: Sequence[Bytes]) -> None:
        """Put the parts one behind the other, by reference: whoever changes a part changes the content."""
        views = [view for view in map(as_bytes, parts) if len(view)]
        self._cut(at, at + sum(map(len, views)))
        index = bisect_right(self._starts, at)
        starts = []
        for view in views:
            starts.append(at)
            at += len(view)
        self._starts[index:index] = starts
        self._views[index:index] = views

    def parts(self, at: int, size: int) -> Iterator[memoryview | Extent]:
        """The bytes there piece by piece; a piece that was placed whole comes back as the object it was placed as."""
        position, end = at, at + size
        index = max(bisect_right(self._starts, at) - 1, 0)
        for start, view in zip(self._starts[index:], self._views[index:], strict=True):
            if start >= end:
                break
            if start + len(view) <= position:
                continue
            if start > position:
                yield from _zeros(start - position)
                position = start
            whole = start == position and start + len(view) <= end
            piece = view if whole else view[position - start : end - start]
            yield piece
            position += len(piece)
        yield from _zeros(end - position)

    def clear(self, at: int, size: int) -> None:
        """Zeros from there on."""
        self._cut(at, at + size)

    def _cut(self, start: int, end: int) -> None:
        """Take the content from start to end away; pieces that reach beyond are sliced, not copied."""
        first = max(bisect_right(self._starts, start) - 1, 0)
        last = first
        starts: list[int] = []
        views: list[memoryview | Extent] = []
        while last < len(self._starts) and self._starts[last] < end:
            at, view = self._starts[last], self._views[last]
            for low, high in ((at, min(at + len(view), start)), (max(at, end), at + len(view))):
                if low < high:
                    starts.append(low)
                    views.append(view if high - low == len(view) else view[low - at : high - at])
            last += 1
        self._starts[first:last] = starts
        self._views[first:last] = views


def as_bytes(part: Bytes) -> memoryview | Extent:
    if isinstance(part, Extent):
        return part
    view = memoryview(part) if not isinstance(part, memoryview) else part
    return view if view.format == "B" and view.ndim == 1 else view.cast("B")


def _zeros(size: int) -> Iterator[memoryview]:
    while size > 0:
        yield _ZEROS[:size]
        size -= len(_ZEROS)
