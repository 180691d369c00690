"""Checking, loading and starting the kernel (systemd-stub: linux.c, linux_x86.c; pe.c)."""

from __future__ import annotations

import struct

from stubsim.extent import Bytes, Extent, of_bytes
from stubsim.formats import pe, pe_memory
from stubsim.formats.efi_program import SYSTEMD_STUB
from stubsim.formats.efi_string import utf16z
from stubsim.machine.ram import PAGE
from stubsim.rows import NamedTuple
from stubsim.stub import refused
from stubsim.stub.arguments import firmware_load_options
from stubsim.stub.context import Context
from stubsim.stub.initrd import Combined
from stubsim.stub.locate import exceeds_limit
from stubsim.stub.pool import ALIGNED_PAGES, PAGES, TOTAL_PAGES, halted
from stubsim.stub.setup_header import check_setup_header
from stubsim.trace import ImageLoaded, Staged
from stubsim.uefi.load_image import AddressTaken, Placed, in_memory, place_image, refusal
from stubsim.uefi.loaded_image import ProgramFailed
from stubsim.uefi.memory import OutOfResources

# Of the image that is loaded from memory, in the trace.
KERNEL_PATH = ".linux"

_UINT32_MAX = 0xFFFFFFFF
_CODE = "EfiLoaderCode"
# UEFI 2.10 brought EFI_MEMORY_ATTRIBUTE_PROTOCOL.
_MEMORY_ATTRIBUTES_SINCE = 2 << 16 | 100
_BOOT_PARAMS_SIZE = 4096
# Linux, arch/x86/boot/header.S, section .compat: type 1, size, machine and entry point of each.
_COMPAT_ROW = struct.Struct("<BBHI")
_COMPAT_MAX = 1 << 16


class Started(NamedTuple):
    """The kernel as it is entered: where it lies, and its LoadOptions (None: LoadOptionsSize is 0)."""

    kernel: Staged
    load_options: bytes | None


def linux_exec(context: Context, kernel: Bytes, cmdline: str | None, initrd: Combined | None) -> Started:
    """Check the kernel as the stub does, copy it to its pages and register the initrd; raises ProgramFailed."""
    kernel = of_bytes(kernel)
    headers = check_kernel(context, kernel)
    _register_initrd(context, initrd)
    return Started(_load(context, kernel, headers), _load_options(context, cmdline))


def _load_options(context: Context, cmdline: str | None) -> bytes | None:
    """The command line, or the firmware's own bytes, unmeasured, where a stub that loads the kernel itself has none.

    It starts the kernel with its own EFI_LOADED_IMAGE_PROTOCOL, and writes only what it has into it (linux.c,
    linux_exec; booted systemd-stub 262.1: "@0", a tab inside, a shell without arguments).
    """
    if cmdline is not None:
        return utf16z(cmdline)
    return firmware_load_options(context) if context.model.loads_kernel_itself else None


def check_kernel(context: Context, kernel: Bytes) -> pe.Headers:
    """The headers of a kernel that the stub starts; raises ProgramFailed for another."""
    kernel = of_bytes(kernel)
    headers = pe.read_headers(kernel, accepted_machines(context))
    if not context.model.bounds_kernel:
        note_what_is_read_on(context, kernel, headers)
    if headers is not None and exceeds_limit(context, headers.section_count):
        raise _bad_image(context, f".linux has more than {context.model.section_limit} sections")
    if headers is None or (context.model.checks_kernel_headers and not _has_whole_headers(context, kernel, headers)):
        raise _bad_image(context, refused.kernel_headers(context, kernel))
    if context.model.aligns_kernel and not _is_power_of_2(headers.section_alignment):
        number = headers.section_alignment
        context.log("warning", f"PE SectionAlignment {number} is not a power of 2, falling back to page alignment.")
    if headers.major_image_version < 1 or not (_is_own(context, headers) or _compat_entry(context, kernel, headers)):
        try:
            if context.machine not in ("x64", "ia32"):
                raise context.fail(f"Bad kernel image: {context.in_words('EFI_UNSUPPORTED')}", "EFI_UNSUPPORTED")
            _check_efi_handover(context, kernel)
        except ProgramFailed as failure:
            failure.because = refused.before_5_8(context, headers)
            raise
    elif context.model.loads_kernel_itself:
        _check_for_own_loader(context, kernel, headers)
    else:
        status = refusal(kernel, headers)
        if status is not None:
            because = refused.by_load_image(headers, status)
            raise context.fail(f"Error loading kernel image: {context.in_words(status)}", status, because)
        if not context.host.secure_boot:
            # Else the stub stands in for the firmware's check, which is what measures (recorded: sb-loadopt).
            context.emit(ImageLoaded(KERNEL_PATH, headers.subsystem, kernel, context.services.by))
    return headers


def accepted_machines(context: Context) -> tuple[int, ...]:
    """Machine types a stub takes: its own, and a second one for `.compat` entries.

    That is x64 on 32-bit firmware. Elsewhere there is none, but the number that stands for it, 0, passes as a type
    (booted systemd-stub 262.1 and 257.13).
    """
    own = tuple(number for number, name in pe.MACHINES.items() if name == context.machine)
    return (*own, 0x8664 if context.machine == "ia32" else 0)


def _bad_image(context: Context, because: str) -> ProgramFailed:
    return context.fail(f"Bad kernel image: {context.in_words('EFI_LOAD_ERROR')}", "EFI_LOAD_ERROR", because)


def note_what_is_read_on(context: Context, kernel: Extent, headers: pe.Headers | None) -> None:
    """Where what there is of the headers is right so far, and they or their section table end behind the kernel's end.

    Where the DOS header leads out of it altogether, what is read there may be anything, or fault (257.13's own code in
    emulation).
    """
    own_loader = headers is not None and (context.model.loads_kernel_itself or context.model.name != SYSTEMD_STUB)
    if _is_read_on(kernel) or (own_loader and headers is not None and len(kernel) < headers.table_end):
        context.unknown(
            "how the kernel is refused",
            "it ends within its headers, and this stub reads what lies behind",
            "outcome",
            "log",
        )


def _is_read_on(kernel: Extent) -> bool:
    header = int.from_bytes(kernel[0x3C:0x40], "little")
    return (
        bytes(kernel[:2]) == b"MZ"
        and b"PE\0\0".startswith(bytes(kernel[header : header + 4]))
        and len(kernel) < header + pe.COFF.size + pe.DIRECTORIES[pe.PE32]
    )


def _has_whole_headers(context: Context, kernel: Extent, headers: pe.Headers) -> bool:
    """All 16 directories must be there, and that of base relocations belong to them, by both of the numbers that tell.

    Booted systemd-stub 262.1; its own code in emulation, with kernels of 208 to 327 bytes.
    """
    if context.model.bounds_kernel and len(kernel) < headers.end:
        return False
    return headers.has_relocations_directory


def _is_own(context: Context, headers: pe.Headers) -> bool:
    return pe.MACHINES.get(headers.machine) == context.machine


def _compat_entry(context: Context, kernel: Extent, headers: pe.Headers) -> int:
    """The entry point in `.compat` for the stub's machine, 0 without one (pe.c, get_compatibility_entry_address).

    The first section of the name counts. Its rows are sought at its address in the file as it is.
    """
    section = next((section for section in headers.sections if section.name == ".compat"), None)
    if section is None:
        return 0
    rows = bytes(kernel[section.virtual_address :][: min(section.virtual_size, _COMPAT_MAX)])
    while len(rows) >= _COMPAT_ROW.size:
        kind, size, machine, entry = _COMPAT_ROW.unpack_from(rows)
        if kind == 0 or size == 0 or size > len(rows):
            break
        if kind == 1 and size >= _COMPAT_ROW.size and pe.MACHINES.get(machine) == context.machine:
            return int(entry)
        rows = rows[size:]
    return 0


def _check_efi_handover(context: Context, kernel: Extent) -> None:
    """The deprecated entry for kernels before 5.8: what linux_exec_efi_handover asks of the setup header."""
    if len(kernel) < _BOOT_PARAMS_SIZE:
        # The stub returns without a message of its own.
        raise ProgramFailed(context.in_words("EFI_LOAD_ERROR"), "EFI_LOAD_ERROR")
    check_setup_header(context, kernel)
    context.unknown(
        "the start of a kernel older than 5.8",
        "the deprecated EFI handover protocol was never recorded; it passes command line and initrd in boot_params",
        "load_options",
        "memory",
    )


def _check_for_own_loader(context: Context, kernel: Extent, headers: pe.Headers) -> None:
    """What linux_exec refuses before and while it copies the sections, in its order."""
    model = context.model
    if model.checks_kernel_headers and headers.entry_point >= headers.size_of_image:
        raise _bad_image(context, "the entry point of .linux lies outside of the image")
    if headers.base_relocations[1]:
        raise _load_error(context, "Inner kernel image contains base relocations, which we do not support.")
    if headers.dll_characteristics & pe.NX_COMPAT:
        _note_memory_attributes(context)
    # One that is started by .compat is none of the stub's own either (systemd-stub 262.1's code in emulation).
    if (model.bounds_kernel and headers.table_end > len(kernel)) or not _is_own(context, headers):
        raise _load_error(context, f"Cannot read sections: {context.in_words('EFI_LOAD_ERROR')}")
    for section in headers.sections:
        if section.relocations_offset:
            raise _load_error(
                context, "Inner kernel image contains sections with relocations, which we do not support."
            )
        if section.raw_size:
            _check_section(context, kernel, headers, section)


def _check_section(context: Context, kernel: Extent, headers: pe.Headers, section: pe.Section) -> None:
    """Whether a section with data can be copied to its place."""
    model = context.model
    start = section.virtual_address
    if model.places_kernel_by_image_base:
        start -= headers.image_base
    raw_end = start + section.raw_size
    virtual_end = section.virtual_address + section.virtual_size
    for wrong, message in (
        (raw_end > _UINT32_MAX, "Invalid PE section, SizeOfRawData + VirtualAddress, overflows"),
        (start < 0 or raw_end > headers.size_of_image, "Section would write outside of memory"),
        (
            model.checks_kernel_raw_data and section.raw_size > section.virtual_size,
            "Invalid PE section, raw data size is greater than virtual size",
        ),
        (
            model.checks_kernel_headers and virtual_end > _UINT32_MAX,
            "Invalid PE section, VirtualSize + VirtualAddress overflows",
        ),
        (
            model.checks_kernel_headers and virtual_end > headers.size_of_image,
            "Section virtual size would write outside of memory",
        ),
        (
            model.checks_kernel_raw_data and section.raw_offset + section.raw_size > _UINT32_MAX,
            "Invalid PE section, PointerToRawData + SizeOfRawData overflows",
        ),
        (
            model.checks_kernel_raw_data and section.raw_offset + section.raw_size > len(kernel),
            "Invalid PE section, raw data extends outside of file",
        ),
    ):
        if wrong:
            raise _load_error(context, message)
    if not model.checks_kernel_raw_data and (
        section.raw_size > section.virtual_size or section.raw_offset + section.raw_size > len(kernel)
    ):
        context.unknown(
            "whether the kernel starts",
            "this stub copies more than the section or the file holds, and clears memory behind it",
            "outcome",
        )


def _load_error(context: Context, message: str) -> ProgramFailed:
    return context.fail(message, "EFI_LOAD_ERROR")


def _note_memory_attributes(context: Context) -> None:
    """A firmware older than UEFI 2.10 has no protocol for read-only code pages; a newer one may have it."""
    newer = context.host.firmware.uefi_revision >= _MEMORY_ATTRIBUTES_SINCE
    level = "warning" if newer and context.model.warns_of_memory_attributes else "debug"
    if not newer:
        context.log(level, "No EFI_MEMORY_ATTRIBUTE_PROTOCOL found, skipping NX_COMPAT support.")
    elif context.prints(level):
        context.unknown(
            "whether the firmware has EFI_MEMORY_ATTRIBUTE_PROTOCOL",
            "the host file does not tell, and without it this stub says so",
            "log",
        )


def _register_initrd(context: Context, initrd: Combined | None) -> None:
    """Offer the initrd by LoadFile2; from 261 on in place of what an earlier stage has registered."""
    if initrd is None or not initrd.by_stub:
        return
    previous = context.host.previous_initrd is not None
    if not context.model.takes_previous_initrd:
        if previous:
            raise context.fail(
                f"Error registering initrd: {context.in_words('EFI_ALREADY_STARTED')}",
                "EFI_ALREADY_STARTED",
                "an earlier stage has registered an initrd (previous_initrd of the host), and this stub does not take "
                "it over",
            )
        return
    if previous:
        context.log("debug", "Successfully unregistered previous LINUX_INITRD_MEDIA device.")
    context.log("debug", f"Installed new initrd of size {initrd.size}.")


def _is_power_of_2(number: int) -> bool:
    return number > 0 and number & (number - 1) == 0


def _allocate(context: Context, headers: pe.Headers) -> Placed:
    """Pages for the kernel: the stub's own are aligned as it asks for, and what is cut short is free again.

    See xmalloc_aligned_pages() of util.c; recorded on aa64: kernel-align64k, kernel-align-odd. Raises OutOfResources.
    """
    memory, size, alignment = context.memory, headers.size_of_image, headers.section_alignment
    if not context.model.loads_kernel_itself:
        return place_image(memory, headers)
    if not context.model.aligns_kernel or not _is_overallocated(headers):
        gpa = memory.allocate(size, _CODE)
        return Placed(gpa, _CODE, gpa)
    gpa = memory.allocate(_pages(size) + alignment, _CODE)
    aligned = -(-gpa // alignment) * alignment
    memory.keep(gpa, aligned, aligned + _pages(size))
    return Placed(aligned, _CODE, aligned)


def _no_pages(context: Context, headers: pe.Headers) -> ProgramFailed:
    """The firmware says so to the stub; the stub's own loader does not expect it."""
    size = headers.size_of_image
    if context.model.loads_kernel_itself:
        own = TOTAL_PAGES if _is_overallocated(headers) else ALIGNED_PAGES
        return halted(context, own if context.model.aligns_kernel else PAGES, "the kernel", size)
    because = refused.out_of_memory(context, "the kernel", size)
    return context.fail(
        f"Error loading kernel image: {context.in_words('EFI_OUT_OF_RESOURCES')}", "EFI_OUT_OF_RESOURCES", because
    )


def _is_overallocated(headers: pe.Headers) -> bool:
    return headers.section_alignment > PAGE and _is_power_of_2(headers.section_alignment)


def _pages(size: int) -> int:
    return -(-size // PAGE) * PAGE


def _load(context: Context, kernel: Extent, headers: pe.Headers) -> Staged:
    """SizeOfImage bytes of pages with the sections copied to their places; what lies between them is zero.

    The stub's own loader copies no headers, and passes over a section without data whatever its VirtualSize.
    """
    if context.model.loads_kernel_itself:
        loaded = [section for section in headers.sections if section.raw_size]
        content = pe_memory.loaded(kernel, headers.size_of_image, 0, loaded)
    else:
        content = in_memory(kernel, headers)
    try:
        gpa, kind, _ = _allocate(context, headers)
    except AddressTaken:
        because = refused.no_relocations(".linux", headers)
        raise context.fail(
            f"Error loading kernel image: {context.in_words('EFI_NOT_FOUND')}", "EFI_NOT_FOUND", because
        ) from None
    except OutOfResources:
        raise _no_pages(context, headers) from None
    context.memory.place(gpa, [content])
    staged = Staged("kernel", gpa, headers.size_of_image, kind, False)
    context.emit(staged)
    return staged
