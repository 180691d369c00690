"""The file level of fw_cfg; the expected numbers were seen on QEMU 7.2.22 and 10.0.13."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stubsim.machine.fwcfg import DIRECTORY, FEATURES, SIGNATURE, File, FwCfg, FwCfgError, Item


def test_selectors_go_by_the_names_bytes():
    names = ["opt/b", "etc/vmcoreinfo", "bootorder", "opt/B", "opt/é", "etc/e820"]
    fw_cfg = FwCfg([Item(name, bytes(3)) for name in names])
    assert [(file.selector, file.name) for file in fw_cfg.files] == list(
        enumerate(["bootorder", "etc/e820", "etc/vmcoreinfo", "opt/B", "opt/b", "opt/é"], 0x20)
    )
    assert fw_cfg.find("opt/b") == File("opt/b", 0x24, 3, False)
    assert fw_cfg.find("opt") is None


def test_directory_and_the_first_items():
    fw_cfg = FwCfg([Item("etc/vmcoreinfo", bytes(16), True), Item("bootorder", b"")])
    assert fw_cfg.directory() == (
        bytes.fromhex("00000002")
        + bytes.fromhex("00000000 0020 0000")
        + b"bootorder".ljust(56, b"\0")
        + bytes.fromhex("00000010 0021 0000")
        + b"etc/vmcoreinfo".ljust(56, b"\0")
    )
    assert fw_cfg.content(DIRECTORY) == fw_cfg.directory()
    assert fw_cfg.content(SIGNATURE) == b"QEMU"
    assert fw_cfg.content(FEATURES) == b"\3\0\0\0"
    assert FwCfg(dma=False).content(FEATURES) == b"\1\0\0\0"
    assert fw_cfg.content(0x1234) == b""


def test_writes_in_parts_reach_the_device_behind():
    data = bytearray(16)
    seen: list[tuple[int, int, bytes]] = []
    fw_cfg = FwCfg([Item("f", data, True, lambda offset, length: seen.append((offset, length, bytes(data))))])
    fw_cfg.write("f", b"\x10\x11\x12\x13")
    fw_cfg.write("f", b"\x1c\x1d\x1e\x1f", 12)
    assert fw_cfg.read("f").hex() == "1011121300000000000000001c1d1e1f"
    assert [row[:2] for row in seen] == [(0, 4), (12, 4)]
    assert seen[1][2] == fw_cfg.read("f")


def test_what_the_device_refuses_is_not_stored():
    seen: list[int] = []
    items = [
        Item("rw", bytes(16), True, lambda offset, _: seen.append(offset)),
        Item("ro", b"abc"),
        Item("0", b"", True),
    ]
    fw_cfg = FwCfg(items)
    for name, data, offset in (("rw", bytes(17), 0), ("rw", b"x", 16), ("rw", b"xx", 15), ("rw", b"x", 99)):
        with pytest.raises(FwCfgError, match="go beyond its 16 bytes"):
            fw_cfg.write(name, data, offset)
    with pytest.raises(FwCfgError, match="ro is read-only"):
        fw_cfg.write("ro", b"x")
    for call in (lambda: fw_cfg.write("none", b"x"), lambda: fw_cfg.read("none"), lambda: fw_cfg.transfer(25, b"x", 0)):
        with pytest.raises(FwCfgError):
            call()
    with pytest.raises(FwCfgError):
        fw_cfg.write("rw", b"x", -1)
    for name, offset in (("ro", 0), ("ro", 3), ("rw", 16), ("0", 0)):
        fw_cfg.write(name, b"", offset)  # length 0 is never an error
    assert (fw_cfg.read("rw"), fw_cfg.read("ro"), seen) == (bytes(16), b"abc", [])


def test_without_dma_nothing_can_be_written():
    fw_cfg = FwCfg([Item("rw", bytes(16), True)], dma=False)
    with pytest.raises(FwCfgError, match="no DMA"):
        fw_cfg.write("rw", b"x")
    assert fw_cfg.read("rw") == bytes(16)


def test_a_device_without_update_resets_plainly():
    fw_cfg = FwCfg([Item("rw", bytes(1), True)])
    fw_cfg.write("rw", b"x")
    assert fw_cfg.reset().action == "plain"
    assert (fw_cfg.read("rw"), fw_cfg.warnings) == (b"x", ())


@pytest.mark.parametrize("names", [["a", "a"], ["x" * 56], [""], ["a\0b"], [f"{n}" for n in range(33)]])
def test_what_cannot_be_a_directory(names: list[str]):
    with pytest.raises(ValueError, match="fw_cfg"):
        FwCfg([Item(name, b"") for name in names])


@given(st.binary(max_size=40), st.integers(-5, 40), st.integers(0, 30))
def test_a_write_is_stored_or_refused_whole(data: bytes, offset: int, size: int):
    fw_cfg = FwCfg([Item("f", bytearray(b"\xee" * size), True)])
    before = fw_cfg.read("f")
    fits = not data or (offset >= 0 and offset + len(data) <= size)
    try:
        fw_cfg.write("f", data, offset)
    except FwCfgError:
        assert not fits
        assert fw_cfg.read("f") == before
    else:
        assert fits
        assert fw_cfg.read("f") == (before[:offset] + data + before[offset + len(data) :] if data else before)


def test_recorded_directories_come_out_alike(shared: Path):
    checked = 0
    for path in sorted((shared / "golden-fwcfg").glob("*.json")):
        recording = json.loads(path.read_text())
        files = recording["files"]
        items = [Item(row["name"], bytes(row["size"]), row["writable"]) for row in reversed(files)]
        fw_cfg = FwCfg(items, dma=recording["dma"])
        assert fw_cfg.files == tuple(File(row["name"], row["selector"], row["size"], row["writable"]) for row in files)
        for answer in recording["answers"]:
            if answer and answer.startswith(f"OK 0x{len(files):08x}") and len(answer) > 1000:
                assert bytes.fromhex(answer[5:]).startswith(fw_cfg.directory())
                checked += 1
    assert checked >= 2
