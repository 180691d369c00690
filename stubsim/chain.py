"""The chain of a boot: the firmware, a boot loader, the stub, and Linux or a hand-over. Each hands on to the next."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stubsim.extent import Extent
from stubsim.formats.efi_string import from_utf16
from stubsim.front import (
    Front,
    differing,
    front_of,
    loader_started,
    note_unseen_loader,
    shim_of,
    started_by_loader,
    started_by_shim,
)
from stubsim.hosts import Host
from stubsim.linux import start as linux
from stubsim.linux.identify import Linux, identify
from stubsim.machine.power_on import refuses_to_start
from stubsim.result import Outcome
from stubsim.start import Start
from stubsim.stub import refused
from stubsim.stub.boot_secret import why_random
from stubsim.stub.context import Context
from stubsim.stub.own_image import doubt_own_image
from stubsim.stub.programs import Program, program
from stubsim.stub.recognise import not_a_uki
from stubsim.stub.run import Prepared
from stubsim.stub.sections import Sections
from stubsim.trace import Staged
from stubsim.uefi.esp import same_name
from stubsim.uefi.load_image import AddressTaken, load_file, place_image
from stubsim.uefi.loaded_image import ProgramFailed
from stubsim.uefi.memory import OutOfResources

if TYPE_CHECKING:
    from collections import Counter

    from stubsim.handover.run import HandedOver
    from stubsim.shim.image import Shim

# What a stub has a part in, by the keys of the boot's JSON.
_OF_THE_STUB = (
    "profile", "hwids", "sections", "selection", "load_options", "cmdline", "initrd", "devicetree", "memory", "fw_cfg",
    "measurements", "pcrs", "rtmrs", "variables", "esp_changes", "log",
)  # fmt: skip


class Chain:
    """One run of it, and what is there to show for it when it ends early."""

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
            shim = shim_of(context, self.start)
            self.front, self.said = front_of(context, self.start, shim)
            by = "firmware"
            if shim is not None and (self.front is not None or _is_second_stage(context, shim)):
                by = "shim"
                context = self.context = started_by_shim(context, shim, whole_store=self.start.whole_store)
            if self.front is not None:
                context = self.context = loader_started(context, self.front, self.watch, by=by)
                context = self.context = started_by_loader(context, self.front, self._load_image)
            else:
                note_unseen_loader(context, self.start)
                failure = self._load_image(context._replace(services=context.services._replace(by=by)))
                if failure is not None:
                    raise failure
        except ProgramFailed as error:
            return Outcome("failed", error.message, error.status, error.because)
        doubt_own_image(context)
        steps = program(context.model)
        if steps is None:
            return self._not_simulated()
        return self._stub(steps)

    def _load_image(self, context: Context) -> ProgramFailed | None:
        """The firmware loads the UKI for whoever asks; how it refuses that."""
        services, path, image = context.services, context.image.path, context.uki.image
        if not services.takes_image(context.uki, path or "", secure_boot=context.host.secure_boot):
            message = "The firmware refuses an image without a trusted signature."
            return ProgramFailed(message, "EFI_ACCESS_DENIED", refused.signature_missing(context, context.uki))
        memory = services.memory
        try:
            # From a file or, without a path, from memory.
            placed = place_image(memory, image) if path is None else load_file(memory, image, context.uki.size)
        except AddressTaken:
            message = "The firmware finds no place for the image."
            return ProgramFailed(message, "EFI_NOT_FOUND", refused.no_relocations("the image", image))
        except OutOfResources:
            because = refused.out_of_memory(context, "the image", image.size_of_image)
            return ProgramFailed("The image does not fit into the memory.", "EFI_OUT_OF_RESOURCES", because)
        self.image_gpa = placed.gpa
        memory.place(placed.gpa, [context.uki.loaded])
        # Any view names the file by its digest; it takes no time of the boot's own.
        services.digests.start(image.data, ("sha256",))
        services.emit(Staged("uki", placed.gpa, image.size_of_image, "EfiLoaderCode", False))
        return None

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
            combined = linux.Initrd(initrd.parts, why_random(initrd))
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


def _is_second_stage(context: Context, shim: Shim) -> bool:
    return context.image.path is not None and same_name(context.image.path, shim.second_stage)
