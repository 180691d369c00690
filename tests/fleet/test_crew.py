"""Other processes find out what this one would, or say that they cannot."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from stubsim.fleet import crew
from tests import samples

ROOT = Path(__file__).resolve().parents[2]
# In a process of its own: one with threads is not forked.
PROGRAM = """
import os, sys
from concurrent.futures import BrokenExecutor
from stubsim import uki
from stubsim.errors import StubsimError
from stubsim.fleet import crew
from stubsim.fleet.coded import Coded
from stubsim.fleet.plan import Plan
from tests.fleet.machines import NAMES, machines

how, path = sys.argv[1:]
crew._processors = lambda: 2
rows = [{**row, "edid": "$$" if number == 5 else ""} for number, row in enumerate(machines(60))]
parts = [rows[start : start + 7] for start in range(0, 60, 7)]
batches = [({name: Coded.of(row[name] for row in part) for name in (*NAMES[1:], "edid")}, len(part)) for part in parts]


def refuse(plan, machine):
    raise StubsimError("no such file", path=f"{os.getpid()}", hint="make one")


def found(crew):
    [plan] = crew.plans
    numbers = [list(plan.numbers(kinds, crew.ask(0))) for [kinds] in crew.kinds(batches)]
    return numbers, list(plan.answers)


def plan():
    return Plan(uki.load(path), given={"secure_boot": False})


Plan.answer = {"same": Plan.answer, "error": refuse, "death": lambda plan, machine: os._exit(9)}[how]
try:
    with crew.crew_for([plan()]) as others:
        assert others.ask(0) is not None
        together = found(others)
    assert [repr(part) for part in together] == [repr(part) for part in found(crew.Crew([plan()]))]
    assert len(together[1]) > 3
    assert sum(isinstance(answer, StubsimError) for answer in together[1]) == 1
except StubsimError as error:
    assert error.path != str(os.getpid())
    print("StubsimError", error.message, error.hint)
except BrokenExecutor:
    print("BrokenExecutor")
"""


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="nothing tells whether a process has threads")
@pytest.mark.parametrize(
    ("how", "said"), [("same", ""), ("error", "StubsimError no such file make one\n"), ("death", "BrokenExecutor\n")]
)
def test_what_other_processes_find(how: str, said: str, tmp_path: Path):
    table = samples.table((1, "example,one"), (2, "fw"), chids=(samples.CHIDS[3], samples.CHIDS[7]))
    image = tmp_path / "test.efi"
    image.write_bytes(samples.uki(table, samples.devicetree("example,one"), samples.firmware()))
    command = [sys.executable, "-c", PROGRAM, how, str(image)]
    done = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr, done.stdout) == (0, "", said)


ORPHANS = """
import os
from stubsim.fleet import crew

crew._processors = lambda: 2
with crew.crew_for([]) as others:
    print(others._others.submit(os.getpid).result(), flush=True)
    os._exit(0)
"""


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="nothing tells whether a process has threads")
def test_no_process_outlives_the_first():
    with subprocess.Popen([sys.executable, "-c", ORPHANS], cwd=ROOT, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None
        # Its output is read to the end: that comes when the last process that has it is gone.
        said, _ = first.communicate(timeout=60)
    assert int(said) != first.pid


def test_a_process_with_threads_works_alone(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(crew, "_processors", lambda: 2)
    monkeypatch.setattr(crew, "_may_fork", lambda: False)
    with crew.crew_for([]) as alone:
        assert alone.ask(0) is None
