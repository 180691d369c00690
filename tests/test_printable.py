"""Nothing that an input says does anything to a terminal, to a page or to a build: every place, command and format."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stubsim import chid, hosts
from stubsim.formats import efifw, fdt, hwids
from stubsim.formats.pe import SectionSpec
from stubsim.printable import clean, clean_lines, without_commands
from tests.samples import FIRMWARE, MACHINE, Result, invoke, uki, written

# Colours, a bell, the C1 form of ESC [, text that runs backwards, line ends of all kinds, commands to GitHub's runner.
CONTROLS = "\x1b[31m\x07\x9b32m\u202egnp\u2066 ##[error]x ###[add-mask]y"
LINES = "\r\n::error::r\n \t::warning::n\u2028::notice::u\x85::debug::c"
# Where a text is wrapped, the next line begins in the middle of it.
WRAPPED = f"{'a' * 98} ::add-mask::w {'b' * 60} ::add-mask::x"
EVIL = [
    f"::error::first {WRAPPED} {CONTROLS}{LINES}",
    f" \u3000::stop-commands::x{CONTROLS}",
    f"{CONTROLS}{WRAPPED}{LINES}",
]


def harmless(text: str) -> None:
    for line in re.split(r"[\n\r]", text):
        assert line.isprintable(), line
        assert "##[" not in line, line
        assert not line.lstrip().startswith("::"), line


def harmless_result(result: Result) -> None:
    assert result.status != 70, result.err
    harmless(result.out)
    harmless(result.err)


@given(st.text(st.sampled_from(":# [a\n\r\u2028\x1b31m\u3000\t]") | st.characters(codec=None)))
def test_any_text(text: str):
    harmless(clean(text))
    harmless(clean_lines(text))
    assert without_commands(clean(text)) == clean(text)


@given(st.text(":# [a\n"), st.text(":# [a\n"))
def test_two_texts_in_a_line_are_not_a_command_either(one: str, other: str):
    harmless(without_commands(f"{clean(one)}{clean(other)}"))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a::b", "a::b"),
        ("::b", r"\x3a:b"),
        ("  :::", r"  \x3a::"),
        ("##[x]", r"#\x23[x]"),
        ("####[x]", r"###\x23[x]"),
        ("# #[x]", "# #[x]"),
        ("\x1b[31m", r"\x1b[31m"),
        ("\u202e", r"\u202e"),
        ("\x1b[0m::x", r"\x1b[0m::x"),
    ],
)
def test_what_is_shown(text: str, shown: str):
    assert clean(text) == shown


def test_colours_of_our_own_do_not_hide_a_command():
    assert without_commands("\x1b[31m::x") == "\x1b[31m\\x3a:x"


@pytest.fixture(params=range(len(EVIL)), ids=["first", "blanks", "wrapped"])
def evil(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A text for every place; beside it files with hostile names and contents, in the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    text = EVIL[request.param]
    short = text[:60]
    data = text.encode()
    host = {**dict.fromkeys(MACHINE, text), "oem_strings": [text, f"io.systemd.stub.kernel-cmdline-extra={text}"]}
    machine = {"name": text, "source": text, "smbios": host, "tpm": {"banks": ["sha256"]}}
    written(tmp_path, f"{short}.json", machine)
    own = [value for value in chid.chids(hosts.from_json(machine).fields, None).values() if value is not None]
    table = hwids.build([(kind, value, text, text) for value in own[:2] for kind in (hwids.DEVICETREE, hwids.UEFI_FW)])
    image = uki(
        SectionSpec(".hwids", table),
        SectionSpec(".dtbauto", fdt.build([text])),
        SectionSpec(".dtbauto", b"no tree"),
        SectionSpec(".efifw", efifw.build(text, FIRMWARE)),
        SectionSpec("::a::b", b"x"),
        SectionSpec("##[a]b", b"x"),
        SectionSpec("\x1b[1mx", b"x"),
        SectionSpec(".uname", data),
        SectionSpec(".profile", f"ID={text}\nTITLE={text}\n".encode()),
        SectionSpec(".cmdline", data),
        stub=f"systemd-stub 262.1-1{short[:20]}".replace("\n", " "),
    )
    written(tmp_path, f"{short}.efi", image)
    beside = tmp_path / "esp" / "EFI" / "Linux"
    beside.mkdir(parents=True)
    written(beside, f"{short}.efi", image)
    extra = beside / f"{short}.efi.extra.d"
    extra.mkdir()
    written(extra, f"{short}.addon.efi", b"not a PE")
    written(extra, f"{short}.cred", b"x")
    written(tmp_path, "options", text.encode("utf-16-le") + b"\0\0")
    written(tmp_path, "descriptions.json", {"type": "devicetree", "name": text, "compatible": text, "hwids": [text]})
    quoted = json.dumps(short)
    written(
        tmp_path,
        f"{short}.boot.toml",
        f"uki = {json.dumps(short + '.efi')}\nhost = {json.dumps(short + '.json')}\n"
        f"[[case]]\nname = {quoted}\nexpect.cmdline = {json.dumps(text)}\nexpect.log = [{json.dumps(text)}]\n"
        f"expect.profile.title = {quoted}\n"
        f"[[case]]\nname = 'wrong'\nexpect.outcome = 'kernel-started'\noptions.stub = {quoted}\n".encode(),
    )
    return text


def test_every_command_and_format(evil: str, tmp_path: Path):
    short = evil[:60]
    image, host, case = f"./{short}.efi", f"./{short}.json", f"./{short}.boot.toml"
    on = [image, "--smbios", host]
    started = ["--esp", "esp", "--load-options", "options", "--memory", "1G"]
    assert invoke("boot", *on, "--format", "eventlog", "-o", "log").status in (0, 1)
    ways = {
        ("boot", *on): "text json html qtest",
        ("boot", *on, *started): "text json html",
        ("boot", *on, "--cmdline", evil): "text json",
        ("boot", *on, "--profile", evil): "text json",
        ("boot", *on, "--path", evil): "text json",
        ("boot", *on, "--handover", evil): "text json",
        ("boot", *on, "--color", "always", "--format", "json"): "",
        ("why", *on, *started): "text json html",
        ("diff", *on, "--cmdline", evil, "--cmdline", f"{evil} b ::c"): "text json html",
        ("inspect", image): "text json",
        ("inspect", image, "--section", evil): "text json",
        ("chids", "--smbios", host): "text json",
        ("hwids", "show", image, "--smbios", host): "text json",
        ("hwids", "from-host", host, "--compatible", evil): "json",
        ("hwids", "lint", image, "descriptions.json", "--smbios", host): "text json concise sarif",
        ("hwids", "show", "descriptions.json"): "text json",
        ("hwids", "build", "."): "json",
        ("host", "show", host): "text json",
        ("host", "convert", host, "--keep-ids"): "json",
        ("measure", *on, *started): "text json systemd-measure",
        ("measure", image): "text json systemd-measure",
        ("measure", *on, "--policy"): "text json",
        ("diff-log", *on, "--eventlog", "log", "--cmdline", evil): "text json",
        ("check", case): "text json",
        ("check", case, "--junit", "-"): "text",
        ("check", "--init", image, "--hosts", host): "",
        ("schema", evil): "text json",
        ("boot", f"{short}.nothing", "--smbios", host): "text json",
        ("boot", image, "--smbios", evil): "text json",
        ("boot", *on, "--stub", evil): "text json",
        ("boot", *on, "--debug", "--stub", evil): "text",
        (evil,): "",
        ("boot", f"--{evil}"): "",
        ("boot", *on, "--bank", evil): "",
    }
    for words, formats in ways.items():
        for way in formats.split() or [""]:
            result = invoke(*words, *(["--format", way] if way else []))
            harmless_result(result)
            if way == "json" and result.out:
                assert result.out.isascii()
                json.loads(result.out)
            if way == "sarif":
                for row in result.json["runs"][0]["results"]:
                    harmless(row["message"]["text"])


@pytest.mark.parametrize("evil", [0], indirect=True)
def test_the_texts_arrive(evil: str):
    """Or the test above would show nothing."""
    short = evil[:60]
    result = invoke("boot", f"./{short}.efi", "--smbios", f"./{short}.json", "--format", "json")
    assert result.json["selection"]["efifw"]["fwid"] == evil
    assert result.json["selection"]["dtbauto"]["compatible"] == evil
    described = invoke("hwids", "from-host", f"./{short}.json", "--compatible", evil)
    assert described.json["compatible"] == evil


@pytest.mark.parametrize("evil", [0], indirect=True)
def test_the_pytest_plugin(evil: str, tmp_path: Path):
    """As a program: pytest writes names and failures as they are, and names of files by itself."""
    os.rename(tmp_path / f"{evil[:60]}.boot.toml", tmp_path / "cases.boot.toml")
    command = [sys.executable, "-m", "pytest", "-v", "-rA", "--color=no", "-p", "no:cacheprovider", "--rootdir=."]
    done = subprocess.run(
        [*command, "--junit-xml=results.xml", "."], cwd=tmp_path, capture_output=True, timeout=60, check=False
    )
    assert done.returncode == 1, done.stderr
    assert b"not as expected: cmdline" in done.stdout
    harmless(done.stdout.decode())
    harmless((tmp_path / "results.xml").read_text("utf-8"))
