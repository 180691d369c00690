"""The defaults of a host: a QEMU q35 guest with OVMF, the machine of the recordings."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from stubsim import hosts
from stubsim.hosts import Console, Firmware, FwCfg, Host
from stubsim.hosts.host import Watched, changed


def test_the_defaults():
    host = Host()
    assert host.memory == 2 * 1024**3
    assert host.hypervisor
    assert host.tpm == ("sha256",)
    assert not host.rng
    assert not host.secure_boot
    assert host.console == Console(graphics=True, virtio=0, serial=())
    assert host.fw_cfg == FwCfg(dma=True, vmfwupdate=None)
    assert host.architecture is None
    assert host.variables == ()
    assert host.structures is None
    assert host.unknown == frozenset()


def test_an_empty_file_is_the_default_host():
    assert hosts.from_json({}) == Host()


def test_the_default_firmware_is_the_one_most_recordings_were_made_on(shared: Path):
    path = shared / "golden" / "efifw-match@262.1" / "host.json"
    recorded = json.loads(path.read_text())["firmware"]
    assert recorded == {"vendor": "EDK II", "revision": 65536, "uefi_revision": 131142}
    assert Firmware() == Firmware(**recorded)


def test_a_host_is_a_value():
    assert hash(Host()) == hash(hosts.from_json({}))


def test_a_changed_host_is_still_watched():
    reads: Counter[str] = Counter()
    assert changed(Watched(Host(), reads), rng=True).rng
    assert reads["rng"] == 1
    assert type(changed(Host(), rng=True)) is Host
