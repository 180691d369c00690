"""The boot after a firmware update, where it was to be followed."""

from __future__ import annotations

from stubsim.chain import Chain
from stubsim.machine.tpm import Tpm
from stubsim.result import Boot, Outcome, pcrs_of, rtmrs_of
from stubsim.trace import Event
from stubsim.uefi.variables import NON_VOLATILE, Variables

_ASSUMED = ("the new firmware, or the stub on it, finds what was left and starts the kernel from memory",)


def after_update(chain: Chain) -> Boot | None:
    """The boot on the machine as the reset left it; None where there was no update."""
    first, handed, prepared = chain.context, chain.handed_over, chain.prepared
    if handed is None or handed.outcome.status != "firmware-update" or prepared is None:
        return None
    if not handed.dialect.by_hypervisor:
        what = "the boot after the update"
        why = (
            "a host file describes the machine before it; if the new firmware gives it the target CHID (types 0 to 2 "
            "hold the BIOS version) the boot goes on, else the stub applies the capsule again, a boot loop"
        )
        first.unknown(what, why, "next")
        return None
    from stubsim.handover.second_boot import second_boot

    trace: list[Event] = []
    kept = [row for row in first.variables.items() if row.attributes & NON_VOLATILE]
    services = first.services._replace(
        tpm=Tpm(first.host.tpm, first.host.confidential),
        variables=Variables((row.name, row.guid, row.attributes, row.data) for row in kept),
        emit=trace.append,
    )
    context = first._replace(services=services)
    result = second_boot(context, handed.leaving._replace(context=context), handed.dialect, handed.outcome.left)
    context.unknown("what the new firmware measures and sets", "no code is run", "measurements", "pcrs", "variables")
    return Boot(
        uki=first.uki,
        host=first.host,
        model=first.model,
        model_reason=f"{handed.dialect.about.name}, the boot after the update",
        outcome=Outcome(result.status, result.message, result.efi_status, result.because),
        chids={},
        sections=None,
        prepared=prepared._replace(
            cmdline=result.cmdline, initrd=result.initrd, initrd_pages=None, devicetree=result.devicetree
        ),
        load_options=result.load_options,
        variables=tuple(context.variables.items()),
        pcrs=pcrs_of(context.tpm),
        rtmrs=rtmrs_of(context.tpm),
        dialect=chain.dialect,
        proposal=chain.proposal,
        assumed=_ASSUMED,
        trace=tuple(trace),
        digests=first.digests,
        memory=first.memory,
        left=(),
        firmware=result.firmware,
        next=None,
        start=chain.start,
    )
