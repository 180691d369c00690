"""What Linux shows of a machine's processor, memory and devices, and how far the firmware must see the same."""

from __future__ import annotations

import os
import re

from stubsim.formats import edid, smbios
from stubsim.hosts.fixture import BANKS
from stubsim.hosts.host import FwCfg
from stubsim.hosts.live_findings import Findings

_TPM = "sys/class/tpm/tpm0"
_PCI = "sys/bus/pci/devices"
_DRM = "sys/class/drm"
_PLATFORM = "sys/bus/platform/devices"
_BOOT_PARAMS = "sys/kernel/boot_params/data"

# Linux' name of an architecture -> ours; firmware of 32 bits starts 32-bit programs.
_ARCHITECTURES = {
    "x86_64": ("x64", "ia32"),
    "i686": ("ia32", "ia32"),
    "aarch64": ("aa64", "aa64"),
    "riscv64": ("riscv64", "riscv64"),
    "loongarch64": ("loongarch64", "loongarch64"),
}
# Connectors of panels that are built in come first, in this order (Linux, drm_connector.c).
_INTERNAL = ("eDP", "LVDS", "DSI")
# struct screen_info and edid_info within the x86 boot_params (Linux, Documentation/arch/x86/zero-page.rst), and the
# type of a display that the kernel's EFI stub found by the Graphics Output Protocol.
_IS_VGA, _EDID_INFO, _VIDEO_TYPE_EFI = 0x0F, 0x140, 0x70
# An ISA device decodes ten lines of the address.
_ISA_END = 0x400
_VIRTIO_CONSOLE = ("0x1af4", "0x1003")
# Display controllers of PCI.
_DISPLAY = "0x03"
# DSP0134 7.17.2 and 7.18: the memory that is the system's; what is flash or not volatile does not count.
_SYSTEM_MEMORY, _FLASH, _NON_VOLATILE = 3, 9, range(4, 8)
_SIZES = range(1 << 20, (1 << 52) + 1)


def read(found: Findings) -> None:
    """All of it."""
    for step in (_architecture, _hypervisor, _confidential, _fw_cfg, _memory, _tpm, _serial, _virtio, _graphics, _edid):
        step(found)


def _architecture(found: Findings) -> None:
    names = _ARCHITECTURES.get(found.line("proc/sys/kernel/arch"))
    if names is None:
        return
    narrow = found.line("sys/firmware/efi/fw_platform_size") == "32"
    found.known("architecture", names[narrow])
    if names[1] == "ia32":
        # Firmware for x86 brings none.
        found.known("devicetree", None)


def _hypervisor(found: Findings) -> None:
    """CPUID's bit, as the stub asks for it; elsewhere it goes by SMBIOS alone."""
    flags = _flags(found)
    if flags is not None:
        found.known("hypervisor", found.host.hypervisor or b"hypervisor" in flags)


def _confidential(found: Findings) -> None:
    """Only a kernel that knows of it starts in such a guest, and then it shows it, whatever drivers there are."""
    platform, flags = found.names(_PLATFORM), _flags(found)
    if flags is not None and b"tdx_guest" in flags:
        found.known("confidential", "tdx")
    elif "sev-guest" in platform:
        found.known("confidential", "sev-snp")
    elif found.host.hypervisor and not (platform and flags):
        found.unknown.add("confidential")


def _flags(found: Findings) -> list[bytes] | None:
    """The features of an x86 processor, as Linux names them."""
    flags = re.search(rb"^flags\t*: (.*)$", found.content("proc/cpuinfo") or b"", re.MULTILINE)
    return flags[1].split() if flags else None


def _fw_cfg(found: Findings) -> None:
    """A machine with ACPI has an entry for the device (QEMU, docs/specs/fw_cfg.rst)."""
    devices = found.names("sys/bus/acpi/devices")
    there = any(name.startswith("QEMU0002:") for name in devices)
    if there and found.host.fw_cfg is None:
        found.known("fw_cfg", FwCfg())
    elif devices and not there:
        found.known("fw_cfg", None)


def _memory(found: Findings) -> None:
    """What is plugged in, by SMBIOS, which is no less than what the kernel manages; else what the firmware mapped."""
    structures = found.host.structures or ()
    total = re.search(rb"^MemTotal: +(\d+) kB$", found.content("proc/meminfo") or b"", re.MULTILINE)
    managed = int(total[1]) << 10 if total else 0
    for size, source in ((plugged_in(structures), "type 17"), (mapped(structures), "type 19")):
        if size is None or size not in _SIZES:
            continue
        if size >= managed:
            found.known("memory", size)
            found.note(f"memory: {size >> 20} MiB, by SMBIOS {source}")
            return
        found.note(f"memory: SMBIOS {source} has {size >> 20} MiB, and the kernel manages more: not taken")
    size = max(_firmware_map(found), managed)
    if size in _SIZES:
        found.likely("memory", size)
        found.note(f"memory: at least {size >> 20} MiB, by /sys/firmware/memmap and /proc/meminfo")


def plugged_in(structures: tuple[smbios.Structure, ...]) -> int | None:
    """The sum of all memory devices in bytes (SMBIOS type 17); None where one does not tell its size."""
    arrays = {row.handle: row.formatted[5] for row in structures if row.type == 16 and len(row.formatted) > 5}
    total = 0
    for row in (row for row in structures if row.type == 17):
        size = _device_size(row.formatted)
        if size is None:
            return None
        array = int.from_bytes(row.formatted[4:6], "little")
        if arrays.get(array, _SYSTEM_MEMORY) == _SYSTEM_MEMORY:
            total += size
    return total or None


def _device_size(row: bytes) -> int | None:
    if len(row) < 0x15:
        return None
    if row[0x12] == _FLASH or (len(row) > 0x28 and row[0x28] in _NON_VOLATILE):
        return 0
    size = int.from_bytes(row[0x0C:0x0E], "little")
    if size == 0xFFFF or (size == 0x7FFF and len(row) < 0x20):
        return None
    if size == 0x7FFF:
        return (int.from_bytes(row[0x1C:0x20], "little") & 0x7FFFFFFF) << 20
    return (size & 0x7FFF) << 10 if size & 0x8000 else size << 20


def mapped(structures: tuple[smbios.Structure, ...]) -> int | None:
    """The sum of all mapped ranges in bytes (SMBIOS type 19: first and last KiB, or bytes where these are all ones)."""
    total = 0
    for row in (row.formatted for row in structures if row.type == 19 and len(row.formatted) >= 0x0F):
        start, end = (int.from_bytes(row[at : at + 4], "little") for at in (4, 8))
        if start != 0xFFFFFFFF:
            total += max(end + 1 - start, 0) << 10
        elif len(row) >= 0x1F:
            start, end = (int.from_bytes(row[at : at + 8], "little") for at in (0x0F, 0x17))
            total += max(end + 1 - start, 0)
    return total or None


def _firmware_map(found: Findings) -> int:
    """All that is memory and not the firmware's for good, in bytes (Linux, ABI/testing/sysfs-firmware-memmap)."""
    total = 0
    folder = "sys/firmware/memmap"
    for name in found.names(folder):
        kind, *ends = (found.line(os.path.join(folder, name, file)) for file in ("type", "start", "end"))
        if kind.startswith(("System RAM", "ACPI")) and all(re.fullmatch(r"0x[0-9a-f]{1,16}", end) for end in ends):
            total += max(int(ends[1], 16) + 1 - int(ends[0], 16), 0)
    return total


def _tpm(found: Findings) -> None:
    """Linux shows the PCRs of every active bank. No TPM there may only be no driver."""
    banks = tuple(bank for bank in BANKS if found.exists(os.path.join(_TPM, f"pcr-{bank}")))
    if banks:
        found.known("tpm", banks)


def _serial(found: Findings) -> None:
    """No port is a thing that the firmware cannot have either; of one it is only sure in OVMF."""
    if found.host.architecture not in (None, "x64", "ia32"):
        # The stub knows ISA ports on a PC alone.
        found.known("console.serial", ())
        return
    ports = _ports_by_class(found)
    if ports is None:
        ports = _ports_by_driver(found)
    if ports is None:
        return
    found.likely("console.serial", tuple(ports))
    if not ports or _ovmf(found):
        found.unknown.discard("console.serial")
    else:
        found.note("the serial ports are those of the kernel; whether the firmware has each as a console is not known")


def _ports_by_class(found: Findings) -> list[int] | None:
    """Linux, Documentation/ABI/testing/sysfs-tty: type 0 is no port, io_type 0 one of I/O addresses."""
    folder = "sys/class/tty"
    names = [name for name in found.names(folder) if re.fullmatch(r"ttyS\d+", name)]
    ports = []
    for name in names:
        kind, access, port = (found.line(os.path.join(folder, name, file)) for file in ("type", "io_type", "port"))
        if not kind:
            return None
        if kind != "0" and access == "0" and re.fullmatch(r"0x[0-9A-Fa-f]{1,4}", port):
            ports.append(int(port, 16))
    return _isa(ports) if names else None


def _ports_by_driver(found: Findings) -> list[int] | None:
    """The lines of /proc/tty/driver/serial, as `0: uart:16550A port:000003F8 irq:4`."""
    text = found.content("proc/tty/driver/serial")
    if not text:
        return None
    rows = re.findall(rb"^\d+: uart:(\w+) port:([0-9A-Fa-f]{1,8}) ", text, re.MULTILINE)
    return _isa([int(port, 16) for uart, port in rows if uart != b"unknown"])


def _isa(ports: list[int]) -> list[int]:
    return list(dict.fromkeys(port for port in ports if 0 < port < _ISA_END))


def _ovmf(found: Findings) -> bool:
    """QEMU's PC and EDK II, in which every ISA port is a console."""
    firmware = "firmware.vendor" not in found.unknown and found.host.firmware.vendor
    return bool(firmware) and "EDK II" in str(firmware) and found.host.fields.manufacturer == b"QEMU"


def _pci(found: Findings) -> list[list[str]]:
    """Vendor, device and class of every PCI device."""
    return [
        [found.line(os.path.join(_PCI, name, file)) for file in ("vendor", "device", "class")]
        for name in found.names(_PCI)
    ]


def _virtio(found: Findings) -> None:
    """Firmware and kernel go through the same buses; without any in sight nothing is said."""
    devices = _pci(found)
    if devices:
        found.known("console.virtio", sum(row[:2] == [*_VIRTIO_CONSOLE] for row in devices))


def _graphics(found: Findings) -> None:
    """What the kernel's EFI stub found of the Graphics Output Protocol, or its frame buffer's device."""
    params = found.content(_BOOT_PARAMS, 4096) or b""
    buffers = [name for name in found.names(_PLATFORM) if re.match(r"(efi|simple)-framebuffer\.", name)]
    names = [found.line(f"sys/class/graphics/{name}/name") for name in found.names("sys/class/graphics")]
    display = any(row[2].startswith(_DISPLAY) for row in _pci(found))
    if params[_IS_VGA : _IS_VGA + 1] == bytes([_VIDEO_TYPE_EFI]) or buffers or {"EFI VGA", "simpledrmdrmfb"} & {*names}:
        found.known("console.graphics", True)
    elif len(params) == 4096 and found.names(_PCI) and not display:
        found.known("console.graphics", False)
    else:
        cards = any(re.fullmatch(r"card\d+", name) for name in found.names(_DRM))
        found.likely("console.graphics", display or cards)


def _edid(found: Findings) -> None:
    """What the firmware gave to the kernel; else the built-in panel's own, else that of the first display.

    The stub has it of the firmware, which need not offer what the kernel reads from the panel itself.
    """
    given = (found.content(_BOOT_PARAMS, 4096) or b"")[_EDID_INFO : _EDID_INFO + edid.SIZE]
    if edid.panel_id(given) is not None:
        found.known("edid", given)
        found.note(f"edid: {edid.panel_id(given)}, as the firmware gave it to the kernel")
        return
    panels = [
        (name, data)
        for name in found.names(_DRM)
        if (data := found.content(os.path.join(_DRM, name, "edid"))) is not None
    ]
    panels = sorted((row for row in panels if edid.panel_id(row[1]) is not None), key=lambda row: _place(row[0]))
    if panels:
        found.likely("edid", panels[0][1])
        listed = ", ".join(f"{name} {edid.panel_id(data)}" for name, data in panels)
        found.note(
            f"edid: that of the first of {listed}"
            if len(panels) > 1
            else f"edid: that of {listed}, as the kernel reads it from the display"
        )


def _place(connector: str) -> tuple[int, str]:
    kind = connector.partition("-")[2].rpartition("-")[0]
    return (_INTERNAL.index(kind) if kind in _INTERNAL else len(_INTERNAL), connector)
