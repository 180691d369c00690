"""What a person should know of a UKI that nobody will tell them at boot: one table of rules."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

from stubsim.errors import StubsimError
from stubsim.explain.contents import (
    Firmware,
    Image,
    Part,
    Table,
    accepted_firmware,
    accepted_tree,
    label,
    placed,
    read_table,
)
from stubsim.explain.kernels import image_refused, kernel_refused
from stubsim.explain.payload import Content
from stubsim.explain.selection import KINDS
from stubsim.formats import efi_program, firmware_volume, hwids, pe, pe_memory
from stubsim.formats.efi_program import SYSTEMD_STUB
from stubsim.formats.efi_string import from_utf16
from stubsim.hosts import Host
from stubsim.result import Boot
from stubsim.rows import NamedTuple
from stubsim.stub.models import NEWEST, StubModel, in_words, which
from stubsim.stub.own_image import doubts
from stubsim.stub.programs import is_simulated
from stubsim.stub.recognise import not_a_uki
from stubsim.trace import Log
from stubsim.uki import Uki

_MANY = (".dtbauto", ".efifw", ".profile")
# They tell others what the image is; that a stub has no use for them changes nothing.
_DESCRIBING = (".osrel", ".uname", ".sbat")
# As `contents.label` writes it.
_OF_SECTION = re.compile(r"(\.\w+) \(section (\d+)\)(:? .+)")
_PANEL_TYPES = (15, 16, 17)
# QEMU for x86 (hw/i386): a ROM is loaded in units of 64 KiB, and the property max-fw-size of pc and q35, which bounds
# firmware in flash, is 8 MiB unless set.
_BIOS_UNIT, _BIOS_MAX = 64 << 10, 8 << 20
_OVERLAPS_MAX = 8


class Subject(NamedTuple):
    """What the rules look at."""

    uki: Uki
    model: StubModel
    reason: str
    parts: tuple[Part, ...]


def warnings(subject: Subject) -> tuple[str, ...]:
    """One line each, in the order of the rules; what is said of several sections alike is said once of all of them."""
    return grouped(" ".join(text.split()) for rule in RULES for text in rule(subject))


def grouped(texts: Iterable[str]) -> tuple[str, ...]:
    """Texts that begin with a section, such as ".efifw (section 9): ...", with all sections of the same text in one."""
    numbers: dict[tuple[str, str], list[str]] = {}
    for text in texts:
        found = _OF_SECTION.fullmatch(text)
        key = (found[1], found[3]) if found else ("", text)
        numbers.setdefault(key, []).append(found[2] if found else "")
    return tuple(
        rest if not name else f"{name} (section{'s' if len(of) > 1 else ''} {', '.join(of)}){rest}"
        for (name, rest), of in numbers.items()
    )


def _stub(subject: Subject) -> Iterator[str]:
    """A stub whose rules are only assumed, and one whose rules nobody here knows; or that it is no UKI."""
    program = not_a_uki(subject.uki)
    if program is not None:
        yield f"the file is {program.what}: {program.instead}"
    elif not efi_program.has_kernel(subject.uki.image):
        yield "no .linux: not a UKI"
    elif not is_simulated(subject.model):
        yield f"another stub's format, which is not simulated: {subject.reason}"
    elif subject.reason.endswith("assumed"):
        yield f"unknown stub: {subject.reason}"


def _kernel(subject: Subject) -> Iterator[str]:
    if not efi_program.has_kernel(subject.uki.image) or not subject.model.takes_profiles:
        return
    base, *profiles = (_first(part, ".linux") for part in subject.parts)
    for index, own in enumerate(profiles):
        section = own or base
        if section is None or not section.virtual_size:
            yield f"profile {index} has no .linux: it does not boot"
    if not profiles and (base is None or not base.virtual_size):
        yield "the first .linux is empty: the stub does not boot"


def _refused(subject: Subject) -> Iterator[str]:
    if not efi_program.has_kernel(subject.uki.image) or not is_simulated(subject.model):
        return
    for part in subject.parts:
        why = kernel_refused(subject.uki, subject.model, _first(part, ".linux"))
        if why is not None:
            yield f"{part.title} does not boot: {why}"
    why = image_refused(subject.uki, Host().memory)
    if why is not None:
        yield why


def _ignored(subject: Subject) -> Iterator[str]:
    for name in NEWEST.sections if subject.model.sections else ():
        there = any(section.name == name for section in subject.uki.image.sections)
        if there and name not in subject.model.sections and name not in _DESCRIBING:
            yield f"{name}: stub {subject.model.id} does not know the section and ignores it"


def _hidden(subject: Subject) -> Iterator[str]:
    for part in subject.parts:
        for name in NEWEST.sections:
            same = [section for section in part.sections if section.name == name]
            if not same or name in _MANY:
                continue
            if not same[0].virtual_size:
                yield f"{label(same[0])} has VirtualSize 0: it counts as missing, and hides any other of its name"
            for section in same[1:]:
                yield f"{label(section)} is ignored: section {same[0].index} is the first of that name"


def _overlaps(subject: Subject) -> Iterator[str]:
    return overlaps(subject.uki)


def overlaps(uki: Uki) -> Iterator[str]:
    """Sections that the firmware copies over others: what is measured and used is not what the file has there."""
    pairs = pe_memory.overlaps(uki.image)
    for before, section in pairs[:_OVERLAPS_MAX]:
        hidden = "the headers" if before is None else label(before)
        yield f"{label(section)} lies over {hidden} in memory: the firmware copies it later, and what lies there counts"
    if len(pairs) > _OVERLAPS_MAX:
        yield f"{len(pairs) - _OVERLAPS_MAX} more sections lie over others in memory"


def _changed(subject: Subject) -> Iterator[str]:
    """What the firmware makes of the image in a way that depends on the machine."""
    for row in doubts(subject.uki, subject.model):
        yield f"{row.what} is not known: {row.why}"


def _tables(subject: Subject) -> Iterator[str]:
    model = subject.model
    for part in subject.parts:
        table = part.table
        if table is None or hwids.SECTION not in model.sections:
            continue
        refused = table.refused.get(model.id)
        if refused is not None:
            yield f"{refused}: stub {model.id} refuses the whole table and selects nothing by it"
        elif table.error is not None:
            others = in_words(table.refused) or "none"
            yield f"{table.error}: stub {model.id} does not notice; refused as a whole by: {others}"
        if not table.entries and table.error is None:
            yield f"{label(table.section)} has no entries: nothing is selected by it"
        firmware = [entry for entry in table.entries if entry.type == hwids.UEFI_FW]
        if firmware and not refused and not model.matches_firmware_entries:
            yield (
                f"{_entries(table, firmware)}: stub {model.id} never matches firmware entries "
                f"(those that do: {which(lambda other: other.matches_firmware_entries)})"
            )
        zero = [entry for entry in table.entries if not entry.chid.int]
        if zero and not refused and any(kind in model.chid_priority for kind in _PANEL_TYPES):
            yield (
                f"{_entries(table, zero)}: an all-zero CHID; stub {model.id} takes it before all others on a machine "
                "without EDID"
            )


def _blobs(subject: Subject) -> Iterator[str]:
    for part in subject.parts:
        for firmware in part.firmwares:
            if firmware.error is not None:
                yield str(firmware.error)
        for tree in part.trees:
            if tree.error is not None:
                yield f"{tree.error}: a stub skips it"


def _payloads(subject: Subject) -> Iterator[str]:
    """What keeps a payload from being the firmware of a machine that could start this UKI."""
    for part in subject.parts:
        holders: tuple[Firmware | Image, ...] = (*part.firmwares, *part.images)
        for each in holders:
            if each.content is None or each.payload is None:
                continue
            kind, machine = each.content.kind.name, subject.uki.machine
            place, size = label(each.section), len(each.payload)
            if kind in ("ovmf", "unknown") and machine in ("x64", "ia32"):
                if size % _BIOS_UNIT:
                    yield (
                        f"{place}: a payload of {size} bytes, not a multiple of 64 KiB: QEMU takes no such BIOS, and "
                        "the update device of qemu-v5 aborts on it"
                    )
                if size > _BIOS_MAX:
                    yield (
                        f"{place}: a payload of {size} bytes, more than the 8 MiB that QEMU has for firmware in flash "
                        "unless told (max-fw-size); how large a machine's BIOS region is, its update device says"
                    )
            for text in _foreign(each.content, machine):
                yield f"{place}: {text}"


def _foreign(content: Content, machine: str) -> Iterator[str]:
    """Firmware for another machine, or for one in 32-bit mode."""
    cores = content.machines
    first = cores.get(firmware_volume.SECURITY)
    # Only ia32 is left on the way to DXE, by OVMF's IA32X64 build.
    last = cores.get(firmware_volume.DXE, None if first == "ia32" else first)
    if last is not None and last != machine:
        yield f"the firmware is for {last}, the UKI for {machine}: it cannot start it"
    elif first == "ia32" and machine == "x64":
        # edk2 has both kinds of metadata in builds whose SEC is for x64 only.
        yield "the firmware starts in 32-bit mode (its SEC core is for ia32): no SEV-SNP or TDX guest can run it"
    details = content.details or {}
    if content.kind.name == "elf" and details:
        if details["machine"] != machine:
            yield f"an ELF image of {details['bits']} bit for {details['machine']}, the UKI is for {machine}"
    elif content.kind.name == "igvm" and details and details["machine"] != machine:
        yield f"an IGVM file for {details['machine']}, the UKI is for {machine}"


def _without_table(subject: Subject) -> Iterator[str]:
    for part in subject.parts:
        if part.firmwares and part.table is None:
            sections = ", ".join(label(firmware.section) for firmware in part.firmwares)
            yield f"{sections}: no .hwids in {part.title} to choose by, so never selected"


def _unnamed(subject: Subject) -> Iterator[str]:
    """Blobs that no entry leads to, be it because an earlier one answers to the same name."""
    for part in subject.parts:
        named = {kind: {e.string for e in part.table.entries if e.type == kind} for kind in KINDS} if part.table else {}
        seen: dict[tuple[int, str], int] = {}
        for kind, section, string in named_blobs(part):
            first = seen.setdefault((kind, string), section.index)
            word = KINDS[kind].string
            if first != section.index:
                yield f"{label(section)} has the {word} {string!r} of section {first}, which a stub takes instead"
            elif kind in named and string not in named[kind]:
                yield f"{label(section)}: no entry of .hwids names its {word} {string!r}{_ELSE[kind]}"
            elif kind == hwids.DEVICETREE and kind not in named:
                yield f"{label(section)}: no .hwids in {part.title}{_ELSE[kind]}"


def _unfounded(subject: Subject) -> Iterator[str]:
    """Entries that lead to no blob."""
    for part in subject.parts:
        if part.table is None:
            continue
        there = {(kind, string) for kind, _, string in named_blobs(part)}
        missing: dict[tuple[int, str | None], list[hwids.Entry]] = {}
        for entry in part.table.entries:
            # An offset that leads nowhere is told by the rule for tables.
            told = entry.string is None and entry.string_offset
            if entry.type in KINDS and not told and (entry.type, entry.string) not in there:
                missing.setdefault((entry.type, entry.string), []).append(entry)
        for (kind, string), entries in missing.items():
            _, word, section = KINDS[kind]
            if string is None:
                yield f"{_entries(part.table, entries)}: no {word}; a machine that matches it gets nothing"
            else:
                yield f"{_entries(part.table, entries)}: {word} {string!r}, and no {section} in {part.title} has it"


# Rules in the order in which they are told.
RULES: tuple[Callable[[Subject], Iterable[str]], ...] = (
    _stub, _kernel, _refused, _ignored, _hidden, _overlaps, _changed, _tables, _blobs, _payloads, _without_table,
    _unfounded, _unnamed,
)  # fmt: skip

_ELSE = {
    hwids.DEVICETREE: "; used only where the firmware brings a devicetree with that compatible",
    hwids.UEFI_FW: "; never selected",
}


def named_blobs(part: Part) -> Iterator[tuple[int, pe.Section, str]]:
    """Type of entry, section and string of each blob that a stub accepts, devicetrees first."""
    for tree in part.trees:
        if tree.compatible:
            yield hwids.DEVICETREE, tree.section, tree.compatible[0]
    for firmware in part.firmwares:
        if firmware.fwid is not None:
            yield hwids.UEFI_FW, firmware.section, firmware.fwid


def _first(part: Part, name: str) -> pe.Section | None:
    return next((section for section in part.sections if section.name == name), None)


def _entries(table: Table, entries: list[hwids.Entry]) -> str:
    more = f" and {len(entries) - 1} more" if len(entries) > 1 else ""
    return f"{label(table.section)}: entry {entries[0].index}{more}"


def of_boot(boot: Boot) -> tuple[str, ...]:
    """What the stub complained of, once each; of a table or blob it refused, which byte is to blame.

    Before that what it does not notice: sections that lie over others, and load options that it passes on.
    """
    messages = [event.message for event in boot.trace if isinstance(event, Log) and event.level in ("error", "warning")]
    return (*overlaps(boot.uki), *_passed_on(boot), *dict.fromkeys(_explained(boot, message) for message in messages))


def _passed_on(boot: Boot) -> Iterator[str]:
    """Load options that the stub leaves to the kernel although it has settled on no command line (kernel.py)."""
    prepared = boot.prepared
    if boot.model.name == SYSTEMD_STUB and prepared is not None and prepared.cmdline is None and boot.load_options:
        text = from_utf16(boot.load_options)
        yield (
            f"the kernel gets the firmware's load options, {text!r}, which PCR 12 does not have: the stub has "
            "dropped them"
        )


# How the stub's messages about a section begin; what follows is a status or the section's number in its part.
_REFUSED_TABLE = ("HWID matching failed, no DT blob will be selected: ", "No UEFI FW will be selected: ")
_BAD_BLOB = {"Found bad efifw blob in PE section ": ".efifw", "Found bad DT blob in PE section ": ".dtbauto"}


def _explained(boot: Boot, message: str) -> str:
    profiles = boot.uki.profiles
    if boot.prepared is not None:
        profiles = profiles[boot.prepared.profile :][:1]
    for sections in (boot.uki.base, *(profile.sections for profile in profiles)):
        if message.startswith(_REFUSED_TABLE):
            table = next((section for section in sections if section.name == hwids.SECTION), None)
            read = table and read_table(table, boot.uki.data(table), [boot.model])
            error = read and read.refused.get(boot.model.id)
            if error:
                return f"{error}: the stub refuses the table and selects nothing by it"
        for start, name in _BAD_BLOB.items():
            if message.startswith(start):
                number = int(message.removeprefix(start))
                error = _bad_blob(boot, sections[number : number + 1], name)
                if error:
                    return f"{error}: the stub skips it"
    return message


def _bad_blob(boot: Boot, sections: tuple[pe.Section, ...], name: str) -> StubsimError | None:
    """What is wrong with the section, if there is one and it has that name."""
    if not sections or sections[0].name != name:
        return None
    (section,) = sections
    try:
        data = boot.uki.data(section)
        accepted_firmware(section, data) if name == ".efifw" else accepted_tree(section, data)
    except StubsimError as error:
        return placed(error, section)
    return None
