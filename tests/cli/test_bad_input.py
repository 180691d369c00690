"""Bad input through the entry point: exit status, one line that names the file and the place, and the JSON of it.

What the stub itself would refuse is a boot, not an error: see the table in `stubsim.cli.main`.
"""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from stubsim import schemas
from stubsim import uki as loader
from stubsim.cli import main
from stubsim.formats import cpio, efifw, hwids, pe
from stubsim.formats.pe import SectionSpec
from stubsim.machine.ram import OutsideRam
from tests.samples import (
    CHID,
    FIRMWARE_UKI,
    FULL_UKI,
    MACHINE,
    Result,
    execute,
    firmware,
    invoke,
    table,
    uki,
    written,
)

Call = Callable[..., Result]
ERROR = Draft202012Validator(schemas.load("error"))


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return written(tmp_path, "uki.efi", FIRMWARE_UKI)


def one_line(result: Result, status: int, *texts: str | Path) -> None:
    """The status, and a single line on standard error that holds the texts and no traceback."""
    assert result.status == status, result.err
    assert len(result.lines) == 1, result.err
    assert result.lines[0].startswith(("stubsim: error: ", "stubsim: warning: "))
    for text in texts:
        assert str(text) in result.lines[0]


def error(result: Result, *texts: str | Path) -> None:
    one_line(result, 2, "stubsim: error: ", *texts)
    assert result.out == ""


UNREADABLE = {
    "text": (b"this is no PE file at all, not even by far", "offset 0x0", "not a PE file"),
    "empty": (b"", "empty"),
    "MZ": (b"MZ", "offset 0x2", "cut short"),
    "MZ and nothing": (b"MZ".ljust(64, b"\0"), "offset 0x3c"),
    "no PE": (b"MZ".ljust(0x3C, b"\0") + struct.pack("<I", 64) + bytes(100), "offset 0x40"),
    "zip": (b"PK\3\4" + bytes(500), "offset 0x0"),
    "gzip": (b"\x1f\x8b\x08\0" + bytes(500), "not a PE file, but gzip data"),
    "vmlinux": (b"\x7fELF\2" + bytes(500), "not a PE file, but an ELF file"),
}


@pytest.mark.parametrize(("content", "texts"), [(c, t) for c, *t in UNREADABLE.values()], ids=list(UNREADABLE))
@pytest.mark.parametrize("command", ["boot", "why", "diff", "inspect"])
def test_not_a_pe(tmp_path: Path, host: Path, command: str, content: bytes, texts: list[str]):
    path = written(tmp_path, "bad.efi", content)
    twice = [path] if command == "diff" else []
    error(invoke(command, path, *twice, *([] if command == "inspect" else ["--smbios", host])), path, *texts)


def test_not_a_pe_as_a_program(tmp_path: Path, host: Path):
    path = written(tmp_path, "bad.efi", b"no PE")
    error(execute("boot", path, "--smbios", host), path, "offset 0x0", "not a PE file")
    error(execute("inspect", path), path, "offset 0x0", "not a PE file")


def headers_end(data: bytes) -> int:
    last = pe.open_bytes(data, "").sections[-1]
    return last.header_offset + 40


def test_truncated_at_any_offset(tmp_path: Path, host: Path):
    path = tmp_path / "cut.efi"
    ends = [*range(headers_end(FULL_UKI)), *range(headers_end(FULL_UKI), len(FULL_UKI), 509), len(FULL_UKI) - 1]
    for end in ends:
        path.write_bytes(FULL_UKI[:end])
        error(invoke("boot", path, "--smbios", host), path, "empty" if end == 0 else "offset ")
        if end % 7 == 0:
            error(invoke("inspect", path), path)


def test_truncated_as_a_program(tmp_path: Path, host: Path):
    path = written(tmp_path, "cut.efi", FULL_UKI[:-1])
    where = f"offset {len(FULL_UKI) - 1:#x}"
    error(execute("boot", path, "--smbios", host), path, ".cmdline", where, "cut short")


@pytest.mark.parametrize("call", [invoke, execute])
def test_a_directory_a_missing_file_and_a_pipe(tmp_path: Path, host: Path, image: Path, call: Call):
    missing, pipe = tmp_path / "missing", tmp_path / "pipe"
    os.mkfifo(pipe)
    error(call("boot", tmp_path, "--smbios", host), tmp_path, "is a folder")
    error(call("boot", missing, "--smbios", host), missing, "No such file")
    error(call("inspect", pipe), pipe, "not a regular file")
    error(call("boot", image, "--smbios", tmp_path), tmp_path, "a folder without an SMBIOS table")
    error(call("boot", image, "--smbios", missing), missing, "No such file")
    error(call("chids", "--smbios", missing), missing, "No such file")
    error(call("why", image, "--smbios", missing), missing, "No such file")
    error(call("diff", image, "--smbios", host, "--smbios", missing), missing, "No such file")
    error(call("diff", image, missing, "--smbios", host), missing, "No such file")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
def test_a_file_without_permission(host: Path, image: Path):
    image.chmod(0)
    error(execute("boot", image, "--smbios", host), image, "Permission denied")


def test_a_name_that_is_none(host: Path):
    error(invoke("inspect", "a\0b"), "null")
    error(invoke("chids", "--smbios", "a\0b"), "null")


HOSTS = {
    "typo": ({"memroy": "1G"}, "memroy", "did you mean memory?"),
    "typo in smbios": ({"smbios": {"product_nam": "x"}}, "smbios.product_nam", "did you mean product_name?"),
    "typo in a bare file": ({"manufacturer": "M", "produkt_name": "x"}, "produkt_name", "product_name"),
    "number for a string": ({"manufacturer": 5}, "manufacturer: 5", "a string"),
    "string for a number": ({"smbios": {"bios_major": "2"}}, "smbios.bios_major", "integer"),
    "too large": ({"smbios": {"bios_major": 256}}, "smbios.bios_major", "255"),
    "not base64": ({"edid": "!!"}, "edid", "base64"),
    "array": ([1], "a JSON object"),
    "other schema": ({"schema": "stubsim/boot/1"}, "schema", "stubsim/host/1"),
    "broken JSON": (b'{"memory": ', "offset 0xb", "line 1"),
    "not UTF-8": (b'{"name": "\xff"}', "offset 0xa", "UTF-8"),
    "empty": (b"", "empty", "JSON"),
    "a UKI": (FIRMWARE_UKI, "a PE file", "offset 0x0"),
    "text": (b"no machine", "not recognised", "offset 0x0"),
}


@pytest.mark.parametrize(("content", "texts"), [(c, t) for c, *t in HOSTS.values()], ids=list(HOSTS))
def test_a_bad_host_file(tmp_path: Path, image: Path, content: object, texts: list[str]):
    path = written(tmp_path, "bad.json", content)
    error(invoke("boot", image, "--smbios", path), path, *texts)
    error(invoke("chids", "--smbios", path), path, *texts)
    error(invoke("why", image, "--smbios", path), path, *texts)
    error(invoke("diff", image, image, "--smbios", path), path, *texts)


def test_a_typo_in_the_host_file_as_a_program(tmp_path: Path, image: Path):
    path = written(tmp_path, "typo.json", {"memroy": "1G"})
    error(execute("boot", image, "--smbios", path), path, "memroy", "memory")
    error(execute("chids", "--smbios", path), path, "memroy", "memory")


def refused(image: Path, host: Path, message: str, *options: str) -> None:
    """The stub or the firmware refuses: exit status 1, outcome failed with its message, and one line of it."""
    for call in (invoke, execute):
        result = call("boot", image, "--smbios", host, "--format", "json", *options)
        one_line(result, 1, "stubsim: error: ", image, message)
        assert result.json["outcome"]["status"] == "failed"
        assert result.json["outcome"]["message"] == message
        assert result.json["outcome"]["efi_status"].startswith("EFI_")


def test_no_linux(tmp_path: Path, host: Path):
    refused(written(tmp_path, "uki.efi", uki(linux=None)), host, "Image lacks .linux section.")
    refused(written(tmp_path, "uki.efi", uki(linux=b"")), host, "Image lacks .linux section.")


def test_missing_profile(image: Path, host: Path):
    message = "Unable to locate embedded per-profile PE sections: Not found"
    refused(image, host, message, "--profile", "3")
    refused(image, host, message, "--cmdline", "@1")


def test_wrong_machine(tmp_path: Path, image: Path):
    host = written(tmp_path, "aa64.json", {"architecture": "aa64"})
    refused(image, host, "The image is for x64, the machine is aa64.")


def test_a_refused_kernel(tmp_path: Path, host: Path):
    message = "Bad kernel image: Load error"
    for kernel in (b"no kernel", pe.build([SectionSpec(".text", b"\xf4")], machine=0xAA64)):
        refused(written(tmp_path, "uki.efi", uki(linux=kernel)), host, message)


def test_a_failed_boot_as_text(tmp_path: Path, host: Path):
    image = written(tmp_path, "uki.efi", uki(linux=None))
    result = execute("boot", image, "--smbios", host)
    one_line(result, 1, image, "Image lacks .linux section.")
    assert "Image lacks .linux section." in result.out


def patched(data: bytes, at: int, value: int) -> bytes:
    return data[:at] + struct.pack("<I", value) + data[at + 4 :]


TABLE = table((hwids.UEFI_FW, "fw"), (hwids.UEFI_FW, "fw")).data
BAD_TABLES = {
    "type 3": (patched(TABLE, 0, 0x3000001C), "Unsupported", "offset 0x0"),
    "type 15 behind the match": (patched(TABLE, 28, 0xF000001C), "Unsupported", "offset 0x1c"),
    "name outside": (patched(TABLE, 20, 0x1000), "Invalid parameter", "offset 0x14"),
    "string outside": (patched(TABLE, 24, len(TABLE)), "Invalid parameter", "offset 0x18"),
    "string at the end of numbers": (patched(TABLE, 52, 0xFFFFFFFF), "Invalid parameter", "offset 0x34"),
    "string without end": (TABLE.rstrip(b"\0"), "Invalid parameter", "offset "),
}


@pytest.mark.parametrize(("data", "status", "where"), list(BAD_TABLES.values()), ids=list(BAD_TABLES))
def test_a_refused_hwids(tmp_path: Path, host: Path, data: bytes, status: str, where: str):
    image = written(tmp_path, "uki.efi", uki(SectionSpec(".hwids", data), firmware()))
    result = invoke("boot", image, "--smbios", host, "--format", "json")
    one_line(result, 0, "stubsim: warning: ", f"{image}: .hwids (section 5)", where)
    boot = result.json
    assert boot["outcome"]["status"] == "kernel-started"
    assert boot["selection"]["efifw"] is None
    assert boot["hwids"]["error"] == status
    assert {"level": "error", "message": f"No UEFI FW will be selected: {status}"} in boot["log"]
    inspected = invoke("inspect", image, "--format", "json")
    assert inspected.status == 0
    assert any(f"{image}: .hwids (section 5): {where}" in line for line in inspected.lines)


def test_a_refused_hwids_as_a_program(tmp_path: Path, host: Path):
    data, status, where = BAD_TABLES["name outside"]
    image = written(tmp_path, "uki.efi", uki(SectionSpec(".hwids", data), firmware()))
    result = execute("boot", image, "--smbios", host)
    one_line(result, 0, image, where)
    assert f"No UEFI FW will be selected: {status}" in result.out


def test_257_refuses_a_table_with_firmware_entries(tmp_path: Path, host: Path):
    image = written(tmp_path, "uki.efi", uki(table((hwids.UEFI_FW, "fw")), firmware(), stub="systemd-stub 257.13-1"))
    result = invoke("boot", image, "--smbios", host, "--format", "json")
    one_line(result, 0, image, ".hwids", "offset 0x0", "0x2000001c")
    assert result.json["hwids"]["error"] == "Unsupported"


BLOB = efifw.build("fw", b"payload")
OLD_UKIFY = b"\0" + BLOB[4:]
BAD_BLOBS = {
    "magic": (patched(BLOB, 0, 0xDEADBEEF), "offset 0x0"),
    "header too short": (patched(BLOB, 4, 15), "offset 0x4"),
    "header too long": (patched(BLOB, 4, 0xFFFFFFFF), "offset 0x4"),
    "fwid of no bytes": (patched(BLOB, 8, 0), "offset 0x10"),
    "fwid too short": (patched(BLOB, 8, 2), "offset 0x10"),
    "fwid too long": (patched(BLOB, 8, 0xFFFFFFF0), "offset 0x4"),
    "fwid up to the payload": (patched(patched(BLOB, 8, 5), 12, 5), "offset 0x10"),
    "payload too long": (patched(BLOB, 12, 8), "offset 0x4"),
    "cut short": (BLOB[:15], "offset 0x0"),
    "ukify's 13 bytes": (OLD_UKIFY, "offset 0x0", "13-byte header", "boots", "silently never used"),
}


@pytest.mark.parametrize(("data", "texts"), [(c, t) for c, *t in BAD_BLOBS.values()], ids=list(BAD_BLOBS))
def test_a_refused_efifw(tmp_path: Path, host: Path, data: bytes, texts: list[str]):
    image = written(tmp_path, "uki.efi", uki(table((hwids.UEFI_FW, "fw")), SectionSpec(".efifw", data)))
    result = invoke("boot", image, "--smbios", host, "--format", "json")
    one_line(result, 0, "stubsim: warning: ", f"{image}: .efifw (section 6)", *texts)
    boot = result.json
    assert boot["outcome"]["status"] == "kernel-started"
    assert boot["selection"]["efifw"] is None
    assert {"level": "error", "message": "Found bad efifw blob in PE section 6"} in boot["log"]
    inspected = invoke("inspect", image, "--format", "json")
    assert inspected.status == 0
    assert inspected.json["efifw"][0]["payload"] is None
    line = next(line for line in inspected.lines if ".efifw (section 6)" in line)
    assert "silently never used" in line
    assert all(text in line for text in texts)


def test_an_efifw_at_an_odd_address(tmp_path: Path, host: Path):
    section = SectionSpec(".efifw", BLOB, virtual_address=0x20002)
    image = written(tmp_path, "uki.efi", uki(table((hwids.UEFI_FW, "fw")), section))
    result = invoke("boot", image, "--smbios", host, "--format", "json")
    one_line(result, 0, image, ".efifw (section 6)", "0x20002")
    assert result.json["selection"]["efifw"] is None


def test_the_13_byte_header_as_a_program(tmp_path: Path, host: Path):
    image = written(tmp_path, "uki.efi", uki(table((hwids.UEFI_FW, "fw")), SectionSpec(".efifw", OLD_UKIFY)))
    one_line(execute("boot", image, "--smbios", host), 0, image, "13-byte header", "silently never used")


WRONG_CALLS = {
    "no command": ([], None),
    "unknown command": (["bot"], "did you mean boot?"),
    "command nothing like one": (["xyzzy"], "xyzzy"),
    "option for a command": (["--verbose"], "--verbose"),
    "no UKI": (["boot", "--smbios", "HOST"], "UKI"),
    "no host": (["boot", "UKI"], "--smbios"),
    "unknown option": (["boot", "UKI", "--smbios", "HOST", "--smbois"], "--smbois"),
    "no value": (["boot", "UKI", "--smbios"], "--smbios"),
    "abbreviation": (["boot", "UKI", "--smb", "HOST"], "--smb"),
    "unknown format": (["inspect", "UKI", "--format", "xml"], "xml"),
    "unknown view": (["chids", "--smbios", "HOST", "--view", "dmidecode"], "dmidecode"),
    "unknown stub": (["boot", "UKI", "--smbios", "HOST", "--stub", "grub"], "grub"),
    "future stub": (["boot", "UKI", "--smbios", "HOST", "--stub", "300"], "300"),
    "profile": (["boot", "UKI", "--smbios", "HOST", "--profile", "main"], "no profile has the id 'main'"),
    "negative profile": (["boot", "UKI", "--smbios", "HOST", "--profile=-1"], "-1"),
    "huge profile": (["boot", "UKI", "--smbios", "HOST", "--profile", "4294967296"], "4294967296"),
    "memory": (["boot", "UKI", "--smbios", "HOST", "--memory", "lots"], "from 1M to 4096T"),
    "too little memory": (["measure", "UKI", "--smbios", "HOST", "--memory", "640K"], "'640K'"),
    "too much memory": (["boot", "UKI", "--smbios", "HOST", "--memory", "4097T"], "'4097T'"),
    "two load options": (["boot", "UKI", "--smbios", "HOST", "--cmdline", "a", "--shell", "b"], "--shell"),
    "no device but a path": (["boot", "UKI", "--smbios", "HOST", "--from-memory", "--path", "x"], "--from-memory"),
    "no load options file": (["boot", "UKI", "--smbios", "HOST", "--load-options", "/missing"], "/missing"),
    "esp is a file": (["boot", "UKI", "--smbios", "HOST", "--esp", "HOST"], "--esp"),
    "unknown hand-over": (["boot", "UKI", "--smbios", "HOST", "--handover", "pigeon"], "pigeon"),
    "two files": (["inspect", "UKI", "UKI"], "UKI"),
    "why without a host": (["why", "UKI"], "--smbios"),
    "why of an unknown stub": (["why", "UKI", "--smbios", "HOST", "--stub", "grub"], "grub"),
    "nothing to compare": (["diff", "UKI", "--smbios", "HOST"], "nothing to compare"),
    "three to compare": (["diff", "UKI", "UKI", "UKI", "--smbios", "HOST"], "3 times UKI"),
    "three hosts": (["diff", "UKI", *["--smbios", "HOST"] * 3], "3 times --smbios"),
    "diff with an unknown format": (["diff", "UKI", "UKI", "--smbios", "HOST", "--format", "xml"], "xml"),
}


def filled(arguments: list[str], image: Path, host: Path) -> list[str]:
    return [{"UKI": str(image), "HOST": str(host)}.get(argument, argument) for argument in arguments]


@pytest.mark.parametrize(("arguments", "text"), list(WRONG_CALLS.values()), ids=list(WRONG_CALLS))
def test_a_wrong_call(image: Path, host: Path, arguments: list[str], text: str | None):
    result = invoke(*filled(arguments, image, host))
    if text is None:
        assert (result.status, result.err) == (2, "")
        assert "usage" in result.out
    else:
        error(result, text if text != "UKI" else "")


@pytest.mark.parametrize("name", ["unknown command", "unknown option", "no value", "profile"])
def test_a_wrong_call_as_a_program(image: Path, host: Path, name: str):
    arguments, text = WRONG_CALLS[name]
    error(execute(*filled(arguments, image, host)), str(text))


@pytest.mark.parametrize("style", [["--format", "json"], ["--format=json"]], ids=" ".join)
@pytest.mark.parametrize("call", [invoke, execute])
def test_errors_are_json_too(tmp_path: Path, host: Path, image: Path, call: Call, style: list[str]):
    bad = written(tmp_path, "bad.efi", b"MZ")
    for arguments, path, offset in (
        (["boot", bad, "--smbios", host], str(bad), 2),
        (["inspect", bad], str(bad), 2),
        (["why", bad, "--smbios", host], str(bad), 2),
        (["diff", image, bad, "--smbios", host], str(bad), 2),
        (["diff", image, "--smbios", host], None, None),
        (["chids", "--smbios", tmp_path], str(tmp_path), None),
        (["boot", image, "--smbois", host], None, None),
        (["bot"], None, None),
    ):
        # Whatever the order.
        for words in ([*arguments, *style], [arguments[0], *style, *arguments[1:]]):
            result = call(*words)
            one_line(result, 2)
            value = result.json
            ERROR.validate(value)
            assert (value["path"], value["offset"]) == (path, offset)
            assert " ".join(value["message"].split()) in result.err
        if call is execute:
            break


def test_hostile_texts_do_not_steer_the_terminal(tmp_path: Path, host: Path):
    evil = "\x1b[2J\r\nfw\u202e"
    more = [table((hwids.UEFI_FW, evil)), firmware(evil), SectionSpec(".\x1b[2J", b"x")]
    image = written(
        tmp_path, "uki\x1b[2J.efi", uki(*more, SectionSpec(".profile", f"ID={evil}".encode()), stub=f"s {evil}")
    )
    name = written(tmp_path, "evil.json", {"name": evil, "smbios": MACHINE})
    assert CHID is not None
    calls = [("inspect", image), ("chids", "--smbios", name)]
    boots = [
        ("boot", image, "--smbios", host),
        ("boot", image, "--smbios", name, "--format", "json"),
        ("why", image, "--smbios", name),
        ("diff", image, image, "--smbios", name),
    ]
    # The stub that the image names is not simulated, so no boot settles on a section; taken for another, it does.
    calls += [*boots, *((*call, "--stub", "262") for call in boots)]
    for call in calls:
        result = invoke(*call)
        assert result.status == int(call in boots), call
        assert "\x1b" not in result.out + result.err
        assert "\u202e" not in result.out + result.err
    error(invoke("inspect", tmp_path / "\x1b[2J"), "\\x1b[2J")


def test_debug_shows_where(tmp_path: Path):
    result = invoke("inspect", tmp_path / "missing", "--debug")
    assert result.status == 2
    assert result.err.startswith("Traceback")
    assert result.lines[-1].startswith("stubsim: error: ")


@pytest.mark.parametrize("command", ["boot", "measure", "inspect"])
def test_a_file_that_becomes_shorter_while_it_is_read(
    command: str, tmp_path: Path, host: Path, monkeypatch: pytest.MonkeyPatch
):
    """It is read, and each read is checked: of a map the rest would be a SIGBUS."""
    path = written(tmp_path, "uki.efi", uki(SectionSpec(".splash", bytes(9 << 20))))
    load = loader.load

    def cut(name: str) -> loader.Uki:
        loaded = load(name)
        os.truncate(name, 1 << 20)
        return loaded

    monkeypatch.setattr(loader, "load", cut)
    result = invoke(command, path, *([] if command == "inspect" else ["--smbios", host]), "-o", tmp_path / "out")
    error(result, f"{path}: offset 0x100000: the file became shorter while it was read (expected ")
    assert not (tmp_path / "out").exists()


def test_a_sidecar_that_becomes_shorter(image: Path, host: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = tmp_path / "esp" / "loader" / "credentials"
    folder.mkdir(parents=True)
    (folder / "a.cred").write_bytes(bytes(6 << 20))
    pack = cpio.pack

    def cut(*arguments: object) -> object:
        os.truncate(folder / "a.cred", 5 << 20)
        return pack(*arguments)

    monkeypatch.setattr(cpio, "pack", cut)
    result = invoke("boot", image, "--smbios", host, "--esp", tmp_path / "esp", "--path", "\\x.efi")
    error(result, f"{folder / 'a.cred'}: offset 0x500000: the file became shorter while it was read")


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (ZeroDivisionError("a\nb \x1b[2J"), r"internal error: ZeroDivisionError: a b \x1b[2J"),
        (KeyError(), "internal error: KeyError; "),
        (MemoryError(), "internal error: not enough memory; "),
        (RecursionError("maximum"), "internal error: RecursionError: maximum; "),
        (OutsideRam("0 bytes"), "internal error: OutsideRam: 0 bytes; "),
    ],
)
def test_a_fault_of_stubsim(fault: Exception, says: str, image: Path, host: Path, monkeypatch: pytest.MonkeyPatch):
    def fails(*_: object) -> None:
        raise fault

    monkeypatch.setattr("stubsim.cli.boot.boot", fails)
    result = invoke("boot", image, "--smbios", host)
    one_line(result, 70, "stubsim: error: ", says, "report it", "--debug")
    assert result.out == ""
    value = json.loads(invoke("boot", image, "--smbios", host, "--format", "json").out)
    ERROR.validate(value)
    assert value["message"] == says.partition("; ")[0].replace(r"\x1b", "\x1b")
    result = invoke("boot", image, "--smbios", host, "--debug")
    assert result.status == 70
    assert result.err.startswith("Traceback")
    assert result.lines[-1].startswith("stubsim: error: internal error")


def test_no_memory_to_say_more(
    image: Path, host: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    def fails(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("stubsim.cli.boot.boot", fails)
    monkeypatch.setattr("stubsim.cli.output.tell", fails)
    assert main(["boot", str(image), "--smbios", str(host)]) == 70
    assert capfd.readouterr().err == "stubsim: error: internal error: not enough memory to say more\n"


def test_memory_that_is_exhausted(tmp_path: Path):
    """For real, in a process of its own that may have 60 MB beyond what Python takes."""
    deep = written(tmp_path, "deep.json", b"[" * (1 << 20) + b"]" * (1 << 20))
    for name in (deep, written(tmp_path, "long.json", b'{"smbios": {"family": "' + b"x" * (30 << 20) + b'"}}')):
        result = limited("host", "show", name)
        assert result.returncode in (2, 70), result.stderr
        assert result.stderr.startswith("stubsim: error: ")
        assert "Traceback" not in result.stderr
        assert result.stderr.count("\n") == 1


def limited(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    import resource

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_DATA, (60 << 20, 60 << 20))

    return subprocess.run(
        [sys.executable, "-m", "stubsim", *map(str, arguments)],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, preexec_fn=limit, check=False,
    )  # fmt: skip


def test_a_json_error_names_section_and_offset(tmp_path: Path, host: Path):
    path = written(tmp_path, "cut.efi", FULL_UKI[:-1])
    value = json.loads(invoke("boot", path, "--smbios", host, "--format", "json").out)
    ERROR.validate(value)
    assert (value["section"], value["offset"]) == (".cmdline", len(FULL_UKI) - 1)


def test_a_name_that_is_empty(image: Path, host: Path):
    error(invoke("inspect", ""), "'': No such file or directory")
    error(invoke("boot", image, "--smbios", ""), "'': cannot be read: No such file")
    error(invoke("boot", "", "--smbios", host), "'': No such file or directory")
