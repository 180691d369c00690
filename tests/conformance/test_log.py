"""Complete event logs of real boots (golden-log): every event in its order, in every bank, and the data it carries."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stubsim.cli import firmware, machine, parsers
from stubsim.cli.start import start as start_of
from stubsim.explain.predicted_log import LogEvent, WholeLog
from stubsim.explain.whole_log import whole_log
from stubsim.formats import eventlog
from stubsim.simulation import boot
from stubsim.uki import load
from stubsim.views.log import event_log
from tests.conformance.test_linux import started
from tests.conftest import SHARED

Json = dict[str, Any]
CASES = sorted(path.parent.name for path in (SHARED / "golden-log").glob("*/boot.json"))
# Addresses of the machine's memory: the image's in front of its event, the table's behind its one.
ADDRESSES = {"EV_EFI_BOOT_SERVICES_APPLICATION": slice(8, None), "EV_EFI_HANDOFF_TABLES": slice(0, -8)}
ALWAYS_EXTENDED = {str(pcr) for pcr in (*range(8), 9, 11)}


@pytest.fixture(scope="module")
def restored(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return restore(shared, tmp_path_factory.mktemp("log"))


def restore(shared: Path, out: Path) -> Path:
    """The recordings with their big files put together."""
    folder = shared / "golden-log"
    command = [sys.executable, str(folder / "restore.py"), str(folder), str(out), str(shared / "golden-linux/blobs")]
    subprocess.run(command, check=True, capture_output=True)
    return out


def predicted(folder: Path, *more: str) -> WholeLog:
    """The log from the files of a recording, none of which were made after its boot but fw_cfg's and the host file."""
    case = json.loads((folder / "boot.json").read_text())
    code = f"{case['firmware']['sha256'][:16]}.fd.xz"
    given = {
        "--firmware": folder.parent / "firmware" / code,
        "--vars": folder / "vars-before.fd.xz",
        "--gpt": folder / "disk.gpt.xz",
        "--fw-cfg": folder / "fw_cfg.tar.xz",
        "--esp": folder / "esp",
    }
    options = [text for name, path in given.items() for text in (name, str(path))]
    uki, host = folder / case["uki"], folder / "host.json"
    arguments = parsers.one("log").parse_args([str(uki), "--smbios", str(host), *options, *more])
    platform, changed, start = firmware.machine(arguments, machine.load(str(host)), start_of(arguments))
    return whole_log(boot(load(str(uki)), changed, start), platform, start)


def told(event: LogEvent) -> tuple[int, str | None, dict[str, bytes] | None]:
    return event.pcr, event.type, event.digests


@pytest.mark.parametrize("name", CASES)
def test_every_event_is_computed(name: str, restored: Path):
    """In the binary form the logs are equal but for addresses."""
    folder = restored / name
    ours = predicted(folder)
    theirs = eventlog.parse((folder / "eventlog.bin").read_bytes())
    assert [told(event) for event in ours.events] == [
        (event.pcr, eventlog.type_name(event.type), event.digests) for event in theirs
    ]
    assert {event.how for event in ours.events} == {"computed"}
    assert not [text for text in ours.assumed if "comes first" in text or "load options" in text]
    expected = json.loads((folder / "expect.json").read_text())["pcrs"]
    for bank, values in ours.pcrs.items():
        assert {str(pcr) for pcr in values} >= ALWAYS_EXTENDED
        assert {pcr: value.hex() for pcr, value in values.items()} == {pcr: expected[bank][str(pcr)] for pcr in values}
    for own, real in zip(eventlog.parse(event_log(ours)), theirs, strict=True):
        kept = ADDRESSES.get(eventlog.type_name(real.type), slice(None))
        assert own._replace(data=own.data[kept]) == real._replace(data=real.data[kept])


LINUX = sorted(path.parent.name for path in (SHARED / "golden-linux").glob("*/boot.json"))


@pytest.fixture(scope="module")
def linux(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Boots whose stores and disks were not kept."""
    folder, out = shared / "golden-linux", tmp_path_factory.mktemp("linux")
    subprocess.run([sys.executable, str(folder / "restore.py"), str(folder), str(out)], check=True, capture_output=True)
    return out


def of_the_firmware(folder: Path) -> dict[str, list[Any]]:
    """What tells one machine from another, by the type of the event."""
    found: dict[str, list[Any]] = {}
    for event in eventlog.parse((folder / "eventlog.bin").read_bytes()):
        kind = eventlog.type_name(event.type)
        if kind in ("EV_EFI_PLATFORM_FIRMWARE_BLOB", "EV_EFI_VARIABLE_DRIVER_CONFIG", "EV_EFI_VARIABLE_BOOT"):
            found.setdefault(kind, []).append(event.digests)
    return found


# Every third one: each takes a second.
@pytest.mark.parametrize("name", LINUX[::3])
def test_an_update_of_the_chain_by_the_log_of_another_boot(name: str, linux: Path):
    """The firmware's events from a boot of another UKI on the same machine; chain, stub and kernel are predicted."""
    folder = linux / name
    others = (linux / other for other in LINUX if other != name)
    same = next((other for other in others if of_the_firmware(other) == of_the_firmware(folder)), None)
    if same is None:
        pytest.skip("no recordings of another boot on the same machine")
    path, start = started(folder)
    secret = folder / "host-secret.json"
    host = str(secret if secret.exists() else folder / "host.json")
    options = ["--baseline", str(same / "eventlog.bin")]
    arguments = parsers.one("log").parse_args([path, "--smbios", host, *options])
    platform, changed, start = firmware.machine(arguments, machine.load(host), start)
    ours = whole_log(boot(load(path), changed, start), platform, start)
    theirs = eventlog.parse((folder / "eventlog.bin").read_bytes())
    assert [told(event) for event in ours.events] == [
        (event.pcr, eventlog.type_name(event.type), event.digests) for event in theirs
    ]
    assert {event.how for event in ours.events} == {"computed", "baseline"}


@pytest.mark.oracle
def test_tpm2_eventlog_reads_what_is_written(restored: Path, oracle: Callable[[str], str], tmp_path: Path):
    ours = predicted(restored / "sb-on")
    path = tmp_path / "log"
    path.write_bytes(event_log(ours))
    done = subprocess.run([oracle("tpm2_eventlog"), str(path)], capture_output=True, check=True, text=True)
    assert done.stdout.count("- EventNum:") == len(ours.events) + 1
    for pcr, value in ours.pcrs["sha256"].items():
        assert f"  {pcr:<2} : 0x{value.hex()}" in done.stdout or not any(value)
