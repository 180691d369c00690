"""What a host file or a case file names is read from below its folder or the current one, and is no endless device."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from stubsim import hosts
from stubsim.errors import StubsimError
from stubsim.named_files import NamedFiles, content
from stubsim.testing import cases, running
from stubsim.uefi import esp
from tests.samples import FULL_UKI, MACHINE, Result, invoke, written

QEMU = "qemu-system-x86_64 -machine q35 {}"
LIBVIRT = (
    "<domain type='kvm' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'><os>"
    "<type arch='x86_64' machine='q35'>hvm</type></os><qemu:commandline>{}</qemu:commandline></domain>"
)
TYPE_11 = bytes([11, 5, 0, 0, 1]) + b"of a file\0\0"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with files, another one beside it that holds what is nobody's business, and a third to work in."""
    (tmp_path / "here").mkdir()
    written(tmp_path / "here", "uki.efi", FULL_UKI)
    written(tmp_path / "here", "host.json", MACHINE)
    (tmp_path / "secret").mkdir()
    written(tmp_path / "secret", "text", b"nobody's business")
    written(tmp_path / "secret", "blob", TYPE_11)
    written(tmp_path / "secret", "host.json", MACHINE)
    (tmp_path / "secret" / "esp").mkdir()
    (tmp_path / "here" / "link").symlink_to(tmp_path / "secret")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "here"


def refused(result: Result, *texts: str) -> None:
    assert result.status == 2, result.err
    for text in (*texts, "lies outside", "--allow-outside"):
        assert text in result.err
    assert "nobody's" not in result.out + result.err


def described(form: str, arguments: str) -> bytes:
    if form == "qemu":
        return QEMU.format(arguments).encode()
    return LIBVIRT.format("".join(f"<qemu:arg value='{word}'/>" for word in arguments.split())).encode()


@pytest.mark.parametrize("form", ["qemu", "libvirt"])
@pytest.mark.parametrize("path", ["../secret/{}", "link/{}", "{secret}/{}"])
@pytest.mark.parametrize(
    ("arguments", "name", "what"),
    [
        ("-smbios type=11,path={}", "text", "-smbios path="),
        ("-smbios file={}", "blob", "-smbios file="),
        ("-kernel uki.efi -initrd {}", "text", "-initrd"),
    ],
)
def test_what_a_machine_names(place: Path, form: str, path: str, arguments: str, name: str, what: str):  # noqa: PLR0917
    named = path.format(name, secret=place.parent / "secret")
    host = written(place, "guest", described(form, arguments.format(named)))
    for words in (["host", "show", host], ["chids", "--smbios", host], ["host", "convert", host, "--keep-ids"]):
        refused(invoke(*words), str(host), what)
        assert invoke(*words, "--allow-outside").status == 0
    read = hosts.load(str(host), allow_outside=True)
    assert read.oem_strings or read.previous_initrd


@pytest.mark.parametrize("form", ["qemu", "libvirt"])
def test_what_a_machine_may_name(place: Path, form: str):
    written(place, "own", b"own")
    written(Path("."), "current", b"current")
    current = Path("current").resolve()
    host = written(place, "guest", described(form, f"-smbios type=11,path=own -smbios type=11,path={current}"))
    assert hosts.load(str(host)).oem_strings == (b"own", b"current")


@pytest.mark.parametrize("name", ["/nowhere/at/all", "/dev/zero", "/proc", "/dev/stdin"])
def test_what_is_not_there_to_be_read_is_unknown(place: Path, name: str):
    """As it was: a guest of another machine names files that are not here."""
    host = written(place, "guest", described("qemu", f"-smbios type=11,path={name}"))
    for allow in (False, True):
        assert "smbios.oem_strings" in hosts.load(str(host), allow_outside=allow).unknown


CASE = 'uki = "uki.efi"\nhost = {host}\nexpect.outcome = "kernel-started"\n{options}\n'


def case(place: Path, options: str = "", host: str = '"host.json"') -> Path:
    return written(place, "a.boot.toml", CASE.format(host=host, options=options).encode())


@pytest.mark.parametrize(
    ("options", "key"),
    [
        ('options.load_options = "{}/text"', "options.load_options"),
        ('options.db = ["{}/text"]', "options.db"),
        ('options.esp = "{}/esp"', "options.esp"),
        ('options.esp = "/"', "options.esp"),
        ('options.load_options = "/dev/zero"', "options.load_options"),
    ],
)
@pytest.mark.parametrize("path", ["../secret", "link"])
def test_what_a_case_names(place: Path, options: str, key: str, path: str):
    refused(invoke("check", case(place, options.format(path))), "a.boot.toml", key)


@pytest.mark.parametrize("pattern", ["../secret/*.json", "link/*.json", "/*/*", "l*/host.json"])
def test_a_pattern_of_machines(place: Path, pattern: str):
    refused(invoke("check", case(place, host=f'"{pattern}"')), "host")
    if "/*/*" not in pattern:
        assert invoke("check", case(place, host=f'"{pattern}"'), "--allow-outside").status == 0


def test_a_uki_and_a_host_lie_anywhere(place: Path):
    path = written(place.parent / "work", "a.boot.toml", CASE.format(
        host=f'"{place.parent}/secret/host.json"', options=""
    ).replace('"uki.efi"', '"../here/uki.efi"').encode())  # fmt: skip
    assert invoke("check", path).status == 0


def test_what_a_case_may_name(place: Path):
    written(place, "options", b"x\0\0\0")
    (place / "esp").mkdir()
    assert invoke("check", case(place, 'options.load_options = "options"\noptions.esp = "esp"')).status == 0
    assert invoke("check", case(place, 'options.load_options = "link/text"'), "--allow-outside").status == 0


def test_a_link_that_leads_out_of_an_esp(place: Path):
    (place / "esp" / "loader").mkdir(parents=True)
    (place / "esp" / "loader" / "credentials").symlink_to(place.parent / "secret")
    refused(invoke("check", case(place, 'options.esp = "esp"')), "options.esp", "credentials")
    assert invoke("check", case(place, 'options.esp = "esp"'), "--allow-outside").status == 0


@pytest.mark.parametrize(
    ("name", "says"), [("/dev/zero", "not a regular file"), ("/proc", "is a folder"), ("big", "too large")]
)
def test_no_devices_and_no_more_than_there_is_room_for(place: Path, name: str, says: str):
    with open(place / "big", "wb") as file:
        file.truncate(1 << 40)
    result = invoke("check", case(place, f'options.load_options = "{name}"'), "--allow-outside")
    assert result.status == 2
    assert says in result.err
    with pytest.raises(StubsimError, match=says):
        content(os.path.join(place, name), 1 << 20)


def test_a_device_for_the_command_line(place: Path):
    """Whoever asks for it gets no endless one either."""
    result = invoke("boot", place / "uki.efi", "--smbios", place / "host.json", "--load-options", "/dev/zero")
    assert (result.status, "/dev/zero: too large" in result.err) == (2, True)


def test_a_tree_that_is_no_partition(place: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(esp, "_MOST_NAMES", 4)
    (place / "esp").mkdir()
    for number in range(5):
        written(place / "esp", f"{number}", b"")
    for words in (
        ["check", case(place, 'options.esp = "esp"')],
        ["check", case(place, 'options.esp = "esp"'), "--allow-outside"],
        ["boot", place / "uki.efi", "--smbios", place / "host.json", "--esp", place / "esp"],
    ):
        result = invoke(*words)
        assert result.status == 2
        assert "more than 4 files and folders" in result.err


def test_a_file_that_no_esp_holds(tmp_path: Path):
    with open(tmp_path / "large", "wb") as file:
        file.truncate(1 << 32)
    with pytest.raises(StubsimError, match="as FAT can hold"):
        esp.Esp(str(tmp_path)).read("\\large")


def test_in_python_nothing_else_holds(place: Path):
    path = case(place, 'options.load_options = "link/text"')
    with pytest.raises(StubsimError, match="lies outside"):
        cases.load(str(path))
    loaded = cases.load(str(path), allow_outside=True)
    (result,) = running.check_all(running.runs_of(loaded))
    assert result.error is None


def test_a_folder_whose_name_begins_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "a").mkdir()
    (tmp_path / "ab").mkdir()
    written(tmp_path / "ab", "x", b"x")
    monkeypatch.chdir(tmp_path / "a")
    with pytest.raises(StubsimError, match="lies outside"):
        NamedFiles("").read("../ab/x", 10, "x")


def test_what_is_shown_of_a_file_is_bounded(place: Path):
    written(place, "options", "a".encode("utf-16-le") * 100_000)
    path = case(place, 'options.load_options = "options"\nexpect.load_options = "00"')
    result = invoke("check", path)
    assert result.status == 1
    assert len(result.out) < 50_000
