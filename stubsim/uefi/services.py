"""Boot services as one stage of the boot has them: it measures and sets variables, and the trace says which did."""

from __future__ import annotations

from stubsim.digests import Digests
from stubsim.machine.tpm import Tpm
from stubsim.rows import NamedTuple
from stubsim.trace import Emit, EspWritten, ImageLoaded, Measured, Unknown, VariableSet
from stubsim.uefi.esp import Esp
from stubsim.uefi.memory import Memory
from stubsim.uefi.secure_boot import Trusted, is_allowed, load_image
from stubsim.uefi.variables import LOADER, Variables
from stubsim.uki import Uki


class Services(NamedTuple):
    """``by`` is the stage: firmware, loader, stub or kernel; ``trusted`` is what db says of an image, None: no --db."""

    by: str
    memory: Memory
    tpm: Tpm
    variables: Variables
    digests: Digests
    trusted: Trusted | None
    emit: Emit

    def takes_image(self, image: Uki, path: str, *, secure_boot: bool) -> bool:
        """Whether the firmware lets an image through that was read from this path."""
        if not is_allowed(image, secure_boot=secure_boot, trusted=self.trusted):
            return False
        self.emit(ImageLoaded(path, image.image.subsystem, image.image.data, self.by))
        return True

    def load_image(
        self, esp: Esp, path: str, machine: str, *, secure_boot: bool, given_bytes: bool = False
    ) -> Uki | str:
        """An image of the partition, or the status with which the firmware refuses it; see secure_boot.load_image()."""
        image, status = load_image(
            esp, path, machine, secure_boot=secure_boot, trusted=self.trusted, given_bytes=given_bytes
        )
        if image is not None:
            self.emit(ImageLoaded(path, image.image.subsystem, image.image.data, self.by))
        if status is not None:
            return status
        assert image is not None
        return image

    def measure(
        self,
        pcr: int,
        kind: str,
        description: str,
        digests: dict[str, bytes],
        data: bytes,
        *,
        tag: int | None = None,
        by_cc: bool = True,
    ) -> None:
        """Extend a PCR and log an event; ``by_cc``: by the measurement protocol of a confidential guest, too."""
        self.tpm.extend(pcr, digests, by_cc=by_cc)
        self.emit(Measured(pcr, kind, tag, description, digests, data, self.by))

    def set_variable(self, name: str, data: bytes | None, attributes: int, size: int = 0) -> None:
        """Write one; the firmware refuses to change attributes, and no stage looks (recorded: prior-vars).

        Data of None stands for ``size`` bytes drawn at random.
        """
        if self.variables.set(name, bytes(size) if data is None else data, attributes):
            self.emit(VariableSet(name, LOADER, attributes, data))

    def write(self, path: str, size: int) -> None:
        self.emit(EspWritten(path, size))

    def rename(self, path: str, new: str, size: int) -> None:
        self.emit(EspWritten(new, size, path))

    def delete_variable(self, name: str) -> None:
        self.variables.set(name, b"", 0)

    def unknown(self, what: str, why: str, *affects: str) -> None:
        self.emit(Unknown(what, why, affects))
