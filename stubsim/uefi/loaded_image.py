"""A program as the firmware starts it, and how it comes back."""

from __future__ import annotations

from stubsim.rows import NamedTuple
from stubsim.uefi.esp import Esp


class LoadedImage(NamedTuple):
    """How a program was started, as the firmware tells it in EFI_LOADED_IMAGE_PROTOCOL.

    ``esp`` is the partition that it came from, None without a device handle; ``path`` is None without a device path.
    ``load_options`` are raw bytes; ``shell`` is their words, program first, when the UEFI shell started it.
    """

    esp: Esp | None
    path: str | None
    load_options: bytes | None
    shell: tuple[str, ...] | None


class ProgramFailed(Exception):  # noqa: N818 - the outcome it stands for
    """A program returns to the firmware: its message, as on the console, and the UEFI status; or halts without one.

    ``because`` is what is known of the reason and the message does not tell.
    """

    def __init__(self, message: str, status: str | None, because: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.because = because
