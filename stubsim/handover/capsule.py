"""Firmware as a UEFI capsule, applied unless the machine has the target CHID (systemd pull request 43235, open)."""

from __future__ import annotations

import struct

from stubsim.errors import StubsimError
from stubsim.formats import capsule
from stubsim.handover.leaving import About, Dialect, Leaving, Outcome, unavailable
from stubsim.stub.chid_match import machine_chids

_ABOUT = About(
    name="capsule",
    source="systemd pull request 43235 of August 2026, open, and UEFI 2.10, 8.5.3",
    status="a proposal: no released stub applies a capsule",
    revision="as described in August 2026",
    decisions=(
        "CapsuleImageSize must be the payload's length and HeaderSize lie between 28 and it.",
        "The copy of the capsule and its list of blocks are in pages of EfiRuntimeServicesData.",
        "A capsule above the firmware's maximum gives EFI_UNSUPPORTED, and so does a firmware that takes no capsules.",
        "The stub calls ResetSystem() with the reset type that the firmware asks for, unless the capsule has "
        "INITIATE_RESET.",
        "A capsule that the firmware refuses ends the boot: the OS is to start on the wanted firmware only.",
        "A payload without target CHID is not a capsule to apply: the boot goes on.",
        "A capsule without PERSIST_ACROSS_RESET is handed over without a list of blocks; the reset follows as well.",
        "The boot after the update is not simulated: a host file describes the machine before it, and whether the new "
        "firmware gives it the target CHID decides between a boot that goes on and a boot loop.",
    ),
)

_BLOCK = struct.Struct("<QQ")
_INVALID = "EFI_INVALID_PARAMETER"


def hand_over(leaving: Leaving) -> Outcome:
    """Give the capsule to UpdateCapsule() and reset; raises OutOfResources."""
    context, blob = leaving.context, leaving.blob
    target = None if blob is None else blob.target_chid
    if target is None:
        return unavailable("it has no target CHID, so it is not a capsule to apply")
    if target in machine_chids(context.host).values():
        context.log("info", "The machine has the target CHID of the firmware; nothing is applied.")
        return Outcome("unavailable", None)
    try:
        header = capsule.parse(leaving.firmware)
    except StubsimError as error:
        return Outcome("failed", f"the capsule is refused: {error}", _INVALID)
    if header.image_size != len(leaving.firmware):
        why = f"CapsuleImageSize is {header.image_size}, the payload has {len(leaving.firmware)} bytes"
        return Outcome("failed", f"the capsule is refused: {why}", _INVALID)
    if not header.flags_valid:
        return Outcome("failed", "the capsule is refused: its flags need PERSIST_ACROSS_RESET", _INVALID)
    takes = context.host.firmware.capsules
    if takes is None:
        return Outcome("failed", "the firmware takes no capsules", "EFI_UNSUPPORTED")
    if header.image_size > takes.maximum_size:
        why = f"the capsule of {header.image_size} bytes is larger than the firmware's maximum, {takes.maximum_size}"
        return Outcome("failed", why, "EFI_UNSUPPORTED")
    copy = context.memory.stage("capsule", [leaving.firmware], "EfiRuntimeServicesData")
    context.emit(copy)
    if header.flags & capsule.PERSIST_ACROSS_RESET:
        # One block, and the end of the list.
        blocks = _BLOCK.pack(copy.size, copy.gpa) + _BLOCK.pack(0, 0)
        context.emit(context.memory.stage("capsule block list", [blocks], "EfiRuntimeServicesData"))
    who = "the firmware resets itself" if header.flags & capsule.INITIATE_RESET else f"a {takes.reset} reset follows"
    return Outcome("firmware-update", f"UpdateCapsule() takes {header.guid}; {who}")


DIALECT = Dialect(_ABOUT, hand_over, by_hypervisor=False)
