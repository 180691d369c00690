"""What changed in systemd-stub, release by release: one table, from the oldest to the newest.

A release does what all rows say that hold for it. Changes are backported, so a border is a point release, and one row
has several: ("260.3", "261.1", "262") is in 260.3 and 260.4, not in 261, and in all from 261.1 on.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from itertools import groupby
from typing import Any, NamedTuple

from stubsim import chid


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
    """What a stub does since some release; ``sets`` are fields of StubModel.

    ``since`` is the first release that has it and, in their own series, the backports. ``basis`` is how it is known:
    "recorded" (boots in QEMU), "run" (the stub's own code, run outside of a machine) or "source" (read in the tags).
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


# Order of the canonical list is the order of PCR 11 (UAPI specification of the Unified Kernel Image).
_SECTIONS_252 = (
    ".linux", ".osrel", ".cmdline", ".initrd", ".ucode", ".splash", ".dtb", ".uname", ".sbat", ".pcrsig", ".pcrpkey",
)  # fmt: skip
_SECTIONS_257 = (*_SECTIONS_252, ".profile", ".dtbauto", ".hwids")

# The oldest release described here; everything else is a change.
OLDEST_FIELDS: dict[str, Any] = {
    "sections": _SECTIONS_252,
    "stub_features": 0xF,
    "chid_priority": tuple(kind for kind in chid.PRIORITY if kind <= 11),
    "matches_devicetree_entries": False,
    "matches_firmware_entries": False,
    "refuses_inexact_descriptors": True,
    "checks_hwids_offsets": False,
    "reports_no_match_as_error": True,
    "takes_profiles": False,
    "drops_control_characters": False,
    "appends_console": False,
    "takes_log_level": False,
    "makes_boot_secret": False,
    "creates_random_seed": False,
    "takes_previous_initrd": False,
    "measures_smbios": False,
    "packs_global_extensions": False,
    "exports_tpm_banks": False,
    "exports_keyboard_layout": False,
    "loads_kernel_itself": False,
    "aligns_kernel": False,
}

CHANGES = (
    Change("features-253", ("253",), {"stub_features": 0x1F}, "StubFeatures 0x1f", "source", "stub.c"),
    Change("features-254", ("254",), {"stub_features": 0x7F}, "StubFeatures 0x7f", "recorded", "basic@254.26"),
    Change("features-255", ("255",), {"stub_features": 0xFF}, "StubFeatures 0xff", "source", "stub.c"),
    Change("features-256", ("256",), {"stub_features": 0x1FF}, "StubFeatures 0x1ff", "source", "stub.c"),
    Change(
        "profiles", ("257",), {"sections": _SECTIONS_257, "takes_profiles": True, "stub_features": 0x7FF},
        "profiles (.profile), chosen by @N", "recorded", "profile-at1-tab@257.13",
    ),
    Change(
        "hwids", ("257",), {"matches_devicetree_entries": True}, ".hwids and .dtbauto", "recorded",
        "hwids-both-types@257.13",
    ),
    Change("features-258", ("258",), {"stub_features": 0xFFF}, "StubFeatures 0xfff", "recorded", "basic@258"),
    Change(
        "firmware-section", ("258",), {"sections": (*_SECTIONS_257, ".efifw"), "refuses_inexact_descriptors": False},
        "a .hwids with firmware entries is not refused", "recorded", "hwids-both-types@258",
    ),
    Change(
        "panel-chids", ("258",), {"chid_priority": chid.PRIORITY},
        "CHID types 15 to 17 (panel), looked up first; an all-zero id matches where there is no EDID", "recorded",
        "chid-nullguid@258",
    ),
    Change(
        "own-kernel-loader", ("258",), {"loads_kernel_itself": True}, "the stub loads the kernel itself", "recorded",
        "kernel-reloc@258",
    ),
    Change(
        "global-extensions", ("258",), {"packs_global_extensions": True}, "\\loader\\extensions are packed",
        "recorded", "sidecars-all@258",
    ),
    Change(
        "tpm-banks", ("258",), {"exports_tpm_banks": True}, "LoaderTpm2ActivePcrBanks", "recorded", "tpm-4banks@258",
    ),
    Change(
        "log-level", ("258.10", "260.1"), {"takes_log_level": True}, "log level from SMBIOS", "run",
        "io.systemd.boot.loglevel",
    ),
    Change(
        "control-characters", ("259",), {"drops_control_characters": True},
        "load options with a control character are dropped as a whole", "recorded", "loadopt-tab@259.8",
    ),
    Change(
        "silent-miss", ("259.4", "260"), {"reports_no_match_as_error": False},
        "a miss in .hwids is no error", "recorded", "dtbauto-bad-first@259.8",
    ),
    Change(
        "kernel-alignment", ("259.7", "260.3", "261.1"), {"aligns_kernel": True},
        "the kernel is placed on its SectionAlignment", "source", "linux.c, linux_exec",
    ),
    Change(
        "firmware-selection", ("260.3", "261.1", "262"), {"matches_firmware_entries": True},
        ".efifw is selected by .hwids and measured (systemd pull request 42570)", "recorded", "efifw-both@260.4",
    ),
    Change(
        "hwids-offsets", ("260.3", "261.1", "262"), {"checks_hwids_offsets": True},
        "an offset outside of .hwids refuses the table", "run", "chid.c",
    ),
    Change("features-261", ("261",), {"stub_features": 0x1FFF}, "StubFeatures 0x1fff", "recorded", "basic@261"),
    Change(
        "console", ("261",), {"appends_console": True}, "console= is appended", "recorded", "console-vga-serial@261",
    ),
    Change(
        "boot-secret", ("261",), {"makes_boot_secret": True, "creates_random_seed": True}, "a boot secret", "recorded",
        "rng@261",
    ),
    Change(
        "previous-initrd", ("261",), {"takes_previous_initrd": True}, "an earlier initrd is taken over", "recorded",
        "launch-prev-initrd@261",
    ),
    Change("smbios", ("261",), {"measures_smbios": True}, "SMBIOS in PCR 1", "recorded", "basic@261"),
    Change(
        "keyboard-layout", ("261",), {"exports_keyboard_layout": True}, "LoaderKeyboardLayout", "source",
        "export-vars.c",
    ),
)  # fmt: skip


def changes(release: Release) -> tuple[Change, ...]:
    """The rows that hold for a release."""
    return tuple(change for change in CHANGES if change.holds(release))


def fields(rows: Iterable[Change]) -> dict[str, Any]:
    """The fields of StubModel after these changes, the later one of two where both set a field."""
    total = dict(OLDEST_FIELDS)
    for change in rows:
        total |= change.sets
    return total


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
