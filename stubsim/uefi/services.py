"""Boot services as one stage of the boot has them: it measures and sets variables, and the trace says which did."""

from __future__ import annotations

from typing import NamedTuple

from stubsim.digests import Digests
from stubsim.machine.tpm import Tpm
from stubsim.trace import Emit, EspWritten, Measured, Unknown, VariableSet
from stubsim.uefi.variables import LOADER, Variables


class Services(NamedTuple):
    """``by`` is the stage: firmware, loader, stub or kernel."""

    by: str
    tpm: Tpm
    variables: Variables
    digests: Digests
    emit: Emit

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

    def unknown(self, what: str, why: str, *affects: str) -> None:
        self.emit(Unknown(what, why, affects))
