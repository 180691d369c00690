"""The machine around the devices: what a host file describes, the reset, and a confidential guest's pages."""

from __future__ import annotations

import pytest

from stubsim import hosts
from stubsim.formats.vmfwupdate import FW_BLOB, pack_fw_blob
from stubsim.hosts import Host
from stubsim.machine.address_space import BiosRegion
from stubsim.machine.devices.fuki_2024 import FukiUpdate
from stubsim.machine.devices.qemu_v5 import VmFwUpdate
from stubsim.machine.devices.spec import SpecUpdate
from stubsim.machine.hypervisor import VirtualMachine, virtual_machine
from stubsim.machine.ram import PrivatePage
from stubsim.uefi.memory import Memory
from tests.machine.driver import MIB

KIB64 = 64 << 10


def host(**device: object) -> Host:
    return hosts.from_json({"fw_cfg": {"vmfwupdate": device}})


def test_without_fw_cfg_there_is_none():
    machine = virtual_machine(hosts.from_json({"fw_cfg": None}), Memory(64 * MIB))
    assert machine.fw_cfg is None
    assert machine.port_read(0x511, 1) == 0xFF


@pytest.mark.parametrize(
    ("dialect", "device", "first"),
    [
        ("qemu-v5", VmFwUpdate, "etc/vmfwupdate/bios-size"),
        ("spec", SpecUpdate, "vmfwupdate/bios-addr"),
        ("fuki-2024", FukiUpdate, "etc/fwupdate-cap"),
    ],
)
def test_the_device_speaks_the_dialect(dialect: str, device: type, first: str):
    machine = virtual_machine(host(dialect=dialect, bios_size=KIB64), Memory(64 * MIB))
    assert isinstance(machine.devices[-1], device)
    assert machine.fw_cfg is not None
    assert machine.fw_cfg.find(first)
    assert machine.bios is not None
    assert machine.bios.size == KIB64


def test_the_selectors_are_those_of_a_q35_with_the_patch():
    """As in the directory of QEMU 10.0.13 with the patch applied and no other device."""
    machine = virtual_machine(host(dialect="qemu-v5"), Memory(64 * MIB))
    assert machine.fw_cfg is not None
    found = {file.name.rpartition("/")[2]: file.selector for file in machine.fw_cfg.files if "vmfwupdate" in file.name}
    assert found == {"bios-size": 0x2D, "cap": 0x2E, "disable": 0x2F, "fw-blob": 0x30, "opaque-blob": 0x31}


def test_a_firmware_in_private_memory_is_an_error():
    memory = Memory(64 * MIB, confidential=True)
    device = VmFwUpdate(KIB64)
    machine = VirtualMachine(memory, bios=BiosRegion(KIB64), devices=[device])
    blob = next(item for item in device.items() if item.name == FW_BLOB)
    assert isinstance(blob.data, bytearray)
    blob.data[:] = pack_fw_blob(KIB64, 0x200000)
    with pytest.raises(PrivatePage, match="0x200000"):
        machine.reset()
    memory.share(0x200000, KIB64)
    memory.place(0x200000, [b"firmware"])
    memory.place(0x400000, [b"private"])
    assert machine.reset().action == "update"
    assert memory.read(0x200000, 8) == b"firmware"
    assert memory.read(0x400000, 7) == bytes(7)


def test_a_descriptor_or_a_buffer_in_private_memory_is_an_error():
    memory = Memory(64 * MIB, confidential=True)
    machine = VirtualMachine(memory, items=())
    memory.place(0x10000, [bytes.fromhex("0000000a 00000004 0000000000020000")])
    with pytest.raises(PrivatePage, match="0x10000"):
        machine.port_write(0x518, 4, 0x100)
    memory.share(0x10000, 16)
    with pytest.raises(PrivatePage, match="0x20000"):
        machine.port_write(0x518, 4, 0x100)
    memory.share(0x20000, 4)
    machine.port_write(0x518, 4, 0x100)
    assert memory.read(0x20000, 4) == b"QEMU"


def test_a_reset_forgets_what_was_allocated_and_keeps_the_content():
    memory = Memory(64 * MIB)
    machine = VirtualMachine(memory)
    free = memory.map()
    row = memory.stage("kernel", [b"kernel"], "EfiLoaderData")
    machine.port_write(0xCF9, 1, 0x02)
    assert memory.map() != free
    machine.port_write(0xCF9, 1, 0x06)
    assert memory.map() == free
    assert memory.read(row.gpa, 6) == b"kernel"
