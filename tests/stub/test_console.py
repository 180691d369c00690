"""The console= arguments; recordings console-*, and the table of combinations that were tried."""

from __future__ import annotations

import pytest

from stubsim.hosts import Host
from stubsim.hosts.host import Console
from stubsim.stub.console import append_console
from tests.stub.harness import run

SERIAL = "console=uart,io,0x3f8"


def appended(line: str | None, console: Console, *, stub: str = "262", machine: str = "x64") -> str | None:
    one = run(host=Host(console=console), stub=stub)
    return append_console(one.context._replace(machine=machine), line)


@pytest.mark.parametrize(
    ("graphics", "virtio", "serial", "expected"),
    [
        (False, 0, (), None),
        (True, 0, (), None),
        (False, 0, (0x3F8, 0x2F8), None),
        (True, 0, (0x3F8, 0x2F8), None),
        (False, 2, (), None),
        (False, 0, (0x3F8,), SERIAL),
        (False, 0, (0x2F8,), "console=uart,io,0x2f8"),
        (False, 0, (0x3E8,), "console=uart,io,0x3e8"),
        (False, 0, (0x2E8,), "console=uart,io,0x2e8"),
        (False, 0, (0x1000,), None),
        (True, 0, (0x3F8,), f"{SERIAL} console=tty0"),
        (False, 1, (), "console=hvc0"),
        (True, 1, (), "console=hvc0 console=tty0"),
        (False, 1, (0x3F8,), f"{SERIAL} console=hvc0"),
    ],
)
def test_devices(graphics: bool, virtio: int, serial: tuple[int, ...], expected: str | None):
    console = Console(graphics, virtio, serial)
    assert appended(None, console) == expected
    assert appended("", console) == (expected or "")
    assert appended("own", console) == ("own" if expected is None else f"own {expected}")
    assert appended("own", console, stub="257") == "own"


@pytest.mark.parametrize(
    ("console", "expected", "message"),
    [
        (Console(True, 0, (0x3F8,)), None, "Graphical output available, not adding console= to kernel command line."),
        (Console(True, 2, ()), None, "Graphical output available, not adding console= to kernel command line."),
        (Console(False, 0, ()), None, "Cannot determine console type, not adding console= to kernel command line."),
        (Console(True, 1, (0x3F8,)), "console=hvc0", "Appending console=hvc0 to kernel command line."),
        (Console(False, 2, (0x3F8,)), SERIAL, f"Appending {SERIAL} to kernel command line."),
    ],
)
def test_one_console_of_261(console: Console, expected: str | None, message: str):
    """systemd 261: console.c, cmdline_append_console."""
    one = run(host=Host(console=console), stub="261.1", debug=True)
    assert append_console(one.context, None) == expected
    assert one.log() == [message]


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("console=ttyS0", True),
        ("a console=", True),
        # console-quoted: even inside quotes.
        ('a="b console=x"', True),
        ("fooconsole=x", False),
        ("a\u00a0console=x", False),
        ("earlyconsole=x console", False),
    ],
)
def test_a_line_that_names_one_is_left_alone(line: str, named: bool):
    expected = line if named else f"{line} {SERIAL}"
    assert appended(line, Console(False, 0, (0x3F8,))) == expected


def test_ports_are_an_x86_matter():
    assert appended(None, Console(True, 0, (0x3F8,)), machine="aa64") is None
    assert appended(None, Console(True, 1, (0x3F8,)), machine="aa64") == "console=hvc0 console=tty0"
    assert appended(None, Console(False, 0, (0x3F8,)), machine="ia32") == SERIAL


def test_nothing_of_it_is_measured():
    one = run(host=Host(console=Console(True, 0, (0x3F8,))))
    append_console(one.context, "own")
    assert one.trace == []


def test_serial_virtio_and_screen_together():
    """Booted systemd-stub 262.1 in QEMU with an ISA serial port, a virtio console and VGA."""
    one = run(host=Host(console=Console(True, 1, (0x3F8,))))
    assert append_console(one.context, None) == f"{SERIAL} console=hvc0 console=tty0"
    assert one.unknown() == []
