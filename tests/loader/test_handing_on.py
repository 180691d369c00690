from __future__ import annotations

from pathlib import Path

import pytest

from stubsim.loader.entry import Entry
from stubsim.loader.handing_on import initrd, load_options
from stubsim.loader.releases import model_of
from stubsim.uefi.esp import Esp

EXTRA = [b"io.systemd.boot.kernel-cmdline-extra=e=1", b"io.systemd.boot.kernel-cmdline-extra=f=1"]


def entry(kind: str = "linux", **fields: object) -> Entry:
    return Entry("x", kind, None, "\\x", **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("row", "oem", "text"),
    [
        (entry(), [], None),
        (entry(options="a=1"), [], "a=1"),
        (entry("type2", options="a=1", options_implied=True), EXTRA, None),
        (entry("type2", options="a=1", options_implied=True, profile=2), [], "@2"),
        (entry("uki", options="a=1", profile=1), EXTRA, "@1 a=1"),
        (entry(options="a=1", initrds=("\\i", "\\j")), [], "initrd=\\i initrd=\\j a=1"),
        (entry("efi", options="a=1", initrds=("\\i",)), [], "a=1"),
        (entry(), EXTRA, "e=1"),
        (entry(options="a=1"), EXTRA, "a=1 e=1"),
        (entry(options=""), [], ""),
    ],
)
def test_load_options(row: Entry, oem: list[bytes], text: str | None):
    assert load_options(row, model_of(262), oem) == text


def test_releases_before_255_append_nothing():
    assert load_options(entry(options="a=1"), model_of(254), EXTRA) == "a=1"


@pytest.fixture
def esp(tmp_path: Path) -> Esp:
    for name, data in (("i", b"12345"), ("j", b""), ("k", b"123")):
        (tmp_path / name).write_bytes(data)
    return Esp(str(tmp_path))


@pytest.mark.parametrize(
    ("row", "release", "pieces"),
    [
        (entry(), 262, None),
        (entry("uki", initrds=("\\i",)), 262, None),
        (entry(initrds=("\\i", "\\j", "\\k")), 262, b"12345\0\0\x00123"),
        (entry(initrds=("\\i", "\\k")), 254, b"12345123"),
        (entry(initrds=("\\i",)), 262, b"12345"),
    ],
)
def test_initrd(esp: Esp, row: Entry, release: int, pieces: bytes | None):
    made = initrd(row, esp, model_of(release))
    assert not isinstance(made, str)
    assert (None if made is None else b"".join(map(bytes, made))) == pieces


def test_a_missing_initrd_is_named(esp: Esp):
    assert initrd(entry(initrds=("\\i", "\\x")), esp, model_of(262)) == "\\x"
