"""Every recorded boot of a real stub, compared with the simulated one, key by key.

The recordings lie outside the repository; a selection of their facts is kept in fixtures/golden, see test_own_golden.
"""

from __future__ import annotations

import json
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

from stubsim.cli import parsers
from stubsim.cli.start import start as start_of
from stubsim.explain.measure import measure_hosts
from stubsim.formats import pe
from stubsim.hosts import recognise
from stubsim.simulation import boot
from stubsim.trace import ImageLoaded
from stubsim.uki import load
from tests.conformance.comparisons import COMPARISONS, Json, Recording, booted
from tests.conftest import recordings

# Folders of recordings; their READMEs say how each was made.
KINDS = ("golden", "golden-releases", "golden-aa64", "golden-stubble")
RECORDINGS = [folder for kind in KINDS for folder in recordings(kind)]
pytestmark = pytest.mark.skipif(not RECORDINGS, reason="no recordings (STUBSIM_SHARED)")

# The probe's own code was cut short by the firmware's loader: the recording says nothing about the stub.
# On aa64 the firmware jumps beyond the other kernel, whose entry point lies there.
UNDEFINED = {
    "golden/kernel-rawlarger@257.13",
    "golden-aa64/kernel-rawlarger@257.13",
    "golden-aa64/kernel-entry-outside@257.13",
}


def name_of(folder: Path) -> str:
    return f"{folder.parent.name}/{folder.name}"


@cache
def recorded(folder: Path) -> Recording:
    parts = (json.loads((folder / f"{name}.json").read_text()) for name in ("host", "boot", "expect"))
    host, boot, expected = parts
    return Recording(folder.name, host, boot["args"], expected)


@cache
def simulated(folder: Path) -> Json:
    return booted(folder, recorded(folder).args)


def test_there_are_recordings_of_every_class():
    selections = [recorded(folder).expected["selection"] or {} for folder in RECORDINGS]
    classes = Counter(kind for chosen in selections for kind, sections in chosen.items() if sections)
    assert classes["efifw"] >= 10
    assert classes["dtbauto"] >= 10


def test_undefined_outcomes_are_those_of_broken_kernels():
    """LoadImage() copies the smaller of both sizes, here less than the code, or jumps to where nothing was loaded."""
    undefined = {folder for folder in RECORDINGS if recorded(folder).expected["outcome"] == "undefined"}
    assert {name_of(folder) for folder in undefined} <= UNDEFINED
    for folder in undefined:
        uki = load(str(folder / "uki.efi"))
        kernel = uki.inner(next(section for section in uki.image.sections if section.name == ".linux"))
        cut = [row.name for row in kernel.sections if row.raw_size > row.virtual_size]
        beyond = kernel.entry_point >= kernel.size_of_image
        assert (cut, beyond) == (([".text"], False) if "rawlarger" in folder.name else ([], True)), folder
        assert simulated(folder)["outcome"]["status"] == "kernel-started"


@pytest.mark.parametrize("comparison", COMPARISONS)
@pytest.mark.parametrize("folder", RECORDINGS, ids=name_of)
def test_recording(folder: Path, comparison: str):
    recording = recorded(folder)
    if recording.expected["outcome"] == "undefined":
        assert name_of(folder) in UNDEFINED
        pytest.skip("the recording says that its outcome is undefined")
    pair = COMPARISONS[comparison](recording, simulated(folder))
    if pair is None:
        pytest.skip("the recording holds nothing of it")
    ours, theirs = pair
    assert ours == theirs


def images_are_recorded(folder: Path) -> bool:
    recording = recorded(folder)
    return recording.kernel_started and bool(recording.expected.get("pcr4_events"))


# Of the others tests/cli/test_measure.py compares the register.
STARTED = [folder for kind in ("golden-releases", "golden-stubble") for folder in recordings(kind)]
LAUNCHED = [folder for kind in ("golden", "golden-aa64") for folder in recordings(kind) if "launch" in folder.name]


@pytest.mark.parametrize("folder", [*filter(images_are_recorded, [*STARTED, *LAUNCHED])], ids=name_of)
def test_pcr_4(folder: Path, monkeypatch: pytest.MonkeyPatch):
    """Of each image that goes through LoadImage() the digest, behind what the lab has started the UKI with.

    A stub without its code has another Authenticode digest: then it is their number.
    """
    monkeypatch.chdir(folder)
    arguments = parsers.one("boot").parse_args(["uki.efi", "--smbios", "host.json", *recorded(folder).args])
    uki, host, start = load("uki.efi"), recognise.load("host.json"), start_of(arguments)
    result = boot(uki, host, start)
    loaded = [event for event in result.events(ImageLoaded) if event.subsystem == pe.APPLICATION]
    ours = [uki.authenticode("sha256", event.data).hex() for event in loaded]
    theirs = recorded(folder).expected["pcr4_events"]
    assert len(theirs) - len(ours) in (0, 1)
    if "not_comparable" not in json.loads((folder / "boot.json").read_text()):
        assert ours == theirs[-len(ours) :]
        if len(ours) == len(theirs):
            (case,) = measure_hosts(uki, [("it", host)], start).cases
            assert case.pcrs["sha256"][4].hex() == recorded(folder).expected["pcrs"]["4"]
