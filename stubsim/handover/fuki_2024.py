"""The hand-over of the working prototype shown at KVM Forum 2024 (agraf/systemd, branch fuki, September 2024)."""

from __future__ import annotations

from stubsim.extent import Extent
from stubsim.formats import pe, vmfwupdate
from stubsim.formats.efi_string import utf16
from stubsim.formats.vmfwupdate import FUKI_BLOB, FUKI_CONTROL, FukiEntry, Left
from stubsim.handover.guest import FwCfgError, Guest
from stubsim.handover.leaving import About, Dialect, Leaving, Outcome, after_reset
from stubsim.stub.setup_header import check_setup_header, command_line_limit, loads_above_4g
from stubsim.trace import Staged

_ABOUT = About(
    name="fuki-2024",
    source="the prototype shown at KVM Forum 2024: agraf/systemd, branch fuki, and a QEMU tree of the same author",
    status="a prototype: in no release of systemd or QEMU",
    revision="6 to 21 September 2024, its last commit",
    decisions=(
        "A UKI without .fmwimg hands over the .efifw that was chosen for the machine, where this dialect is asked for "
        "or the machine's device speaks it.",
        "The file etc/vmfwupdate-cpu, which nothing uses, has a page.",
        "The hypervisor copies the firmware to the end of the BIOS region, and nothing where it is larger.",
        "In a confidential guest all that is handed over lies in shared pages, the firmware too, although its "
        "entry says private.",
        "The padding bytes of an entry, and what lies behind the command line in its last page, are zeros.",
        "An address that is taken (the command line at 128 MiB, say) ends the boot with EFI_OUT_OF_RESOURCES.",
        "The command line, if empty, is handed over as one NUL.",
        "The new firmware starts the kernel from the entries; how it does is not published, so the start of the kernel "
        "is not simulated.",
    ),
)

_MIB = 1 << 20
_GIB4 = 1 << 32
_KERNEL_AT, _CMDLINE_AT, _INITRD_AT = 32 * _MIB, 128 * _MIB, 129 * _MIB
_PAGE = 4096
_PRIVATE, _SHARED = 0, 1
_TYPES = {kind: number for number, kind in vmfwupdate.FUKI_TYPES.items()}


def hand_over(leaving: Leaving) -> Outcome:
    """Place kernel, initrd and command line, write the entries and then the trigger.

    There is no test for a firmware that runs already. Raises ProgramFailed where the stub gives up, OutOfResources
    where an address is taken.
    """
    context = leaving.context
    guest = Guest(leaving.machine, context.memory, context.emit)
    if not context.host.hypervisor or not guest.probe():
        return _stops("no fw_cfg device")
    blob, control = guest.find(FUKI_BLOB), guest.find(FUKI_CONTROL)
    if control is None:
        return _stops(f"fw_cfg has no file {FUKI_CONTROL}")
    left = _stage(leaving)
    entries = [
        FukiEntry(_TYPES[row.kind], _PRIVATE if row.kind == "firmware" else _SHARED, row.size, row.gpa) for row in left
    ]
    if blob is None:
        raise context.fail(f"fw_cfg has no file {FUKI_BLOB}", "EFI_NOT_FOUND")
    try:
        guest.write(blob, vmfwupdate.pack_fuki(entries))
        guest.write(control, vmfwupdate.FUKI_TRIGGER)
    except FwCfgError as error:
        # The prototype stops in an assertion.
        return _stops(str(error))
    if not leaving.machine.was_reset:
        raise context.fail("fwupdate-control reset did not take effect.", "EFI_LOAD_ERROR")
    return after_reset(leaving.machine, left)


def _stops(why: str) -> Outcome:
    return Outcome("failed", f"the stub stops for ever: {why}")


def _stage(leaving: Leaving) -> tuple[Left, ...]:
    """Firmware, kernel, initrd and command line, in the order of the entries."""
    context, prepared = leaving.context, leaving.prepared
    kernel = prepared.sections.data(".linux")
    assert kernel is not None
    if len(kernel) < vmfwupdate.FUKI_SHORTEST_KERNEL:
        raise context.fail("Invalid kernel image.", "EFI_LOAD_ERROR")
    check_setup_header(context, kernel)
    parts = context.digests.sha256_of_parts
    firmware = context.memory.stage("firmware", [leaving.firmware], "EfiLoaderData", shared=context.memory.confidential)
    context.emit(firmware)
    left = [Left("firmware", firmware.gpa, firmware.size, parts([leaving.firmware]))]
    row = _kernel(leaving, kernel)
    content = [*context.memory.parts(row.gpa, row.size)]
    left.append(Left("kernel", row.gpa, row.size, parts(content)))
    left.append(_initrd(leaving, kernel))
    cmdline = _cmdline(leaving, kernel)
    if cmdline is not None:
        left.append(cmdline)
    return tuple(left)


def _kernel(leaving: Leaving, kernel: Extent) -> Staged:
    """Used where it lies in the image, unless that is above 4 GiB or has no room for SizeOfImage bytes."""
    context = leaving.context
    headers = pe.read_headers(kernel, (0x8664,))
    section = leaving.prepared.sections.section(".linux")
    assert section is not None
    if headers is None:
        raise context.fail("Unsupported kernel image.", "EFI_UNSUPPORTED")
    size = headers.size_of_image
    gpa = leaving.image_gpa + section.virtual_address
    if gpa + size <= _GIB4 and size <= section.virtual_size:
        row = Staged("kernel", gpa, size, "EfiLoaderCode", context.memory.confidential)
        if context.memory.confidential:
            context.memory.share(gpa, size)
    else:
        gpa = context.memory.allocate(size, "EfiLoaderData", at=_KERNEL_AT)
        context.memory.place(gpa, [kernel[:size]])
        row = Staged("kernel", gpa, size, "EfiLoaderData", context.memory.confidential)
        if context.memory.confidential:
            context.memory.share(gpa, size)
    context.emit(row)
    return row


def _initrd(leaving: Leaving, kernel: Extent) -> Left:
    """Its entry is there even without an initrd."""
    context, prepared = leaving.context, leaving.prepared
    if prepared.initrd is None:
        return Left("initrd", 0, 0, context.digests.sha256(b""))
    parts = list(prepared.initrd.parts)
    digest = context.digests.sha256_of_parts(parts)
    pages = prepared.initrd_pages
    if pages is not None and (loads_above_4g(kernel) or pages.gpa + pages.size <= _GIB4):
        if context.memory.confidential:
            context.memory.share(pages.gpa, pages.size)
            context.emit(pages._replace(shared=True))
        return Left("initrd", pages.gpa, pages.size, digest)
    row = context.memory.stage("initrd", parts, "EfiLoaderData", at=_INITRD_AT, shared=context.memory.confidential)
    context.emit(row)
    return Left("initrd", row.gpa, row.size, digest)


def _cmdline(leaving: Leaving, kernel: Extent) -> Left | None:
    """At most as many characters as the kernel takes, those above 0x7E as blanks, a NUL, in whole pages."""
    context, text = leaving.context, leaving.prepared.cmdline
    if text is None:
        return None
    units = memoryview(utf16(text)).cast("H")
    most = command_line_limit(kernel)
    characters = bytes(unit if unit <= 0x7E else 0x20 for unit in units[: min(len(units), most)]) + b"\0"
    content = characters.ljust(-(-len(characters) // _PAGE) * _PAGE, b"\0")
    row = context.memory.stage(
        "cmdline", [content], "EfiLoaderData", at=_CMDLINE_AT, shared=context.memory.confidential
    )
    context.emit(row)
    return Left("cmdline", row.gpa, row.size, context.digests.sha256(content))


DIALECT = Dialect(_ABOUT, hand_over)
