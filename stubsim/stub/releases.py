"""What changed in systemd-stub, release by release: one table, from the oldest to the newest.

A release does what all rows say that hold for it. Changes are backported, so a border is a point release, and one row
has several: ("260.3", "261.1", "262") is in 260.3 and 260.4, not in 261, and in all from 261.1 on.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from stubsim import chid
from stubsim.systemd.release import Change, Release
from stubsim.systemd.release import row as _row

# Order of the canonical list is the order of PCR 11 (UAPI specification of the Unified Kernel Image).
_SECTIONS_252 = (".linux", ".osrel", ".cmdline", ".initrd", ".splash", ".dtb", ".pcrsig", ".pcrpkey")
_SECTIONS_254 = (
    ".linux", ".osrel", ".cmdline", ".initrd", ".splash", ".dtb", ".uname", ".sbat", ".pcrsig", ".pcrpkey",
)  # fmt: skip
_SECTIONS_256 = (
    ".linux", ".osrel", ".cmdline", ".initrd", ".ucode", ".splash", ".dtb", ".uname", ".sbat", ".pcrsig", ".pcrpkey",
)  # fmt: skip
_SECTIONS_257 = (*_SECTIONS_256, ".profile", ".dtbauto", ".hwids")
_SECTIONS_258 = (*_SECTIONS_257, ".efifw")

# The oldest release described here; everything else is a change.
OLDEST_FIELDS: dict[str, Any] = {
    "sections": _SECTIONS_252,
    "stub_features": 0xF,
    "section_limit": 96,
    "takes_last_section_by_prefix": True,
    "chid_priority": tuple(kind for kind in chid.PRIORITY if kind <= 11),
    "matches_devicetree_entries": False,
    "matches_firmware_entries": False,
    "refuses_inexact_descriptors": True,
    "checks_hwids_offsets": False,
    "reports_no_match_as_error": True,
    "tells_status_of_no_match": True,
    "takes_profiles": False,
    "drops_control_characters": False,
    "takes_blank_options": True,
    "ends_command_lines": False,
    "trims_leading_blanks": False,
    "trims_trailing_blanks": False,
    "reads_on_behind_blanks": False,
    "mangles_shell_line": True,
    "takes_smbios_extra": False,
    "asks_confidential_host": False,
    "mangles_smbios_extra": False,
    "skips_absent_smbios_strings": False,
    "appends_console": False,
    "appends_all_consoles": False,
    "takes_log_level": False,
    "takes_addons": False,
    "takes_devicetree_addons": False,
    "compares_addon_uname": True,
    "takes_initrd_addons": False,
    "joins_addons_by_folder": True,
    "measures_addon_folders_apart": True,
    "reports_empty_addon_as_error": True,
    "reads_addons_itself": False,
    "needs_firmware_devicetree": True,
    "says_devicetree_is_ignored": False,
    "installs_devicetrees_last": True,
    "refreshes_random_seed": False,
    "creates_random_seed": False,
    "creates_loader_folder": False,
    "reports_missing_seed": False,
    "searches_el_torito": False,
    "makes_boot_secret": False,
    "oversteps_empty_values": False,
    "takes_previous_initrd": False,
    "joins_initrds_below_4g": True,
    "joins_initrds_anywhere_on_x86": False,
    "reads_initrd_from_zero": False,
    "pads_lone_microcode": False,
    "measures_smbios": False,
    "measures_smbios_by_cc": False,
    "checks_smbios_length": False,
    "measures_by_cc": False,
    "measures_tagged_events_by_cc": False,
    "counts_tagged_events": False,
    "counts_nothing_as_measured": True,
    "counts_addons_as_measured_last": False,
    "packs_os_release": False,
    "packs_confexts_apart": False,
    "packs_global_extensions": False,
    "exports_stub_image": False,
    "exports_tpm_banks": False,
    "exports_keyboard_layout": False,
    "loads_kernel_itself": False,
    "places_kernel_by_image_base": True,
    "checks_kernel_raw_data": False,
    "checks_kernel_headers": False,
    "bounds_kernel": False,
    "aligns_kernel": False,
    "warns_of_memory_attributes": True,
    "prints_gnu_efi_status": True,
    "reports_overlaps": True,
    "reports_missing_fixup": True,
    "cuts_boot_counter": False,
    "knows_confidential_guests": False,
    "halts_without_device": False,
    "seeds_first": True,
    "exports_image_pcr_at_once": True,
    "tells_status_of_uki_as_addon": True,
    "assertion": "systemd-boot assertion",
    "partition_in_lower_case": False,
    "halts_at_unmeasured_archives": False,
    "event_assertion": "description",
}


CHANGES = (
    _row("whole-lines", "252.3 253", "a command line ends where it ends; before, what lies in memory behind it may be "
         "taken as well", "run: a stub built from 252.2 does", ends_command_lines=True),
    _row("trailing-blanks", "252.6 253", "trailing blanks of a command line go", "source: util.c, mangle_stub_cmdline",
         trims_trailing_blanks=True),
    _row("event-assertion", "252.7 253.1 254", "another text where the stub halts for want of an event's description",
         "run: 253 and 254.26", event_assertion="description || pcrindex == UINT32_MAX"),
    # These two are not in 252.31 and in 252.39; the tags between, and those of 253 from 253.27 on, are not public any
    # more.
    _row("many-sections", "252.39 254.24 255.18 256.12 257.3 258", "an image may have more than 96 sections",
         "source: pe.c, verify_pe", section_limit=None),
    _row("arm-initrd", "252.39 254.20 255.14 256.8 257", "only on x86 are joined initrds put below 4 GiB",
         "source: stub.c, combine_initrd", joins_initrds_below_4g=False),
    _row("features-253", "253", "StubFeatures 0x1f", "source: stub.c", stub_features=0x1F),
    _row("status-texts", "253", "UEFI statuses in systemd's words (\"Not found\"), not gnu-efi's (\"Not Found\")",
         "run: 252.39 and 254.26", prints_gnu_efi_status=False),
    _row("random-seed", "253", "a random seed on the partition is refreshed; without a device the stub halts",
         "source: stub.c, random-seed.c", refreshes_random_seed=True, halts_without_device=True),
    _row("lower-case", "253", "LoaderDevicePartUUID in lower case", "run: 253 and 253.26",
         partition_in_lower_case=True),
    _row("halt-unmeasured", "253", "the stub halts at an archive that is not measured (.pcrsig, .pcrpkey)",
         "run: 253 does", halts_at_unmeasured_archives=True),
    _row("nothing-measured", "253", "a folder without files counts as not measured, and clears the StubPcr* variable",
         "source: cpio.c, pack_cpio", counts_nothing_as_measured=False),
    _row("unmeasured-archives", "253.1 254", "the stub does not halt at .pcrsig and .pcrpkey any more",
         "run: 253 halts, 253.26 does not", halts_at_unmeasured_archives=False),
    _row("no-fixup", "253.17 254.10 255.4 256", "no word of a firmware without EFI_DT_FIXUP_PROTOCOL",
         "run: 252.39 prints one, 254.26 does not", reports_missing_fixup=False),
    _row("upper-case", "254", "LoaderDevicePartUUID in upper case again", "run: 254.0", partition_in_lower_case=False),
    _row("assertions", "254", "another text where the stub halts", "source: log.c, efi_assert",
         assertion="systemd-boot: Assertion"),
    _row("overlaps", "254", "sections that overlap are not reported", "run: 252.39 does, 254.26 does not",
         reports_overlaps=False),
    _row("features-254", "254", "StubFeatures 0x7f", "recorded: basic@254.26", stub_features=0x7F),
    _row("uname-and-sbat", "254", ".uname and .sbat are measured", "recorded: basic@254.26", sections=_SECTIONS_254),
    _row("addons", "254", "addons with a command line", "recorded: addon-cmdline@254.26", takes_addons=True),
    _row("smbios-arguments", "254", "arguments from SMBIOS type 11, untrimmed; behind no command line they are "
         "\"(null) ...\"", "recorded: smbios11-nobase@254.26", takes_smbios_extra=True),
    _row("confidential-options", "254.2 255", "under Secure Boot a confidential guest drops load options",
         "run: 252.39 takes them, 254.26 does not", knows_confidential_guests=True),
    _row("boot-counter", "254.6 255", "the UKI's own folder goes without the boot counter",
         "run: 252.39 looks for lab+3.efi.extra.d, 254.26 does not", cuts_boot_counter=True),
    _row("smbios-without-strings", "254.15 255.9 256.2 257", "SMBIOS type 11 is found behind a structure without "
         "strings; before, the search goes on a byte too early there", "run: 255.8 and 254.27",
         skips_absent_smbios_strings=True),
    _row("features-255", "255", "StubFeatures 0xff", "source: stub.c", stub_features=0xFF),
    _row("leading-blanks", "255", "leading blanks of a command line go", "source: util.c, mangle_stub_cmdline",
         trims_leading_blanks=True, reads_on_behind_blanks=True),
    _row("no-device", "255", "an image from memory is started", "source: stub.c, refresh_random_seed",
         halts_without_device=False),
    _row("any-devicetree", "255", "a devicetree is installed also where the firmware has none",
         "source: devicetree.c, devicetree_install_from_memory", needs_firmware_devicetree=False),
    _row("devicetree-addons", "255", "addons with a devicetree; the command lines of all addons are measured as one",
         "source: stub.c, load_addons", takes_devicetree_addons=True, measures_addon_folders_apart=False,
         counts_tagged_events=True, compares_addon_uname=False),
    _row("addon-uname", "255.5 256", "an addon for another kernel (.uname) is passed over again, as up to 254",
         "run: 255 applies it, 254.26 and 256 do not", compares_addon_uname=True),
    _row("features-256", "256", "StubFeatures 0x1ff", "source: stub.c", stub_features=0x1FF),
    _row("ucode", "256", ".ucode, in front of all initrds", "source: uki.c, stub.c", sections=_SECTIONS_256,
         pads_lone_microcode=True),
    _row("confexts", "256", "*.confext.raw are configuration extensions, no system extensions", "source: stub.c",
         packs_confexts_apart=True),
    _row("confidential-guests", "256", "a confidential guest's registers are extended (systemd pull request 30996)",
         "source: measure.c", measures_by_cc=True),
    _row("profiles", "257", "profiles (.profile), chosen by @N", "recorded: profile-at1-tab@257.13",
         takes_profiles=True, sections=_SECTIONS_257, stub_features=0x7FF),
    _row("sections-by-name", "257", "the first section of a name counts, and the whole name; before, the last one "
         "whose name begins so, a .dtbauto for a .dtb too", "recorded: launch-fwdtb-plain@254.26",
         takes_last_section_by_prefix=False),
    _row("seed-after-sections", "257", "the random seed is refreshed once the sections are found, no more before",
         "source: stub.c, run", seeds_first=False),
    _row("image-pcr-last", "257", "StubPcrKernelImage is set with the other StubPcr* variables, not before",
         "source: stub.c, run", exports_image_pcr_at_once=False),
    _row("uki-as-addon", "257", "the error of an addon with a kernel has no status any more",
         "run: 254.26 tells one, 257.13 does not", tells_status_of_uki_as_addon=False),
    _row("hwids", "257", ".hwids and .dtbauto", "recorded: hwids-both-types@257.13", matches_devicetree_entries=True),
    _row("initrd-addons", "257", "addons with an initrd or microcode", "recorded: addon-order-mixed@257.13",
         takes_initrd_addons=True, joins_addons_by_folder=False),
    _row("os-release", "257", ".osrel and .profile are given to the initrd", "recorded: efifw-both@257.13",
         packs_os_release=True),
    _row("stub-image", "257", "StubDevicePartUUID and StubImageIdentifier", "recorded: efifw-match@257.13",
         exports_stub_image=True),
    _row("smbios-trimmed", "257", "arguments from SMBIOS are trimmed like others", "recorded: smbios11-trim@257.13",
         mangles_smbios_extra=True),
    _row("blank-options", "257", "load options of blanks only are no command line",
         "source: stub.c, settle_command_line", takes_blank_options=False),
    _row("shell-line", "257", "arguments of the UEFI shell are taken as they are", "source: stub.c, process_arguments",
         mangles_shell_line=False),
    _row("blank-lines", "257", "a command line of blanks only becomes empty; before, what lies in memory behind it is "
         "taken", "run: 256 takes it", reads_on_behind_blanks=False),
    _row("lone-microcode", "257", "a .ucode that is the only initrd is not padded", "run: 256 pads it",
         pads_lone_microcode=False),
    _row("ignored-devicetree", "257", "the error of the embedded devicetree says that it is ignored",
         "run: 256 does not", says_devicetree_is_ignored=True),
    _row("uncounted-tagged-events", "257", "tagged events do not count as measured for StubPcrKernelParameters",
         "run: those of 256 count", counts_tagged_events=False),
    _row("devicetree-first", "257", "devicetrees are installed, and those of addons measured, before credentials and "
         "extensions", "run: 256 does so behind them", installs_devicetrees_last=False),
    _row("initrd-from-zero", "257", "without any initrd the stub reads where it lies from address 0",
         "source: stub.c, run", reads_initrd_from_zero=True),
    _row("high-initrd", "257.5 258", "joined initrds go above 4 GiB where they do not fit below; before, it halts",
         "source: util.h, xmalloc_initrd_pages", joins_initrds_anywhere_on_x86=True),
    _row("no-initrd", "257.11 258.4 259.1 260", "without any initrd nothing is registered", "source: stub.c, run",
         reads_initrd_from_zero=False),
    _row("miss-without-status", "257.12 258.6 259.4", "the error of a miss in .hwids has no status any more",
         "recorded: chid-nomatch@257.13", tells_status_of_no_match=False),
    _row("features-258", "258", "StubFeatures 0xfff", "recorded: basic@258", stub_features=0xFFF),
    _row("firmware-section", "258", "a .hwids with firmware entries is not refused, nor one with another size in a "
         "descriptor", "recorded: hwids-both-types@258", sections=_SECTIONS_258, refuses_inexact_descriptors=False),
    _row("panel-chids", "258", "CHID types 15 to 17 (panel) are looked up first; an all-zero id matches where there "
         "is no EDID", "recorded: chid-nullguid@258", chid_priority=chid.PRIORITY),
    _row("own-kernel-loader", "258", "the stub loads the kernel itself: no event in PCR 4; without a command line of "
         "its own the kernel finds the firmware's load options", "recorded: minimal@258", loads_kernel_itself=True),
    _row("global-extensions", "258", "\\loader\\extensions are packed", "recorded: sidecars-all@258",
         packs_global_extensions=True),
    _row("tpm-banks", "258", "LoaderTpm2ActivePcrBanks", "recorded: tpm-4banks@258", exports_tpm_banks=True),
    _row("tagged-events", "258.8 259.6 260", "tagged events count as measured for StubPcrKernelParameters",
         "source: measure.c, tpm_log_tagged_event", counts_tagged_events=True),
    _row("kernel-headers", "258.10 259.8 260.4 261.2",
         "the kernel's entry point and VirtualSize are checked, and that images have the directory of base relocations",
         "run: 258.10 and 261.2 do, 258.7 and 261.1 do not",
         checks_kernel_headers=True),
    _row("control-characters", "259", "load options with a control character are dropped as a whole",
         "recorded: loadopt-tab@259.8", drops_control_characters=True),
    _row("silent-addon", "259", "an addon with nothing to apply is no error", "source: stub.c, load_addons",
         reports_empty_addon_as_error=False),
    _row("kernel-image-base", "259.2 260", "a kernel with an ImageBase other than 0 is loaded",
         "source: linux.c, linux_exec", places_kernel_by_image_base=False),
    _row("kernel-raw-data", "259.2 260",
         "a kernel with more data than memory in a section, or behind its end, is refused",
         "recorded: kernel-rawlarger@259.8", checks_kernel_raw_data=True),
    _row("silent-miss", "259.4 260", "a miss in .hwids is no error", "recorded: dtbauto-bad-first@259.8",
         reports_no_match_as_error=False),
    _row("kernel-alignment", "259.7 260.3 261.1", "the kernel is placed on its SectionAlignment",
         "source: linux.c, linux_exec", aligns_kernel=True),
    _row("kernel-end", "259.8 260.4 261.2", "nothing is read behind the kernel's end",
         "source: pe.c, pe_headers_from_base", bounds_kernel=True),
    _row("memory-attributes", "259.8 260.4 261.2",
         "no warning of a firmware of UEFI 2.10 without EFI_MEMORY_ATTRIBUTE_PROTOCOL",
         "source: linux.c, linux_exec", warns_of_memory_attributes=False),
    _row("empty-values", "260", "for the boot secret, the value of a line like ID= in .osrel is what follows the line",
         "source: efi-string.c, line_get_key_value; run: 261.1", oversteps_empty_values=True),
    _row("log-level", "260.1 261", "log level from SMBIOS (io.systemd.boot.loglevel)",
         "run: 260.4 takes it, 258.10, 259.8 and 260 do not", takes_log_level=True),
    _row("firmware-selection", "260.3 261.1 262",
         ".efifw is selected by .hwids and measured (systemd pull request 42570)", "recorded: efifw-both@260.4",
         matches_firmware_entries=True),
    _row("hwids-offsets", "260.3 261.1 262", "an offset outside of .hwids refuses the table",
         "run: 260.4, 261.2 and 262.1 refuse it, 260 and 261 do not", checks_hwids_offsets=True),
    _row("empty-values-mended", "260.4 261.2 262", "the value of a line like ID= is empty",
         "source: efi-string.c, line_get_key_value", oversteps_empty_values=False),
    _row("addon-files", "261", "addons are read by the stub, and LoadImage() is given their bytes: none are another "
         "error", "run: 257.13 and 262.1 in QEMU", reads_addons_itself=True),
    _row("features-261", "261", "StubFeatures 0x1fff", "recorded: basic@261", stub_features=0x1FFF),
    _row("console", "261", "one console= argument is appended", "recorded: console-vga-serial@261",
         appends_console=True),
    _row("boot-secret", "261", "a random seed is created, and a boot secret derived",
         "recorded: bootsecret-preset-rng@261", makes_boot_secret=True, creates_random_seed=True),
    _row("previous-initrd", "261", "an initrd of an earlier stage is taken over", "recorded: launch-prev-initrd@261",
         takes_previous_initrd=True),
    _row("smbios", "261", "SMBIOS is measured into PCR 1", "recorded: basic@261", measures_smbios=True),
    _row("keyboard-layout", "261", "LoaderKeyboardLayout", "source: export-vars.c", exports_keyboard_layout=True),
    _row("tagged-events-confidential", "261", "tagged events reach a confidential guest's registers "
         "(systemd pull request 41099)", "source: measure.c", measures_tagged_events_by_cc=True),
    _row("el-torito", "261", "the partition of a CD's boot image is found, and at debug level each device without "
         "partitions is told of", "source: part-discovery.c, disk_get_part_uuid", searches_el_torito=True),
    _row("missing-seed", "261.1 262", "that the random seed's file is not there is told at debug level, that it cannot "
         "be created as an error", "source: random-seed.c, process_random_seed", reports_missing_seed=True),
    _row("all-consoles", "261.2 262", "console= for a serial port, a virtio console and a screen behind either",
         "recorded: console-vga-serial@261.2", appends_all_consoles=True),
    _row("loader-folder", "261.2 262", "\\loader is created for seed and boot secret", "recorded: rng@261.2",
         creates_loader_folder=True),
    _row("smbios-length", "261.2 262", "an SMBIOS type 1 may be shorter than 27 bytes; before, the stub halts, or "
         "clears a byte of its strings", "run: 261 halts, 262.1 does not", checks_smbios_length=True),
    _row("smbios-confidential", "262", "SMBIOS is measured by the confidential protocol without a TPM",
         "run: 261.2 does not, 262.1 does", measures_smbios_by_cc=True),
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
