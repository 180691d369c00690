"""The hand-over by the files of the QEMU patch "hw/misc/vmfwupdate" v5."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from stubsim.formats import vmfwupdate
from stubsim.machine.fwcfg import FwCfg, FwCfgError
from stubsim.machine.memory import Memory
from stubsim.trace import Emit, FwCfgWritten, Staged

PROPOSAL = (
    'qemu-v5 is a proposed protocol, the QEMU patch "hw/misc/vmfwupdate" v5 of 29 January 2025 (quoted in systemd '
    "pull request 35091): no released stub performs this hand-over and no released QEMU has the device"
)
_AND_SO = "the kernel is started as without an update (stubsim's own decision, the proposal says nothing)"


class Outcome(NamedTuple):
    """How the hand-over ended; `warnings` is what the hypervisor told its host.

    status: "firmware-update" (the machine starts again on the new firmware), "hypervisor-abort" (the virtual
    machine is gone), "unavailable" (nothing was asked for: the boot goes on to the kernel).
    """

    status: str
    message: str | None
    warnings: tuple[str, ...]


def hand_over(fw_cfg: FwCfg, memory: Memory, staged: Sequence[tuple[str, Staged, bytes]], emit: Emit) -> Outcome:
    """Tell the hypervisor where the staged ranges are, and reset.

    `staged` holds (kind, range, SHA-256 of its content) with the kinds of formats.vmfwupdate.KINDS; exactly one is
    the firmware (else ValueError). The opaque page goes first, then the firmware's size and address in ONE write of
    16 bytes: written apart, address first, the device would set bios-size to 0 for good. Raises OutOfResources when
    there is no memory for the two buffers, StubsimError for ranges that do not fit into the opaque page.
    """
    (firmware,) = [where for kind, where, _ in staged if kind == "firmware"]
    missing = _missing(fw_cfg, firmware)
    if missing:
        return Outcome("unavailable", f"firmware not handed over: {missing}; {_AND_SO}", fw_cfg.warnings)
    page = vmfwupdate.build_opaque([vmfwupdate.Left(kind, row.gpa, row.size, digest) for kind, row, digest in staged])
    blob = vmfwupdate.pack_fw_blob(firmware.size, firmware.gpa)
    # The device reads both buffers, so in a confidential guest they must be shared, as the ranges it is told of are.
    shared = any(row.shared for _, row, _ in staged)
    for name, data in ((vmfwupdate.OPAQUE_BLOB, page), (vmfwupdate.FW_BLOB, blob)):
        error = _write(fw_cfg, memory, name, data, shared=shared, emit=emit)
        if error:
            return Outcome("unavailable", f"firmware not handed over: {error}; {_AND_SO}", fw_cfg.warnings)
    reset = fw_cfg.reset()
    if reset.action == "abort":
        return Outcome("hypervisor-abort", f"the hypervisor aborts at the reset: {reset.reason}", fw_cfg.warnings)
    if reset.action != "update":
        # Cannot come from the qemu-v5 device after the checks above.
        return Outcome("unavailable", f"the hypervisor did not take the firmware; {_AND_SO}", fw_cfg.warnings)
    return Outcome("firmware-update", None, fw_cfg.warnings)


def _missing(fw_cfg: FwCfg, firmware: Staged) -> str | None:
    """What stands against a hand-over, as far as the guest can see it; None: nothing."""
    if not fw_cfg.dma:
        return "fw_cfg has no DMA interface, so nothing can be written"
    files = (vmfwupdate.OPAQUE_BLOB, vmfwupdate.FW_BLOB)
    absent = [name for name in files if fw_cfg.find(name) is None]
    if absent:
        return "fw_cfg has no file " + " and no file ".join(absent)
    if not firmware.size:
        return "it is empty, and a size of 0 would set bios-size to 0 for good"
    disable = vmfwupdate.DISABLE
    if fw_cfg.find(disable) and any(fw_cfg.read(disable)):
        return f"{disable} is set"
    return None


def _write(fw_cfg: FwCfg, memory: Memory, name: str, data: bytes, *, shared: bool, emit: Emit) -> str | None:
    """Put the bytes into a page of their own and write them in one transfer; the device's error, if any."""
    file = fw_cfg.find(name)
    assert file is not None
    buffer = memory.stage(name, [data], "EfiBootServicesData", shared=shared)
    emit(buffer)
    try:
        fw_cfg.write(name, data)
    except FwCfgError as error:
        return str(error)
    emit(FwCfgWritten(name, file.selector, 0, data, buffer.gpa))
    return None
