"""Many cases: the same results in one process and in several, in order, and everything read once."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from stubsim import uki
from stubsim.errors import StubsimError
from stubsim.formats.efi_string import utf16z
from stubsim.testing import cases, running
from tests.samples import MACHINE, written

Write = Callable[..., Path]


@pytest.fixture
def many(case_file: Write, folder: Path) -> tuple[running.Run, ...]:
    for number in range(150):
        machine = {**MACHINE, "product_name": f"P{number}"} if number % 3 else MACHINE
        written(folder / "hosts", f"m{number:03}.json", machine)
    path = case_file('expect.selection.efifw = "fw"\n', host='"hosts/m*.json"')
    return running.runs_of(cases.load(str(path)))


def test_one_process_or_several(many: tuple[running.Run, ...]):
    # However long each took.
    serial = untimed(running.check_all(many, 1))
    assert [result.run.machine.label for result in serial] == [f"hosts/m{number:03}.json" for number in range(150)]
    assert [result.passed for result in serial] == [number % 3 == 0 for number in range(150)]
    for jobs in (2, 3, 50):
        assert untimed(running.check_all(many, jobs)) == serial


def untimed(results: tuple[running.Result, ...]) -> tuple[running.Result, ...]:
    return tuple(result._replace(seconds=0.0) for result in results)


@pytest.mark.parametrize("jobs", [1, 2])
def test_progress_ends_with_all(many: tuple[running.Run, ...], jobs: int):
    ticks: list[int] = []
    running.check_all(many, jobs, ticks.append)
    assert ticks == list(range(1, 151))


@pytest.mark.parametrize("jobs", [1, 2])
def test_what_cannot_be_read_is_in_its_result(many: tuple[running.Run, ...], folder: Path, jobs: int):
    (folder / "hosts" / "m120.json").write_text("{")
    results = running.check_all(many, jobs)
    (bad,) = (result for result in results if result.error is not None)
    assert bad.run.machine.label == "hosts/m120.json"
    assert not bad.passed
    assert str(folder / "hosts" / "m120.json") in str(bad.error)
    assert "a.boot.toml" in str(bad.error)
    assert isinstance(bad.error, StubsimError)
    assert bad.error.offset == 1


def test_a_process_that_is_killed_is_an_error_and_no_wait(
    many: tuple[running.Run, ...], monkeypatch: pytest.MonkeyPatch
):
    own, check = os.getpid(), running.check
    monkeypatch.setattr(
        running, "check", lambda run, inputs: check(run, inputs) if os.getpid() == own else os.kill(os.getpid(), 9)
    )
    with pytest.raises(StubsimError, match="a process ended before its work was done"):
        running.check_all(many, 2)


def test_a_uki_and_a_host_are_read_once(case_file: Write, monkeypatch: pytest.MonkeyPatch):
    read: list[str] = []
    for name in ("uki", "hosts"):
        load = getattr(running, name).load
        monkeypatch.setattr(
            f"stubsim.testing.running.{name}.load",
            lambda path, load=load, **options: (read.append(path), load(path, **options))[1],
        )
    text = '[[case]]\nname = "{0}"\nexpect.profile = {0}\noptions.profile = {0}\n'
    path = case_file("".join(text.format(number) for number in (0, 1)), host='"hosts/*.json"')
    results = running.check_all(running.runs_of(cases.load(str(path))))
    assert [result.passed for result in results] == [True] * 4
    assert len(read) == len(set(read)) == 3


def test_more_ukis_than_files_may_be_open(folder: Path, monkeypatch: pytest.MonkeyPatch):
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    data = (folder / "uki.efi").read_bytes()
    for number in range(120):
        (folder / f"{number}.efi").write_bytes(data)
    case = '[[case]]\nname = "{0}"\nuki = "{0}.efi"\n'
    text = 'host = "hosts/known.json"\nexpect.model = "262"\n' + "".join(case.format(n) for n in range(120))
    path = written(folder, "a.boot.toml", text.encode())
    resource.setrlimit(resource.RLIMIT_NOFILE, (100, hard))
    try:
        results = running.check_all(running.runs_of(cases.load(str(path))), 1)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert all(result.passed for result in results)


def test_the_options_of_a_case(folder: Path):
    (folder / "esp").mkdir()
    options = written(folder, "options.bin", b"a\0b")
    start = running.start_of({"load_options": str(options), "esp": str(folder / "esp"), "profile": 2, "stub": "257"})
    assert start == running.Start(load_options=b"a\0b", esp=str(folder / "esp"), profile=2, stub="257")
    assert running.start_of({"cmdline": "x"}).load_options == utf16z("x")
    assert running.start_of({"shell": "a.efi b", "from_memory": True, "follow": True}).from_memory
    for wrong, text in (
        ({"load_options": str(folder / "no")}, "No such file"),
        ({"db": [str(folder / "no")]}, "No such file"),
    ):
        with pytest.raises(StubsimError, match=text):
            running.start_of(wrong)


def test_every_option_has_its_effect(case_file: Write, folder: Path):
    (folder / "esp" / "loader" / "credentials").mkdir(parents=True)
    (folder / "esp" / "loader" / "credentials" / "a.cred").write_text("secret")
    (folder / "options.bin").write_bytes(utf16z("from a file"))
    wanted = {
        "esp": ('options.esp = "esp"', 'initrd.parts = ["initrd", "global-credentials", "osrel", "profile"]'),
        "path": ('options.path = "EFI/x.efi"', 'variables.StubImageIdentifier = "\\\\EFI\\\\x.efi"'),
        "load_options": ('options.load_options = "options.bin"', 'cmdline = "from a file"'),
        "cmdline": ('options.cmdline = "given"', 'cmdline = "given"'),
        "shell": ('options.shell = "uki.efi typed"', 'cmdline = "typed"'),
        "from_memory": ("options.from_memory = true", 'variables.StubImageIdentifier = "none"'),
        "profile": ("options.profile = 1", 'cmdline = "rescue"'),
        "stub": ('options.stub = "257"', 'model = "257"'),
    }
    path = case_file(
        "".join(f'[[case]]\nname = "{name}"\n{given}\nexpect.{so}\n' for name, (given, so) in wanted.items())
    )
    for result in running.check_all(running.runs_of(cases.load(str(path)))):
        assert result.error is None
        assert result.differences == (), result.run.case.name


def test_a_uki_stays_the_same_object(folder: Path):
    """Digests of a file are kept by the object that has it open."""
    inputs = running.Inputs()
    machine = cases.Machine("h", str(folder / "hosts" / "known.json"))
    case = cases.Case("f", "", "n", str(folder / "uki.efi"), (machine,), {}, {})
    one, two = (inputs.boot(running.Run(case, machine)) for _ in range(2))
    assert one.uki is two.uki
    assert one.host is two.host
    assert json.dumps(sorted(one.pcrs)) == json.dumps(sorted(two.pcrs))
    assert uki.load(case.uki).size == one.uki.size
