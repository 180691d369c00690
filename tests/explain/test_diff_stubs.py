"""Which rows of the table make two stubs boot differently; the whole call is in tests/cli/test_diff.py."""

from __future__ import annotations

from itertools import pairwise

import pytest

from stubsim.explain.diff import differing
from stubsim.explain.diff_stubs import StubChange, stub_changes
from stubsim.formats.pe import SectionSpec
from stubsim.hosts import Console
from stubsim.result import Boot
from stubsim.simulation import boot
from stubsim.start import Start
from stubsim.stub.models import model_of
from stubsim.stub.releases import CHANGES, changes, fields
from stubsim.systemd.release import KNOWN, Release
from stubsim.uki import Uki
from tests.explain.test_why import DT, FW, HOST, OTHER, OWN, made
from tests.samples import devicetree, firmware

MACHINE = HOST._replace(tpm=("sha256",), console=Console(serial=(0x3F8,)))
START = Start(load_options="quiet\ttoo".encode("utf-16-le"))
FULL = made(
    [(DT, OWN[3], "example,board"), (FW, OWN[3], "fw")],
    SectionSpec(".uname", b"6.12"),
    SectionSpec(".ucode", b"microcode"),
    devicetree(),
    firmware(),
    SectionSpec(".profile", b"ID=main"),
)


def booted(stub: str, image: Uki = FULL, start: Start = START) -> Boot:
    return boot(image, MACHINE, start._replace(stub=stub))


def named(a: str, b: str, image: Uki = FULL, start: Start = START) -> dict[str, StubChange]:
    rows = stub_changes(booted(a, image, start), booted(b, image, start), start, differing)
    assert rows is not None
    return {row.row.name: row for row in rows}


@pytest.mark.parametrize(
    ("a", "b", "rows"),
    [
        ("258.10", "259.0", {"control-characters": ["cmdline", "measurements"]}),
        ("261.1", "261.2", {"all-consoles": ["cmdline"]}),
        ("258.0", "258.9", {}),
        (
            "260.4",
            "261.0",
            {
                "firmware-selection": ["selection", "sections", "measurements"],
                "features-261": ["variables"],
                "smbios": ["variables", "unknown"],
            },
        ),
    ],
)
def test_rows_between_two_releases(a: str, b: str, rows: dict[str, list[str]]):
    assert {name: [*row.changes] for name, row in named(a, b).items()} == rows


def test_what_a_row_changes_by_name():
    found = named("252.39", "256.0")
    assert found["ucode"].changes == {
        "sections": {".ucode"},
        "initrd": {"ucode", "whole"},
        "measurements": {"PCR 11"},
        "memory": {"initrd"},
    }
    assert found["uname-and-sbat"].changes["sections"] == {".uname"}


def test_whose_row_it_is():
    """260.3 and later points got what 261.0 has not."""
    sides = {name: row.side for name, row in named("260.4", "261.0").items()}
    assert sides == {"firmware-selection": "a", "features-261": "b", "smbios": "b"}
    assert {name: row.side for name, row in named("261.0", "260.4").items()} == {
        name: {"a": "b", "b": "a"}[side] for name, side in sides.items()
    }


def test_only_together():
    """All consoles are named only where one is at all, and one alone is none before a screen."""
    found = named("260.4", "262.1")
    assert {name: row.alone for name, row in found.items() if "cmdline" in row.changes} == {
        "console": False,
        "all-consoles": False,
    }
    assert named("261.1", "262.1")["all-consoles"].alone


def test_one_message_by_two_rows():
    """The error of a miss lost its status, and then was no error any more."""
    image = made([(DT, OTHER, "example,other")], devicetree())
    found = named("257.11", "262.1", image)
    text = "HWID matching failed, no DT blob will be selected"
    assert found["miss-without-status"].changes == {"messages": {f"{text}: Not found", f"{text}."}}
    assert found["silent-miss"].changes == {"messages": {f"{text}."}}


@pytest.mark.parametrize("pair", [*pairwise((*KNOWN[::23], KNOWN[-1]))], ids="{0[0]}-{0[1]}".format)
def test_the_rows_make_the_whole_difference(pair: tuple[Release, Release]):
    """The first stub with just these rows turned over boots as the second does."""
    for first, last in (pair, pair[::-1]):
        turned = {name for name, row in named(str(first), str(last)).items()}
        rows = {row.name for row in changes(first)} ^ turned
        model = model_of(first)._replace(**fields(row for row in CHANGES if row.name in rows))
        boots = (boot(FULL, MACHINE, START._replace(stub=each)) for each in (model, str(last)))
        assert differing(*boots) == {}


@pytest.mark.parametrize(("a", "b"), [("262", "next"), ("fuki", "262"), ("stubble", "262")])
def test_no_release(a: str, b: str):
    assert stub_changes(booted(a), booted(b), START, differing) is None
