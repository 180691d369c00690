"""The hand-over by qemu-v5: what is written, in which order, and how it ends."""

from __future__ import annotations

from hashlib import sha256
from itertools import pairwise

import pytest

from stubsim import handover
from stubsim.errors import StubsimError
from stubsim.formats import vmfwupdate
from stubsim.handover import qemu_v5
from stubsim.machine.fwcfg import FwCfg, Item
from stubsim.machine.hypervisor import VmFwUpdate
from stubsim.machine.memory import Memory, OutOfResources
from stubsim.trace import Event, FwCfgWritten, Staged

KIB64 = 64 << 10
MIB = 1 << 20
NO_RESIZE = "vmfwupdate: VMFWUPDATE_CAP_BIOS_RESIZE not enabled"


def run(
    fw_cfg: FwCfg, firmware: bytes = bytes(KIB64), *, shared: bool = False
) -> tuple[qemu_v5.Outcome, list[Event], Memory, list[tuple[str, Staged, bytes]]]:
    memory = Memory(256 * MIB)
    contents = (("firmware", firmware), ("kernel", b"MZ kernel"), ("initrd", b"0707"), ("cmdline", b"quiet\0"))
    staged = [
        (kind, memory.stage(kind, [data], "EfiLoaderData", shared=shared), sha256(data).digest())
        for kind, data in contents
    ]
    events: list[Event] = []
    return qemu_v5.hand_over(fw_cfg, memory, staged, events.append), events, memory, staged


@pytest.mark.parametrize("shared", [False, True])
def test_an_update(shared: bool):
    device = VmFwUpdate(4 * MIB)
    fw_cfg = FwCfg([Item("bootorder", b""), Item("genroms/kvmvapic.bin", bytes(9216))], device=device)
    outcome, events, memory, staged = run(fw_cfg, shared=shared)
    assert outcome == qemu_v5.Outcome("firmware-update", None, (NO_RESIZE,))
    page, opaque, buffer, blob = events
    assert isinstance(page, Staged)
    assert isinstance(opaque, FwCfgWritten)
    assert isinstance(buffer, Staged)
    assert isinstance(blob, FwCfgWritten)
    assert (opaque.file, opaque.selector, opaque.offset, opaque.gpa) == (
        "etc/vmfwupdate/opaque-blob",
        0x25,
        0,
        page.gpa,
    )
    assert (blob.file, blob.selector, blob.offset, blob.gpa) == ("etc/vmfwupdate/fw-blob", 0x24, 0, buffer.gpa)
    assert blob.data == KIB64.to_bytes(8, "little") + staged[0][1].gpa.to_bytes(8, "little")
    assert (page.shared, buffer.shared) == (shared, shared)
    assert memory.read(page.gpa, 4096) == opaque.data == device.opaque
    assert memory.read(buffer.gpa, 16) == blob.data
    ranges = sorted((row.gpa, row.gpa + row.size) for row in (page, buffer, *(row for _, row, _ in staged)))
    assert all(low[1] <= high[0] for low, high in pairwise(ranges))


def test_the_next_boot_finds_everything_again():
    device = VmFwUpdate(4 * MIB)
    _, _, memory, staged = run(FwCfg(device=device), b"firmware".ljust(KIB64, b"!"))
    memory.reset()
    left = vmfwupdate.parse_opaque(device.opaque)
    assert [row.kind for row in left] == ["firmware", "kernel", "initrd", "cmdline"]
    for row, (_, where, digest) in zip(left, staged, strict=True):
        assert (row.gpa, row.size, row.sha256) == (where.gpa, where.size, digest)
        assert sha256(memory.read(row.gpa, row.size)).digest() == digest
    assert device.reset()[1:3] == (left[0].gpa, left[0].size)


@pytest.mark.parametrize(
    ("size", "region", "reason"),
    [
        (KIB64 - 1, 4 * MIB, "65535 bytes is not a multiple of 64 KiB"),
        (2 * KIB64, KIB64, "larger than bios-size, 65536"),
    ],
)
def test_the_hypervisor_aborts(size: int, region: int, reason: str):
    outcome, events, _, _ = run(FwCfg(device=VmFwUpdate(region)), bytes(size))
    assert (outcome.status, outcome.warnings) == ("hypervisor-abort", (NO_RESIZE,))
    assert outcome.message is not None
    assert reason in outcome.message
    assert len([event for event in events if isinstance(event, FwCfgWritten)]) == 2


@pytest.mark.parametrize(
    ("fw_cfg", "reason"),
    [
        (FwCfg(device=VmFwUpdate(MIB), dma=False), "no DMA interface"),
        (FwCfg(), "no file etc/vmfwupdate/opaque-blob and no file etc/vmfwupdate/fw-blob"),
        (FwCfg(device=VmFwUpdate(MIB, disabled=True)), "no file etc/vmfwupdate/opaque-blob"),
        (FwCfg([Item(vmfwupdate.OPAQUE_BLOB, bytes(4096), True)]), "no file etc/vmfwupdate/fw-blob"),
    ],
)
def test_without_the_device_the_boot_goes_on(fw_cfg: FwCfg, reason: str):
    outcome, events, _, _ = run(fw_cfg)
    assert (outcome.status, outcome.warnings, events) == ("unavailable", (), [])
    assert outcome.message is not None
    assert reason in outcome.message
    assert "stubsim's own decision" in outcome.message


def test_no_dead_end_is_entered():
    """An empty firmware would lose bios-size for good; a device that is switched off would reset plainly."""
    device = VmFwUpdate(MIB)
    outcome, events, _, _ = run(FwCfg(device=device), b"")
    assert (outcome.status, events, device.bios_size) == ("unavailable", [], MIB)
    fw_cfg = FwCfg(device=device)
    fw_cfg.write(vmfwupdate.DISABLE, b"\1")
    outcome, events, _, _ = run(fw_cfg)
    assert (outcome.status, events) == ("unavailable", [])
    assert outcome.message is not None
    assert "disable is set" in outcome.message


def test_the_devices_error_bit_ends_it():
    files = [Item(vmfwupdate.OPAQUE_BLOB, bytes(4095), True), Item(vmfwupdate.FW_BLOB, bytes(16), True)]
    outcome, events, _, _ = run(FwCfg(files))
    assert outcome.status == "unavailable"
    assert outcome.message is not None
    assert "4096 bytes at offset 0" in outcome.message
    assert not [event for event in events if isinstance(event, FwCfgWritten)]


def test_files_without_a_device_behind_do_nothing():
    files = [Item(vmfwupdate.OPAQUE_BLOB, bytes(4096), True), Item(vmfwupdate.FW_BLOB, bytes(16), True)]
    assert run(FwCfg(files))[0].status == "unavailable"


def test_wrong_calls():
    fw_cfg, memory = FwCfg(device=VmFwUpdate(MIB)), Memory(64 * MIB)
    kernel = memory.stage("kernel", [b"k"], "EfiLoaderData")
    with pytest.raises(ValueError, match="not enough values"):
        qemu_v5.hand_over(fw_cfg, memory, [("kernel", kernel, bytes(32))], [].append)
    with pytest.raises(StubsimError, match="no place in the opaque page"):
        qemu_v5.hand_over(fw_cfg, memory, [("firmware", kernel, bytes(32)), ("x", kernel, bytes(32))], [].append)
    with pytest.raises(OutOfResources):
        qemu_v5.hand_over(fw_cfg, Memory(0), [("firmware", kernel, bytes(32))], [].append)


def test_the_table_of_dialects():
    assert handover.dialect("qemu-v5") is qemu_v5
    assert "no released stub" in qemu_v5.PROPOSAL
    with pytest.raises(StubsimError, match="qemu-v5"):
        handover.dialect("qemu-v9")
