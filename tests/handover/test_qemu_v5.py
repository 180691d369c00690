"""The hand-over by qemu-v5: what is written, in which order, and what keeps it from being."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import pytest

from stubsim import handover
from stubsim.errors import StubsimError
from stubsim.formats import vmfwupdate
from stubsim.formats.efi_string import utf16z
from stubsim.formats.vmfwupdate import BIOS_SIZE, CAP, DISABLE, FW_BLOB, OPAQUE_BLOB, pack_fw_blob
from stubsim.handover import qemu_v5
from stubsim.handover.guest import Guest
from stubsim.machine.devices.device import PLAIN, Reset
from stubsim.machine.devices.qemu_v5 import VmFwUpdate
from stubsim.machine.fwcfg import DMA_READ, DMA_WRITE, Item
from stubsim.machine.ram import PrivatePage
from stubsim.trace import FwCfgWritten
from tests.handover.harness import FIRMWARE, INITRD, KIB64, MIB, Case, case, host, remove, steps, uki
from tests.stub.harness import KERNEL

NO_RESIZE = "vmfwupdate: VMFWUPDATE_CAP_BIOS_RESIZE not enabled"


def device(given: Case) -> VmFwUpdate:
    found = given.machine.devices[-1]
    assert isinstance(found, VmFwUpdate)
    return found


def write(given: Case, name: str, data: bytes) -> None:
    """As an earlier boot on this machine did."""
    guest = Guest(given.machine, given.machine.memory, [].append)
    guest.probe()
    file = guest.find(name)
    assert file is not None
    guest.write(file, data)


def test_an_update():
    given = case(host())
    outcome = given.hand_over("qemu-v5")
    assert outcome[:3] == ("firmware-update", None, None)
    staged, written = given.staged(), given.written()
    assert [*written] == [OPAQUE_BLOB, FW_BLOB]
    assert written[FW_BLOB] == pack_fw_blob(len(FIRMWARE), staged["firmware"].gpa)
    assert vmfwupdate.parse_opaque(written[OPAQUE_BLOB]) == outcome.left
    contents = {"firmware": FIRMWARE, "kernel": KERNEL, "initrd": INITRD, "cmdline": utf16z("quiet")}
    assert [row.kind for row in outcome.left] == [*contents]
    for row in outcome.left:
        content = contents[row.kind]
        assert (row.gpa, row.size, row.sha256) == (staged[row.kind].gpa, len(content), sha256(content).digest())
        assert given.leaving.context.memory.read(row.gpa, row.size) == content
    # The hypervisor has put it to the end of the region, and its host heard the warning of every proper update.
    assert given.machine.last_reset == Reset("update", staged["firmware"].gpa, len(FIRMWARE))
    assert given.machine.bios is not None
    assert b"".join(given.machine.bios.end(len(FIRMWARE) + 1)) == b"\0" + FIRMWARE
    assert given.machine.warnings == (NO_RESIZE,)


def test_the_order_on_the_wire():
    """Directory searches, disable, the page in one transfer, the blob in one transfer, and port 0xcf9."""
    given = case(host())
    given.hand_over("qemu-v5")
    found = [step for step in steps(given.trace) if step[0] in ("select", "out") or step[1] == DMA_WRITE]
    selectors = {row.name: row.selector for row in (given.machine.fw_cfg.files if given.machine.fw_cfg else ())}
    staged = given.staged()
    assert found == [
        *[("select", item) for item in (0, 1, 0x19, 0x19, 0x19)],
        ("select", selectors[DISABLE]),
        ("select", selectors[OPAQUE_BLOB]),
        ("dma", DMA_WRITE, 4096, staged[OPAQUE_BLOB].gpa, 0),
        ("select", selectors[FW_BLOB]),
        ("dma", DMA_WRITE, 16, staged[FW_BLOB].gpa, 0),
        ("out", 0xCF9, b"\6"),
    ]
    reads = {step[2] for step in steps(given.trace) if step[0] == "dma" and step[1] == DMA_READ}
    assert reads == {4, 2, 56, 1}


def test_without_initrd_and_command_line():
    given = case(host(), uki(initrd=None, cmdline=None))
    outcome = given.hand_over("qemu-v5")
    assert [row.kind for row in outcome.left] == ["firmware", "kernel"]


def test_a_confidential_guest_hands_over_shared_pages_alone():
    given = case(host(confidential="sev-snp"))
    outcome = given.hand_over("qemu-v5")
    assert outcome.status == "firmware-update"
    memory = given.leaving.context.memory
    assert all(memory.is_shared(row.gpa, row.size) for row in outcome.left)
    staged = given.staged()
    assert all(staged[name].shared for name in (*(row.kind for row in outcome.left), OPAQUE_BLOB, FW_BLOB))
    # The initrd that the stub had prepared lies in private pages, so it is another one that is handed over.
    pages = given.leaving.prepared.initrd_pages
    assert pages is not None
    assert pages.gpa != staged["initrd"].gpa
    assert not memory.is_shared(pages.gpa, pages.size)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"dma": False}, "fw_cfg has no DMA interface, so nothing can be written"),
        ({"dialect": None}, f"fw_cfg has no file {OPAQUE_BLOB} and no file {FW_BLOB}"),
        ({"device_disabled": True}, f"fw_cfg has no file {OPAQUE_BLOB} and no file {FW_BLOB}"),
        ({"dialect": "spec"}, f"fw_cfg has no file {OPAQUE_BLOB}"),
    ],
)
def test_the_kernel_is_started_where_it_cannot_be(options: dict[str, Any], reason: str):
    given = case(host(**options))
    outcome = given.hand_over("qemu-v5")
    assert outcome.status == "unavailable"
    assert outcome.message is not None
    assert f"firmware not handed over: {reason}" in outcome.message
    assert "stubsim's own decision" in outcome.message
    assert given.written() == {}
    assert not given.machine.was_reset


def test_without_fw_cfg():
    given = case(host()._replace(fw_cfg=None))
    assert "no fw_cfg device" in (given.hand_over("qemu-v5").message or "")


@pytest.mark.parametrize("name", [OPAQUE_BLOB, FW_BLOB])
def test_a_file_that_is_missing(name: str):
    given = case(host())
    remove(given.machine, name)
    outcome = given.hand_over("qemu-v5")
    assert (outcome.status, given.written()) == ("unavailable", {})
    assert f"fw_cfg has no file {name};" in (outcome.message or "")


@pytest.mark.parametrize("names", [(DISABLE,), (CAP,), (BIOS_SIZE,), (CAP, BIOS_SIZE, DISABLE)])
def test_files_that_nobody_needs(names: tuple[str, ...]):
    given = case(host())
    remove(given.machine, *names)
    assert given.hand_over("qemu-v5").status == "firmware-update"


def test_v6_offers_no_bit_and_takes_the_update():
    """A guest must not require the constant bit of v5."""
    given = case(host(device_cap=0))
    assert given.hand_over("qemu-v5").status == "firmware-update"


@pytest.mark.parametrize("value", [b"\1", b"\x80"])
def test_a_device_that_was_switched_off(value: bytes):
    given = case(host())
    write(given, DISABLE, value)
    outcome = given.hand_over("qemu-v5")
    assert (outcome.status, given.written()) == ("unavailable", {})
    assert f"{DISABLE} is set" in (outcome.message or "")
    write(given, DISABLE, b"\0")
    assert given.hand_over("qemu-v5").status == "firmware-update"


def test_an_empty_firmware_would_lose_bios_size_for_good():
    given = case(host(), payload=b"")
    outcome = given.hand_over("qemu-v5")
    assert (outcome.status, given.written()) == ("unavailable", {})
    assert device(given).bios_size == 4 * MIB


@pytest.mark.parametrize(
    ("size", "region", "reason"),
    [
        (KIB64 - 1, 4 * MIB, "firmware of 65535 bytes is not a multiple of 64 KiB"),
        (1, 4 * MIB, "firmware of 1 bytes is not a multiple of 64 KiB"),
        (2 * KIB64, KIB64, "firmware of 131072 bytes is larger than bios-size, 65536 bytes"),
    ],
)
def test_the_hypervisor_aborts_at_the_reset(size: int, region: int, reason: str):
    given = case(host(device_bios_size=region), payload=bytes(size))
    outcome = given.hand_over("qemu-v5")
    assert outcome[:3] == ("hypervisor-abort", f"the hypervisor aborts at the reset: {reason}", None)
    assert given.machine.warnings == (NO_RESIZE,)
    assert [*given.written()] == [OPAQUE_BLOB, FW_BLOB]


def test_a_firmware_of_the_whole_region_fits():
    given = case(host(device_bios_size=KIB64), payload=bytes(KIB64))
    assert given.hand_over("qemu-v5").status == "firmware-update"


def test_a_host_without_a_bios_region_looks_at_no_size():
    """bios-size 0, as with a machine whose firmware is no ROM: the device's first rule; the second assertion aborts."""
    given = case(host(device_bios_size=0))
    outcome = given.hand_over("qemu-v5")
    assert outcome.status == "hypervisor-abort"
    assert "larger than bios-size, 0 bytes" in (outcome.message or "")
    assert given.machine.warnings == ()


def test_a_blob_whose_address_came_first_spoils_every_later_update():
    given = case(host())
    write(given, FW_BLOB, pack_fw_blob(0, 0x200000))
    outcome = given.hand_over("qemu-v5")
    assert outcome.status == "hypervisor-abort"
    assert "bios-size, 0 bytes" in (outcome.message or "")


@pytest.mark.parametrize(("cap", "expected"), [(0x8C, KIB64 * 2), (0x01, KIB64 * 2), (0x88, 4 * MIB), (0x04, 4 * MIB)])
def test_bios_resize_changes_the_platforms_size(cap: int, expected: int):
    """v5 has it as 0x04 beside the constant 0x80, v6 as 0x01; without it the size stays, with a warning."""
    given = case(host(device_cap=cap))
    assert given.hand_over("qemu-v5").status == "firmware-update"
    assert device(given).bios_size == expected
    assert given.machine.warnings == ((NO_RESIZE,) if expected == 4 * MIB else ())


def test_nothing_of_the_device_is_cleared_so_that_a_second_reset_copies_again():
    given = case(host())
    outcome = given.hand_over("qemu-v5")
    firmware = outcome.left[0]
    given.leaving.context.memory.place(firmware.gpa, [b"whatever lies there then"])
    assert given.machine.reset() == Reset("update", firmware.gpa, firmware.size)
    assert given.machine.bios is not None
    assert bytes(given.machine.bios.end(firmware.size)[0]).startswith(b"whatever")


def test_settled_a_second_reset_is_plain():
    given = case(host())
    outcome = given.hand_over("qemu-v5")
    guest = Guest(given.machine, given.machine.memory, given.trace.append)
    guest.probe()
    qemu_v5.settle(guest, outcome.left[0])
    assert given.machine.reset() == PLAIN
    assert device(given).bios_size == 4 * MIB
    assert given.written()[FW_BLOB] == pack_fw_blob(len(FIRMWARE), 0)


@pytest.mark.parametrize("gpa", [1 << 40, 0xF000_0000])
def test_an_address_outside_of_memory_gives_zeros(gpa: int):
    """A guest that lies, or errs: nothing checks the content, and there is no error."""
    given = case(host())
    write(given, FW_BLOB, pack_fw_blob(KIB64, gpa))
    assert given.machine.bios is not None
    given.machine.bios.replace_end([memoryview(b"\xff" * 2 * KIB64)])
    assert given.machine.reset().action == "update"
    assert b"".join(given.machine.bios.end(2 * KIB64)) == b"\xff" * KIB64 + bytes(KIB64)


def test_an_address_in_private_memory_is_an_error_of_the_simulation():
    given = case(host(confidential="sev-snp"))
    gpa = given.leaving.context.memory.allocate(KIB64, "EfiLoaderData")
    write(given, FW_BLOB, pack_fw_blob(KIB64, gpa))
    with pytest.raises(PrivatePage, match=f"{gpa:#x}"):
        given.machine.reset()


def replaced(given: Case, *items: Item) -> None:
    """Files of these names, with no device behind them."""
    from stubsim.machine.fwcfg import FwCfg

    given.machine.fw_cfg = FwCfg(items, given.machine.space)


@pytest.mark.parametrize(
    ("items", "name"),
    [
        ((Item(OPAQUE_BLOB, bytes(4095), True), Item(FW_BLOB, bytes(16), True)), OPAQUE_BLOB),
        ((Item(OPAQUE_BLOB, bytes(4096), True), Item(FW_BLOB, bytes(16))), FW_BLOB),
    ],
)
def test_the_error_bit_ends_it(items: tuple[Item, ...], name: str):
    given = case(host())
    replaced(given, *items)
    outcome = given.hand_over("qemu-v5")
    assert outcome.status == "unavailable"
    assert f"{name}: the device refuses" in (outcome.message or "")
    assert not given.machine.was_reset
    assert not [row for row in given.trace if isinstance(row, FwCfgWritten) and row.file == name]


def test_the_table_of_dialects():
    for name in handover.DIALECTS:
        about = handover.dialect(name).about
        assert about.name == name
        assert about.decisions
    with pytest.raises(StubsimError, match="unknown hand-over 'qemu-v9'") as error:
        handover.dialect("qemu-v9")
    assert error.value.expected == "one of qemu-v5, spec, fuki-2024, capsule, none"
