"""QEMU's fw_cfg device as far as its files go: directory, reading and writing by name.

The rules are those of QEMU's docs/specs/fw_cfg.rst, checked against QEMU 7.2.22 and 10.0.13. Registers and DMA
descriptors belong on top: they select an item by number, keep the one offset, and use the same `transfer` rules.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from typing import NamedTuple

SIGNATURE = 0x0000
FEATURES = 0x0001
DIRECTORY = 0x0019
FIRST_FILE = 0x0020
MOST_FILES = 32
LONGEST_NAME = 55


class FwCfgError(Exception):
    """The device refuses a transfer; a guest sees bit 0 (error) in the control field, and nothing was stored."""


class Item(NamedTuple):
    """What the hypervisor puts behind a file name.

    A bytearray is used as it is, so the device it belongs to sees each write; `written` is then told
    offset and length in bytes.
    """

    name: str
    data: bytes | bytearray
    writable: bool = False
    written: Callable[[int, int], None] | None = None


class File(NamedTuple):
    """A row of the directory; size in bytes. A real directory does not say what is writable."""

    name: str
    selector: int
    size: int
    writable: bool


class Reset(NamedTuple):
    """What a cold reset does: "plain", "update" (size bytes of firmware from gpa) or "abort" with the reason."""

    action: str
    gpa: int = 0
    size: int = 0
    reason: str | None = None


class Device:
    """A device of the hypervisor that talks to the guest through files; `warnings` is what it tells the host."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def items(self) -> tuple[Item, ...]:
        """Its files."""
        return ()

    def reset(self) -> Reset:
        """What it does at a cold reset of the machine."""
        return Reset("plain")


class FwCfg:
    """The fw_cfg device with its files; `dma` is False where the hypervisor offers only the ports.

    Raises ValueError for a name given twice, one longer than 55 bytes, or more than 32 files.
    """

    def __init__(self, items: Iterable[Item] = (), *, device: Device | None = None, dma: bool = True) -> None:
        self.device = device or Device()
        self.dma = dma
        # Selectors go up in byte order of the names, in whatever order the files were added.
        rows = sorted([*items, *self.device.items()], key=lambda item: item.name.encode())
        names = [row.name for row in rows]
        if len(set(names)) < len(names) or len(names) > MOST_FILES:
            raise ValueError(f"fw_cfg holds at most {MOST_FILES} files of different names, not {names}")
        if any(not 0 < len(name.encode()) <= LONGEST_NAME or "\0" in name for name in names):
            raise ValueError(f"an fw_cfg file name has 1 to {LONGEST_NAME} bytes, none of them NUL: {names}")
        rows = [row._replace(data=bytearray(row.data)) if _is_frozen(row) else row for row in rows]
        self._items = {FIRST_FILE + index: row for index, row in enumerate(rows)}
        self.files = tuple(File(row.name, key, len(row.data), row.writable) for key, row in self._items.items())

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the hypervisor told the host so far; the guest sees none of it."""
        return tuple(self.device.warnings)

    def find(self, name: str) -> File | None:
        """The file of that name, by a walk through the directory, as a guest must search; None: there is none."""
        return next((file for file in self.files if file.name == name), None)

    def content(self, selector: int) -> bytes:
        """All bytes of an item by its number; an item nobody uses has none."""
        if selector in self._items:
            return bytes(self._items[selector].data)
        if selector == SIGNATURE:
            return b"QEMU"
        if selector == FEATURES:
            return struct.pack("<I", 3 if self.dma else 1)
        return self.directory() if selector == DIRECTORY else b""

    def directory(self) -> bytes:
        """Item 0x0019: u32 BE count, then 64 bytes a file: u32 BE size, u16 BE selector, u16 0, NUL-padded name."""
        rows = (struct.pack(">IHH56s", file.size, file.selector, 0, file.name.encode()) for file in self.files)
        return struct.pack(">I", len(self.files)) + b"".join(rows)

    def read(self, name: str) -> bytes:
        """The whole file; raises FwCfgError where there is none."""
        return self.content(self._selector(name))

    def write(self, name: str, data: bytes, offset: int = 0) -> None:
        """One DMA write to the file, `offset` bytes from its start; raises FwCfgError as the device refuses it.

        Without DMA there is no way to write: QEMU ignores what is written to the data port (since 2.4).
        """
        selector = self._selector(name)
        if not self.dma:
            raise FwCfgError(f"{name}: this fw_cfg device has no DMA interface, only that can write")
        self.transfer(selector, data, offset)

    def transfer(self, selector: int, data: bytes, offset: int) -> None:
        """Write to an item by its number, by the device's rules; a skip has moved offset to the end at most."""
        if not data:
            return  # nothing moves and nothing is refused, not even on a read-only file or at its end
        item = self._items.get(selector)
        if item is None:
            raise FwCfgError(f"item {selector:#06x} cannot be written")
        if not (item.writable and isinstance(item.data, bytearray)):
            raise FwCfgError(f"{item.name} is read-only")
        if offset < 0 or offset + len(data) > len(item.data):
            raise FwCfgError(f"{item.name}: {len(data)} bytes at offset {offset} go beyond its {len(item.data)} bytes")
        item.data[offset : offset + len(data)] = data
        if item.written:
            item.written(offset, len(data))

    def reset(self) -> Reset:
        """A cold reset of the machine. Files stay as they are unless their device says otherwise."""
        return self.device.reset()

    def _selector(self, name: str) -> int:
        file = self.find(name)
        if file is None:
            raise FwCfgError(f"there is no file {name}")
        return file.selector


def _is_frozen(item: Item) -> bool:
    return item.writable and not isinstance(item.data, bytearray)
