"""What changed in systemd-boot, release by release: one table, from the oldest on; no step compares versions.

"source" is src/boot/ (src/boot/efi/ up to 256) of the tags v252 to v261.2, each file compared tag by tag; 252.32 to
252.39 and 262 have no public tag: 252.39's source is Debian's, 262.1 was recorded.

No row: from 258.10, 259.8, 260.4 and 261.2 on a file with FAT's read-only attribute counts no boots, which no tree of
files shows; LoaderSysFailReason (258) hangs on the firmware's ESRT.
"""

from __future__ import annotations

from stubsim.rows import NamedTuple
from stubsim.systemd.release import KNOWN, NEWEST, OLDEST, Release, parse, row


class LoaderModel(NamedTuple):
    """One release's behaviour; the values here are those of the oldest, 252."""

    release: Release = OLDEST
    # EFI_LOADER_FEATURE_* (efivars-fundamental.h).
    features: int = 0x7FF
    # Keys of a Type #1 entry beyond those of every release.
    type1_keys: frozenset[str] = frozenset()
    # The paths of an entry begin with a backslash, whether it has one or not.
    roots_paths: bool = True
    # A Type #2 entry's own command line is passed on, and so measured; unmangled but for a newline at its end.
    passes_implied_options: bool = True
    mangles_implied_options: bool = False
    trims_implied_options: bool = False
    lists_profiles: bool = False
    lists_profiles_without_cmdline: bool = False
    may_select_profile: bool = True
    sorts_versions_by_profile: bool = False
    adds_power_entries: bool = False
    partition_in_lower_case: bool = False
    measures_smbios: bool = False
    checks_smbios_length: bool = False
    measures_smbios_by_cc: bool = False
    exports_tpm_banks: bool = False
    exports_keyboard_layout: bool = False
    # For userspace, by the system token; else for the kernel, by that or a generator.
    renews_seed_by_variable: bool = True
    creates_random_seed: bool = False
    creates_loader_folder: bool = False
    # Also an entry by the key `efi`, or one of systemd-boot's own, counts boots and renews the random seed.
    treats_all_as_linux: bool = True
    measures_loader_conf: bool = False
    measures_by_cc: bool = False
    measures_tagged_events_by_cc: bool = False
    appends_smbios_extra: bool = False
    skips_absent_smbios_strings: bool = False
    # What is appended to no options is appended to "(null)".
    prints_missing_options: bool = False
    reads_smbios_entries: bool = False
    refuses_two_kinds: bool = False
    # Initrds of an entry begin at multiples of 4; the last one is padded as well.
    pads_initrds: bool = False
    pads_last_initrd: bool = False
    # initrd= of a file that is empty.
    names_empty_initrds: bool = True
    # Where there are no others.
    halts_at_empty_initrds: bool = False
    prefers_entry: bool = False
    # Of the menu's timeout.
    knows_menu_disabled: bool = False
    reads_smbios_timeout: bool = False
    # The counter of a file's name is no part of the entry's id; nor then is the profile, and upper case stays.
    strips_counter: bool = False
    keeps_profile_behind_counter: bool = False
    lowers_counted_ids: bool = False
    # Else the file is renamed on systemd-boot's own partition, wherever the entry is.
    counts_on_own_partition: bool = False
    # All of it, of counted images and of profiles: "B+3.efi@X" is "b.efi@x".
    lowers_image_ids: bool = False
    folds_counter_suffix: bool = False
    folds_architecture: bool = False
    folds_auto_prefix: bool = False
    devicetree_under_secure_boot: bool = True
    # LoadImage() comes before the initrd is put together, and its failure is told in other words.
    loads_image_first: bool = False
    # Before the initrd is put together.
    installs_devicetree_first: bool = False
    # In front of the extra files; an initrd of the entry's takes its place. Else there may be none.
    takes_previous_initrd: bool = False
    # A section's name is but the beginning of the one in the table, the last of them counts, wherever it stands, and as
    # many bytes are read as it has in memory.
    takes_last_section_by_prefix: bool = True
    ignores_sections_outside: bool = False
    # Of those around a value one pair goes.
    quotes: bytes = b'"'
    # A line of blanks only and all that follows it become one key and one value.
    runs_on_behind_blanks: bool = True
    # Of a variable without a NUL at its end the last character is lost.
    cuts_unended_variables: bool = True
    section_limit: int | None = 96
    # There has to be one of base relocations.
    checks_directories: bool = False
    needs_firmware_devicetree: bool = True
    # A text without a character is as good as none, and appended as "(null)".
    empty_is_missing: bool = True
    # What follows a line such as "ID=" is taken for its value (systemd.key_value).
    oversteps_empty_values: bool = False
    prints_gnu_efi_status: bool = True

    @property
    def halts_at_empty_paths(self) -> bool:
        """A missing text becomes no path (util.c, convert_efi_path); the oldest put a backslash before it."""
        return self.empty_is_missing and not self.roots_paths


_TYPE1_258 = frozenset({"uki", "uki-url"})
_TYPE1_259 = _TYPE1_258 | {"profile"}

CHANGES = (
    row("implied-options", "252.3 253", "a UKI's own command line is passed on without control characters",
        "recorded: the lab's bookworm, with 252.39", mangles_implied_options=True),
    row("entry-paths", "252.3 253", "a path of an entry is passed on without a backslash in front where it has none",
        "source: util.c, xstra_to_path, xstr8_to_path", roots_paths=False),
    row("trailing-blanks", "252.6 253", "trailing blanks of it go", "source: util.c, mangle_stub_cmdline",
        trims_implied_options=True),
    row("counter-partition", "252.14 253.8 254.1 255", "boots of an entry on XBOOTLDR are counted there",
        "source: boot.c, config_entry_bump_counters", counts_on_own_partition=True),
    row("no-devicetree", "252.17 253.11 254.4 255", "no devicetree of an entry under Secure Boot",
        "source: boot.c, image_start", devicetree_under_secure_boot=False),
    row("blank-lines", "252.19 253.13 254.6 255", "a line of blanks only is no line; before, all that follows it is "
        "one key and one value", "run: line_get_key_value of 252.12 and 254.27", runs_on_behind_blanks=False),
    row("counter-suffix", "252.29 253.23 254.16 255.10 256.3 257", "boots are counted whatever the case of .EFI, .CONF",
        "source: boot.c, boot_entry_parse_tries", folds_counter_suffix=True),
    row("architecture", "252.31 253.26 254.19 255.13 256.7 257", "the key architecture in any case",
        "source: boot.c, boot_entry_add_type1", folds_architecture=True),
    row("many-sections", "252.39 254.24 255.18 256.12 257.3 258", "an image may have more than 96 sections",
        "source: pe.c, verify_pe", section_limit=None),
    row("status-texts", "253", "UEFI statuses in systemd's own words", "source: boot.c", prints_gnu_efi_status=False),
    row("random-seed-table", "253", "the random seed is renewed by a generator too, and goes to the kernel, not into "
        "LoaderRandomSeed; random-seed-mode has no effect any more", "source: random-seed.c, process_random_seed",
        renews_seed_by_variable=False),
    row("lower-case", "253", "LoaderDevicePartUUID in lower case", "run: the stub's code of 253, which is the same",
        partition_in_lower_case=True),
    row("upper-case", "254", "LoaderDevicePartUUID in upper case again", "run: the stub's code of 254",
        partition_in_lower_case=False),
    row("features-254", "254", "LoaderFeatures 0x1fff", "source: boot.c, export_variables", features=0x1FFF),
    row("features-255", "255", "LoaderFeatures 0x3fff", "source: boot.c, export_variables", features=0x3FFF),
    row("any-devicetree", "255", "a devicetree of an entry is installed also where the firmware has none; before, the "
        "entry does not start there", "run: the code of 252.39 and 254.26; source: devicetree.c, devicetree_install",
        needs_firmware_devicetree=False),
    row("loader-conf", "255", "loader.conf is measured into PCR 5", "source: boot.c, config_load_defaults",
        measures_loader_conf=True),
    row("no-implied-options", "255", "a UKI's own command line is not passed on", "source: boot.c, image_start",
        passes_implied_options=False),
    row("power-entries", "255", "auto-poweroff and auto-reboot", "source: boot.c, config_load_all_entries",
        adds_power_entries=True),
    row("menu-disabled", "255", "timeout menu-disabled", "source: boot.c, efivar_get_timeout",
        knows_menu_disabled=True),
    row("smbios-extra", "256", "a line from SMBIOS for kernels of Type #1 entries, behind \"(null)\" without "
        "options", "source: boot.c, image_start", appends_smbios_extra=True, prints_missing_options=True),
    row("confidential-guests", "256", "a confidential guest's registers are extended (systemd pull request 30996)",
        "source: measure.c", measures_by_cc=True),
    row("smbios-without-strings", "256.2 257", "SMBIOS type 11 is found behind a structure without strings",
        "run: the stub's code, which is the same", skips_absent_smbios_strings=True),
    row("padding", "256.7 257", "each initrd of an entry is padded to 4 bytes", "source: boot.c, initrd_prepare",
        pads_initrds=True, pads_last_initrd=True),
    row("empty-initrds-halt", "256.7 257", "an entry with initrds that are all empty halts",
        "source: boot.c, initrd_prepare; util.h, xmalloc_pages", halts_at_empty_initrds=True),
    row("last-padding", "257", "the last initrd is not padded (systemd issue 35439)", "source: boot.c, initrd_prepare",
        pads_last_initrd=False),
    row("profiles", "257", "an entry for each profile of a UKI, up to one without .cmdline; LoaderFeatures 0x7fff",
        "recorded: sdprofile257", lists_profiles=True, features=0x7FFF),
    row("first-section", "257", "of sections with one name the first counts, and names are compared whole",
        "source: pe.c, pe_locate_sections; run: 252.39, 254.26, 257.13", takes_last_section_by_prefix=False),
    row("auto-prefix", "257", "files named auto-* are no entries in any case", "source: boot.c",
        folds_auto_prefix=True),
    row("smbios-extra-alone", "257", "the line from SMBIOS alone where they have none", "source: boot.c, image_start",
        prints_missing_options=False),
    row("profiles-without-cmdline", "257.6 258", "profiles behind one without .cmdline are also entries",
        "source: boot.c, boot_entry_add_type2", lists_profiles_without_cmdline=True),
    row("counter", "257.10 258.1 259", "ids without the counter of boots (systemd pull request 38897)",
        "source: boot.c, boot_entry_parse_tries; recorded: initrdaddon262", strips_counter=True),
    row("single-quotes", "257.11 258.4 259.1 260", "single quotes around a value go, as double ones do",
        "source: efi-string.c, line_get_key_value; run: the code of 254.26 and 257.13", quotes=b"\"'"),
    row("empty-texts", "258", "an empty value is a text, not a missing one",
        "source: efi-string.c, xstrn8_to_16; run: the code of 257.13 and 262.1", empty_is_missing=False),
    row("type1-uki", "258", "Type #1 entries by uki and uki-url; of two kinds: none; LoaderFeatures 0x7ffff",
        "source: boot.c, boot_entry_add_type1", type1_keys=_TYPE1_258, refuses_two_kinds=True, features=0x7FFFF),
    row("smbios-entries", "258", "entries from SMBIOS", "source: boot.c, config_load_smbios_entries",
        reads_smbios_entries=True),
    row("tpm-banks", "258", "LoaderTpm2ActivePcrBanks", "source: export-vars.c", exports_tpm_banks=True),
    row("image-first", "258", "the image is loaded before initrds are read", "source: boot.c, call_image_start",
        loads_image_first=True),
    row("efi-kind", "258", "for entries by efi, and for those of its own (auto-*), no boots are counted and no random "
        "seed is renewed", "source: boot.c, LOADER_TYPE_BUMP_COUNTERS, LOADER_TYPE_PROCESS_RANDOM_SEED",
        treats_all_as_linux=False),
    row("empty-initrds", "258.3 259", "no initrd= for a file that is empty", "source: boot.c, initrd_prepare",
        names_empty_initrds=False, halts_at_empty_initrds=False),
    row("counted-profiles", "258.3 259", "the id of a counted file has its profile",
        "source: boot.c, boot_entry_add_type2", keeps_profile_behind_counter=True),
    row("profiles-last", "258.8 259.6 260.2 261", "other profiles than the first are sorted behind it, and are the "
        "default by name only", "recorded: the lab's xbootldr-type1, with 262.1",
        may_select_profile=False, sorts_versions_by_profile=True),
    row("unended-variables", "258.8 259.6 260.2 261", "a variable without a NUL at its end is read to its end",
        "source: efi-efivars.c, efivar_get_str16", cuts_unended_variables=False),
    row("directories", "258.10 259.8 260.4 261.2", "an image has to have the directory of base relocations",
        "source: pe.c, verify_pe", checks_directories=True),
    row("type1-profile", "259", "the key profile of a Type #1 entry", "source: boot.c, boot_entry_add_type1",
        type1_keys=_TYPE1_259),
    row("counted-case", "259", "the id of a counted Type #1 entry is in lower case",
        "source: boot.c, boot_entry_add_type1", lowers_counted_ids=True),
    row("empty-values", "260", "the value of a line like ID= is what follows the line",
        "source: efi-string.c, line_get_key_value", oversteps_empty_values=True),
    row("empty-values-mended", "260.4 261.2 262", "the value of a line like ID= is empty",
        "source: efi-string.c, line_get_key_value", oversteps_empty_values=False),
    row("preferred", "260", "LoaderEntryPreferred and preferred in loader.conf; LoaderFeatures 0xfffff",
        "source: boot.c, config_select_default_entry", prefers_entry=True, features=0xFFFFF),
    row("smbios-timeout", "260", "the menu's timeout from SMBIOS, before the variable's and loader.conf's",
        "source: boot.c, config_timeout_load_from_smbios", reads_smbios_timeout=True),
    row("extra", "261", "files of an entry by extra: credentials and extensions",
        "recorded: the lab's type1-extra, with 262.1", type1_keys=_TYPE1_259 | {"extra"}),
    row("devicetree-first", "261", "the devicetree is installed before the initrd is put together",
        "source: boot.c, call_image_start", installs_devicetree_first=True),
    row("previous-initrd", "261", "an initrd of an earlier stage gives way, or goes in front of extra files; before, "
        "an entry with an initrd does not start then", "source: initrd.c, initrd_register",
        takes_previous_initrd=True),
    row("sections-outside", "259.8 260.4 261.2", "a section behind SizeOfImage is as good as none",
        "source: pe.c, pe_locate_sections_internal", ignores_sections_outside=True),
    row("smbios", "261", "SMBIOS is measured into PCR 1; LoaderFeatures 0x3fffff", "source: boot.c, run",
        measures_smbios=True, features=0x3FFFFF),
    row("tagged-events", "261", "tagged events reach a confidential guest's registers (systemd pull request 41099)",
        "source: measure.c", measures_tagged_events_by_cc=True),
    row("keyboard-layout", "261", "LoaderKeyboardLayout", "source: export-vars.c", exports_keyboard_layout=True),
    row("random-seed", "261", "a random seed is created where there is none", "source: random-seed.c",
        creates_random_seed=True),
    row("loader-folder", "261.2 262", "\\loader is created for the seed", "source: random-seed.c",
        creates_loader_folder=True),
    row("smbios-length", "261.2 262", "an SMBIOS type 1 may be shorter than 27 bytes", "source: measure-smbios.c",
        checks_smbios_length=True),
    row("image-case", "262.1", "the id of a counted image, and of a profile, is in lower case",
        "run: the code of 262.1; the source of 262 keeps the case", lowers_image_ids=True),
    row("smbios-confidential", "262", "SMBIOS is measured by the confidential protocol without a TPM",
        "run: the stub's code of 262.1, which is the same", measures_smbios_by_cc=True),
)  # fmt: skip


def release_of(version: str) -> Release | None:
    """The known release that goes by this version ("262.1-1", "258"), None for any other."""
    found = parse(version)
    if found is None or found.before is not None:
        return None
    release = found.release or Release(found.major, 0)
    return release if release in KNOWN else None


def model_of(version: str) -> LoaderModel:
    """What a release does; one that is not known is taken for the nearest that is."""
    found = parse(version)
    release = Release(0, 0) if found is None else found.release or Release(found.major, 0)
    release = min(max(release, OLDEST), NEWEST)
    sets = {key: value for change in CHANGES if change.holds(release) for key, value in change.sets.items()}
    return LoaderModel(release)._replace(**sets)
