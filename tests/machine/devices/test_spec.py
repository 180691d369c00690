"""The update device of docs/specs/vmfwupdate.rst: what it says, and what stubsim decided where it says nothing."""

from __future__ import annotations

from typing import Any

import pytest

from stubsim.formats.vmfwupdate import SPEC_BIOS_ADDR, SPEC_BIOS_SIZE, SPEC_CAP, SPEC_DISABLE, SPEC_OPAQUE
from stubsim.machine.devices.device import PLAIN, Reset
from stubsim.machine.devices.spec import SpecUpdate
from stubsim.machine.ram import GIB4
from tests.machine.driver import MIB, Driver

KIB64 = 64 << 10
REGION = 256 << 10


def started(**options: Any) -> Driver:
    return Driver(devices=[SpecUpdate(REGION, **options)], region=REGION)


def number(driver: Driver, name: str) -> int:
    return int.from_bytes(driver.read(name, 8), "little")


def u64(value: int) -> bytes:
    return value.to_bytes(8, "little")


def reset(driver: Driver) -> Reset | None:
    driver.machine.reset()
    return driver.machine.last_reset


@pytest.mark.parametrize("cap", [0, 1])
def test_the_files(cap: int):
    driver = started(cap=cap)
    assert {file.name: (file.size, file.writable) for file in driver.fw_cfg.files} == {
        SPEC_CAP: (8, False),
        SPEC_BIOS_SIZE: (8, bool(cap)),
        SPEC_OPAQUE: (4096, True),
        SPEC_DISABLE: (1, True),
        SPEC_BIOS_ADDR: (8, True),
    }
    assert (number(driver, SPEC_CAP), number(driver, SPEC_BIOS_SIZE)) == (cap, REGION)
    assert started(disabled=True).fw_cfg.files == ()


def test_the_region_gets_bios_size_bytes_and_the_address_is_taken_back():
    driver = started()
    driver.machine.write(2 * MIB, bytes(range(256)) * 1024)
    assert driver.write(SPEC_BIOS_ADDR, u64(2 * MIB)) == 0
    assert driver.write(SPEC_OPAQUE, b"mine") == 0
    assert reset(driver) == Reset("update", 2 * MIB, REGION, resize=True)
    assert driver.machine.read(GIB4 - REGION, 256) == bytes(range(256))
    assert (number(driver, SPEC_BIOS_ADDR), driver.read(SPEC_OPAQUE, 4)) == (0, b"mine")
    assert reset(driver) == PLAIN


def test_without_the_capability_bios_size_is_read_only():
    driver = started()
    assert driver.write(SPEC_BIOS_SIZE, u64(KIB64)) == 1
    assert number(driver, SPEC_BIOS_SIZE) == REGION


@pytest.mark.parametrize(("size", "taken"), [(KIB64, True), (0, False), (KIB64 + 1, False), (REGION + KIB64, False)])
def test_with_it_a_size_that_fits_is_taken_and_another_reads_back_as_before(size: int, taken: bool):
    driver = started(cap=1)
    assert driver.write(SPEC_BIOS_SIZE, u64(size)) == 0
    assert number(driver, SPEC_BIOS_SIZE) == (size if taken else REGION)
    assert driver.machine.bios is not None
    driver.machine.bios.replace_end([memoryview(b"\xff" * REGION)])
    driver.write(SPEC_BIOS_ADDR, u64(2 * MIB))
    reset(driver)
    assert number(driver, SPEC_BIOS_SIZE) == (size if taken else REGION)
    # The region starts at 4 GiB - bios-size: before it there is nothing.
    assert driver.machine.bios.start == GIB4 - (size if taken else REGION)
    assert driver.machine.space.read(GIB4 - KIB64 - 1, 1) == (b"\0", not taken)


def test_any_value_disables_until_the_reset():
    driver = started()
    driver.write(SPEC_BIOS_ADDR, u64(2 * MIB))
    assert driver.write(SPEC_DISABLE, b"\0") == 0
    assert driver.read(SPEC_DISABLE, 1) == b"\1"
    assert driver.write(SPEC_DISABLE, b"\0") == 1
    assert driver.write(SPEC_BIOS_ADDR, u64(3 * MIB)) == 0
    assert reset(driver) == PLAIN
    assert driver.read(SPEC_DISABLE, 1) == b"\0"
    assert number(driver, SPEC_BIOS_ADDR) == 0


def test_an_address_outside_of_memory_gives_zeros():
    driver = started()
    assert driver.machine.bios is not None
    driver.machine.bios.replace_end([memoryview(b"\xff" * 16)])
    driver.write(SPEC_BIOS_ADDR, u64(1 << 40))
    reset(driver)
    assert driver.machine.read(GIB4 - 16, 16) == bytes(16)
