"""EFI_LOAD_OPTION (UEFI 2.10, 3.1.3): what a Boot#### variable holds, and device paths (10.2, 10.3)."""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from uuid import UUID

from stubsim.errors import StubsimError
from stubsim.formats.efi_string import from_utf16, utf16z
from stubsim.rows import NamedTuple

ACTIVE, HIDDEN, APP = 0x1, 0x8, 0x100
# Types and sub-types of nodes.
ACPI_PATH, PCI_PATH, HARD_DRIVE, FILE_PATH = (2, 1), (1, 1), (4, 1), (4, 4)
FIRMWARE_FILE, FIRMWARE_VOLUME, END = (4, 6), (4, 7), (0x7F, 0xFF)
_HEAD = Struct("<IH")
_NODE = Struct("<BBH")
# PNP0A03 as EISA ids are compressed, and the number of the root bridge.
_PCI_ROOT = Struct("<II")
_PNP0A03 = 0x0A0341D0
_GPT_PARTITION = (2, 2)


class Node(NamedTuple):
    """A device path node; ``data`` is what follows its header."""

    kind: tuple[int, int]
    data: bytes

    @property
    def raw(self) -> bytes:
        return _NODE.pack(*self.kind, _NODE.size + len(self.data)) + self.data


class LoadOption(NamedTuple):
    """``path`` are the bytes of its device paths, END node included; ``optional`` are the load options."""

    attributes: int
    description: str
    path: bytes
    optional: bytes = b""

    @property
    def raw(self) -> bytes:
        return _HEAD.pack(self.attributes, len(self.path)) + utf16z(self.description) + self.path + self.optional


class HardDrive(NamedTuple):
    """The partition of a HD() node: its number, first block, size in blocks, and GUID."""

    number: int
    start: int
    size: int
    guid: UUID


def parse(data: bytes) -> LoadOption:
    """Raises StubsimError where the description has no end or the path is cut short."""
    if len(data) < _HEAD.size:
        raise StubsimError("a load option is cut short", offset=len(data), expected="attributes and a length")
    attributes, length = _HEAD.unpack_from(data)
    at = _HEAD.size
    while data[at : at + 2] != b"\0\0":
        if at + 2 > len(data):
            raise StubsimError("a load option's description has no end", offset=_HEAD.size, expected="a NUL")
        at += 2
    path = at + 2
    if path + length > len(data):
        message = f"a load option's device path of {length} bytes"
        raise StubsimError(message, offset=4, expected=f"at most {len(data) - path}")
    description = from_utf16(data[_HEAD.size : at])
    return LoadOption(attributes, description, data[path : path + length], data[path + length :])


def nodes(path: bytes) -> tuple[Node, ...]:
    """The nodes before the first END. Raises StubsimError for a node that is cut short."""
    return tuple(_nodes(path))


def _nodes(path: bytes) -> Iterator[Node]:
    at = 0
    while at < len(path):
        if at + _NODE.size > len(path):
            raise StubsimError("a device path node is cut short", offset=at, expected=f"{_NODE.size} bytes")
        kind, sub, size = _NODE.unpack_from(path, at)
        if not _NODE.size <= size <= len(path) - at:
            message = f"a device path node of {size} bytes"
            raise StubsimError(message, offset=at + 2, expected=f"{_NODE.size} to {len(path) - at}")
        if (kind, sub) == END:
            return
        yield Node((kind, sub), path[at + _NODE.size : at + size])
        at += size


def build_path(*nodes: Node) -> bytes:
    """The bytes of a device path, with its END node."""
    return b"".join(node.raw for node in nodes) + _NODE.pack(*END, _NODE.size)


def pci_root(number: int = 0) -> Node:
    return Node(ACPI_PATH, _PCI_ROOT.pack(_PNP0A03, number))


def is_pci_root(node: Node) -> bool:
    return node.kind == ACPI_PATH and node.data[:4] == _PNP0A03.to_bytes(4, "little")


def pci(device: int, function: int) -> Node:
    return Node(PCI_PATH, bytes((function, device)))


def firmware_file(volume: UUID, file: UUID) -> tuple[Node, Node]:
    return Node(FIRMWARE_VOLUME, volume.bytes_le), Node(FIRMWARE_FILE, file.bytes_le)


def file_path(path: str) -> Node:
    return Node(FILE_PATH, utf16z(path))


def path_of_file(node: Node) -> str:
    return from_utf16(node.data)


_HARD_DRIVE = Struct("<IQQ16sBB")


def hard_drive(number: int, start: int, size: int, guid: UUID) -> Node:
    """A partition of a GPT."""
    return Node(HARD_DRIVE, _HARD_DRIVE.pack(number, start, size, guid.bytes_le, *_GPT_PARTITION))


def partition_of(node: Node) -> HardDrive | None:
    """What a HD() node says, None where it is no partition of a GPT."""
    if node.kind != HARD_DRIVE or len(node.data) != _HARD_DRIVE.size:
        return None
    number, start, size, guid, *kind = _HARD_DRIVE.unpack(node.data)
    return HardDrive(number, start, size, UUID(bytes_le=guid)) if tuple(kind) == _GPT_PARTITION else None
