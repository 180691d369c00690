"""The wheel: what a user gets with ``pip install stubsim``."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from email import message_from_bytes
from email.message import Message
from pathlib import Path
from typing import Any

import pytest

import stubsim
from scripts import completions, manual
from stubsim.cli import parsers
from stubsim.cli.commands import COMMANDS

ROOT = Path(__file__).resolve().parent.parent
MANUAL = "share/man/man1/stubsim.1"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[zipfile.ZipFile]:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    (path,) = folder.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        yield archive


@pytest.fixture(scope="module")
def metadata(wheel: zipfile.ZipFile) -> Message:
    return message_from_bytes(wheel.read(f"stubsim-{stubsim.__version__}.dist-info/METADATA"))


def test_the_wheel_is_the_package_and_its_metadata(wheel: zipfile.ZipFile):
    tops = {name.split("/")[0] for name in wheel.namelist()}
    assert tops == {"stubsim", *(f"stubsim-{stubsim.__version__}.{kind}" for kind in ("dist-info", "data"))}


def test_the_wheel_has_every_module_and_schema(wheel: zipfile.ZipFile):
    expected = {
        str(path.relative_to(ROOT)) for path in (ROOT / "stubsim").rglob("*") if path.suffix in (".py", ".json")
    }
    assert any(name.startswith("stubsim/schemas/") for name in expected)
    assert expected <= set(wheel.namelist())


def test_the_wheel_has_nothing_of_the_tests(wheel: zipfile.ZipFile):
    suspicious = re.compile(r"(^|/)(tests?|conftest.*|test_.*|fixtures|scripts|.*\.efi|__pycache__)(/|$)")
    assert [name for name in wheel.namelist() if suspicious.search(name)] == []


def test_the_wheel_is_typed_as_its_classifier_says(wheel: zipfile.ZipFile, metadata: Message):
    assert "Typing :: Typed" in metadata.get_all("Classifier", [])
    assert "stubsim/py.typed" in wheel.namelist()


def test_the_licence_comes_along(wheel: zipfile.ZipFile):
    (name,) = [name for name in wheel.namelist() if name.endswith("/LICENSE")]
    assert b"MIT License" in wheel.read(name)


def test_three_runtime_dependencies_and_no_more(metadata: Message):
    required = [line for line in metadata.get_all("Requires-Dist", []) if "extra ==" not in line]
    assert sorted(re.split(r"[^\w-]", line)[0] for line in required) == ["pefile", "pyelftools", "rich"]


def test_one_version_everywhere(metadata: Message):
    assert metadata["Version"] == stubsim.__version__
    headings = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert headings[0] == stubsim.__version__
    command = [sys.executable, "-m", "stubsim", "--version"]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True).stdout
    assert said.split() == ["stubsim", stubsim.__version__]


def test_the_entry_point_is_the_module_that_python_m_runs(wheel: zipfile.ZipFile):
    entry = wheel.read(f"stubsim-{stubsim.__version__}.dist-info/entry_points.txt").decode()
    assert "stubsim = stubsim.__main__:main" in entry
    assert "stubsim/__main__.py" in wheel.namelist()


# --- completions and the manual, made when the wheel is built -------------------------------------------------------


@pytest.fixture(scope="module")
def prefix(wheel: zipfile.ZipFile, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that pip puts what is not Python into, such as /usr/local."""
    data = f"stubsim-{stubsim.__version__}.data/data"
    folder = tmp_path_factory.mktemp("installed")
    wheel.extractall(folder, [name for name in wheel.namelist() if name.startswith(data)])
    return folder / data


def out(*command: str | Path, **options: Any) -> str:
    """What a program that has to succeed, and to be silent on standard error, prints."""
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=60, check=False, **options)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_completions_and_the_manual_ship(prefix: Path):
    names = {str(path.relative_to(prefix)) for path in prefix.rglob("*") if path.is_file()}
    assert names == {*completions.PLACES.values(), MANUAL}


def test_none_of_them_is_a_file_of_the_repository():
    places = [ROOT / place for place in (*completions.PLACES.values(), MANUAL)]
    assert [path for path in places if path.exists()] == []


def test_another_process_makes_the_same_of_them(prefix: Path):
    # The wheel was built by one with another hash seed.
    assert (prefix / MANUAL).read_text(encoding="utf-8") == manual.manual()
    for shell, place in completions.PLACES.items():
        assert (prefix / place).read_text(encoding="utf-8") == completions.completion(shell)


def test_the_parser_of_all_commands_is_made_of_those_that_parse():
    (commands,) = [action for action in parsers.every()._actions if action.dest == "command"]
    assert isinstance(commands.choices, dict)
    assert list(commands.choices) == list(COMMANDS)
    for name, parser in commands.choices.items():
        assert parser.format_help() == parsers.one(name).format_help()


@pytest.mark.oracle
@pytest.mark.parametrize("shell", completions.PLACES)
def test_the_shell_can_read_its_completions(shell: str, prefix: Path, oracle: Callable[[str], str]):
    assert out(oracle(shell), "-n", prefix / completions.PLACES[shell]) == ""


COMPLETED = {
    "stubsim bo": ["boot"],
    "stubsim diff": ["diff", "diff-log"],
    "stubsim boot --fo": ["--follow", "--format"],
    "stubsim hwids li": ["lint"],
    "stubsim hwids lint --fail-on ": ["error", "warning", "note", "never"],
    "stubsim boot mach": ["machines/"],
    "stubsim boot --smbios machines/": ["machines/a.json"],
    "stubsim hwids lint --hosts mach": ["machines/"],
}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "machines").mkdir()
    (tmp_path / "machines" / "a.json").touch()
    return tmp_path


@pytest.mark.oracle
@pytest.mark.parametrize(("line", "expected"), COMPLETED.items())
def test_bash_completes(line: str, expected: list[str], prefix: Path, place: Path, oracle: Callable[[str], str]):
    # What bash does at a tab: the words up to the cursor, and the function that `complete` was given.
    script = r"""
    source "$1"
    COMP_LINE=$2 COMP_POINT=${#2}
    read -ra COMP_WORDS <<<"$2"
    [[ $2 != *" " ]] || COMP_WORDS+=("")
    COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
    function=$(complete -p stubsim | sed 's/.*-F \([^ ]*\).*/\1/')
    $function stubsim "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
    printf '%s\n' "${COMPREPLY[@]}"
    """
    completed = out(oracle("bash"), "-c", script, "bash", prefix / completions.PLACES["bash"], line, cwd=place)
    # Whether a folder is followed by a slash is up to readline.
    assert [name.rstrip("/") for name in completed.split()] == [name.rstrip("/") for name in expected]


@pytest.mark.oracle
@pytest.mark.parametrize(("line", "expected"), COMPLETED.items())
def test_fish_completes(line: str, expected: list[str], prefix: Path, place: Path, oracle: Callable[[str], str]):
    script = f"source {prefix / completions.PLACES['fish']}; complete -C '{line}'"
    completed = out(oracle("fish"), "--no-config", "-c", script, cwd=place, env={**os.environ, "HOME": str(place)})
    assert {row.split("\t")[0] for row in completed.splitlines() if row} == set(expected)


def test_the_manual_has_every_command_and_option():
    page = manual.manual().replace("\\-", "-")
    for name in COMMANDS:
        assert f"\n.SS stubsim {name}" in page
        for option in re.findall(r"--[a-z][a-z-]+", parsers.one(name).format_usage()):
            assert f"\\fB{option}\\fR" in page


def test_no_line_of_the_manual_is_taken_for_a_request():
    known = {".TH", ".nh", ".SH", ".SS", ".B", ".TP", ".PP", ".RS", ".RE", ".nf", ".fi"}
    lines = manual.manual().splitlines()
    assert {line.split(" ")[0] for line in lines if line.startswith((".", "'"))} <= known


@pytest.mark.oracle
def test_man_shows_the_manual_without_a_warning(prefix: Path, oracle: Callable[[str], str]):
    environment = {**os.environ, "MANWIDTH": "100", "LC_ALL": "C.UTF-8", "MANPAGER": "cat"}
    shown = out(oracle("man"), "--warnings=all", "-l", prefix / MANUAL, env=environment)
    text = " ".join(shown.split())
    assert "stubsim - tells what a Unified Kernel Image does on a machine before it boots" in text
    assert "'live' is this machine, - is standard input" in text
    assert r"such as \EFI\Linux\x.efi" in text


@pytest.mark.oracle
def test_mandoc_has_nothing_to_say_but_that_the_manual_has_no_date(prefix: Path, oracle: Callable[[str], str]):
    command = [oracle("mandoc"), "-T", "lint", "-W", "warning", str(prefix / MANUAL)]
    said = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False).stdout
    assert [line for line in said.splitlines() if "missing date" not in line] == []


def test_no_pattern_has_a_possessive_group():
    """Of Python 3.11.2, that of Debian 12, they match too little (github.com/python/cpython/issues/106052)."""
    of_a_group = re.compile(r"\)[*+?]\+|\(\?>")
    sources = sorted((ROOT / "stubsim").rglob("*.py"))
    assert of_a_group.search(r"(?:a|b)*+c")
    assert [path.name for path in sources if of_a_group.search(path.read_text(encoding="utf-8"))] == []
