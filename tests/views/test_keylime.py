"""What keylime is given: read by its own library, beside the log that it was made from and beside others."""

from __future__ import annotations

import importlib.util
import json
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from stubsim.errors import StubsimError
from stubsim.explain.predicted_log import LogEvent, WholeLog
from stubsim.formats import eventlog, signature_list
from stubsim.uefi.measured.row import variable_data
from stubsim.uefi.measured.secure_boot_policy import IMAGE_SECURITY
from stubsim.uefi.variables import GLOBAL
from stubsim.views import keylime, reference_values
from tests.conftest import NO_ORACLE
from tests.samples import execute, linux, uki, written

Json = dict[str, Any]
Parse = Callable[[bytes], Json]

CONFIG = "EV_EFI_VARIABLE_DRIVER_CONFIG"
CERTIFICATE = signature_list.build(signature_list.X509, GLOBAL, b"certificate")


def event(pcr: int, kind: str, data: bytes, text: str = "", by: str = "firmware") -> LogEvent:
    return LogEvent(by, pcr, kind, text, {"sha1": data[:1] * 20, "sha256": data[:1] * 32}, data, "computed")


LOG = WholeLog(
    ("sha1", "sha256"),
    (
        event(0, "EV_S_CRTM_VERSION", b"\1"),
        event(0, "EV_EFI_PLATFORM_FIRMWARE_BLOB", b"\2"),
        event(7, CONFIG, variable_data("SecureBoot", GLOBAL, b"\1")),
        event(7, CONFIG, variable_data("PK", GLOBAL, CERTIFICATE)),
        event(7, CONFIG, variable_data("db", IMAGE_SECURITY, CERTIFICATE * 2)),
        event(7, CONFIG, variable_data("dbx", IMAGE_SECURITY, b"")),
        LogEvent("firmware", 1, "EV_EFI_VARIABLE_BOOT", "BootOrder", None, b"", "unknown", "nobody knows"),
        event(4, "EV_EFI_BOOT_SERVICES_APPLICATION", b"\3"),
        event(14, "EV_IPL", b"\4", "MokList", "shim"),
        event(14, "EV_IPL", b"\5", "MokListX", "shim"),
        event(11, "EV_IPL", b"\6", ".linux", "stub"),
        event(12, "EV_IPL", b"\7", "quiet", "stub"),
    ),
    ("something was assumed",),
)


def state(log: WholeLog, pcrs: list[int] | None = None, *, allow_unknown: bool = False) -> Json:
    wanted = reference_values.values(log, pcrs, allow_unknown=allow_unknown)
    return keylime.reference_state(log, wanted, "one", reference_values.conditions(log, wanted))


def digest(number: int) -> Json:
    return {"sha256": f"0x{bytes([number] * 32).hex()}"}


def test_the_firmware_by_the_keys_that_keylime_writes_itself():
    found = state(LOG, allow_unknown=True)
    key = {"SignatureOwner": str(GLOBAL), "SignatureData": f"0x{b'certificate'.hex()}"}
    assert found["has_secureboot"] is True
    assert (found["pk"], found["db"], found["dbx"], found["vendor_db"]) == ([key], [key, key], [], [])
    assert found["scrtm_and_bios"] == [{"scrtm": digest(1), "platform_firmware": [digest(2)]}]
    assert (found["mokdig"], found["mokxdig"]) == ([digest(4)], [digest(5)])


def test_a_boot_has_the_registers_that_are_known_but_the_systems():
    (boot,) = state(LOG, allow_unknown=True)["boots"]
    assert boot["name"] == "one"
    assert list(boot["registers"]) == ["0", "4", "7", "12", "14"]
    assert boot["registers"]["12"] == [{"EventType": "EV_IPL", "description": "quiet"} | digest(7)]


def test_what_is_left_out_is_said_or_refused():
    said = state(LOG, allow_unknown=True)["conditions"]
    assert said[:2] == ["something was assumed", "PCR 1 is left out: nobody knows"]
    assert said[2].startswith("PCR 11 is left out: the system extends it further")
    with pytest.raises(StubsimError, match="PCR 1 is not known: nobody knows"):
        state(LOG)


def test_of_registers_that_were_not_asked_for_nothing_is_told():
    found = state(LOG, [4, 8])
    assert found["boots"][0]["registers"] == {"4": [found["boots"][0]["registers"]["4"][0]], "8": []}
    assert not found.keys() & {"scrtm_and_bios", "has_secureboot", "pk", "db", "vendor_db"}


def test_a_store_that_cannot_be_read_is_named():
    log = WholeLog(("sha256",), (event(7, CONFIG, variable_data("db", IMAGE_SECURITY, b"short")),), ())
    with pytest.raises(StubsimError, match="a signature list is cut short") as caught:
        state(log)
    assert caught.value.section == "db"


def test_tpm_policy_has_registers_as_text():
    known = reference_values.values(LOG, [4, 10, 16], allow_unknown=False)
    assert keylime.tpm_policy(known) == {"4": [known[bank][4].hex() for bank in ("sha1", "sha256")]}


@pytest.mark.oracle
def test_keylime_reads_the_tpm_policy():
    tpm_util = pytest.importorskip("keylime.tpm.tpm_util")
    known = reference_values.values(LOG, [4, 7, 11], allow_unknown=False)
    policy = tpm_util.readPolicy(json.dumps(keylime.tpm_policy(known)))
    assert policy["mask"] == hex(1 << 4 | 1 << 7 | 1 << 11)
    assert policy["11"] == [known[bank][11].hex() for bank in ("sha1", "sha256")]


@pytest.fixture
def parse(oracle: Callable[[str], str]) -> Parse:
    """A log as keylime's verifier has it, by its own library and tpm2_eventlog."""
    oracle("tpm2_eventlog")
    parser = pytest.importorskip("keylime.mba.elparsing.tpm2_tools_elparser", reason=f"{NO_ORACLE}: keylime")

    def parsed(log: bytes) -> Json:
        failure, found = parser.parse_binary_bootlog(log)
        assert not failure
        result: Json = found
        return result

    return parsed


@pytest.fixture
def policy() -> ModuleType:
    """The example that we ship, loaded as the verifier would."""
    pytest.importorskip("keylime.mba.elchecking.policies", reason=f"{NO_ORACLE}: keylime")
    path = Path(__file__).resolve().parents[2] / "examples" / "keylime_policy.py"
    spec = importlib.util.spec_from_file_location("keylime_policy", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def told(tmp_path: Path, cmdline: str, *more: str) -> tuple[bytes, Json]:
    """The log of a UKI with this command line, and its reference state."""
    content = uki(linux=linux("6.12.117-lab"))
    assert content.count(b"quiet") == 1
    image = written(tmp_path, "uki.efi", content.replace(b"quiet", cmdline.encode()))
    host = written(tmp_path, "host.json", {"schema": "stubsim/host/1", "name": "one", "smbios": {}})
    call = ["log", image, "--smbios", host, "--allow-unknown", *more, "--format"]
    assert execute(*call, "eventlog", "-o", tmp_path / "log").status == 0
    return (tmp_path / "log").read_bytes(), execute(*call, "keylime-refstate").json


@pytest.mark.oracle
def test_keylime_accepts_the_log_of_the_prediction_and_no_other(tmp_path: Path, parse: Parse, policy: ModuleType):
    from keylime.mba.elchecking import policies

    quiet, refstate = told(tmp_path, "quiet")
    loud, other = told(tmp_path, "noisy")
    assert policies.evaluate("uki", refstate, parse(quiet)) == ""
    assert "in PCR 4" in policies.evaluate("uki", refstate, parse(loud))
    both = refstate | {"boots": refstate["boots"] + other["boots"]}
    assert {policies.evaluate("uki", both, parse(log)) for log in (quiet, loud)} == {""}
    shorter = parse(quiet)
    shorter["events"] = [row for row in shorter["events"] if row["PCRIndex"] != 9]
    assert "in PCR 9  is shorter" in policies.evaluate("uki", refstate, shorter)
    with pytest.raises(ValueError, match="instead of a list of boots"):
        policies.evaluate("uki", {}, parse(quiet))
    with pytest.raises(ValueError, match="a boot has to name registers"):
        policies.evaluate("uki", {"boots": [{"registers": {}}]}, parse(quiet))


RECORDED = ("sb-on", "base", "ovmf2026", "sb-enrolled-off")


@pytest.fixture(scope="module")
def restored(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.conformance.test_log import restore

    return restore(shared, tmp_path_factory.mktemp("log"))


@pytest.mark.oracle
@pytest.mark.parametrize("name", RECORDED)
def test_a_real_log_is_that_of_its_prediction(
    name: str, restored: Path, parse: Parse, policy: ModuleType, tmp_path: Path
):
    """Predicted before the boot; of the firmware it is what keylime's own tool takes from the log afterwards."""
    from keylime.mba.elchecking import policies
    from keylime.policy import create_mb_policy

    from tests.conformance.test_log import predicted

    refstate = state(predicted(restored / name))
    assert len(refstate["boots"][0]["registers"]) >= 9
    verdicts = {
        other: policies.evaluate("uki", refstate, parse((restored / other / "eventlog.bin").read_bytes()))
        for other in RECORDED
    }
    assert verdicts.pop(name) == ""
    assert all(verdicts.values())
    log = str(restored / name / "eventlog.bin")
    arguments = Namespace(eventlog_file=log, without_secureboot=True, output=str(tmp_path / "own"))
    own = create_mb_policy.create_mb_refstate(arguments)
    assert own is not None
    own.pop("kernels", None)
    assert {key: refstate[key] for key in own} == own


@pytest.mark.oracle
def test_the_example_policy_of_keylime_has_no_room_for_a_uki(restored: Path, parse: Parse, tmp_path: Path):
    """Its kernels are shim, GRUB and a kernel, and an event beside theirs is refused: docs/log.md says so."""
    from keylime.mba.elchecking import example, policies
    from keylime.policy import create_mb_policy

    path = restored / "sb-on" / "eventlog.bin"
    arguments = Namespace(eventlog_file=str(path), without_secureboot=False, output=str(tmp_path / "own"))
    own = create_mb_policy.create_mb_refstate(arguments)
    log = parse(path.read_bytes())
    images = [
        row["Digests"][-1]["Digest"] for row in log["events"] if row["EventType"].endswith("SERVICES_APPLICATION")
    ]
    names = ("shim_authcode", "grub_authcode", "kernel_authcode", "initrd_plain")
    kernel = {f"{key}_sha256": f"0x{value}" for key, value in zip(names, 2 * images, strict=True)}
    refstate = own | {"kernels": [kernel | {"kernel_cmdline": ".*"}], "mokdig": [], "mokxdig": []}
    assert type(policies.get_policy("example")) is example.Example
    for refused in ((1, "EV_EVENT_TAG"), (5, "EV_EVENT_TAG"), (11, "EV_IPL"), (9, "EV_EVENT_TAG")):
        assert f"combination {refused}" in policies.evaluate("example", refstate, log)
        log["events"] = [row for row in log["events"] if (row["PCRIndex"], row["EventType"]) != refused]
    reason = policies.evaluate("example", refstate, log)
    assert "bsas [ is shorter (2) than the applicable tests (3)" in reason


def test_the_form_is_that_of_the_command(tmp_path: Path):
    log, refstate = told(tmp_path, "quiet", "--pcr", "9")
    rows = [row for row in eventlog.parse(log) if row.pcr == 9]
    assert len(rows) == 2
    assert [row["sha256"] for row in refstate["boots"][0]["registers"]["9"]] == [
        f"0x{row.digests['sha256'].hex()}" for row in rows
    ]
