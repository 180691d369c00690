"""A CPU that drives fw_cfg by hand: ports, descriptors, and buffers at fixed gpas."""

from __future__ import annotations

from collections.abc import Sequence

from stubsim.machine.address_space import BiosRegion
from stubsim.machine.devices.device import Device
from stubsim.machine.fwcfg import DESCRIPTOR, DMA_READ, DMA_SELECT, DMA_SKIP, DMA_WRITE, Item
from stubsim.machine.hypervisor import VirtualMachine
from stubsim.uefi.memory import Memory

DESCRIPTOR_AT, BUFFER_AT = 0x10000, 0x20000
MIB = 1 << 20


class Driver:
    def __init__(self, *items: Item, devices: Sequence[Device] = (), region: int = 256 << 10, dma: bool = True) -> None:
        self.machine = VirtualMachine(Memory(64 * MIB), bios=BiosRegion(region), items=items, devices=devices, dma=dma)
        assert self.machine.fw_cfg is not None
        self.fw_cfg = self.machine.fw_cfg

    def select(self, name: str | int) -> None:
        file = None if isinstance(name, int) else self.fw_cfg.find(name)
        self.machine.port_write(0x510, 2, name if isinstance(name, int) else file.selector if file else 0xFFFF)

    def bytes(self, size: int) -> bytes:
        return bytes(self.machine.port_read(0x511, 1) for _ in range(size))

    def transfer(self, control: int, length: int, gpa: int, *, descriptor: int = DESCRIPTOR_AT) -> int:
        """The control field after it."""
        self.machine.write(descriptor, DESCRIPTOR.pack(control, length, gpa))
        for port, value in ((0x514, descriptor >> 32), (0x518, descriptor & 0xFFFFFFFF)):
            self.machine.port_write(port, 4, int.from_bytes(value.to_bytes(4, "big"), "little"))
        after = DESCRIPTOR.unpack(self.machine.read(descriptor, DESCRIPTOR.size))
        if descriptor == DESCRIPTOR_AT:
            assert after[1:] == (length, gpa)
        return int(after[0])

    def read(self, name: str | int, size: int) -> bytes:
        self.select(name)
        return self.bytes(size)

    def write(self, name: str, data: bytes, offset: int = 0) -> int:
        """Select, skip to the offset, write: the control field, 0 for success, 1 for an error."""
        self.machine.write(BUFFER_AT, data)
        self.select(name)
        if offset:
            assert self.transfer(DMA_SKIP, offset, 0) == 0
        return self.transfer(DMA_WRITE, len(data), BUFFER_AT)


__all__ = ["BUFFER_AT", "DESCRIPTOR_AT", "DMA_READ", "DMA_SELECT", "DMA_SKIP", "DMA_WRITE", "MIB", "Driver"]
