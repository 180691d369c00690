from __future__ import annotations

import pytest

from stubsim.formats.efi_string import utf16z
from stubsim.linux.measure import measurements, refuses_initrd
from stubsim.linux.releases import model_of

OPTIONS = utf16z("quiet")
BOTH = ["LOADED_IMAGE::LoadOptions", "Linux initrd"]


def texts(
    version: tuple[int, int], options: bytes | None = OPTIONS, initrd: bool = True, protocol: str = "tcg2"
) -> list[str]:
    return [row.description for row in measurements(model_of(version), options, initrd=initrd, protocol=protocol)]


@pytest.mark.parametrize(
    ("version", "expected"),
    [((5, 16), []), ((5, 17), BOTH[1:]), ((6, 0), BOTH[1:]), ((6, 1), BOTH), ((6, 12), BOTH), ((7, 2), BOTH)],
)
def test_by_release(version: tuple[int, int], expected: list[str]):
    assert texts(version) == expected


def test_what_is_not_there_is_not_measured():
    assert texts((7, 2), options=None) == BOTH[1:]
    assert texts((7, 2), options=b"") == BOTH[1:]
    assert texts((7, 2), options=b"x") == BOTH
    assert texts((7, 2), initrd=False) == BOTH[:1]
    assert texts((7, 2), options=utf16z("quiet noinitrd")) == BOTH[:1]


def test_by_protocol():
    assert texts((6, 8), protocol="cc") == []
    assert texts((6, 9), protocol="cc") == BOTH
    assert texts((7, 2), protocol="none") == []


def test_event_data():
    load_options, initrd = measurements(model_of((7, 2)), OPTIONS, initrd=True, protocol="tcg2")
    assert load_options.data == bytes.fromhex("ed223b8f 1a000000") + b"LOADED_IMAGE::LoadOptions\0"
    assert initrd.data == bytes.fromhex("ec223b8f 0d000000") + b"Linux initrd\0"


@pytest.mark.parametrize(
    ("line", "refused"),
    [("noinitrd", True), ("a noinitrd=1 b", True), ("xnoinitrd", False), ("-- noinitrd", False), ("", False)],
)
def test_noinitrd(line: str, refused: bool):
    assert refuses_initrd(utf16z(line)) == refused
