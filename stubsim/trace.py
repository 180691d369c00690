"""What a boot causes, as typed events in the order in which the stub would cause them."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

from stubsim.extent import Extent
from stubsim.rows import NamedTuple


class Log(NamedTuple):
    """A message of the stub; level is error, warning, info or debug."""

    level: str
    message: str


class Measured(NamedTuple):
    """A PCR extend with its event log entry; ``data`` is the event data as the log holds it.

    ``by`` is who made it: firmware, loader, stub or kernel.
    """

    pcr: int
    type: str
    tag: int | None
    description: str
    digests: dict[str, bytes]
    data: bytes
    by: str


class ImageLoaded(NamedTuple):
    """An image that the firmware's LoadImage() took, and so has measured; ``path`` is that on its partition.

    ``by`` is who asked for it: firmware, loader or stub. The digest is a matter of who wants to know it: the
    Authenticode hash of ``data`` (uefi/boot_manager.py).
    """

    path: str
    subsystem: int
    data: Extent
    by: str


class VariableSet(NamedTuple):
    """A variable the firmware let the stub set; data is None where the stub draws it at random."""

    name: str
    guid: UUID
    attributes: int
    data: bytes | None


class EspWritten(NamedTuple):
    """A file that loader or stub creates, rewrites or renames on a partition; size in bytes."""

    path: str
    size: int
    renamed_from: str | None = None


class Staged(NamedTuple):
    """A range of guest memory that something was put into; size in bytes, gpa is page aligned."""

    name: str
    gpa: int
    size: int
    type: str
    shared: bool


class FwCfgWritten(NamedTuple):
    """One accepted write to a fw_cfg file; gpa is where the guest keeps the bytes for the DMA transfer."""

    file: str
    selector: int
    offset: int
    data: bytes
    gpa: int


class Access(NamedTuple):
    """One access of the guest's CPU to fw_cfg's registers, or to memory that a transfer uses.

    ``space`` is "port" or "memory" (registers of Arm lie in memory); ``data`` are the bytes in ascending order of
    addresses, as written or as read.
    """

    space: str
    write: bool
    address: int
    data: bytes


# Keys of the boot's JSON that are not known where the stub may not live to see the next step, or is not known itself.
WHOLE_RUN = (
    "outcome", "profile", "hwids", "sections", "selection", "load_options", "cmdline", "initrd", "devicetree",
    "memory", "fw_cfg", "measurements", "pcrs", "rtmrs", "variables", "esp_changes", "log",
)  # fmt: skip
# The registers that the stub and the kernel extend.
WHOLE_RUN_PCRS = (4, 9, 11, 12, 13)


class Unknown(NamedTuple):
    """Something that was not decided, why, and the top-level JSON keys that depend on it.

    ``pcrs`` are the registers with another value where it is otherwise, as far as that was found out.
    """

    what: str
    why: str
    affects: tuple[str, ...]
    pcrs: tuple[int, ...] = ()


Event = Log | Measured | ImageLoaded | VariableSet | EspWritten | Staged | FwCfgWritten | Access | Unknown
Emit = Callable[[Event], None]
