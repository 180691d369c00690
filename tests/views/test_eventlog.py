"""`boot --format eventlog`: the recorded events byte for byte, and what tpm2_eventlog and fwupd read."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from stubsim import hosts, uki
from stubsim.errors import StubsimError
from stubsim.formats import eventlog
from stubsim.formats.efi_string import utf16z
from stubsim.formats.eventlog import EVENT_TYPES, Event
from stubsim.machine.tpm import BANKS, replay
from stubsim.result import Boot
from stubsim.simulation import boot
from stubsim.start import Start
from stubsim.trace import Measured
from stubsim.views.eventlog import event_log
from tests.conftest import ROOT, recordings
from tests.loader.test_run import esp_of
from tests.samples import FULL_UKI, MACHINE, execute, invoke, linux, written
from tests.stub.harness import make_uki

RECORDINGS = recordings()
PROFILE_TAG = (0x13AED6DB).to_bytes(4, "little")


def simulated(folder: Path, *banks: str, **host: Any) -> Boot:
    image = written(folder, "uki.efi", FULL_UKI)
    described = {"smbios": MACHINE, "tpm": {"banks": list(banks)} if banks else None, **host}
    return boot(uki.load(str(image)), hosts.from_json(described), Start(profile=1, load_options=utf16z("löad options")))


def of_the_stub(recorded: tuple[Event, ...]) -> list[Event]:
    """PCR 11 to 13 and the tagged events of PCR 1, from the stub's first one on: the profile or `.linux`."""
    start = next(
        place
        for place, event in enumerate(recorded)
        if event.pcr == 11 or (event.pcr == 12 and event.data.startswith(PROFILE_TAG))
    )
    return [
        event
        for event in recorded[start:]
        if event.pcr in (11, 12, 13) or (event.pcr == 1 and event.type == EVENT_TYPES["EV_EVENT_TAG"])
    ]


@pytest.mark.parametrize("folder", RECORDINGS, ids=lambda folder: folder.name)
def test_a_recording_has_these_events(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Type, digests in every bank and event data are the recorded ones."""
    recorded = json.loads((folder / "expect.json").read_text())["eventlog"]
    if not recorded:
        pytest.skip("no kernel was started, or there is no TPM, so there is no log")
    monkeypatch.chdir(folder)
    arguments = json.loads((folder / "boot.json").read_text())["args"]
    result = invoke(
        "boot", "uki.efi", "--smbios", "host.json", *arguments, "--format", "eventlog", "-o", tmp_path / "log"
    )
    assert result.status == 0
    log = eventlog.parse_log((tmp_path / "log").read_bytes())
    expected = eventlog.parse_log(bytes.fromhex(recorded))
    assert log.header == expected.header
    assert list(log.events) == of_the_stub(expected.events)


def test_events_and_banks(tmp_path: Path):
    result = simulated(tmp_path, *BANKS)
    log = eventlog.parse_log(event_log(result))
    assert tuple(log.header.banks) == BANKS
    measured = [event for event in result.trace if isinstance(event, Measured)]
    assert [(e.pcr, eventlog.type_name(e.type), e.data) for e in log.events] == [
        (e.pcr, e.type, e.data) for e in measured
    ]
    values = replay(log.events)
    for bank, pcrs in result.pcrs.items():
        assert pcrs == {pcr: values[bank].get(pcr, bytes(len(pcrs[pcr]))) for pcr in pcrs}


def test_without_a_tpm(tmp_path: Path):
    with pytest.raises(StubsimError, match="the host has no TPM"):
        event_log(simulated(tmp_path))
    image, host = written(tmp_path, "uki.efi", FULL_UKI), written(tmp_path, "host.json", {"tpm": None})
    result = invoke("boot", image, "--smbios", host, "--format", "eventlog", "-o", tmp_path / "log")
    assert result.status == 2
    assert [line for line in result.lines if "error" in line] == [
        "stubsim: error: nothing is measured, so there is no event log: the host has no TPM; "
        'a host file gives it one with "tpm": {"banks": ["sha256"]}'
    ]
    assert not (tmp_path / "log").exists()


def test_a_tdx_guest_without_a_tpm_has_registers(tmp_path: Path):
    """UEFI 2.10, table 38.4.1: PCR 8 to 15 are RTMR 2, which is register 3 of the log."""
    result = simulated(tmp_path, confidential="tdx")
    log = eventlog.parse_log(event_log(result))
    assert log.header.banks == {"sha384": 48}
    assert {event.pcr for event in log.events} == {3}
    assert len(log.events) == sum(isinstance(event, Measured) for event in result.trace) > 0


def test_a_terminal_is_spared(tmp_path: Path):
    image, host = written(tmp_path, "uki.efi", FULL_UKI), written(tmp_path, "host.json", {"smbios": MACHINE})
    ours, terminal = os.openpty()
    try:
        result = execute("boot", image, "--smbios", host, "--format", "eventlog", stdout=terminal)
    finally:
        os.close(terminal)
        os.close(ours)
    assert result.status == 2
    assert result.lines[-1] == "stubsim: error: binary output is not written to a terminal; use -o FILE or a pipe"


def test_a_pipe_gets_the_bytes(tmp_path: Path):
    image, host = written(tmp_path, "uki.efi", FULL_UKI), written(tmp_path, "host.json", {"smbios": MACHINE})
    command = [sys.executable, "-m", "stubsim", "boot", str(image), "--smbios", str(host), "--format", "eventlog"]
    done = subprocess.run(command, capture_output=True, check=True, cwd=ROOT)
    assert done.stdout == event_log(boot(uki.load(str(image)), hosts.load(str(host))))


@pytest.mark.oracle
@pytest.mark.parametrize("banks", [("sha256",), BANKS])
def test_tpm2_eventlog_computes_our_pcrs(oracle: Callable[[str], str], tmp_path: Path, banks: tuple[str, ...]):
    result = simulated(tmp_path, *banks)
    path = written(tmp_path, "log", event_log(result))
    done = subprocess.run([oracle("tpm2_eventlog"), str(path)], capture_output=True, check=True)
    # Behind the events it lists bank, PCR and the value it computed.
    registers: dict[str, dict[int, bytes]] = {}
    bank = ""
    for line in done.stdout.decode("latin-1").partition("\npcrs:\n")[2].splitlines():
        name, _, value = (part.strip() for part in line.partition(":"))
        if value:
            registers[bank][int(name)] = bytes.fromhex(value.removeprefix("0x"))
        else:
            bank = name
            registers[bank] = {}
    assert set(registers) == set(banks)
    for name in banks:
        # It leaves out a PCR that no event extends.
        assert registers[name] == {pcr: value for pcr, value in result.pcrs[name].items() if any(value)}
        assert {11, 12} <= set(registers[name])


@pytest.mark.oracle
@pytest.mark.parametrize("banks", [("sha256",), BANKS])
def test_fwupdtool_parses_the_log(newer_oracle: Callable[..., str], tmp_path: Path, banks: tuple[str, ...]):
    """It shows PCR and digests of each event; since fwupd 2.1.1, and of SHA-512 banks it shows nothing."""
    result = simulated(tmp_path, *banks)
    shown = newer_oracle("fwupdtool", event_log(result), "firmware-parse", "{}", "tpm-eventlog-v2")
    root = ElementTree.fromstring(shown[shown.index("<firmware") :])
    events = [
        (int(item.findtext("pcr", "0"), 0), {bank: item.findtext(bank) for bank in banks if bank != "sha512"})
        for item in root.iter("firmware")
        if item.get("gtype") == "FuTpmEventlogItem"
    ]
    assert events == [
        (event.pcr, {bank: event.digests[bank].hex() for bank in banks if bank != "sha512"})
        for event in result.trace
        if isinstance(event, Measured)
    ]


def with_a_loader(folder: Path) -> Boot:
    """systemd-boot, a profile by its entry, and a Linux, so that three stages measure."""
    esp = esp_of(folder)
    path = esp / "EFI/Linux/lab.efi"
    profiles = ((".profile", b"ID=a"), (".profile", b"ID=b"))
    image = make_uki((".osrel", b"ID=lab\n"), (".cmdline", b"own"), *profiles, linux=linux("6.12.1-lab"))
    path.write_bytes(bytes(image.image.data))
    return boot(uki.load(str(path)), hosts.from_json({"smbios": MACHINE}), Start(esp=str(esp), entry="lab.efi@b"))


def test_the_log_has_loader_stub_and_kernel_in_their_order(tmp_path: Path):
    """As in the logs of golden-linux: loader.conf and load options, then the stub's, then PCR 9."""
    events = eventlog.parse(event_log(with_a_loader(tmp_path)))
    pcrs = [event.pcr for event in events if event.type != EVENT_TYPES["EV_NO_ACTION"]]
    assert pcrs[:3] == [5, 12, 12]
    assert set(pcrs[3:-2]) == {11}
    assert pcrs[-2:] == [9, 9]


@pytest.mark.oracle
def test_tpm2_eventlog_reads_all_of_them(oracle: Callable[[str], str], tmp_path: Path):
    result = with_a_loader(tmp_path)
    path = written(tmp_path, "all.log", event_log(result))
    done = subprocess.run([oracle("tpm2_eventlog"), str(path)], capture_output=True, text=True, check=True)
    for pcr in (9, 11, 12):
        assert result.pcrs["sha256"][pcr].hex() in done.stdout.lower()
