"""A first suite: it passes as it is, on whatever machines, and is valid by the schema."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from stubsim import schemas
from stubsim.errors import StubsimError
from stubsim.testing import cases, running, suite
from tests.samples import FULL_UKI, MACHINE, ROOT, uki, written

CASE = Draft202012Validator(schemas.load("case"))


def made(folder: Path, image: str = "uki.efi") -> tuple[str, dict[str, Any]]:
    """A suite for all machines of the folder, found to be valid and to hold."""
    machines = [cases.Machine(str(path), str(path)) for path in sorted((folder / "hosts").iterdir())]
    text = suite.first_suite(str(folder / image), machines, str(folder))
    value = tomllib.loads(text)
    CASE.validate(value)
    (folder / "first.boot.toml").write_text(text, "utf-8")
    runs = running.runs_of(cases.load(str(folder / "first.boot.toml")))
    assert len(runs) == len(machines)
    assert all(result.passed for result in running.check_all(runs, 1))
    return text, value


def test_machines_with_one_result_share_a_case(folder: Path):
    written(folder / "hosts", "third.json", {**MACHINE, "manufacturer": "Third"})
    _, value = made(folder)
    assert value["uki"] == "uki.efi"
    known, others = value["case"]
    assert (known["name"], known["host"]) == ("fw and example,board", "hosts/known.json")
    assert known["expect"]["selection"] == {"efifw": "fw", "dtbauto": "example,board"}
    assert (others["name"], others["host"]) == ("nothing chosen", ["hosts/other.json", "hosts/third.json"])
    assert set(known["expect"]) == {"model", "outcome", "selection", "cmdline", "pcrs"}
    assert set(known["expect"]["pcrs"]["sha256"]) == {"11"}


def test_what_is_unknown_is_not_expected_but_said(folder: Path):
    written(folder / "hosts", "gap.json", {"smbios": MACHINE, "unknown": ["smbios.family"]})
    text, value = made(folder)
    (gap,) = (case for case in value["case"] if case["host"] == "hosts/gap.json")
    assert set(gap["expect"]) == {"model", "outcome", "cmdline"}
    assert gap["name"] == "choice unknown"
    assert "# selection is unknown: smbios.family" in text
    assert "# pcrs is unknown: smbios.family" in text


def test_names_are_unique(folder: Path):
    for number, memory in enumerate(("1G", "2G")):
        console = {"graphics": bool(number), "serial": ["0x3f8"]}
        written(folder / "hosts", f"{number}.json", {"memory": memory, "console": console})
    written(folder / "hosts", "tpm.json", {"tpm": {"banks": ["sha1", "sha256"]}})
    _, value = made(folder)
    names = [case["name"] for case in value["case"]]
    assert len(names) == len(set(names)) == 5
    assert "nothing chosen, as on 1" in names


def test_a_uki_that_offers_no_choice(folder: Path):
    written(folder, "plain.efi", uki())
    _, value = made(folder, "plain.efi")
    (case,) = value["case"]
    assert case["name"] == "boots"
    assert "selection" not in case["expect"]


def test_a_boot_that_fails(folder: Path):
    written(folder, "bad.efi", uki(linux=None))
    _, value = made(folder, "bad.efi")
    (case,) = value["case"]
    assert case["name"] == "fails"
    assert case["expect"]["outcome"] == {
        "status": "failed", "message": "Image lacks .linux section.", "efi_status": "EFI_NOT_FOUND",
    }  # fmt: skip


def test_the_hosts_that_come_along(tmp_path: Path):
    (tmp_path / "hosts").mkdir()
    for path in (ROOT / "fixtures" / "hosts").glob("*.json"):
        written(tmp_path / "hosts", path.name, path.read_bytes())
    written(tmp_path, "uki.efi", FULL_UKI)
    made(tmp_path)


def test_strange_texts_survive(folder: Path):
    text = 'a"b\\c\td\x7f\x01é\U0001f600'
    written(folder, "text.efi", uki())
    written(
        folder / "hosts",
        f"{text!r}.json",
        {"smbios": {"oem_strings": [f"io.systemd.stub.kernel-cmdline-extra={text}"]}},
    )
    made(folder, "text.efi")


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_strings_are_toml(text: str):
    assert tomllib.loads(f"x = {suite._string(text)}") == {"x": text}


def test_a_lone_surrogate_is_an_error():
    with pytest.raises(StubsimError):
        suite._string("\ud800")


def test_the_same_twice(folder: Path):
    assert made(folder) == made(folder)
    assert json.dumps(made(folder)[1]).isascii()
