"""The recordings that a systemd-boot started, with that systemd-boot (of golden-linux) in front of the stub.

Their probe is no Linux, so nothing is measured into PCR 9; the times of Loader* variables were not kept.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import NamedTuple

import pytest

from stubsim.cli import parsers
from stubsim.cli.start import start as start_of
from stubsim.explain.measure import measure_hosts
from stubsim.hosts import recognise
from stubsim.uki import load
from tests.conformance.comparisons import COMPARISONS, Json, Recording, booted
from tests.conftest import SHARED, recordings

# Whose systemd-boot is of the recording's release.
LOADERS = {"257.13": "sdauto257", "262.1": "sdauto262"}
CASES = [folder.name for folder in recordings() if folder.name.startswith("sdboot@")]
ARGUMENTS = ["--esp", "esp", "--entry", "default"]
TIMES = ("LoaderTimeInitUSec", "LoaderTimeExecUSec")


class Compared(NamedTuple):
    folder: Path
    recording: Recording
    boot: Json


@pytest.fixture(scope="module", params=CASES)
def compared(request: pytest.FixtureRequest, linux: Path, tmp_path_factory: pytest.TempPathFactory) -> Compared:
    """The recording with the boot file that its partition lacks, and what `stubsim boot` says of it."""
    name = request.param
    folder = tmp_path_factory.mktemp("sdboot") / name
    shutil.copytree(SHARED / "golden" / name, folder, copy_function=shutil.copyfile)
    (folder / "esp/EFI/BOOT").mkdir(parents=True)
    boot_file = "esp/EFI/BOOT/BOOTX64.EFI"
    shutil.copyfile(linux / LOADERS[name.partition("@")[2]] / boot_file, folder / boot_file)
    host, expected = (json.loads((folder / f"{part}.json").read_text()) for part in ("host", "expect"))
    return Compared(folder, Recording(name, host, ARGUMENTS, expected), booted(folder, ARGUMENTS))


@pytest.mark.parametrize("comparison", [name for name in COMPARISONS if name != "variables"])
def test_what_the_stub_did(comparison: str, compared: Compared):
    pair = COMPARISONS[comparison](compared.recording, compared.boot)
    if pair is None:
        pytest.skip("the recording holds nothing of it")
    ours, theirs = pair
    assert ours == theirs


def test_variables_of_loader_and_stub(compared: Compared):
    """In the order in which they were set; systemd-boot's own are its output, and the times are nobody's to know."""
    ours, theirs = COMPARISONS["variables"](compared.recording, compared.boot) or ({}, {})
    assert isinstance(ours, dict)
    times = {name: ours.pop(name) for name in TIMES}
    assert list(ours.items()) == list(theirs.items())
    assert times == {name: {"attributes": 6, "hex": None} for name in TIMES}
    assert not [line for line in compared.boot["assumed"] if "of the host file is not what" in line]


def test_pcr_4_is_that_of_loader_uki_and_inner_kernel(compared: Compared, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(compared.folder)
    parsed = parsers.one("boot").parse_args(["uki.efi", "--smbios", "host.json", *ARGUMENTS])
    case = measure_hosts(load("uki.efi"), [("it", recognise.load("host.json"))], start_of(parsed)).cases[0]
    assert case.pcrs["sha256"][4].hex() == compared.recording.expected["pcrs"]["4"]


def test_what_the_loader_measures_is_not_measured_again(compared: Compared):
    """262.1 measures SMBIOS where 257.13's stub has none of it; loader.conf is measured by both."""
    log = [row for row in compared.boot["measurements"] if row["by"] == "loader" and row["pcr"] == 1]
    is_262 = compared.recording.name.endswith("262.1")
    assert [row["description"] for row in log] == (["smbios:type1", "smbios:type2"] if is_262 else [])
    assert [row["by"] for row in compared.boot["measurements"] if row["pcr"] in (1, 5)] == ["loader"] * (len(log) + 1)
