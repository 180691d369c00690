"""Where a result cannot go: no such folder, a reader that has gone, a full disk, a closed stream."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from stubsim.formats import hwids
from tests.cli.test_bad_input import error, filled, one_line
from tests.samples import FIRMWARE_UKI, ROOT, execute, firmware, invoke, table, uki, written


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return written(tmp_path, "uki.efi", FIRMWARE_UKI)


def test_output_into_a_missing_directory(tmp_path: Path, host: Path, image: Path):
    before = sorted(tmp_path.iterdir())
    target = tmp_path / "no" / "where"
    for call in (invoke, execute):
        error(call("boot", image, "--smbios", host, "-o", target), target, "No such file or directory")
        error(call("inspect", image, "-o", target), target)
        error(call("why", image, "--smbios", host, "-o", target), target)
        error(call("diff", image, image, "--smbios", host, "-o", target), target)
        error(call("chids", "--smbios", host, "-o", tmp_path), tmp_path, "cannot be written")
    assert sorted(tmp_path.iterdir()) == before


def test_output_to_a_pipe_and_through_a_link(tmp_path: Path, host: Path):
    """A device or a pipe must not be replaced by a file of its name, nor a link."""
    pipe, link, target = tmp_path / "pipe", tmp_path / "link", tmp_path / "target"
    os.mkfifo(pipe)
    link.symlink_to(target)
    reader = os.open(pipe, os.O_RDWR)
    try:
        assert invoke("chids", "--smbios", host, "-o", pipe).status == 0
        shown = os.read(reader, 1 << 16)
    finally:
        os.close(reader)
    assert pipe.is_fifo()
    assert shown.startswith(b"CHIDs of ")
    assert invoke("chids", "--smbios", host, "-o", link).status == 0
    assert link.is_symlink()
    assert target.read_bytes() == shown


def test_an_old_output_stays_when_the_input_is_bad(tmp_path: Path, host: Path):
    target = written(tmp_path, "out.json", b"old")
    bad = written(tmp_path, "bad.efi", b"MZ")
    before = sorted(tmp_path.iterdir())
    error(invoke("boot", bad, "--smbios", host, "-o", target), bad)
    assert target.read_bytes() == b"old"
    assert sorted(tmp_path.iterdir()) == before


def test_extract_where_a_file_is(tmp_path: Path, host: Path, image: Path):
    error(invoke("boot", image, "--smbios", host, "--extract", host), host, "cannot be made a folder")


COMMANDS = {
    "boot": ["boot", "UKI", "--smbios", "HOST"],
    "boot json": ["boot", "UKI", "--smbios", "HOST", "--format", "json"],
    "why": ["why", "UKI", "--smbios", "HOST"],
    "why json": ["why", "UKI", "--smbios", "HOST", "--format", "json"],
    "diff": ["diff", "UKI", "UKI", "--smbios", "HOST"],
    "inspect": ["inspect", "UKI"],
    "chids": ["chids", "--smbios", "HOST", "--format", "json"],
    "hwids show": ["hwids", "show", "UKI"],
    "hwids lint": ["hwids", "lint", "UKI", "--smbios", "HOST", "--format", "sarif"],
    "vectors": ["vectors"],
    "help": ["--help"],
    "help of a command": ["boot", "--help"],
    "version": ["--version"],
}


@pytest.mark.parametrize("arguments", list(COMMANDS.values()), ids=list(COMMANDS))
def test_a_closed_pipe_ends_silently(tmp_path: Path, host: Path, arguments: list[str]):
    image = written(tmp_path, "uki.efi", uki(table((hwids.UEFI_FW, "fw")), firmware()))
    reader, writer = os.pipe()
    os.close(reader)
    try:
        result = execute(*filled(arguments, image, host), stdout=writer)
    finally:
        os.close(writer)
    assert (result.status, result.err) == (0, "")


def test_an_error_into_a_closed_pipe(tmp_path: Path):
    reader, writer = os.pipe()
    os.close(reader)
    try:
        result = execute("inspect", tmp_path / "missing", "--format", "json", stdout=writer)
    finally:
        os.close(writer)
    one_line(result, 2, tmp_path)


def test_head_has_seen_enough(host: Path, image: Path):
    command = f"'{sys.executable}' -m stubsim boot '{image}' --smbios '{host}' | head -1"
    done = subprocess.run(["sh", "-c", command], cwd=ROOT, capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.count(b"\n") == 1


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
@pytest.mark.parametrize("arguments", list(COMMANDS.values()), ids=list(COMMANDS))
def test_a_full_disk_is_told(host: Path, image: Path, arguments: list[str]):
    with open("/dev/full", "wb") as full:
        result = execute(*filled(arguments, image, host), stdout=full)
    one_line(result, 2, "standard output: cannot be written: No space left on device")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_an_error_onto_a_full_disk(tmp_path: Path):
    with open("/dev/full", "wb") as full:
        result = execute("inspect", tmp_path / "missing", "--format", "json", stdout=full)
    one_line(result, 2, tmp_path)


@pytest.mark.parametrize("stderr", ["2>/dev/full", "2>&1 >/dev/null | true"])
def test_a_result_does_not_depend_on_a_reader_of_warnings(tmp_path: Path, stderr: str):
    """Each warning of a hostile file is a chance to fail."""
    image = written(tmp_path, "uki.efi", uki(*[firmware() for _ in range(2000)]))
    target = tmp_path / "out.json"
    command = f"'{sys.executable}' -m stubsim inspect '{image}' -o '{target}' {stderr}"
    done = subprocess.run(["sh", "-c", command], cwd=ROOT, capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert target.stat().st_size


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_closed_streams(tmp_path: Path, host: Path, closed: str):
    target = tmp_path / "out.json"
    missing = tmp_path / "missing"
    for more, status in ((f"chids --smbios '{host}' -o '{target}'", 0), (f"inspect '{missing}' --format json", 2)):
        command = f"'{sys.executable}' -m stubsim {more} {closed}"
        done = subprocess.run(["sh", "-c", command], cwd=ROOT, capture_output=True, timeout=60, check=False)
        assert done.returncode == status
        assert b"Traceback" not in done.stderr
    assert target.stat().st_size
