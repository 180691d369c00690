"""What becomes of the files that a command writes: whole or not there, and never the place of an input."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from stubsim.cli import output
from stubsim.errors import StubsimError
from tests.samples import FULL_UKI, MACHINE, ROOT, invoke, written


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return written(tmp_path, "uki.efi", FULL_UKI)


def test_a_new_file_has_the_mode_of_the_umask(tmp_path: Path):
    before = os.umask(0o027)
    try:
        output.write_file(str(tmp_path / "new"), [b"a", b"b"])
    finally:
        os.umask(before)
    assert (tmp_path / "new").read_bytes() == b"ab"
    assert mode(tmp_path / "new") == 0o640
    assert os.listdir(tmp_path) == ["new"]


def test_a_file_keeps_its_mode_its_owner_and_the_link_to_it(tmp_path: Path):
    path = written(tmp_path, "old", b"old")
    path.chmod(0o4751)
    (tmp_path / "link").symlink_to("old")
    if os.geteuid() == 0:
        os.chown(path, 12345, 23456)
        path.chmod(0o4751)
    owner = path.stat().st_uid, path.stat().st_gid
    output.write_file(str(tmp_path / "link"), [b"new"])
    assert path.read_bytes() == b"new"
    assert (tmp_path / "link").is_symlink()
    assert (mode(path), (path.stat().st_uid, path.stat().st_gid)) == (0o4751, owner)


def test_what_is_no_regular_file_is_written_to(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe")
    reader = subprocess.Popen(["cat", tmp_path / "pipe"], stdout=subprocess.PIPE)
    output.write_file(str(tmp_path / "pipe"), [b"through"])
    assert reader.communicate(timeout=60)[0] == b"through"
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_leaves_nothing_behind(tmp_path: Path, number: signal.Signals):
    """SIGTERM while the file is written, and the process ends by it."""
    # Under nohup or in the background of a script a signal is ignored, and stays so in a child.
    usual = "default_int_handler" if number is signal.SIGINT else "SIG_DFL"
    program = (
        f"import signal, time\nsignal.signal({int(number)}, signal.{usual})\nfrom stubsim.cli import output\n"
        "def parts():\n    yield b'x' * 9999999\n    print('now', flush=True)\n    time.sleep(60)\n"
        f"output.write_files({{{str(tmp_path / 'a')!r}: [b'whole'], {str(tmp_path / 'b')!r}: parts()}})\n"
    )
    written(tmp_path, "a", b"before")
    process = subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"now\n"
    assert len(os.listdir(tmp_path)) == 3
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode == -number
    assert os.listdir(tmp_path) == ["a"]
    assert (tmp_path / "a").read_bytes() == b"before"


@pytest.mark.parametrize("fails_at", [1, 2, 3, 4])
def test_several_files_or_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails_at: int):
    """Whichever of the renames the system refuses."""
    written(tmp_path, "b", b"old b")
    replace, calls = os.replace, 0

    def failing(source: str, target: str) -> None:
        nonlocal calls
        calls += 1
        if calls == fails_at:
            raise OSError(5, "Input/output error")
        replace(source, target)

    monkeypatch.setattr(os, "replace", failing)
    files = {str(tmp_path / name): [name.encode()] for name in "abc"}
    if fails_at > 3:
        output.write_files(files)
        assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a": b"a", "b": b"b", "c": b"c"}
        return
    with pytest.raises(StubsimError, match="cannot be written: Input/output error"):
        output.write_files(files)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"b": b"old b"}


def test_extract_all_or_nothing(image: Path, host: Path, tmp_path: Path):
    target = tmp_path / "out"
    (target / "cmdline").mkdir(parents=True)
    written(target, "kernel", b"old")
    result = invoke("boot", image, "--smbios", host, "--extract", target)
    assert (result.status, result.out) == (2, "")
    assert "is a folder" in result.err
    assert sorted(path.name for path in target.iterdir()) == ["cmdline", "kernel"]
    assert (target / "kernel").read_bytes() == b"old"
    (target / "cmdline").rmdir()
    assert invoke("boot", image, "--smbios", host, "--extract", target).status == 0
    assert (target / "cmdline").read_bytes() == b"quiet"
    assert (target / "kernel").read_bytes() != b"old"


@pytest.mark.parametrize("name", ["there/", "there", "new/"])
def test_a_folder_is_no_file_to_write(image: Path, host: Path, tmp_path: Path, name: str):
    (tmp_path / "there").mkdir()
    result = invoke("boot", image, "--smbios", host, "-o", f"{tmp_path}/{name}")
    assert result.status == 2
    assert f"{tmp_path}/{name}: cannot be written: is a folder" in result.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["host.json", "there", "uki.efi"]


CASE = 'uki = "uki.efi"\nhost = "host.json"\nexpect.outcome = "kernel-started"\n'


@pytest.mark.parametrize(
    ("words", "target"),
    [
        ("boot uki.efi --smbios host.json", "uki.efi"),
        ("boot uki.efi --smbios host.json", "host.json"),
        ("boot uki.efi --smbios host.json", "hard"),
        ("boot uki.efi --smbios host.json", "soft"),
        ("boot uki.efi --smbios host.json --load-options options", "options"),
        ("boot uki.efi --smbios host.json --esp esp", "esp/EFI/x.cred"),
        ("why uki.efi --smbios host.json", "uki.efi"),
        ("diff uki.efi hard --smbios host.json", "uki.efi"),
        ("diff-log uki.efi --smbios host.json --eventlog options", "options"),
        ("inspect uki.efi --section .linux", "uki.efi"),
        ("chids --smbios host.json", "host.json"),
        ("host convert host.json", "host.json"),
        ("hwids from-host host.json --fwid x", "host.json"),
        ("hwids lint uki.efi --hosts machines", "machines/a.json"),
        ("hwids build machines", "machines/a.json"),
        ("measure uki.efi --hosts machines", "machines/a.json"),
        ("check a.boot.toml", "a.boot.toml"),
        ("check .", "a.boot.toml"),
        ("check a.boot.toml", "uki.efi"),
        ("check a.boot.toml --junit", "host.json"),
        ("check --init uki.efi --hosts machines", "uki.efi"),
        ("boot uki.efi --smbios host.json --extract", "."),
    ],
)
@pytest.mark.usefixtures("image", "host")
def test_no_input_is_written_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str, target: str):
    monkeypatch.chdir(tmp_path)
    os.link("uki.efi", "hard")
    os.symlink("uki.efi", "soft")
    os.link("uki.efi", "kernel")
    os.makedirs("esp/EFI")
    os.mkdir("machines")
    written(tmp_path, "options", b"a\0\0\0")
    written(tmp_path, "esp/EFI/x.cred", b"x")
    written(tmp_path, "machines/a.json", MACHINE)
    written(tmp_path, "a.boot.toml", CASE.encode())
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    arguments = words.split() + ([target] if words.endswith(("--junit", "--extract")) else ["-o", target])
    result = invoke(*arguments)
    assert result.status == 2, result.err
    assert "cannot be written: it is " in result.err
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


@pytest.mark.usefixtures("image", "host")
def test_to_update_cases_is_to_write_them(tmp_path: Path):
    pytest.importorskip("tomlkit")
    path = written(tmp_path, "a.boot.toml", CASE.replace("kernel-started", "failed").encode())
    assert invoke("check", path, "--update").status == 0
    assert path.read_text() == CASE
