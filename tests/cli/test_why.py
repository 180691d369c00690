"""`stubsim why`: on every recorded boot, and what it says of the other stub against that stub's own recording."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from stubsim import schemas
from stubsim.formats import hwids
from stubsim.systemd.release import KNOWN
from tests.conftest import recordings
from tests.samples import COMPATIBLE, FULL_UKI, MACHINE, devicetree, execute, invoke, table, uki, written

RECORDINGS = recordings()
SCHEMA = Draft202012Validator(schemas.load("why"))
STUBS = ("257.13", "262.1")
KINDS = {"devicetree": "dtbauto", "uefi-fw": "efifw"}


def explained(*arguments: str | Path) -> Any:
    result = invoke("why", *arguments, "--format", "json")
    assert result.status == 0, result.err
    SCHEMA.validate(result.json)
    return result.json


@cache
def recorded(name: str) -> Any:
    """What the real stub chose, None where that was not recorded."""
    path = next((folder for folder in RECORDINGS if folder.name == name), None)
    return None if path is None else json.loads((path / "expect.json").read_text())["selection"]


def sections(chosen: Any) -> Any:
    """As recordings have them."""
    return {name: [chosen[kind]["section"]] if chosen[kind] else None for kind, name in KINDS.items()}


@pytest.mark.parametrize("folder", RECORDINGS, ids=lambda folder: folder.name)
def test_every_recording(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(folder)
    arguments = json.loads((folder / "boot.json").read_text())["args"]
    report = explained("uki.efi", "--smbios", "host.json", *arguments)
    choices = report["choices"]
    if recorded(folder.name) is not None and report["outcome"]["status"] == "kernel-started":
        assert sections({kind: choice["chosen"] for kind, choice in choices.items()}) == recorded(folder.name)
    for choice in choices.values():
        chosen = [row["section"] for row in choice["sections"] if row["verdict"] == "chosen"]
        assert chosen == ([choice["chosen"]["section"]] if choice["chosen"] else [])
        assert choice["undecided"] == []
    for other in report["other_stubs"]:
        assert not other["own"] or other["same"]
    text = invoke("why", "uki.efi", "--smbios", "host.json", *arguments)
    assert text.status == 0
    assert all(line.isprintable() and len(line) <= 80 for line in text.out.splitlines())


def is_among(release: str, listed: str) -> bool:
    """Whether a release is in a list such as "252 to 257, 260.3", where a series stands for all its releases."""
    known = [str(each) for each in KNOWN]

    def places(name: str) -> list[int]:
        return [place for place, each in enumerate(known) if each == name or each.startswith(f"{name}.")]

    for piece in listed.split(", "):
        first, _, last = piece.partition(" to ")
        if places(first) and places(first)[0] <= known.index(release) <= places(last or first)[-1]:
            return True
    return False


def test_what_the_other_stub_does_was_recorded(monkeypatch: pytest.MonkeyPatch):
    """Cases that were booted with both stubs: the same sections, but for the stub itself."""
    compared = different = 0
    for folder in RECORDINGS:
        case, _, version = folder.name.partition("@")
        for other in STUBS:
            theirs = recorded(f"{case}@{other}")
            if version == other or theirs is None or recorded(folder.name) is None:
                continue
            monkeypatch.chdir(folder)
            arguments = json.loads((folder / "boot.json").read_text())["args"]
            report = explained("uki.efi", "--smbios", "host.json", *arguments)
            (row,) = (row for row in report["other_stubs"] if is_among(other, row["releases"]))
            assert sections(row["chosen"]) == theirs, folder.name
            compared += 1
            different += theirs != recorded(folder.name)
    assert not RECORDINGS or (compared > 100 and different > 5)


def test_as_a_program_and_into_a_file(tmp_path: Path):
    image, host = written(tmp_path, "uki.efi", FULL_UKI), written(tmp_path, "host.json", MACHINE)
    result = execute("why", image, "--smbios", host)
    assert (result.status, result.err) == (0, "")
    assert result.out.splitlines()[0] == f"devicetree {COMPATIBLE} is chosen; firmware fw is chosen"
    target = tmp_path / "why.json"
    assert invoke("why", image, "--smbios", host, "--format", "json", "-o", target).status == 0
    value = json.loads(target.read_text())
    SCHEMA.validate(value)
    assert value["choices"]["uefi-fw"]["chosen"] == {"section": 8, "fwid": "fw"}
    assert value["choices"]["devicetree"]["lookups"][0]["winner"]["chid_type"] == 3


def test_a_boot_that_fails_is_still_explained(tmp_path: Path):
    """The question was answered, so the status is 0."""
    host = written(tmp_path, "host.json", MACHINE)
    image = written(tmp_path, "uki.efi", FULL_UKI)
    for name, options in (("missing profile", ["--profile", "7"]), ("no kernel", [])):
        if not options:
            image = written(tmp_path, "uki.efi", uki(table((hwids.DEVICETREE, "a")), devicetree("a"), linux=None))
        result = invoke("why", image, "--smbios", host, *options)
        assert (result.status, result.err) == (0, ""), name
        assert result.out.startswith("the boot fails: ")
        report = explained(image, "--smbios", host, *options)
        assert report["choices"]["devicetree"]["chosen"] is None
        assert report["choices"]["devicetree"]["lookups"][0]["winner"]["entry"] == 0


def test_what_is_not_known_is_said(tmp_path: Path):
    image = written(tmp_path, "uki.efi", FULL_UKI)
    host = written(tmp_path, "host.json", {"smbios": MACHINE, "unknown": ["smbios.product_sku", "devicetree"]})
    report = explained(image, "--smbios", host)
    # All entries have the CHID of type 3, which is not known.
    assert report["choices"]["uefi-fw"]["undecided"] == ["product_sku"]
    assert report["choices"]["devicetree"]["undecided"] == ["devicetree", "product_sku"]
    strings = {row["field"]: row for row in report["strings"]}
    assert strings["product_sku"] == {"field": "product_sku", "raw": None, "hashed": None, "unknown": True}
    assert {row["type"] for row in report["chids"] if row["unknown"]} == {0, 3, 4, 6, 7}
    text = " ".join(invoke("why", image, "--smbios", host).out.split())
    assert "no firmware is chosen (see Unknown)" in text
    assert "- devicetree, product SKU: the choice of the devicetree depends on it" in text
