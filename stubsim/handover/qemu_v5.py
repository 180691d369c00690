"""The hand-over by the files of the QEMU patch "hw/misc/vmfwupdate" v5."""

from __future__ import annotations

from stubsim.formats import vmfwupdate
from stubsim.formats.vmfwupdate import Left
from stubsim.handover.guest import FwCfgError, Guest
from stubsim.handover.leaving import About, Dialect, Leaving, Outcome, after_reset, unavailable
from stubsim.handover.staging import stage_for_next_boot

_ABOUT = About(
    name="qemu-v5",
    source='the QEMU patch "hw/misc/vmfwupdate" v5, quoted in systemd pull request 35091',
    status="a proposed protocol: no released stub performs this hand-over and no released QEMU has the device",
    revision="v5 of 29 January 2025; a cap without the bit 0x80 is taken for that of v6, 14 February 2025",
    decisions=(
        "No published stub speaks the dialect; the guest's side is stubsim's: it looks for the files, reads disable, "
        "writes opaque-blob and then the 16 bytes of fw-blob in one transfer, and resets.",
        "Where the guest cannot hand over (no DMA, fw-blob or opaque-blob missing, disable set, an empty firmware, an "
        "error bit) the kernel is started as without an update.",
        "The guest does not check the firmware's size: what the hypervisor makes of it at the reset is the outcome.",
        "The opaque page has a format of stubsim's own.",
        "The second boot takes the page for hostile: kernel, initrd and command line must lie in RAM, apart, outside "
        "of what the new firmware holds, and have the digests that the page names, or the boot fails.",
        "The second boot writes fw-blob with bios_paddr 0 and bios_size kept, so that a later reset copies nothing.",
        "The machine counts as running the firmware when the end of the BIOS region has the payload's bytes.",
    ),
)


def hand_over(leaving: Leaving) -> Outcome:
    """Tell the hypervisor where the firmware is, and reset.

    The opaque page goes first, then the firmware's size and address in ONE write of 16 bytes: written apart, address
    first, the device would set bios-size to 0 for good. Raises OutOfResources, and StubsimError for ranges that do not
    fit into the opaque page.
    """
    guest = Guest(leaving.machine, leaving.context.memory, leaving.context.emit)
    try:
        opaque, blob = guest.required(vmfwupdate.OPAQUE_BLOB, vmfwupdate.FW_BLOB)
        if not leaving.firmware:
            return unavailable("it is empty, and a size of 0 would set bios-size to 0 for good")
        disable = guest.find(vmfwupdate.DISABLE)
        if disable is not None and any(guest.read(disable, 1)):
            return unavailable(f"{disable.name} is set")
        left = stage_for_next_boot(leaving)
        firmware = left[0]
        guest.write(opaque, vmfwupdate.build_opaque(left))
        guest.write(blob, vmfwupdate.pack_fw_blob(firmware.size, firmware.gpa))
    except FwCfgError as error:
        return unavailable(str(error))
    guest.reset()
    return after_reset(leaving.machine, left)


def read_left(guest: Guest) -> tuple[Left, ...]:
    """What the opaque page says was left; raises StubsimError for a page that is not to be trusted."""
    file = guest.find(vmfwupdate.OPAQUE_BLOB)
    return vmfwupdate.parse_opaque(b"" if file is None else guest.read(file, vmfwupdate.OPAQUE_SIZE))


def settle(guest: Guest, firmware: Left) -> None:
    """Take the address back: nothing of the device is cleared by a reset, so the next one would copy again."""
    file = guest.find(vmfwupdate.FW_BLOB)
    if file is not None:
        guest.write(file, vmfwupdate.pack_fw_blob(firmware.size, 0))


DIALECT = Dialect(_ABOUT, hand_over, read_left, settle)
