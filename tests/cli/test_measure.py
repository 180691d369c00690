"""`stubsim measure`: recorded PCRs, systemd-measure's own figures, and the shapes of the output."""

from __future__ import annotations

import json
import subprocess
from collections import defaultdict
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID

import jsonschema
import pytest

from stubsim import schemas
from stubsim.explain.measure import PHASES
from stubsim.formats import authenticode, eventlog, hwids, pe
from stubsim.formats.pcrsig import policy_pcr
from stubsim.formats.pe import SectionSpec
from tests import samples
from tests.conftest import recordings
from tests.samples import invoke, written

# A program of the lab has started the UKI there.
LAUNCHED = ("launch-", "dtfixup-", "dtfw-launch-")
RECORDINGS = [*recordings(), *recordings("golden-aa64")]
BANKS = ("sha1", "sha256", "sha384", "sha512")
# Firmware comes in multiples of 64 KiB, or the hypervisor aborts.
BIOS = b"BIOS" * 0x4000


def measured(*arguments: str | Path) -> Any:
    result = invoke("measure", *arguments, "--format", "json")
    assert result.status == 0, result.err
    jsonschema.validate(result.json, schemas.load("measure"))
    return result.json


def replayed(log: str, pcr: int) -> dict[str, str]:
    from stubsim.machine.tpm import replay

    return {bank: values[pcr].hex() for bank, values in replay(eventlog.parse(bytes.fromhex(log))).items()}


@pytest.mark.skipif(not RECORDINGS, reason="no recordings (STUBSIM_SHARED)")
@pytest.mark.parametrize("folder", RECORDINGS, ids=lambda folder: folder.name)
def test_recording(folder: Path, monkeypatch: pytest.MonkeyPatch):
    """PCR 11 to 13 of every recorded boot; PCR 4 of those where the firmware started nothing before the UKI."""
    expected, start = (json.loads((folder / f"{name}.json").read_text()) for name in ("expect", "boot"))
    if expected["outcome"] != "kernel-started" or not expected["pcrs"]:
        pytest.skip("recorded without PCR values")
    monkeypatch.chdir(folder)
    found = measured("uki.efi", "--smbios", "host.json", "--phase", ":", *start["args"])
    assert [row["hash"] for row in found["sha256"]] == [expected["pcrs"]["11"]]
    pcrs = found["pcrs"]["sha256"]
    assert {pcr: pcrs[pcr] for pcr in ("11", "12", "13")} == {pcr: expected["pcrs"][pcr] for pcr in ("11", "12", "13")}
    if start["started_by"] == "firmware" and not folder.name.startswith(LAUNCHED):
        assert pcrs["4"] == expected["pcrs"]["4"]
        logged = replayed(expected["eventlog"], 4)
        assert {bank: values["4"] for bank, values in found["pcrs"].items()} == logged
    elif start["started_by"] == "shell":
        assert "4" not in pcrs

    anywhere = measured("uki.efi", "--phase", ":", *start["args"])
    assert expected["pcrs"]["11"] in [row["hash"] for row in anywhere["sha256"]]


@pytest.mark.skipif(not RECORDINGS, reason="no recordings (STUBSIM_SHARED)")
def test_recordings_of_one_uki_are_its_values_without_a_machine():
    """A UKI that was recorded on several machines: each recorded value is there, each with a condition of its own."""
    recorded: dict[bytes, dict[str, Path]] = defaultdict(dict)
    for folder in RECORDINGS:
        pcrs = json.loads((folder / "expect.json").read_text())["pcrs"]
        if pcrs and not folder.name.startswith(("profile", "shell-at1", "fwsel-profile")):
            recorded[(folder / "uki.efi").read_bytes()][pcrs["11"]] = folder
    several = [values for values in recorded.values() if len(values) > 1]
    for values in several:
        rows = measured(next(iter(values.values())) / "uki.efi", "--phase=:")["sha256"]
        conditions = {row["hash"]: row["conditions"] for row in rows}
        assert conditions.keys() >= values.keys()
        texts = [text for one in conditions.values() for text in one]
        assert len(set(texts)) == len(texts)


@pytest.mark.oracle
@pytest.mark.parametrize(
    "phases",
    [(), (":",), ("enter-initrd:leave-initrd", ":", "a"), ("::b::c:", "é", "a b", "b:c", "")],
    ids=["default", "none", "several", "odd"],
)
def test_systemd_measure(tmp_path: Path, oracle: Callable[[str], str], phases: tuple[str, ...]):
    tool = oracle("systemd-measure")
    content = {
        "linux": samples.KERNEL, "osrel": b"ID=x\n", "cmdline": b"quiet splash", "initrd": b"\0" * 5000,
        "splash": b"BM", "dtb": b"no tree", "pcrpkey": b"-----BEGIN PUBLIC KEY-----\n",
    }  # fmt: skip
    path = written(tmp_path, "x.efi", pe.build([SectionSpec(f".{name}", data) for name, data in content.items()]))
    files = [f"--{name}={written(tmp_path, name, data)}" for name, data in content.items()]
    options = [f"--phase={phase}" for phase in phases]
    command = [tool, "calculate", "--json=pretty", *options, *[f"--bank={bank}" for bank in BANKS], *files]
    theirs = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    assert set(theirs) == set(BANKS)

    # The file names no stub, and systemd-measure takes the newest one for granted.
    options += ["--stub=262.1", *[f"--bank={bank}" for bank in BANKS]]
    ours = measured(path, *options)
    assert {bank: ours[bank] for bank in BANKS} == theirs
    strict = invoke("measure", path, *options, "--format=systemd-measure")
    assert strict.json == theirs


@pytest.fixture
def firmware_uki(tmp_path: Path) -> Path:
    return written(tmp_path, "x.efi", samples.FIRMWARE_UKI)


@pytest.fixture
def hosts(tmp_path: Path) -> list[Path]:
    """Two that match, one that does not."""
    rows = [("one", samples.MACHINE), ("two", samples.MACHINE), ("other", {"manufacturer": "Other"})]
    return [written(tmp_path, f"{name}.json", {"name": name, "smbios": fields}) for name, fields in rows]


def test_default_phases_are_those_of_systemd_measure(firmware_uki: Path):
    found = measured(firmware_uki)
    assert found["phases"] == list(PHASES)
    assert [row["phase"] for row in found["sha256"]] == [phase for phase in PHASES for _ in range(2)]
    assert {row["pcr"] for row in found["sha256"]} == {11}


def test_without_a_machine(firmware_uki: Path):
    found = measured(firmware_uki, "--phase=:")
    assert [row["conditions"] for row in found["sha256"]] == [
        ["no uefi-fw entry matches"],
        [f"the machine has CHID {samples.CHID} ('Device', uefi-fw fwid 'fw')"],
    ]
    assert "11" not in found["pcrs"]["sha256"]
    assert any("kernel-cmdline-extra" in text for text in found["assumed"])
    text = invoke("measure", firmware_uki).out
    assert f"if the machine has CHID {samples.CHID}" in text
    assert all(row["hash"] in text for row in measured(firmware_uki)["sha256"])


def test_a_driver_is_not_measured_into_pcr_4(tmp_path: Path):
    """It goes into PCR 2 (recorded on aa64: kernel-subsystem-driver@257.13); 257 has the kernel loaded."""
    host = written(tmp_path, "host.json", {"smbios": samples.MACHINE})

    def boot_manager(subsystem: int) -> str:
        kernel = pe.build([SectionSpec(".text", bytes(512))], subsystem=subsystem)
        uki = written(tmp_path, "x.efi", pe.build([SectionSpec(".linux", kernel)]))
        value: str = measured(uki, "--smbios", host, "--stub", "257")["pcrs"]["sha256"]["4"]
        return value

    uki = pe.build([SectionSpec(".linux", pe.build([SectionSpec(".text", bytes(512))], subsystem=11))])
    register = bytes(32)
    before = [sha256(data).digest() for data in (b"Calling EFI Application from Boot Option", bytes(4))]
    for digest in (*before, authenticode.digest(uki)):
        register = sha256(register + digest).digest()
    assert boot_manager(pe.BOOT_SERVICE_DRIVER) == register.hex()
    assert boot_manager(pe.APPLICATION) != register.hex()


def test_policy(firmware_uki: Path, hosts: list[Path]):
    given = [word for host in hosts for word in ("--smbios", str(host))]
    found = measured(firmware_uki, *given, "--policy", "--phase=:")
    rows = found["policy"]["sha256"]
    assert [row["hosts"] for row in rows if row["pcr"] == 11] == [["one", "two"], ["other"]]
    assert [row["hosts"] for row in rows if row["pcr"] == 12] == [["one", "two", "other"]]
    assert [case["hosts"] for case in found["cases"]] == [["one", "two"], ["other"]]
    text = invoke("measure", firmware_uki, *given, "--policy").out
    assert text.count("PCR 11 sha256") == 2 * len(PHASES)
    each = measured(firmware_uki, *given)
    assert [case["hosts"] for case in each["cases"]] == [["one"], ["two"], ["other"]]
    assert "policy" not in each
    assert all(row["hash"] in invoke("measure", firmware_uki, *given).out for row in each["sha256"])


def test_machines_of_one_name_go_by_their_files(firmware_uki: Path, tmp_path: Path):
    paths = [written(tmp_path, f"{number}.json", {"name": "same"}) for number in range(2)]
    found = measured(firmware_uki, *[word for path in paths for word in ("--smbios", path)])
    assert [case["hosts"] for case in found["cases"]] == [[str(path)] for path in paths]


def test_one_machine(firmware_uki: Path, hosts: list[Path]):
    found = measured(firmware_uki, "--smbios", hosts[0], "--bank", "SHA1", "--bank=sha512")
    assert (found["host"], found["banks"]) == ("one", ["sha1", "sha512"])
    assert all(set(row) == {"phase", "pcr", "hash"} for bank in found["banks"] for row in found[bank])
    assert found["pcrs"]["sha512"].keys() == {"4", "11", "12", "13"}
    text = invoke("measure", firmware_uki, "--smbios", hosts[0]).out
    assert "host: one" in text
    assert "PCR 1  not known: " in text


def test_exit_status(tmp_path: Path, hosts: list[Path]):
    nothing = written(tmp_path, "nothing.efi", samples.uki(linux=None))
    refused = written(tmp_path, "refused.efi", samples.uki(linux=b"no kernel"))
    assert invoke("measure", nothing).status == 1
    assert invoke("measure", nothing, "--smbios", hosts[0]).status == 1
    assert invoke("measure", refused, "--smbios", hosts[0]).status == 1
    result = invoke("measure", refused)
    assert (result.status, len(result.lines)) == (0, 1)
    assert "kernel is not started" in result.err


def test_a_firmware_update_keeps_the_kernel_from_starting(tmp_path: Path):
    """The warning says how to get the values of a released stub."""
    path = written(tmp_path, "x.efi", samples.uki(samples.table((hwids.UEFI_FW, "fw")), samples.firmware(payload=BIOS)))
    device = {"vmfwupdate": {"dialect": "qemu-v5", "bios_size": len(BIOS)}}
    host = written(tmp_path, "h.json", {"smbios": samples.MACHINE, "memory": "64M", "fw_cfg": device})
    result = invoke("measure", path, "--smbios", host)
    assert (result.status, len(result.lines)) == (0, 1)
    assert "a firmware update is handed over first (--handover none" in result.err
    assert "PCR 11 sha256" not in result.out
    assert "PCR 11 not known: the kernel is not started" in " ".join(result.out.split())
    result = invoke("measure", path, "--smbios", host, "--handover=none")
    assert (result.status, result.err) == (0, "")
    assert "PCR 11" in result.out


def test_a_machine_named_twice_is_one(firmware_uki: Path, hosts: list[Path]):
    assert measured(firmware_uki, "--smbios", hosts[0], "--smbios", hosts[0])["host"] == "one"


def test_too_many_ways_names_the_file(tmp_path: Path):
    blobs = [samples.firmware(f"fw{number}") for number in range(520)]
    table = hwids.build((hwids.UEFI_FW, UUID(int=number + 1), "m", f"fw{number}") for number in range(520))
    path = written(tmp_path, "x.efi", samples.uki(SectionSpec(".hwids", table), *blobs))
    result = invoke("measure", path)
    assert (result.status, len(result.lines)) == (2, 1)
    assert result.lines[0].startswith(f"stubsim: error: {path}: more than ")


@pytest.mark.parametrize("options", [["--bank=md5"], ["--smbios=/none"], ["--stub=none"]])
def test_wrong_calls(firmware_uki: Path, options: list[str]):
    result = invoke("measure", firmware_uki, *options, "--format=json")
    assert result.status == 2
    assert result.json["schema"] == "stubsim/error/1"


def test_text_is_safe_for_a_terminal(tmp_path: Path):
    host = written(tmp_path, "h.json", {"name": "\x1b[31mred"})
    same = written(tmp_path, "same.json", {"name": "\x1b[31mred"})
    path = written(tmp_path, "x.efi", samples.FIRMWARE_UKI)
    assert "\x1b" not in invoke("measure", path, "--smbios", host, "--smbios", same, "--phase=\x1b").out
    assert "\x1b" not in invoke("measure", path, "--smbios", host, "--policy", "--phase=\x1b").out


@pytest.mark.parametrize("columns", [80, 140])
def test_text_keeps_to_the_screen(firmware_uki: Path, monkeypatch: pytest.MonkeyPatch, columns: int):
    monkeypatch.setenv("COLUMNS", str(columns))
    lines = invoke("measure", firmware_uki).out.splitlines()
    assert max(map(len, lines)) <= columns
    # However narrow, a digest stands whole on one line.
    digests = measured(firmware_uki)["sha256"]
    assert all(any(row["hash"] in line for line in lines) for row in digests)


def test_a_folder_of_machines(firmware_uki: Path, tmp_path: Path):
    folder = tmp_path / "machines"
    folder.mkdir()
    for name in ("b", "a"):
        written(folder, f"{name}.json", {**samples.MACHINE, "name": name})
    one = written(tmp_path, "c.json", {**samples.MACHINE, "name": "c"})
    report = invoke("measure", firmware_uki, "--hosts", folder, "--smbios", one, "--format", "json").json
    assert [case["hosts"] for case in report["cases"]] == [["c"], ["a"], ["b"]]
    missing = invoke("measure", firmware_uki, "--hosts", tmp_path / "missing")
    assert (missing.status, "a folder of machines" in missing.err) == (2, True)


def test_what_no_machine_changes_is_done_once(firmware_uki: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The bytes hashed for five machines are those for one, but for what is small."""
    made: list[object] = []
    digest = authenticode.digest
    monkeypatch.setattr(authenticode, "digest", lambda *given: made.append(given) or digest(*given))
    for number in range(5):
        written(tmp_path, f"m{number}.json", {**samples.MACHINE, "name": f"m{number}"})
    arguments = [word for number in range(5) for word in ("--smbios", tmp_path / f"m{number}.json")]
    assert invoke("measure", firmware_uki, *arguments, "--stub", "257").status == 0
    # The image, and the kernel that 257 has the firmware load.
    assert len(made) == 2


def test_policies(firmware_uki: Path, hosts: list[Path]):
    """What is to be signed for each kind of machine; the digests themselves: tests/formats/test_pcrsig.py."""
    found = measured(firmware_uki)
    for value, policy in zip(found["sha256"], found["policy_digests"]["sha256"], strict=True):
        digest = policy_pcr("sha256", {11: bytes.fromhex(value["hash"])}).hex()
        assert policy == {"phase": value["phase"], "conditions": value["conditions"], "pcrs": [11], "pol": digest}
    for given in ([], ["--policy"], ["--smbios", hosts[0]]):
        of = measured(firmware_uki, *given)["policy_digests"]["sha256"]
        text = invoke("measure", firmware_uki, *given).out
        assert all(row["pol"] in text for row in of)


VERDICTS = {
    "value": "one value", "in-part": "in part", "differs-by-machine": "differs by machine", "unknown": "not known",
    "differs-by-boot": "differs by boot",
}  # fmt: skip


def test_text_has_a_verdict_for_each_register(firmware_uki: Path, hosts: list[Path], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", "500")
    for given in ([], ["--loader=none"], ["--smbios", hosts[0]], ["--smbios", hosts[0], "--smbios", hosts[2]]):
        found = measured(firmware_uki, *given)["verdicts"]
        assert found.keys() == {"1", "4", "5", "9", "11", "12", "13"}
        lines = invoke("measure", firmware_uki, *given).out.splitlines()
        for pcr, row in found.items():
            because = f": {row['because']}" if row["because"] else ""
            assert f"PCR {pcr:<2} {VERDICTS[row['verdict']]}{because}" in lines


def test_no_number_leaves_out_a_boot_loader_that_may_be_there(firmware_uki: Path):
    found = measured(firmware_uki)
    assert found["pcrs"]["sha256"].keys() == {"13"}
    assert all(case["pcrs"]["sha256"].keys() == {"11", "13"} for case in found["cases"])
    assert measured(firmware_uki, "--loader=none")["pcrs"]["sha256"].keys() == {"4", "12", "13"}
