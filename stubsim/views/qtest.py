"""What the guest did to fw_cfg as a script of QEMU's qtest protocol, so that a real QEMU can be led through it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from stubsim.formats.qtest import WIDTHS, Command, build
from stubsim.result import Boot
from stubsim.trace import Access, Event

# A line of qtest holds any number of bytes; these many keep it readable.
_CHUNK = 4096
_SUFFIX = {width: suffix for suffix, width in WIDTHS.items()}


def script(boot: Boot) -> str:
    """The lines: first what was put into memory for the hypervisor, then each access of the guest in order."""
    return "".join(f"{build(command)}\n" for command in (*_staged(boot), *accesses(boot.trace)))


def _staged(boot: Boot) -> Iterator[Command]:
    """Firmware, kernel, initrd and the like at the gpas that the hypervisor, or the next boot, is told."""
    for row in boot.left:
        for start in range(0, row.size, _CHUNK):
            size = min(_CHUNK, row.size - start)
            yield Command("write", row.gpa + start, size, data=boot.memory.read(row.gpa + start, size))


def accesses(events: Iterable[Event]) -> Iterator[Command]:
    """A command for each access of the guest's CPU among the events."""
    for row in events:
        if not isinstance(row, Access):
            continue
        size = len(row.data)
        if row.space == "port":
            name = ("out" if row.write else "in") + _SUFFIX[size]
            yield Command(name, row.address, size, int.from_bytes(row.data, "little"))
        elif row.write:
            yield Command("write", row.address, size, data=row.data)
        else:
            yield Command("read", row.address, size)
