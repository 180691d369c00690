"""A simulated machine behind the qtest protocol."""

from __future__ import annotations

from stubsim.formats.vmfwupdate import FW_BLOB, pack_fw_blob
from stubsim.machine.devices.qemu_v5 import VmFwUpdate
from stubsim.machine.qtest import execute
from tests.machine.driver import Driver


def test_memory_and_ports():
    driver = Driver()
    lines = ("memset 0x1000 0x4 0x5c", "writew 0x1002 0x1234", "readl 0x1000", "outw 0x510 0", "inl 0x80", "inb 0x511")
    assert [execute(driver.machine, line) for line in lines] == [
        "OK",
        "OK",
        "OK 0x0000000012345c5c",
        "OK",
        "OK 0xffffffff",
        "OK 0x0051",
    ]


def test_the_command_that_ends_the_hypervisor_is_the_last_to_be_answered():
    """As a real QEMU with -no-reboot does at outb 0xcf9 (7.2.22): the reset comes after the answer."""
    driver = Driver(devices=[VmFwUpdate(256 << 10)])
    driver.write(FW_BLOB, pack_fw_blob(1, 0x200000))
    assert execute(driver.machine, "outb 0xcf9 0x06") == "OK"
    assert [execute(driver.machine, "inb 0x511"), execute(driver.machine, "read 0 1")] == [None, None]
