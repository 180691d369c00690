"""`stubsim host`, and machines of every form given to the other commands."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from stubsim import schemas
from stubsim.formats import smbios
from stubsim.hosts import live
from tests.hosts.test_dmidecode import TEXT as DMIDECODE
from tests.hosts.test_fwupd import TEXT as FWUPD
from tests.hosts.test_libvirt import DOMAIN
from tests.hosts.test_live import put
from tests.hosts.test_live_variables import variable
from tests.hosts.test_qemu import SCRIPT
from tests.hosts.test_raw import DUMP, TABLE
from tests.hosts.test_writing import SERIALS, UUID_BYTES, table
from tests.samples import FIRMWARE_UKI, MACHINE, ROOT, Result, execute, invoke, written

SHOW = Draft202012Validator(schemas.load("host-show"))
HOST = Draft202012Validator(schemas.load("host"))
FORMS = {
    "dmidecode": DMIDECODE,
    "fwupd": FWUPD,
    "qemu": SCRIPT.encode(),
    "libvirt": DOMAIN.encode(),
    "table": TABLE,
    "dump": DUMP,
    "json": {"name": "n", "smbios": MACHINE, "unknown": ["edid"]},
}


@pytest.fixture(params=FORMS, ids=list(FORMS))
def source(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    return written(tmp_path, "machine", FORMS[request.param])


def shown(*arguments: str | Path) -> Any:
    result = invoke("host", "show", *arguments, "--format", "json")
    assert (result.status, result.err) == (0, "")
    SHOW.validate(result.json)
    return result.json


def error(result: Result, *texts: str) -> None:
    assert (result.status, result.out) == (2, "")
    assert len(result.lines) == 1
    for text in texts:
        assert text in result.lines[0]


def test_show_convert_and_the_same_answers(source: Path, tmp_path: Path):
    target = tmp_path / "host.json"
    before = shown(source)
    for options in ([], ["--keep-ids"]):
        result = invoke("host", "convert", source, *options, "-o", target)
        assert (result.status, result.out) == (0, "")
        assert all("--keep-ids keeps it" in line for line in result.lines)
        assert not (options and result.lines)
        value = json.loads(target.read_text())
        HOST.validate(value)
        # What is not known and what is not there take no room.
        assert not value.keys() & {"boot_secret", "esp_partition_uuid", "devicetree", "variables"}
        after = shown(target)
        assert {**after, "source": None, "notes": None, "smbios_table": None, "smbios": None} == {
            **before, "source": None, "notes": None, "smbios_table": None, "smbios": None,
        }  # fmt: skip
        for view in ("stub", "fwupd", "systemd-analyze"):
            rows = [invoke("chids", "--smbios", path, "--view", view, "--format", "json") for path in (source, target)]
            # How a source was read is told of it alone.
            assert rows[0]._replace(err="") == rows[1]
    # Twice the same bytes.
    again = invoke("host", "convert", target, "--keep-ids")
    assert again.out == target.read_text()


def test_every_command_takes_every_form(source: Path, tmp_path: Path):
    image = written(tmp_path, "uki.efi", FIRMWARE_UKI)
    boot = invoke("boot", image, "--smbios", source, "--format", "json")
    assert boot.status == 0
    unknown = {row["what"] for row in boot.json["unknown"]}
    assert unknown >= {row["key"] for row in shown(source)["unknown"]}
    assert invoke("chids", "--smbios", source).status == 0
    measured = invoke("measure", image, "--smbios", source)
    assert measured.status == 0
    assert invoke("measure", image, "--smbios", source, "--smbios", source).out == measured.out


def test_a_boot_says_what_it_does_not_know(tmp_path: Path):
    image = written(tmp_path, "uki.efi", FIRMWARE_UKI)
    text = " ".join(invoke("boot", image, "--smbios", written(tmp_path, "text", DMIDECODE)).out.split())
    assert "edid: not known of this machine" in text
    assert "secure_boot: not known of this machine, and the boot may end otherwise: The firmware refuses" in text
    assert "the SMBIOS events of PCR 1" in text
    raw = " ".join(invoke("boot", image, "--smbios", written(tmp_path, "table", TABLE)).out.split())
    assert "the SMBIOS events of PCR 1" not in raw
    assert "edid: not known of this machine" in raw


def test_ids_are_kept_only_when_asked_for(tmp_path: Path):
    source = written(tmp_path, "table", table())
    plain, kept = (invoke("host", "convert", source, *options).out for options in ([], ["--keep-ids"]))
    assert "smbios_table" not in plain
    assert not any(serial.decode() in plain for serial in SERIALS)
    assert UUID_BYTES.decode() not in plain
    assert json.loads(kept)["smbios_table"]
    assert "5[SERIAL]" in kept


def test_show_as_text(tmp_path: Path):
    out = invoke("host", "show", written(tmp_path, "text", DMIDECODE.replace(b"Machine  ", b"M\xff..e\x1b[31m"))).out
    assert out.startswith("text of dmidecode 3.3\n")
    text = " ".join(out.split())
    assert r'product name "M\xff..e\x1b[31m" (not for certain)' in text
    assert 'enclosure type 151 (0x97) OEM strings "one",' in text
    assert 'BIOS version "F.19" BIOS major release 2' in text
    assert "TPM unknown" in text
    assert "Unknown; a boot tells what depends on them - console" in text
    assert "dmidecode prints a dot for every byte" in text
    assert "\x1b" not in out
    assert all(len(line) <= 80 for line in out.splitlines())


def test_standard_input(tmp_path: Path):
    command = [sys.executable, "-m", "stubsim", "host", "show", "-", "--format", "json"]
    done = subprocess.run(command, input=DUMP, capture_output=True, check=True, cwd=ROOT)
    assert json.loads(done.stdout)["source"]["kind"] == "dmidecode-bin"
    assert "standard input: is closed" in execute("chids", "--smbios", "-", preexec_fn=lambda: os.close(0)).err
    command = [sys.executable, "-m", "stubsim", "chids", "--smbios", "-"]
    done = subprocess.run(command, input=b"nothing", capture_output=True, check=False, cwd=ROOT)
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.startswith(b"stubsim: error: standard input: offset 0x0: not recognised")


def test_capture(tmp_path: Path):
    """Where Linux shows an SMBIOS table it is a host file, elsewhere one line says why not."""
    target = tmp_path / "host.json"
    result = invoke("host", "capture", "-o", target)
    if result.status == 0:
        value = json.loads(target.read_text())
        HOST.validate(value)
        assert "smbios_table" not in value
        assert value == invoke("host", "convert", "live").json
    else:
        error(result, "/sys/firmware/dmi/tables")
        assert not target.exists()
        error(invoke("chids", "--smbios", "live"), "/sys/firmware/dmi/tables")


def test_what_json_cannot_hold_is_a_warning(tmp_path: Path):
    source = written(tmp_path, "table", smbios.from_fields(smbios.Fields(manufacturer=b"M\xff\n")))
    result = invoke("host", "convert", source)
    assert result.status == 0
    assert result.lines == [
        f"stubsim: warning: {source}: {text}"
        for text in (
            "left out, as it identifies the machine: the raw SMBIOS table; --keep-ids keeps it",
            "manufacturer b'M\\xff\\n' is not UTF-8, which JSON cannot hold: written as unknown",
        )
    ]
    assert "smbios.manufacturer" in result.json["unknown"]
    assert invoke("host", "convert", source, "--keep-ids").err == ""


@pytest.mark.parametrize("call", [invoke, execute])
def test_wrong_calls(tmp_path: Path, call: Any):
    source = written(tmp_path, "table", TABLE)
    error(call("host"), "ACTION")
    error(call("host", "shwo", source), "shwo")
    error(call("host", "show"), "required: HOST", "stubsim host show --help")
    error(call("host", "convert"), "required: HOST")
    error(call("host", "capture", source), "unrecognized arguments")
    error(call("host", "show", source, "--keep-ids"), "--keep-ids")
    error(call("host", "show", tmp_path / "missing"), str(tmp_path / "missing"), "No such file")


BAD = {
    "table": (TABLE[:20], "offset 0x1", "type 0 has length 24"),
    "dump": (DUMP[:50], "offset 0x21", "type 0 has length 24"),
    "dmidecode": (b"# dmidecode 3.4\n", "offset 0x0", "without a structure"),
    "fwupd": (FWUPD.replace(b"255", b"999"), "offset 0x4f", "BiosMajorRelease", "0 to 255"),
    "qemu": (b"qemu-system-x86_64 -smbios type=1,produkt=x", "'produkt'", "product"),
    "libvirt": (b"<domain type='kvm'>", "offset 0x13", "no element found"),
}


@pytest.mark.parametrize(("data", "texts"), [(d, t) for d, *t in BAD.values()], ids=list(BAD))
def test_bad_input_of_every_form(tmp_path: Path, data: bytes, texts: list[str]):
    path, target = written(tmp_path, "bad", data), tmp_path / "host.json"
    for arguments in (["host", "show", path], ["host", "convert", path, "-o", target], ["chids", "--smbios", path]):
        error(invoke(*arguments), str(path), *texts)
    assert not target.exists()
    result = invoke("host", "show", path, "--format", "json")
    assert (result.status, result.json["path"]) == (2, str(path))
    Draft202012Validator(schemas.load("error")).validate(result.json)


def test_merge(tmp_path: Path):
    one = written(tmp_path, "one.json", {"smbios": {"manufacturer": "M"}, "unknown": ["tpm", "smbios.family"]})
    other = written(tmp_path, "other.json", {"smbios": {"manufacturer": "N", "family": "F"}, "tpm": None})
    target = tmp_path / "host.json"
    result = invoke("host", "merge", one, other, "-o", target)
    assert (result.status, result.out, len(result.lines)) == (0, "", 1)
    assert f"{other}: smbios.manufacturer is 'N', and 'M' in {one}, which counts" in result.err
    value = json.loads(target.read_text())
    HOST.validate(value)
    assert (value["smbios"]["manufacturer"], value["smbios"]["family"]) == ("M", "F")
    assert "unknown" not in value or value["unknown"] == []


@pytest.mark.parametrize("command", [["boot", "uki.efi"], ["why", "uki.efi"], ["chids"]])
def test_one_machine_is_not_two(command: list[str]):
    result = invoke(*command, "--smbios", "a.json", "--smbios", "b.json")
    assert (result.status, result.out) == (2, "")
    assert "is given twice" in result.err
    assert "host merge" in result.err


def test_capture_says_what_is_known_and_how_to_find_the_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """In text and in the host file, which another command shows again; a boot does not depend on it."""
    put(tmp_path, "sys/firmware/dmi/tables/DMI", TABLE)
    variable(tmp_path, "LoaderFirmwareInfo", "EDK II 1.00")
    read = live.read
    monkeypatch.setattr(live, "read", lambda: read(str(tmp_path)))
    target = tmp_path / "host.json"
    result = invoke("host", "capture", "-o", target)
    value = json.loads(target.read_bytes())
    HOST.validate(value)
    assert [f"stubsim: note: {note}" for note in value["notes"]] == result.lines[: len(value["notes"])]
    assert any(note.startswith("rng is unknown: in the UEFI shell, dh ") for note in value["notes"])
    assert "firmware.vendor" not in value["unknown"]
    assert shown(target)["notes"] == value["notes"]
