"""What of a QEMU command line may change what a stub does, and is not understood: named, and unknown in the host."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from stubsim.hosts.qemu_options import CommandLine, Option
from stubsim.hosts.reading import shown
from stubsim.rows import NamedTuple


class Unheeded(NamedTuple):
    """One option: what is to be said of it, and the keys of a host file that it may change."""

    note: str
    unknown: frozenset[str] = frozenset()


class _Rule(NamedTuple):
    options: tuple[str, ...]
    applies: Callable[[Option], bool]
    what: str
    unknown: tuple[str, ...] = ()
    on_arm: bool = True


# Properties that are read, so that nothing is left out where they are set for all devices of a kind.
_READ = {"fw_cfg.dma_enabled", "fw_cfg_io.dma_enabled"}
_DRIVERS = ("virtio-serial", "virtio-pci", "isa-serial", "tpm-", "fw_cfg", "virtio-rng", "VGA", "qxl", "ramfb")
_BY_FIRMWARE = ("opt/org.tianocore/", "opt/ovmf/", "etc/")
_CONFIDENTIAL = ("sev-guest", "s390-pv-guest", "pef-guest", "arm-rme-guest", "rme-guest", "igvm-cfg")

_RULES = (
    _Rule(("readconfig",), lambda option: True, "the options in that file are not read"),
    _Rule(("dtb",), lambda option: True, "the devicetree is not read", ("devicetree",)),
    _Rule(
        ("global",),
        lambda option: _property(option) not in _READ and _property(option).startswith(_DRIVERS),
        "is not taken into account",
        ("console", "tpm", "rng"),
    ),
    _Rule(("set",), lambda option: True, "is not taken into account", ("console", "tpm", "rng", "smbios")),
    _Rule(
        ("fw_cfg",),
        lambda option: (option.get("name") or option.first).startswith(_BY_FIRMWARE),
        "is for the firmware, and is not taken into account",
    ),
    _Rule(
        ("object",),
        lambda option: (option.first or option.get("qom-type") or "") in _CONFIDENTIAL,
        "guests of this kind are not simulated",
        ("confidential",),
    ),
    _Rule(
        ("machine", "M"),
        lambda option: (option.get("igvm-cfg") or "") != "",
        "the firmware comes from an IGVM file, which is not read",
        ("firmware", "memory", "confidential"),
    ),
    _Rule(
        ("machine", "M"),
        lambda option: option.get("acpi") == "off",
        "without ACPI the firmware finds no serial ports",
        ("console",),
        on_arm=False,
    ),
    _Rule(
        ("no-acpi",),
        lambda option: True,
        "without ACPI the firmware finds no serial ports",
        ("console",),
        on_arm=False,
    ),
    _Rule(
        ("usbdevice",),
        lambda option: option.first in ("keyboard", "kbd"),
        "the keyboard's layout is not known",
        ("keyboard_layout",),
    ),
)


def unheeded(command: CommandLine, *, on_arm: bool = False) -> Iterator[Unheeded]:
    """Each option that is not understood, in the order of the rules; on Arm some have no such effect."""
    for rule in _RULES:
        if on_arm and not rule.on_arm:
            continue
        for option in command.of(*rule.options):
            if rule.applies(option):
                text = f" {shown(option.text)}" if option.text else ""
                yield Unheeded(f"-{option.name}{text}: {rule.what}", frozenset(rule.unknown))
    if command.complete and not _has_firmware(command):
        yield Unheeded("the line names no firmware (-bios, -pflash, -drive if=pflash), and QEMU's own starts no UKI")


def _property(option: Option) -> str:
    """The driver and property that -global sets, in either of its two forms."""
    driver, name = option.get("driver"), option.get("property")
    if driver is not None:
        return f"{driver}.{name or ''}"
    return option.pairs[0][0] if option.pairs else ""


def _has_firmware(command: CommandLine) -> bool:
    return (
        command.has("bios")
        or command.has("pflash")
        or any(option.get("if") == "pflash" for option in command.of("drive"))
        or any(option.get("firmware") or option.get("pflash0") for option in command.of("machine", "M"))
        or any(option.get("igvm-cfg") for option in command.of("machine", "M"))
    )
