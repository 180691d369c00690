"""A simulated machine that answers qtest commands, as QEMU does on its qtest socket."""

from __future__ import annotations

from stubsim.formats.qtest import Command, answer, parse
from stubsim.machine.hypervisor import VirtualMachine


def execute(machine: VirtualMachine, line: str) -> str | None:
    """The answer to one command, None when the hypervisor has ended. Raises StubsimError for what is no command."""
    command = parse(line)
    if machine.stopped is not None:
        return None
    # QEMU answers before it resets the machine, so also the command that leads to its end (seen on QEMU 7.2.22).
    return answer(command, _run(machine, command))


def _run(machine: VirtualMachine, command: Command) -> bytes | None:
    name, address, size, value, data = command
    if name.startswith("out"):
        machine.port_write(address, size, value)
    elif name.startswith("in"):
        return machine.port_read(address, size).to_bytes(size, "little")
    elif name == "memset":
        machine.write(address, bytes((value,)) * size)
    elif name.startswith("write"):
        machine.write(address, data if name == "write" else value.to_bytes(size, "little"))
    else:
        return machine.read(address, size)
    return None
