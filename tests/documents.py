"""The console blocks of a page: what is typed, and the output that has to be the real one."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from scripts import build_fixtures

ROOT = Path(__file__).resolve().parent.parent


class Example(NamedTuple):
    """A command of a page and the lines below it; a line ``[...]`` stands for any number of lines."""

    command: str
    expected: tuple[str, ...]

    @property
    def text(self) -> str:
        return "\n".join(self.expected)


class Ran(NamedTuple):
    """How a command ended, and standard error and output as a terminal shows them."""

    status: int
    shown: str


def workplace(folder: Path) -> Path:
    """Make the folder one in which the pages' commands work: with build/fixtures and fixtures."""
    build_fixtures.build(folder / "build" / "fixtures")
    # Copies: the paths in a case file lead from fixtures to build.
    shutil.copytree(ROOT / "fixtures", folder / "fixtures", ignore=shutil.ignore_patterns("golden"))
    return folder


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(encoding="utf-8"), re.M | re.S)


def examples(page: Path) -> Iterator[Example]:
    for block in blocks(page, "console"):
        for part in re.split(r"^\$ ", block, flags=re.M)[1:]:
            command, *expected = part.rstrip("\n").split("\n")
            yield Example(command, tuple(expected))


def run(command: str, folder: Path) -> Ran:
    """A stubsim command in a terminal of 100 columns without colours, or a file by ``cat``."""
    program, *arguments = shlex.split(command)
    if program == "cat":
        (path,) = arguments
        return Ran(0, (folder / path).read_text(encoding="utf-8").rstrip())
    assert program == "stubsim"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "100", "NO_COLOR": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "stubsim", *arguments],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )
    return Ran(done.returncode, "\n".join(line.rstrip() for line in done.stdout.rstrip().split("\n")))


def compare(example: Example, folder: Path) -> None:
    """Fail unless the command prints what the page shows."""
    if shlex.split(example.command)[0] not in ("stubsim", "cat"):
        assert not example.expected, "only the output of stubsim can be checked"
        return
    real = run(example.command, folder).shown
    if "[...]" in example.expected:
        assert [line for line in example.expected if line not in ("[...]", *real.split("\n"))] == []
        pattern = re.escape(example.text).replace(re.escape("[...]"), ".*")
        assert re.fullmatch(pattern, real, re.S), real
    elif example.expected:
        assert real == example.text
    else:
        assert "error:" not in real


def links(page: Path) -> list[str]:
    """The files that a page leads to, as they stand in it."""
    return re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text(encoding="utf-8"))
