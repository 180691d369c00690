"""The facts of some recordings, kept in fixtures/golden, compared as the recordings themselves are; and that they are
enough: a model that differs in one field from the recorded stub is found out.
"""

from __future__ import annotations

import base64
import importlib
import json
import os
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from scripts.carry_over import carry_over
from stubsim.formats import pe
from stubsim.stub.models import DESCRIPTIVE, Choice, StubModel, choose
from tests.conformance.comparisons import COMPARISONS, Json, Recording, booted
from tests.conftest import ROOT

GOLDEN = ROOT / "fixtures" / "golden"
CASES = sorted(path.stem for path in GOLDEN.glob("*.json"))


class Shown(NamedTuple):
    """Set as in the other recorded stub, the field makes this comparison of this case fail."""

    field: str
    case: str
    comparison: str


SHOWN = [
    Shown("sections", "efifw-match@262.1", "measurements"),
    Shown("stub_features", "efifw-match@257.13", "variables"),
    Shown("stub_features", "efifw-match@262.1", "variables"),
    Shown("chid_priority", "chid-nullguid@257.13", "selection"),
    Shown("chid_priority", "chid-nullguid@262.1", "selection"),
    Shown("matches_devicetree_entries", "hwids-off-nonmatch-compat@257.13", "devicetree"),
    Shown("matches_devicetree_entries", "efifw-both@262.1", "devicetree"),
    Shown("matches_firmware_entries", "efifw-match@257.13", "messages"),
    Shown("matches_firmware_entries", "efifw-match@262.1", "selection"),
    Shown("refuses_inexact_descriptors", "efifw-both@257.13", "selection"),
    Shown("refuses_inexact_descriptors", "efifw-both@262.1", "selection"),
    Shown("checks_hwids_offsets", "hwids-off-nonmatch-compat@257.13", "selection"),
    Shown("checks_hwids_offsets", "hwids-off-nonmatch-compat@262.1", "selection"),
    Shown("reports_no_match_as_error", "chid-nomatch@257.13", "messages"),
    Shown("reports_no_match_as_error", "chid-nomatch@262.1", "messages"),
    Shown("takes_profiles", "efifw-match@257.13", "variables"),
    Shown("takes_profiles", "profile-at1-tab@262.1", "initrd"),
    Shown("drops_control_characters", "profile-at1-tab@262.1", "command_line"),
    Shown("appends_console", "efifw-match@257.13", "command_line"),
    Shown("appends_console", "efifw-match@262.1", "command_line"),
    Shown("takes_log_level", "launch-prev-initrd-debug@262.1", "messages"),
    Shown("makes_boot_secret", "ovmf2026-keyboard@262.1", "initrd"),
    Shown("creates_random_seed", "ovmf2026-basic@257.13", "esp_changes"),
    Shown("creates_random_seed", "ovmf2026-keyboard@262.1", "esp_changes"),
    Shown("takes_previous_initrd", "launch-prev-initrd-debug@262.1", "initrd"),
    Shown("measures_smbios", "tpm-4banks@262.1", "measurements"),
    Shown("measures_smbios", "efifw-match@257.13", "measurements"),
    Shown("packs_global_extensions", "sidecars-all@257.13", "initrd"),
    Shown("packs_global_extensions", "sidecars-all@262.1", "initrd"),
    Shown("exports_tpm_banks", "efifw-match@257.13", "variables"),
    Shown("exports_tpm_banks", "tpm-4banks@262.1", "variables"),
    Shown("exports_keyboard_layout", "ovmf2026-keyboard@262.1", "variables"),
    Shown("aligns_kernel", "aa64-kernel-align-odd@262.1", "messages"),
    Shown("loads_kernel_itself", "kernel-reloc@257.13", "messages"),
    Shown("loads_kernel_itself", "kernel-reloc@262.1", "messages"),
]

# (field, model) that no recording shows, and why.
NOT_SHOWN = {
    ("sections", "257.13"): "257 was never seen with an .efifw it could have measured: it refuses such a .hwids",
    ("drops_control_characters", "257.13"): "257 was recorded without control characters in load options",
    ("makes_boot_secret", "257.13"): "257 was recorded without a seed at hand: it makes no seed file",
    ("takes_log_level", "257.13"): "257 was recorded without a log level",
    ("takes_previous_initrd", "257.13"): "257 was recorded with an earlier initrd only where the UKI has none itself",
    ("exports_keyboard_layout", "257.13"): "257 was recorded without a keyboard",
    ("aligns_kernel", "257.13"): "257 leaves it to the firmware, and no fixture has addresses",
    ("applies_capsules", "257.13"): "a proposal, in no recorded stub",
    ("applies_capsules", "262.1"): "a proposal, in no recorded stub",
    ("firmware_section", "257.13"): "a prototype of 2024, in no recorded stub",
    ("firmware_section", "262.1"): "a prototype of 2024, in no recorded stub",
}


@cache
def case_of(name: str) -> Json:
    case: Json = json.loads((GOLDEN / f"{name}.json").read_text(encoding="utf-8"))
    return case


def recording_of(name: str) -> Recording:
    case = case_of(name)
    return Recording(name, case["host"], case["args"], case["expected"])


def model_of(name: str) -> StubModel:
    return choose(None, name.rpartition("@")[2]).model


def content(row: Json) -> bytes:
    if "file" in row:
        return (GOLDEN / row["file"]).read_bytes()
    return bytes(row["text"], "ascii") if "text" in row else base64.b64decode(row["base64"])


def image(sections: list[Json], case: Json) -> bytes:
    """The PE file of a recipe, for its machine; a filler has its size in memory and no bytes in the file."""
    return pe.build(
        [
            pe.SectionSpec(row["name"], b"" if "filler" in row else content(row), virtual_size=row["virtual_size"])
            for row in sections
        ],
        machine=0xAA64 if case["host"].get("architecture") == "aa64" else 0x8664,
    )


@pytest.fixture(scope="module")
def folder_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Build a case's files once."""

    @cache
    def build(name: str) -> Path:
        folder = tmp_path_factory.mktemp(name)
        case = case_of(name)
        (folder / "esp").mkdir()
        (folder / "uki.efi").write_bytes(image(case["uki"], case))
        (folder / "host.json").write_text(json.dumps(case["host"]), encoding="utf-8")
        for row in case["files"]:
            path = folder / row["path"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(image(row["sections"], case) if "sections" in row else content(row))
        return folder

    return build


@pytest.fixture(scope="module")
def simulated(folder_of: Callable[[str], Path]) -> Callable[[str], Json]:
    return cache(lambda name: booted(folder_of(name), case_of(name)["args"]))


@pytest.mark.parametrize("comparison", COMPARISONS)
@pytest.mark.parametrize("name", CASES)
def test_case(name: str, comparison: str, simulated: Callable[[str], Json]):
    pair = COMPARISONS[comparison](recording_of(name), simulated(name))
    if pair is None:
        pytest.skip("the recording holds nothing of it")
    ours, theirs = pair
    assert ours == theirs


def test_there_are_few_cases():
    names = {name.partition("@")[0] for name in CASES}
    assert 8 <= sum(not name.startswith("aa64-") for name in names) <= 12
    assert 5 <= sum(name.startswith("aa64-") for name in names) <= 12


# Is every field of the model seen in them?


def as_the_other(model: StubModel, field: str) -> Any:
    """The field's value in the other recorded stub; where both have the same, the opposite."""
    other = choose(None, "257.13" if model.id == "262.1" else "262.1").model
    value, opposite = getattr(model, field), getattr(other, field)
    if value != opposite:
        return opposite
    return ".fmwimg" if value is None else not value


def failing(
    name: str, field: str, folder_of: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> dict[str, tuple[object, object]]:
    """The comparisons that fail when the case is booted by a stub with another value in the field."""
    model = model_of(name)
    wrong = model._replace(**{field: as_the_other(model, field)})
    monkeypatch.setattr(importlib.import_module("stubsim.boot"), "model_for", lambda *_: Choice(wrong, "for this test"))
    boot = booted(folder_of(name), case_of(name)["args"])
    pairs = {comparison: compare(recording_of(name), boot) for comparison, compare in COMPARISONS.items()}
    return {comparison: pair for comparison, pair in pairs.items() if pair is not None and pair[0] != pair[1]}


@pytest.mark.parametrize("shown", SHOWN, ids=lambda shown: f"{shown.field}-{shown.case}")
def test_field_is_shown(shown: Shown, folder_of: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch):
    assert shown.comparison in failing(shown.case, shown.field, folder_of, monkeypatch)


@pytest.mark.parametrize(("field", "model"), NOT_SHOWN, ids=str)
def test_field_is_not_shown(field: str, model: str, folder_of: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch):
    """Keeps the list of exceptions honest: what a case does show has to stand in SHOWN."""
    for name in CASES:
        if model_of(name).id == model:
            assert not failing(name, field, folder_of, monkeypatch), name


def test_every_field_of_both_recorded_stubs_is_accounted_for():
    fields = set(StubModel._fields) - set(DESCRIPTIVE)
    shown = {(row.field, model_of(row.case).id) for row in SHOWN}
    assert not shown & NOT_SHOWN.keys()
    assert shown | NOT_SHOWN.keys() == {(field, model) for field in fields for model in ("257.13", "262.1")}
    older, newer = (choose(None, name).model for name in ("257.13", "262.1"))
    differing = {field for field in fields if getattr(older, field) != getattr(newer, field)}
    assert differing <= {row.field for row in SHOWN}


# What may lie in fixtures/golden.


def test_no_code_of_a_stub_is_carried_over():
    """Its code and data have a size only; what is there in full is the lab's own or a line of text."""
    sections = [row for name in CASES for row in case_of(name)["uki"]]
    sections += [row for name in CASES for file in case_of(name)["files"] for row in file.get("sections", [])]
    for row in sections:
        code = row["name"] in (".text", ".rodata", ".data", ".reloc")
        assert ("filler" in row) == code, row["name"]
        if code:
            assert row.keys() == {"name", "virtual_size", "filler"}
        elif row["name"] in (".sdmagic", ".sbat"):
            assert len(row["text"]) < 512
        elif row["name"] == ".linux":
            # The recordings' probe, as it is or with a relocation directory.
            assert re.fullmatch(r"linux-[0-9a-f]{8}\.bin", row["file"])
            assert row["virtual_size"] in (6144, 7168)


def test_fixtures_are_small():
    sizes = {path.name: path.stat().st_size for path in GOLDEN.iterdir()}
    assert sum(sizes.values()) < 300 * 1000
    assert max(sizes.values()) < 1 << 16


def test_fixtures_are_what_the_script_makes(shared: Path):
    made = carry_over(shared)
    assert {path.name: path.read_bytes() for path in GOLDEN.iterdir()} == made


def test_fixtures_name_no_file_outside():
    for name in CASES:
        for row in case_of(name)["files"]:
            assert not os.path.isabs(row["path"])
            assert ".." not in row["path"].split("/")
