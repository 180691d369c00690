"""stubble, the stub of Ubuntu's kernels, from start to kernel in its own order (ubuntu/stubble: stub.c, pe.c, linux.c).

Its rules are those of version 14, observed on x86-64 and arm64. What is the same as in systemd-stub, from which it
comes, is that module's: the CHIDs and their look-up, the reading of trees, what an event looks like.
"""

from __future__ import annotations

from stubsim.extent import Bytes, of_bytes
from stubsim.formats import hwids, pe
from stubsim.formats.efi_string import decode_utf8, from_utf16, utf16z
from stubsim.formats.uefi_status import TEXTS
from stubsim.rows import NamedTuple
from stubsim.stub import refused
from stubsim.stub.arguments import firmware_load_options
from stubsim.stub.chid_match import Match, find_entry
from stubsim.stub.context import Context
from stubsim.stub.devicetree import firmware_compatible, first_compatible, install_devicetrees
from stubsim.stub.initrd import Combined, Initrd
from stubsim.stub.kernel import Started, accepted_machines, note_what_is_read_on
from stubsim.stub.measure import Measured, log_load_options
from stubsim.stub.run import Prepared
from stubsim.stub.sections import Sections
from stubsim.systemd.strings import mangle
from stubsim.trace import Staged
from stubsim.uefi.memory import OutOfResources

_DTB_OVERRIDE = "stubble.dtb_override="
# More than any compatible; what is longer is taken to have no end.
_STRING_MAX = 1 << 16


class Options(NamedTuple):
    """What the words of the load options say to stubble itself."""

    debug: bool = False
    dtb_override: bool = True


def prepare(context: Context, found: list[Sections]) -> Prepared:
    """Everything up to the start of the kernel; raises ProgramFailed. The sections settled on go into ``found``."""
    given = process_arguments(context)
    options = parse_options(given)
    context = context._replace(log_level="debug" if options.debug else "error")
    context.log("debug", "Stubble configuration:")
    context.log("debug", "debug: enabled")
    context.log("debug", f"dtb_override: {'enabled' if options.dtb_override else 'disabled'}")

    sections = find_sections(context, options)
    found.append(sections)

    cmdline = settle_command_line(context, given, sections)
    devicetree = install_devicetrees(context, sections, [], Measured())
    return Prepared(0, sections, cmdline, devicetree, find_initrd(context, sections), None)


def process_arguments(context: Context) -> str | None:
    """The command line given; load options with a control character are ignored as a whole."""
    if context.image.shell is not None:
        return " ".join(context.image.shell[1:])
    options = context.image.load_options
    text = from_utf16(options or b"")
    return None if any(unit <= "\x1f" for unit in text) else mangle(text)


def parse_options(given: str | None) -> Options:
    """Of one option the last word counts, and a word that is not understood does not count at all."""
    options = Options()
    for word in (given or "").split(" "):
        if word == "debug":
            options = options._replace(debug=True)
        elif word in (f"{_DTB_OVERRIDE}true", f"{_DTB_OVERRIDE}false"):
            options = options._replace(dtb_override=word.endswith("true"))
    return options


def find_sections(context: Context, options: Options) -> Sections:
    """The first section of each name in the whole table: one of a profile is a section like any other.

    Raises ProgramFailed without a kernel.
    """
    uki = context.uki
    found: dict[str, pe.Section] = {}
    for section in uki.image.sections:
        if section.name in context.model.sections and section.name != ".dtbauto":
            found.setdefault(section.name, section)
    sections = Sections(uki, found, {hwids.DEVICETREE: None, hwids.UEFI_FW: None}, None)
    match, error = _match_hwids(context, sections)
    for number, section in enumerate(uki.image.sections):
        if section.name == ".dtbauto" and _use_this_dtb(context, section, number, match, options):
            found[".dtbauto"] = section
            break
    if sections.section(".linux") is None:
        because = refused.linux_missing(uki, found)
        raise context.fail("Image lacks .linux section.", "EFI_NOT_FOUND", because)
    return sections._replace(matches={hwids.DEVICETREE: match, hwids.UEFI_FW: None}, hwids_error=error)


def _match_hwids(context: Context, sections: Sections) -> tuple[Match | None, str | None]:
    """The entry for this machine, and why the table is refused; it is not looked at beside a tree of the firmware."""
    section = sections.section(hwids.SECTION)
    if section is None or context.host.devicetree is not None:
        return None, None
    found = find_entry(context, context.uki.data(section), hwids.DEVICETREE)
    if not isinstance(found, str):
        return found._replace(string=_string(context, section, found.entry)), None
    context.log("debug", f"HWID matching failed, no DT blob will be selected: {TEXTS[found]}")
    return None, None if found == "EFI_NOT_FOUND" else TEXTS[found]


def _string(context: Context, table: pe.Section, entry: hwids.Entry) -> bytes | None:
    """What lies at the offset, be it behind the section; None for offset 0 and where it is not known."""
    if entry.string_offset == 0:
        return None
    uki, start = context.uki, table.virtual_address + entry.string_offset
    string, nul, _ = bytes(uki.loaded[start:][:_STRING_MAX]).partition(b"\0")
    end = start + len(string) + 1
    if not nul or not any(
        row.virtual_address <= start and end <= row.virtual_address + row.virtual_size for row in uki.image.sections
    ):
        # What the firmware leaves between sections and behind the image is not known; taken as zeros and as no match.
        context.unknown(
            f"the string of .hwids entry {entry.index} at offset {entry.string_offset:#x}",
            "stubble checks no offsets and reads what lies in memory between the sections or behind the image",
            "outcome", "selection", "devicetree", "log",
        )  # fmt: skip
    return string if nul else None


def _use_this_dtb(context: Context, section: pe.Section, number: int, match: Match | None, options: Options) -> bool:
    """Whether a `.dtbauto` has the first compatible of the firmware's tree or, where there is none, of the entry."""
    firmware = context.host.devicetree
    data = context.uki.data(section)
    if firmware is not None:
        wanted = firmware_compatible(context, firmware) if options.dtb_override else None
        if wanted is None or first_compatible(data, section.virtual_address) != wanted:
            return False
        context.log("debug", f"found device-tree based on compatible: {wanted.decode('latin-1')}")
        return True
    if match is None or match.string is None:
        return False
    compatible = first_compatible(data, section.virtual_address)
    if compatible is None:
        context.log("error", f"Found bad DT blob in PE section {number}")
    elif compatible == match.string:
        context.log("debug", f"found device-tree based on HWID: {compatible.decode('latin-1')}")
        return True
    return False


def settle_command_line(context: Context, given: str | None, sections: Sections) -> str | None:
    """The given line, measured, or `.cmdline` as it is up to its first NUL, which is not; None: neither.

    Under Secure Boot a given line is dropped where there is a `.cmdline`, and in a confidential guest it is not.
    """
    own = sections.text(".cmdline")
    if given and (own is None or not context.host.secure_boot):
        log_load_options(context, given, Measured())
        return given
    return None if own is None else decode_utf8(own)


def find_initrd(context: Context, sections: Sections) -> Combined | None:
    """The `.initrd` where it lies, nothing added; without one what an earlier stage registered stays."""
    own, previous = sections.data(".initrd"), context.host.previous_initrd
    kind, data = ("initrd", own) if own is not None else ("previous", previous)
    if data is None:
        return None
    return Combined((Initrd(kind, kind, (data,), 0, len(data), True),), (data,), len(data), own is not None)


def linux_exec(context: Context, kernel: Bytes, cmdline: str | None, initrd: Combined | None) -> Started:
    """Check the kernel, copy it to its pages and register the initrd; raises ProgramFailed.

    The kernel runs in the stub's own image handle, so without a command line it finds the LoadOptions of the firmware.
    """
    headers = _kernel_info(context, kernel)
    gpa = _allocate_pages(context, headers.size_of_image)
    _check_sections(context, headers)
    for section in headers.sections:
        content = kernel[section.raw_offset :][: section.raw_size]
        context.memory.place(gpa + section.virtual_address - headers.image_base, [content])
    if initrd is not None and initrd.by_stub and context.host.previous_initrd is not None:
        because = "a boot loader has registered an initrd already, and the image brings its own"
        raise context.fail(f"Error registering initrd: {TEXTS['EFI_ALREADY_STARTED']}", "EFI_ALREADY_STARTED", because)
    staged = Staged("kernel", gpa, headers.size_of_image, "EfiLoaderCode", False)
    context.emit(staged)
    return Started(staged, firmware_load_options(context) if cmdline is None else utf16z(cmdline))


def check_kernel(context: Context, kernel: Bytes) -> None:
    """Whether stubble starts a kernel for which there is room; raises ProgramFailed for another."""
    _check_sections(context, _kernel_info(context, kernel))


def _kernel_info(context: Context, kernel: Bytes) -> pe.Headers:
    headers = pe.read_headers(kernel, accepted_machines(context))
    note_what_is_read_on(context, of_bytes(kernel), headers)
    if headers is None:
        because = refused.kernel_headers(context, kernel)
        raise context.fail(f"Bad kernel image: {TEXTS['EFI_LOAD_ERROR']}", "EFI_LOAD_ERROR", because)
    if headers.major_image_version < 1 or pe.MACHINES.get(headers.machine) != context.machine:
        because = refused.before_5_8(context, headers)
        raise context.fail(f"Bad kernel image: {TEXTS['EFI_UNSUPPORTED']}", "EFI_UNSUPPORTED", because)
    if headers.base_relocations[1]:
        raise context.fail("Inner kernel image contains base relocations, which we do not support.", "EFI_LOAD_ERROR")
    return headers


def _allocate_pages(context: Context, size: int) -> int:
    try:
        return context.memory.allocate(size, "EfiLoaderCode")
    except OutOfResources:
        # xmalloc_pages() takes no failure (efi-log.c, efi_assert).
        message = "stubble: Assertion 'BS->AllocatePages(type, memory_type, n_pages, &addr) == EFI_SUCCESS' failed"
        raise context.fail(
            message, "EFI_OUT_OF_RESOURCES", refused.out_of_memory(context, "the kernel", size)
        ) from None


def _check_sections(context: Context, headers: pe.Headers) -> None:
    """Addresses count from ImageBase, which none of a kernel that was linked for a place of its own lies above.

    The stub clears what a section has in memory beyond its data; with less than its data that is a count below zero.
    """
    for section in headers.sections:
        if section.relocations_offset:
            raise context.fail(
                "Inner kernel image contains sections with relocations, which we do not support.", "EFI_LOAD_ERROR"
            )
        if section.raw_size == 0:
            continue
        start = section.virtual_address - headers.image_base
        if start < 0 or start + section.raw_size > headers.size_of_image:
            because = f"{section.name} is not inside the image; stubble wants an ImageBase of 0" if start < 0 else None
            raise context.fail("Section would write outside of memory", "EFI_LOAD_ERROR", because)
        if section.raw_size > section.virtual_size:
            context.unknown(
                f"the start of a kernel whose section {section.name} has more bytes in the file than in memory",
                "stubble takes the difference, below zero, for the bytes to clear, nearly 4 GiB; never recorded",
                "outcome",
            )
