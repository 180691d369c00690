"""The update device of the prototype of 2024."""

from __future__ import annotations

import pytest

from stubsim.formats.vmfwupdate import FUKI_BLOB, FUKI_CAP, FUKI_CONTROL, FUKI_CPU, FukiEntry, pack_fuki
from stubsim.machine.devices.device import PLAIN, Reset
from stubsim.machine.devices.fuki_2024 import FukiUpdate
from stubsim.machine.ram import GIB4
from tests.machine.driver import MIB, Driver

KIB64 = 64 << 10
FIRMWARE = FukiEntry(5, 0, KIB64, 2 * MIB)
KERNEL = FukiEntry(1, 1, 4096, 4 * MIB)


def started() -> Driver:
    return Driver(devices=[FukiUpdate(256 << 10, cap=0x89)])


def test_the_files():
    driver = started()
    assert {file.name: (file.size, file.writable) for file in driver.fw_cfg.files} == {
        FUKI_BLOB: (6144, True),
        FUKI_CPU: (4096, True),
        FUKI_CAP: (2, False),
        FUKI_CONTROL: (1, True),
    }
    assert driver.read(FUKI_CAP, 2) == b"\x89\0"


def test_the_trigger_resets_at_once_and_the_entries_stay():
    driver = started()
    driver.machine.write(2 * MIB, b"new".ljust(KIB64, b"."))
    assert driver.write(FUKI_BLOB, pack_fuki([FIRMWARE, KERNEL])) == 0
    assert driver.machine.last_reset is None
    driver.write(FUKI_CONTROL, b"t")
    assert driver.machine.last_reset == Reset("update", 2 * MIB, KIB64)
    assert driver.machine.read(GIB4 - KIB64, 3) == b"new"
    assert driver.read(FUKI_BLOB, 24) == pack_fuki([FIRMWARE])
    assert driver.read(FUKI_CONTROL, 1) == b"\0"
    # They no longer count as given: the trigger alone does nothing.
    driver.machine.last_reset = None
    driver.write(FUKI_CONTROL, b"t")
    assert driver.machine.last_reset is None


@pytest.mark.parametrize(
    ("data", "offset"),
    [
        (pack_fuki([FIRMWARE])[:-1], 0),
        (pack_fuki([FIRMWARE]), 24),
        (pack_fuki([FIRMWARE._replace(type=0)]), 0),
        (pack_fuki([FIRMWARE._replace(type=7)]), 0),
        (pack_fuki([FIRMWARE, FIRMWARE]), 0),
        (pack_fuki([FIRMWARE._replace(map=2)]), 0),
    ],
)
def test_a_blob_that_does_not_count(data: bytes, offset: int):
    driver = started()
    assert driver.write(FUKI_BLOB, data, offset) == 0
    assert driver.machine.warnings == ()
    driver.write(FUKI_CONTROL, b"t")
    assert driver.machine.last_reset is None
    assert len(driver.machine.warnings) == (len(data) % 24 == 0 and not offset)


def test_the_entries_are_looked_at_when_the_control_byte_comes():
    driver = started()
    driver.write(FUKI_BLOB, pack_fuki([FIRMWARE, KERNEL]))
    # Does not count as a blob, and changes the bytes all the same.
    driver.write(FUKI_BLOB, b"\7", 24)
    driver.write(FUKI_CONTROL, b"t")
    assert driver.machine.last_reset is None
    assert driver.machine.warnings == ("vmfwupdate: offset 0x18: blob type 7 (expected 1 to 6, each once)",)


def test_d_switches_off_for_good_and_others_warn():
    driver = started()
    driver.write(FUKI_BLOB, pack_fuki([FIRMWARE]))
    driver.write(FUKI_CONTROL, b"x")
    assert driver.machine.warnings == ("vmfwupdate: unknown control byte 0x78",)
    driver.write(FUKI_CONTROL, b"d")
    driver.write(FUKI_CONTROL, b"t")
    assert driver.machine.last_reset is None
    driver.machine.reset()
    driver.write(FUKI_BLOB, pack_fuki([FIRMWARE]))
    driver.write(FUKI_CONTROL, b"t")
    assert driver.machine.last_reset == PLAIN
