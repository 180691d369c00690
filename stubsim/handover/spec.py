"""The hand-over by the files of docs/specs/vmfwupdate.rst, the document that came with the QEMU patch v5 and v6."""

from __future__ import annotations

from stubsim.formats import vmfwupdate
from stubsim.formats.vmfwupdate import Left
from stubsim.handover.guest import FwCfgError, Guest
from stubsim.handover.leaving import About, Dialect, Leaving, Outcome, after_reset, unavailable
from stubsim.handover.staging import stage_for_next_boot

_ALIGNMENT = 64 << 10
_FILES = (
    vmfwupdate.SPEC_CAP,
    vmfwupdate.SPEC_BIOS_SIZE,
    vmfwupdate.SPEC_OPAQUE,
    vmfwupdate.SPEC_DISABLE,
    vmfwupdate.SPEC_BIOS_ADDR,
)

_ABOUT = About(
    name="spec",
    source='docs/specs/vmfwupdate.rst of the QEMU patch "hw/misc/vmfwupdate"',
    status="a proposed protocol: a document that no code implements, and that differs from the patch beside it",
    revision="as in v5 (29 January 2025) and v6 (14 February 2025)",
    decisions=(
        "opaque and bios-addr can be written.",
        "A refused write (bios-size without the capability, disable once it is set) sets the error bit and stores "
        "nothing.",
        "A bios-size of 0, above the BIOS region of the start or not a multiple of 64 KiB is not taken: the guest "
        "reads the old one back.",
        "bios-size is kept over a reset.",
        "The BIOS region counts as ROM: neither boot writes to it.",
        "A bios-addr outside of memory gives a firmware of zeros, as the device of qemu-v5 does.",
        "A payload that is shorter than bios-size is staged with zeros before it, so that it ends at 4 GiB; with the "
        "capability the guest asks for the payload's size in whole 64 KiB.",
        "The guest reads bios-size and disable first; where it cannot hand over, the kernel is started as without an "
        "update.",
        "The opaque page has a format of stubsim's own, and is hostile input to the second boot, as with qemu-v5.",
        "The second boot fills the opaque file with zeros.",
        "The machine counts as running the firmware when the end of the BIOS region has the payload's bytes.",
    ),
)


def hand_over(leaving: Leaving) -> Outcome:
    """Settle the size, leave the opaque page, say where the firmware is, and reset; raises as qemu-v5's does."""
    guest = Guest(leaving.machine, leaving.context.memory, leaving.context.emit)
    try:
        cap, size_file, opaque, disable, address = guest.required(*_FILES)
        if not leaving.firmware:
            return unavailable("it is empty")
        if any(guest.read(disable, 1)):
            return unavailable(f"{disable.name} is set")
        size = _number(guest.read(size_file, 8))
        if _number(guest.read(cap, 8)) & vmfwupdate.SPEC_CAP_BIOS_RESIZE:
            wanted = -(-len(leaving.firmware) // _ALIGNMENT) * _ALIGNMENT
            guest.write(size_file, wanted.to_bytes(8, "little"))
            size = _number(guest.read(size_file, 8))
            if size != wanted:
                return unavailable(f"{size_file.name} stays {size}, it does not become {wanted}")
        if len(leaving.firmware) > size:
            return unavailable(f"its {len(leaving.firmware)} bytes are more than {size_file.name}, {size}")
        left = stage_for_next_boot(leaving, firmware_size=size)
        guest.write(opaque, vmfwupdate.build_opaque(left))
        guest.write(address, left[0].gpa.to_bytes(8, "little"))
    except FwCfgError as error:
        return unavailable(str(error))
    guest.reset()
    return after_reset(leaving.machine, left)


def read_left(guest: Guest) -> tuple[Left, ...]:
    """What the opaque page says was left; raises StubsimError for a page that is not to be trusted."""
    file = guest.find(vmfwupdate.SPEC_OPAQUE)
    return vmfwupdate.parse_opaque(b"" if file is None else guest.read(file, vmfwupdate.OPAQUE_SIZE))


def settle(guest: Guest, _firmware: Left) -> None:
    """The new firmware should clear the opaque file; bios-addr was cleared by the reset."""
    file = guest.find(vmfwupdate.SPEC_OPAQUE)
    if file is not None:
        guest.write(file, bytes(vmfwupdate.OPAQUE_SIZE))


def _number(data: bytes) -> int:
    return int.from_bytes(data, "little")


DIALECT = Dialect(_ABOUT, hand_over, read_left, settle)
