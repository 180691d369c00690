"""Random partitions for systemd-boot: drawn, told to efirun, simulated, and compared with its own code where it is."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

import pytest

from scripts.lab import efirun, loaders, stubs
from scripts.lab.drawing import partitions
from scripts.lab.fuzz import LoaderLaboratory
from scripts.lab.loaders import LoaderRecipe
from stubsim.formats import pe
from stubsim.formats.pe import SectionSpec

MAGIC = b"#### LoaderInfo: systemd-boot 262.1 ####\0"


def drawn(number: int, machine: str = "x64") -> LoaderRecipe:
    return partitions.draw(Random(f"1/{number}"), machine)


@pytest.fixture
def loader(tmp_path: Path) -> stubs.Stub:
    """A program that the simulator takes for systemd-boot."""
    path = tmp_path / "systemd-bootx64.efi"
    path.write_bytes(pe.build([SectionSpec(".text", b"code"), SectionSpec(".sdmagic", MAGIC)]))
    return stubs.described(path)


def test_a_seed_gives_the_same_partitions_and_another_seed_others():
    assert drawn(1) == drawn(1)
    assert len({repr(drawn(number)) for number in range(20)}) == 20
    assert {recipe.xbootldr is None for recipe in map(drawn, range(20))} == {True, False}


def test_random_partitions_are_read_by_the_simulator(tmp_path: Path, loader: stubs.Stub):
    """Nearly all have an entry, and most of these start something."""
    outcomes = []
    for number in range(40):
        loaders.write(drawn(number), loader, tmp_path / str(number))
        outcomes.append(loaders.simulate(efirun.load(tmp_path / str(number)), "x64").get("outcome"))
    assert outcomes.count("kernel-started") > 20
    assert outcomes.count("failed") > 1


def test_both_partitions_are_told_to_efirun(tmp_path: Path, loader: stubs.Stub):
    recipe = drawn(0)._replace(xbootldr={"EFI/Linux/a.efi": b"x"})
    host = recipe.host | {"xbootldr_partition_uuid": partitions.XBOOTLDR_PARTITION}
    loaders.write(recipe._replace(host=host), loader, tmp_path)
    lines = list(efirun.configuration(efirun.load(tmp_path)))
    assert {f"uki {tmp_path}/esp/EFI/BOOT/BOOTX64.EFI", f"esp {tmp_path}/esp", f"xbootldr {tmp_path}/xbootldr"} <= {
        *lines
    }
    assert f"xbootldr-partition {UUID(partitions.XBOOTLDR_PARTITION).bytes_le.hex()}" in lines


def test_what_differs_is_told_by_key(tmp_path: Path, loader: stubs.Stub, monkeypatch: pytest.MonkeyPatch):
    """A systemd-boot that starts another image than the simulator says, and sets nothing."""
    recipe = LoaderRecipe({"loader/entries/a.conf": b"linux /vmlinuz\n", "vmlinuz": drawn(0).esp["vmlinuz"]}, None, {
        **drawn(0).host, "variables": [], "tpm": None,
    })  # fmt: skip

    def boot(case: efirun.Case, image: object) -> dict[str, Any]:
        return {
            "outcome": "kernel-started", "started_path": "\\other", "load_options": None, "initrd_hex": None,
            "devicetree": None, "variables": {}, "measurements": [], "esp_changes": {}, "messages": [],
        }  # fmt: skip

    monkeypatch.setattr(efirun, "run", boot)
    found = loaders.compared(recipe, loader, tmp_path / "case")[1]
    assert found["started_path"] == ("\\vmlinuz", "\\other")
    assert found["entries"][0][0] == "a.conf"
    assert "LoaderEntrySelected" in found["variables"][0]
    assert "outcome" not in found


def test_smaller_partitions_have_one_thing_less():
    recipe = next(recipe for recipe in map(drawn, range(20)) if recipe.xbootldr)
    smaller = list(loaders.smaller(recipe))
    assert smaller[0] == recipe._replace(xbootldr=None)
    assert recipe not in smaller
    assert all("esp_partition_uuid" in row.host for row in smaller)


@pytest.mark.oracle
@pytest.mark.parametrize("suite", ["bookworm", "trixie", "sid"])
def test_its_own_code_does_what_the_simulator_says(suite: str):
    path = stubs.LAB / "stubs" / f"{suite}-x64/usr/lib/systemd/boot/efi/systemd-bootx64.efi"
    if not path.is_file():
        pytest.skip(f"no systemd-boot of {suite} is unpacked (make lab-fuzz-loader)")
    laboratory = LoaderLaboratory(stubs.described(path), "efirun")
    assert [laboratory.differs(laboratory.draw(7, number)) for number in range(20)] == [{}] * 20
