"""The virtual machine around guest memory: BIOS region, fw_cfg, the devices behind its files, and the reset."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from stubsim.hosts import FwCfg as Described
from stubsim.hosts import Host
from stubsim.machine.address_space import AddressSpace, BiosRegion
from stubsim.machine.devices.device import PLAIN, Device, Reset
from stubsim.machine.devices.fuki_2024 import FukiUpdate
from stubsim.machine.devices.qemu import stock_devices, stock_items
from stubsim.machine.devices.qemu_v5 import VmFwUpdate
from stubsim.machine.devices.spec import SpecUpdate
from stubsim.machine.fwcfg import MOST_FILES, OLD_SLOTS, PORTS, VIRT, FwCfg, Item, Order, Registers, by_group, by_name
from stubsim.machine.ram import Ram

# The reset control register of the PIIX and ICH south bridges; bit 2 resets (ICH9 datasheet, 13.7.5).
RESET_PORT = 0xCF9
RESET_CPU = 0x04


class VirtualMachine:
    """One virtual machine of QEMU's kind; `fw_cfg` is None where it has none.

    `stopped` tells why the hypervisor itself ended, None while it runs; `resets` counts how often it was reset.
    """

    def __init__(
        self,
        memory: Ram,
        *,
        bios: BiosRegion | None = None,
        items: Iterable[Item] | None = (),
        devices: Sequence[Device] = (),
        dma: bool = True,
        order: Order = by_name,
        slots: int = MOST_FILES,
    ) -> None:
        self.memory = memory
        self.bios = bios
        self.devices = tuple(devices)
        self.space = AddressSpace(memory, bios)
        self.is_pc = memory.architecture in ("x64", "ia32")
        self.fw_cfg: FwCfg | None = None
        if items is not None:
            rows = [*items, *(item for device in devices for item in device.items())]
            self.fw_cfg = FwCfg(
                rows,
                self.space,
                dma=dma,
                registers=self.fw_cfg_registers,
                order=order,
                slots=slots,
            )
        self.stopped: str | None = None
        self.last_reset: Reset | None = None
        self.resets = 0

    @property
    def fw_cfg_registers(self) -> Registers:
        """Where the device's registers are on this kind of machine."""
        return PORTS if self.is_pc else VIRT

    @property
    def was_reset(self) -> bool:
        """Whether the machine was reset, or the hypervisor ended at that, since it was started."""
        return self.last_reset is not None

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the devices told the host so far; the guest sees none of it."""
        return tuple(text for device in self.devices for text in device.warnings)

    def port_read(self, port: int, size: int) -> int:
        """`in` of 1, 2 or 4 bytes; ports that nobody has read as ones."""
        if self.fw_cfg is not None and self.is_pc and self.fw_cfg.covers(port, size):
            return int.from_bytes(self.fw_cfg.load(port, size), "little")
        return (1 << 8 * size) - 1

    def port_write(self, port: int, size: int, value: int) -> None:
        """`out` of 1, 2 or 4 bytes."""
        if port == RESET_PORT and self.is_pc:
            if value & RESET_CPU:
                self.reset()
            return
        if self.fw_cfg is not None and self.is_pc and self.fw_cfg.covers(port, size):
            self.fw_cfg.store(port, value.to_bytes(size, "little"))
            self._serve_devices()

    def read(self, gpa: int, size: int) -> bytes:
        """The CPU's read of memory, or of registers that lie there; zeros where there is nothing."""
        if self._in_registers(gpa, size):
            assert self.fw_cfg is not None
            return self.fw_cfg.load(gpa, size)
        return self.space.read(gpa, size)[0]

    def write(self, gpa: int, data: bytes) -> None:
        """The CPU's write."""
        if self._in_registers(gpa, len(data)):
            assert self.fw_cfg is not None
            self.fw_cfg.store(gpa, data)
            self._serve_devices()
        else:
            self.space.write(gpa, data)

    def reset(self) -> Reset:
        """A cold reset: an update first, then the devices. Memory stays, of a confidential guest what is shared.

        Raises PrivatePage where the firmware would be taken from private memory.
        """
        wanted = next((row for row in (device.before_reset() for device in self.devices) if row != PLAIN), PLAIN)
        self.last_reset = wanted
        self.resets += 1
        if wanted.action == "abort":
            self.stopped = wanted.reason
            return wanted
        if wanted.action == "update" and self.bios is not None:
            # Nothing checks the content, and where there is no memory zeros are copied.
            self.space.check_shared(wanted.gpa, wanted.size)
            pieces = self.space.pieces(wanted.gpa, wanted.size)
            if wanted.resize:
                self.bios.size = wanted.size
            self.bios.replace_end([part for _, _, parts in pieces for part in parts])
        for device in self.devices:
            device.wants_reset = False
            device.reset()
        if self.fw_cfg is not None:
            self.fw_cfg.reset()
        self.memory.reset()
        return wanted

    def _in_registers(self, gpa: int, size: int) -> bool:
        return self.fw_cfg is not None and not self.is_pc and self.fw_cfg.covers(gpa, size)

    def _serve_devices(self) -> None:
        if any(device.wants_reset for device in self.devices):
            self.reset()


def virtual_machine(host: Host, memory: Ram) -> VirtualMachine:
    """The machine a host file describes, with the update device behind its fw_cfg where it has one."""
    described = host.fw_cfg
    if described is None:
        return VirtualMachine(memory, items=None)
    bios = None if described.vmfwupdate is None else BiosRegion(described.vmfwupdate.bios_size)
    return VirtualMachine(
        memory,
        bios=bios,
        items=stock_items(memory, legacy=described.legacy_order),
        devices=_devices(described, memory),
        dma=described.dma,
        order=by_group if described.legacy_order else by_name,
        slots=described.slots,
    )


def _devices(described: Described, memory: Ram) -> tuple[Device, ...]:
    # Machine types up to 2.8 have no SMI features to be negotiated either (pc_compat_2_8).
    stock = stock_devices(memory) if described.slots > OLD_SLOTS else ()
    device = described.vmfwupdate
    if device is None:
        return stock
    update = _UPDATE_DEVICES[device.dialect](device.bios_size, cap=device.cap, disabled=device.disabled)
    return (*stock, update)


_UPDATE_DEVICES: dict[str, Callable[..., Device]] = {
    "qemu-v5": VmFwUpdate,
    "spec": SpecUpdate,
    "fuki-2024": FukiUpdate,
}
