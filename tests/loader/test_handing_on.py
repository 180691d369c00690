from __future__ import annotations

from pathlib import Path

import pytest

from stubsim.formats import cpio
from stubsim.loader.entry import Entry
from stubsim.loader.handing_on import extras, ignored_extras, initrd, load_options
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
        (entry(options="a=1", initrds=("\\i", "\\k")), [], "initrd=\\i initrd=\\k a=1"),
        (entry("efi", options="a=1", initrds=("\\i",)), [], "a=1"),
        (entry(), EXTRA, "e=1"),
        (entry(options="a=1"), EXTRA, "a=1 e=1"),
        (entry(options=""), [], ""),
    ],
)
def test_load_options(esp: Esp, row: Entry, oem: list[bytes], text: str | None):
    assert load_options(row, model_of("262.1"), esp, oem) == text


IMPLIED = entry("type2", options="a=1", options_implied=True)


@pytest.mark.parametrize(
    ("row", "release", "text"),
    [
        (entry(options="a=1"), "255.22", "a=1"),
        (entry(options="a=1"), "256", "a=1 e=1"),
        (entry(), "256", "(null) e=1"),
        (entry(options=""), "256", " e=1"),
        (entry(), "257", "e=1"),
        (IMPLIED, "254.27", "a=1"),
        (IMPLIED, "255", None),
    ],
)
def test_load_options_of_a_release(row: Entry, release: str, text: str | None):
    assert load_options(row, model_of(release), Esp(None), EXTRA) == text


@pytest.mark.parametrize(
    ("row", "release", "text"),
    [
        (entry(options="a"), "256", "a (null)"),
        (entry(), "256", "(null) (null)"),
        (entry(options="a"), "257.13", "a (null)"),
        (entry(options="a"), "258", "a "),
        (entry(), "257.13", None),
        (entry(), "262.1", ""),
    ],
)
def test_an_empty_line_from_smbios(row: Entry, release: str, text: str | None):
    """By systemd-boot's own code of 257.13 and 262.1; 256 by its source."""
    assert load_options(row, model_of(release), Esp(None), [b"io.systemd.boot.kernel-cmdline-extra="]) == text


def test_a_folder_is_no_initrd(esp: Esp, tmp_path: Path):
    (tmp_path / "folder").mkdir()
    assert initrd(entry(initrds=("\\folder",)), Esp(str(tmp_path)), model_of("262.1")) == []


def test_an_empty_initrd_is_named_up_to_258_2(esp: Esp):
    row = entry(initrds=("\\i", "\\j"), options="a")
    assert load_options(row, model_of("258.2"), esp) == "initrd=\\i initrd=\\j a"
    assert load_options(row, model_of("258.3"), esp) == "initrd=\\i a"
    assert load_options(entry(initrds=("\\j",)), model_of("259"), esp) is None


@pytest.fixture
def esp(tmp_path: Path) -> Esp:
    for name, data in (("i", b"12345"), ("j", b""), ("k", b"123")):
        (tmp_path / name).write_bytes(data)
    return Esp(str(tmp_path))


@pytest.mark.parametrize(
    ("row", "release", "pieces"),
    [
        (entry(), "262.1", None),
        (entry("uki", initrds=("\\i",)), "262.1", None),
        (entry(initrds=("\\i", "\\j", "\\k")), "262.1", b"12345\0\0\x00123"),
        (entry(initrds=("\\i", "\\k")), "256.6", b"12345123"),
        (entry(initrds=("\\i", "\\k")), "256.7", b"12345\0\0\x00123\0"),
        (entry(initrds=("\\i",)), "262.1", b"12345"),
    ],
)
def test_initrd(esp: Esp, row: Entry, release: str, pieces: bytes | None):
    made = initrd(row, esp, model_of(release))
    assert not isinstance(made, str)
    assert (None if made is None else b"".join(map(bytes, made))) == pieces


def test_a_missing_initrd_is_named(esp: Esp):
    assert initrd(entry(initrds=("\\i", "\\x")), esp, model_of("262.1")) == "\\x"


@pytest.fixture
def extras_esp(tmp_path: Path) -> Esp:
    files = {"One.cred": b"1", "two.CRED": b"22", "a.sysext.raw": b"s" * 5, "b.confext.raw": b"c", "c.addon.efi": b"MZ"}
    for name, data in (files | {"empty.cred": b"", "d.raw": b"d", "\u00fc.cred": b"u"}).items():
        (tmp_path / name).write_bytes(data)
    return Esp(str(tmp_path))


def test_extra_files_by_kind(extras_esp: Esp):
    """Inodes go through all archives in the entry's order; folders stand in front of each file (load_extras)."""
    row = entry("uki", extras=("\\b.confext.raw", "\\one.cred", "\\a.sysext.raw", "\\two.cred", "\\gone.cred"))
    made = extras(row, extras_esp)
    assert [(kind.pcr, kind.description) for kind, _ in made] == [
        (12, "Entry credentials initrd"),
        (13, "Entry system extension initrd"),
        (12, "Entry configuration extension initrd"),
    ]
    members = [[*cpio.parse(b"".join(map(bytes, parts)))] for _, parts in made]
    named = [[(row.name, row.ino, oct(row.mode)) for row in archive[:-1]] for archive in members]
    assert named == [
        [
            (".extra", 4, "0o40555"), (".extra/credentials", 5, "0o40500"),
            (".extra/credentials/One.cred", 6, "0o100400"),
            (".extra", 10, "0o40555"), (".extra/credentials", 11, "0o40500"),
            (".extra/credentials/two.CRED", 12, "0o100400"),
        ],
        [(".extra", 7, "0o40555"), (".extra/sysext", 8, "0o40555"), (".extra/sysext/a.sysext.raw", 9, "0o100444")],
        [(".extra", 1, "0o40555"), (".extra/confext", 2, "0o40555"), (".extra/confext/b.confext.raw", 3, "0o100444")],
    ]  # fmt: skip
    assert all(archive[-1].is_trailer for archive in members)
    assert ignored_extras(row, extras_esp) == [("\\gone.cred", "there is no such file")]


def test_extra_files_that_are_passed_over(extras_esp: Esp):
    names = ("\\c.addon.efi", "\\empty.cred", "\\d.raw", "\\\u00fc.cred")
    row = entry("uki", extras=names)
    assert extras(row, extras_esp) == []
    assert [(path, why.partition(" (")[0]) for path, why in ignored_extras(row, extras_esp)] == [
        (names[0], "no credential and no extension"),
        (names[1], "it is empty"),
        (names[2], "no credential and no extension"),
        (names[3], "its name is not ASCII"),
    ]
    assert extras(entry("linux", extras=("\\One.cred",)), extras_esp) == []
