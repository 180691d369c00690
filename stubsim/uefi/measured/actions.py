"""The strings and separators that the firmware measures (TCG PC Client Platform Firmware Profile 1.06, 10.4.3)."""

from __future__ import annotations

from collections.abc import Iterator

from stubsim.uefi.measured.row import Row, plain, unknown
from stubsim.uefi.platform import Platform

BOOT_ATTEMPT = "Calling EFI Application from Boot Option"
EXIT = "Exit Boot Services Invocation"
_FAILED, _SUCCEEDED = (f"Exit Boot Services Returned with {how}" for how in ("Failure", "Success"))


def action(pcr: int, text: str) -> Row:
    return plain(pcr, "EV_EFI_ACTION", text, text.encode())


def separator(pcr: int) -> Row:
    return plain(pcr, "EV_SEPARATOR", "separator", bytes(4))


def ready_to_boot() -> Iterator[Row]:
    """The attempt, and that from here on it is no longer the firmware whose code runs."""
    yield action(4, BOOT_ATTEMPT)
    yield from map(separator, range(7))


def exit_boot_services(platform: Platform) -> Iterator[Row]:
    """2026.08's memory map changes under the kernel's first call, with every kernel that was recorded."""
    build = platform.build
    if build is None:
        yield unknown(5, "EV_EFI_ACTION", EXIT, f"how often it is called: {platform.no_build}")
        return
    if build.exit_fails_first:
        yield from (action(5, EXIT), action(5, _FAILED))
    yield from exit_at_once()


def exit_at_once() -> Iterator[Row]:
    yield from (action(5, EXIT), action(5, _SUCCEEDED))
