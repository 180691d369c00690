"""What every such device has: files, and something to say at a reset."""

from __future__ import annotations

from stubsim.machine.fwcfg import Item
from stubsim.rows import NamedTuple


class Reset(NamedTuple):
    """What a device makes of a cold reset, before the devices are reset.

    "plain"; "update": `size` bytes from `gpa` are put into the BIOS region, which has just these bytes then if
    `resize` says so; "abort": the hypervisor is gone.
    """

    action: str
    gpa: int = 0
    size: int = 0
    reason: str | None = None
    resize: bool = False


PLAIN = Reset("plain")


class Device:
    """`warnings` is what it tells the host, the guest sees none of it; `wants_reset` asks for a reset."""

    def __init__(self) -> None:
        self.warnings: list[str] = []
        self.wants_reset = False

    def items(self) -> tuple[Item, ...]:
        """Its files."""
        return ()

    def before_reset(self) -> Reset:
        """What it asks for when a cold reset begins."""
        return PLAIN

    def reset(self) -> None:
        """What the reset clears of it."""
