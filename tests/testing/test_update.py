"""Rewriting expectations: what changed is new, everything else of the file is as it was."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from stubsim.errors import StubsimError
from stubsim.testing import cases, running, update

Write = Callable[..., Path]


def updated(path: Path) -> update.Update:
    results = running.check_all(running.runs_of(cases.load(str(path))), 1)
    (one,) = update.updates(results)
    path.write_bytes(one.content)
    return one


def still_failing(path: Path) -> list[str]:
    results = running.check_all(running.runs_of(cases.load(str(path))), 1)
    return [row.key for result in results for row in result.differences]


BEFORE = """\
# at the top

[options]   # as it is started
profile = 0

[expect]
cmdline   =   'quite'   # a typo
outcome = "kernel-started"
selection.efifw = "none" # no more
initrd = { size = 1, parts = [
  "initrd",  # ours
] }

[expect.pcrs.sha256]
11 = "00"
# the end
"""
AFTER = """\
# at the top

[options]   # as it is started
profile = 0

[expect]
cmdline   =   "quiet"   # a typo
outcome = "kernel-started"
selection.efifw = "fw" # no more
initrd = { size = SIZE, parts = ["initrd", "osrel", "profile"] }

[expect.pcrs.sha256]
11 = "PCR"
# the end
"""


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_the_rest_of_the_file_stays(case_file: Write, newline: str, mark: bytes):
    path = case_file(BEFORE)
    path.write_bytes(mark + path.read_bytes().replace(b"\n", newline.encode()))
    one = updated(path)
    keys = ("cmdline", "selection.efifw", "initrd.size", "initrd.parts", "pcrs.sha256.11")
    assert one.places == tuple(f"expect.{key}" for key in keys)
    assert one.kept == ()
    (case,) = cases.load(str(path))
    text = AFTER.replace("SIZE", str(case.expect["initrd"]["size"]))
    text = text.replace("PCR", case.expect["pcrs"]["sha256"]["11"]).replace("\n", newline)
    assert path.read_bytes().startswith(mark + b"uki")
    assert path.read_bytes().endswith(text.encode())
    assert still_failing(path) == []


def test_tables_and_single_values(case_file: Write):
    path = case_file(
        """
        [expect.selection]
        efifw = {fwid = "x", section = 1, payload = {kind = "ovmf"}}
        dtbauto = "none"
        [expect.outcome]
        status = "failed"
        message = "Image lacks"
        [expect.variables]
        StubInfo = {text = "systemd-stub 1"}
        Gone = "here"
        Nothing.data = "00"
        """
    )
    updated(path)
    assert still_failing(path) == []
    (case,) = cases.load(str(path))
    assert case.expect["selection"]["efifw"] == {"fwid": "fw", "section": 8, "payload": {"kind": "unknown"}}
    assert case.expect["selection"]["dtbauto"] == "example,board"
    assert case.expect["outcome"] == {"status": "kernel-started", "message": "none"}
    assert case.expect["variables"] == {
        "StubInfo": {"text": "systemd-stub 262.1-1"}, "Gone": "none", "Nothing": "none",
    }  # fmt: skip


def test_a_table_where_none_was_expected(case_file: Write):
    path = case_file('expect = {initrd = "none", hwids.matches.devicetree = "none"}\n')
    updated(path)
    assert still_failing(path) == []


TWO = """
[expect]
cmdline = "old"
[[case]]
name = "one"
[[case]]
name = "two"
options.profile = 1
expect.profile = 0
"""


def test_what_cases_share_changes_only_for_all(case_file: Write):
    """Profile 1 has another command line, so there is none that both could expect."""
    path = case_file(TWO)
    one = updated(path)
    assert one.places == ("case[1].expect.profile",)
    ((place, why),) = one.kept
    assert place == "expect.cmdline"
    assert "not the same" in why
    assert still_failing(path) == ["cmdline", "cmdline"]


def test_what_cases_share_changes_for_all_that_have_it(case_file: Write):
    path = case_file(TWO + 'expect.cmdline = "rescue"\n')
    assert updated(path).places == ("expect.cmdline", "case[1].expect.profile")
    assert still_failing(path) == []


def test_a_value_that_holds_on_one_machine_is_kept(case_file: Write):
    path = case_file('expect.selection.efifw = "fw"\n', host='"hosts/*.json"')
    one = updated(path)
    assert (one.places, [place for place, _ in one.kept]) == ((), ["expect.selection.efifw"])


def test_machines_that_agree(case_file: Write):
    path = case_file('expect.cmdline = "old"\n', host='"hosts/*.json"')
    assert updated(path).places == ("expect.cmdline",)
    assert still_failing(path) == []


def test_no_value_is_made_up(case_file: Write, folder: Path):
    (folder / "hosts" / "gap.json").write_text('{"unknown": ["edid"]}')
    path = case_file('expect = {selection.efifw = "x", log = ["y"], cmdline = "z"}\n', host='"hosts/gap.json"')
    one = updated(path)
    assert one.places == ("expect.cmdline",)
    kept = dict(one.kept)
    assert kept["expect.selection"].startswith("unknown, because edid")
    assert "which message" in kept["expect.log"]
    assert still_failing(path) == ["selection", "log"]


def test_a_second_time_changes_nothing(case_file: Write):
    path = case_file(TWO)
    updated(path)
    before = path.read_bytes()
    assert updated(path).places == ()
    assert path.read_bytes() == before


def test_a_check_that_holds_has_no_update(case_file: Write):
    path = case_file('expect.cmdline = "quiet"\n')
    assert update.updates(running.check_all(running.runs_of(cases.load(str(path))), 1)) == ()


def test_without_tomlkit(case_file: Write, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "tomlkit", None)
    path = case_file('expect.cmdline = "old"\n')
    before = path.read_bytes()
    with pytest.raises(StubsimError, match=r"tomlkit.*; pip install tomlkit$"):
        updated(path)
    assert path.read_bytes() == before


def test_what_tomlkit_gets_wrong_is_not_written(case_file: Write, monkeypatch: pytest.MonkeyPatch):
    import tomlkit

    path = case_file('expect.cmdline = "old"\n')
    before = path.read_bytes()
    for wrong in ("x = 1\n", "x = "):
        monkeypatch.setattr(tomlkit, "dumps", lambda document, wrong=wrong: wrong)
        with pytest.raises(StubsimError, match=r"a\.boot\.toml: cannot be updated in place: expect\.cmdline"):
            updated(path)
    assert path.read_bytes() == before
