"""docs/check.md: its example is a case file that holds, and its tables name every key."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from scripts import build_fixtures
from stubsim.testing import cases, expectations, running
from tests.samples import ROOT

TEXT = (ROOT / "docs" / "check.md").read_text("utf-8")


def test_the_example_holds(tmp_path: Path):
    (tmp_path / "build").mkdir()
    (tmp_path / "build" / "demo.efi").write_bytes(build_fixtures.demo())
    shutil.copytree(ROOT / "fixtures" / "hosts", tmp_path / "tests" / "hosts")
    (example,) = re.findall("```toml\n(.*?)```", TEXT, re.DOTALL)
    path = tmp_path / "tests" / "demo.boot.toml"
    path.write_text(example)
    results = running.check_all(running.runs_of(cases.load(str(path))), 1)
    assert [result.run.machine.label for result in results] == [
        "hosts/google-compute-engine.json", "hosts/lab-q35.json", "hosts/microsoft-hyper-v-gen2.json",
    ]  # fmt: skip
    assert all(result.passed for result in results)


def test_the_tables_name_every_key():
    of_case, of_expect = (
        {key for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE) for key in re.findall("`(.*?)`", row)}
        for table in TEXT.split("| key of `expect` |")
    )
    assert of_case == set(cases._OF_CASE)
    assert of_expect == set(expectations.EXPECTATIONS)
    (options,) = re.findall(r"^\| `options` \| (.*?), as with", TEXT, re.MULTILINE)
    assert re.findall("`(.*?)`", options) == list(cases.OPTIONS)
