"""QEMU's fw_cfg device to the register: selector, data and DMA registers, the directory, the files.

The rules are those of QEMU's docs/specs/fw_cfg.rst and hw/nvram/fw_cfg.c, seen on QEMU 7.2.22 and 10.0.13. What the
guest does with the registers is in `stubsim.handover.guest`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from stubsim.machine.address_space import AddressSpace
from stubsim.rows import NamedTuple

SIGNATURE = 0x0000
FEATURES = 0x0001
DIRECTORY = 0x0019
FIRST_FILE = 0x0020
# How many files a device holds, and one of a machine type up to 2.8 (hw/core/machine.c, hw_compat_2_8).
MOST_FILES, OLD_SLOTS = 32, 16
LONGEST_NAME = 55
FEATURE_PORTS, FEATURE_DMA = 1, 2
DIRECTORY_ROW = struct.Struct(">IHH56s")

# Bit 14 once asked for writing by the data port; bit 15 picks the table of the architecture.
_WRITE_CHANNEL, _ARCHITECTURE = 0x4000, 0x8000

DMA_ERROR, DMA_READ, DMA_SKIP, DMA_SELECT, DMA_WRITE = 1, 2, 4, 8, 16
DESCRIPTOR = struct.Struct(">IIQ")
DMA_SIGNATURE = b"QEMU CFG"


class Item(NamedTuple):
    """What the hypervisor puts behind a file name.

    A bytearray is used as it is, so the device it belongs to sees each write; `written` is then told offset and length
    in bytes. `locked` tells whether a writable file takes no writes at the moment; `selected` is told of a selection.
    `group` is where the directory of an old machine type has it, None where that goes by the name.
    """

    name: str
    data: bytes | bytearray
    writable: bool = False
    written: Callable[[int, int], None] | None = None
    locked: Callable[[], bool] | None = None
    selected: Callable[[], None] | None = None
    group: int | None = None


class File(NamedTuple):
    """A row of the directory; size in bytes. A real directory does not say what is writable."""

    name: str
    selector: int
    size: int
    writable: bool


# Directory order of machine types up to pc-2.5 (hw/nvram/fw_cfg.c up to QEMU 10.0, fw_cfg_order and
# FW_CFG_ORDER_OVERRIDE_*): files of a group stay in the order in which they are added, what has no group comes last.
GROUP_VGA, GROUP_NIC, GROUP_USER, GROUP_DEVICE, _GROUP_LAST = 70, 80, 100, 110, 200
_GROUPS = {
    "etc/boot-menu-wait": 10,
    "bootsplash.jpg": 11,
    "bootsplash.bmp": 12,
    "etc/boot-fail-wait": 15,
    "etc/smbios/smbios-tables": 20,
    "etc/smbios/smbios-anchor": 30,
    "etc/e820": 40,
    "etc/reserved-memory-end": 50,
    "genroms/kvmvapic.bin": 55,
    "genroms/linuxboot.bin": 60,
    "etc/system-states": 90,
    "etc/extra-pci-roots": 120,
    "etc/acpi/tables": 130,
    "etc/table-loader": 140,
    "etc/tpm/log": 150,
    "etc/acpi/rsdp": 160,
    "bootorder": 170,
    "etc/msr_feature_control": 180,
}


class Registers(NamedTuple):
    """Where the registers are: I/O ports or addresses."""

    ports: bool
    selector: int
    data: int
    dma: int


PORTS = Registers(ports=True, selector=0x510, data=0x511, dma=0x514)
# QEMU's virt machine for Arm; its registers are big endian, and the data keep the order of the string.
VIRT = Registers(ports=False, selector=0x0902_0008, data=0x0902_0000, dma=0x0902_0010)


Order = Callable[[Item], Any]


def by_name(item: Item) -> bytes:
    """Selectors go up in byte order of the names, in whatever order the files were added."""
    return item.name.encode()


def by_group(item: Item) -> int:
    """The directory's order of machine types up to pc-2.5."""
    return _GROUPS.get(item.name, _GROUP_LAST) if item.group is None else item.group


class FwCfg:
    """The device. `space` is the guest's memory as it sees it; `dma` is False where it has no such interface.

    `order` is the directory's: `by_name`, or on machine types up to pc-2.5 `by_group`. Raises ValueError for a name
    given twice, one longer than 55 bytes, or more files than there are slots.
    """

    def __init__(
        self,
        items: Iterable[Item],
        space: AddressSpace,
        *,
        dma: bool = True,
        registers: Registers = PORTS,
        order: Order = by_name,
        slots: int = MOST_FILES,
    ) -> None:
        self.space = space
        self.dma = dma
        self.registers = registers
        rows = sorted(items, key=order)
        names = [row.name for row in rows]
        if len(set(names)) < len(names) or len(names) > slots:
            raise ValueError(f"fw_cfg holds at most {slots} files of different names, not {names}")
        if any(not 0 < len(name.encode()) <= LONGEST_NAME or "\0" in name for name in names):
            raise ValueError(f"an fw_cfg file name has 1 to {LONGEST_NAME} bytes, none of them NUL: {names}")
        self._items = {FIRST_FILE + index: _thawed(row) for index, row in enumerate(rows)}
        self.files = tuple(File(row.name, key, len(row.data), row.writable) for key, row in self._items.items())
        features = FEATURE_PORTS | (FEATURE_DMA if dma else 0)
        self._items[SIGNATURE] = Item("", b"QEMU")
        self._items[FEATURES] = Item("", features.to_bytes(4, "little"))
        self._items[DIRECTORY] = Item("", directory(self.files))
        self._selected: Item | None = None
        self._offset = 0
        self._dma_address = 0
        self.reset()

    def reset(self) -> None:
        """Item 0 is selected; files stay as they are unless their device says otherwise."""
        self._select(SIGNATURE)

    def find(self, name: str) -> File | None:
        """The directory's row of that name."""
        return next((file for file in self.files if file.name == name), None)

    def content(self, selector: int) -> bytes:
        """All bytes of an item as they are now; an item nobody uses has none."""
        item = self._items.get(selector)
        return b"" if item is None else bytes(item.data)

    def covers(self, address: int, size: int) -> bool:
        """Whether an access to these ports, or guest addresses, touches a register."""
        start = self.registers.selector if self.registers.ports else self.registers.data
        return address < self.registers.dma + len(DMA_SIGNATURE) and address + size > start

    def load(self, address: int, size: int) -> bytes:
        """What the CPU gets from `size` bytes of ports or memory at an address, in ascending order of addresses."""
        data = b""
        for register, offset, width in self._accesses(address, size):
            data += self._load(register, offset, width)
        return data

    def store(self, address: int, data: bytes) -> None:
        """The CPU's write of bytes in ascending order of addresses; a transfer is over when this returns."""
        position = 0
        for register, offset, width in self._accesses(address, len(data)):
            self._store(register, offset, data[position : position + width])
            position += width

    def _accesses(self, address: int, size: int) -> Iterable[tuple[str, int, int]]:
        """Cut an access as QEMU's memory core does: at most as wide as its address is aligned within the register.

        Rows of register ("" where there is none), offset in it, and width in bytes.
        """
        place = self.registers
        regions = [("dma", place.dma, 8, 8)] if self.dma else []
        if place.ports:
            # One region for both: its byte 0 selects, and each byte of it is data.
            regions.append(("combined", place.selector, 2, 4))
        else:
            regions += [("data", place.data, 8, 8), ("selector", place.selector, 2, 4)]
        end = address + size
        while address < end:
            row = next((row for row in regions if row[1] <= address < row[1] + row[2]), None)
            register, start, _, most = row or ("", 0, 0, 4)
            offset = address - start
            width = min(end - address, most, offset & -offset or most)
            width = 1 << width.bit_length() - 1
            yield register, offset, width
            address += width

    def _load(self, register: str, offset: int, width: int) -> bytes:
        if register == "dma":
            return DMA_SIGNATURE[offset : offset + width].ljust(width, b"\0")
        if (register == "combined" and width == 1) or (register == "data" and offset == 0):
            return self._read_data(width)
        # No register takes this: reads as zeros; ports that nobody uses as ones.
        return b"\xff" * width if not register and self.registers.ports else bytes(width)

    def _store(self, register: str, offset: int, data: bytes) -> None:
        if register in ("combined", "selector") and offset == 0 and len(data) == 2:
            self._select(int.from_bytes(data, "little" if register == "combined" else "big"))
        elif register == "dma" and (offset, len(data)) in ((0, 4), (4, 4), (0, 8)):
            value = int.from_bytes(data, "big")
            if (offset, len(data)) == (0, 4):
                self._dma_address = value << 32
            else:
                # The register is 0 again after a transfer: below 4 GiB the low half alone is enough.
                high, self._dma_address = self._dma_address, 0
                self._transfer(high | value if offset else value)

    def _select(self, key: int) -> None:
        self._offset = 0
        self._selected = None if key & _ARCHITECTURE else self._items.get(key & ~_WRITE_CHANNEL)
        if self._selected is not None and self._selected.selected is not None:
            self._selected.selected()

    def _read_data(self, width: int) -> bytes:
        """Bytes of the item in its order, zeros behind its end, where the offset stays."""
        if self._selected is None:
            return bytes(width)
        data = bytes(self._selected.data[self._offset : self._offset + width])
        self._offset += len(data)
        return data.ljust(width, b"\0")

    def _transfer(self, descriptor: int) -> None:
        space = self.space
        space.check_shared(descriptor, DESCRIPTOR.size)
        raw, complete = space.read(descriptor, DESCRIPTOR.size)
        if not complete:
            space.write(descriptor, DMA_ERROR.to_bytes(4, "big"))
            return
        control, length, gpa = DESCRIPTOR.unpack(raw)
        if control & DMA_SELECT:
            self._select(control >> 16)
        # The first of these that is set counts; with none of them nothing moves.
        move = next(
            (
                move
                for bit, move in ((DMA_READ, self._dma_read), (DMA_WRITE, self._dma_write), (DMA_SKIP, self._dma_skip))
                if control & bit
            ),
            None,
        )
        refused = False
        if move is not None and length:
            if move != self._dma_skip:
                space.check_shared(gpa, length)
            refused = not move(gpa, length)
        space.write(descriptor, (DMA_ERROR if refused else 0).to_bytes(4, "big"))

    def _remaining(self) -> int:
        return 0 if self._selected is None else max(len(self._selected.data) - self._offset, 0)

    def _dma_read(self, gpa: int, length: int) -> bool:
        """What the item has, then zeros; they are left out where the memory already ended before them."""
        size = min(length, self._remaining())
        if size:
            assert self._selected is not None
            complete = self.space.write(gpa, bytes(self._selected.data[self._offset : self._offset + size]))
            self._offset += size
            if not complete:
                return False
        return self.space.clear(gpa + size, length - size)

    def _dma_write(self, gpa: int, length: int) -> bool:
        """Store, or refuse; the offset moves either way. Where the memory ends, zeros are stored and it is an error."""
        item, offset = self._selected, self._offset
        size = min(length, self._remaining())
        self._offset += size
        if item is None or not size or size < length or not _takes_writes(item):
            return False
        assert isinstance(item.data, bytearray)
        item.data[offset : offset + size], complete = self.space.read(gpa, size)
        if complete and item.written is not None:
            item.written(offset, size)
        return complete

    def _dma_skip(self, _gpa: int, length: int) -> bool:
        self._offset += min(length, self._remaining())
        return True


def directory(files: Sequence[File]) -> bytes:
    """Item 0x0019: u32 BE count, then 64 bytes a file: u32 BE size, u16 BE selector, u16 0, NUL-padded name."""
    rows = (DIRECTORY_ROW.pack(file.size, file.selector, 0, file.name.encode()) for file in files)
    return struct.pack(">I", len(files)) + b"".join(rows)


def _takes_writes(item: Item) -> bool:
    return item.writable and (item.locked is None or not item.locked())


def _thawed(item: Item) -> Item:
    frozen = item.writable and not isinstance(item.data, bytearray)
    return item._replace(data=bytearray(item.data)) if frozen else item
