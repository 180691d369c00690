"""`stubsim vectors`: two files in a folder, or one of them on standard output."""

from __future__ import annotations

from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from stubsim import schemas
from tests.samples import Result, execute, invoke

VECTORS = Draft202012Validator(schemas.load("vectors"))


def test_into_a_folder(tmp_path: Path):
    target = tmp_path / "new" / "folder"
    assert execute("vectors", "-o", target) == Result(0, "", "")
    assert sorted(path.name for path in target.iterdir()) == ["stubsim-vectors.h", "stubsim-vectors.json"]
    as_json, as_c = invoke("vectors"), invoke("vectors", "--format", "c")
    VECTORS.validate(as_json.json)
    assert (target / "stubsim-vectors.json").read_text() == as_json.out
    assert (target / "stubsim-vectors.h").read_text() == as_c.out
    assert as_c.out.isascii()
    assert invoke("vectors", "--format", "json", "-o", target) == Result(0, "", "")
    assert (target / "stubsim-vectors.h").read_text() == as_c.out


@pytest.mark.parametrize("more", [["-o", "FILE"], ["-o", "FILE/below"], ["--format", "xml"], ["x"]])
def test_a_wrong_call(tmp_path: Path, more: list[str]):
    (tmp_path / "file").write_text("")
    result = invoke("vectors", *(word.replace("FILE", str(tmp_path / "file")) for word in more))
    assert (result.status, len(result.lines)) == (2, 1)
    assert (tmp_path / "file").read_text() == ""
