"""The cases of the standard set: every file is a boot that the simulator reads, without a real stub or a compiler."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.lab import efirun, guest, recipes, runs, standard, verify
from scripts.lab.stubs import Stub
from stubsim import uki
from stubsim.errors import StubsimError
from stubsim.formats import pe
from stubsim.formats.pe import SectionSpec
from stubsim.hosts import fixture
from stubsim.simulation import boot
from stubsim.start import Start

CASES = standard.read()
MAGIC = b"#### LoaderInfo: systemd-stub 262.1 ####"
# These end a boot of every release.
FAILING = {"kernel-cut", "kernel-entry-outside", "kernel-rawlarger", "kernel-reloc", "linux-missing", "profile-missing"}


def stub(machine: str) -> bytes:
    return pe.build([SectionSpec(".text", b"code"), SectionSpec(".sdmagic", MAGIC)], machine=recipes.MACHINES[machine])


@pytest.fixture(autouse=True)
def probe(monkeypatch: pytest.MonkeyPatch):
    """A kernel that no compiler is needed for."""

    def program(name: str, machine: str) -> bytes:
        code = SectionSpec(".text", bytes(512), characteristics=0x6000_0020)
        return pe.build([code], machine=recipes.MACHINES[machine], entry_point=0x1000)

    monkeypatch.setattr(guest, "program", program)


def test_there_are_cases_for_both_architectures_and_ways():
    assert len(CASES) >= 60
    for machine in recipes.MACHINES:
        assert sum(machine in case.architectures for case in CASES) >= 60
    assert sum("qemu" in case.by for case in CASES) >= 60


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_case_is_a_boot(tmp_path: Path, case: standard.Standard):
    for machine in case.architectures:
        folder = tmp_path / machine
        recipes.write(case.recipe(machine), stub(machine), machine, folder)
        made = efirun.load(folder)
        start = Start(
            esp=made.esp and str(made.esp), path=made.path, load_options=made.load_options, shell=made.shell,
            from_memory=made.from_memory, handover="none",
        )  # fmt: skip
        result = boot(uki.load(str(made.uki)), fixture.from_json(made.host), start)
        assert (result.outcome.status == "failed") == (case.name in FAILING)


def test_a_wrong_key_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(standard, "FOLDER", tmp_path)
    (tmp_path / "a.toml").write_text('shows = "x"\nload_option = "typo"\n')
    with pytest.raises(StubsimError, match="load_option"):
        standard.read(["a"])
    with pytest.raises(StubsimError, match="no such case"):
        standard.read(["b"])


def test_a_case_holds_or_differs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A stub that does what the simulator says holds, another one does not, and what cannot be booted says why."""
    path = tmp_path / "stub.efi"
    path.write_bytes(stub("x64"))
    tested, case = Stub(path, "262.1", "x64"), standard.read(["minimal"])[0]
    seen = {
        "outcome": "kernel-started", "efi_status": None, "selection": None, "load_options": None, "initrd": None,
        "devicetree": None, "measurements": None, "variables": None, "esp_changes": {}, "messages": [],
    }  # fmt: skip
    monkeypatch.setitem(runs.BOOT, "efirun", lambda case, image: dict(seen))
    assert verify.verify(case, tested, "efirun", None).verdict == "holds"
    monkeypatch.setitem(runs.BOOT, "efirun", lambda case, image: seen | {"load_options": "61000000"})
    result = verify.verify(case, tested, "efirun", tmp_path / "kept")
    assert result.verdict == "differs: load_options"
    assert (tmp_path / "kept/minimal@262.1/differs.json").is_file()

    def impossible(case: object, image: object) -> object:
        raise StubsimError("no machine")

    monkeypatch.setitem(runs.BOOT, "efirun", impossible)
    assert verify.verify(case, tested, "efirun", None).verdict == "not booted: no machine"
