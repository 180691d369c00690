"""The stubs of RHEL and CentOS Stream 9 and 10: a release of systemd with changes of later ones, build by build.

RHEL 9 has stayed with 252 since 2022, and its `252-NN.el9` is neither 252.0 nor 252.39. Read from the tags of
redhat-plumbers/systemd-rhel9 and systemd-rhel10, where no build of a minor release (`252-46.3.el9_5`) changes the stub
by itself; stubs built from v252-1, -2, -27, -28, -44 and -76 were run beside these rows.
"""

from __future__ import annotations

import re
from typing import Any

from stubsim.rows import NamedTuple
from stubsim.stub.releases import CHANGES as UPSTREAM
from stubsim.stub.releases import changes, fields
from stubsim.systemd.release import Change, Release


class Build(NamedTuple):
    """What a distribution's builds do from NN of `252-NN.el9` on, up to the next row of that distribution.

    ``has`` are rows of upstream besides those of its release, ``sets`` what no release of upstream does.
    """

    distribution: str  # as in the package's version
    since: int
    release: Release
    has: tuple[str, ...]
    sets: dict[str, Any]
    what: str

    @property
    def first(self) -> str:
        return f"{self.release.major}-{self.since}.{self.distribution}"

    def rows(self) -> tuple[Change, ...]:
        held = {change.name for change in changes(self.release)} | set(self.has)
        return tuple(change for change in UPSTREAM if change.name in held)

    def fields(self) -> dict[str, Any]:
        return fields(self.rows()) | self.sets


_MEASURED = ("whole-lines", "uname-and-sbat")
_ADDONS = (*_MEASURED, "features-253", "status-texts", "random-seed", "addons", "smbios-arguments")
_OWN = {"counts_addons_as_measured_last": True}

BUILDS = (
    Build("el9", 1, Release(252, 0), (), {}, "nothing else"),
    Build("el9", 2, Release(252, 0), ("whole-lines",), {}, "252.3's command lines"),
    Build("el9", 20, Release(252, 0), _MEASURED, {}, ".uname and .sbat are measured"),
    Build(
        "el9", 28, Release(252, 0), _ADDONS, _OWN | {"asks_confidential_host": True},
        "a random seed, addons with a command line, arguments from SMBIOS, in confidential guests too; without a TPM "
        "StubPcrKernelParameters is never set",
    ),
    Build("el9", 44, Release(252, 0), _ADDONS, _OWN, "no arguments from SMBIOS in confidential guests"),
    Build("el10", 1, Release(257, 2), (), {}, "nothing else"),
    Build("el10", 5, Release(257, 3), (), {}, "nothing else"),
)  # fmt: skip
# The newest tags read: of builds after them nothing is known.
NEWEST = {"el9": 76, "el10": 28}

_VERSION = re.compile(r"v?(\d{1,5})-(\d{1,5})(?:\.\d{1,5})*\.(el\d{1,3})(?![0-9A-Za-z])", re.ASCII)


class Found(NamedTuple):
    """The row for a version, what the build calls itself without the minor release, and the build taken for it if it is
    not among the known ones.
    """

    build: Build
    id: str
    assumed: str | None


def is_build(version: str) -> bool:
    """Whether it is a version of these packages, be it one of which nothing is known."""
    return _VERSION.match(version) is not None


def find(version: str) -> Found | None:
    """The row for `252-67.el9_8` and the like; None for what is no version of these packages."""
    matched = _VERSION.match(version)
    if matched is None:
        return None
    major, number, distribution = int(matched[1]), int(matched[2]), matched[3]
    rows = [row for row in BUILDS if row.distribution == distribution and row.release.major == major]
    if not rows:
        return None
    known = min(max(number, rows[0].since), NEWEST[distribution])
    build = max((row for row in rows if row.since <= known), key=lambda row: row.since)
    id_ = f"{major}-{number}.{distribution}"
    return Found(build, id_, None if known == number else f"{major}-{known}.{distribution}")
