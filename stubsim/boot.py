"""A boot: the only place that joins UKI, host, stub and hand-over. Nothing is printed or written here."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple
from uuid import UUID

from stubsim.digests import Digests
from stubsim.errors import StubsimError
from stubsim.hosts import Host
from stubsim.machine.esp import Esp
from stubsim.machine.memory import Memory, OutOfResources
from stubsim.machine.tpm import Tpm
from stubsim.machine.variables import Variable, Variables
from stubsim.stub.arguments import split_shell_line
from stubsim.stub.chid_match import machine_chids
from stubsim.stub.context import Context, LoadedImage, StubFailed
from stubsim.stub.kernel import linux_exec
from stubsim.stub.models import StubModel, choose
from stubsim.stub.run import Prepared, prepare
from stubsim.stub.sections import Sections
from stubsim.stub.secure_boot import is_allowed
from stubsim.trace import Emit, Event, Log, Staged
from stubsim.uki import Uki

_LOG_LEVEL = b"io.systemd.boot.loglevel="

# Key of a host file -> keys of the boot's JSON that depend on it, for what a host file says is not known.
_AFFECTS = {
    "smbios": ("chids", "selection", "devicetree", "cmdline", "load_options", "measurements", "pcrs"),
    "smbios_table": ("chids", "selection", "devicetree", "cmdline", "load_options", "measurements", "pcrs"),
    "edid": ("chids", "selection", "devicetree", "measurements", "pcrs"),
    "devicetree": ("selection", "devicetree", "measurements", "pcrs"),
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
    "memory": ("memory",),
    "fw_cfg": ("outcome", "fw_cfg"),
}


class Start(NamedTuple):
    """How the UKI was started; the fields are the options of the same names of every command that boots.

    ``esp`` is a folder of the host, ``path`` the UKI's path below it; ``load_options`` are raw bytes. ``trusted``
    tells whether an image's signature leads to a certificate in db; None: a certificate table is enough.
    """

    esp: str | None = None
    path: str | None = None
    load_options: bytes | None = None
    shell: str | None = None
    from_memory: bool = False
    profile: int | None = None
    stub: str | None = None
    handover: str | None = None
    follow: bool = False
    trusted: Callable[[Uki], bool] | None = None


DEFAULT_START = Start()


class Outcome(NamedTuple):
    """kernel-started, firmware-update, failed, hypervisor-abort or boot-loop; the stub's or firmware's last word."""

    status: str
    message: str | None = None
    efi_status: str | None = None


class Boot(NamedTuple):
    """What happened, with all of it in ``trace`` in the order in which the stub would cause it."""

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


def boot(uki: Uki, host: Host, start: Start = DEFAULT_START) -> Boot:
    """Boot a UKI on a host.

    Raises StubsimError for options that contradict each other and for files of the partition that cannot be read; what
    the stub or the firmware refuses is an outcome.
    """
    model, reason = choose(uki.stub, start.stub)
    if start.handover not in (None, "none"):
        from stubsim import handover

        handover.dialect(start.handover)
    trace: list[Event] = []
    tpm = Tpm(host.tpm, host.confidential)
    digests = Digests(tpm.algorithms or ("sha256",))
    context = start_context(uki, host, start, model, tpm=tpm, digests=digests, emit=trace.append)
    _hash_ahead(context)
    for what in sorted(host.unknown):
        context.unknown(what, "the host file says so", *affected(what))
    for what, affects in model.open_questions:
        context.unknown(what, f"no recording of stub {model.id}", *affects)
    if start.follow:
        context.unknown("the boot after a firmware update", "not simulated yet", "next")

    run = _Run(context, start)
    outcome = run.outcome()
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
        pcrs=tpm.pcrs(),
        rtmrs=tpm.rtmrs(),
        dialect=run.dialect,
        proposal=run.proposal,
        assumed=_assumed(host, start),
        trace=tuple(trace),
        digests=digests,
    )


def start_context(
    uki: Uki, host: Host, start: Start, model: StubModel, *, tpm: Tpm, digests: Digests, emit: Emit
) -> Context:
    """What the stub's steps are given at the start of a run; raises StubsimError for contradicting options."""
    return Context(
        uki=uki,
        image=_loaded_image(uki, start),
        host=host,
        model=model,
        machine=uki.machine,
        memory=Memory(host.memory, uki.machine),
        tpm=tpm,
        variables=Variables(host.variables),
        digests=digests,
        trusted=start.trusted,
        log_level=_log_level(host, model, emit),
        emit=emit,
    )


def affected(key: str) -> tuple[str, ...]:
    """The keys of the boot's JSON that depend on a key of the host file.

    The CHIDs with BIOS fields are computed, but no stub looks them up."""
    if key.startswith("smbios.bios_"):
        return ("chids",)
    return _AFFECTS.get(key.partition(".")[0], ())


class _Run:
    """One run of the stub, and what is there to show for it when it ends early."""

    def __init__(self, context: Context, start: Start) -> None:
        self.context = context
        self.start = start
        self.found: list[Sections] = []
        self.prepared: Prepared | None = None
        self.load_options: bytes | None = None
        self.dialect: str | None = None
        self.proposal: str | None = None

    def outcome(self) -> Outcome:
        context = self.context
        refused = _refused_by_firmware(context)
        if refused is not None:
            return refused
        try:
            self.prepared = prepare(context, self.found)
            handed_over = self._hand_over(self.prepared)
            if handed_over is not None:
                return handed_over
            kernel = self.prepared.sections.data(".linux")
            assert kernel is not None
            started = linux_exec(context, kernel, self.prepared.cmdline, self.prepared.initrd)
        except StubFailed as failure:
            return Outcome("failed", failure.message, failure.status)
        self.load_options = started.load_options
        return Outcome("kernel-started")

    def _hand_over(self, prepared: Prepared) -> Outcome | None:
        """Leave the guest with the chosen firmware, where a hand-over is asked for; None: the kernel is started."""
        context = self.context
        _not_built_yet(context, prepared)
        chosen = prepared.sections.efifw()
        self.dialect = _dialect(context, self.start)
        if chosen is None or self.dialect is None:
            return None
        if not context.host.hypervisor:
            context.emit(Log("warning", "firmware not handed over: the machine is no virtual machine"))
            return None
        # The hand-over is loaded only when there is one: it is a third of the start-up.
        from stubsim import handover
        from stubsim.handover.staging import stage_for_next_boot
        from stubsim.machine.hypervisor import fw_cfg

        protocol = handover.dialect(self.dialect)
        self.proposal = protocol.PROPOSAL
        digest = context.digests.sha256(chosen.payload)
        if context.host.firmware.sha256 == digest.hex():
            context.log("info", "The machine already runs the selected firmware; nothing is handed over.")
            return None
        try:
            staged = stage_for_next_boot(context, prepared, chosen.payload)
            result = protocol.hand_over(fw_cfg(context.host.fw_cfg), context.memory, staged, context.emit)
        except OutOfResources as error:
            raise context.fail(f"No memory for the hand-over: {error}", "EFI_OUT_OF_RESOURCES") from None
        for warning in result.warnings:
            context.emit(Log("warning", f"hypervisor: {warning}"))
        if result.status == "unavailable":
            context.emit(Log("warning", str(result.message)))
            return None
        return Outcome(result.status, result.message)


def _refused_by_firmware(context: Context) -> Outcome | None:
    """What keeps the firmware from starting the image at all; otherwise it is put into memory."""
    wanted = context.host.architecture
    if wanted is not None and wanted != context.machine:
        return Outcome("failed", f"The image is for {context.machine}, the machine is {wanted}.", "EFI_UNSUPPORTED")
    if not is_allowed(context, context.uki):
        return Outcome("failed", "The firmware refuses an image without a trusted signature.", "EFI_ACCESS_DENIED")
    image = context.uki.image
    try:
        gpa = context.memory.allocate(image.size_of_image, "EfiLoaderCode")
    except OutOfResources:
        return Outcome("failed", "The image does not fit into the memory.", "EFI_OUT_OF_RESOURCES")
    for section in image.sections:
        context.memory.place(gpa + section.virtual_address, [context.uki.data(section)])
    context.emit(Staged("uki", gpa, image.size_of_image, "EfiLoaderCode", False))
    return None


def _loaded_image(uki: Uki, start: Start) -> LoadedImage:
    if start.from_memory and (start.esp is not None or start.path is not None):
        raise StubsimError("--from-memory means no device and no path", expected="no --esp and no --path")
    if start.shell is not None and start.load_options is not None:
        raise StubsimError("the UEFI shell makes the load options", expected="either --shell or load options")
    shell = None if start.shell is None else split_shell_line(start.shell)
    options = start.load_options
    if start.profile is not None:
        # As a boot loader asks for one: in front of everything else.
        prefix = f"@{start.profile}"
        if shell is not None:
            shell = (*shell[:1], prefix, *shell[1:])
        else:
            rest = b"" if options is None or len(options) < 2 else " ".encode("utf-16-le") + options
            options = prefix.encode("utf-16-le") + (rest or b"\0\0")
    if start.from_memory:
        return LoadedImage(None, None, options, shell)
    esp = Esp(start.esp)
    path = _find_path(uki, esp) if start.path is None else start.path.replace("/", "\\")
    return LoadedImage(esp, path, options, shell)


def _find_path(uki: Uki, esp: Esp) -> str:
    """Where the UKI lies on the partition, by content; else the usual place."""
    from os.path import basename, getsize

    for path in esp.paths():
        if getsize(path) == uki.size:
            name = esp.name_of(path)
            if esp.read(name) == uki.image.data:
                return name
    return f"\\EFI\\Linux\\{basename(uki.path)}"


def _log_level(host: Host, model: StubModel, emit: Emit) -> str:
    """262 takes its log level from SMBIOS type 11, outside of confidential guests; the default lets info through."""
    given = next((text for text in host.oem_strings if text.startswith(_LOG_LEVEL)), None)
    if given is None or not model.takes_log_level or host.confidential is not None:
        return "info"
    name = given[len(_LOG_LEVEL) :].decode("ascii", "replace")
    if name not in _LEVEL_NAMES:
        emit(Log("warning", f"Failed to parse log level '{name}', ignoring."))
    return _LEVEL_NAMES.get(name, "info")


_LEVEL_NAMES = {
    "emerg": "crit", "alert": "crit", "crit": "crit", "err": "error", "warning": "warning", "notice": "info",
    "info": "info", "debug": "debug",
}  # fmt: skip


def _hash_ahead(context: Context) -> None:
    """Start on the ranges that any boot needs; small ones are left to their turn."""
    context.digests.start(context.uki.image.data, ("sha256",))
    for section in context.uki.base:
        if section.name in context.model.sections and section.name not in (".pcrsig", ".dtbauto", ".efifw"):
            context.digests.start(context.uki.data(section))


def _dialect(context: Context, start: Start) -> str | None:
    """The hand-over asked for, else the one the host's device speaks."""
    if start.handover is not None:
        return None if start.handover == "none" else start.handover
    fw_cfg = context.host.fw_cfg
    device = None if fw_cfg is None else fw_cfg.vmfwupdate
    if device is None:
        return None
    from stubsim import handover

    if device.dialect not in handover.DIALECTS:
        context.unknown(f"the hand-over by {device.dialect}", "not simulated yet", "outcome", "fw_cfg", "memory")
        return None
    return device.dialect


def _not_built_yet(context: Context, prepared: Prepared) -> None:
    """Proposals that the model has and the simulator has not."""
    model = context.model
    chosen = prepared.sections.efifw()
    if model.applies_capsules and chosen is not None and chosen.target_chid is not None:
        context.unknown("whether the capsule is applied", "not simulated yet", "outcome", "memory")
    if model.firmware_section is not None and prepared.sections.data(model.firmware_section) is not None:
        context.unknown(
            f"the hand-over of {model.firmware_section}", "not simulated yet", "outcome", "fw_cfg", "memory"
        )


def _assumed(host: Host, start: Start) -> tuple[str, ...]:
    """What was taken for granted because nothing was said."""
    assumed = []
    if start.esp is None and not start.from_memory:
        assumed.append("no --esp: the partition is taken to hold no addons, credentials or extensions")
    if host.esp_partition_uuid is None and not start.from_memory:
        assumed.append(
            "no esp_partition_uuid: the UKI is taken to come from no partition, so the stub sets no *DevicePartUUID "
            "and has no random seed"
        )
    if host.secure_boot and start.trusted is None:
        assumed.append("no --db: an image counts as signed when it has a certificate table; signatures are not checked")
    return tuple(assumed)
