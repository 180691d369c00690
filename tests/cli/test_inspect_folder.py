"""`stubsim inspect DIR`: the UKIs of a partition, and what its other files are."""

from __future__ import annotations

from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from stubsim import schemas
from stubsim.formats import pe
from stubsim.formats.pe import SectionSpec
from tests.samples import FULL_UKI, KERNEL, invoke, uki, written

FOLDER = Draft202012Validator(schemas.load("inspect-folder"))


@pytest.fixture
def esp(tmp_path: Path) -> Path:
    linux, boot = tmp_path / "EFI" / "Linux", tmp_path / "EFI" / "BOOT"
    linux.mkdir(parents=True)
    boot.mkdir()
    written(linux, "full.EFI", FULL_UKI)
    written(linux, "kernel-without-a-suffix", uki(SectionSpec(".profile", b"ID=x\n")))
    written(linux, "debug.addon.efi", pe.build([SectionSpec(".cmdline", b"debug")]))
    written(linux, "text.efi", b"This is text.")
    written(linux, "notes.txt", b"This is text.")
    loader = SectionSpec(".sdmagic", b"#### LoaderInfo: systemd-boot 258.1 ####\0")
    written(boot, "BOOTX64.EFI", pe.build([loader]))
    written(boot, "other.efi", KERNEL)
    return tmp_path


def test_json(esp: Path):
    report = invoke("inspect", esp, "--format", "json").json
    FOLDER.validate(report)
    assert report["others"] == 1
    rows = {row["path"]: row for row in report["files"]}
    assert list(rows) == sorted(rows)
    full = rows["EFI/Linux/full.EFI"]
    assert full["size"] == len(FULL_UKI)
    assert (full["is_uki"], full["os"], full["stub"]["version"]) == (True, "example 1", "262.1-1")
    assert [(row["id"], row["title"]) for row in full["profiles"]] == [("main", "Main"), ("rescue", None)]
    assert rows["EFI/Linux/kernel-without-a-suffix"]["is_uki"]
    assert {path: row["why"] for path, row in rows.items() if not row["is_uki"]} == {
        "EFI/BOOT/BOOTX64.EFI": "a boot loader (systemd-boot 258.1), not a UKI",
        "EFI/BOOT/other.efi": "no .linux, not a UKI",
        "EFI/Linux/debug.addon.efi": "an addon, not a UKI: it has no .linux",
        "EFI/Linux/text.efi": 'offset 0x0: not a PE file (expected "MZ")',
    }


def test_text(esp: Path):
    result = invoke("inspect", esp)
    assert (result.status, result.err) == (0, "")
    assert " ".join(result.out.partition("\n\n")[0].split()) == f"{esp}: 2 UKIs, 5 other files"
    assert "  profiles  0 main (Main), 1 rescue" in result.out
    assert "  EFI/BOOT/BOOTX64.EFI       a boot loader (systemd-boot 258.1), not a UKI" in result.out


def test_a_name_of_the_system_without_its_version(tmp_path: Path):
    """As systemd-boot has it: PRETTY_NAME says all, other names do not."""
    names = {b'NAME="Arch Linux"\nBUILD_ID=rolling\n': "Arch Linux rolling", b"PRETTY_NAME='A 1'\nVERSION=2\n": "A 1"}
    for text, name in names.items():
        written(tmp_path, "a.efi", pe.build([SectionSpec(".osrel", text), SectionSpec(".linux", KERNEL)]))
        assert invoke("inspect", tmp_path, "--format", "json").json["files"][0]["os"] == name


def test_an_empty_folder_and_a_section_of_one(tmp_path: Path):
    assert " ".join(invoke("inspect", tmp_path).out.split()) == f"{tmp_path}: no UKIs, no other files"
    result = invoke("inspect", tmp_path, "--section", ".linux", "-o", tmp_path / "out")
    assert result.status == 2
    assert result.lines == [f"stubsim: error: {tmp_path}: a folder has no sections (expected a UKI with --section)"]
