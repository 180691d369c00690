"""The pytest plugin in a project of its own: a virtual environment's entry point, a folder, and pytest as a program."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.samples import ROOT, written

CASES = """
uki = "uki.efi"
expect.outcome = "kernel-started"
[[case]]
name = "known"
host = "hosts/known.json"
expect.selection.efifw = "fw"
[[case]]
name = "all"
host = "hosts/*.json"
expect.cmdline = "quiet"
[[case]]
name = "wrong"
host = "hosts/other.json"
expect.selection.efifw = "fw"
"""
PYTHON = """
from pathlib import Path

import pytest

from stubsim.testing import assert_boot

HERE = Path(__file__).parent


def test_a_boot(stubsim_boot):
    boot = stubsim_boot(HERE / "uki.efi", HERE / "hosts" / "known.json", profile=1)
    assert boot.outcome.status == "kernel-started"
    assert_boot(boot, cmdline="rescue", selection={"efifw": "fw"})


def test_it_is_read_once(stubsim_boot):
    one, two = (stubsim_boot(str(HERE / "uki.efi"), str(HERE / "hosts" / "other.json")) for _ in range(2))
    assert one.uki is two.uki


def test_a_wrong_one(stubsim_boot):
    assert_boot(stubsim_boot(HERE / "uki.efi", HERE / "hosts" / "known.json"), cmdline="quit")


def test_a_wrong_option(stubsim_boot):
    with pytest.raises(Exception, match="did you mean profile"):
        stubsim_boot("uki.efi", "host.json", profil=1)
"""


def run(folder: Path, *arguments: str, status: int) -> list[str]:
    """pytest as a program, with warnings as errors; `stubsim` is installed, so its plugin is there by itself."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTEST_", "COV_"))}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-W", "error", "--tb=short", *arguments]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout.splitlines()


@pytest.fixture
def project(folder: Path) -> Path:
    if not any(point.module == "stubsim.testing.pytest_plugin" for point in entry_points(group="pytest11")):
        pytest.skip("stubsim is not installed, so that there is no entry point")
    written(folder, "pytest.ini", b"[pytest]\n")
    written(folder, "demo.boot.toml", CASES.encode())
    return folder


def test_a_case_on_a_machine_is_a_test(project: Path):
    lines = run(project, "--collect-only", "-q", status=0)
    assert lines[:4] == [
        "demo.boot.toml::known[hosts/known.json]",
        "demo.boot.toml::all[hosts/known.json]",
        "demo.boot.toml::all[hosts/other.json]",
        "demo.boot.toml::wrong[hosts/other.json]",
    ]


def test_a_failure_is_readable(project: Path):
    lines = run(project, "-rf", status=1)
    start = lines.index(next(line for line in lines if line.startswith("not as expected")))
    assert lines[start : start + 6] == [
        "not as expected: selection.efifw",
        "selection.efifw",
        '  expected  "fw"',
        "  got       none",
        "  because   .efifw: no uefi-fw entry of .hwids has a CHID of this machine that the stub looks for",
        f"({project / 'uki.efi'} on {project / 'hosts/other.json'})",
    ]
    assert any("1 failed, 3 passed" in line for line in lines)
    assert any(line.startswith("FAILED demo.boot.toml::wrong[hosts/other.json] - not as") for line in lines)


def test_selection_and_junit_are_those_of_pytest(project: Path):
    run(project, "-k", "all", "--junit-xml=out.xml", status=0)
    names = [case.get("name") for case in ElementTree.parse(project / "out.xml").iter("testcase")]
    assert names == ["all[hosts/known.json]", "all[hosts/other.json]"]
    run(project, "demo.boot.toml::known[hosts/known.json]", status=0)


def test_a_file_with_a_mistake_is_an_error_of_collection(project: Path):
    written(project, "bad.boot.toml", b"ukii = 1")
    lines = run(project, status=2)
    assert f"{project / 'bad.boot.toml'}: ukii: unknown key; did you mean uki?" in lines
    assert not any("Traceback" in line for line in lines)


def test_a_missing_uki_is_a_failed_test(project: Path):
    (project / "uki.efi").unlink()
    lines = run(project, status=1)
    text = f"{project / 'uki.efi'}: No such file or directory (expected a PE file); the uki of {project}/demo.boot.toml"
    assert text in lines


def test_from_python(project: Path):
    (project / "demo.boot.toml").unlink()
    written(project, "test_boots.py", PYTHON.encode())
    lines = run(project, status=1)
    assert any("1 failed, 3 passed" in line for line in lines)
    assert any(line.startswith("E   AssertionError: not as expected: cmdline") for line in lines)
    assert 'E     expected  "quit"' in lines


def test_a_project_without_such_files_pays_nothing(tmp_path: Path):
    """The plugin is loaded in every run of pytest, and then nothing of stubsim but itself."""
    program = (
        "import sys, pytest\n"
        "import stubsim.testing.pytest_plugin\n"
        "print(*(name for name in sys.modules if name.partition('.')[0] in"
        " ('stubsim', 'rich', 'pefile', 'tomllib', 'multiprocessing', 'hashlib', 'mmap')))\n"
    )
    before = subprocess.run(
        [sys.executable, "-c", "import sys, pytest; print('\\n'.join(sys.modules))"],
        capture_output=True, text=True, check=True, timeout=60,
    ).stdout.split()  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    loaded = set(done.stdout.split()) - set(before)
    assert loaded == {"stubsim", "stubsim.version", "stubsim.testing", "stubsim.testing.pytest_plugin"}


def test_it_can_be_left_out(project: Path):
    assert any("no tests" in line for line in run(project, "-p", "no:stubsim", status=5))
