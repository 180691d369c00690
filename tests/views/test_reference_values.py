"""A log as those who verify take it; the programs that read it are the oracles."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from stubsim.errors import StubsimError
from stubsim.explain.predicted_log import LogEvent, WholeLog
from stubsim.explain.snp import Launch, Request
from stubsim.hosts import Host
from stubsim.views import reference_values
from tests.conftest import NO_ORACLE, ORACLES
from tests.samples import execute, linux, uki, written
from tests.swtpm import software_tpm

Predict = Callable[[Path, dict[str, Any]], dict[str, Any]]

APPLICATION, SEPARATOR = "EV_EFI_BOOT_SERVICES_APPLICATION", "EV_SEPARATOR"


def event(pcr: int, kind: str, number: int | None, by: str = "firmware", text: str = "") -> LogEvent:
    if number is None:
        return LogEvent(by, pcr, kind, text, None, b"", "unknown", "nobody knows")
    return LogEvent(by, pcr, kind, text, {"sha256": bytes([number]) * 32}, b"data", "computed")


EVENTS = (
    event(0, "EV_S_CRTM_VERSION", None),
    event(7, "EV_EFI_VARIABLE_DRIVER_CONFIG", 1),
    event(7, SEPARATOR, 2),
    event(1, "EV_EFI_VARIABLE_BOOT", 3),
    event(4, "EV_EFI_ACTION", 4),
    *(event(pcr, SEPARATOR, 5) for pcr in (0, 1, 4, 5)),
    event(1, "EV_EFI_HANDOFF_TABLES", 6),
    event(7, "EV_EFI_VARIABLE_AUTHORITY", 7),
    event(5, "EV_EFI_GPT_EVENT", 8),
    event(4, APPLICATION, 9),
    event(14, "EV_IPL", 10, "shim"),
    event(5, "EV_EVENT_TAG", 11, "loader"),
    event(4, APPLICATION, 12),
    event(11, "EV_IPL", 13, "stub"),
    event(4, APPLICATION, 14),
    event(9, "EV_EVENT_TAG", 15, "kernel", "LOADED_IMAGE::LoadOptions"),
    event(9, "EV_EVENT_TAG", 16, "kernel", "Linux initrd"),
    event(5, "EV_EFI_ACTION", 17),
)
LOG = WholeLog(("sha256",), EVENTS, ("something was assumed",))


def test_no_value_is_given_of_a_register_that_is_not_known():
    with pytest.raises(StubsimError, match="PCR 0 is not known: nobody knows"):
        reference_values.values(LOG, None, allow_unknown=False)
    with pytest.raises(StubsimError, match="PCR 0"):
        reference_values.values(LOG, [0, 4], allow_unknown=False)
    known = reference_values.values(LOG, None, allow_unknown=True)
    assert list(known["sha256"]) == [1, 4, 5, 7, 9, 11, 14]
    assert reference_values.conditions(LOG, known) == ["something was assumed", "PCR 0 is left out: nobody knows"]


def test_registers_that_were_asked_for():
    found = reference_values.values(LOG, [11, 12, 8], allow_unknown=False)["sha256"]
    assert list(found) == [8, 11, 12]
    assert found[8] == found[12] == bytes(32)
    assert found[11] == LOG.pcrs["sha256"][11]


def test_components_in_the_order_of_each_register():
    known = reference_values.values(LOG, None, allow_unknown=True)
    files = reference_values.pcrlock(LOG, known, None)
    assert list(files) == sorted(files)
    rows: dict[int, list[int]] = {}
    for content in files.values():
        assert content["conditions"]
        for record in content["records"]:
            rows.setdefault(record["pcr"], []).append(int(record["digests"][0]["digest"][:2], 16))
    ours: dict[int, list[int]] = {}
    for each in EVENTS:
        if each.pcr and each.digests is not None:
            ours.setdefault(each.pcr, []).append(each.digests["sha256"][0])
    assert rows == ours
    numbers = [record["digests"][0]["digest"][:2] for record in files["650-uki.pcrlock.d/generated.pcrlock"]["records"]]
    assert numbers == ["0c", "0d", "0e"]


@pytest.mark.parametrize(
    ("name", "variant"),
    [
        ("lab q35", "lab-q35"),
        ("../../etc/passwd", "etc-passwd"),
        ("..", "generated"),
        ("\0/", "generated"),
        ("a" * 99, "a" * 64),
    ],
)
def test_a_variant_is_named_after_the_machine_and_stays_in_its_folder(name: str, variant: str):
    known = reference_values.values(LOG, [11], allow_unknown=False)
    assert list(reference_values.pcrlock(LOG, known, name)) == [f"650-uki.pcrlock.d/{variant}.pcrlock"]


# rvps/src/lib.rs (Message), rvps/src/extractors/sample (Provenance) and rvps/src/reference_value.rs, August 2026: keys
# that serde does not know are skipped, the version has to be this one, a value may be any JSON.
MESSAGE = {
    "type": "object",
    "required": ["payload", "type"],
    "properties": {
        "version": {"const": "0.1.0"},
        "type": {"const": "sample"},
        "payload": {"type": "string", "pattern": "^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$"},
    },
}
# deps/verifier: lower-case hex of SHA-256 registers, rtmr_1 of SHA-384, the launch measurement of 48 bytes.
PROVENANCE = {
    "type": "object",
    "additionalProperties": False,
    "patternProperties": {
        "^(tpm|snp|tdx)_pcr[0-9]{2}$": {"type": "array", "items": {"type": "string", "pattern": "^[0-9a-f]{64}$"}},
        "^(rtmr_[0-3]|snp_launch_measurement)$": {
            "type": "array",
            "items": {"type": "string", "pattern": "^[0-9a-f]{96}$"},
        },
    },
}


def provenance(message: dict[str, Any]) -> dict[str, list[str]]:
    """What trustee's extractor takes from a message."""
    Draft202012Validator(MESSAGE).validate(message)
    found: dict[str, list[str]] = json.loads(base64.b64decode(message["payload"], validate=True))
    Draft202012Validator(PROVENANCE).validate(found)
    return found


@pytest.mark.parametrize(("confidential", "prefix"), [(None, "tpm"), ("sev-snp", "snp"), ("tdx", "tdx")])
def test_rvps_has_the_names_that_trustees_policy_asks_for(confidential: str | None, prefix: str):
    known = reference_values.values(LOG, [4, 11], allow_unknown=False)
    message = reference_values.rvps(LOG, known, Host(confidential=confidential))
    assert message["version"] == "0.1.0"
    assert provenance(message) == {
        f"{prefix}_pcr04": [known["sha256"][4].hex()],
        f"{prefix}_pcr11": [known["sha256"][11].hex()],
    }


def test_rvps_has_no_other_bank_than_trustee_reads():
    log = WholeLog(("sha1",), (event(11, "EV_IPL", 1, "stub")._replace(digests={"sha1": bytes(20)}),), ())
    known = reference_values.values(log, None, allow_unknown=False)
    with pytest.raises(StubsimError, match="trustee reads the sha256 bank of a TPM, and this one has sha1"):
        reference_values.rvps(log, known, Host())


def test_rvps_has_the_launch_measurement_and_its_machine():
    launch = Launch(bytes(48), Request(4, "EPYC-v4", 1, "QEMU"), None, "a tool", excluded=("this", "that"))
    known = reference_values.values(LOG, [4], allow_unknown=False)
    message = reference_values.rvps(LOG, known, Host(confidential="sev-snp"), launch)
    assert provenance(message)["snp_launch_measurement"] == ["00" * 48]
    assert message["conditions"][-3:] == [
        "snp_launch_measurement is for 4 vCPUs, type EPYC-v4, guest features 0x1, by QEMU",
        "not in snp_launch_measurement: this",
        "not in snp_launch_measurement: that",
    ]


def test_pcr_11_is_that_of_a_phase_and_says_which():
    at_start = reference_values.values(LOG, [4, 11], allow_unknown=False)
    later = reference_values.values(LOG, [4, 11], allow_unknown=False, phase="enter-initrd")
    word = hashlib.sha256(b"enter-initrd").digest()
    assert later["sha256"] == at_start["sha256"] | {11: hashlib.sha256(at_start["sha256"][11] + word).digest()}
    said = reference_values.conditions_at(LOG, at_start, "")[-1]
    assert said.startswith("PCR 11 is as the kernel starts, before any phase (--phase enter-initrd:leave-initrd:")
    assert reference_values.conditions_at(LOG, later, "enter-initrd")[-1] == "PCR 11 is that of the phase enter-initrd"
    others = reference_values.values(LOG, [4], allow_unknown=False)
    assert "PCR 11" not in str(reference_values.conditions_at(LOG, others, ""))


@pytest.mark.oracle
def test_tpm2_createpolicy_comes_to_the_same_digest(tmp_path: Path, oracle: Callable[[str], str]):
    known = reference_values.values(LOG, [4, 7, 11], allow_unknown=False)
    found = reference_values.pcr_policy(LOG, known)["banks"]["sha256"]
    (tmp_path / "pcrs").write_bytes(bytes.fromhex(found["pcr_file"]))
    (tmp_path / "tpm").mkdir()
    with software_tpm(tmp_path / "tpm", oracle) as environment:
        command = [oracle("tpm2_createpolicy"), *found["tpm2_createpolicy"].split()]
        command += ["--pcr", str(tmp_path / "pcrs"), "--policy", str(tmp_path / "out")]
        subprocess.run(command, env=environment, check=True, capture_output=True)
    assert (tmp_path / "out").read_bytes().hex() == found["policy"]
    assert found["systemd-cryptenroll"].startswith(f"--tpm2-pcrs=4:sha256={known['sha256'][4].hex()}+7:")


def test_the_command_writes_each_form(tmp_path: Path):
    image = written(tmp_path, "uki.efi", uki(linux=linux("6.12.117-lab")))
    host = written(tmp_path, "host.json", {"schema": "stubsim/host/1", "name": "one", "smbios": {}})
    call = ["log", image, "--smbios", host, "--pcr", "11"]
    for kind, key in (("rvps", "payload"), ("keylime", "11"), ("pcr-policy", "banks")):
        assert key in execute(*call, "--format", kind).json
    later = execute(*call, "--format", "keylime", "--phase", "enter-initrd")
    assert "note: PCR 11 is that of the phase enter-initrd" in later.err
    assert later.json != execute(*call, "--format", "keylime", "--phase", ":").json
    assert "--phase is of a register's value" in execute(*call, "--phase", "enter-initrd").err
    folder = tmp_path / "pcrlock.d"
    for _ in range(2):
        assert execute(*call, "--format", "pcrlock", "-o", folder).status == 0
    assert [path.name for path in folder.rglob("*.pcrlock")] == ["one.pcrlock"]
    ended = execute(*call[:-2], "--format", "pcrlock", "-o", tmp_path / "none")
    assert (ended.status, (tmp_path / "none").exists()) == (2, False)
    assert "PCR 0 is not known" in ended.err
    assert execute(*call, "--format", "pcrlock").status == 2
    assert execute(*call[:-1], "24").status == 2


@pytest.fixture(params=["testing", "trixie"])
def pcrlock(request: pytest.FixtureRequest, tmp_path: Path, oracle: Callable[[str], str]) -> Predict:
    """What systemd-pcrlock of a Debian suite predicts on a machine with this log, from these components."""
    root = ORACLES / request.param
    program = root / "usr/lib/systemd/systemd-pcrlock"
    if not program.exists() or os.geteuid() != 0:
        pytest.skip(f"{NO_ORACLE}: systemd-pcrlock of Debian {request.param} (make test-oracles as root)")

    def predict(log: Path, files: dict[str, Any]) -> dict[str, Any]:
        from stubsim.formats import eventlog

        inside = root / "tmp" / tmp_path.name
        try:
            for name, content in files.items():
                (inside / "c" / name).parent.mkdir(parents=True)
                (inside / "c" / name).write_text(json.dumps(content))
            shutil.copy(log, inside / "log")
            (tmp_path / "tpm").mkdir()
            with software_tpm(tmp_path / "tpm", oracle) as environment:
                for each in eventlog.parse(log.read_bytes()):
                    digests = ",".join(f"{bank}={value.hex()}" for bank, value in each.digests.items())
                    command = [oracle("tpm2_pcrextend"), f"{each.pcr}:{digests}"]
                    subprocess.run(command, env=environment, check=True, capture_output=True)
                environment |= {
                    "SYSTEMD_TPM2_DEVICE": environment["TPM2TOOLS_TCTI"],
                    "SYSTEMD_MEASURE_LOG_FIRMWARE": f"/tmp/{tmp_path.name}/log",
                    "SYSTEMD_MEASURE_LOG_USERSPACE": f"/tmp/{tmp_path.name}/none",
                }
                command = ["chroot", str(root), "/usr/lib/systemd/systemd-pcrlock", "predict", "--json=short"]
                command += [f"--components=/tmp/{tmp_path.name}/c", *(f"--pcr={pcr}" for pcr in (*range(8), 9, 11))]
                done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
        finally:
            shutil.rmtree(inside, ignore_errors=True)
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    return predict


@pytest.mark.oracle
@pytest.mark.heavy
def test_systemd_pcrlock_predicts_the_real_values(shared: Path, tmp_path: Path, pcrlock: Predict):
    """The components of a prediction, on a machine whose log and registers are the recorded ones."""
    from tests.conformance.test_log import predicted, restore

    folder = restore(shared, tmp_path / "restored") / "sb-on"
    log = predicted(folder)
    known = reference_values.values(log, None, allow_unknown=False)
    found = pcrlock(folder / "eventlog.bin", reference_values.pcrlock(log, known, None))
    expected = json.loads((folder / "expect.json").read_text())["pcrs"]["sha256"]
    values = {row["pcr"]: row["values"] for row in found["sha256"]}
    assert values == {pcr: [expected[str(pcr)]] for pcr in (*range(8), 9, 11)}
