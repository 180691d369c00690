"""What comes out of a boot, and what every view asks of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar
from uuid import UUID

from stubsim.digests import Digests
from stubsim.extent import Extent
from stubsim.hosts import Host
from stubsim.linux.identify import Linux
from stubsim.machine.tpm import Tpm, rtmr
from stubsim.rows import NamedTuple
from stubsim.start import Start
from stubsim.stub.models import StubModel
from stubsim.stub.run import Prepared
from stubsim.stub.sections import Sections
from stubsim.systemd.measure import PCR_KERNEL_IMAGE
from stubsim.trace import Access, EspWritten, Event, FwCfgWritten, Log, Measured, Staged, Unknown, VariableSet
from stubsim.uefi.loaded_image import LoadedImage
from stubsim.uefi.memory import Memory
from stubsim.uefi.variables import Variable
from stubsim.uki import Profile, Uki
from stubsim.wording import plain

if TYPE_CHECKING:
    from stubsim.formats.vmfwupdate import Left
    from stubsim.front import Front

# TCG PC Client Platform Firmware Profile 1.06, 3.3.4: each gets a separator at the least.
_LAST_OF_FIRMWARE = 7

Kind = TypeVar("Kind", bound=Event)


class Outcome(NamedTuple):
    """How it ended, and the stub's or firmware's last word.

    ``status`` is kernel-started, firmware-update, failed, hypervisor-abort, boot-loop or not-simulated; ``because`` is
    the reason as far as it is known, where the message does not tell it.
    """

    status: str
    message: str | None = None
    efi_status: str | None = None
    because: str | None = None

    @property
    def said(self) -> str:
        """The last message, or the end in words."""
        return self.message or plain(self.status)

    @property
    def told(self) -> str:
        """Message and reason in one line."""
        last = self.said
        if self.because is None:
            return last
        sentence = f"{self.because[:1].upper()}{self.because[1:]}"
        return f"{last} {sentence}" if last.endswith(".") else f"{last}: {self.because}"


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

    @property
    def profile(self) -> Profile | None:
        """The profile that was booted, to a stub that knows none a number; None where it gave up before it knew."""
        if self.prepared is None:
            return None
        index, profiles = self.prepared.profile, self.uki.profiles if self.model.takes_profiles else ()
        return profiles[index] if index < len(profiles) else Profile(index, None, None, ())

    @property
    def follows_update(self) -> bool:
        """Whether this is a boot after a firmware update, in which no stub looks at the UKI's sections."""
        return self.sections is None and self.prepared is not None

    @property
    def verified(self) -> tuple[str, ...]:
        """The areas proven by recordings on this architecture: none in a confidential guest or after an update."""
        recorded = self.host.confidential is None and not self.follows_update
        return self.model.verified(self.uki.machine) if recorded else ()

    def events(self, kind: type[Kind]) -> list[Kind]:
        """The events of one type, in order."""
        return [event for event in self.trace if isinstance(event, kind)]

    def _doubted_pcrs(self) -> set[int]:
        return {pcr for event in self.events(Unknown) for pcr in event.pcrs}


class Other(NamedTuple):
    """The boot with other values for these of the host's unknown keys."""

    keys: frozenset[str]
    boot: Boot


def facts(boot: Boot) -> dict[str, object]:
    """What has to be alike for a key of the boot's JSON to be known, in the order of the JSON; nothing is hashed.

    What a step of one boot leaves open is not known for the others either.
    """
    prepared, sections = boot.prepared, boot.sections
    initrd, tree = (None, None) if prepared is None else (prepared.initrd, prepared.devicetree)
    accesses = [event for event in boot.trace if isinstance(event, FwCfgWritten | Access)]
    settled = None if sections is None else {name: sections.section(name) for name in boot.model.sections}
    found: dict[str, object] = {
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
        "memory": boot.events(Staged),
        "fw_cfg": (boot.dialect, boot.proposal, accesses),
        "measurements": boot.events(Measured),
        "pcrs": boot.pcrs,
        "rtmrs": boot.rtmrs,
        "variables": (boot.variables, boot.events(VariableSet)),
        "esp_changes": boot.events(EspWritten),
        "log": boot.events(Log),
        "next": boot.next and facts(boot.next),
    }
    left_open = {key for event in boot.events(Unknown) for key in event.affects}
    return {key: (value, key in left_open) for key, value in found.items()}


def pcrs_of(tpm: Tpm) -> dict[str, dict[int, bytes]]:
    """Without those that the firmware extends before loader and stub do (PCR 1, 5 and 7)."""
    return {
        bank: {pcr: value for pcr, value in values.items() if pcr > _LAST_OF_FIRMWARE}
        for bank, values in tpm.pcrs().items()
    }


def rtmrs_of(tpm: Tpm) -> dict[int, bytes]:
    """The one of the stub's PCRs; the firmware extends the others before it."""
    return {index: value for index, value in tpm.rtmrs().items() if index == rtmr(PCR_KERNEL_IMAGE)}
