"""The UKI left out: that of a boot loader's entry is booted; and which copy the firmware starts."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from stubsim.formats.efi_string import utf16z
from stubsim.hosts import Host
from stubsim.hosts.host import Variable
from stubsim.result import Boot
from stubsim.simulation import boot
from stubsim.start import Start
from stubsim.trace import Unknown
from stubsim.uefi.variables import LOADER
from stubsim.uki import load
from stubsim.views.eventlog import event_log
from tests.loader.test_run import esp_of
from tests.samples import invoke, uki, written
from tests.stub.harness import make_pe, make_uki


@pytest.fixture
def host(tmp_path: Path) -> Path:
    path = tmp_path / "host.json"
    path.write_text('{"smbios": {}}')
    return path


@pytest.mark.parametrize("entry", ["lab.efi@b", "default", "lab.EFI"])
def test_the_image_is_the_entrys(tmp_path: Path, host: Path, entry: str):
    esp = esp_of(tmp_path)
    result = invoke("boot", "--smbios", host, "--esp", esp, "--entry", entry, "--format", "json")
    assert result.status == 0
    report = json.loads(result.out)
    assert report["uki"]["path"] == str(esp / "EFI/Linux/lab.efi")
    assert report["profile"]["index"] == (1 if "@" in entry else 0)
    assert invoke("why", "--smbios", host, "--esp", esp, "--entry", entry).status == 0


def test_an_image_on_the_partition_beside(tmp_path: Path, host: Path):
    esp, other = esp_of(tmp_path), tmp_path / "boot"
    (other / "EFI/Linux").mkdir(parents=True)
    (esp / "EFI/Linux/lab.efi").rename(other / "EFI/Linux/far.efi")
    result = invoke("boot", "--smbios", host, "--esp", esp, "--xbootldr", other, "--entry", "far", "--format", "json")
    assert json.loads(result.out)["uki"]["path"] == str(other / "EFI/Linux/far.efi")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ((), "no UKI is given"),
        (("--entry", "default"), "an entry is on a partition"),
        (("--esp", "ESP", "--entry", "lba.efi"), "did you mean lab.efi?"),
        (("--esp", "ESP", "--entry", "auto-reboot-to-firmware-setup"), "does not start an image"),
    ],
)
def test_what_names_no_image(tmp_path: Path, host: Path, more: tuple[str, ...], message: str):
    esp = esp_of(tmp_path)
    result = invoke("boot", "--smbios", host, *(str(esp) if text == "ESP" else text for text in more))
    assert (result.status, message in result.err) == (2, True)
    assert result.out == ""


def test_another_file_than_the_entrys(tmp_path: Path, host: Path):
    esp = esp_of(tmp_path)
    (esp / "EFI/Linux/other.efi").write_bytes((esp / "EFI/Linux/lab.efi").read_bytes() + b"more")
    result = invoke("boot", esp / "EFI/Linux/lab.efi", "--smbios", host, "--esp", esp, "--entry", "other.efi")
    assert result.status == 2
    assert "which is another file" in result.err


def test_the_copy_that_the_firmware_starts(tmp_path: Path):
    esp, outside = esp_of(tmp_path), tmp_path / "uki.efi"
    content = (esp / "EFI/Linux/lab.efi").read_bytes()
    outside.write_bytes(content)
    (esp / "EFI/BOOT/BOOTX64.EFI").write_bytes(content)
    result = boot(load(str(outside)), Host(), Start(esp=str(esp)))
    assert result.image is not None
    assert result.image.path == "\\EFI\\BOOT\\BOOTX64.EFI"
    assert any("which the firmware starts, is taken" in line for line in result.assumed)


def test_another_program_in_the_firmwares_place(tmp_path: Path):
    esp = esp_of(tmp_path)
    (esp / "EFI/BOOT/BOOTX64.EFI").write_bytes(make_pe((".text", b"some loader")))
    result = boot(load(str(esp / "EFI/Linux/lab.efi")), Host(), Start(esp=str(esp)))
    said = [line for line in result.assumed if "not \\EFI\\BOOT\\BOOTX64.EFI" in line]
    assert len(said) == 1
    result = boot(load(str(esp / "EFI/Linux/lab.efi")), Host(), Start(esp=str(esp), loader="none"))
    assert not [line for line in result.assumed if "BOOTX64" in line]


SPLIT = ("measure", "which", "verify-pcrsig", "diff-log", "log", "why", "diff")


@pytest.fixture
def files(tmp_path: Path) -> dict[str, list[object]]:
    """What each command asks for beside the UKI."""
    host = tmp_path / "host.json"
    host.write_text('{"smbios": {}, "secure_boot": false, "tpm": {"banks": ["sha256"]}}')
    esp = esp_of(tmp_path, "262.1")
    log = tmp_path / "log"
    log.write_bytes(event_log(boot(load(str(esp / "EFI/Linux/lab.efi")), Host(), Start(esp=str(esp)))))
    one: list[object] = ["--smbios", host, "--esp", esp]
    return {
        "measure": ["--esp", esp],
        "which": ["--esp", esp, "--pcr", f"11={'00' * 32}"],
        "verify-pcrsig": ["--esp", esp],
        "diff-log": [*one, "--eventlog", log],
        "log": one,
        "why": one,
        "diff": [*one, "--profile", "a", "--profile", "b"],
        "boot": one,
    }


@pytest.mark.parametrize("command", [*SPLIT, "boot"])
@pytest.mark.parametrize("entry", [(), ("--entry", "lab.efi")])
def test_every_command_takes_the_entrys_image(files: dict[str, list[object]], command: str, entry: tuple[str, ...]):
    """As if its file had been given; without --entry the boot loader's default is."""
    esp = next(part for at, part in enumerate(files[command]) if files[command][at - 1] == "--esp")
    uki = Path(str(esp)) / "EFI/Linux/lab.efi"
    given = invoke(command, uki, *files[command], "--entry", "lab.efi", "--format", "json")
    left_out = invoke(command, *files[command], *entry, "--format", "json")
    assert given.err == left_out.err
    assert (given.status, left_out.status) == (given.status, given.status)
    assert given.status in (0, 1)
    assert json.loads(given.out) == json.loads(left_out.out)


@pytest.mark.parametrize("command", SPLIT)
def test_no_uki_and_no_partition(files: dict[str, list[object]], command: str):
    rest = [part for at, part in enumerate(files[command]) if "--esp" not in files[command][max(at - 1, 0) : at + 1]]
    result = invoke(command, *rest)
    assert (result.status, result.out) == (2, "")
    assert "no UKI is given" in result.err


def test_a_uki_in_the_firmwares_place_is_started_from_the_partition(tmp_path: Path, host: Path):
    esp = esp_of(tmp_path)
    (esp / "EFI/Linux/lab.efi").rename(esp / "EFI/BOOT/BOOTX64.EFI")
    result = invoke("boot", "--smbios", host, "--esp", esp, "--format", "json")
    assert json.loads(result.out)["uki"]["path"] == str(esp / "EFI/BOOT/BOOTX64.EFI")


def test_machines_that_start_other_images(tmp_path: Path):
    esp = esp_of(tmp_path)
    (esp / "EFI/Linux/other.efi").write_bytes((esp / "EFI/Linux/lab.efi").read_bytes() + b"more")
    hosts: list[object] = []
    for name in ("lab", "other"):
        path = tmp_path / f"{name}.json"
        data = base64.b64encode(f"{name}.efi\0".encode("utf-16-le")).decode()
        row = {"name": "LoaderEntryDefault", "guid": str(LOADER), "data": data, "attributes": 7}
        path.write_text(json.dumps({"smbios": {}, "variables": [row]}))
        hosts += ["--smbios", path]
    result = invoke("measure", "--esp", esp, *hosts)
    assert result.status == 2
    assert "the machines start" in result.err
    # Each boot of a comparison has its own.
    assert invoke("diff", "--esp", esp, *hosts).status == 1


def test_one_machine_starts_the_uki_and_the_other_systemd_boot(tmp_path: Path):
    """Which entry it is by is found for each side, though the options are the same for both."""
    esp = esp_of(tmp_path)
    (esp / "EFI/BOOT/BOOTAA64.EFI").write_bytes(uki(machine=0xAA64))
    hosts: list[object] = []
    for machine in ("aa64", "x64"):
        path = written(tmp_path, f"{machine}.json", {"smbios": {}, "architecture": machine})
        hosts += ["--smbios", path]
    result = invoke("diff", "--esp", esp, *hosts, "--format", "json")
    assert (result.status, result.err) == (1, "")
    a, b = (result.json[side]["uki"]["path"] for side in ("a", "b"))
    assert (a, b) == (str(esp / "EFI/BOOT/BOOTAA64.EFI"), str(esp / "EFI/Linux/lab.efi"))


def test_two_entries_are_compared(tmp_path: Path, host: Path):
    esp = esp_of(tmp_path)
    rest = ("--smbios", host, "--esp", esp, "--entry", "lab.efi", "--entry", "lab.efi@b", "--format", "json")
    result = invoke("diff", *rest)
    assert result.status == 1
    assert json.loads(result.out)["varies"] == ["entry"]


def default_of(esp: Path, **changes: object) -> Boot:
    uki = load(str(esp / "EFI/Linux/lab.efi"))
    return boot(uki, Host()._replace(**changes), Start(esp=str(esp), entry="default"))  # type: ignore[arg-type]


def another_default(result: Boot) -> list[tuple[int, ...]]:
    return [row.pcrs for row in result.events(Unknown) if row.what == "which entry is the default"]


def test_another_entry_may_be_the_default_where_variables_are_not_known(tmp_path: Path):
    esp, unknown = esp_of(tmp_path), frozenset({"variables"})
    profiles = (esp / "EFI/Linux/lab.efi").read_bytes()
    (esp / "EFI/Linux/lab.efi").write_bytes(bytes(make_uki((".osrel", b"ID=lab\n")).image.data))
    alone = default_of(esp, unknown=unknown)
    assert another_default(alone) == []
    assert 11 in alone.known_pcrs["sha256"]
    (esp / "EFI/Linux/lab.efi").write_bytes(profiles)
    assert another_default(default_of(esp)) == []
    result = default_of(esp, unknown=unknown)
    assert another_default(result) == [(4, 9, 11, 12, 13)]
    assert not {4, 9, 11, 12, 13} & result.known_pcrs["sha256"].keys()
    assert {"outcome", "cmdline", "initrd"} <= {key for row in result.events(Unknown) for key in row.affects}
    # A UKI that is named is the question, whatever the default is.
    named = boot(load(str(esp / "EFI/Linux/lab.efi")), Host(unknown=unknown), Start(esp=str(esp)))
    assert another_default(named) == []
    assert 11 in named.known_pcrs["sha256"]


def test_entries_from_smbios_may_be_the_default(tmp_path: Path):
    unknown = frozenset({"smbios.oem_strings"})
    assert another_default(default_of(esp_of(tmp_path / "new", "262.1"), unknown=unknown, secure_boot=False))
    assert not another_default(default_of(esp_of(tmp_path / "old", "257.13"), unknown=unknown))


def test_other_variables_lead_to_another_file(tmp_path: Path):
    """Of a machine whose variables are not known, but for what they are taken to be."""
    esp = esp_of(tmp_path)
    (esp / "EFI/Linux/zzz.efi").write_bytes((esp / "EFI/Linux/lab.efi").read_bytes() + b"more")
    (esp / "loader/loader.conf").write_bytes(b"default zzz*\n")
    own = Variable("LoaderEntryDefault", LOADER, 7, utf16z("lab.efi"))
    result = default_of(esp, variables=(own,), unknown=frozenset({"variables"}))
    assert result.outcome.status == "kernel-started"
    assert another_default(result) == [(4, 9, 11, 12, 13)]
