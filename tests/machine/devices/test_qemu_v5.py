"""The update device of the QEMU patch v5, rule by rule; all of it was seen on QEMU 10.0.13 with the patch applied."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stubsim.formats.vmfwupdate import BIOS_SIZE, CAP, DISABLE, FW_BLOB, OPAQUE_BLOB, pack_fw_blob
from stubsim.machine.devices.device import PLAIN, Reset
from stubsim.machine.devices.qemu_v5 import VmFwUpdate
from stubsim.machine.ram import GIB4
from tests.machine.driver import MIB, Driver

KIB64 = 64 << 10
REGION = 256 << 10
NO_RESIZE = "vmfwupdate: VMFWUPDATE_CAP_BIOS_RESIZE not enabled"


def started(**options: Any) -> Driver:
    region = options.pop("bios_size", REGION)
    return Driver(devices=[VmFwUpdate(region, **options)], region=region)


def reset(driver: Driver) -> Reset | None:
    driver.machine.port_write(0xCF9, 1, 0x06)
    return driver.machine.last_reset


def bios_size(driver: Driver) -> int:
    return int.from_bytes(driver.read(BIOS_SIZE, 8), "little")


def test_the_five_files_at_power_on():
    driver = started()
    assert [(file.name, file.size, file.writable) for file in driver.fw_cfg.files] == [
        (BIOS_SIZE, 8, False),
        (CAP, 8, False),
        (DISABLE, 1, True),
        (FW_BLOB, 16, True),
        (OPAQUE_BLOB, 4096, True),
    ]
    assert driver.read(CAP, 8).hex() == "8800000000000000"
    assert driver.read(BIOS_SIZE, 8).hex() == "0000040000000000"
    assert not any(driver.read(DISABLE, 1) + driver.read(FW_BLOB, 16) + driver.read(OPAQUE_BLOB, 4096))
    assert reset(driver) == PLAIN


def test_a_disabled_device_has_no_files():
    driver = started(disabled=True)
    assert driver.fw_cfg.files == ()
    assert reset(driver) == PLAIN


def test_cap_and_bios_size_refuse_writes():
    driver = started()
    for name in (CAP, BIOS_SIZE):
        before = driver.read(name, 8)
        assert driver.write(name, b"\1" * 8) == 1
        assert driver.read(name, 8) == before


def test_an_update_puts_the_firmware_at_the_end_of_the_region_and_warns():
    driver = started()
    firmware = b"FIRST".ljust(KIB64 - 4, b"\x5c") + b"LAST"
    driver.machine.write(0x200000, firmware)
    assert driver.write(FW_BLOB, pack_fw_blob(KIB64, 0x200000)) == 0
    assert driver.write(OPAQUE_BLOB, b"opaque page") == 0
    assert driver.machine.warnings == (NO_RESIZE,)
    assert reset(driver) == Reset("update", 0x200000, KIB64)
    read = driver.machine.read
    assert read(GIB4 - REGION, 16) == bytes(16)
    assert read(GIB4 - KIB64, KIB64) == firmware
    assert read(MIB - 4, 4) == b"LAST"
    assert read(0x200000, 5) == b"FIRST"
    assert bios_size(driver) == REGION


def test_nothing_is_cleared_so_a_second_reset_copies_what_lies_there_then():
    driver = started()
    driver.machine.write(0x200000, b"first".ljust(KIB64, b"."))
    driver.write(FW_BLOB, pack_fw_blob(KIB64, 0x200000))
    driver.write(OPAQUE_BLOB, b"opaque page")
    reset(driver)
    assert driver.read(FW_BLOB, 16).hex() == "00000100000000000000200000000000"
    assert driver.read(OPAQUE_BLOB, 12) == b"opaque page\0"
    driver.machine.write(0x200000, b"other")
    assert reset(driver) == Reset("update", 0x200000, KIB64)
    assert driver.machine.read(GIB4 - KIB64, 5) == b"other"
    # Unless the second boot takes the address back.
    assert driver.write(FW_BLOB, pack_fw_blob(KIB64, 0)) == 0
    assert reset(driver) == PLAIN
    assert bios_size(driver) == REGION


@pytest.mark.parametrize(("size", "gpa"), [(KIB64, 0), (0, 0x200000), (0, 0)])
def test_half_a_blob_resets_plainly(size: int, gpa: int):
    driver = started()
    driver.write(FW_BLOB, pack_fw_blob(size, gpa))
    assert reset(driver) == PLAIN


def test_disable_is_for_the_time_and_stays_over_a_reset():
    driver = started()
    assert driver.write(DISABLE, b"\x80") == 0
    # What is written while it is disabled is stored.
    assert driver.write(FW_BLOB, pack_fw_blob(KIB64, 0x200000)) == 0
    assert (reset(driver), reset(driver)) == (PLAIN, PLAIN)
    assert driver.read(DISABLE, 1) == b"\x80"
    driver.write(DISABLE, b"\0")
    assert reset(driver) == Reset("update", 0x200000, KIB64)


def test_the_address_before_the_size_sets_bios_size_to_0_for_good():
    driver = started()
    assert driver.write(FW_BLOB, (0x200000).to_bytes(8, "little"), 8) == 0
    assert (bios_size(driver), driver.machine.warnings) == (0, ())
    assert driver.write(FW_BLOB, pack_fw_blob(KIB64, 0x200000)) == 0
    assert (bios_size(driver), driver.machine.warnings) == (0, ())
    wanted = reset(driver)
    assert wanted is not None
    assert (wanted.action, wanted.reason) == (
        "abort",
        "firmware of 65536 bytes is larger than bios-size, 0 bytes",
    )
    assert driver.machine.stopped == wanted.reason


def test_the_size_before_the_address_is_fine():
    driver = started()
    assert driver.write(FW_BLOB, KIB64.to_bytes(8, "little")) == 0
    assert driver.write(FW_BLOB, (0x200000).to_bytes(8, "little"), 8) == 0
    assert driver.machine.warnings == (NO_RESIZE, NO_RESIZE)
    assert reset(driver) == Reset("update", 0x200000, KIB64)


@pytest.mark.parametrize(
    ("size", "reason"),
    [
        (KIB64 - 1, "firmware of 65535 bytes is not a multiple of 64 KiB"),
        (REGION + KIB64, "firmware of 327680 bytes is larger than bios-size, 262144 bytes"),
    ],
)
def test_what_aborts_qemu(size: int, reason: str):
    driver = started()
    assert driver.write(FW_BLOB, pack_fw_blob(size, 0x200000)) == 0
    assert reset(driver) == Reset("abort", reason=reason)
    assert driver.machine.stopped == reason


@pytest.mark.parametrize("gpa", [64 * MIB, GIB4 + MIB, 0xF000_0000])
def test_an_address_without_memory_gives_zeros(gpa: int):
    driver = started()
    assert driver.machine.bios is not None
    driver.machine.bios.replace_end([memoryview(b"\xff" * REGION)])
    driver.write(FW_BLOB, pack_fw_blob(KIB64, gpa))
    assert reset(driver) == Reset("update", gpa, KIB64)
    assert driver.machine.read(GIB4 - KIB64 - 1, KIB64 + 1) == b"\xff" + bytes(KIB64)


def test_4097_bytes_do_not_fit_into_the_opaque_page():
    driver = started()
    assert driver.write(OPAQUE_BLOB, b"\x3c" * 4096) == 0
    assert driver.write(OPAQUE_BLOB, b"\x3d" * 4097) == 1
    reset(driver)
    assert driver.read(OPAQUE_BLOB, 4096) == b"\x3c" * 4096


@pytest.mark.parametrize(("cap", "sizes"), [(0x8C, (KIB64, REGION)), (0x01, (KIB64,))])
def test_with_bios_resize_the_size_is_taken(cap: int, sizes: tuple[int, ...]):
    """v5 never offers the bit (0x04); v6, whose cap has no constant 0x80, has it as 0x01."""
    driver = started(cap=cap)
    for size in sizes:
        driver.write(FW_BLOB, pack_fw_blob(size, 0x200000))
        assert (bios_size(driver), driver.machine.warnings) == (size, ())
    driver.write(FW_BLOB, pack_fw_blob(REGION + 1, 0x200000))
    assert driver.machine.warnings == (f"vmfwupdate: bios size cannot be larger than {REGION}",)
    assert bios_size(driver) == sizes[-1]


def test_the_v6_bit_means_nothing_to_v5():
    driver = started(cap=0x89)
    driver.write(FW_BLOB, pack_fw_blob(KIB64, 0x200000))
    assert driver.machine.warnings == (NO_RESIZE,)


@given(st.lists(st.tuples(st.sampled_from((0, 8)), st.integers(0, (1 << 64) - 1)), max_size=5))
def test_bios_size_is_the_regions_or_0(writes: list[tuple[int, int]]):
    driver = started()
    expected, blob = REGION, bytearray(16)
    for offset, value in writes:
        data = value.to_bytes(8, "little")
        blob[offset : offset + 8] = data
        assert driver.write(FW_BLOB, data, offset) == 0
        if not struct.unpack_from("<Q", blob)[0]:
            expected = 0
    assert (bios_size(driver), driver.read(FW_BLOB, 16)) == (expected, bytes(blob))
