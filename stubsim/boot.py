"""A boot: the only place that joins UKI, host, stub and hand-over. Nothing is printed or written here."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

from stubsim.digests import Digests
from stubsim.extent import Extent
from stubsim.formats.efi_string import from_utf16
from stubsim.hosts import Host
from stubsim.machine.load_image import place_image
from stubsim.machine.memory import POOL_OVERHEAD, Memory, OutOfResources
from stubsim.machine.tpm import Tpm
from stubsim.machine.variables import NON_VOLATILE, Variable, Variables
from stubsim.start import DEFAULT_START, Start, assumed, loaded_image, refuses_to_start, start_context
from stubsim.stub import refused
from stubsim.stub.chid_match import machine_chids
from stubsim.stub.context import Context, StubFailed
from stubsim.stub.models import StubModel
from stubsim.stub.programs import Program, program
from stubsim.stub.recognise import model_for, not_a_uki
from stubsim.stub.run import Prepared
from stubsim.stub.sections import Sections
from stubsim.stub.secure_boot import is_allowed
from stubsim.trace import Event, Staged
from stubsim.uki import Uki

if TYPE_CHECKING:
    from stubsim.formats.vmfwupdate import Left
    from stubsim.handover.run import HandedOver

# Key of a host file -> keys of the boot's JSON that depend on it, for what a host file says is not known.
_AFFECTS = {
    "smbios": ("chids", "selection", "devicetree", "cmdline", "load_options", "measurements", "pcrs"),
    "smbios.oem_strings": ("cmdline", "load_options", "measurements", "pcrs"),
    "smbios_table": ("chids", "selection", "devicetree", "cmdline", "load_options", "measurements", "pcrs"),
    "edid": ("chids", "selection", "devicetree", "measurements", "pcrs"),
    "devicetree": ("selection", "devicetree", "measurements", "pcrs"),
    "devicetree_fixup": ("devicetree", "memory", "log", "measurements", "pcrs"),
    "previous_initrd": ("initrd",),
    "secure_boot": ("cmdline", "load_options", "initrd", "measurements", "pcrs"),
    "confidential": ("cmdline", "load_options", "measurements", "pcrs"),
    "tpm": ("measurements", "pcrs", "variables"),
    "rng": ("initrd", "variables", "esp_changes"),
    "console": ("cmdline", "load_options"),
    "variables": ("variables", "initrd", "measurements", "pcrs"),
    "boot_secret": ("initrd",),
    "keyboard_layout": ("variables",),
    "esp_partition_uuid": ("variables", "initrd", "esp_changes"),
    "firmware": ("variables",),
    "direct_boot": ("cmdline", "load_options", "measurements", "pcrs", "variables"),
    "memory": ("memory",),
    "fw_cfg": ("outcome", "fw_cfg"),
}

# What a stub has a part in, by the keys of the boot's JSON.
_OF_THE_STUB = (
    "profile", "hwids", "sections", "selection", "load_options", "cmdline", "initrd", "devicetree", "memory", "fw_cfg",
    "measurements", "pcrs", "rtmrs", "variables", "esp_changes", "log",
)  # fmt: skip


class Outcome(NamedTuple):
    """How it ended, and the stub's or firmware's last word.

    ``status`` is kernel-started, firmware-update, failed, hypervisor-abort, boot-loop or not-simulated; ``because`` is
    the reason as far as it is known, where the message does not tell it.
    """

    status: str
    message: str | None = None
    efi_status: str | None = None
    because: str | None = None


class Boot(NamedTuple):
    """What happened, with all of it in ``trace`` in the order in which the stub would cause it.

    ``memory`` is the guest's, with its content; ``left`` what a hand-over left in it for the boot after the update.
    ``next`` is the boot after a firmware update, where it was to be followed; such a boot has in ``firmware`` the bytes
    that the BIOS region ends with.
    """

    uki: Uki
    host: Host
    model: StubModel
    model_reason: str
    outcome: Outcome
    chids: dict[int, UUID | None]
    sections: Sections | None
    prepared: Prepared | None
    load_options: bytes | None
    variables: tuple[Variable, ...]
    pcrs: dict[str, dict[int, bytes]]
    rtmrs: dict[int, bytes]
    dialect: str | None
    proposal: str | None
    assumed: tuple[str, ...]
    trace: tuple[Event, ...]
    digests: Digests
    memory: Memory
    left: tuple[Left, ...]
    firmware: Extent | None
    next: Boot | None
    start: Start


def boot(uki: Uki, host: Host, start: Start = DEFAULT_START) -> Boot:
    """Boot a UKI on a host.

    Raises StubsimError for options that contradict each other and for files of the partition that cannot be read; what
    the stub or the firmware refuses is an outcome.
    """
    model, reason = model_for(uki, start.stub)
    if start.handover not in (None, "none"):
        from stubsim import handover

        handover.dialect(start.handover)
    trace: list[Event] = []
    tpm = Tpm(host.tpm, host.confidential)
    digests = Digests(tpm.algorithms or ("sha256",), uki.digests)
    loaded = loaded_image(uki, host, start)
    context = start_context(uki, host, start, model, image=loaded.image, tpm=tpm, digests=digests, emit=trace.append)
    for what in sorted(host.unknown - {"memory"} if start.memory is not None else host.unknown):
        context.unknown(what, "not known of this machine", *affected(what))
    for what, affects in model.open_questions:
        context.unknown(what, f"no recording of stub {model.id}", *affects)
    run = _Run(context, start, reason)
    outcome = run.outcome()
    told = outcome.status != "not-simulated"
    following = _follow(run, context) if start.follow else None
    return Boot(
        uki=uki,
        host=host,
        model=model,
        model_reason=reason,
        outcome=outcome,
        chids=machine_chids(host),
        sections=run.found[-1] if run.found else None,
        prepared=run.prepared,
        load_options=run.load_options,
        variables=tuple(context.variables.items()),
        pcrs=tpm.pcrs() if told else {},
        rtmrs=tpm.rtmrs() if told else {},
        dialect=run.dialect,
        proposal=run.proposal,
        assumed=assumed(host, start, loaded),
        trace=tuple(trace),
        digests=digests,
        memory=context.memory,
        left=() if run.handed_over is None else run.handed_over.outcome.left,
        firmware=None,
        next=following,
        start=start,
    )


def affected(key: str) -> tuple[str, ...]:
    """The keys of the boot's JSON that depend on a key of the host file.

    The CHIDs with BIOS fields and the enclosure are computed, but no stub looks them up.
    """
    if key.startswith("smbios.bios_") or key == "smbios.enclosure_type":
        return ("chids",)
    if key.startswith("smbios.") and key not in _AFFECTS:
        return ("chids", "selection", "devicetree", "measurements", "pcrs")
    return _AFFECTS.get(key) or _AFFECTS.get(key.partition(".")[0], ())


class _Run:
    """One run of the stub, and what is there to show for it when it ends early."""

    def __init__(self, context: Context, start: Start, reason: str) -> None:
        self.context = context
        self.start = start
        self.reason = reason
        self.found: list[Sections] = []
        self.prepared: Prepared | None = None
        self.load_options: bytes | None = None
        self.dialect: str | None = None
        self.proposal: str | None = None
        self.handed_over: HandedOver | None = None
        self.image_gpa = 0

    def outcome(self) -> Outcome:
        context = self.context
        wanted = context.host.architecture
        if wanted is not None and wanted != context.machine:
            message = f"The image is for {context.machine}, the machine is {wanted}."
            return Outcome("failed", message, "EFI_UNSUPPORTED")
        stopped = refuses_to_start(context.host, context.machine)
        if stopped is not None:
            return Outcome("hypervisor-abort", f"the hypervisor does not start: {stopped}")
        loaded = _started_by_firmware(context)
        if isinstance(loaded, Outcome):
            return loaded
        self.image_gpa = loaded
        steps = program(context.model)
        if steps is None:
            return self._not_simulated()
        return self._stub(steps)

    def _not_simulated(self) -> Outcome:
        """What another stub does is not this one's to tell: nothing is given that it has a part in."""
        context = self.context
        context.unknown(f"what {context.model.id} does", "only systemd-stub and stubble are simulated", *_OF_THE_STUB)
        program = not_a_uki(context.uki)
        if program is not None:
            return Outcome("not-simulated", f"the file is {program.what}", None, program.instead)
        message = f"another stub's format: {context.model.id}"
        because = f"{self.reason}, whose rules are not known here (--stub NAME takes it for another one's)"
        return Outcome("not-simulated", message, None, because)

    def _stub(self, steps: Program) -> Outcome:
        context = self.context
        try:
            self.prepared = steps.prepare(context, self.found)
            handed_over = self._hand_over(self.prepared)
            if handed_over is not None:
                return handed_over
            kernel = self.prepared.sections.data(".linux")
            assert kernel is not None
            started = steps.linux_exec(context, kernel, self.prepared.cmdline, self.prepared.initrd)
        except StubFailed as failure:
            return Outcome("failed", failure.message, failure.status, failure.because)
        self.load_options = started.load_options
        if self.prepared.cmdline is None and started.load_options:
            # Those of the firmware, which the stub has passed on.
            self.prepared = self.prepared._replace(cmdline=from_utf16(started.load_options))
        return Outcome("kernel-started")

    def _hand_over(self, prepared: Prepared) -> Outcome | None:
        """Leave the guest with the chosen firmware, where a hand-over is asked for; None: the kernel is started."""
        context, wanted = self.context, self.start.handover
        described = context.host.fw_cfg
        if wanted == "none" or (
            wanted is None
            and (described is None or described.vmfwupdate is None)
            and not context.model.applies_capsules
            and context.model.firmware_section is None
        ):
            return None
        if prepared.sections.efifw() is None and context.model.firmware_section is None:
            return None
        # The hand-over is loaded only when there is one: it is a third of the start-up.
        from stubsim.handover import run

        self.dialect = run.choose_dialect(context, prepared, wanted)
        chosen = None if self.dialect is None else run.firmware(context, prepared, self.dialect)
        if self.dialect is None or chosen is None:
            return None
        about = run.about(self.dialect)
        self.proposal = f"{about.name} is {about.status} (source: {about.source})"
        self.handed_over = run.hand_over(context, prepared, self.dialect, self.image_gpa, chosen)
        outcome = self.handed_over.outcome
        if outcome.status == "unavailable":
            return None
        return Outcome(outcome.status, outcome.message, outcome.efi_status)


def _follow(run: _Run, first: Context) -> Boot | None:
    """The boot after a firmware update, on the machine as the reset left it; None where there was no update."""
    handed, prepared = run.handed_over, run.prepared
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
    context = first._replace(
        tpm=Tpm(first.host.tpm, first.host.confidential),
        variables=Variables((row.name, row.guid, row.attributes, row.data) for row in kept),
        emit=trace.append,
    )
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
        pcrs=context.tpm.pcrs(),
        rtmrs=context.tpm.rtmrs(),
        dialect=run.dialect,
        proposal=run.proposal,
        assumed=_ASSUMED_NEXT,
        trace=tuple(trace),
        digests=first.digests,
        memory=first.memory,
        left=(),
        firmware=result.firmware,
        next=None,
        start=run.start,
    )


_ASSUMED_NEXT = ("the new firmware, or the stub on it, finds what was left and starts the kernel from memory",)


def _started_by_firmware(context: Context) -> Outcome | int:
    """What keeps the firmware from starting the image at all; otherwise the gpa that it is loaded to."""
    if not is_allowed(context, context.uki):
        message = "The firmware refuses an image without a trusted signature."
        return Outcome("failed", message, "EFI_ACCESS_DENIED", refused.signature_missing(context, context.uki))
    image = context.uki.image
    try:
        gpa = _load_image(context)
    except OutOfResources:
        because = refused.out_of_memory(context, "the image", image.size_of_image)
        return Outcome("failed", "The image does not fit into the memory.", "EFI_OUT_OF_RESOURCES", because)
    context.memory.place(gpa, [context.uki.loaded])
    # Any view names the file by its digest; it takes no time of the boot's own.
    context.digests.start(image.data, ("sha256",))
    context.emit(Staged("uki", gpa, image.size_of_image, "EfiLoaderCode", False))
    return gpa


def _load_image(context: Context) -> int:
    """Pages for the image as EDK II's LoadImage() gets them: below those of the file, which it frees again.

    So what the stub allocates fills that hole first (recorded). An image that a loader has read itself leaves none.
    Raises OutOfResources.
    """
    memory = context.memory
    file = None
    if context.image.path is not None:
        file = memory.allocate(context.uki.size + POOL_OVERHEAD, "EfiBootServicesData")
    gpa = place_image(memory, context.uki.image).gpa
    if file is not None:
        memory.free(file)
    return gpa
