"""What the pages of docs/ show is what stubsim does."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from stubsim.errors import StubsimError
from stubsim.formats import efifw
from tests.documents import ROOT, Example, compare, examples, links, run, workplace

DOCS = ROOT / "docs"
HUAWEI, FINDINGS = DOCS / "huawei.md", DOCS / "findings.md"
SHOWN = [example for page in (HUAWEI, FINDINGS) for example in examples(page)]
CASES = Path("fixtures", "cases", "huawei.boot.toml")


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = workplace(tmp_path_factory.mktemp("tree"))
    before = (folder / CASES).read_text().replace("huawei-fixed.efi", "huawei.efi")
    (folder / CASES.with_name("huawei-before.boot.toml")).write_text(before)
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
    assert run(f"stubsim check {CASES.with_name('huawei-before.boot.toml')}", tree).status == 1


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
