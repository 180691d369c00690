"""fw_cfg to the register, against conversations with real QEMUs and rule by rule (QEMU 7.2.22 and 10.0.13)."""

from __future__ import annotations

import random
import re
import struct
import subprocess
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stubsim import hosts
from stubsim.hosts.recognise import read_bytes
from stubsim.machine import fwcfg
from stubsim.machine.address_space import AddressSpace
from stubsim.machine.devices.device import Device
from stubsim.machine.devices.qemu import RAMFB, TPM_LOG, VMCOREINFO, Ramfb, VmCoreInfo, stock_devices, stock_items
from stubsim.machine.fwcfg import DIRECTORY, FEATURES, SIGNATURE, File, FwCfg, Item
from stubsim.machine.hypervisor import VirtualMachine, virtual_machine
from stubsim.machine.qtest import execute
from stubsim.uefi.memory import Memory
from tests.machine.driver import BUFFER_AT, DESCRIPTOR_AT, DMA_READ, DMA_SELECT, DMA_SKIP, DMA_WRITE, MIB, Driver
from tests.qemu import qemu

HELLO = Item("opt/hello", b"Hello fw_cfg!")
OTHERS = [DMA_READ | DMA_WRITE, DMA_WRITE | DMA_SKIP, 0, 0x20]


def directory(*items: Item) -> FwCfg:
    return FwCfg(items, AddressSpace(Memory(MIB)))


def test_selectors_go_by_the_names_bytes():
    names = ["opt/b", "etc/vmcoreinfo", "bootorder", "opt/B", "opt/é", "etc/e820"]
    fw_cfg = directory(*(Item(name, bytes(3)) for name in names))
    assert [(file.selector, file.name) for file in fw_cfg.files] == list(
        enumerate(["bootorder", "etc/e820", "etc/vmcoreinfo", "opt/B", "opt/b", "opt/é"], 0x20)
    )
    assert fw_cfg.find("opt/b") == File("opt/b", 0x24, 3, False)
    assert fw_cfg.find("opt") is None


def test_directory_and_the_first_items():
    fw_cfg = directory(Item("etc/vmcoreinfo", bytes(16), True), Item("bootorder", b""))
    assert fw_cfg.content(DIRECTORY) == (
        bytes.fromhex("00000002")
        + bytes.fromhex("00000000 0020 0000")
        + b"bootorder".ljust(56, b"\0")
        + bytes.fromhex("00000010 0021 0000")
        + b"etc/vmcoreinfo".ljust(56, b"\0")
    )
    assert (fw_cfg.content(SIGNATURE), fw_cfg.content(FEATURES), fw_cfg.content(0x123)) == (b"QEMU", b"\3\0\0\0", b"")


@pytest.mark.parametrize("names", [["a", "a"], ["x" * 56], [""], ["a\0b"], [f"{n}" for n in range(33)]])
def test_what_cannot_be_a_directory(names: list[str]):
    with pytest.raises(ValueError, match="fw_cfg"):
        directory(*(Item(name, b"") for name in names))


def test_bit_14_of_the_selector_is_ignored_and_bit_15_is_another_table():
    driver = Driver(HELLO)
    for selector in (0x0020, 0x4020):
        driver.select(selector)
        assert driver.bytes(15) == b"Hello fw_cfg!\0\0"
    for selector in (0x8020, 0xC020, 0x8000, 0x0021, 0x3FFF):
        driver.select(selector)
        assert driver.bytes(4) == bytes(4)


def test_only_a_16_bit_write_at_0x510_selects():
    driver, write = Driver(HELLO), Driver.select
    write(driver, "opt/hello")
    assert driver.bytes(1) == b"H"
    for port, size in ((0x510, 1), (0x510, 4), (0x511, 1), (0x511, 2), (0x511, 4)):
        driver.machine.port_write(port, size, 0)
    assert driver.bytes(2) == b"el"


def test_reads_take_one_byte_at_a_time():
    driver = Driver(HELLO)
    driver.select("opt/hello")
    read = driver.machine.port_read
    assert read(0x510, 2) == 0
    assert (read(0x510, 1), read(0x511, 1)) == (ord("H"), ord("e"))
    assert read(0x511, 2) == 0xFF00 | ord("l")
    # Behind the two ports that nobody has comes the first byte of the DMA register.
    assert read(0x511, 4) == ord("Q") << 24 | 0xFFFF00 | ord("l")
    assert driver.bytes(1) == b"o"
    assert read(0x80, 1) == 0xFF


def test_the_dma_register_reads_as_its_signature_and_takes_whole_halves():
    driver = Driver(HELLO)
    read, write = driver.machine.port_read, driver.machine.port_write
    assert read(0x514, 4).to_bytes(4, "little") + read(0x518, 4).to_bytes(4, "little") == b"QEMU CFG"
    assert read(0x516, 4).to_bytes(4, "little") == b"MU C"
    driver.machine.write(DESCRIPTOR_AT, fwcfg.DESCRIPTOR.pack(0x0020000A, 5, BUFFER_AT))
    for port, size, value in ((0x51A, 2, 0), (0x518, 2, 0x100), (0x518, 1, 0), (0x51B, 1, 0)):
        write(port, size, value)
    assert driver.machine.read(BUFFER_AT, 5) == bytes(5)
    # A high half that was set counts for one transfer.
    write(0x514, 4, 0x01000000)
    write(0x518, 4, 0x100)
    assert driver.machine.read(BUFFER_AT, 5) == bytes(5)
    write(0x518, 4, 0x100)
    assert driver.machine.read(BUFFER_AT, 5) == b"Hello"


def test_without_dma_nothing_answers_there():
    driver = Driver(HELLO, dma=False)
    assert driver.read(FEATURES, 4) == b"\1\0\0\0"
    assert driver.machine.port_read(0x514, 4) == 0xFFFFFFFF
    driver.machine.write(DESCRIPTOR_AT, fwcfg.DESCRIPTOR.pack(0x0020000A, 5, BUFFER_AT))
    driver.machine.port_write(0x518, 4, 0x100)
    assert driver.machine.read(BUFFER_AT, 5) == bytes(5)


@pytest.mark.parametrize(("control", "moved"), [*zip(OTHERS, (4, 0, 0, 0), strict=True)])
def test_of_several_bits_the_first_counts(control: int, moved: int):
    driver = Driver(Item("f", bytes(range(1, 17)), True))
    driver.select("f")
    assert driver.transfer(control | 1, 4, BUFFER_AT) == 0
    assert driver.machine.read(BUFFER_AT, 4) == bytes(range(1, moved + 1)).ljust(4, b"\0")
    # write+skip is a write of the four zeros in the buffer.
    assert driver.read("f", 4) == (bytes(4) if control == DMA_WRITE | DMA_SKIP else b"\1\2\3\4")


def test_the_upper_half_counts_only_with_the_select_bit():
    driver = Driver(HELLO)
    driver.select("opt/hello")
    assert driver.transfer(DMA_READ, 2, BUFFER_AT) == 0
    assert driver.transfer(0x0000_0000 | DMA_READ, 2, BUFFER_AT) == 0
    assert driver.machine.read(BUFFER_AT, 2) == b"ll"
    assert driver.transfer(0x0020_0000 | DMA_SELECT, 9, 0) == 0
    assert driver.bytes(1) == b"H"


@pytest.mark.parametrize("control", [DMA_READ, DMA_WRITE, DMA_SKIP])
def test_length_0_is_never_an_error(control: int):
    driver = Driver(HELLO, Item("0", b"", True))
    for name, size in (("opt/hello", 13), ("0", 0)):
        driver.select(name)
        driver.bytes(size)
        assert driver.transfer(control, 0, 1 << 60) == 0


def test_refused_transfers_move_the_offset():
    driver = Driver(Item("rw", bytes(range(16)), True), Item("ro", bytes(range(16))))
    for name, length, next_byte in (("ro", 5, 5), ("rw", 17, None)):
        assert driver.write(name, b"x" * length) == 1
        assert driver.bytes(1) == (b"\0" if next_byte is None else bytes([next_byte]))
        assert driver.read(name, 16) == bytes(range(16))
    # A read that finds no memory, too.
    driver.select("ro")
    assert driver.transfer(DMA_READ, 4, 1 << 40) == 1
    assert driver.bytes(1) == b"\4"


@pytest.mark.parametrize(("size", "offset", "fits"), [(16, 0, True), (4, 12, True), (5, 12, False), (1, 16, False)])
def test_a_write_is_stored_whole_or_not_at_all(size: int, offset: int, fits: bool):
    seen: list[tuple[int, int]] = []
    driver = Driver(Item("f", bytes(16), True, lambda *row: seen.append(row)))
    assert driver.write("f", b"x" * size, offset) == (not fits)
    assert driver.read("f", 16).count(b"x") == (size if fits else 0)
    assert seen == ([(offset, size)] if fits else [])


def test_a_read_without_memory_fills_what_is_there():
    driver = Driver(HELLO)
    driver.machine.write(64 * MIB - 2, b"..")
    driver.select("opt/hello")
    assert driver.transfer(DMA_READ, 4, 64 * MIB - 2) == 1
    assert driver.machine.read(64 * MIB - 2, 2) == b"He"


def test_a_write_without_memory_stores_zeros_and_the_device_is_not_told():
    told: list[object] = []
    driver = Driver(Item("f", b"\xee" * 8, True, lambda *row: told.append(row)))
    driver.machine.write(64 * MIB - 2, b"ab")
    driver.select("f")
    assert driver.transfer(DMA_WRITE, 4, 64 * MIB - 2) == 1
    assert driver.read("f", 8) == b"ab\0\0\xee\xee\xee\xee"
    assert told == []


def test_rom_is_no_memory_for_a_read_and_memory_for_a_write():
    driver = Driver(HELLO, Item("f", bytes(4), True))
    assert driver.machine.bios is not None
    driver.machine.bios.replace_end([memoryview(b"ROM!")])
    driver.select("opt/hello")
    assert driver.transfer(DMA_READ, 4, (1 << 32) - 4) == 1
    driver.select("f")
    assert driver.transfer(DMA_WRITE, 4, (1 << 32) - 4) == 0
    assert driver.read("f", 4) == b"ROM!"


def test_a_descriptor_that_is_not_in_memory_does_nothing():
    driver = Driver(HELLO)
    for descriptor in (1 << 40, 0xF000_0000):
        driver.transfer(0x0020000A, 5, BUFFER_AT, descriptor=descriptor)
    assert driver.machine.read(BUFFER_AT, 5) == bytes(5)
    assert driver.transfer(0x0020000A, 5, BUFFER_AT) == 0
    assert driver.machine.read(BUFFER_AT, 5) == b"Hello"


def test_a_descriptor_half_in_memory_gets_the_error_bit():
    """Seen on QEMU 7.2.22: it tries to tell in the control field, which is in RAM here."""
    driver = Driver(HELLO)
    assert driver.transfer(0x0020000A, 5, BUFFER_AT, descriptor=64 * MIB - 8) & 1 == 1
    assert driver.machine.read(BUFFER_AT, 5) == bytes(5)


@given(st.integers(0, (1 << 32) - 1), st.integers(0, (1 << 32) - 1), st.integers(0, (1 << 64) - 1))
def test_no_descriptor_breaks_the_device(control: int, length: int, gpa: int):
    driver = Driver(HELLO, Item("rw", bytes(16), True))
    driver.machine.write(DESCRIPTOR_AT, fwcfg.DESCRIPTOR.pack(control, length, gpa))
    driver.machine.port_write(0x518, 4, 0x100)
    assert driver.read("opt/hello", 13) == b"Hello fw_cfg!"


def test_arm_has_its_registers_in_memory():
    machine = VirtualMachine(Memory(64 * MIB, "aa64"), items=[HELLO])
    base = 0x0902_0000
    assert machine.read(base + 16, 8) == b"QEMU CFG"
    machine.write(base + 8, b"\0\x20")
    assert machine.read(base, 8) == b"Hello fw"
    assert machine.read(base, 1) + machine.read(base, 2) + machine.read(base, 8) == b"_cfg!\0\0\0\0\0\0"
    assert machine.read(base + 1, 1) == b"\0"
    at = 0x4000_0000
    machine.write(at, fwcfg.DESCRIPTOR.pack(0x0020000A, 5, at + 64))
    machine.write(base + 16, at.to_bytes(8, "big"))
    assert machine.read(at + 64, 5) == b"Hello"
    assert machine.port_read(0x511, 1) == 0xFF


def test_a_reset_selects_item_0_and_keeps_the_files():
    driver = Driver(HELLO, devices=(VmCoreInfo(), Ramfb()))
    for name in (VMCOREINFO, RAMFB):
        assert driver.write(name, b"\xaa" * 8) == 0
    driver.select("opt/hello")
    driver.machine.port_write(0xCF9, 1, 0x06)
    assert driver.bytes(4) == b"QEMU"
    assert driver.read(VMCOREINFO, 16) == b"\1".ljust(16, b"\0")
    assert driver.read(RAMFB, 8) == b"\xaa" * 8


def test_smi_features_are_settled_by_reading_them():
    driver = Driver(devices=stock_devices(Memory(MIB)))
    for wish, ok in ((0, 1), (7, 1), (3, 1), (1, 1), (8, 0), (2, 0), (5, 0)):
        driver.machine.reset()
        assert driver.write("etc/smi/requested-features", wish.to_bytes(8, "little")) == 0
        assert driver.read("etc/smi/features-ok", 1) == bytes([ok])


# --- a real QEMU -----------------------------------------------------------------------------------------------------

QEMU_FILES: list[tuple[list[str], str]] = [
    (["-machine", "q35", "-m", "64M"], "x64"),
    (["-machine", "q35", "-m", "8G", "-device", "vmcoreinfo"], "x64"),
    (["-machine", "q35", "-m", "512M", "-device", "vmcoreinfo", "-device", "ramfb"], "x64"),
]


def release(binary: str) -> int:
    text = subprocess.run([binary, "--version"], capture_output=True, check=True, text=True).stdout
    found = re.search(r"version (\d+)", text)
    assert found
    return int(found[1])


def described(options: list[str], architecture: str, version: int, *more: Item) -> VirtualMachine:
    """The simulated machine for a QEMU command line, from nothing but that and the release."""
    size = int(options[options.index("-m") + 1][:-1]) << (30 if options[options.index("-m") + 1].endswith("G") else 20)
    memory = Memory(size, architecture)
    extra = {"vmcoreinfo": VmCoreInfo, "ramfb": Ramfb}
    devices = [device() for name, device in extra.items() if name in options]
    files = [("vgaroms/vgabios-ramfb.bin", 0)] if "ramfb" in options else []
    if version < 8:
        files.append(TPM_LOG)
    items = [*stock_items(memory, *files), *more]
    return VirtualMachine(memory, items=items, devices=[*stock_devices(memory), *devices])


@pytest.mark.oracle
@pytest.mark.parametrize(("options", "architecture"), QEMU_FILES)
def test_the_directory_of_a_described_machine_is_that_of_a_real_one(
    options: list[str], architecture: str, oracle: Callable[[str], str]
):
    """Names, their order and selectors; sizes of SMBIOS tables and option ROMs go with the release."""
    binary = oracle("qemu-system-x86_64")
    machine = described(options, architecture, release(binary))
    assert machine.fw_cfg is not None
    with qemu(binary, *options) as ask:
        ask("outw 0x510 0x19")

        def read(size: int) -> bytes:
            return bytes(int((ask("inb 0x511") or "OK 0")[3:], 16) for _ in range(size))

        rows = [struct.unpack(">IHH56s", read(64)) for _ in range(int.from_bytes(read(4), "big"))]
    real = {name.rstrip(b"\0").decode(): (selector, size) for size, selector, _, name in rows}
    ours = {file.name: (file.selector, file.size) for file in machine.fw_cfg.files}
    assert {name: row[0] for name, row in ours.items()} == {name: row[0] for name, row in real.items()}
    differing = {name for name in ours if ours[name] != real[name]}
    assert differing <= {"etc/smbios/smbios-tables", "vgaroms/vgabios-ramfb.bin", "genroms/kvmvapic.bin"}


@pytest.mark.oracle
@pytest.mark.parametrize(
    ("machine", "devices"),
    [("pc-q35-2.5", ["vmcoreinfo", "ramfb"]), ("pc-q35-2.4", []), ("pc-q35-2.8", ["vmcoreinfo"])],
)
def test_the_directory_of_an_old_machine_type(machine: str, devices: list[str], oracle: Callable[[str], str]):
    binary = oracle("qemu-system-x86_64")
    if release(binary) > 9:
        pytest.skip("this QEMU has none of the old machine types any more")
    options = ["-machine", machine, "-m", "64M", *(word for name in devices for word in ("-device", name))]
    options += ["-fw_cfg", "name=opt/z,string=1", "-fw_cfg", "name=opt/a,string=2"]
    host = read_bytes(" ".join(["qemu-system-x86_64", "-bios", "x", *options]).encode()).host.fw_cfg
    assert host is not None
    ours = {"vmcoreinfo": [VmCoreInfo()], "ramfb": [Rom(), Ramfb()]}
    made = VirtualMachine(
        Memory(64 << 20, "x64"),
        items=[
            *stock_items(Memory(64 << 20, "x64"), TPM_LOG, legacy=host.legacy_order),
            *(Item(f"opt/{name}", b"1", group=fwcfg.GROUP_USER) for name in "za"),
        ],
        devices=[device for name in devices for device in ours[name]],
        order=fwcfg.by_group if host.legacy_order else fwcfg.by_name,
        slots=host.slots,
    )
    with qemu(binary, *options) as ask:

        def read(item: int, size: int) -> bytes:
            ask(f"outw 0x510 {item:#x}")
            return bytes(int((ask("inb 0x511") or "OK 0")[3:], 16) for _ in range(size))

        count = int.from_bytes(read(0x19, 4), "big")
        rows = [struct.unpack_from(">IHH56s", read(0x19, 4 + 64 * count), 4 + 64 * index) for index in range(count)]
        features = read(1, 4)[0]
    assert made.fw_cfg is not None
    assert [(file.name, file.selector) for file in made.fw_cfg.files] == [
        (name.rstrip(b"\0").decode(), selector) for _, selector, _, name in rows
    ]
    assert bool(features & 2) == host.dma


class Rom(Device):
    """What -device ramfb brings before its own file."""

    def items(self) -> tuple[Item, ...]:
        return (Item("vgaroms/vgabios-ramfb.bin", b"", group=fwcfg.GROUP_DEVICE),)


def test_the_old_order_as_recorded():
    """The directory of pc-q35-2.5 on QEMU 7.2.22 with these devices and two -fw_cfg."""
    names = [
        "etc/boot-fail-wait", "etc/smbios/smbios-tables", "etc/smbios/smbios-anchor", "etc/e820",
        "genroms/kvmvapic.bin", "etc/system-states", "opt/z", "opt/a", "etc/vmcoreinfo", "etc/acpi/tables",
        "etc/table-loader", "etc/tpm/log", "etc/acpi/rsdp", "bootorder", "unknown",
    ]  # fmt: skip
    groups = {"opt/z": fwcfg.GROUP_USER, "opt/a": fwcfg.GROUP_USER, "etc/vmcoreinfo": fwcfg.GROUP_DEVICE}
    items = [
        Item(name, b"", group=groups.get(name)) for name in [*sorted(set(names) - {"opt/z", "opt/a"}), "opt/z", "opt/a"]
    ]
    machine = VirtualMachine(Memory(64 << 20, "x64"), items=items, order=fwcfg.by_group, slots=16)
    assert machine.fw_cfg is not None
    assert [file.name for file in machine.fw_cfg.files] == names


def test_an_old_machine_type_holds_16_files():
    memory = Memory(64 << 20, "x64")
    with pytest.raises(ValueError, match="at most 16 files"):
        VirtualMachine(memory, items=[Item(f"opt/{index}", b"") for index in range(17)], slots=16)
    for extra in ({}, {"vmfwupdate": {}}, {"vmfwupdate": {"dialect": "spec"}}):
        host = hosts.from_json({"fw_cfg": {"slots": 16, "legacy_order": True, **extra}})
        machine = virtual_machine(host, memory)
        assert machine.fw_cfg is not None
        names = [file.name for file in machine.fw_cfg.files]
        # No SMI features, no geometry of disks.
        assert not [name for name in names if name.startswith("etc/smi/") or name == "bios-geometry"]
        assert names[:2] == ["etc/boot-fail-wait", "etc/smbios/smbios-tables"]


def random_script(chance: random.Random, selectors: list[int]) -> list[str]:
    """Commands that meet every corner of the registers; all memory they name is RAM, ROM, or nothing at all."""
    lines = []
    keys = [*selectors, 0, 1, 0x19, 0x4000 | selectors[0], 0x8000, 0x3F, 0x1234]
    for _ in range(40):
        kind = chance.random()
        if kind < 0.2:
            lines.append(f"outw 0x510 {chance.choice(keys):#x}")
        elif kind < 0.35:
            lines.append(f"in{chance.choice('bwl')} {chance.randrange(0x50C, 0x51D):#x}")
        elif kind < 0.45:
            width = chance.choice("bwl")
            port = chance.choice([port for port in range(0x50C, 0x51D) if port < 0x514 or width != "l"])
            lines.append(f"out{width} {port:#x} {chance.randrange(256)}")
        elif kind < 0.48:
            lines.append("outb 0xcf9 0x06")
        else:
            descriptor = chance.choice([0x10000, 0x10003, 0x3FFFFF8, 0x3FFFFF0, 0x5000000, 0x100000])
            control = chance.choice([0, 1, 2, 4, 6, 8, 0x10, 0x12, 0x14, 0x20, 0x1000]) | chance.choice([0, 8])
            control |= chance.choice(keys) << 16
            length = chance.choice([0, 1, 4, 8, 13, 16, 17, 28, 29, 40, 100, 0x400])
            gpas = [0x20000] * 4 + [0x3FFFFFC, 0x4000000, 0x50000000, 0xFFFFFFFF00000000, 0xFFFFFFFFFFFFFFF8]
            gpa = chance.choice(gpas)
            raw = fwcfg.DESCRIPTOR.pack(control, length, gpa)
            lines.append(f"write 0x20000 0x20 0x{chance.randbytes(32).hex()}")
            lines.append(f"write {descriptor:#x} 0x10 0x{raw.hex()}")
            if chance.random() < 0.7:
                lines.append(f"outl 0x514 {chance.choice([0, 0, 0, 0x1000000]):#x}")
            lines.append(f"outl 0x518 {int.from_bytes(descriptor.to_bytes(4, 'big'), 'little'):#x}")
            lines.append(f"read {descriptor:#x} 0x10")
            lines.append(f"read {gpa if gpa < 1 << 63 else 0:#x} 0x20")
            lines.append("inb 0x511")
    return lines


@pytest.mark.oracle
def test_random_conversations_are_those_of_a_real_qemu(oracle: Callable[[str], str]):
    """Ports in every width, descriptors and buffers in RAM, over its end, in ROM and nowhere, and resets."""
    binary = oracle("qemu-system-x86_64")
    options = ["-machine", "q35", "-m", "64M", "-device", "vmcoreinfo", "-device", "ramfb"]
    text = "Hello fw_cfg!"
    version = release(binary)
    for seed in range(25):
        machine = described(options, "x64", version, Item("opt/org.example/hello", text.encode()))
        assert machine.fw_cfg is not None
        # Of the other files our side does not have the content.
        known = [
            file.selector for file in machine.fw_cfg.files if file.writable or file.name.startswith(("opt/", "etc/smi"))
        ]
        script = random_script(random.Random(seed), known)
        with qemu(binary, *options, "-fw_cfg", f"name=opt/org.example/hello,string={text}") as ask:
            real = ask.run(script)
            rom = ask("read 0xffffffe0 0x20")
        assert machine.bios is None
        ours = [execute(with_rom(machine, rom), line) for line in script]
        differing = [(line, theirs, own) for line, theirs, own in zip(script, real, ours, strict=True) if theirs != own]
        assert not differing, f"seed {seed}: {differing[0]}"


def random_arm_script(chance: random.Random, selectors: list[int]) -> list[str]:
    """The same for registers in memory, which are big endian."""
    base, lines = 0x0902_0000, []
    keys = [*selectors, 0, 1, 0x19, 0x4000 | selectors[0], 0x3F, 0x8000]
    for _ in range(40):
        kind = chance.random()
        if kind < 0.25:
            key = int.from_bytes(chance.choice(keys).to_bytes(2, "big"), "little")
            lines.append(f"writew {base + 8:#x} {key:#x}")
        elif kind < 0.5:
            offset = chance.choice([0, 0, 0, 1, 2, 4, 8, 9, 10, 16, 18, 20, 22, 23])
            lines.append(f"read{chance.choice('bwlq')} {base + offset:#x}")
        elif kind < 0.6:
            offset = chance.choice([0, 1, 8, 9, 10, 16, 18])
            lines.append(f"write{chance.choice('bwl')} {base + offset:#x} {chance.randrange(256)}")
        elif kind < 0.65:
            lines.append(f"read {base + chance.choice([0, 4, 16, 20]):#x} {chance.choice([1, 2, 3, 4, 5, 8])}")
        else:
            descriptor = chance.choice([0x40010000, 0x40010003, 0x43FFFFF8, 0x60000000])
            control = chance.choice([0, 1, 2, 4, 6, 0x10, 0x12]) | chance.choice([0, 8]) | chance.choice(keys) << 16
            gpa = chance.choice([0x40020000] * 5 + [0x43FFFFFC, 0x60000000])
            raw = fwcfg.DESCRIPTOR.pack(control, chance.choice([0, 1, 4, 8, 13, 28, 29, 40, 100]), gpa)
            lines.append(f"write 0x40020000 0x20 0x{chance.randbytes(32).hex()}")
            lines.append(f"write {descriptor:#x} 0x10 0x{raw.hex()}")
            if chance.random() < 0.5:
                lines.append(f"writeq {base + 16:#x} {int.from_bytes(descriptor.to_bytes(8, 'big'), 'little'):#x}")
            else:
                lines.append(f"writel {base + 16:#x} 0")
                lines.append(f"writel {base + 20:#x} {int.from_bytes(descriptor.to_bytes(4, 'big'), 'little'):#x}")
            lines += [f"read {descriptor:#x} 0x10", f"read {gpa:#x} 0x20", f"readb {base:#x}"]
    return lines


@pytest.mark.oracle
def test_random_conversations_on_arm_are_those_of_a_real_qemu(oracle: Callable[[str], str]):
    binary = oracle("qemu-system-aarch64")
    options = ["-machine", "virt", "-m", "64M", "-device", "ramfb"]
    text = "Hello fw_cfg!"
    for seed in range(25):
        machine = described(options, "aa64", release(binary), Item("opt/org.example/hello", text.encode()))
        assert machine.fw_cfg is not None
        known = [file.selector for file in machine.fw_cfg.files if file.writable or file.name.startswith("opt/")]
        script = random_arm_script(random.Random(seed), known)
        with qemu(binary, *options, "-fw_cfg", f"name=opt/org.example/hello,string={text}") as ask:
            real = ask.run(script)
        ours = [execute(machine, line) for line in script]
        differing = [(line, theirs, own) for line, theirs, own in zip(script, real, ours, strict=True) if theirs != own]
        assert not differing, f"seed {seed}: {differing[0]}"


def with_rom(machine: VirtualMachine, reply: str | None) -> VirtualMachine:
    from stubsim.machine.address_space import BiosRegion

    if machine.bios is None and reply is not None:
        machine.bios = machine.space.bios = BiosRegion(256 << 10, bytes.fromhex(reply[5:]))
    return machine
