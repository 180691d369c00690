"""`stubsim log`: with a made-up firmware, and where things are not at hand; real logs are in tests/conformance."""

from __future__ import annotations

import base64
import hashlib
import json
import lzma
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from jsonschema import Draft202012Validator

from stubsim import schemas
from stubsim.formats import eventlog
from stubsim.formats.load_option import LoadOption, build_path, file_path, hard_drive
from stubsim.result import Boot
from stubsim.trace import Unknown
from stubsim.uefi.baseline import Baseline
from stubsim.uefi.builds import BUILDS
from stubsim.uefi.measured.row import variable_data
from stubsim.uefi.variables import GLOBAL
from tests.explain.test_snp import IMAGE as SNP_IMAGE
from tests.formats.test_firmware_volume import DXE, IMAGE, PEI, X64, file, packed, program, section, volume
from tests.formats.test_fw_cfg_files import archive
from tests.formats.test_gpt import FIRST, disk, entry
from tests.formats.test_varstore import store, variable
from tests.samples import Result, invoke, linux, uki, written
from tests.strategies import mutated

BANKS = ("sha1", "sha256")
HOST = {"schema": "stubsim/host/1", "smbios": {}, "tpm": {"banks": ["sha1", "sha256"]}}
VOLUMES = b"".join(section(0x17, volume(file(kind, program(X64)))) for kind in (PEI, DXE))
CODE = volume(file(IMAGE, packed(VOLUMES)))


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """All there is of one."""
    written(tmp_path, "uki.efi", uki(linux=linux("6.12.117-lab")))
    written(tmp_path, "host.json", HOST)
    written(tmp_path, "code.fd", CODE)
    written(tmp_path, "vars.fd", store(variable("Timeout", b"\0\0")))
    written(tmp_path, "disk.gpt", disk(entry(FIRST, 2048, 4095, "ESP")))
    written(tmp_path, "fw_cfg.tar", archive({"bootorder": b"/pci@i0cf8/scsi@1/disk@0,0\0"}))
    return tmp_path


def log(machine: Path, *options: str) -> Result:
    return invoke("log", machine / "uki.efi", "--smbios", machine / "host.json", *options)


def files(machine: Path) -> list[str]:
    names = {"--firmware": "code.fd", "--vars": "vars.fd", "--gpt": "disk.gpt", "--fw-cfg": "fw_cfg.tar"}
    return [text for option, name in names.items() for text in (option, str(machine / name))]


def report(machine: Path, *options: str) -> dict[str, Any]:
    found: dict[str, Any] = log(machine, *options, "--format", "json").json
    Draft202012Validator(schemas.load("log")).validate(found)
    return found


def unknown(found: dict[str, Any]) -> set[tuple[int, str]]:
    return {(row["pcr"], row["description"]) for row in found["events"] if row["how"] == "unknown"}


FIRMWARES_OWN = {
    (0, "firmware version"), (0, "PEI volume"), (1, "ACPI DATA"), (1, "SMBIOS"), (1, "BootOrder and Boot####"),
    (5, "Exit Boot Services Invocation"),
}  # fmt: skip


def test_of_an_unknown_build_what_all_builds_do_is_computed(machine: Path):
    found = report(machine, *files(machine))
    assert unknown(found) == {*FIRMWARES_OWN, (7, "SecureBoot"), (1, "the SMBIOS events of PCR 1")}
    assert sorted(map(int, found["pcrs"]["sha256"])) == [2, 3, 4, 6, 9, 11, 12, 13]
    assert {row["pcr"] for row in found["unknown"]} == {0, 1, 5, 7}


def test_without_files_nothing_of_the_firmware_is_told_but_constants(machine: Path):
    found = report(machine)
    own = {(7, name) for name in ("SecureBoot", "PK", "KEK", "db", "dbx")} | {(0, "DXE volume"), (5, "GPT")}
    assert unknown(found) == FIRMWARES_OWN | own | {(1, "the SMBIOS events of PCR 1")}
    assert {row["because"] for row in found["events"] if row["description"] == "GPT"} == {
        "the partition table is not at hand (--disk, --gpt)"
    }


def test_every_digest_is_there_in_every_bank(machine: Path):
    for row in report(machine, *files(machine))["events"]:
        assert row["digests"] is None or list(row["digests"]) == ["sha1", "sha256"]


def test_the_text_marks_what_is_not_known(machine: Path):
    text, events = log(machine, *files(machine)).out, report(machine, *files(machine))["events"]
    lost = sum(row["how"] == "unknown" for row in events)
    assert text.startswith(f"{len(events)} events: {len(events) - lost} computed, {lost} unknown\n\nPCR  by ")
    assert "  5  firmware  EV_EFI_GPT_EVENT " in text
    assert "unknown           PEI volume" in text
    assert "PCR values, sha256" in text
    assert "  PCR 0: the firmware is not a build that was recorded" in text


def test_what_is_said_is_indented_where_it_is_folded(machine: Path):
    lines = log(machine, *files(machine)).out.partition("\nUnknown\n")[2].splitlines()
    assert [line for line in lines if len(line) > 70]
    assert all(line.startswith("  ") for line in lines if line not in ("", "Assumed"))
    assert all(len(line) <= 80 for line in lines)


def test_a_log_with_a_gap_is_not_written(machine: Path):
    ended = log(machine, *files(machine), "--format", "eventlog", "-o", str(machine / "out"))
    assert ended.status == 2
    assert "PCR 0: firmware version is not known" in ended.err
    assert not (machine / "out").exists()


def test_packed_files_are_unpacked(machine: Path):
    plain = report(machine, *files(machine))
    for name in ("code.fd", "vars.fd", "disk.gpt", "fw_cfg.tar"):
        written(machine, name, lzma.compress((machine / name).read_bytes()))
    assert report(machine, *files(machine)) == plain


def test_a_disk_image_has_its_table_in_it(machine: Path):
    digest = {row["description"]: row["digests"] for row in report(machine, *files(machine))["events"]}["GPT"]
    with (machine / "disk.img").open("wb") as image:
        image.write((machine / "disk.gpt").read_bytes())
        image.truncate(1 << 30)
    rows = report(machine, "--disk", str(machine / "disk.img"))["events"]
    assert {row["description"]: row["digests"] for row in rows}["GPT"] == digest


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--firmware", "no firmware volume with a DXE core"),
        ("--vars", "no variable store in it"),
        ("--gpt", "no GUID partition table"),
        ("--disk", "no GUID partition table"),
        ("--fw-cfg", "not a tar archive of fw_cfg files"),
        ("--option-rom", "not an option ROM"),
    ],
)
def test_a_file_that_is_something_else_is_named(machine: Path, option: str, message: str):
    path = written(machine, "other", b"something else")
    ended = log(machine, option, str(path))
    assert (ended.status, len(ended.err.splitlines())) == (2, 1)
    assert f"{path}: " in ended.err
    assert message in ended.err


@pytest.mark.parametrize("data", [b"\xfd7zXZ\0cut off", lzma.compress(bytes(1000))[:-20]])
def test_a_file_that_cannot_be_unpacked(machine: Path, data: bytes):
    path = written(machine, "other", data)
    ended = log(machine, "--vars", str(path))
    assert ended.status == 2
    assert f"{path}: " in ended.err


def test_a_machine_without_a_tpm_has_no_log(machine: Path):
    written(machine, "host.json", HOST | {"tpm": None})
    ended = log(machine)
    assert ended.status == 2
    assert "no TPM" in ended.err


def test_what_is_not_known_of_the_machine_is_unknown_in_the_log(machine: Path):
    written(machine, "host.json", HOST | {"unknown": ["secure_boot"]})
    rows = [row for row in report(machine)["events"] if row["pcr"] == 9]
    assert rows
    written(machine, "host.json", HOST | {"unknown": ["tpm.banks"]})
    assert report(machine)["events"]


@pytest.mark.parametrize(
    ("key", "lost"),
    [
        ("smbios.oem_strings", {9, 12}), ("smbios", {9, 12}), ("direct_boot", {4, 9, 12}), ("confidential", {4}),
        ("variables", {4}), ("memory", set()),
    ],
)  # fmt: skip
def test_registers_that_hang_on_what_is_not_known_have_no_value(machine: Path, key: str, lost: set[int]):
    """Also where nothing is measured into them on the machine as it is told; no reference value is made of them."""
    written(machine, "host.json", HOST | {"unknown": [key]})
    found = report(machine)
    assert {4, 9, 11, 12, 13} - {int(pcr) for pcr in found["pcrs"]["sha256"]} == lost
    assert {row["pcr"] for row in found["unknown"]} >= lost
    for pcr in sorted(lost):
        for form in ("pcr-policy", "rvps", "keylime"):
            ended = log(machine, "--format", form, "--pcr", str(pcr))
            assert (ended.status, ended.out) == (2, "")


def test_a_tpm_that_is_not_known_is_taken_for_granted(machine: Path):
    written(machine, "host.json", {"schema": HOST["schema"], "smbios": {}, "unknown": ["tpm"]})
    assert any(line.startswith("whether the machine has a TPM") for line in report(machine)["assumed"])


def test_json_is_one_object(machine: Path):
    assert json.loads(log(machine, "--format", "json").out)["schema"] == "stubsim/log/1"


def event(
    pcr: int, kind: str, content: bytes, data: bytes | None = None, banks: tuple[str, ...] = BANKS
) -> eventlog.Event:
    digests = {bank: hashlib.new(bank, content).digest() for bank in banks}
    return eventlog.Event(pcr, eventlog.EVENT_TYPES[kind], digests, content if data is None else data)


def config(name: str, data: bytes, banks: tuple[str, ...] = BANKS) -> eventlog.Event:
    return event(7, "EV_EFI_VARIABLE_DRIVER_CONFIG", variable_data(name, GLOBAL, data), banks=banks)


def baseline(machine: Path, banks: tuple[str, ...] = BANKS, dxe: bytes | None = None) -> Path:
    """A log as a machine of this made-up firmware would have it, SMBIOS behind the separators."""
    order = b"\0\0"
    blobs = [b"pei", dxe if dxe is not None else volume(file(DXE, program(X64)))]
    events = [
        event(0, "EV_S_CRTM_VERSION", b"1\0\0\0", banks=banks),
        *(event(0, "EV_EFI_PLATFORM_FIRMWARE_BLOB", blob, bytes(16), banks) for blob in blobs),
        config("SecureBoot", b"\0", banks),
        *(config(name, b"", banks) for name in ("PK", "KEK", "db", "dbx")),
        event(7, "EV_SEPARATOR", bytes(4), banks=banks),
        event(1, "EV_EFI_VARIABLE_BOOT", order, variable_data("BootOrder", GLOBAL, order), banks),
        event(4, "EV_EFI_ACTION", b"Calling EFI Application from Boot Option", banks=banks),
        *(event(pcr, "EV_SEPARATOR", bytes(4), banks=banks) for pcr in range(7)),
        event(1, "EV_EFI_HANDOFF_TABLES", b"smbios", bytes(32), banks),
        event(5, "EV_EFI_GPT_EVENT", b"table", banks=banks),
        event(4, "EV_EFI_BOOT_SERVICES_APPLICATION", b"another UKI", bytes(40), banks),
        event(11, "EV_IPL", b"another section", banks=banks),
        event(5, "EV_EFI_ACTION", b"Exit Boot Services Invocation", banks=banks),
        event(5, "EV_EFI_ACTION", b"Exit Boot Services Returned with Success", banks=banks),
    ]
    return written(machine, "old.log", eventlog.build(events, banks))


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_a_baseline_tells_of_the_firmware_and_the_chain_is_predicted(machine: Path):
    found = report(machine, "--baseline", str(baseline(machine)))
    assert unknown(found) == {(1, "the SMBIOS events of PCR 1")}
    rows = {(row["pcr"], row["description"]): row for row in found["events"]}
    assert rows[0, "PEI volume"]["how"] == rows[7, "SecureBoot"]["how"] == rows[5, "GPT"]["how"] == "baseline"
    assert rows[0, "PEI volume"]["digests"]["sha256"] == sha256(b"pei")
    assert sha256(b"another UKI") not in str(found)
    assert sha256(b"another section") not in str(found)
    order = [(row["pcr"], row["type"]) for row in found["events"]]
    # As in the baseline, and no ACPI data, which it has not.
    assert order.index((1, "EV_EFI_HANDOFF_TABLES")) > order.index((6, "EV_SEPARATOR"))
    assert (1, "EV_PLATFORM_CONFIG_FLAGS") not in order
    assert [row["description"] for row in found["events"]][-2:] == [
        "Exit Boot Services Invocation", "Exit Boot Services Returned with Success"
    ]  # fmt: skip
    assert {"0", "5", "7"} <= set(found["pcrs"]["sha256"])


def test_files_count_more_than_a_baseline(machine: Path):
    written(machine, "vars.fd", store(variable("KEK", b"new")))
    found = report(machine, "--baseline", str(baseline(machine)), "--vars", str(machine / "vars.fd"))
    rows = {row["description"]: row for row in found["events"]}
    assert rows["KEK"]["how"] == "computed"
    assert rows["KEK"]["digests"]["sha256"] == sha256(variable_data("KEK", GLOBAL, b"new"))
    # No platform key in the store: the state is that of the build, which the baseline knows.
    assert rows["SecureBoot"]["how"] == "baseline"


def test_a_baseline_that_has_something_else_than_the_files_is_told(machine: Path):
    """GPT and Secure Boot's variables tell one machine from another; what a file says counts."""
    log = str(baseline(machine))
    assert "the baseline is of" not in str(report(machine, "--baseline", log)["assumed"])
    found = report(machine, "--baseline", log, "--gpt", str(machine / "disk.gpt"))
    (told,) = [text for text in found["assumed"] if text.startswith("the baseline is of another machine")]
    assert ": GPT of the files differ from it, and count" in told
    assert {row["description"]: row["how"] for row in found["events"]}["GPT"] == "computed"
    written(machine, "vars.fd", store(variable("KEK", b"new")))
    found = report(machine, "--baseline", log, "--vars", str(machine / "vars.fd"))
    assert ": KEK, " in str(found["assumed"])


def test_the_code_of_another_firmware_is_not_taken_from_a_baseline(machine: Path):
    log = str(baseline(machine, dxe=b"older"))
    found = report(machine, "--baseline", log, "--firmware", str(machine / "code.fd"))
    assert {(0, "firmware version"), (0, "PEI volume")} <= unknown(found)
    assert any("another firmware" in text for text in found["assumed"])
    rows = {row["description"]: row for row in found["events"]}
    assert rows["PK"]["how"] == "baseline"


def test_a_bank_that_the_baseline_has_not_is_hashed_from_its_data(machine: Path):
    found = report(machine, "--baseline", str(baseline(machine, ("sha256",))))
    rows = {row["description"]: row for row in found["events"]}
    assert rows["PEI volume"]["because"] == "the baseline has no sha1 bank"
    assert rows["GPT"]["digests"] == {"sha1": hashlib.sha1(b"table").hexdigest(), "sha256": sha256(b"table")}
    boot = next(row for row in found["events"] if row["type"] == "EV_EFI_VARIABLE_BOOT")
    assert boot["digests"]["sha1"] == hashlib.sha1(b"\0\0").hexdigest()


def test_a_baseline_that_is_no_log_is_named(machine: Path):
    ended = log(machine, "--baseline", str(machine / "host.json"))
    assert ended.status == 2
    assert f"{machine / 'host.json'}: " in ended.err


@given(mutated(b"".join(each.data for each in (config("db", b"list"), config("SecureBoot", b"\1")))))
def test_any_event_data_of_a_baseline_is_read(data: bytes):
    rows = (event(7, "EV_EFI_VARIABLE_DRIVER_CONFIG", b"x", data), event(1, "EV_EFI_VARIABLE_BOOT", b"x", data))
    found = Baseline(eventlog.Log(eventlog.Header({"sha256": 32}), rows))
    assert len(found.variables) <= 1


def test_the_other_commands_take_the_same_options(machine: Path):
    """boot and measure have the firmware's registers then, with the values of the log."""
    options = ["--baseline", str(baseline(machine))]
    whole = report(machine, *options)
    call = [machine / "uki.efi", "--smbios", machine / "host.json", *options, "--format", "json"]
    booted = invoke("boot", *call).json
    Draft202012Validator(schemas.load("boot")).validate(booted)
    assert booted["pcrs"] == whole["pcrs"]
    shown = [(row["by"], row["pcr"], row["digests"]) for row in booted["measurements"]]
    assert shown == [(row["by"], row["pcr"], row["digests"]) for row in whole["events"] if row["digests"]]
    assert "PCR 1" in {row["what"] for row in booted["unknown"]}
    measured = invoke("measure", *call).json
    Draft202012Validator(schemas.load("measure")).validate(measured)
    for pcr in ("0", "4", "5", "7"):
        assert measured["cases"][0]["pcrs"]["sha256"][pcr] == whole["pcrs"]["sha256"][pcr]


def test_files_of_a_firmware_are_those_of_one_machine(machine: Path):
    options = ["--baseline", str(baseline(machine))]
    assert invoke("measure", machine / "uki.efi", *options).status == 2
    twice = ["--smbios", machine / "host.json", "--smbios", written(machine, "other.json", HOST)]
    assert invoke("measure", machine / "uki.efi", *twice, *options).status == 2


def test_diff_log_compares_the_firmwares_events_too(machine: Path):
    predicted = log(machine, *files(machine), "--baseline", str(baseline(machine)), "--format", "json").json
    rows = [row for row in predicted["events"] if row["digests"]]
    digests = [{bank: bytes.fromhex(text) for bank, text in row["digests"].items()} for row in rows]
    kinds = [(row["pcr"], eventlog.EVENT_TYPES[row["type"]]) for row in rows]
    events = [eventlog.Event(*kind, found, b"x") for kind, found in zip(kinds, digests, strict=True)]
    real = written(machine, "real.log", eventlog.build(events, BANKS))
    call = [machine / "uki.efi", "--smbios", machine / "host.json", "--eventlog", real, "--format", "json"]
    assert "firmware" not in invoke("diff-log", *call).json
    found = invoke("diff-log", *call, "--gpt", machine / "disk.gpt").json
    Draft202012Validator(schemas.load("diff-log")).validate(found)
    assert [row["kind"] for row in found["firmware"]["differences"] if row["type"] == "EV_EFI_GPT_EVENT"] == []
    written(machine, "disk.gpt", disk(entry(FIRST, 2048, 9999, "ESP")))
    found = invoke("diff-log", *call, "--gpt", machine / "disk.gpt").json
    assert {(row["kind"], row["type"]) for row in found["firmware"]["differences"]} >= {("differs", "EV_EFI_GPT_EVENT")}
    text = invoke("diff-log", *call[:-2], "--gpt", machine / "disk.gpt").out
    assert "differs: PCR 5 EV_EFI_GPT_EVENT GPT" in text


def test_a_store_whose_entries_start_something_else_is_told(machine: Path, monkeypatch: pytest.MonkeyPatch):
    """The made-up firmware is taken for a build that is known, so that its boot entries are."""
    monkeypatch.setattr("stubsim.uefi.platform.build_of", lambda pei, dxe: next(iter(BUILDS.values())))
    path = build_path(hard_drive(1, 2048, 2048, FIRST), file_path("\\EFI\\Linux\\other.efi"))
    option = LoadOption(1, "other", path, b"q\0").raw
    rows = {"BootOrder": b"\0\0", "Boot0000": option, "BootNext": b"\0\0"}
    written(machine, "vars.fd", store(*(variable(*row) for row in rows.items())))
    esp = machine / "esp/EFI/Linux"
    esp.mkdir(parents=True)
    for name in ("lab.efi", "other.efi"):
        (esp / name).write_bytes((machine / "uki.efi").read_bytes() + name.encode())
    call = ["--smbios", machine / "host.json", *files(machine), "--esp", machine / "esp", "--format", "json"]
    told = " ".join(invoke("log", esp / "lab.efi", *call).json["assumed"])
    assert "BootNext" in told
    assert "Boot0000 comes first and starts \\EFI\\Linux\\other.efi" in told
    told = " ".join(invoke("log", esp / "other.efi", *call).json["assumed"])
    assert "comes first" not in told
    assert "Boot0000 has load options" in told


TDX = HOST | {"confidential": "tdx", "tpm": None}
ACTION, EXITS = b"Calling EFI Application from Boot Option", (
    b"Exit Boot Services Invocation", b"Exit Boot Services Returned with Success",
)  # fmt: skip


def build(monkeypatch: pytest.MonkeyPatch, part: str) -> None:
    """Take the made-up firmware for the build with this in its name."""
    found = next(row for row in BUILDS.values() if part in row.name)
    monkeypatch.setattr("stubsim.uefi.platform.build_of", lambda pei, dxe: found)


def test_a_tdx_guest_has_its_own_registers(machine: Path, monkeypatch: pytest.MonkeyPatch):
    """One separator for all of RTMR 1 (edk2, TdTcg2Dxe); image and GPT by the same digests as elsewhere."""
    build(monkeypatch, "2025.02")
    written(machine, "host.json", HOST | {"tpm": {"banks": ["sha384"]}})
    usual = {row["description"]: row["digests"] for row in report(machine, *files(machine))["events"]}
    written(machine, "host.json", TDX)
    found = report(machine, *files(machine))
    assert found["pcrs"] == {}
    assert set(found["rtmrs"]) == {"1", "2"}
    assert [row["register"] for row in found["unknown"]] == ["MRTD", "RTMR 0"]
    path = next(row["description"] for row in found["events"] if "APPLICATION" in (row["type"] or ""))
    rows = [hashlib.sha384(text).digest() for text in (ACTION, bytes(4))]
    rows += [bytes.fromhex(usual[name]["sha384"]) for name in ("GPT", path)]
    rows += [hashlib.sha384(text).digest() for text in EXITS]
    value = bytes(48)
    for row in rows:
        value = hashlib.sha384(value + row).digest()
    assert found["rtmrs"]["1"] == value.hex()
    booted = invoke("boot", machine / "uki.efi", "--smbios", machine / "host.json", *files(machine), "--format", "json")
    assert booted.json["rtmrs"] == found["rtmrs"]
    assert "RTMR values, sha384\n  1  " in log(machine, *files(machine)).out


def test_the_ccel_has_what_is_known_and_is_read_again(machine: Path, monkeypatch: pytest.MonkeyPatch):
    build(monkeypatch, "2025.02")
    written(machine, "host.json", TDX)
    call = [*files(machine), "--format", "eventlog", "-o", str(machine / "ccel")]
    assert log(machine, *call).status == 2
    assert not (machine / "ccel").exists()
    assert log(machine, *call, "--allow-unknown").status == 0
    real = eventlog.parse_log((machine / "ccel").read_bytes())
    assert real.is_ccel
    assert {each.pcr for each in real.events} == {2, 3}
    again = ["--smbios", machine / "host.json", "--eventlog", machine / "ccel", "--format", "json"]
    assert invoke("diff-log", machine / "uki.efi", *again).json["equal"]
    written(machine, "other.efi", uki(linux=linux("6.12.118-lab")))
    assert not invoke("diff-log", machine / "other.efi", *again).json["equal"]


@pytest.mark.oracle
def test_tpm2_eventlog_reads_the_ccel(machine: Path, monkeypatch: pytest.MonkeyPatch, oracle: Callable[[str], str]):
    build(monkeypatch, "2025.02")
    written(machine, "host.json", TDX)
    log(machine, *files(machine), "--format", "eventlog", "-o", str(machine / "ccel"), "--allow-unknown")
    done = subprocess.run([oracle("tpm2_eventlog"), machine / "ccel"], capture_output=True, check=True, text=True)
    for index, value in report(machine, *files(machine))["rtmrs"].items():
        assert f"  {int(index) + 1}  : 0x{value}" in done.stdout


@pytest.mark.parametrize(("part", "register"), [("2026.08", "RTMR 1"), (None, "RTMR 1")])
def test_what_a_build_does_in_a_tdx_guest_is_known_or_said(
    machine: Path, monkeypatch: pytest.MonkeyPatch, part: str | None, register: str
):
    if part is not None:
        build(monkeypatch, part)
    written(machine, "host.json", TDX)
    found = report(machine, *files(machine))
    assert set(found["rtmrs"]) == {"2"}
    assert register in {row["register"] for row in found["unknown"]}
    ended = log(machine, *files(machine), "--format", "rvps")
    assert "RTMR 1 is not known" in ended.err
    message = log(machine, *files(machine), "--format", "rvps", "--allow-unknown").json
    assert set(json.loads(base64.b64decode(message["payload"]))) == {"rtmr_2"}
    for refused in (["--format", "keylime"], ["--format", "rvps", "--pcr", "4"]):
        assert log(machine, *files(machine), *refused).status == 2


def test_a_build_without_the_measurement_protocol_has_no_log(machine: Path, monkeypatch: pytest.MonkeyPatch):
    build(monkeypatch, "2022.11")
    written(machine, "host.json", TDX)
    ended = log(machine, *files(machine))
    assert ended.status == 2
    assert "no measurement protocol for TDX guests" in ended.err


def ccel(machine: Path, separator: int) -> str:
    """A log of a TDX guest; the separator of older builds is in RTMR 0."""
    events = [
        event(1, "EV_EFI_HANDOFF_TABLES2", b"td hob", banks=("sha384",)),
        config("SecureBoot", b"\0", ("sha384",))._replace(pcr=1),
        event(2, "EV_EFI_ACTION", ACTION, banks=("sha384",)),
        event(separator, "EV_SEPARATOR", bytes(4), banks=("sha384",)),
        event(2, "EV_EFI_GPT_EVENT", b"table", banks=("sha384",)),
        event(2, "EV_EFI_BOOT_SERVICES_APPLICATION", b"another UKI", bytes(40), ("sha384",)),
        event(3, "EV_IPL", b"another section", banks=("sha384",)),
        *(event(2, "EV_EFI_ACTION", text, banks=("sha384",)) for text in EXITS),
    ]
    return str(written(machine, "old.ccel", eventlog.build(events, ("sha384",))))


@pytest.mark.parametrize(("separator", "count"), [(1, 0), (2, 1)])
def test_a_log_of_the_guest_tells_of_its_firmware(machine: Path, separator: int, count: int):
    written(machine, "host.json", TDX)
    found = report(machine, "--baseline", ccel(machine, separator))
    assert unknown(found) == {(1, "the SMBIOS events of PCR 1")}
    assert set(found["rtmrs"]) == {"1", "2"}
    assert sum(row["type"] == "EV_SEPARATOR" and row["rtmr"] == 1 for row in found["events"]) == count
    rows = {row["description"]: row for row in found["events"]}
    assert rows["GPT" if "GPT" in rows else "EV_EFI_GPT_EVENT"]["how"] == "baseline"
    assert rows["SecureBoot"]["rtmr"] == 0
    assert hashlib.sha384(b"another UKI").hexdigest() not in str(found)
    # The store itself is measured there.
    with_store = report(machine, "--baseline", ccel(machine, separator), "--vars", str(machine / "vars.fd"))
    assert (1, "configuration") in unknown(with_store)


def test_a_baseline_is_of_the_same_kind_of_machine(machine: Path):
    ended = log(machine, "--baseline", ccel(machine, 2))
    assert ended.status == 2
    assert "the baseline is the log of a TDX guest's own registers (CCEL)" in ended.err
    written(machine, "host.json", TDX)
    assert log(machine, "--baseline", str(baseline(machine))).status == 2


@pytest.mark.parametrize(("kind", "images"), [("tdx", False), ("sev-snp", True)])
def test_a_confidential_guests_firmware_was_never_recorded(
    machine: Path, monkeypatch: pytest.MonkeyPatch, kind: str, images: bool
):
    build(monkeypatch, "2022.11")
    written(machine, "host.json", HOST | {"confidential": kind})
    found = report(machine, *files(machine))
    lost = {row["pcr"] for row in found["unknown"]}
    assert {0, 1, 5, 7} <= lost
    assert (4 not in lost) is images


def test_a_tdx_guests_tpm_has_images_or_not(machine: Path):
    """EDK II measures them by the CC protocol alone where there is one, other firmware by both."""
    written(machine, "host.json", HOST | {"confidential": "tdx"})
    call = [machine / "uki.efi", "--smbios", machine / "host.json", "--format", "json"]
    for options in ([], files(machine)):
        found = invoke("measure", *call, *options).json
        assert found["verdicts"]["4"]["verdict"] == "unknown"
        assert "4" not in found["cases"][0]["pcrs"]["sha256"]


def test_measure_gives_the_whole_of_registers_that_the_files_tell(machine: Path):
    call = [machine / "uki.efi", "--smbios", machine / "host.json", "--format", "json"]
    assert invoke("measure", *call).json["verdicts"]["5"]["verdict"] == "in-part"
    found = invoke("measure", *call, "--baseline", baseline(machine)).json
    assert {pcr: row["verdict"] for pcr, row in found["verdicts"].items()} | {"1": "", "4": ""} == {
        "0": "value", "1": "", "2": "value", "3": "value", "4": "", "5": "value", "6": "value", "7": "value",
        "9": "value", "11": "value", "12": "value", "13": "value",
    }  # fmt: skip
    assert found["verdicts"]["1"]["verdict"] == "unknown"
    assert "no raw SMBIOS table (smbios_table)" in found["verdicts"]["1"]["because"]


def test_a_launch_measurement_beside_the_log(machine: Path):
    pytest.importorskip("sevsnpmeasure")
    image = (machine / "code.fd").read_bytes()
    written(machine, "snp.fd", image + bytes(-len(image) % 4096) + SNP_IMAGE)
    call = [machine / "uki.efi", "--smbios", machine / "host.json", "--snp", "vcpus=4,type=EPYC-v4"]
    given = [*call, "--firmware", machine / "snp.fd"]
    for command in ("log", "measure"):
        found = invoke(command, *given, "--format", "json").json
        Draft202012Validator(schemas.load(command)).validate(found)
        assert (found["snp"]["fwid"], found["snp"]["vcpus"], found["snp"]["kernel_hashes"]) == (None, 4, False)
        assert found["snp"]["measurement"] in invoke(command, *given).out
        assert invoke(command, *call).status == 2
        ended = invoke(command, *given[:-1], machine / "code.fd")
        assert (ended.status, len(ended.err.splitlines())) == (2, 1)
        assert f"{machine / 'code.fd'}: " in ended.err
    direct = written(machine, "direct.json", HOST | {"direct_boot": {"load_options": "quiet"}})
    call = [machine / "uki.efi", "--smbios", direct, "--firmware", machine / "snp.fd", "--format", "json"]
    found = invoke("measure", *call, "--snp", "vcpus=4,type=EPYC-v4,kernel_hashes=on").json
    assert found["snp"]["kernel_hashes"]
    message = invoke("log", *call[:-1], "rvps", "--allow-unknown", "--snp", "vcpus=4,type=EPYC-v4").json
    assert "snp_launch_measurement" in json.loads(base64.b64decode(message["payload"]))


def test_values_of_a_boot_that_may_end_otherwise_say_so(machine: Path, monkeypatch: pytest.MonkeyPatch):
    from stubsim.cli import log as command
    from stubsim.simulation import boot as simulated

    def doubted(*given: Any) -> Boot:
        result = simulated(*given)
        return result._replace(trace=(*result.trace, Unknown("what shim trusts", "it was not looked at", ("outcome",))))

    monkeypatch.setattr(command, "boot", doubted)
    call = [machine / "uki.efi", "--smbios", machine / "host.json", "--format", "pcr-policy", "--pcr", "11"]
    (said,) = [text for text in invoke("log", *call).json["conditions"] if "how it ends" in text]
    assert "what shim trusts: it was not looked at" in said


def test_an_unknown_event_is_of_the_stage_whose_register_it_is(machine: Path, monkeypatch: pytest.MonkeyPatch):
    from stubsim.cli import log as command
    from stubsim.simulation import boot as simulated

    def doubted(*given: Any) -> Boot:
        result = simulated(*given)
        return result._replace(
            trace=(*result.trace, Unknown("what shim trusts", "not looked at", ("pcrs",), (7, 11, 14)))
        )

    monkeypatch.setattr(command, "boot", doubted)
    rows = [row for row in report(machine)["events"] if row["description"] == "what shim trusts"]
    assert [(row["pcr"], row["by"]) for row in rows] == [(7, "shim"), (11, "stub"), (14, "shim")]
