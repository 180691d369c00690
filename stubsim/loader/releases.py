"""What differs between the releases of systemd-boot, as one table; no step compares versions.

How sure: 257.13 and 262.1 were recorded starting a real Linux; 252 and 257 were read in their source, 258 to 261 in the
public source between the releases.
"""

from __future__ import annotations

from typing import Any

from stubsim.rows import NamedTuple

# EFI_LOADER_FEATURE_* (systemd, efivars-fundamental.h) up to DEVICETREE.
_FEATURES_252 = 0x7FF


class LoaderModel(NamedTuple):
    """One release's behaviour. ``release`` is the first that has it."""

    release: int
    features: int | None = _FEATURES_252
    # Keys of a Type #1 entry beyond those of every release.
    type1_keys: frozenset[str] = frozenset()
    lists_profiles: bool = False
    measures_smbios: bool = False
    exports_tpm_banks: bool = False
    exports_keyboard_layout: bool = False
    creates_random_seed: bool = False
    creates_loader_folder: bool = False
    measures_loader_conf: bool = False
    measures_by_cc: bool = False
    measures_tagged_events_by_cc: bool = False
    appends_smbios_extra: bool = False
    reads_smbios_entries: bool = False
    refuses_two_kinds: bool = False
    # Initrds of an entry begin at multiples of 4.
    pads_initrds: bool = False
    prefers_entry: bool = False
    # The counter of a file's name is no part of the entry's id.
    strips_counter: bool = False
    # LoadImage() comes before the initrd is put together, and its failure is told in other words.
    loads_image_first: bool = False
    prints_gnu_efi_status: bool = True


class Change(NamedTuple):
    """Fields that have another value from a release on; ``basis`` is "recorded" or "source"."""

    release: int
    basis: str
    what: str
    fields: dict[str, Any]


CHANGES = (
    Change(253, "source", "statuses in systemd's own words", {"prints_gnu_efi_status": False}),
    Change(
        255,
        "source",
        "a line for kernels of Type #1 entries from SMBIOS, loader.conf into PCR 5",
        {"appends_smbios_extra": True, "measures_loader_conf": True},
    ),
    Change(256, "source", "the measurement protocol of confidential guests", {"measures_by_cc": True}),
    Change(
        257,
        "recorded",
        "an entry for each profile of a UKI",
        {"lists_profiles": True, "pads_initrds": True, "features": 0x7FFF},
    ),
    # PR 38897 of September 2025, also in 258.1 and in the last point releases of 257; recorded: initrdaddon262.
    Change(257, "source", "ids without the counter of boots", {"strips_counter": True}),
    Change(
        258,
        "source",
        "Type #1 entries that name a UKI, entries from SMBIOS, LoaderTpm2ActivePcrBanks",
        {
            "type1_keys": frozenset({"profile", "uki", "uki-url"}),
            "reads_smbios_entries": True,
            "refuses_two_kinds": True,
            "exports_tpm_banks": True,
            "loads_image_first": True,
            "features": 0x7FFFF,
        },
    ),
    Change(
        261,
        "source",
        "SMBIOS into PCR 1, LoaderKeyboardLayout, a random seed where there is none, a preferred entry",
        {
            "measures_smbios": True,
            "measures_tagged_events_by_cc": True,
            "exports_keyboard_layout": True,
            "creates_random_seed": True,
            "prefers_entry": True,
            "features": None,
        },
    ),
    Change(
        262,
        "recorded",
        "files beside a Type #1 entry's UKI",
        {
            "type1_keys": frozenset({"extra", "profile", "uki", "uki-url"}),
            "features": 0x3FFFFF,
            "creates_loader_folder": True,
        },
    ),
)
OLDEST, NEWEST = 252, 262


def model_of(release: int) -> LoaderModel:
    """The sum of the changes up to a release; those before 252 and after 262 are taken for these."""
    model = LoaderModel(OLDEST)
    for change in CHANGES:
        if change.release <= release:
            model = model._replace(release=change.release, **change.fields)
    return model
