"""A boot: the only place that joins UKI, host, stub and hand-over. Nothing is printed or written here."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

from stubsim.digests import Digests
from stubsim.extent import Extent
from stubsim.formats.efi_string import from_utf16
from stubsim.front import Front, differing, front_of, note_unseen_loader, started_by_loader
from stubsim.hosts import Host
from stubsim.hosts.host import DirectBoot, Watched
from stubsim.linux import start as linux
from stubsim.linux.identify import Linux, identify
from stubsim.machine.tpm import Tpm, rtmr
from stubsim.start import DEFAULT_START, Loaded, Start, assumed, loaded_image, refuses_to_start, start_context
from stubsim.stub import refused
from stubsim.stub.addons import addon_paths
from stubsim.stub.chid_match import machine_chids
from stubsim.stub.context import Context
from stubsim.stub.models import StubModel
from stubsim.stub.own_image import doubt_own_image
from stubsim.stub.programs import Program, program
from stubsim.stub.recognise import model_for, not_a_uki
from stubsim.stub.run import Prepared
from stubsim.stub.sections import Sections
from stubsim.systemd.measure import PCR_KERNEL_IMAGE, PCR_PLATFORM_CONFIG
from stubsim.trace import Access, EspWritten, Event, FwCfgWritten, Log, Measured, Staged, Unknown, VariableSet
from stubsim.uefi.load_image import load_file, place_image
from stubsim.uefi.loaded_image import LoadedImage, ProgramFailed
from stubsim.uefi.memory import Memory, OutOfResources
from stubsim.uefi.secure_boot import is_allowed
from stubsim.uefi.variables import NON_VOLATILE, Variable, Variables, WatchedVariables
from stubsim.uki import Uki

if TYPE_CHECKING:
    from collections import Counter

    from stubsim.doubt import Doubt
    from stubsim.formats.vmfwupdate import Left
    from stubsim.handover.run import HandedOver

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
    that the BIOS region ends with. ``others`` are the boots with other values for what is not known of the host, from
    which it was found what that affects. ``linux`` is the kernel that was started, where it is a Linux,
    ``loader`` the boot loader in front, and ``image`` how the stub was started in the end.
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
    linux: Linux | None = None
    loader: Front | None = None
    image: LoadedImage | None = None
    others: tuple[Other, ...] = ()

    @property
    def known_pcrs(self) -> dict[str, dict[int, bytes]]:
        """The values of ``pcrs`` that are the same whatever the host's unknown keys are."""
        doubted = self._doubted_pcrs()
        return {
            bank: {pcr: value for pcr, value in values.items() if pcr not in doubted}
            for bank, values in self.pcrs.items()
        }

    @property
    def known_rtmrs(self) -> dict[int, bytes]:
        """The values of ``rtmrs`` that are the same whatever the host's unknown keys are."""
        doubted = {rtmr(pcr) for pcr in self._doubted_pcrs()}
        return {index: value for index, value in self.rtmrs.items() if index not in doubted}

    def _doubted_pcrs(self) -> set[int]:
        return {pcr for event in self.trace if isinstance(event, Unknown) for pcr in event.pcrs}


class Other(NamedTuple):
    """The boot with other values for these of the host's unknown keys."""

    keys: frozenset[str]
    boot: Boot


def boot(uki: Uki, host: Host, start: Start = DEFAULT_START) -> Boot:
    """Boot a UKI on a host.

    Raises StubsimError for options that contradict each other and for files of the partition that cannot be read; what
    the stub or the firmware refuses is an outcome.
    """
    unknown = host.unknown - {"memory"} if start.memory is not None else host.unknown
    if not unknown:
        return _boot(uki, host, start)[0]
    return _with_doubts(uki, host._replace(unknown=unknown), start)._replace(host=host)


class _Files(NamedTuple):
    """What runs of one image with the same start share: the image as it was found, and digests."""

    direct: DirectBoot | None
    loaded: Loaded
    digests: Digests


def _boot(
    uki: Uki, host: Host, start: Start, *, watch: Counter[str] | None = None, files: _Files | None = None
) -> tuple[Boot, Context, _Files]:
    """One run. ``watch`` counts what it reads of the host; ``files`` are those of a run before."""
    model, reason = model_for(uki, start.stub)
    if start.handover not in (None, "none"):
        from stubsim import handover

        handover.dialect(start.handover)
    trace: list[Event] = []
    machine = host if watch is None else Watched(host, watch)
    tpm = Tpm(machine.tpm, machine.confidential)
    direct = machine.direct_boot
    if files is None:
        files = _Files(direct, loaded_image(uki, host, start), Digests(tpm.algorithms or ("sha256",), uki.digests))
    else:
        loaded = files.loaded if direct == files.direct else loaded_image(uki, host, start)
        files = _Files(direct, loaded, files.digests.standing_in(tpm.algorithms))
    loaded, digests = files.loaded, files.digests
    context = start_context(uki, machine, start, model, image=loaded.image, tpm=tpm, digests=digests, emit=trace.append)
    if watch is not None:
        context = context._replace(variables=WatchedVariables(host.variables, watch))
    for what, affects in model.open_questions:
        context.unknown(what, f"no recording of stub {model.id}", *affects)
    run = _Run(context, start, reason, watch)
    outcome = run.outcome()
    told = outcome.status != "not-simulated"
    context = run.context
    following = _follow(run, context) if start.follow else None
    result = Boot(
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
        pcrs=_pcrs(tpm) if told else {},
        rtmrs=_rtmrs(tpm) if told else {},
        dialect=run.dialect,
        proposal=run.proposal,
        assumed=(*assumed(host, start, loaded), *run.told(host)),
        trace=tuple(trace),
        digests=digests,
        memory=context.memory,
        left=() if run.handed_over is None else run.handed_over.outcome.left,
        firmware=None,
        next=following,
        start=start,
        linux=run.linux,
        loader=run.front,
        image=context.image,
    )
    return result, context, files


def _with_doubts(uki: Uki, host: Host, start: Start) -> Boot:
    """The boot on the host as it is taken to be, with what of it hangs on the unknown keys."""
    from collections import Counter

    from stubsim import doubt, supposed

    others: list[Other] = []

    def trial(boot: Boot, reads: Counter[str]) -> doubt.Trial:
        blob = None if boot.sections is None else boot.sections.efifw()
        payload = None if blob is None else boot.digests.sha256(blob.payload).hex()
        profile = None if boot.prepared is None else boot.prepared.profile
        registers = {(bank, pcr): value for bank, values in boot.pcrs.items() for pcr, value in values.items()}
        return doubt.Trial(
            facts=_facts(boot),
            registers=None if boot.prepared is None else registers,
            reads=reads,
            offered=supposed.offers(uki, addons, boot.model, profile, payload),
            ending=boot.outcome.message or boot.outcome.status,
        )

    def again(row: supposed.Supposed) -> doubt.Trial:
        reads: Counter[str] = Counter()
        result = _boot(uki, row.host, start, watch=reads, files=files)[0]
        others.append(Other(row.keys, result))
        return trial(result, reads)

    reads: Counter[str] = Counter()
    first, context, files = _boot(uki, host, start, watch=reads)
    unwatched = context._replace(host=host._replace(secure_boot=False), emit=lambda event: None)
    addons = [image for path in addon_paths(unwatched) if isinstance(image := unwatched.load_image(path), Uki)]
    seen = trial(first, reads)
    found = doubt.doubts(host, seen, again)
    rows = [Unknown(key, _why(row), row.affects, row.pcrs) for key, row in found.items()]
    return first._replace(trace=(*rows, *first.trace), others=tuple(others))


def _why(doubt: Doubt) -> str:
    why = "not known of this machine"
    return why if doubt.ending is None else f"{why}, and the boot may end otherwise: {doubt.ending}"


def _facts(boot: Boot) -> dict[str, object]:
    """What has to be alike for a key of the boot's JSON to be known, in the order of the JSON; nothing is hashed.

    What a step of one boot leaves open is not known for the others either.
    """

    def of(*kinds: type) -> list[Event]:
        return [event for event in boot.trace if isinstance(event, kinds)]

    prepared, sections = boot.prepared, boot.sections
    initrd, tree = (None, None) if prepared is None else (prepared.initrd, prepared.devicetree)
    settled = None if sections is None else {name: sections.section(name) for name in boot.model.sections}
    facts: dict[str, object] = {
        "outcome": boot.outcome,
        "profile": prepared and prepared.profile,
        "chids": boot.chids,
        "hwids": sections and (sections.section(".hwids"), sections.matches, sections.hwids_error),
        # With a digest in each bank.
        "sections": settled and (settled, Tpm(boot.host.tpm, boot.host.confidential).algorithms),
        "selection": settled and (settled.get(".efifw"), settled.get(".dtbauto")),
        "load_options": boot.load_options,
        "cmdline": prepared and prepared.cmdline,
        "initrd": initrd and [(*row._replace(parts=()), *row.parts) for row in initrd.initrds],
        "devicetree": tree,
        "memory": of(Staged),
        "fw_cfg": (boot.dialect, boot.proposal, of(FwCfgWritten, Access)),
        "measurements": of(Measured),
        "pcrs": boot.pcrs,
        "rtmrs": boot.rtmrs,
        "variables": (boot.variables, of(VariableSet)),
        "esp_changes": of(EspWritten),
        "log": of(Log),
        "next": boot.next and _facts(boot.next),
    }
    left_open = {key for event in boot.trace if isinstance(event, Unknown) for key in event.affects}
    return {key: (value, key in left_open) for key, value in facts.items()}


def _pcrs(tpm: Tpm) -> dict[str, dict[int, bytes]]:
    """Without PCR 1, which the firmware extends before the stub does."""
    return {
        bank: {pcr: value for pcr, value in values.items() if pcr != PCR_PLATFORM_CONFIG}
        for bank, values in tpm.pcrs().items()
    }


def _rtmrs(tpm: Tpm) -> dict[int, bytes]:
    """The one of the stub's PCRs; the firmware extends the others before it."""
    return {index: value for index, value in tpm.rtmrs().items() if index == rtmr(PCR_KERNEL_IMAGE)}


class _Run:
    """One run of the stub, and what is there to show for it when it ends early."""

    def __init__(self, context: Context, start: Start, reason: str, watch: Counter[str] | None = None) -> None:
        self.watch = watch
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
        self.linux: Linux | None = None
        self.front: Front | None = None
        self.said: tuple[str, ...] = ()

    def told(self, host: Host) -> tuple[str, ...]:
        """What was taken for granted of a boot loader, and where the host file has another's variables."""
        return self.said if self.front is None else (*self.said, *differing(host, self.context.variables))

    def outcome(self) -> Outcome:
        context = self.context
        wanted = context.host.architecture
        if wanted is not None and wanted != context.machine:
            message = f"The image is for {context.machine}, the machine is {wanted}."
            return Outcome("failed", message, "EFI_UNSUPPORTED")
        stopped = refuses_to_start(context.host, context.machine)
        if stopped is not None:
            return Outcome("hypervisor-abort", f"the hypervisor does not start: {stopped}")
        try:
            self.front, self.said = front_of(context, self.start)
            if self.front is None:
                note_unseen_loader(context, self.start)
            if self.front is not None:
                context = self.context = started_by_loader(context, self.front, self.watch)
        except ProgramFailed as failure:
            return Outcome("failed", failure.message, failure.status)
        loaded = _started_by_firmware(context)
        if isinstance(loaded, Outcome):
            return loaded
        self.image_gpa = loaded
        doubt_own_image(context)
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
        except ProgramFailed as failure:
            return Outcome("failed", failure.message, failure.status, failure.because)
        self.load_options = started.load_options
        self._kernel(kernel, self.prepared)
        if self.prepared.cmdline is None and started.load_options:
            # Those of the firmware, which the stub has passed on.
            self.prepared = self.prepared._replace(cmdline=from_utf16(started.load_options))
        return Outcome("kernel-started")

    def _kernel(self, kernel: Extent, prepared: Prepared) -> None:
        """What Linux itself measures."""
        context, initrd = self.context, prepared.initrd
        uname = prepared.sections.text(".uname")
        self.linux = identify(kernel, None if uname is None else bytes(uname))
        combined = None
        if initrd is not None:
            unknown = [row.name for row in initrd.initrds if not row.known]
            why = f"its {' and '.join(unknown)} is drawn at random at this boot" if unknown else None
            combined = linux.Initrd(initrd.parts, why)
        linux.measure(context.services._replace(by="kernel"), self.linux, self.load_options, combined)

    def _hand_over(self, prepared: Prepared) -> Outcome | None:
        """Leave the guest with the chosen firmware, where a hand-over is asked for; None: the kernel is started."""
        context, wanted = self.context, self.start.handover
        if wanted == "none" or (prepared.sections.efifw() is None and context.model.firmware_section is None):
            return None
        described = context.host.fw_cfg
        if (
            wanted is None
            and (described is None or described.vmfwupdate is None)
            and not context.model.applies_capsules
            and context.model.firmware_section is None
        ):
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
        pcrs=_pcrs(context.tpm),
        rtmrs=_rtmrs(context.tpm),
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
    if not is_allowed(context.uki, secure_boot=context.host.secure_boot, trusted=context.trusted):
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
    """Where the firmware puts the image, from a file or, without a path, from memory. Raises OutOfResources."""
    if context.image.path is None:
        return place_image(context.memory, context.uki.image).gpa
    return load_file(context.memory, context.uki.image, context.uki.size).gpa
