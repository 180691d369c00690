"""How systemd-boot gives up; by itself, since every boot asks for it and few have a loader."""

from __future__ import annotations


class LoaderFailed(Exception):  # noqa: N818 - the outcome it stands for
    """systemd-boot does not start the entry: its message, and the UEFI status."""

    def __init__(self, message: str, status: str) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
