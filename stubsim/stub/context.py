"""What every step of the stub is given, and how a step says something or gives up."""

from __future__ import annotations

from stubsim.digests import Digests
from stubsim.formats import uefi_status
from stubsim.hosts import Host
from stubsim.machine.tpm import Tpm
from stubsim.rows import NamedTuple
from stubsim.stub.models import StubModel
from stubsim.trace import Event, Log, Unknown
from stubsim.uefi.loaded_image import LoadedImage, ProgramFailed
from stubsim.uefi.memory import Memory
from stubsim.uefi.services import Services
from stubsim.uefi.variables import Variables
from stubsim.uki import Uki

# "crit" stands for all that lets no message of the stub through.
_LEVELS = ("crit", "error", "warning", "info", "debug")


class Context(NamedTuple):
    """One run of the stub: the image, the machine it runs on, which stub it is, and the firmware's services for it."""

    uki: Uki
    image: LoadedImage
    host: Host
    model: StubModel
    machine: str
    services: Services
    log_level: str

    @property
    def memory(self) -> Memory:
        return self.services.memory

    @property
    def tpm(self) -> Tpm:
        return self.services.tpm

    @property
    def variables(self) -> Variables:
        return self.services.variables

    @property
    def digests(self) -> Digests:
        return self.services.digests

    def emit(self, event: Event) -> None:
        self.services.emit(event)

    def load_image(self, path: str) -> Uki | str:
        """An image of the partition as the firmware loads it, or the status with which it refuses; see load_image."""
        assert self.image.esp is not None
        return self.services.load_image(
            self.image.esp,
            path,
            self.machine,
            secure_boot=self.host.secure_boot,
            given_bytes=self.model.reads_addons_itself,
        )

    def in_words(self, status: str) -> str:
        """A UEFI status as the stub prints it."""
        texts = uefi_status.GNU_EFI_TEXTS if self.model.prints_gnu_efi_status else uefi_status.TEXTS
        return texts[status]

    def log(self, level: str, message: str) -> None:
        """Print a message if the stub's log level lets it through."""
        if self.prints(level):
            self.emit(Log(level, message))

    def prints(self, level: str) -> bool:
        """Whether the stub's log level lets messages of this one through."""
        return _LEVELS.index(level) <= _LEVELS.index(self.log_level)

    def fail(self, message: str, status: str | None, because: str | None = None) -> ProgramFailed:
        """Log an error and give the exception that ends the run."""
        self.log("error", message)
        return ProgramFailed(message, status, because)

    def halt(self, asserted: str, because: str, status: str | None = None) -> ProgramFailed:
        """Of a failed assertion, which halts the machine (efi_assert); the message then names file and line."""
        return self.fail(f"{self.model.assertion} '{asserted}' failed", status, because)

    def unknown(self, what: str, why: str, *affects: str) -> None:
        self.emit(Unknown(what, why, affects))
