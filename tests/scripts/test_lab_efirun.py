"""The stub's own code in efirun beside the same boots recorded in QEMU: what efirun says is what the recordings say."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from scripts.lab import efirun
from stubsim import uki

# One recording for each thing that efirun has to have.
CASES = [
    "addon-order-mixed@262.1", "basic@257.13", "chid-priority-6v4@262.1", "console-virtio-serial@262.1",
    "dtb-garbage@257.13", "efifw-both@262.1", "hwids-off-nonmatch-compat@257.13", "launch-edid-type16@262.1",
    "launch-fwdtb-match@262.1", "launch-prev-initrd-none@257.13", "loadopt-nonul@262.1", "no-tpm@262.1",
    "ovmf2026-keyboard@262.1", "prior-vars@262.1", "profile-at2@257.13", "sb-addons@262.1", "seed@257.13",
    "shell-args@262.1", "sidecars-all@262.1", "tpm-4banks@262.1",
]  # fmt: skip
# Drawn at random there, a counter here.
RANDOM = {"ovmf2026-keyboard@262.1": ("initrd", "variables")}


@pytest.fixture(scope="module")
def compiler(oracle: Callable[[str], str]) -> str:
    return oracle("x86_64-linux-gnu-gcc")


@pytest.mark.oracle
@pytest.mark.parametrize("name", CASES)
def test_efirun_says_what_was_recorded(shared: Path, compiler: str, name: str):
    folder = shared / "golden" / name
    if not folder.is_dir():
        pytest.skip("no recordings of this case")
    expected = json.loads((folder / "expect.json").read_text())
    case = efirun.load(folder)
    seen = efirun.run(case, uki.load(os.fspath(case.uki)))
    random = RANDOM.get(name, ())
    for key in ("outcome", "load_options", "measurements"):
        assert seen[key] == expected[key], key
    # Without a TPM nothing tells what was selected.
    assert seen["selection"] == (expected["selection"] if expected["measurements"] else None)
    if "initrd" not in random:
        assert (seen["initrd"] or {}).get("sha256") == (expected["initrd"] or {}).get("sha256")
    if "window" not in (expected["devicetree"] or {}):
        assert (seen["devicetree"] or {}).get("sha256") == (expected["devicetree"] or {}).get("sha256")
    for register in ("11", "12", "13"):
        assert seen["pcrs"].get("sha256", {}).get(register) == (expected["pcrs"] or {}).get(register)
    values = {key: (row["attributes"], row["hex"]) for key, row in seen["variables"].items()}
    recorded = {key: (row["attributes"], row["hex"]) for key, row in expected["variables"].items()}
    assert values.keys() == recorded.keys()
    if "variables" not in random:
        assert values == recorded
    assert {path: row["size"] for path, row in seen["esp_changes"].items()} == {
        path: row["size"] for path, row in expected["esp_changes"].items()
    }
