"""The rules of `stubsim hwids lint`, as one table; what they look at is in `stubsim.lint.subjects`.

A rule states what can be proven from its input: an id is a hash, so what it stands for is known only where a machine
(`--smbios`), the device's name or a generic text gives the same hash.
"""

from __future__ import annotations

from stubsim.lint import id_rules, section_rules, table_rules
from stubsim.lint.findings import Rule
from stubsim.stub.models import StubModel, which


def _refuses(model: StubModel) -> bool:
    return model.matches_devicetree_entries and model.refuses_inexact_descriptors


def _is_deaf(model: StubModel) -> bool:
    return model.matches_devicetree_entries and not (_refuses(model) or model.matches_firmware_entries)


RULES: tuple[Rule, ...] = (
    Rule(
        "HW001", "refused-description", "error", "a description that ukify refuses",
        "ukify stops at the first file it cannot use, and builds no section at all.",
        "correct the file, or keep it out of the folder.",
        table_rules.refused_descriptions,
    ),
    Rule(
        "HW002", "ignored-key", "note", "a key that ukify does not read",
        "ukify reads type, name, hwids, and compatible or fwid; everything else is lost without a word.",
        "remove the key, or correct its spelling.",
        table_rules.ignored_keys,
    ),
    Rule(
        "HW003", "repeated-key", "warning", "a key given twice",
        "JSON readers take the last of them, ukify included; the first is lost.",
        "keep one.",
        table_rules.repeated_keys,
    ),
    Rule(
        "HW004", "no-ids", "warning", "a device without ids",
        "No machine can match it; only its strings get into the section.",
        "add ids (stubsim hwids from-host), or remove the file.",
        table_rules.no_ids,
    ),
    Rule(
        "HW101", "refused-table", "error", "a table that current stubs refuse as a whole",
        "A device type other than 1 and 2, an offset outside the section or a string without NUL, be it in an "
        "entry for another machine, makes current stubs select nothing by this table. Older ones check no offsets "
        "and read what lies behind the section.",
        "build the section anew (stubsim hwids build).",
        table_rules.refused_table,
    ),
    Rule(
        "HW102", "older-stubs", "note", "entries that older stubs do not take",
        f"systemd-stub {which(_refuses)} refuses a table with any descriptor but 0x1000001c, so that its devicetrees "
        f"are lost too. {which(_is_deaf)} look for devicetree entries only (systemd pull request 42570).",
        f"use one of {which(lambda model: model.matches_firmware_entries)} for UKIs with firmware; build a section "
        f"without firmware for {which(_refuses)}.",
        table_rules.older_stubs,
    ),
    Rule(
        "HW103", "no-end", "warning", "a table that does not end",
        "A stub counts an entry only if at least one byte follows it, and takes what is behind the last one for "
        "an entry until it meets a descriptor of 0.",
        "end the table with an entry of zeros.",
        table_rules.no_end,
    ),
    Rule(
        "HW104", "behind-the-end", "warning", "entries behind the end of the table",
        "A descriptor of 0 ends the table, whatever follows it.",
        "remove the zero entry between them, or correct its descriptor.",
        table_rules.behind_end,
    ),
    Rule(
        "HW105", "no-string", "warning", "an entry without compatible or fwid",
        "The entry that matches first decides: one whose string has offset 0 ends the search, and nothing is selected.",
        "give the entry its string, or remove it.",
        table_rules.no_string,
    ),
    Rule(
        "HW106", "empty-table", "warning", "a table without entries",
        "Nothing is ever selected by it.",
        "build the section from a folder that has descriptions.",
        table_rules.empty_table,
    ),
    Rule(
        "HW201", "one-id-for-two", "warning", "the same id for two devices",
        "The entry that stands first wins, so no machine reaches the later one by this id. A machine of the second "
        "device that has no other id in the table, such as a new variant, silently gets the first one's. Where the "
        "type is unknown a stub may not even look for it: machines (--smbios, --hosts) tell.",
        "remove the id from both, and keep those that tell them apart: by product name, SKU, board or panel.",
        id_rules.one_id_for_two,
    ),
    Rule(
        "HW202", "repeated-id", "note", "an id that is there twice for the same device",
        "The second one is never reached; it does no harm.",
        "remove one.",
        id_rules.repeated,
    ),
    Rule(
        "HW203", "zero-id", "error", "an id of zeros",
        "The ids of the panel (types 15 to 17) are all zeros on a machine without a valid EDID, and they are looked "
        "for first: the entry is a wildcard before all others, recorded with systemd-stub 258.0 to 262.1.",
        "remove the id.",
        id_rules.zero,
    ),
    Rule(
        "HW204", "never-looked-up", "note", "ids of types that no stub looks for",
        "A stub looks for types 17, 16, 15, 3, 6, 8, 10, 4, 5, 7, 9 and 11, in this order. Types 0 to 2 (with the "
        "firmware's version), 12 to 14 and fwupd's extra ids are never matched; they only make the section larger.",
        "remove the ids.",
        id_rules.never_looked_up,
    ),
    Rule(
        "HW205", "not-stripped", "warning", "ids made from strings that were not stripped",
        "A stub strips blanks and then zeros at the front of a string, and blanks at its end, before it hashes. Tools "
        "that do not, such as systemd-analyze chid, print ids that no stub ever computes.",
        "make the ids anew (stubsim hwids from-host).",
        id_rules.not_stripped,
    ),
    Rule(
        "HW206", "generic-strings", "warning", "ids made from strings that name nothing",
        "Such an id hits machines that have nothing to do with the device. '' is a string that is missing, or nothing "
        "but blanks and zeros: so is the SKU of 2,943 of the 5,282 machines by Acer in linuxhw/DMI.",
        "remove the ids.",
        id_rules.generic,
    ),
    Rule(
        "HW207", "vague-match", "warning", "a machine that matches by a vague id alone",
        "An id without the product's name may hit other products of the maker. This machine has none of the exact ids "
        "of the device, so it is probably another one, and boots with what was made for the device.",
        "remove the vague id, or add the machine's own ids if the device is right for it.",
        id_rules.weak_match,
    ),
    Rule(
        "HW208", "family-only", "note", "an id of manufacturer + family",
        "Type 11 hits every product of a family, of which there may be more than one board.",
        "remove the id, and keep those with the product's name.",
        id_rules.family_only,
    ),
    Rule(
        "HW301", "bad-blob", "error", "a firmware or devicetree that no stub accepts",
        "A stub skips a blob it cannot read and boots on; nobody sees it but in the stub's own messages.",
        "build the UKI anew with a ukify that is fixed, or correct the blob.",
        section_rules.bad_blobs,
    ),
    Rule(
        "HW302", "entry-without-section", "warning", "entries that lead nowhere",
        "The first entry that matches decides. Where no section has its string nothing is selected; there is no second "
        "try with another id.",
        "add the section, correct the string, or remove the entries.",
        section_rules.entry_without_section,
    ),
    Rule(
        "HW303", "section-without-entry", "warning", "a section that no entry leads to",
        "A firmware without entry is never selected; a devicetree only where the firmware brings one with the same "
        "first compatible.",
        "add a description for it, or correct the string.",
        section_rules.section_without_entry,
    ),
    Rule(
        "HW304", "section-behind-another", "warning", "a section behind another of the same string",
        "The first section with the string of the matched entry is taken, so this one never is.",
        "remove one of the two.",
        section_rules.section_behind_another,
    ),
    Rule(
        "HW305", "sections-without-table", "warning", "sections to choose from, and no table",
        "A profile's own firmwares and devicetrees are matched only by a .hwids in the same profile, those of the base "
        "by the base's.",
        "add a .hwids to the same part of the UKI.",
        section_rules.sections_without_table,
    ),
    Rule(
        "HW306", "ignored-table", "warning", "a .hwids that the stub does not read",
        "The first section of a name counts, an empty one hides the others, and systemd-stub "
        f"{which(lambda model: not model.matches_devicetree_entries)} know none.",
        "keep one .hwids for each part of the UKI, and a stub of "
        f"{which(lambda model: model.matches_devicetree_entries)}.",
        section_rules.ignored_table,
    ),
    Rule(
        "HW307", "refused-kernel", "error", "a kernel that the stub does not start",
        "The stub checks the kernel's PE headers before it starts it, and gives up where they are not those of an EFI "
        "image for the UKI's own machine.",
        "put the kernel of the right machine, as it was built, into .linux.",
        section_rules.refused_kernel,
    ),
)  # fmt: skip
