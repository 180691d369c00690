"""The update device, against conversations with a QEMU 10.0.13 that has the patch, and the rules one by one."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stubsim.formats.vmfwupdate import BIOS_SIZE, CAP, DISABLE, FW_BLOB, OPAQUE_BLOB, pack_fw_blob
from stubsim.machine.fwcfg import FwCfg, FwCfgError, Item, Reset
from stubsim.machine.hypervisor import VmFwUpdate

KIB64 = 64 << 10
REGION = 256 << 10
NO_RESIZE = "vmfwupdate: VMFWUPDATE_CAP_BIOS_RESIZE not enabled"
PLAIN = Reset("plain")


def machine(**options: Any) -> tuple[VmFwUpdate, FwCfg]:
    device = VmFwUpdate(options.pop("bios_size", REGION), **options)
    return device, FwCfg(device=device)


def test_the_five_files_at_power_on():
    _, fw_cfg = machine()
    assert [(file.name, file.size, file.writable) for file in fw_cfg.files] == [
        (BIOS_SIZE, 8, False),
        (CAP, 8, False),
        (DISABLE, 1, True),
        (FW_BLOB, 16, True),
        (OPAQUE_BLOB, 4096, True),
    ]
    assert fw_cfg.read(CAP).hex() == "8800000000000000"
    assert fw_cfg.read(BIOS_SIZE).hex() == "0000040000000000"
    assert not any(fw_cfg.read(DISABLE) + fw_cfg.read(FW_BLOB) + fw_cfg.read(OPAQUE_BLOB))
    assert fw_cfg.reset() == PLAIN


def test_a_disabled_device_has_no_files():
    device, fw_cfg = machine(disabled=True)
    assert fw_cfg.files == ()
    assert device.reset() == PLAIN


def test_an_update_is_stored_with_a_warning_and_stays_over_the_reset():
    device, fw_cfg = machine()
    fw_cfg.write(FW_BLOB, pack_fw_blob(KIB64, 0x200000))
    fw_cfg.write(OPAQUE_BLOB, b"opaque page")
    assert fw_cfg.warnings == (NO_RESIZE,)
    for _ in range(2):
        assert fw_cfg.reset() == Reset("update", 0x200000, KIB64)
    assert fw_cfg.read(FW_BLOB).hex() == "00000100000000000000200000000000"
    assert device.opaque == b"opaque page".ljust(4096, b"\0")
    assert device.bios_size == REGION


@pytest.mark.parametrize(("size", "gpa"), [(KIB64, 0), (0, 0x200000), (0, 0)])
def test_half_a_blob_resets_plainly(size: int, gpa: int):
    _, fw_cfg = machine()
    fw_cfg.write(FW_BLOB, pack_fw_blob(size, gpa))
    assert fw_cfg.reset() == PLAIN


def test_disable_and_enable_again():
    _, fw_cfg = machine()
    fw_cfg.write(FW_BLOB, pack_fw_blob(KIB64, 0x200000))
    fw_cfg.write(DISABLE, b"\x80")
    assert fw_cfg.reset() == PLAIN
    fw_cfg.write(DISABLE, b"\0")
    assert fw_cfg.reset().action == "update"


def test_the_address_first_sets_bios_size_to_0_for_good():
    device, fw_cfg = machine()
    fw_cfg.write(FW_BLOB, (0x200000).to_bytes(8, "little"), 8)
    assert (device.bios_size, fw_cfg.warnings) == (0, ())
    fw_cfg.write(FW_BLOB, KIB64.to_bytes(8, "little"))
    assert (device.bios_size, fw_cfg.warnings) == (0, ())
    assert fw_cfg.reset() == Reset("abort", reason="firmware of 65536 bytes is larger than bios-size, 0 bytes")


def test_the_size_first_is_fine():
    device, fw_cfg = machine()
    fw_cfg.write(FW_BLOB, KIB64.to_bytes(8, "little"))
    fw_cfg.write(FW_BLOB, (0x200000).to_bytes(8, "little"), 8)
    assert fw_cfg.warnings == (NO_RESIZE, NO_RESIZE)
    assert fw_cfg.reset() == Reset("update", 0x200000, KIB64)
    assert device.bios_size == REGION


@pytest.mark.parametrize(
    ("size", "reason"), [(KIB64 + 1, "multiple of 64 KiB"), (REGION + KIB64, "larger than bios-size")]
)
def test_the_two_assertions(size: int, reason: str):
    _, fw_cfg = machine()
    fw_cfg.write(FW_BLOB, pack_fw_blob(size, 0x200000))
    reset = fw_cfg.reset()
    assert reset.action == "abort"
    assert reset.reason is not None
    assert reason in reset.reason


def test_with_bios_resize_the_size_is_taken_over_up_to_the_region():
    device, fw_cfg = machine(cap=0x8C)
    fw_cfg.write(FW_BLOB, pack_fw_blob(KIB64, 0x200000))
    assert (device.bios_size, fw_cfg.warnings) == (KIB64, ())
    fw_cfg.write(FW_BLOB, pack_fw_blob(REGION, 0x200000))
    assert (device.bios_size, fw_cfg.warnings) == (REGION, ())
    fw_cfg.write(FW_BLOB, pack_fw_blob(2 * REGION, 0x200000))
    assert (device.bios_size, fw_cfg.warnings) == (REGION, ("vmfwupdate: bios size cannot be larger than 262144",))
    assert fw_cfg.reset().action == "abort"


@given(st.lists(st.tuples(st.integers(0, 16), st.binary(max_size=17)), max_size=6), st.integers(0, 255))
def test_any_writes_end_in_one_of_three_resets(writes: list[tuple[int, bytes]], cap: int):
    device, fw_cfg = machine(cap=cap)
    for offset, data in writes:
        try:
            fw_cfg.write(FW_BLOB, data, offset)
        except FwCfgError:
            assert offset + len(data) > 16
    reset = fw_cfg.reset()
    assert reset.action in ("plain", "update", "abort")
    if reset.action == "update":
        assert (reset.size, reset.gpa) == struct.unpack("<QQ", fw_cfg.read(FW_BLOB))
        assert 0 < reset.size <= device.bios_size
        assert reset.size % KIB64 == 0


class Replay:
    """As much of a PC as the conversations need: ports and DMA on top of FwCfg, 64 MiB, the BIOS region."""

    def __init__(self, recording: dict[str, Any]) -> None:
        rows = [row for row in recording["files"] if not row["name"].startswith("etc/vmfwupdate/")]
        items = [Item(row["name"], bytes.fromhex(row.get("data", "")), row["writable"]) for row in rows]
        items = [item._replace(data=item.data.ljust(row["size"], b"\0")) for item, row in zip(items, rows, strict=True)]
        self.fw_cfg = FwCfg(items, device=VmFwUpdate(REGION))
        self.memory = bytearray(64 << 20)
        self.bios: bytes | None = None  # unknown until the first update
        self.item, self.offset, self.high = 0, 0, 0

    def take(self, size: int) -> bytes:
        data = self.fw_cfg.content(self.item)[self.offset : self.offset + size]
        self.offset += len(data)
        return data.ljust(size, b"\0")

    def dma(self, at: int) -> None:
        control, length, gpa = struct.unpack_from(">IIQ", self.memory, at)
        if control & 8:
            self.item, self.offset = control >> 16, 0
        result = 0
        if control & 2:
            self.memory[gpa : gpa + length] = self.take(length)
        elif control & 16:
            try:
                self.fw_cfg.transfer(self.item, self.memory[gpa : gpa + length], self.offset)
            except FwCfgError:
                result = 1
            self.take(length)
        elif control & 4:
            self.take(length)
        struct.pack_into(">I", self.memory, at, result)

    def reset(self) -> None:
        self.item = self.offset = 0
        reset = self.fw_cfg.reset()
        if reset.action == "update":
            firmware = self.memory[reset.gpa : reset.gpa + reset.size]
            self.bios = bytes(REGION - reset.size) + firmware

    def read(self, at: int, size: int) -> bytes | None:
        if at >= (1 << 32) - REGION or 0xE0000 <= at < 0x100000:
            start = at - ((1 << 32) if at > 0x100000 else 0x100000) + REGION
            return None if self.bios is None else self.bios[start : start + size]
        return bytes(self.memory[at : at + size])

    def run(self, line: str) -> str | None:
        """The answer to one line; None: not known here."""
        command, *words = line.split()
        at, *rest = (int(word, 0) for word in words)
        if command == "read":
            data = self.read(at, rest[0])
            return None if data is None else f"OK 0x{data.hex()}"
        if command == "write":
            self.memory[at : at + rest[0]] = bytes.fromhex(words[2][2:])
        elif command == "memset":
            self.memory[at : at + rest[0]] = bytes([rest[1]]) * rest[0]
        elif (command, at) == ("inb", 0x511):
            return f"OK 0x{self.take(1)[0]:04x}"
        elif (command, at) == ("outw", 0x510):
            self.item, self.offset = rest[0], 0
        elif (command, at) == ("outl", 0x514):
            assert rest[0] == 0
        elif (command, at) == ("outl", 0x518):
            self.dma(int.from_bytes(rest[0].to_bytes(4, "little"), "big"))
        else:
            assert (command, at) == ("outb", 0xCF9), line
            self.reset()
        return "OK"


def test_recorded_conversations(shared: Path):
    paths = sorted((shared / "golden-fwcfg").glob("v5-*.json"))
    assert paths
    for path in paths:
        recording = json.loads(path.read_text())
        replay = Replay(recording)
        known = 0
        for line, expected in zip(recording["script"], recording["answers"], strict=True):
            answer = replay.run(line)
            assert answer in (None, expected), f"{path.name}: {line}"
            known += answer is not None
        assert known >= len(recording["script"]) - 3
        assert list(replay.fw_cfg.warnings) == recording["host_log"], path.name
