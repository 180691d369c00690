"""What a plain boot loads: start-up time is mostly a matter of how much that is."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.samples import FULL_UKI, written

# Another stage, another command, another view, or the price of one.
STAGES = ("stubsim.loader", "stubsim.shim", "stubsim.handover", "stubsim.uefi.measured", "stubsim.uefi.platform")
COMMANDS = ("stubsim.lint", "stubsim.fleet", "stubsim.testing", "stubsim.explain", "stubsim.schemas", "stubsim.doubt")
LIBRARIES = ("rich", "elftools", "cryptography", "jsonschema", "dataclasses", "inspect", "pathlib", "shutil", "difflib")
# For each of them there is one that a boot as JSON does need.
NEEDED = {"stubsim.explain", "stubsim.explain.selection"}
# A quarter of a millisecond each, whatever is in it.
MODULES = 120


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("start")
    (folder / "a.efi").write_bytes(FULL_UKI)
    host = written(folder, "host.json", {"smbios": {}})
    code = (
        "import sys; from stubsim.cli import main; assert main(sys.argv[1:]) in (0, 1);"
        "print(*sys.modules, file=sys.stderr)"
    )
    # -S: what the interpreter's site packages import by themselves is not ours.
    paths = f"import sys; sys.path[:0] = {[path for path in sys.path if path]!r}; "
    call = [sys.executable, "-S", "-c", paths + code, "boot", str(folder / "a.efi"), "--smbios", str(host)]
    done = subprocess.run([*call, "--format", "json"], capture_output=True, text=True, check=True)
    return done.stderr.split()


@pytest.mark.parametrize("name", [*STAGES, *COMMANDS, *LIBRARIES])
def test_a_plain_boot_does_not_load(name: str, loaded: list[str]):
    within = {module for module in loaded if module == name or module.startswith(f"{name}.")}
    assert within <= NEEDED


def test_the_other_views_are_not_loaded(loaded: list[str]):
    assert {module for module in loaded if module.startswith("stubsim.views.")} == {"stubsim.views.json"}


def test_there_are_not_more_and_more_of_ours(loaded: list[str]):
    ours = [module for module in loaded if module.startswith("stubsim")]
    assert "stubsim.simulation" in ours
    assert len(ours) <= MODULES, f"{len(ours)}: is the new one needed by every boot?"
