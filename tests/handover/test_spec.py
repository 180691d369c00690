"""The hand-over by the document docs/specs/vmfwupdate.rst: its files, and what stubsim decided where it is silent."""

from __future__ import annotations

from typing import Any

import pytest

from stubsim.formats import vmfwupdate
from stubsim.formats.vmfwupdate import SPEC_BIOS_ADDR, SPEC_BIOS_SIZE, SPEC_CAP, SPEC_DISABLE, SPEC_OPAQUE
from stubsim.handover import spec
from stubsim.handover.guest import FwCfgError, Guest
from stubsim.machine.devices.device import PLAIN, Reset
from stubsim.machine.fwcfg import DMA_WRITE, Item
from tests.handover.harness import FIRMWARE, KIB64, MIB, Case, case, host, remove, steps

RESIZE = 0x01


def content(given: Case, name: str) -> bytes:
    fw_cfg = given.machine.fw_cfg
    assert fw_cfg is not None
    file = fw_cfg.find(name)
    assert file is not None
    return fw_cfg.content(file.selector)


def guest(given: Case) -> Guest:
    found = Guest(given.machine, given.machine.memory, given.trace.append)
    assert found.probe()
    return found


def write(given: Case, name: str, data: bytes) -> None:
    by = guest(given)
    file = by.find(name)
    assert file is not None
    by.write(file, data)


def test_without_the_capability_the_whole_region_is_replaced():
    """bios-size is read-only: a shorter payload is staged with zeros before it, so that it ends at 4 GiB."""
    given = case(host("spec"))
    outcome = given.hand_over("spec")
    assert outcome.status == "firmware-update"
    firmware = outcome.left[0]
    assert firmware.size == 4 * MIB
    padded = bytes(4 * MIB - len(FIRMWARE)) + FIRMWARE
    assert given.leaving.context.memory.read(firmware.gpa, firmware.size) == padded
    written = given.written()
    assert [*written] == [SPEC_OPAQUE, SPEC_BIOS_ADDR]
    assert written[SPEC_BIOS_ADDR] == firmware.gpa.to_bytes(8, "little")
    assert vmfwupdate.parse_opaque(written[SPEC_OPAQUE]) == outcome.left
    assert given.machine.last_reset == Reset("update", firmware.gpa, 4 * MIB, resize=True)
    assert given.machine.bios is not None
    assert b"".join(given.machine.bios.end(4 * MIB)) == padded


def test_with_the_capability_the_size_is_written_and_read_back():
    given = case(host("spec", device_cap=RESIZE))
    outcome = given.hand_over("spec")
    assert outcome.status == "firmware-update"
    assert outcome.left[0].size == len(FIRMWARE)
    written = given.written()
    assert [*written] == [SPEC_BIOS_SIZE, SPEC_OPAQUE, SPEC_BIOS_ADDR]
    assert written[SPEC_BIOS_SIZE] == len(FIRMWARE).to_bytes(8, "little")
    found = [step for step in steps(given.trace) if step[0] == "load" and len(step[2]) == 8]
    # bios-size, cap, and bios-size again.
    assert [int.from_bytes(step[2], "little") for step in found] == [4 * MIB, RESIZE, len(FIRMWARE)]


def test_a_size_that_is_no_multiple_of_64_kib_is_rounded_up():
    given = case(host("spec", device_cap=RESIZE), payload=b"f" * (KIB64 + 1))
    outcome = given.hand_over("spec")
    assert outcome.left[0].size == 2 * KIB64
    assert given.machine.bios is not None
    assert b"".join(given.machine.bios.end(2 * KIB64)) == bytes(KIB64 - 1) + b"f" * (KIB64 + 1)


@pytest.mark.parametrize(
    ("cap", "reason"),
    [(0, "its 131072 bytes are more than vmfwupdate/bios-size, 65536"),
     (RESIZE, "vmfwupdate/bios-size stays 65536, it does not become 131072")],
)  # fmt: skip
def test_larger_than_the_region(cap: int, reason: str):
    given = case(host("spec", device_cap=cap, device_bios_size=KIB64))
    outcome = given.hand_over("spec")
    assert outcome.status == "unavailable"
    assert f"firmware not handed over: {reason};" in (outcome.message or "")
    assert SPEC_BIOS_ADDR not in given.written()
    assert not given.machine.was_reset


@pytest.mark.parametrize("cap", [0, 0x04, 0x88])
def test_bios_size_is_read_only_without_the_bit_of_the_document(cap: int):
    """0x04 is the bit of v5's code, which the document does not know."""
    given = case(host("spec", device_cap=cap))
    with pytest.raises(FwCfgError, match=SPEC_BIOS_SIZE):
        write(given, SPEC_BIOS_SIZE, KIB64.to_bytes(8, "little"))
    assert content(given, SPEC_BIOS_SIZE) == (4 * MIB).to_bytes(8, "little")


@pytest.mark.parametrize("name", [SPEC_CAP, SPEC_BIOS_SIZE, SPEC_OPAQUE, SPEC_DISABLE, SPEC_BIOS_ADDR])
def test_a_file_that_is_missing(name: str):
    given = case(host("spec"))
    remove(given.machine, name)
    outcome = given.hand_over("spec")
    assert (outcome.status, given.written()) == ("unavailable", {})
    assert f"fw_cfg has no file {name};" in (outcome.message or "")


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"dma": False}, "fw_cfg has no DMA interface"),
        ({"dialect": None}, "fw_cfg has no file vmfwupdate/cap and no file vmfwupdate/bios-size and no file"),
        ({"device_disabled": True}, "fw_cfg has no file vmfwupdate/cap"),
        ({"dialect": "qemu-v5"}, "fw_cfg has no file vmfwupdate/cap"),
    ],
)
def test_the_kernel_is_started_where_it_cannot_be(options: dict[str, Any], reason: str):
    given = case(host(**{"dialect": "spec", **options}))
    outcome = given.hand_over("spec")
    assert (outcome.status, given.written()) == ("unavailable", {})
    assert reason in (outcome.message or "")


def test_without_fw_cfg():
    given = case(host("spec")._replace(fw_cfg=None))
    assert "no fw_cfg device" in (given.hand_over("spec").message or "")


def test_an_empty_firmware():
    given = case(host("spec"), payload=b"")
    assert given.hand_over("spec").status == "unavailable"
    assert given.written() == {}


@pytest.mark.parametrize("value", [b"\1", b"\0"])
def test_writing_any_value_disables_until_the_next_reset(value: bytes):
    given = case(host("spec"))
    write(given, SPEC_DISABLE, value)
    outcome = given.hand_over("spec")
    assert outcome.status == "unavailable"
    assert f"{SPEC_DISABLE} is set" in (outcome.message or "")
    # A write while it is set is refused.
    with pytest.raises(FwCfgError, match=SPEC_DISABLE):
        write(given, SPEC_DISABLE, b"\0")
    assert given.machine.reset() == PLAIN
    assert content(given, SPEC_DISABLE) == b"\0"
    write(given, SPEC_DISABLE, b"\1")


def test_the_reset_clears_the_address_and_keeps_the_page():
    given = case(host("spec"))
    outcome = given.hand_over("spec")
    assert content(given, SPEC_BIOS_ADDR) == bytes(8)
    assert vmfwupdate.parse_opaque(content(given, SPEC_OPAQUE)) == outcome.left
    assert given.machine.reset() == PLAIN


def test_the_second_boot_clears_the_page():
    given = case(host("spec"))
    outcome = given.hand_over("spec")
    by = guest(given)
    assert spec.read_left(by) == outcome.left
    spec.settle(by, outcome.left[0])
    assert content(given, SPEC_OPAQUE) == bytes(4096)


def test_the_writes_are_one_transfer_each():
    given = case(host("spec", device_cap=RESIZE))
    given.hand_over("spec")
    assert [step[2] for step in steps(given.trace) if step[:2] == ("dma", DMA_WRITE)] == [8, 4096, 8]


@pytest.mark.parametrize("name", [SPEC_OPAQUE, SPEC_BIOS_ADDR])
def test_the_error_bit_ends_it(name: str):
    """Where the document leaves open whether a file can be written, and the device says no."""
    from stubsim.machine.fwcfg import FwCfg

    given = case(host("spec"))
    rows: list[Item] = [item for device in given.machine.devices for item in device.items()]
    rows = [Item(item.name, bytes(item.data)) if item.name == name else item for item in rows]
    given.machine.fw_cfg = FwCfg(rows, given.machine.space)
    outcome = given.hand_over("spec")
    assert outcome.status == "unavailable"
    assert f"{name}: the device refuses" in (outcome.message or "")
    assert not given.machine.was_reset


def test_a_confidential_guest_hands_over_shared_pages_alone():
    given = case(host("spec", device_cap=RESIZE, confidential="tdx"))
    outcome = given.hand_over("spec")
    assert outcome.status == "firmware-update"
    assert all(given.leaving.context.memory.is_shared(row.gpa, row.size) for row in outcome.left)


def test_a_machine_that_is_no_pc():
    """The document does not say x86; there is no register for the reset, which is a call to the hypervisor."""
    from stubsim.formats import pe
    from tests.handover.harness import uki

    machine = next(number for number, name in pe.MACHINES.items() if name == "aa64")
    kernel = pe.build([pe.SectionSpec(".text", bytes(512))], machine=machine)
    given = case(host("spec"), uki(linux=kernel, machine=machine))
    outcome = given.hand_over("spec")
    assert outcome.status == "firmware-update"
    assert all(row.gpa >= 1 << 30 for row in outcome.left)
