"""Between the stub's preparations and the start of the kernel: leaving the guest with the chosen firmware."""

from __future__ import annotations

from stubsim import handover
from stubsim.extent import Extent
from stubsim.formats.efifw import Efifw
from stubsim.handover.leaving import About, Dialect, Leaving, Outcome, tell_warnings
from stubsim.machine.hypervisor import virtual_machine
from stubsim.rows import NamedTuple
from stubsim.stub.context import Context
from stubsim.stub.run import Prepared
from stubsim.trace import Log
from stubsim.uefi.memory import OutOfResources

# A capsule goes by the target CHID, and the prototype hands over whatever runs.
_OWN_CONDITIONS = ("capsule", "fuki-2024")


class HandedOver(NamedTuple):
    """How a hand-over ended; status "unavailable" where the kernel is to be started."""

    dialect: Dialect
    leaving: Leaving
    outcome: Outcome


def about(name: str) -> About:
    """What a dialect says of itself."""
    return handover.dialect(name).about


def choose_dialect(context: Context, prepared: Prepared, wanted: str | None) -> str | None:
    """The dialect asked for, else what the stub does by itself, else the one that the machine's device speaks."""
    if wanted is not None:
        return None if wanted == "none" else wanted
    blob = prepared.sections.efifw()
    if context.model.applies_capsules and blob is not None and blob.target_chid is not None:
        return "capsule"
    if _own_section(context, prepared) is not None:
        return "fuki-2024"
    described = context.host.fw_cfg
    device = None if described is None else described.vmfwupdate
    return None if device is None else device.dialect


def firmware(context: Context, prepared: Prepared, dialect: str) -> tuple[Extent, Efifw | None] | None:
    """The payload to hand over, with its blob; None: there is none."""
    own = _own_section(context, prepared)
    if own is not None and dialect == "fuki-2024":
        return own, None
    blob = prepared.sections.efifw()
    return None if blob is None else (blob.payload, blob)


def hand_over(
    context: Context, prepared: Prepared, name: str, image_gpa: int, chosen: tuple[Extent, Efifw | None]
) -> HandedOver:
    """Leave the guest by the dialect of that name; raises ProgramFailed where the stub gives up."""
    payload, blob = chosen
    protocol = handover.dialect(name)
    leaving = Leaving(context, prepared, virtual_machine(context.host, context.memory), image_gpa, payload, blob)
    unavailable = Outcome("unavailable")
    if name not in _OWN_CONDITIONS:
        if not context.host.hypervisor:
            context.emit(Log("warning", "firmware not handed over: the machine is not a virtual machine"))
            return HandedOver(protocol, leaving, unavailable)
        if context.host.firmware.sha256 == context.digests.sha256(payload).hex():
            context.log("info", "The machine already runs the selected firmware; nothing is handed over.")
            return HandedOver(protocol, leaving, unavailable)
    try:
        outcome = protocol.hand_over(leaving)
    except OutOfResources as error:
        raise context.fail(f"No memory for the hand-over: {error}", "EFI_OUT_OF_RESOURCES") from None
    if outcome.status == "firmware-update" and context.host.confidential is not None and protocol.by_hypervisor:
        _doubt_confidential(context, name, leaving)
    tell_warnings(context, leaving.machine.warnings)
    if outcome.status == "unavailable" and outcome.message is not None:
        context.emit(Log("warning", outcome.message))
    return HandedOver(protocol, leaving, outcome)


def _doubt_confidential(context: Context, name: str, leaving: Leaving) -> None:
    """What is known to stand against a hand-over in a confidential guest."""
    context.unknown(
        "whether a confidential guest survives the reset",
        "QEMU resets SEV-SNP and TDX guests from release 11.0 on; before it such a guest ended",
        "outcome",
        "next",
    )
    bios = leaving.machine.bios
    if name == "qemu-v5" and bios is not None and len(leaving.firmware) < bios.size:
        context.unknown(
            "which SEV metadata the hypervisor finds",
            "the patch v5 looks for OVMF's tables at the start of the BIOS region, not in the part that was copied",
            "next",
        )


def _own_section(context: Context, prepared: Prepared) -> Extent | None:
    name = context.model.firmware_section
    return None if name is None else prepared.sections.data(name)
