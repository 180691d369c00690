"""What --help says, of every command and every action."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator

import pytest

from stubsim.cli import parsers
from stubsim.cli.commands import COMMANDS, EXAMPLES
from tests.samples import execute


def every() -> Iterator[tuple[str, argparse.ArgumentParser]]:
    for name in COMMANDS:
        parser = parsers.one(name)
        yield name, parser
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                yield from ((f"{name} {below}", one) for below, one in action.choices.items())


PARSERS = dict(every())


def test_the_overview_fits_and_names_its_options():
    text = execute("--help").out
    assert max(map(len, text.splitlines())) <= 80
    assert "-h, --help" in text
    assert "--version" in text
    assert all(f"\n  {name} " in text for name in COMMANDS)


@pytest.mark.parametrize("name", PARSERS)
def test_help_fits_and_has_an_example(name: str):
    text = PARSERS[name].format_help()
    assert max(map(len, text.splitlines())) <= 80
    assert [line for line in text.splitlines() if re.search(r"\w-$", line)] == []
    assert text.endswith(f"\nexample:\n  $ {EXAMPLES[name]}\n")


@pytest.mark.parametrize("name", PARSERS)
def test_each_example_is_a_call_that_can_be_parsed(name: str):
    command, *arguments = EXAMPLES[name].removeprefix("sudo ").removeprefix("stubsim ").split()
    assert name.split(maxsplit=1)[0] == command
    parsers.one(command).parse_args(arguments)


@pytest.mark.parametrize("name", PARSERS)
def test_each_format_is_explained(name: str):
    for action in PARSERS[name]._actions:
        if "--format" in action.option_strings:
            told = [part.partition(":")[0].removesuffix(" (default)") for part in (action.help or "").split("; ")]
            assert told == [*(action.choices or ())]


def test_a_machine_is_a_host_by_another_name():
    for name, parser in PARSERS.items():
        options = parser._option_string_actions
        assert options.get("--smbios") is options.get("--host"), name


@pytest.mark.parametrize(
    ("arguments", "typo", "near"),
    [
        (["boot", "uki.efi", "--smbos", "h"], "--smbos", "did you mean --smbios?"),
        (["boot", "uki.efi", "--smbios", "h", "--folow"], "--folow", "did you mean --follow?"),
        (["hwids", "lint", "x", "--fail-onn=note"], "--fail-onn", "did you mean --fail-on?"),
        (["measure", "--zzz"], "--zzz", "see stubsim measure --help"),
    ],
)
def test_a_typo_is_named_before_what_is_missing(arguments: list[str], typo: str, near: str):
    result = execute(*arguments)
    assert (result.status, result.out) == (2, "")
    assert result.err == f"stubsim: error: no such option: {typo}; {near}\n"


def test_what_is_missing_is_named_where_there_is_no_typo():
    assert "required: --smbios" in execute("boot", "uki.efi").err
