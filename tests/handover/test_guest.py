"""The guest's side of fw_cfg, as the prototype of September 2024 drives it: port by port, descriptor by descriptor."""

from __future__ import annotations

from typing import Any

import pytest

from stubsim.handover.guest import FwCfgError, Guest
from stubsim.machine.devices.device import Device, Reset
from stubsim.machine.fwcfg import DIRECTORY_ROW, DMA_READ, DMA_WRITE, File, Item
from stubsim.machine.hypervisor import VirtualMachine
from stubsim.trace import Access, Event, FwCfgWritten, Staged
from stubsim.uefi.memory import Memory, OutOfResources
from tests.handover.harness import MIB, accesses, steps

FILES = (Item("a/first", b"1"), Item("b/second", bytes(range(16)), True), Item("c/third", b"3"))
VIRT = {"selector": 0x0902_0008, "data": 0x0902_0000, "dma": 0x0902_0010}


class Talk:
    """A guest on a machine with FILES, and what it did."""

    def __init__(self, architecture: str = "x64", *, confidential: bool = False, **options: Any) -> None:
        memory = Memory(64 * MIB, architecture, confidential=confidential)
        self.machine = VirtualMachine(memory, **{"items": FILES, **options})
        self.trace: list[Event] = []
        self.guest = Guest(self.machine, memory, self.trace.append)

    def find(self, name: str) -> File:
        file = self.guest.find(name)
        assert file is not None
        return file

    def staged(self) -> list[Staged]:
        return [row for row in self.trace if isinstance(row, Staged)]


def row(file: Item, selector: int) -> bytes:
    return DIRECTORY_ROW.pack(len(file.data), selector, 0, file.name.encode())


def test_the_probe_is_two_items_by_port():
    talk = Talk()
    assert talk.guest.probe()
    assert talk.guest.dma
    assert accesses(talk.trace) == [
        Access("port", True, 0x510, b"\0\0"),
        *(Access("port", False, 0x511, bytes([byte])) for byte in b"QEMU"),
        Access("port", True, 0x510, b"\1\0"),
        *(Access("port", False, 0x511, bytes([byte])) for byte in b"\3\0\0\0"),
    ]
    assert talk.staged() == []


def test_a_machine_without_the_device_is_not_touched():
    talk = Talk(items=None)
    assert not talk.guest.probe()
    assert talk.trace == []


def test_the_directory_is_walked_by_dma_until_the_name_fits():
    """4 bytes, then 4, 2, 2 and 56 a file; the item is selected by port, never by the descriptor's bit."""
    talk = Talk()
    assert talk.guest.probe()
    talk.trace.clear()
    assert talk.find("b/second") == File("b/second", 0x21, 16, True)
    (area,) = talk.staged()
    at = area.gpa + 64
    expected: list[tuple[Any, ...]] = [("select", 0x19)]
    contents = [(3).to_bytes(4, "big")]
    for file, selector in zip(FILES[:2], (0x20, 0x21), strict=True):
        raw = row(file, selector)
        contents += [raw[:4], raw[4:6], raw[6:8], raw[8:]]
    for content in contents:
        expected += [("dma", DMA_READ, len(content), at, 0), ("load", at, content)]
    assert steps(talk.trace) == expected


def test_a_name_that_is_not_there_costs_the_whole_directory():
    talk = Talk()
    talk.guest.probe()
    talk.trace.clear()
    assert talk.guest.find("b/sec") is None
    assert talk.guest.find("b/second2") is None
    transfers = [step[2] for step in steps(talk.trace) if step[0] == "dma"]
    assert transfers == [4, *(4, 2, 2, 56) * 3] * 2


def test_one_write_is_one_transfer_after_a_select_by_port():
    talk = Talk()
    talk.guest.probe()
    file = talk.find("b/second")
    area = talk.staged()[0]
    talk.trace.clear()
    talk.guest.write(file, b"0123456789abcdef")
    (buffer,) = talk.staged()
    assert (buffer.name, buffer.size, buffer.shared) == ("b/second", 16, False)
    assert buffer.gpa != area.gpa
    assert steps(talk.trace) == [
        ("store", buffer.gpa, b"0123456789abcdef"),
        ("select", 0x21),
        ("dma", DMA_WRITE, 16, buffer.gpa, 0),
    ]
    assert talk.trace[-1] == FwCfgWritten("b/second", 0x21, 0, b"0123456789abcdef", buffer.gpa)
    assert talk.machine.fw_cfg is not None
    assert talk.machine.fw_cfg.content(0x21) == b"0123456789abcdef"


@pytest.mark.parametrize(("name", "size"), [("a/first", 1), ("b/second", 17)])
def test_the_error_bit_is_an_error(name: str, size: int):
    """Read-only, or more than the file holds."""
    talk = Talk()
    talk.guest.probe()
    file = talk.find(name)
    talk.trace.clear()
    with pytest.raises(FwCfgError, match=f"{name}: the device refuses {size} bytes"):
        talk.guest.write(file, bytes(size))
    assert steps(talk.trace)[-1][-1] == 1
    assert not [event for event in talk.trace if isinstance(event, FwCfgWritten)]


def test_reading_a_file():
    talk = Talk()
    talk.guest.probe()
    file = talk.find("b/second")
    talk.trace.clear()
    assert talk.guest.read(file, 4) == b"\0\1\2\3"
    # Each read starts anew: a select sets the offset to 0. Behind the end come zeros.
    assert talk.guest.read(file, 18) == bytes(range(16)) + b"\0\0"
    assert [step[:3] for step in steps(talk.trace) if step[0] != "load"] == [
        ("select", 0x21), ("dma", DMA_READ, 4), ("select", 0x21), ("dma", DMA_READ, 18),
    ]  # fmt: skip


def test_without_dma_everything_goes_by_port_and_writes_are_lost_without_a_word():
    talk = Talk(dma=False)
    assert talk.guest.probe()
    assert not talk.guest.dma
    file = talk.find("b/second")
    talk.trace.clear()
    talk.guest.write(file, b"\xaa\xbb")
    assert talk.trace == [
        Access("port", True, 0x510, b"\x21\0"),
        Access("port", True, 0x511, b"\xaa"),
        Access("port", True, 0x511, b"\xbb"),
    ]
    assert talk.guest.read(file, 2) == b"\0\1"
    assert talk.staged() == []


def test_no_transfer_has_a_select_bit_or_no_length():
    talk = Talk()
    talk.guest.probe()
    file = talk.find("c/third")
    talk.guest.read(file, 1)
    talk.guest.write(talk.find("b/second"), b"x")
    controls = {(step[1], step[2] > 0) for step in steps(talk.trace) if step[0] == "dma"}
    assert controls == {(DMA_READ, True), (DMA_WRITE, True)}


def test_on_arm_the_registers_are_in_memory_and_big_endian():
    talk = Talk("aa64")
    assert talk.guest.probe()
    assert accesses(talk.trace)[:2] == [
        Access("memory", True, 0x0902_0008, b"\0\0"),
        Access("memory", False, 0x0902_0000, b"Q"),
    ]
    assert steps(talk.trace, **VIRT) == [("select", 0), ("in", b"QEMU"), ("select", 1), ("in", b"\3\0\0\0")]
    file = talk.find("b/second")
    talk.trace.clear()
    talk.guest.write(file, b"written")
    (buffer,) = talk.staged()
    assert buffer.gpa >= 1 << 30
    assert steps(talk.trace, **VIRT)[1:] == [("select", 0x21), ("dma", DMA_WRITE, 7, buffer.gpa, 0)]
    assert talk.guest.read(file, 7) == b"written"


def test_a_confidential_guest_shares_the_descriptor_and_every_buffer():
    """Nothing of this raises PrivatePage: the device sees shared pages alone."""
    talk = Talk(confidential=True)
    talk.guest.probe()
    talk.guest.write(talk.find("b/second"), b"x")
    rows = talk.staged()
    assert [event.name for event in rows] == ["fw_cfg DMA descriptor", "b/second"]
    assert all(event.shared and talk.machine.memory.is_shared(event.gpa, event.size) for event in rows)
    seen = [step for step in steps(talk.trace) if step[0] == "dma"]
    for _, _, length, gpa, _ in seen:
        assert talk.machine.memory.is_shared(gpa, length)


def test_without_memory_for_the_descriptor():
    memory = Memory(0)
    guest = Guest(VirtualMachine(memory, items=FILES), memory, [].append)
    guest.probe()
    with pytest.raises(OutOfResources):
        guest.find("a/first")


def test_a_reset_is_asked_for_at_port_0xcf9():
    talk = Talk()
    talk.guest.reset()
    assert talk.trace == [Access("port", True, 0xCF9, b"\6")]
    assert talk.machine.was_reset
    arm = Talk("aa64")
    arm.guest.reset()
    assert arm.trace == []
    assert arm.machine.was_reset


class Trigger(Device):
    """Resets the machine on a write, as the prototype's does."""

    def items(self) -> tuple[Item, ...]:
        return (Item("trigger", bytearray(1), True, self._written),)

    def _written(self, _offset: int, _length: int) -> None:
        self.wants_reset = True

    def before_reset(self) -> Reset:
        return Reset("plain")


def test_nobody_looks_at_the_descriptor_after_a_transfer_that_resets():
    talk = Talk(devices=[Trigger()])
    talk.guest.probe()
    talk.guest.write(talk.find("trigger"), b"t")
    assert talk.machine.was_reset
    assert accesses(talk.trace)[-1].address == 0x518


def test_the_guest_after_a_reset_looks_at_its_descriptors_again():
    """A machine that was reset once is no excuse: the second boot sees error bits as the first does."""
    talk = Talk()
    talk.guest.reset()
    again = Guest(talk.machine, talk.machine.memory, talk.trace.append)
    talk.trace.clear()
    again.probe()
    file = again.find("a/first")
    assert file is not None
    assert all(step[-1] == 0 for step in steps(talk.trace) if step[0] == "dma")
    with pytest.raises(FwCfgError):
        again.write(file, b"x")
