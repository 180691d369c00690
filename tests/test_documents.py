"""What the pages of docs/ show is what stubsim does."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from jsonschema import Draft202012Validator

from stubsim import schemas
from stubsim.cli import commands, parsers
from stubsim.errors import StubsimError
from stubsim.formats import efifw
from tests.documents import ROOT, Example, compare, examples, links, run, workplace

DOCS = ROOT / "docs"
COMMANDS, FINDINGS, HUAWEI, FLEET = (DOCS / f"{name}.md" for name in ("commands", "findings", "huawei", "fleet"))
SHOWN = [example for page in (COMMANDS, FINDINGS, HUAWEI, FLEET) for example in examples(page)]
CASES, BEFORE = Path("fixtures", "cases", "huawei.boot.toml"), "huawei-before.boot.toml"


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = workplace(tmp_path_factory.mktemp("tree"))
    before = (folder / CASES).read_text().replace("huawei-fixed.efi", "huawei.efi")
    (folder / BEFORE).write_text(before.replace("../../", "").replace("../", "fixtures/"))
    plain = "boot build/fixtures/plain.efi --smbios fixtures/hosts/lab-q35.json --format eventlog -o plain.log"
    assert run(f"stubsim {plain}", folder).status == 0
    return folder


@pytest.mark.parametrize("example", SHOWN, ids=lambda example: example.command)
def test_the_pages_show_real_output(example: Example, tree: Path):
    compare(example, tree)


@pytest.mark.parametrize("page", sorted(DOCS.rglob("*.md")), ids=lambda page: page.name)
def test_the_files_that_a_page_leads_to_are_there(page: Path):
    for link in links(page):
        assert (page.parent / link).exists(), link


@pytest.mark.parametrize("page", [HUAWEI, FINDINGS], ids=lambda page: page.name)
def test_the_headings_that_a_page_leads_to_are_there(page: Path):
    text = page.read_text(encoding="utf-8")
    # As GitHub makes anchors of headings.
    headings = re.findall(r"^#+ (.*)$", text, re.M)
    anchors = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    assert set(re.findall(r"\]\(#([^)]+)\)", text)) <= anchors


# --- commands and their exit status ----------------------------------------------------------------------------------


class Row(NamedTuple):
    """A row of the table: a command, or one of its actions, may end with this status."""

    command: str
    status: int
    when: str
    example: str


def rows() -> list[Row]:
    found = re.findall(
        r"^\| ([a-z- ]+) \| (\d) \| (.+?) \| (?:`(.+)` )?\|$", COMMANDS.read_text(encoding="utf-8"), re.M
    )
    return [Row(command, int(status), when, example) for command, status, when, example in found]


def every_command() -> Iterator[str]:
    """The commands as they are typed; each action of a command that has actions."""
    for name in commands.COMMANDS:
        action = next((one for one in parsers.one(name)._actions if one.dest == "action"), None)
        yield from (f"{name} {choice}" for choice in action.choices or ()) if action else [name]


def test_every_command_has_its_rows():
    documented: dict[str, list[int]] = {}
    for row in rows():
        documented.setdefault(row.command, []).append(row.status)
    assert list(documented) == [*every_command()]
    for command, statuses in documented.items():
        assert statuses in ([0, 2], [0, 1, 2]), command
    # The machine that the tests run on need not show its SMBIOS.
    assert [row.command for row in rows() if not row.example] == ["host capture", "entries"]


@pytest.mark.parametrize("row", [row for row in rows() if row.example], ids=lambda row: f"{row.command}: {row.status}")
def test_the_exit_status_is_the_documented_one(row: Row, tree: Path):
    assert row.example.startswith(f"stubsim {row.command} ") or row.example == f"stubsim {row.command}"
    ended = run(row.example, tree)
    assert ended.status == row.status, ended.shown
    errors = [line for line in ended.shown.split("\n") if line.startswith("stubsim: error: ")]
    if row.status == 2:
        # Nothing but the one line.
        assert [ended.shown] == errors
        lines = run(f"{row.example} --format json", tree).shown.split("\n")
        assert lines[0] == errors[0]
        Draft202012Validator(schemas.load("error")).validate(json.loads("\n".join(lines[1:])))
    elif row.status == 0:
        assert errors == []


def test_what_ends_with_2_writes_nothing(tree: Path):
    before = {path: path.stat().st_mtime_ns for path in tree.rglob("*")}
    for row in rows():
        if row.status == 2:
            run(row.example + ("" if " -o " in row.example else " -o written"), tree)
    assert {path: path.stat().st_mtime_ns for path in tree.rglob("*")} == before


# --- findings --------------------------------------------------------------------------------------------------------


def test_every_finding_is_in_the_table_and_has_a_command():
    first, *findings = FINDINGS.read_text(encoding="utf-8").split("\n## ")
    assert re.findall(r"^\| \[(.*?)\]\(#", first, re.M) == [finding.partition("\n")[0] for finding in findings]
    for finding in findings:
        assert "```console\n$ stubsim " in finding


@pytest.mark.oracle
def test_ukify_writes_the_short_header(newer_oracle: Callable[..., str]):
    script = """
import pathlib, sys, tempfile
from importlib.machinery import SourceFileLoader
folder = pathlib.Path(tempfile.mkdtemp(), "example.ovmf")
folder.mkdir()
(folder / "firmware").write_bytes(pathlib.Path(sys.argv[1]).read_bytes())
print(SourceFileLoader("ukify", "/usr/bin/ukify").load_module().parse_efifw_dir(folder).hex())
"""
    blob = bytes.fromhex(newer_oracle("python3", b"payload", "-c", script, "{}"))
    assert blob == b"\0" + struct.pack("<III", 16, 13, 7) + b"example.ovmf\0payload"
    with pytest.raises(StubsimError, match="13-byte header"):
        efifw.parse(blob)


# --- the HUAWEI case -------------------------------------------------------------------------------------------------


def test_the_guard_of_the_fix_fails_without_it(tree: Path):
    assert run(f"stubsim check {CASES}", tree).status == 0
    assert run(f"stubsim check {BEFORE}", tree).status == 1


def test_the_fix_is_what_from_host_writes(tree: Path):
    made = run("stubsim hwids from-host fixtures/hosts/huawei-gaokun3.json --compatible huawei,gaokun3 -o made", tree)
    assert made.status == 0
    fixed = ROOT / "fixtures" / "hwids" / "huawei-c233-fixed" / "huawei-gaokun3.json"
    assert (tree / "made").read_bytes() == fixed.read_bytes()


def test_nothing_but_the_vague_ids_is_gone():
    before, after = (
        json.loads((ROOT / "fixtures" / "hwids" / name / "huawei-gaokun3.json").read_text())
        for name in ("huawei-c233", "huawei-c233-fixed")
    )
    assert set(after["hwids"]) < set(before["hwids"])
    assert {**before, "hwids": []} == {**after, "hwids": []}
