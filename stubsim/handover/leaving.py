"""What a dialect is given, what it says of itself, and how a hand-over ends: the same in every dialect."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from stubsim.extent import Extent
from stubsim.formats.efifw import Efifw
from stubsim.formats.vmfwupdate import Left
from stubsim.handover.guest import Guest
from stubsim.machine.hypervisor import VirtualMachine
from stubsim.rows import NamedTuple
from stubsim.stub.context import Context
from stubsim.stub.run import Prepared
from stubsim.trace import Log

AND_SO = "the kernel is started as without an update (stubsim's own decision, the proposal says nothing)"


class About(NamedTuple):
    """What a dialect is. ``decisions`` are stubsim's own, where no source says anything."""

    name: str
    source: str
    status: str
    revision: str
    decisions: tuple[str, ...]


class Leaving(NamedTuple):
    """A stub that has settled on a firmware. ``image_gpa`` is where the firmware has loaded the UKI.

    ``firmware`` is the whole payload; ``blob`` its .efifw, None for the prototype's .fmwimg.
    """

    context: Context
    prepared: Prepared
    machine: VirtualMachine
    image_gpa: int
    firmware: Extent
    blob: Efifw | None


class Outcome(NamedTuple):
    """How a hand-over ended; ``left`` is what lies in memory for the boot after it, by `formats.vmfwupdate.KINDS`.

    status: "firmware-update" (the machine starts again on the new firmware), "hypervisor-abort" (the virtual machine is
    gone), "boot-loop" (it starts again on the firmware that it has), "failed" (the boot ends), "unavailable" (nothing
    was asked for: the boot goes on to the kernel).
    """

    status: str
    message: str | None = None
    efi_status: str | None = None
    left: tuple[Left, ...] = ()


class Dialect(NamedTuple):
    """One dialect; ``by_hypervisor`` tells that the BIOS region has the firmware after the reset.

    ``read_left`` finds in the second boot what the first one left (None: it cannot), and ``settle`` tells the update
    device that the update is done.
    """

    about: About
    hand_over: Callable[[Leaving], Outcome]
    read_left: Callable[[Guest], tuple[Left, ...]] | None = None
    settle: Callable[[Guest, Left], None] | None = None
    by_hypervisor: bool = True


def unavailable(reason: str) -> Outcome:
    return Outcome("unavailable", f"firmware not handed over: {reason}; {AND_SO}")


def after_reset(machine: VirtualMachine, left: tuple[Left, ...]) -> Outcome:
    """How it ended, as the reset shows."""
    if machine.stopped is not None:
        return Outcome("hypervisor-abort", f"the hypervisor aborts at the reset: {machine.stopped}", left=left)
    if machine.last_reset is None or machine.last_reset.action != "update":
        # The machine starts again, on the firmware that it has.
        why = "the hypervisor resets without the update, so the stub asks for the same update again"
        return Outcome("boot-loop", f"boot loop: {why}")
    return Outcome("firmware-update", left=left)


def tell_warnings(context: Context, warnings: Sequence[str]) -> None:
    """What the devices told the host; no guest sees it."""
    for text in warnings:
        context.emit(Log("warning", f"hypervisor: {text}"))
