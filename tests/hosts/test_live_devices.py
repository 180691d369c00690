"""What a captured machine tells of its devices, in trees of our own; forms as Linux writes them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stubsim.formats import edid, smbios
from stubsim.hosts import live, live_devices
from stubsim.hosts.host import Host
from tests.hosts.test_live import FIELDS, put
from tests.hosts.test_live_variables import OVMF, variable

# The lines of a guest whose only port is COM1 (Linux 6.12, drivers/tty/serial/serial_core.c, uart_line_info).
SERIAL = """serinfo:1.0 driver revision:
0: uart:16550A port:000003F8 irq:4 tx:2145 rx:0 RTS|CTS|DTR|DSR|CD
1: uart:unknown port:000002F8 irq:3
2: uart:16550A port:0000C050 irq:10 tx:0 rx:0 CTS|DSR|CD
3: uart:16550A mmio:0xFEBF1000 irq:11 tx:0 rx:0
"""
# What dmidecode 3.6 calls "Size: 8 GB" and "Size: 32 GB": type 17, the second with the extended size.
EIGHT = bytes.fromhex("0010feff400040000020090001000000") + bytes([2, 26])
THIRTY_TWO = bytes.fromhex("0010feff40004000ff7f090001000000") + bytes([2, 26]) + bytes(6) + bytes.fromhex("00800000")
SYSTEM = bytes([3, 3, 6]) + bytes(8)


def machine(root: Path, *more: bytes, fields: smbios.Fields = FIELDS) -> Path:
    own = [row.raw for row in smbios.parse(smbios.from_fields(fields)) if row.type != smbios.END_OF_TABLE]
    put(root, "sys/firmware/dmi/tables/DMI", smbios.build([*own, *more]))
    return root


def captured(root: Path) -> Host:
    return live.read(str(root)).host


def pci(root: Path, *rows: tuple[str, str, str]) -> None:
    for number, row in enumerate(rows):
        for file, text in zip(("vendor", "device", "class"), row, strict=True):
            put(root, f"sys/bus/pci/devices/0000:00:{number:02x}.0/{file}", f"{text}\n")


BRIDGE, VGA = ("0x8086", "0x29c0", "0x060000"), ("0x1234", "0x1111", "0x030000")
VIRTIO, MODERN = ("0x1af4", "0x1003", "0x078000"), ("0x1af4", "0x1043", "0x078000")


@pytest.mark.parametrize(
    ("arch", "width", "name"), [("x86_64", "64", "x64"), ("x86_64", "32", "ia32"), ("aarch64", "64", "aa64")]
)
def test_the_architecture_is_that_of_the_firmware(tmp_path: Path, arch: str, width: str, name: str):
    put(machine(tmp_path), "proc/sys/kernel/arch", f"{arch}\n")
    put(tmp_path, "sys/firmware/efi/fw_platform_size", f"{width}\n")
    host = captured(tmp_path)
    assert host.architecture == name
    assert ("devicetree" in host.unknown) == (name == "aa64")


def test_the_hypervisor_is_the_processors_word(tmp_path: Path):
    assert not captured(machine(tmp_path)).hypervisor
    put(tmp_path, "proc/cpuinfo", "processor\t: 0\nflags\t\t: fpu sse2 hypervisor lahf_lm\n")
    assert captured(tmp_path).hypervisor


@pytest.mark.parametrize(
    ("flags", "device", "kind"),
    [("tdx_guest", None, "tdx"), ("", "sev-guest", "sev-snp"), ("", "serial8250", None), ("", None, "unknown")],
)
def test_confidential_guests(tmp_path: Path, flags: str, device: str | None, kind: str | None):
    put(machine(tmp_path), "proc/cpuinfo", f"flags\t\t: fpu hypervisor {flags}\n")
    if device is not None:
        put(tmp_path, f"sys/bus/platform/devices/{device}/uevent", "")
    host = captured(tmp_path)
    assert ("unknown" if "confidential" in host.unknown else host.confidential) == kind


def test_fw_cfg_is_where_acpi_names_it(tmp_path: Path):
    qemu = machine(tmp_path, fields=FIELDS._replace(manufacturer=b"QEMU"))
    assert captured(qemu).fw_cfg is not None
    put(qemu, "sys/bus/acpi/devices/PNP0C0C:00/hid", "PNP0C0C\n")
    assert captured(qemu).fw_cfg is None
    put(qemu, "sys/bus/acpi/devices/QEMU0002:00/hid", "QEMU0002\n")
    assert captured(qemu).fw_cfg is not None


def array(handle: int, use: int) -> bytes:
    return smbios.build_structure(16, bytes([3, use, 6]) + bytes(8), handle=handle)


@pytest.mark.parametrize(
    ("tails", "size"),
    [
        ([EIGHT], 8 << 30),
        ([EIGHT, THIRTY_TWO], 40 << 30),
        # An empty slot, one of another use, and 640 KiB.
        ([EIGHT, EIGHT[:8] + b"\0\0" + EIGHT[10:]], 8 << 30),
        ([EIGHT, b"\1\x10" + EIGHT[2:]], 8 << 30),
        ([EIGHT[:8] + b"\x80\x82" + EIGHT[10:], EIGHT], (8 << 30) + (640 << 10)),
        # Flash, and a size that is not known.
        ([EIGHT, EIGHT[:14] + b"\x09" + EIGHT[15:]], 8 << 30),
        ([EIGHT, EIGHT[:8] + b"\xff\xff" + EIGHT[10:]], None),
        ([], None),
    ],
)
def test_memory_devices(tails: list[bytes], size: int | None):
    rows = [array(0x1000, 3), array(0x1001, 5), *(smbios.build_structure(17, tail) for tail in tails)]
    assert live_devices.plugged_in(smbios.parse(smbios.build(rows))) == size


@pytest.mark.parametrize(
    ("tail", "size"),
    [
        (bytes.fromhex("00000000 ffff0f00 0010 01"), 1 << 30),
        (bytes.fromhex("ffffffff ffffffff 0010 01 0000000001000000 ffffffff01000000"), 4 << 30),
    ],
)
def test_mapped_memory(tail: bytes, size: int):
    assert live_devices.mapped(smbios.parse(smbios.build([smbios.build_structure(19, tail)]))) == size


@given(st.lists(st.tuples(st.sampled_from((16, 17, 19)), st.binary(max_size=48)), max_size=6))
@settings(max_examples=200, deadline=None, derandomize=True)
def test_any_memory_structures(rows: list[tuple[int, bytes]]):
    table = smbios.parse(smbios.build([smbios.build_structure(kind, tail) for kind, tail in rows]))
    for size in (live_devices.plugged_in(table), live_devices.mapped(table)):
        assert size is None or size > 0


def test_memory_from_smbios_and_not_less_than_the_kernel_has(tmp_path: Path):
    machine(tmp_path, array(0x1000, 3), smbios.build_structure(17, EIGHT))
    put(tmp_path, "proc/meminfo", "MemTotal:        8100000 kB\nMemFree:          100 kB\n")
    reading = live.read(str(tmp_path))
    assert (reading.host.memory, "memory" in reading.host.unknown) == (8 << 30, False)
    assert "memory: 8192 MiB, by SMBIOS type 17" in reading.notes
    put(tmp_path, "proc/meminfo", "MemTotal:       16100000 kB\n")
    assert "memory" in captured(tmp_path).unknown


def test_memory_of_the_firmwares_map_is_a_lower_bound(tmp_path: Path):
    rows = ("0x0 0x9ffff System RAM", "0x100000 0x3fffffff System RAM", "0xfffc0000 0xffffffff Reserved")
    for number, row in enumerate(rows):
        for name, text in zip(("start", "end", "type"), row.split(" ", 2), strict=True):
            put(machine(tmp_path), f"sys/firmware/memmap/{number}/{name}", f"{text}\n")
    host = captured(tmp_path)
    assert (host.memory, "memory" in host.unknown) == ((1 << 30) - 0x60000, True)


def ports(root: Path, text: str = SERIAL) -> Path:
    put(root, "proc/tty/driver/serial", text)
    return root


def test_serial_ports_of_ovmf(tmp_path: Path):
    """ISA ports only: the other two are on PCI."""
    ports(machine(tmp_path, fields=FIELDS._replace(manufacturer=b"QEMU")))
    assert "console.serial" in captured(tmp_path).unknown
    variable(tmp_path, "LoaderFirmwareInfo", OVMF)
    host = captured(tmp_path)
    assert (host.console.serial, "console.serial" in host.unknown) == ((0x3F8,), False)


def test_serial_ports_of_another_firmware_are_not_for_certain(tmp_path: Path):
    ports(machine(tmp_path))
    host = captured(tmp_path)
    assert (host.console.serial, "console.serial" in host.unknown) == ((0x3F8,), True)
    ports(tmp_path, SERIAL.replace("16550A", "unknown"))
    host = captured(tmp_path)
    assert (host.console.serial, "console.serial" in host.unknown) == ((), False)


def test_serial_ports_by_class(tmp_path: Path):
    """Everybody may read these; the other file is for root."""
    for name, row in {"ttyS0": ("4", "0", "0x3F8"), "ttyS1": ("0", "0", "0x2F8"), "ttyS2": ("4", "2", "0x0")}.items():
        for file, text in zip(("type", "io_type", "port"), row, strict=True):
            put(machine(tmp_path), f"sys/class/tty/{name}/{file}", f"{text}\n")
    assert captured(tmp_path).console.serial == (0x3F8,)


def test_virtio_consoles_that_a_stub_counts(tmp_path: Path):
    assert "console.virtio" in captured(machine(tmp_path)).unknown
    pci(tmp_path, BRIDGE, VIRTIO, MODERN)
    host = captured(tmp_path)
    assert (host.console.virtio, "console.virtio" in host.unknown) == (1, False)


@pytest.mark.parametrize(
    ("display", "video", "graphics", "known"),
    [
        (VGA, 0x70, True, True),
        (BRIDGE, 0x70, True, True),
        # A display of which the kernel found no frame buffer may be one for Blt() alone.
        (VGA, 0, True, False),
        (BRIDGE, 0, False, True),
        (BRIDGE, None, False, False),
        (VGA, None, True, False),
    ],
)
def test_graphics(tmp_path: Path, display: tuple[str, str, str], video: int | None, graphics: bool, known: bool):
    pci(machine(tmp_path), display)
    if video is not None:
        put(tmp_path, "sys/kernel/boot_params/data", bytes(15) + bytes([video]) + bytes(4080))
    host = captured(tmp_path)
    assert (host.console.graphics, "console.graphics" not in host.unknown) == (graphics, known)


def test_a_frame_buffer_of_the_firmware(tmp_path: Path):
    put(machine(tmp_path), "sys/bus/platform/devices/simple-framebuffer.0/uevent", "")
    assert "console.graphics" not in captured(tmp_path).unknown


def test_the_built_in_panel_comes_first(tmp_path: Path):
    panels = {"card0-DP-1": "DEL1234", "card1-eDP-1": "BOE0af2", "card0-HDMI-A-1": None}
    for name, panel in panels.items():
        put(machine(tmp_path), f"sys/class/drm/{name}/edid", b"" if panel is None else edid.build(panel))
    reading = live.read(str(tmp_path))
    assert reading.host.edid == edid.build("BOE0af2")
    # The firmware need not offer it.
    assert "edid" in reading.host.unknown
    assert "edid: that of the first of card1-eDP-1 BOE0af2, card0-DP-1 DEL1234" in reading.notes


def test_the_edid_that_the_firmware_gave(tmp_path: Path):
    put(machine(tmp_path), "sys/class/drm/card0-eDP-1/edid", edid.build("BOE0af2"))
    params = bytes(0x140) + edid.build("AUO1234")
    put(tmp_path, "sys/kernel/boot_params/data", params.ljust(4096, b"\0"))
    host = captured(tmp_path)
    assert (host.edid, "edid" in host.unknown) == (edid.build("AUO1234"), False)


def test_each_unknown_key_comes_with_how_to_find_it(tmp_path: Path):
    """For whatever key: a machine that shows nothing but one string."""
    put(tmp_path, "sys/class/dmi/id/sys_vendor", "Maker\n")
    reading = live.read(str(tmp_path))
    for key in reading.host.unknown:
        assert any(note.startswith(f"{key} is unknown: ") for note in reading.notes), key
    assert reading.host.unknown >= {"rng", "edid", "tpm", "variables", "console.graphics", "firmware.vendor", "memory"}
