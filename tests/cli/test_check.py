"""`stubsim check` through the entry point: what it says, what it exits with, and what it leaves on disk."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID
from xml.etree import ElementTree

import pytest
from jsonschema import Draft202012Validator

from stubsim import schemas
from stubsim.formats import hwids
from stubsim.formats.pe import SectionSpec
from stubsim.hosts import Host
from stubsim.result import Boot
from stubsim.start import Start
from stubsim.testing import cases, running
from stubsim.uki import Uki
from tests.samples import CHID, FULL_UKI, MACHINE, ROOT, Result, execute, firmware, invoke, uki, written

CHECK = Draft202012Validator(schemas.load("check"))
ERROR = Draft202012Validator(schemas.load("error"))
GOOD = 'expect = {outcome = "kernel-started", selection.efifw = "fw", cmdline = "quiet"}\n'
BAD = 'expect = {selection.efifw = "other", cmdline = "quiet rw", model = "262"}\n'


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    folder = tmp_path / "suite"
    (folder / "deeper").mkdir(parents=True)
    written(tmp_path, "uki.efi", FULL_UKI)
    written(tmp_path, "host.json", MACHINE)
    written(folder, "good.boot.toml", f'uki = "../uki.efi"\nhost = "../host.json"\n{GOOD}'.encode())
    written(folder / "deeper", "bad.boot.toml", f'uki = "../../uki.efi"\nhost = "../../host.json"\n{BAD}'.encode())
    return folder


def checked(*arguments: str | Path, status: int) -> Any:
    result = invoke("check", *arguments, "--format", "json")
    assert (result.status, result.err) == (status, "")
    CHECK.validate(result.json)
    return result.json


def complaint(result: Result, *texts: str | Path) -> None:
    assert (result.status, len(result.lines), result.out) == (2, 1, ""), result
    assert result.lines[0].startswith("stubsim: error: ")
    for text in texts:
        assert str(text) in result.err


@pytest.mark.parametrize("call", [invoke, execute])
def test_all_as_expected(suite: Path, call: Callable[..., Result]):
    result = call("check", suite / "good.boot.toml")
    assert result == Result(0, "1 boot, 1 case, 1 file: 1 as expected\n", "")


def test_a_fault_of_stubsim_costs_one_case_alone(suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    written(suite, "a.boot.toml", f'uki = "../uki.efi"\nhost = "../host.json"\noptions.memory = "1G"\n{GOOD}'.encode())
    real = running.boot

    def fails(image: Uki, host: Host, start: Start) -> Boot:
        if start.memory is not None:
            raise ZeroDivisionError("of nothing")
        return real(image, host, start)

    monkeypatch.setattr(running, "boot", fails)
    monkeypatch.setenv("COLUMNS", "400")
    said = "internal error: ZeroDivisionError: of nothing; a fault of stubsim"
    report = checked(suite, status=70)
    assert [(run["passed"], bool(run["error"]), len(run["differences"])) for run in report["runs"]] == [
        (False, True, 0), (False, False, 2), (True, False, 0),
    ]  # fmt: skip
    assert report["runs"][0]["error"].startswith(said)
    result = invoke("check", suite, "--junit", tmp_path / "junit.xml")
    assert result.status == 70
    assert said in result.out
    assert "3 boots, 3 cases, 3 files: 1 as expected, 2 not" in result.out
    first, *_ = ElementTree.parse(tmp_path / "junit.xml").getroot()
    assert (first.get("errors"), first.get("failures")) == ("1", "0")
    (fault,) = first.iter("error")
    assert str(fault.get("message")).startswith(said)


@pytest.mark.parametrize("call", [invoke, execute])
def test_a_difference(suite: Path, call: Callable[..., Result], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", "400")
    result = call("check", suite)
    assert (result.status, result.err) == (1, "")
    lines = [line.strip() for line in result.out.splitlines()]
    assert lines[0].startswith("FAILED")
    assert "bad.boot.toml: bad, on ../../host.json" in " ".join(lines)
    start = lines.index("selection.efifw")
    assert lines[start + 1 : start + 3] == ['expected  "other"', 'got       "fw"']
    assert lines[start + 3].startswith("because   .efifw: section 8 is the first for 'fw'")
    start = lines.index("cmdline")
    assert lines[start + 1 : start + 4] == ['expected  "quiet rw"', 'got       "quiet"', "missing   rw"]
    assert lines[-1] == "2 boots, 2 cases, 2 files: 1 as expected, 1 not"


def test_the_report(suite: Path):
    report = checked(suite, status=1)
    assert (report["passed"], report["failed"], report["updated"]) == (1, 1, [])
    bad, good = report["runs"]
    assert (good["file"], good["case"], good["host"]) == (str(suite / "good.boot.toml"), "good", "../host.json")
    assert (good["passed"], good["differences"]) == (True, [])
    assert [row["key"] for row in bad["differences"]] == ["selection.efifw", "cmdline"]
    assert bad["differences"][0] | {"because": []} == {
        "key": "selection.efifw", "expected": "other", "got": "fw", "unknown": None, "because": [],
    }  # fmt: skip
    assert checked(suite / "good.boot.toml", status=0)["failed"] == 0


def test_output_into_a_file(suite: Path, tmp_path: Path):
    for more in ([], ["--format", "json"]):
        on_screen = invoke("check", suite, *more).out
        target = tmp_path / "out"
        assert invoke("check", suite, *more, "-o", target) == Result(1, "", "")
        assert target.read_text() == on_screen


def test_unknown_is_no_pass(suite: Path, tmp_path: Path):
    written(tmp_path, "host.json", {"smbios": MACHINE, "unknown": ["edid"]})
    # Its panel changes nothing as long as the table has no CHID but one that is the machine's without it.
    assert invoke("check", suite / "good.boot.toml").status == 0
    another = UUID("f3b1c1c6-2ad4-4a6b-9c4a-3d6a8b1e0f21")
    rows = [(hwids.UEFI_FW, another, "Panel", "other"), (hwids.UEFI_FW, CHID, "Device", "fw")]
    table = SectionSpec(".hwids", hwids.build(rows))
    written(tmp_path, "uki.efi", uki(table, firmware("other"), firmware()))
    result = invoke("check", suite / "good.boot.toml")
    assert result.status == 1
    assert "unknown   because edid: not known of this machine" in result.out
    path = suite / "good.boot.toml"
    path.write_text('accept_unknown = ["selection"]\n' + path.read_text())
    assert invoke("check", path).status == 0


def test_as_many_processes_as_one_likes(tmp_path: Path, suite: Path):
    for number in range(120):
        written(tmp_path, f"m{number}.json", MACHINE if number % 2 else {**MACHINE, "family": str(number)})
    for path in suite.rglob("*.boot.toml"):
        path.write_text(path.read_text().replace("host.json", "m*.json"))
    one = execute("check", suite, "--allow-outside", "-j", "1")
    assert one.status == 1
    for more in (["-j", "2"], ["--jobs=7"], []):
        assert execute("check", suite, "--allow-outside", *more) == one
    several = execute("check", suite, "--allow-outside", "-j", "3", "--format", "json")
    assert several.json == checked(suite, "--allow-outside", "-j", "1", status=1)


def test_update(suite: Path, tmp_path: Path):
    path = suite / "deeper" / "bad.boot.toml"
    before = path.read_text()
    good = (suite / "good.boot.toml").read_bytes()
    os.chmod(path, 0o640)
    report = checked(suite, "--update", status=0)
    assert report["updated"] == [
        {"file": str(path), "places": ["expect.selection.efifw", "expect.cmdline"], "kept": []}
    ]
    assert path.read_text() == before.replace('"other"', '"fw"').replace('"quiet rw"', '"quiet"')
    assert path.stat().st_mode & 0o777 == 0o640
    assert (suite / "good.boot.toml").read_bytes() == good
    after = path.read_bytes()
    assert checked(suite, "--update", status=0)["updated"] == []
    assert path.read_bytes() == after
    assert {entry.name for entry in tmp_path.rglob("*")} == {
        "suite", "deeper", "uki.efi", "host.json", "good.boot.toml", "bad.boot.toml",
    }  # fmt: skip


def test_update_says_what_it_did(suite: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", "400")
    path = suite / "deeper" / "bad.boot.toml"
    path.write_text(path.read_text().replace("model", 'log = ["no such"], model'))
    result = invoke("check", suite, "--update")
    assert result.status == 1
    text = " ".join(result.out.split())
    assert f"{path}: expect.cmdline rewritten" in text
    assert f"{path}: expect.log kept: which message is meant is not known" in text


def test_junit(suite: Path, tmp_path: Path):
    """As a library that we did not write reads it, and within what junit-10.xsd of Jenkins' xUnit plugin allows."""
    junitparser = pytest.importorskip("junitparser")
    target = tmp_path / "out.xml"
    bad = suite / "deeper" / "bad.boot.toml"
    bad.write_text(bad.read_text().replace("[cmdline", "").replace('"quiet rw"', '"<&\\"\\u001b\\uFFFF rw"'))
    assert invoke("check", suite, "--junit", target).status == 1
    first, second = junitparser.JUnitXml.fromfile(str(target))
    assert (first.name, first.tests, first.failures, first.errors) == (str(bad), 1, 1, 0)
    assert (second.tests, second.failures) == (1, 0)
    (case,) = first
    assert (case.name, case.classname) == ("bad[../../host.json]", str(bad))
    (failure,) = case.result
    assert failure.message == "not as expected: selection.efifw, cmdline"
    assert '  expected  "other"\n  got       "fw"' in failure.text
    assert "<&" in failure.text

    allowed = {
        "testsuites": (set(), {"name", "time", "tests", "failures", "errors"}, {"testsuite"}),
        "testsuite": (
            {"name", "tests", "failures", "errors"},
            {
                "name",
                "tests",
                "failures",
                "errors",
                "skipped",
                "time",
                "timestamp",
                "hostname",
                "id",
                "package",
                "file",
            },
            {"testsuite", "properties", "testcase", "system-out", "system-err"},
        ),
        "testcase": ({"name"}, {"name", "time", "classname", "group"}, {"skipped", "error", "failure", "system-out"}),
        "failure": (set(), {"type", "message"}, set()),
    }
    for element in ElementTree.parse(target).iter():
        required, optional, children = allowed[element.tag]
        assert required <= set(element.keys()) <= optional
        assert {child.tag for child in element} <= children
        assert element.tag == "failure" or not (element.text or "").strip()
    before = untimed(target)
    assert invoke("check", suite, "--junit", target).status == 1
    assert untimed(target) == before


def untimed(report: Path) -> str:
    text, times = re.subn(r' time="[0-9]+\.[0-9]+"', ' time=""', report.read_text())
    assert times > 1
    return text


def test_init(tmp_path: Path):
    written(tmp_path, "uki.efi", FULL_UKI)
    (tmp_path / "hosts").mkdir()
    written(tmp_path / "hosts", "a.json", MACHINE)
    written(tmp_path / "hosts", "b.json", {**MACHINE, "manufacturer": "B"})
    written(tmp_path / "hosts", ".hidden", b"")
    (tmp_path / "tests").mkdir()
    target = tmp_path / "tests" / "first.boot.toml"
    result = invoke("check", "--init", tmp_path / "uki.efi", "--hosts", tmp_path / "hosts", "-o", target)
    assert result == Result(0, "", "")
    value = tomllib.loads(target.read_text())
    assert value["uki"] == "../uki.efi"
    assert [case["host"] for case in value["case"]] == ["../hosts/a.json", "../hosts/b.json"]
    assert invoke("check", target).status == 0
    pattern = invoke("check", "--init", tmp_path / "uki.efi", "--hosts", tmp_path / "hosts" / "b*")
    assert [case["host"] for case in tomllib.loads(pattern.out)["case"]] == [
        os.path.relpath(tmp_path / "hosts" / "b.json")
    ]
    written(tmp_path, "again.boot.toml", execute(
        "check", "--init", tmp_path / "uki.efi", "--hosts", tmp_path / "hosts", "-o", tmp_path / "x.boot.toml"
    ).out.encode())  # fmt: skip
    assert (tmp_path / "x.boot.toml").read_text() == target.read_text().replace("../", "")


WRONG = {
    "nothing": ([], "nothing to check"),
    "no such file": (["no.boot.toml"], "no.boot.toml: cannot be read: No such file"),
    "no such file in a list": (["SUITE", "no.boot.toml"], "no.boot.toml"),
    "a folder without cases": (["EMPTY"], "no case file in it"),
    "a UKI": (["UKI"], "uki.efi: offset 0x45: not UTF-8"),
    "no processes": (["SUITE", "-j", "0"], "'0' is not a number of processes"),
    "processes": (["SUITE", "--jobs", "many"], "'many'"),
    "init alone": (["--init", "UKI"], "--hosts DIR"),
    "hosts alone": (["--hosts", "EMPTY"], "--init UKI"),
    "init and cases": (["SUITE", "--init", "UKI", "--hosts", "EMPTY"], "nothing to check"),
    "init without hosts": (["--init", "UKI", "--hosts", "EMPTY"], "no host file there"),
    "init of nothing": (
        ["--init", "no.efi", "--hosts", "HOST"],
        "no.efi: No such file or directory (expected a PE file)\n",
    ),
    "init with what is no host": (["--init", "UKI", "--hosts", "UKI"], "uki.efi"),
    "init with a pattern": (["--init", "UKI", "--hosts", "EMPTY/*"], "no host file there"),
    "format": (["SUITE", "--format", "xml"], "xml"),
    "junit": (["SUITE", "--junit", "no/where.xml"], "no/where.xml: cannot be written"),
}


@pytest.mark.parametrize(("arguments", "text"), WRONG.values(), ids=WRONG)
def test_a_wrong_call(suite: Path, tmp_path: Path, arguments: list[str], text: str):
    (tmp_path / "empty").mkdir()
    names = {"SUITE": suite, "EMPTY": tmp_path / "empty", "UKI": tmp_path / "uki.efi", "HOST": tmp_path / "host.json"}
    words = [re.sub("^[A-Z]+", lambda found: str(names.get(found[0], found[0])), word) for word in arguments]
    complaint(invoke("check", *words), text)


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_what_cannot_be_read_does_not_hide_the_others(suite: Path, tmp_path: Path, jobs: str):
    for number in range(120):
        written(tmp_path, f"m{number:03}.json", MACHINE)
    written(tmp_path, "m100.json", b"{")
    written(tmp_path, "m050.json", b"[")
    path = suite / "good.boot.toml"
    path.write_text(path.read_text().replace("host.json", "m*.json"))
    for call in (invoke, execute):
        result = call("check", path, "--allow-outside", "-j", jobs, "--format", "json")
        assert result.status == 2
        # In order, whichever process came upon one first.
        assert [("m050.json" in line, f"a host of {path}" in line) for line in result.lines] == [
            (True, True),
            (False, True),
        ]
        runs = json.loads(result.out)["runs"]
        broken = [run["host"] for run in runs if run["error"] is not None]
        assert (len(runs), [name.rpartition("/")[2] for name in broken]) == (120, ["m050.json", "m100.json"])
    # The UKI's error is told once for each case file, not for each machine; with nothing booted nothing is shown.
    written(tmp_path, "uki.efi", FULL_UKI[:-1])
    result = invoke("check", suite, "--allow-outside", "-j", jobs)
    assert (result.status, len(result.lines), result.out) == (2, 2, "")
    for line, name in zip(result.lines, ("bad", "good"), strict=True):
        assert line.startswith("stubsim: error: ")
        assert name in line


def test_nothing_is_updated_where_something_cannot_be_read(suite: Path, tmp_path: Path):
    path = suite / "deeper/bad.boot.toml"
    before = path.read_bytes()
    written(tmp_path, "other.efi", FULL_UKI[:-1])
    written(suite, "zz.boot.toml", f'uki = "../other.efi"\nhost = "../host.json"\n{GOOD}'.encode())
    complaint(invoke("check", suite, "--update", "--allow-outside"), "other.efi", "cut short", "zz.boot.toml")
    assert path.read_bytes() == before


def test_a_mistake_in_a_case_file(suite: Path):
    path = suite / "good.boot.toml"
    path.write_text(path.read_text() + "expct = 1\n")
    result = invoke("check", path, "--format", "json")
    assert (result.status, len(result.lines)) == (2, 1)
    ERROR.validate(result.json)
    assert result.json["path"] == str(path)
    assert result.json["hint"] == "did you mean expect?"


def test_a_missing_partition_is_a_mistake(suite: Path):
    path = suite / "good.boot.toml"
    path.write_text(path.read_text() + 'options.esp = "no"\n')
    complaint(invoke("check", path), suite / "no", "no such folder")


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ('stub = "grub"', "unknown stub 'grub'"),
        ('handover = "pigeon"', "pigeon"),
        ('from_memory = true, path = "x"', "--from-memory means no device"),
    ],
)
def test_options_that_cannot_be(suite: Path, options: str, text: str):
    path = suite / "good.boot.toml"
    path.write_text(path.read_text() + f"options = {{{options}}}\n")
    complaint(invoke("check", path), f"{path}: options: ", text)
    path.write_text(path.read_text() + '[[case]]\nname = "a"\n')
    complaint(invoke("check", path), f"{path}: case[0].options: ", text)


def test_hostile_texts_do_not_steer_the_terminal(suite: Path):
    path = suite / "good.boot.toml"
    path.write_text(path.read_text().replace('"quiet"', '"\\u001b[2J\\u202e"') + 'name = "\\u001b]0;x\\u0007"\n')
    for more in ([], ["--update"], ["--format", "json"], ["--junit", str(suite / "out.xml")]):
        result = invoke("check", path, *more)
        assert "\x1b" not in result.out + result.err
        assert "\u202e" not in result.out + result.err


def on_a_terminal(*arguments: str | Path, **environment: str) -> tuple[int, str]:
    """Status and what a terminal of 100 columns gets of both streams."""
    master, slave = pty.openpty()
    command = [sys.executable, "-m", "stubsim", *map(str, arguments)]
    base = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "CI")}
    child = subprocess.Popen(
        command, stdin=slave, stdout=slave, stderr=slave, cwd=ROOT,
        env={**base, "TERM": "xterm-256color", "COLUMNS": "100", **environment},
    )  # fmt: skip
    os.close(slave)
    seen = b""
    while select.select([master], [], [], 60)[0]:
        try:
            data = os.read(master, 1 << 16)
        except OSError:
            break
        if not data:
            break
        seen += data
    os.close(master)
    return child.wait(timeout=60), seen.decode()


def test_a_bar_on_a_terminal_and_nowhere_else(tmp_path: Path, suite: Path):
    for number in range(120):
        written(tmp_path, f"m{number:03}.json", MACHINE)
    path = suite / "good.boot.toml"
    path.write_text(path.read_text().replace("host.json", "m*.json"))
    status, text = on_a_terminal("check", path, "--allow-outside")
    assert status == 0
    assert "120/120" in text
    status, text = on_a_terminal("check", path, "--allow-outside", TERM="dumb")
    assert status == 0
    assert text.splitlines() == ["120 boots, 1 case, 1 file: 120 as expected"]
    assert execute("check", path, "--allow-outside").err == ""


@pytest.mark.parametrize("width", [80, 140])
def test_the_text_keeps_to_the_width(suite: Path, width: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", str(width))
    lines = invoke("check", suite).out.splitlines()
    assert max(map(len, lines)) <= width


def test_of_many_failures_some_are_shown_and_all_are_counted(tmp_path: Path, suite: Path):
    for number in range(70):
        written(tmp_path, f"m{number}.json", MACHINE)
    path = suite / "deeper" / "bad.boot.toml"
    path.write_text(path.read_text().replace("host.json", "m*.json"))
    result = invoke("check", path, "--allow-outside")
    assert result.out.count("FAILED ") == 64
    assert "also FAILED: 6 more, all of them with --format json" in result.out
    assert result.out.endswith("70 boots, 1 case, 1 file: 0 as expected, 70 not\n")


def test_an_interrupt_is_no_traceback(tmp_path: Path, suite: Path):
    """Every process on the terminal gets it; one of them ends the check."""
    first = written(tmp_path, "m.json", MACHINE)
    # So many that a busy machine is not done before it is interrupted.
    for number in range(20000):
        os.link(first, tmp_path / f"m{number}.json")
    path = suite / "good.boot.toml"
    path.write_text(path.read_text().replace("host.json", "m*.json"))
    # What a shell starts in the background, tests too, has the signal ignored.
    program = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "from stubsim.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", program, "check", str(path), "--allow-outside", "-j", "2"]
    child = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
    children = Path(f"/proc/{child.pid}/task/{child.pid}/children")
    while child.poll() is None and len(children.read_text().split()) < 2:
        time.sleep(0.01)
    os.killpg(child.pid, signal.SIGINT)
    out, err = child.communicate(timeout=60)
    assert (child.returncode, out, err) == (130, b"", b"")


def test_a_closed_pipe_ends_silently(suite: Path):
    reader, writer = os.pipe()
    os.close(reader)
    try:
        result = execute("check", suite, stdout=writer)
    finally:
        os.close(writer)
    assert result.err == ""


def test_the_report_is_all_that_the_text_needs(suite: Path):
    from stubsim.views.check import render_check

    report = json.loads(json.dumps(checked(suite, status=1)))
    assert render_check(report) == invoke("check", suite).out


def test_a_broken_file_does_not_hide_the_others(suite: Path, tmp_path: Path):
    good = invoke("check", suite, "--format", "json").json
    folder = suite if suite.is_dir() else suite.parent
    broken = written(folder, "broken.boot.toml", b"uki = 'x.efi'\nhots = 'h.json'\n")
    junit = tmp_path / "out.xml"
    result = invoke("check", suite, broken, "--format", "json", "--junit", junit)
    assert result.status == 2
    (line,) = [line for line in result.lines if "error" in line]
    assert line.startswith(f"stubsim: error: {broken}: hots: unknown key")
    report = json.loads(result.out)
    others = [run for run in report["runs"] if run["file"] != str(broken)]
    assert others == good["runs"]
    (run,) = [run for run in report["runs"] if run["file"] == str(broken)]
    assert "hots: unknown key" in run["error"]
    assert "hots: unknown key" in junit.read_text()
    # Alone it is an error like any other.
    alone = invoke("check", broken, "--format", "json")
    assert (alone.status, json.loads(alone.out)["schema"]) == (2, "stubsim/error/1")


def test_all_that_is_wrong_with_a_file_is_told(suite: Path, tmp_path: Path):
    text = b"uki = 5\nhost = 'h.json'\n[options]\nmemory = 'lots'\nprofil = 1\n[expect]\noutcom = 'x'\ncmdline = 7\n"
    path = written(tmp_path, "broken.boot.toml", text)
    result = invoke("check", path)
    assert result.status == 2
    told = [line.removeprefix(f"stubsim: error: {path}: ").partition(":")[0] for line in result.lines]
    assert told == ["options.profil", "options.memory", "expect.outcom", "expect.cmdline", "uki"]
    report = invoke("check", suite, path, "--format", "json").json
    assert len([run for run in report["runs"] if run["file"] == str(path)]) == len(told)
    error = invoke("check", path, "--format", "json").json
    assert [row["message"].partition(":")[0] for row in (error, *error["more"])] == told


def test_junit_has_times(suite: Path, tmp_path: Path):
    path = tmp_path / "out.xml"
    invoke("check", suite, "--junit", path)
    root = ElementTree.parse(path).getroot()
    times = [float(case.get("time") or "nan") for case in root.iter("testcase")]
    assert times
    assert all(0 <= time < 3600 for time in times)
    for each in root:
        assert float(each.get("time") or "nan") == pytest.approx(sum(float(c.get("time") or 0) for c in each), abs=0.01)


def test_editors_may_name_their_schema(suite: Path, tmp_path: Path):
    host = written(tmp_path, "h.json", {"$schema": "host.json", **MACHINE})
    assert invoke("host", "show", host).status == 0
    assert cases.parse(b"'$schema' = 'x'\nuki = 'u'\nhost = 'h'\nexpect.cmdline = 'x'", "a.boot.toml")
