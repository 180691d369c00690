"""Which sections the stub works with: base, then profile, the `.dtbauto` and `.efifw` by the machine (pe.c, stub.c)."""

from __future__ import annotations

from collections.abc import Sequence

from stubsim.errors import StubsimError
from stubsim.extent import Extent
from stubsim.formats import hwids, pe
from stubsim.stub import devicetree, refused
from stubsim.stub.chid_match import Match, chid_match
from stubsim.stub.context import Context
from stubsim.stub.sections import Sections
from stubsim.systemd.strings import UINT_MAX
from stubsim.uefi.loaded_image import ProgramFailed
from stubsim.uki import Uki


def find_sections(context: Context, profile: int) -> Sections:
    """Base sections, overridden name by name by the profile's; ProgramFailed for a missing profile or `.linux`."""
    uki = context.uki
    because = refused_headers(context, uki)
    if because is not None:
        raise _no_sections(context, because)
    if context.model.takes_last_section_by_prefix:
        sections = locate_by_prefix(context, uki)
    else:
        sections = locate_sections(context, uki, uki.base)
    if profile != UINT_MAX and context.model.takes_profiles:
        if profile < len(uki.profiles):
            own = locate_sections(context, uki, uki.profiles[profile].sections)
            # A match without a section in the profile leaves the base's choice, and then it did not lead to it.
            led = {
                kind: match if match is not None and name not in own.found else own.matches[kind]
                for (kind, match), name in zip(sections.matches.items(), (".dtbauto", ".efifw"), strict=True)
            }
            sections = Sections(uki, sections.found | own.found, led, own.hwids_error or sections.hwids_error)
        elif profile != 0:
            # Profile 0 is implied where the image has no .profile at all.
            raise context.fail(
                "Unable to locate embedded per-profile PE sections: Not found",
                "EFI_NOT_FOUND",
                refused.profile_missing(uki, profile),
            )
    if sections.section(".linux") is None:
        because = refused.linux_missing(uki, sections.found)
        older = context.model.takes_last_section_by_prefix
        missing = f"Unable to locate embedded .linux section: {context.in_words('EFI_NOT_FOUND')}"
        message = missing if older else "Image lacks .linux section."
        raise context.fail(message, "EFI_NOT_FOUND", because)
    return sections


def exceeds_limit(context: Context, count: int) -> bool:
    """Whether an image has more sections than this stub takes for one (pe.c, verify_pe)."""
    limit = context.model.section_limit
    return limit is not None and count > limit


def refused_headers(context: Context, image: Uki) -> str | None:
    """Why this stub takes an image that the firmware has loaded for none (pe.c, verify_pe); None: it does not."""
    if exceeds_limit(context, len(image.image.sections)):
        return f"this stub takes no image with more than {context.model.section_limit} sections"
    headers = image.headers if context.model.checks_kernel_headers else None
    if headers is None or headers.has_relocations_directory:
        return None
    return f"this stub takes no image without a directory of base relocations ({headers.directories} directories)"


def _no_sections(context: Context, because: str) -> ProgramFailed:
    older = context.model.takes_last_section_by_prefix
    what = "embedded .linux section" if older else "PE section table"
    return context.fail(f"Unable to locate {what}: {context.in_words('EFI_LOAD_ERROR')}", "EFI_LOAD_ERROR", because)


def locate_by_prefix(context: Context, uki: Uki) -> Sections:
    """Up to 256 the last section whose name begins with the wanted one counts, profiles or not (pe.c)."""
    report_overlaps(context, uki.image.sections)
    found = {
        name: section
        for name in context.model.sections
        for section in uki.image.sections
        if section.name.startswith(name)
    }
    return Sections(uki, found, {hwids.DEVICETREE: None, hwids.UEFI_FW: None}, None)


def report_overlaps(context: Context, table: Sequence[pe.Section]) -> None:
    """A line for each section that begins before the end of the one in front of it in the table (252: pe.c)."""
    if not context.model.reports_overlaps:
        return
    end = 0
    for section in table:
        if section.virtual_address < end:
            text = "Overlapping PE sections detected. Boot may fail due to image memory corruption!"
            context.log("error", text)
        end = section.virtual_address + section.virtual_size


def locate_sections(context: Context, uki: Uki, table: Sequence[pe.Section]) -> Sections:
    """The first section of each known name in a part of the section table; see pe_locate_sections."""
    found: dict[str, pe.Section] = {}
    for section in table:
        if section.name in context.model.sections and section.name not in (".dtbauto", ".efifw"):
            found.setdefault(section.name, section)

    matches: dict[int, Match | None] = {hwids.DEVICETREE: None, hwids.UEFI_FW: None}
    sections = Sections(uki, found, matches, None)
    data = sections.data(".hwids")
    errors = []
    # A look-up for each kind of entry; a devicetree of the firmware stops the first one, and decides by itself.
    if context.model.matches_devicetree_entries:
        if data is not None and context.host.devicetree is None:
            text = "HWID matching failed, no DT blob will be selected"
            matches[hwids.DEVICETREE], error = _look_up(context, data, hwids.DEVICETREE, text)
            errors.append(error)
        choose_devicetree(context, uki, table, found, matches[hwids.DEVICETREE])
    if context.model.matches_firmware_entries:
        if data is not None:
            text = "No UEFI FW will be selected"
            matches[hwids.UEFI_FW], error = _look_up(context, data, hwids.UEFI_FW, text)
            errors.append(error)
        choose_firmware(context, uki, table, found, matches[hwids.UEFI_FW])
    return sections._replace(hwids_error=next((error for error in reversed(errors) if error), None))


def _look_up(context: Context, data: Extent, kind: int, text: str) -> tuple[Match | None, str | None]:
    """The entry for the machine, and the error of a table that is refused."""
    match, status = chid_match(context, data, kind)
    return match, None if status is None else _report(context, text, status)


def _report(context: Context, text: str, status: str) -> str | None:
    """Log a failed look-up; that nothing matched is no error of the table."""
    if status != "EFI_NOT_FOUND":
        context.log("error", f"{text}: {context.in_words(status)}")
        return context.in_words(status)
    if context.model.reports_no_match_as_error:
        ending = f": {context.in_words(status)}" if context.model.tells_status_of_no_match else "."
        context.log("error", text + ending)
    else:
        context.log("debug", f"{text}: {context.in_words(status)}")
    return None


def choose_devicetree(
    context: Context, uki: Uki, table: Sequence[pe.Section], found: dict[str, pe.Section], match: Match | None
) -> None:
    """The first `.dtbauto` whose first compatible is the firmware's, or else that of the matched entry."""
    for number, section in enumerate(table):
        if section.name != ".dtbauto":
            continue
        wanted = None if match is None else match.string
        status = devicetree.match_dtb(context, uki.data(section), wanted, section.virtual_address)
        if status == "bad":
            context.log("error", f"Found bad DT blob in PE section {number}")
        elif status == "match":
            found[".dtbauto"] = section
            return


def choose_firmware(
    context: Context, uki: Uki, table: Sequence[pe.Section], found: dict[str, pe.Section], match: Match | None
) -> None:
    """The first `.efifw` with the matched entry's fwid; a bad blob is named and skipped."""
    if match is None or match.string is None:
        return
    # 262.1 goes through all of them twice, so a bad blob is named twice (recorded: efifw-badheader, efifw-raw-*).
    chosen = None
    for _ in range(2):
        for number, section in enumerate(table):
            if section.name != ".efifw":
                continue
            fwid = _fwid(uki, section)
            if fwid is None:
                context.log("error", f"Found bad efifw blob in PE section {number}")
            elif fwid == match.string:
                chosen = section
                break
    if chosen is not None:
        found[".efifw"] = chosen


def _fwid(uki: Uki, section: pe.Section) -> bytes | None:
    """The id in a blob's header; None for a blob the stub refuses, be it for its place.

    That must be a multiple of 8 (efi-firmware.h, EfiFwHeader; 262.1's own code in emulation: 4 is bad, 8 is not).
    """
    try:
        return None if section.virtual_address % 8 else uki.efifw(section).fwid
    except StubsimError:
        return None
