"""The releases of systemd, of which stub and boot loader are parts: how they are written, and since when one differs.

Changes are backported, so a border is a point release, and one row has several: ("260.3", "261.1", "262") is in 260.3
and 260.4, not in 261, and in all from 261.1 on.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from itertools import groupby
from typing import Any

from stubsim.rows import NamedTuple


class Release(NamedTuple):
    """A point release; 258.0 is the one that calls itself 258."""

    major: int
    point: int

    def __str__(self) -> str:
        return f"{self.major}.{self.point}"


# The newest point release of each series: tags of systemd/systemd and systemd/systemd-stable, Debian (252, 262).
NEWEST_POINT = {
    252: 39, 253: 33, 254: 27, 255: 22, 256: 17, 257: 13, 258: 10, 259: 8, 260: 4, 261: 2, 262: 1,
}  # fmt: skip
KNOWN = tuple(Release(major, point) for major, newest in NEWEST_POINT.items() for point in range(newest + 1))
OLDEST, NEWEST = KNOWN[0], KNOWN[-1]


class Change(NamedTuple):
    """What a program does since some release; ``sets`` are fields of its model.

    ``since`` is the first release that has it and, in their own series, the backports. ``basis`` is how it is known:
    "recorded" (boots in QEMU), "run" (its own code, run outside of a machine) or "source" (read in the tags).
    """

    name: str
    since: tuple[str, ...]
    sets: dict[str, Any]
    what: str
    basis: str
    reference: str

    def holds(self, release: Release) -> bool:
        starts = self.borders
        own = [border for border in starts if border.major == release.major]
        return release >= min(own) if own else release > max(starts)

    @property
    def borders(self) -> tuple[Release, ...]:
        """The releases it begins with, one for each series that has a border of its own."""
        return tuple(_release(text) for text in self.since)


@cache
def _release(text: str) -> Release:
    major, _, point = text.partition(".")
    return Release(int(major), int(point or 0))


def row(name: str, since: str, what: str, known: str, **sets: Any) -> Change:
    """``known`` is the basis and, behind a colon, the recording or the source file."""
    basis, _, reference = known.partition(": ")
    return Change(name, tuple(since.split()), sets, what, basis, reference)


def in_words(releases: Iterable[Release]) -> str:
    """Runs of known releases; a series that is there from start to end goes by its number."""
    place = {release: index for index, release in enumerate(KNOWN)}
    ordered = sorted(releases)
    runs = [
        [release for _, release in run]
        for _, run in groupby(enumerate(ordered), key=lambda row: place[row[1]] - row[0])
    ]
    return ", ".join(_run(run[0], run[-1]) for run in runs)


def _run(first: Release, last: Release) -> str:
    if first == last:
        return str(first)
    if first.major == last.major and last.point - first.point == 1 and first.point:
        return f"{first}, {last}"
    whole = last.point == NEWEST_POINT[last.major]
    start = str(first.major) if first.point == 0 else str(first)
    end = str(last.major) if whole and (first.point == 0 or last.major > first.major) else str(last)
    return start if start == end else f"{start} to {end}"


class Version(NamedTuple):
    """A version as a stub or a user writes it; ``before`` is what comes before the release proper (rc1, devel)."""

    release: Release | None
    major: int
    before: str | None


_VERSION = re.compile(r"v?(\d{1,5})(?:\.(\d{1,5}))?(?!\d)(?:[~-]?(rc\d+|devel))?", re.ASCII)


def parse(version: str) -> Version | None:
    """``257.13-1~deb13u1``, ``258.3-1.fc43``, ``262~rc1``, ``261~devel``, ``v260``; None for what names no release.

    A version without a point has no release: only the reader knows whether it stands for the first one.
    """
    found = _VERSION.match(version)
    if found is None:
        return None
    major, point, before = found.groups()
    release = None if point is None else Release(int(major), int(point))
    return Version(release, int(major), before)
