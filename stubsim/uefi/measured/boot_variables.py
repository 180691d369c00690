"""PCR 1: BootOrder and each Boot#### in it, as the boot manager has them when it starts the first one.

The store's entries, what the firmware adds, and QEMU's order: BdsDxe and UefiBootManagerLib of MdeModulePkg;
PlatformBootManagerLib and QemuBootOrderLib of OvmfPkg. Recorded with a virtio disk alone: whatever was not is unknown.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

from stubsim.errors import StubsimError
from stubsim.formats import load_option
from stubsim.formats.load_option import ACTIVE, LoadOption, Node
from stubsim.rows import NamedTuple
from stubsim.uefi.measured.row import Row, unknown, variable_data
from stubsim.uefi.measured.secure_boot_policy import NO_STORE
from stubsim.uefi.platform import Platform
from stubsim.uefi.variables import GLOBAL

_KIND = "EV_EFI_VARIABLE_BOOT"
_ORDER_FILE = "bootorder"
# BmBootDescription.c names a virtio disk so; its optional data says that the boot manager has made the entry.
_DISK = "UEFI Misc Device"
_MADE_BY_BOOT_MANAGER = bytes.fromhex("4eac0881119f594d850ee21a522c59b2")
# Of an OpenFirmware path as QEMU writes it: bridges and the virtio disk's function, each device[,function] in hex.
_UNIT = r"([0-9a-f]+)(?:,([0-9a-f]+))?"
_VIRTIO_DISK = re.compile(rf"/pci@i0cf8((?:/pci-bridge@{_UNIT})*)/scsi@{_UNIT}/disk@0,0\Z")
_BRIDGE = re.compile(rf"/pci-bridge@{_UNIT}")
# What is started from a device that names no file (UEFI 2.10, 3.5.1.1).
REMOVABLE = "\\EFI\\BOOT\\BOOTX64.EFI"
_ENTRIES_MAX = 1024


class Option(NamedTuple):
    """A boot entry under its number."""

    number: int
    entry: LoadOption


class _NotKnownError(Exception):
    """Why what the boot manager comes to is not known."""


def events(platform: Platform) -> Iterator[Row]:
    found = boot_options(platform)
    if isinstance(found, str):
        yield unknown(1, _KIND, "BootOrder and Boot####", found)
        return
    order = b"".join(struct.pack("<H", option.number) for option in found)
    yield _row("BootOrder", "", order)
    for option in found:
        yield _row(f"Boot{option.number:04X}", option.entry.description, option.entry.raw)


def boot_options(platform: Platform) -> tuple[Option, ...] | str:
    """The entries in their order, or why they are not known."""
    try:
        return tuple(_boot_options(platform))
    except _NotKnownError as reason:
        return str(reason)


def first_path(options: tuple[Option, ...]) -> str | None:
    """The path of what the first entry starts, None for no file of a disk."""
    if not options:
        return None
    nodes = load_option.nodes(options[0].entry.path)
    if nodes and nodes[-1].kind == load_option.FILE_PATH:
        return load_option.path_of_file(nodes[-1])
    return None if nodes and nodes[0].kind == load_option.FIRMWARE_VOLUME else REMOVABLE


def has_load_options(option: Option) -> bool:
    return option.entry.optional not in (b"", _MADE_BY_BOOT_MANAGER)


def device_of_disk(platform: Platform) -> tuple[Node, ...] | None:
    """The device path of the disk that the firmware starts from, None where it is not known."""
    try:
        return _disks(platform)[0]
    except _NotKnownError:
        return None


def _row(name: str, text: str, data: bytes) -> Row:
    """The digest is of the variable's data alone."""
    return Row(1, _KIND, f"{name} {text}".rstrip(), data, variable_data(name, GLOBAL, data))


def _boot_options(platform: Platform) -> list[Option]:
    build = platform.build
    if build is None:
        raise _NotKnownError(platform.no_build)
    options = _stored(platform)
    known = [*build.menu, *([build.shell] if build.shell else [])]
    for option in options:
        nodes = _nodes(option.entry)
        if nodes and nodes[0].kind == load_option.FIRMWARE_VOLUME and option.entry not in known:
            raise _NotKnownError(f"{_name(option)} starts a program that is not one of this build: never recorded")
    for entry in build.menu:
        _add(options, entry)
    if platform.from_qemu:
        # The kernel is started before devices are looked for (recorded: qemukernel262).
        return options
    disks = _disks(platform)
    made = [LoadOption(ACTIVE, _DISK, load_option.build_path(*disk), _MADE_BY_BOOT_MANAGER) for disk in disks]
    options = [row for row in options if row.entry.optional != _MADE_BY_BOOT_MANAGER or row.entry in made]
    for entry in (*made, *([build.shell] if build.shell else [])):
        _add(options, entry)
    return _in_qemus_order(platform, options, disks)


def _stored(platform: Platform) -> list[Option]:
    """What BootOrder of the store names, as far as it exists."""
    if platform.variables is None:
        raise _NotKnownError(NO_STORE)
    order = platform.variable("BootOrder") or b""
    numbers = [number for (number,) in struct.iter_unpack("<H", order[: len(order) & ~1])]
    if len(numbers) > _ENTRIES_MAX:
        raise _NotKnownError(f"BootOrder of the store has {len(numbers)} entries")
    found = []
    for number in numbers:
        data = platform.variable(f"Boot{number:04X}")
        if data is None:
            raise _NotKnownError(f"BootOrder of the store names Boot{number:04X}, which is not there: never recorded")
        try:
            found.append(Option(number, load_option.parse(data)))
        except StubsimError as error:
            raise _NotKnownError(f"Boot{number:04X} of the store: {error}") from None
    return found


def _add(options: list[Option], entry: LoadOption) -> None:
    """At the end, unless an equal one is there: under the lowest number that BootOrder has not.

    A variable of that number outside of BootOrder is written over (BmGetFreeOptionNumber; recorded in the lab with the
    store that Debian ships with keys in it).
    """
    if any(option.entry == entry for option in options):
        return
    taken = {option.number for option in options}
    options.append(Option(next(number for number in range(1 << 16) if number not in taken), entry))


def _disks(platform: Platform) -> list[tuple[Node, ...]]:
    """The device paths of the disks that QEMU's order names: the firmware connects those alone."""
    if platform.fw_cfg is None:
        raise _NotKnownError("which devices the firmware connects is not known without QEMU's bootorder (--fw-cfg)")
    lines = platform.fw_cfg.get(_ORDER_FILE, b"").rstrip(b"\0").decode("latin-1").split("\n")
    lines = [line for line in lines if line]
    if not lines:
        raise _NotKnownError(
            "QEMU gives no bootorder (bootindex=): the firmware connects every device, which was never recorded"
        )
    if len(lines) > 1:
        raise _NotKnownError(f"QEMU's bootorder names {len(lines)} devices: never recorded")
    match = _VIRTIO_DISK.match(lines[0])
    if match is None:
        raise _NotKnownError(f"QEMU's bootorder names {lines[0]}: only virtio disks were recorded")
    bridges = [_pci(*found.groups()) for found in _BRIDGE.finditer(match[1])]
    return [(load_option.pci_root(), *bridges, _pci(*match.groups()[-2:]))]


def _pci(device: str, function: str | None) -> Node:
    numbers = int(device, 16), int(function or "0", 16)
    if numbers[0] > 31 or numbers[1] > 7:
        raise _NotKnownError(f"QEMU's bootorder names a PCI device {device}, which cannot be")
    return load_option.pci(*numbers)


def _in_qemus_order(platform: Platform, options: list[Option], disks: list[tuple[Node, ...]]) -> list[Option]:
    """Active entries on the devices of QEMU's order, then those on no device; the others are dropped.

    Where none is on such a device the order stays (QemuBootOrderLib, SetBootOrderFromQemu).
    """
    active = [option for option in options if option.entry.attributes & ACTIVE]
    first = [option for disk in disks for option in active if _is_on(platform, option, disk)]
    if not first:
        return options
    return [*first, *(option for option in active if option not in first and not _is_on_device(option))]


def _is_on(platform: Platform, option: Option, disk: tuple[Node, ...]) -> bool:
    nodes = _nodes(option.entry)
    if nodes and nodes[0].kind == load_option.HARD_DRIVE:
        return _is_there(platform, option, nodes)
    return nodes[: len(disk)] == disk


def _is_there(platform: Platform, option: Option, nodes: tuple[Node, ...]) -> bool:
    """Whether a path from a partition on leads to a file of the disk (recorded: one that does not is dropped)."""
    wanted = load_option.partition_of(nodes[0])
    if wanted is None:
        return False
    if platform.disk is None:
        raise _NotKnownError(f"{_name(option)} is on a partition, and the disk's are not at hand (--disk, --gpt)")
    if not any((row.number, row.guid) == (wanted.number, wanted.guid) for row in platform.disk.partitions):
        return False
    if platform.esp is None or platform.esp.root is None:
        raise _NotKnownError(f"whether the file of {_name(option)} exists is not known (--esp)")
    path = load_option.path_of_file(nodes[1]) if len(nodes) > 1 else REMOVABLE
    return platform.esp.read(path) is not None


def _is_on_device(option: Option) -> bool:
    """Those that QemuBootOrderLib does not keep by themselves (BootOrderComplete)."""
    nodes = _nodes(option.entry)
    return bool(nodes) and (nodes[0].kind == load_option.HARD_DRIVE or load_option.is_pci_root(nodes[0]))


def _nodes(entry: LoadOption) -> tuple[Node, ...]:
    try:
        return load_option.nodes(entry.path)
    except StubsimError as error:
        raise _NotKnownError(f"the boot entry {entry.description!r}: {error}") from None


def _name(option: Option) -> str:
    return f"Boot{option.number:04X}"
