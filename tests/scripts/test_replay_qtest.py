"""Recorded conversations with a real QEMU's fw_cfg device, the v5 device and resets included."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.replay_qtest import replay
from tests.conftest import NO_RECORDINGS, ROOT, SHARED

CONVERSATIONS = sorted((SHARED / "golden-fwcfg").glob("*.json"))


@pytest.mark.parametrize("path", CONVERSATIONS, ids=lambda path: path.stem)
def test_every_answer_is_the_recorded_one(path: Path):
    recording = json.loads(path.read_text())
    answers, machine = replay(recording)
    assert answers == recording["answers"]
    assert [*machine.warnings] == recording.get("host_log", [])


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "scripts" / "replay_qtest.py"), *arguments]
    return subprocess.run(command, capture_output=True, check=False, text=True, timeout=120)


def test_the_program_prints_an_object_for_each_file(tmp_path: Path):
    if not CONVERSATIONS:
        pytest.skip(f"{NO_RECORDINGS} at {SHARED}")
    recording = json.loads(CONVERSATIONS[0].read_text())
    wrong = tmp_path / "wrong.json"
    wrong.write_text(json.dumps(recording | {"answers": ["OK 0x1234", *recording["answers"][1:]]}))
    good = run(*map(str, CONVERSATIONS))
    rows = [json.loads(line) for line in good.stdout.splitlines()]
    assert good.returncode == 0
    assert [row["name"] for row in rows] == [path.stem for path in CONVERSATIONS]
    assert all([*row] == ["name", "answers", "equal"] and row["equal"] for row in rows)
    bad = run(str(CONVERSATIONS[0]), str(wrong))
    assert (bad.returncode, json.loads(bad.stdout.splitlines()[1])["equal"]) == (1, False)


CONVERSATION = {
    "name": "own",
    "arch": "x86_64",
    "memory": "64M",
    "dma": True,
    "files": [],
    "script": ["outw 0x510 0", "inb 0x511"],
    "answers": ["OK", "OK 0x0051"],
}


def test_one_of_our_own(tmp_path: Path):
    path = tmp_path / "own.json"
    path.write_text(json.dumps(CONVERSATION))
    done = run(str(path))
    assert (done.returncode, json.loads(done.stdout)) == (
        0,
        {"name": "own", "answers": CONVERSATION["answers"], "equal": True},
    )


@pytest.mark.parametrize("text", ["", "[]", "{}", json.dumps(CONVERSATION | {"script": ["nonsense", "inb 0x511"]})])
def test_what_is_no_conversation(tmp_path: Path, text: str):
    path = tmp_path / "bad.json"
    path.write_text(text)
    done = run(str(path))
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert str(path) in done.stderr
