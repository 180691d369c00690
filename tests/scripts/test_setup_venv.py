"""How scripts/setup-venv.sh gets along without ensurepip, with programs that only say how they were called."""

from __future__ import annotations

import os
import pty
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.documents import ROOT

# As Debian's python3 without python3-venv: no venv until apt-get has run.
PYTHON = """
case "$*" in
*"-m venv"*) [ -e installed ] || exit 1; mkdir -p .venv/bin; ln -s /bin/true .venv/bin/python ;;
*version_info*3,*) exit 0 ;;
*version_info*) echo 3.99 ;;
*) exit 1 ;;
esac
"""
APT = 'echo "apt-get $*" >> calls; case "$*" in *" install "*) [ -e lists ] && : > installed ;; *) : > lists ;; esac'
SUDO = {
    "free": '[ "$1" != -n ] || shift; echo "sudo $*" >> calls; exec "$@"',
    "asks": '[ "$1" != -n ] || exit 1; echo "sudo $*" >> calls; exec "$@"',
}


def program(folder: Path, name: str, body: str) -> None:
    path = folder / "bin" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
    path.chmod(0o755)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / "scripts" / "setup-venv.sh", tmp_path / "scripts")
    program(tmp_path, "python3", PYTHON)
    program(tmp_path, "apt-get", APT)
    program(tmp_path, "id", "echo 1000")
    for name in ("bash", "env", "mkdir", "ln", "true", "rm", "cat", "mktemp", "dirname"):
        (tmp_path / "bin" / name).symlink_to(shutil.which(name) or name)
    return tmp_path


def set_up(tree: Path, stdin: int = subprocess.DEVNULL, **streams: int) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": str(tree / "bin"), "HOME": str(tree), "TMPDIR": str(tree)}
    return subprocess.run(
        ["bash", "scripts/setup-venv.sh", "demo"],
        cwd=tree, env=environment, stdin=stdin, stdout=subprocess.PIPE, text=True, timeout=60, check=False,
        **({"stderr": subprocess.PIPE} | streams),
    )  # fmt: skip


def calls(tree: Path) -> list[str]:
    path = tree / "calls"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [line for line in lines if line.startswith("apt-get")]


def test_root_installs_it_and_says_so(tree: Path):
    program(tree, "id", "echo 0")
    done = set_up(tree)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "installing python3.99-venv: apt-get install python3.99-venv\n"
    # Without lists of packages once in vain, then with them.
    assert [call.split()[-1] for call in calls(tree)] == ["python3.99-venv", "update", "python3.99-venv"]


def test_sudo_without_a_password_installs_it(tree: Path):
    program(tree, "sudo", SUDO["free"])
    done = set_up(tree)
    assert done.returncode == 0
    assert done.stdout == "installing python3.99-venv: sudo -n apt-get install python3.99-venv\n"


def test_sudo_may_ask_on_a_terminal(tree: Path):
    program(tree, "sudo", SUDO["asks"])
    master, slave = pty.openpty()
    try:
        done = set_up(tree, stdin=slave, stderr=slave)
    finally:
        os.close(slave)
        os.close(master)
    assert done.returncode == 0
    assert done.stdout == "installing python3.99-venv: sudo apt-get install python3.99-venv\n"


@pytest.mark.parametrize("sudo", ["asks", None])
def test_without_rights_it_says_what_to_run(tree: Path, sudo: str | None):
    if sudo:
        program(tree, "sudo", SUDO[sudo])
    done = set_up(tree)
    assert (done.returncode, done.stdout, calls(tree)) == (2, "", [])
    how = "run: sudo apt-get" if sudo else "as root, run: apt-get"
    assert done.stderr == (
        f"cannot make a virtual environment: {how} install python3.99-venv (or install uv, or virtualenv)\n"
    )


def test_what_apt_says_is_told_when_it_fails(tree: Path):
    program(tree, "id", "echo 0")
    program(tree, "apt-get", "echo E: no such package >&2; exit 100")
    done = set_up(tree)
    assert done.returncode == 2
    assert done.stderr.splitlines()[0] == "E: no such package"
    assert done.stderr.splitlines()[-1].endswith("apt-get install python3.99-venv failed")


def test_python_itself_comes_first(tree: Path):
    program(tree, "python3", "exit 1")
    done = set_up(tree)
    assert done.returncode == 2
    assert "needs Python 3.11 or newer" in done.stderr
