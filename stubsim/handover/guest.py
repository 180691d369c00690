"""The guest's side of fw_cfg: probing, searching the directory, and DMA, register by register.

As the prototype of September 2024 (agraf/systemd, branch fuki) does it: items 0 and 1 by port, everything else by DMA,
never the select bit of a descriptor, never a transfer of length 0.
"""

from __future__ import annotations

from stubsim.machine import fwcfg
from stubsim.machine.fwcfg import DESCRIPTOR, DIRECTORY_ROW, DMA_ERROR, DMA_READ, DMA_WRITE
from stubsim.machine.hypervisor import RESET_PORT, VirtualMachine
from stubsim.trace import Access, Emit, FwCfgWritten, Staged
from stubsim.uefi.memory import Memory

# What is read by DMA lies behind the descriptor; the opaque page is the most.
_READ_AT = 64
_LARGEST_READ = 4096
_FULL_RESET = b"\x06"


class FwCfgError(Exception):
    """A transfer ended with the error bit, or there is no such file."""


class Guest:
    """The CPU that drives the device; everything it does to registers and transfer buffers is emitted.

    The device sees buffers only in shared pages of a confidential guest, the descriptor included (common buffers of
    EDKII_IOMMU_PROTOCOL). Allocating them in the machine's `memory` raises OutOfResources. `at` is a gpa for the
    descriptor that is known to be free.
    """

    def __init__(self, machine: VirtualMachine, memory: Memory, emit: Emit, *, at: int | None = None) -> None:
        self.machine = machine
        self.memory = memory
        self.emit = emit
        self.shared = memory.confidential
        self.dma = False
        self._at = at
        self._area: Staged | None = None
        self._resets = machine.resets

    def probe(self) -> bool:
        """Whether there is an fw_cfg device: the signature and a revision, by port; `dma` is set by the second."""
        if self.machine.fw_cfg is None:
            return False
        if self._read_item(fwcfg.SIGNATURE, 4) != b"QEMU":
            return False
        revision = int.from_bytes(self._read_item(fwcfg.FEATURES, 4), "little")
        self.dma = bool(revision & fwcfg.FEATURE_DMA)
        return revision >= 1

    def required(self, *names: str) -> tuple[fwcfg.File, ...]:
        """The files of a dialect that writes by DMA; raises FwCfgError for what stands against it."""
        if not self.probe():
            raise FwCfgError("the machine has no fw_cfg device")
        if not self.dma:
            raise FwCfgError("fw_cfg has no DMA interface, so nothing can be written")
        files = {name: self.find(name) for name in names}
        absent = [name for name, file in files.items() if file is None]
        if absent:
            raise FwCfgError("fw_cfg has no file " + " and no file ".join(absent))
        return tuple(file for file in files.values() if file is not None)

    def find(self, name: str) -> fwcfg.File | None:
        """Walk the directory until the name fits. The device does not say what is writable: `writable` is True."""
        self._select(fwcfg.DIRECTORY)
        count = int.from_bytes(self._read(4), "big")
        for _ in range(count):
            row = b"".join(self._read(size) for size in (4, 2, 2, 56))
            size, selector, _, raw = DIRECTORY_ROW.unpack(row)
            if raw.partition(b"\0")[0] == name.encode():
                return fwcfg.File(name, selector, size, True)
        return None

    def read(self, file: fwcfg.File, size: int) -> bytes:
        """The first bytes of a file, 4096 at most."""
        self._select(file.selector)
        return self._read(size)

    def write(self, file: fwcfg.File, data: bytes) -> None:
        """One write of the bytes to the start of a file; raises FwCfgError where the device sets the error bit.

        Without DMA they go to the data port, which QEMU ignores since 2.4: nothing is stored, and nothing tells.
        """
        if not self.dma:
            self._select(file.selector)
            for byte in data:
                self._out(self.machine.fw_cfg_registers.data, bytes((byte,)))
            return
        buffer = self.memory.stage(file.name, [data], "EfiBootServicesData", shared=self.shared)
        self.emit(buffer)
        self.emit(Access("memory", True, buffer.gpa, data))
        self._select(file.selector)
        if not self._transfer(DMA_WRITE, len(data), buffer.gpa):
            raise FwCfgError(f"{file.name}: the device refuses {len(data)} bytes (error bit)")
        self.emit(FwCfgWritten(file.name, file.selector, 0, data, buffer.gpa))

    def reset(self) -> None:
        """Ask for a cold reset: port 0xcf9 on a PC, a call to the hypervisor elsewhere, which no register shows."""
        if self.machine.is_pc:
            self._out(RESET_PORT, _FULL_RESET)
        else:
            self.machine.reset()

    def _read_item(self, selector: int, size: int) -> bytes:
        self._select(selector)
        return self._read_port(size)

    def _read(self, size: int) -> bytes:
        if not self.dma:
            return self._read_port(size)
        gpa = self._dma_area() + _READ_AT
        if not self._transfer(DMA_READ, size, gpa):
            raise FwCfgError("a read ends with the error bit")
        data = self.machine.read(gpa, size)
        self.emit(Access("memory", False, gpa, data))
        return data

    def _read_port(self, size: int) -> bytes:
        return b"".join(self._in(self.machine.fw_cfg_registers.data) for _ in range(size))

    def _select(self, selector: int) -> None:
        order = "little" if self.machine.is_pc else "big"
        self._out(self.machine.fw_cfg_registers.selector, selector.to_bytes(2, order))  # type: ignore[arg-type]

    def _transfer(self, control: int, length: int, gpa: int) -> bool:
        """Hand a descriptor over and look at its control field; whether the error bit is clear."""
        descriptor = self._dma_area()
        raw = DESCRIPTOR.pack(control, length, gpa)
        self.machine.write(descriptor, raw)
        self.emit(Access("memory", True, descriptor, raw))
        register = self.machine.fw_cfg_registers.dma
        self._out(register, (descriptor >> 32).to_bytes(4, "big"))
        self._out(register + 4, (descriptor & 0xFFFFFFFF).to_bytes(4, "big"))
        if self.machine.resets > self._resets:
            # The transfer has made the device reset the machine: nobody is there to look.
            return True
        answer = self.machine.read(descriptor, 4)
        self.emit(Access("memory", False, descriptor, answer))
        return not int.from_bytes(answer, "big") & DMA_ERROR

    def _dma_area(self) -> int:
        if self._area is None:
            self._area = self.memory.stage(
                "fw_cfg DMA descriptor",
                [bytes(_READ_AT + _LARGEST_READ)],
                "EfiBootServicesData",
                at=self._at,
                shared=self.shared,
            )
            self.emit(self._area)
        return self._area.gpa

    def _in(self, register: int) -> bytes:
        if self.machine.is_pc:
            data = self.machine.port_read(register, 1).to_bytes(1, "little")
        else:
            data = self.machine.read(register, 1)
        self.emit(Access("port" if self.machine.is_pc else "memory", False, register, data))
        return data

    def _out(self, register: int, data: bytes) -> None:
        self.emit(Access("port" if self.machine.is_pc else "memory", True, register, data))
        if self.machine.is_pc:
            self.machine.port_write(register, len(data), int.from_bytes(data, "little"))
        else:
            self.machine.write(register, data)
