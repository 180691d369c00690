"""What the releases of Linux measure themselves, as one table; no step compares versions.

Recorded booting on x86-64: Debian's 6.1 (of Debian 12), 6.12.117 and 7.2.13. The other rows are from the kernel's
public history.
"""

from __future__ import annotations

import re
from typing import Any

from stubsim.linux.identify import Linux
from stubsim.rows import NamedTuple


class LinuxModel(NamedTuple):
    """What one release measures into PCR 9, and whether it knows the measurement protocol of confidential guests."""

    measures_initrd: bool = False
    measures_load_options: bool = False
    measures_by_cc: bool = False


class Change(NamedTuple):
    """Fields that are set from a release on; ``basis`` is "recorded" or "source", ``reference`` where it is from."""

    version: tuple[int, int]
    basis: str
    reference: str
    fields: dict[str, Any]


CHANGES = (
    Change(
        (5, 17),
        "source",
        'efi/libstub: "measure loaded initrd info into the TPM", November 2021',
        {"measures_initrd": True},
    ),
    Change(
        (6, 1),
        "recorded",
        'efi/libstub: "measure EFI LoadOptions", September 2022; recorded: 6.1, 6.12, 7.2',
        {"measures_load_options": True},
    ),
    Change(
        (6, 9),
        "source",
        'efi/libstub: "Add Confidential Computing (CC) measurement support", March 2024',
        {"measures_by_cc": True},
    ),
)


# The kernels of RHEL, CentOS Stream and what is built from them keep the number they began with, and take in what later
# releases have: nothing says which of them has a change that is in none of its number.
_TAKES_IN_CHANGES = re.compile(r"\.el\d")


def takes_in_changes(linux: Linux) -> bool:
    """Whether a kernel may have what its number says that it has not."""
    older = linux.version is not None and linux.version < CHANGES[-1].version
    return older and _TAKES_IN_CHANGES.search(linux.release or "") is not None


def known_model(linux: Linux) -> LinuxModel | None:
    """What a kernel measures; None where its release does not tell."""
    return None if linux.version is None or takes_in_changes(linux) else model_of(linux.version)


def model_of(version: tuple[int, int]) -> LinuxModel:
    """The sum of the changes up to a release (major, minor)."""
    model = LinuxModel()
    for change in CHANGES:
        if change.version <= version:
            model = model._replace(**change.fields)
    return model
