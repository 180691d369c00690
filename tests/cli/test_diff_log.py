"""`stubsim diff-log`: exit status, both formats, and logs that are none."""

from __future__ import annotations

import base64
import json
import struct
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from jsonschema import Draft202012Validator

from stubsim import hosts, schemas, uki
from stubsim.formats import eventlog
from stubsim.formats.efi_string import utf16z
from stubsim.formats.eventlog import EVENT_TYPES, Event
from stubsim.simulation import boot
from stubsim.start import Start
from stubsim.trace import Measured
from stubsim.views.eventlog import event_log
from tests.samples import FIRMWARE_UKI, MACHINE, invoke, written

SCHEMA = Draft202012Validator(schemas.load("diff-log"))


class Files(NamedTuple):
    folder: Path
    uki: Path
    host: Path
    log: Path

    def diff_log(self, *arguments: str | Path, log: Path | None = None) -> Any:
        return invoke("diff-log", self.uki, "--smbios", self.host, "--eventlog", log or self.log, *arguments)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """A UKI, a host, and the log the one would leave on the other."""
    image = written(tmp_path, "uki.efi", FIRMWARE_UKI)
    host = written(tmp_path, "host.json", {"smbios": MACHINE})
    log = written(tmp_path, "log", event_log(boot(uki.load(str(image)), hosts.load(str(host)))))
    return Files(tmp_path, image, host, log)


def edited(files: Files, *more: Event) -> Path:
    log = eventlog.parse_log(files.log.read_bytes())
    return written(files.folder, "edited", eventlog.build_log(log._replace(events=(*log.events, *more))))


LOAD_OPTIONS = Event(12, EVENT_TYPES["EV_IPL"], {"sha256": bytes(32)}, utf16z("debug\x1b[2J"))


def test_equal(files: Files):
    result = files.diff_log()
    assert result.status == 0
    assert "equal: 12 events of the stub as predicted\n" in result.out
    assert "difference" not in result.out

    report = files.diff_log("--format", "json").json
    SCHEMA.validate(report)
    assert (report["equal"], report["first"], report["differences"]) == (True, None, [])
    assert report["matched"] == 12
    assert report["log"] == str(files.log)
    assert report["pcrs"]["predicted"]["sha256"]["11"] == report["pcrs"]["logged"]["sha256"]["11"]


def test_different(files: Files):
    log = edited(files, LOAD_OPTIONS)
    result = files.diff_log(log=log)
    assert result.status == 1
    cause = r"first difference: the log has load options that were not given: 'debug\x1b[2J'"
    assert cause in " ".join(result.out.split())
    assert "\x1b" not in result.out
    assert "event 12 of the log (from 0): EV_IPL" in result.out

    result = files.diff_log("--format", "json", log=log)
    assert result.status == 1
    report = result.json
    SCHEMA.validate(report)
    assert not report["equal"]
    assert report["first"] == report["differences"][0]
    assert report["first"] | {"cause": ""} == {
        "kind": "extra",
        "pcr": 12,
        "index": 12,
        "predicted": None,
        "logged": {
            "pcr": 12,
            "type": "EV_IPL",
            "tag": None,
            "description": "debug\x1b[2J",
            "digests": {"sha256": "00" * 32},
        },
        "cause": "",
    }


def test_given_load_options_make_it_equal(files: Files):
    image, host = uki.load(str(files.uki)), hosts.load(str(files.host))
    log = event_log(boot(image, host, Start(load_options=utf16z("debug"))))
    path = written(files.folder, "booted", log)
    assert files.diff_log(log=path).status == 1
    assert files.diff_log("--cmdline", "debug", log=path).status == 0


def test_continued_lines_are_indented(files: Files):
    lines = files.diff_log().out.splitlines()
    unknown = next(number for number, line in enumerate(lines) if line.startswith("- unknown: the SMBIOS"))
    assert lines[unknown + 1].startswith("  (smbios_table)")


def test_the_cause_comes_first(files: Files):
    started = Event(4, EVENT_TYPES["EV_EFI_BOOT_SERVICES_APPLICATION"], {"sha256": bytes(32)}, b"")
    result = files.diff_log(log=edited(files, started, LOAD_OPTIONS))
    assert result.out.startswith("cause: this log is of another UKI (an image without a path, PCR 4)")


def test_every_kind_is_in_the_schema(files: Files):
    """A bank that is missing is a difference without an event."""
    host = written(files.folder, "host2.json", {"smbios": MACHINE, "tpm": {"banks": ["sha1", "sha256"]}})
    files = files._replace(host=host)
    result = files.diff_log("--format", "json")
    assert result.status == 1
    SCHEMA.validate(result.json)
    assert [(row["kind"], row["pcr"]) for row in result.json["differences"]] == [("bank", None)]
    assert "first difference: the log has no sha1 bank" in files.diff_log().out


def test_a_very_different_log_is_cut_short(files: Files):
    out = files.diff_log(log=edited(files, *[LOAD_OPTIONS] * 100)).out
    assert "all 100 differences" in out
    assert "and 36 more, all of them with --format json" in " ".join(out.split())


def test_recordings(shared: Path, tmp_path: Path):
    golden = shared / "golden"
    match, other = golden / "efifw-match@262.1", golden / "efifw-nomatch@262.1"
    log = written(tmp_path, "log", bytes.fromhex(json.loads((other / "expect.json").read_text())["eventlog"]))
    files = Files(tmp_path, match / "uki.efi", match / "host.json", log)
    result = files.diff_log("--esp", match / "esp")
    assert result.status == 1
    assert "this host selects section 11 ('fw-b'), but no .efifw was measured" in " ".join(result.out.split())


LEGACY = bytes.fromhex("0000000008000000") + bytes(20) + bytes.fromhex("020000004100")


@pytest.mark.parametrize(
    ("content", "offset", "words"),
    [
        (b"", "0x0", "the event log is empty"),
        (LEGACY[:-1], "0x20", "event log ends within an event's data"),
        (b"PCR  Event  Type\n" * 20, "0x0", "not an event log"),
        (None, "0x4f", "event log ends within a digest"),
    ],
    ids=["empty", "sha1 only", "text", "cut off"],
)
def test_no_event_log(files: Files, content: bytes | None, offset: str, words: str):
    path = written(files.folder, "bad", files.log.read_bytes()[:80] if content is None else content)
    result = files.diff_log("--format", "json", log=path)
    assert result.status == 2
    assert [line.startswith(f"stubsim: error: {path}: offset {offset}: {words}") for line in result.lines] == [True]
    assert (result.json["schema"], result.json["path"]) == ("stubsim/error/1", str(path))


def test_unreadable(files: Files):
    result = files.diff_log(log=files.folder / "nothing")
    assert (result.status, result.out) == (2, "")
    assert result.lines == [f"stubsim: error: {files.folder / 'nothing'}: No such file or directory"]
    assert files.diff_log(log=files.folder).status == 2


def test_without_a_tpm(files: Files):
    result = files._replace(host=written(files.folder, "none.json", {"tpm": None})).diff_log()
    assert result.status == 2
    assert "the host has no TPM" in result.lines[-1]


def test_output_file(files: Files):
    result = files.diff_log("--format", "json", "-o", files.folder / "out.json")
    assert (result.status, result.out) == (0, "")
    assert json.loads((files.folder / "out.json").read_text())["equal"]


def test_it_is_listed():
    assert "diff-log" in invoke("--help").out


def test_a_log_of_sha_1_alone(files: Files):
    """Whatever banks the TPM uses: it is compared in this one."""
    machine = hosts.load(str(files.host))._replace(tpm=("sha1",))
    made = eventlog.parse_log(event_log(boot(uki.load(str(files.uki)), machine)))
    rows = [(row.pcr, row.type, row.digests["sha1"], len(row.data), row.data) for row in made.events]
    old = b"".join(struct.pack("<II20sI", *row[:4]) + row[4] for row in [(0, 8, bytes(20), 0, b""), *rows])
    report = files.diff_log("--format", "json", log=written(files.folder, "old", old)).json
    SCHEMA.validate(report)
    assert (report["equal"], report["banks"], report["matched"]) == (True, ["sha1"], 12)


def test_userspace_is_told_apart(files: Files):
    log = eventlog.parse_log(files.log.read_bytes())
    rows = [
        {
            "pcr": row.pcr,
            "digests": [{"hashAlg": bank, "digest": digest.hex()} for bank, digest in row.digests.items()],
            "content_type": "pcclient_std",
            "content": {
                "event_type": eventlog.type_name(row.type),
                "event_data": base64.b64encode(row.data).decode(),
            },
        }
        for row in log.events
    ]
    phase = sha256(b"enter-initrd").hexdigest()
    rows.append(
        {
            "pcr": 11,
            "digests": [{"hashAlg": "sha256", "digest": phase}],
            "content_type": "systemd",
            "content": {"string": "enter-initrd", "eventType": "phase"},
        }
    )
    report = files.diff_log("--format", "json", log=written(files.folder, "cel", json.dumps(rows).encode())).json
    SCHEMA.validate(report)
    assert report["equal"]
    before = report["pcrs"]["predicted"]["sha256"]["11"]
    assert report["pcrs"]["logged"]["sha256"]["11"] == before
    after = sha256(bytes.fromhex(before + phase)).hexdigest()
    assert [text for text in report["hints"] if "phase enter-initrd" in text]
    assert f"with them PCR 11 sha256 is {after}" in report["hints"]


def test_the_log_of_a_tdx_guest(files: Files):
    """CCEL: the index of an event is a register, 3 for RTMR 2, where all of the stub's events are."""
    guest = written(files.folder, "tdx.json", {"smbios": MACHINE, "confidential": "tdx", "tpm": None})
    result = boot(uki.load(str(files.uki)), hosts.load(str(guest)))
    registers = {4: 2, 1: 1, 11: 3, 12: 3, 13: 3}
    events = [
        Event(registers[row.pcr], EVENT_TYPES[row.type], {"sha384": row.digests["sha384"]}, row.data)
        for row in result.trace
        if isinstance(row, Measured) and row.pcr in registers
    ]
    other = Event(3, EVENT_TYPES["EV_EVENT_TAG"], {"sha384": bytes(48)}, eventlog.tagged(0x8F3B22EC, "Linux initrd"))
    log = written(files.folder, "ccel", eventlog.build([*events, other], ["sha384"]))
    files = files._replace(host=guest)
    report = files.diff_log("--format", "json", log=log).json
    SCHEMA.validate(report)
    assert (report["equal"], report["differences"], report["banks"]) == (True, [], ["sha384"])
    assert report["matched"] >= 12
    assert any(f"after the stub's own {result.rtmrs[2].hex()}" in text for text in report["hints"])
    events[-1] = events[-1]._replace(digests={"sha384": bytes(48)})
    log = written(files.folder, "ccel", eventlog.build(events, ["sha384"]))
    assert files.diff_log(log=log).status == 1
    plain = files._replace(host=written(files.folder, "plain.json", {"smbios": MACHINE}))
    refused = plain.diff_log(log=log)
    assert refused.status == 2
    assert '"confidential": "tdx"' in refused.err
