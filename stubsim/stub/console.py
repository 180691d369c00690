"""The console= arguments of 261 and later, appended after everything was measured (systemd-stub: console.c)."""

from __future__ import annotations

from stubsim.hosts.host import Console
from stubsim.stub.cmdline import append
from stubsim.stub.context import Context

# The ISA ports the stub knows, by UART number in the device path.
_ISA_PORTS = (0x3F8, 0x2F8, 0x3E8, 0x2E8)


def append_console(context: Context, cmdline: str | None) -> str | None:
    """Exactly one serial port, exactly one virtio console, and the screen behind either; nothing for a screen alone."""
    if not context.model.appends_console:
        return cmdline
    if _names_console(cmdline or ""):
        context.log("debug", "Kernel command line already contains console=, not adding one.")
        return cmdline
    console = context.host.console
    missing = "No serial or VirtIO console found, not adding console= to kernel command line."
    if not context.model.appends_all_consoles:
        if console.graphics and console.virtio != 1:
            context.log("debug", "Graphical output available, not adding console= to kernel command line.")
            return cmdline
        missing = "Cannot determine console type, not adding console= to kernel command line."
        console = _only_one(console)
    arguments = []
    # Ports are an x86 matter; elsewhere the firmware's tables name the console.
    if context.machine in ("x64", "ia32") and len(console.serial) == 1 and console.serial[0] in _ISA_PORTS:
        arguments.append(f"console=uart,io,{console.serial[0]:#x}")
    if console.virtio == 1:
        arguments.append("console=hvc0")
    if arguments and console.graphics:
        arguments.append("console=tty0")
    if not arguments:
        # Recorded on aa64: efifw-match-debug.
        context.log("debug", missing)
    for argument in arguments:
        context.log("debug", f"Appending {argument} to kernel command line.")
        cmdline = append(cmdline, argument)
    return cmdline


def _only_one(console: Console) -> Console:
    """What 261 and 261.1 go by: a virtio console alone, else a serial port."""
    if console.virtio == 1:
        return Console(graphics=False, virtio=1, serial=())
    return Console(graphics=False, virtio=0, serial=console.serial)


def _names_console(cmdline: str) -> bool:
    """At the start or behind a blank, even inside quotes (recorded: console-has, -startswith, -quoted, -inner)."""
    return cmdline.startswith("console=") or " console=" in cmdline
