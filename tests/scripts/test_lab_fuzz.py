"""The lab's random boots, its comparison and its search for smaller ones, without a real stub."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

import pytest

from scripts.lab import efirun, recipes, runs
from scripts.lab.compare import differences, narrowed
from scripts.lab.drawing import boots
from scripts.lab.fuzz import StubLaboratory, fuzz, smaller_recipes
from scripts.lab.runs import boot_secret
from scripts.lab.stubs import Stub
from stubsim import uki
from stubsim.errors import StubsimError
from stubsim.formats import cpio, pe
from stubsim.formats.pe import SectionSpec
from stubsim.hosts import fixture
from stubsim.simulation import boot
from stubsim.start import Start

MAGIC = b"#### LoaderInfo: systemd-stub 262.1 ####"
STUB = pe.build([SectionSpec(".text", b"code"), SectionSpec(".sdmagic", MAGIC)])


def drawn(number: int, machine: str = "x64") -> recipes.Recipe:
    return boots.draw(Random(f"1/{number}"), machine)


def test_a_seed_gives_the_same_boot_and_another_seed_another():
    assert drawn(1) == drawn(1)
    assert len({repr(drawn(number)) for number in range(20)}) == 20


@pytest.mark.parametrize("machine", ["x64", "aa64"])
def test_random_boots_are_read_by_the_simulator(tmp_path: Path, machine: str):
    """What it does not read is an error of its own; and most are boots."""
    stub = pe.build([SectionSpec(".text", b"code"), SectionSpec(".sdmagic", MAGIC)], machine=recipes.MACHINES[machine])
    started = 0
    for number in range(40):
        folder = tmp_path / str(number)
        recipes.write(drawn(number, machine), stub, machine, folder)
        case = efirun.load(folder)
        try:
            host, image = fixture.from_json(case.host), uki.load(str(case.uki))
        except StubsimError:
            continue
        start = Start(esp=case.esp and str(case.esp), path=case.path, load_options=case.load_options, shell=case.shell)
        started += boot(image, host, start).outcome.status == "kernel-started"
    assert started > 20


def test_a_case_is_told_to_efirun_as_it_lies_in_its_folder(tmp_path: Path):
    recipe = drawn(3)._replace(
        path="\\EFI\\Linux\\a.efi",
        load_options=b"x\0",
        shell=None,
        host={"console": {"serial": ["0x2f8"]}, "tpm": None},
    )
    recipes.write(recipe, STUB, "x64", tmp_path)
    lines = list(efirun.configuration(efirun.load(tmp_path)))
    assert lines[:2] == [f"uki {tmp_path}/uki.efi", f"esp {tmp_path}/esp"]
    assert {"load-options 7800", "serial 0x2f8", "cpu kvm", "graphics"} <= set(lines)
    assert f"path {recipe.path.encode('utf-16-le').hex()}" in lines  # type: ignore[union-attr]
    assert not [line for line in lines if line.startswith(("banks", "rng", "partition"))]


def test_smaller_recipes_have_one_thing_less():
    recipe = drawn(5)._replace(files={"a.cred": b"x"}, load_options=None, shell=None)
    smaller = list(smaller_recipes(recipe))
    assert {len(row.sections) for row in smaller} == {len(recipe.sections), len(recipe.sections) - 1}
    assert any(not row.files for row in smaller)
    assert recipe not in smaller


def test_only_what_differs_is_told():
    assert narrowed({"a": 1, "b": 2}, {"a": 1, "c": 3}) == ({"b": 2, "c": None}, {"b": None, "c": 3})
    assert narrowed([1, 2, 3], [1, 4]) == ([2, 3], [4])
    assert narrowed([1], [1, 2]) == ([], [2])
    assert narrowed("a", None) == ("a", None)


def test_the_simulator_differs_from_a_stub_that_does_something_else(tmp_path: Path):
    recipe = drawn(0)._replace(
        sections=(SectionSpec(".cmdline", b"quiet"),), path="\\a.efi", load_options=None, shell=None, files={}, host={}
    )
    recipes.write(recipe, STUB, "x64", tmp_path)
    case = efirun.load(tmp_path)
    image = uki.load(str(case.uki))
    seen = {
        "outcome": "failed", "efi_status": "EFI_NOT_FOUND",
        "messages": ["stub.c:1@run: Image lacks .linux section: Not found"],
        "measurements": None, "variables": None, "esp_changes": {"loader/x": {"size": 1}},
    }  # fmt: skip
    found = differences(case, seen, image)
    assert found.keys() >= {"esp_changes"}
    assert "outcome" not in found
    assert differences(case, {**seen, "outcome": "crashed"}, image)["outcome"] == ("failed", "crashed")


def test_the_boot_secret_is_found_in_the_initrd():
    secret = bytes(range(32))
    archive = b"".join(cpio.pack(".extra", [("boot-secret", secret)], 0o555, 0o400))
    assert boot_secret({"initrd_hex": (b"xyz\0" + archive).hex()}) == secret.hex()
    assert boot_secret({"initrd_hex": None}) is None


def test_what_efirun_prints_becomes_an_expectation(tmp_path: Path):
    recipes.write(drawn(0), STUB, "x64", tmp_path)
    image = uki.load(str(tmp_path / "uki.efi"))
    name, tag = ".osrel\0".encode("utf-16-le"), b"\x16\xd7\xae\x13\x04\0\0\0" + "1\0".encode("utf-16-le")
    seen = {
        "outcome": "returned", "status": 1 << 63 | 14, "console": "a\r\nb\n".encode("utf-16-le").hex(),
        "measurements": [
            {"by": "tcg2", "index": 11, "type": 13, "event": name.hex(), "data": b".osrel\0".hex()},
            {"by": "tcg2", "index": 12, "type": 6, "event": tag.hex(), "data": "00"},
        ],
        "variables": [], "esp_changes": {"a": {"data": "0011"}},
    }  # fmt: skip
    expected = efirun.expectation(json.loads(json.dumps(seen)), image, {"tpm": {"banks": ["sha1"]}})
    assert (expected["outcome"], expected["efi_status"]) == ("failed", "EFI_NOT_FOUND")
    assert expected["messages"] == ["a", "b"]
    assert [row["description"] for row in expected["measurements"]] == [".osrel", "1"]
    assert [row["tag"] for row in expected["measurements"]] == [None, "0x13aed716"]
    assert expected["esp_changes"] == {"a": {"size": 2}}
    assert expected["pcrs"]["sha1"]["13"] == "0" * 40


def test_a_boot_that_was_too_slow_is_no_difference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """It is tried twice, and then told apart from what differs."""
    calls = []

    def slow(*_: object) -> dict[str, object]:
        calls.append(1)
        raise efirun.TooSlowError("no end of the boot")

    path = tmp_path / "stub.efi"
    path.write_bytes(STUB)
    monkeypatch.setitem(runs.BOOT, "efirun", slow)
    counts = fuzz(StubLaboratory(Stub(path, "262.1", "x64"), "efirun"), range(2), 1, tmp_path, 1)
    assert (counts, len(calls)) == ({"timed out": 2}, 4)
