"""What the pages of docs/ show is what stubsim does."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.documents import ROOT, Example, compare, examples, links, run, workplace

DOCS = ROOT / "docs"
HUAWEI, FINDINGS = DOCS / "huawei.md", DOCS / "findings.md"
SHOWN = [example for page in (HUAWEI,) for example in examples(page)]
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
