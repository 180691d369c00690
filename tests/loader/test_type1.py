from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stubsim.loader.entry import Entry, Hidden, Tries, parse_tries
from stubsim.loader.releases import model_of
from stubsim.loader.type1 import parse, valid_name


def entry(text: str, file: str = "Lab.conf", release: str = "262.1", exists: bool = True) -> Entry | Hidden:
    return parse(
        text.encode(), file, "esp", model_of(release),
        machine="x64", own_path="\\EFI\\BOOT\\BOOTX64.EFI", exists=lambda _: exists,
    )  # fmt: skip


def hidden(text: str, **options: object) -> str:
    row = entry(text, **options)  # type: ignore[arg-type]
    assert isinstance(row, Hidden)
    return row.why


def test_all_keys_that_reach_the_stub():
    assert entry(
        "title L\nversion 1\nmachine-id abc\nsort-key k\nlinux /a//b.efi\ninitrd /i\ninitrd /j\n"
        "options a=1\noptions  b=2\n"
        "devicetree /d.dtb\nprofile 3\narchitecture X64\nextra /x.cred\n"
    ) == Entry(
        id="lab.conf", kind="linux", file="\\loader\\entries\\Lab.conf", loader="\\a\\b.efi", title="L", version="1",
        machine_id="abc", sort_key="k", options="a=1 b=2", profile=3, initrds=("\\i", "\\j"), devicetree="\\d.dtb",
        extras=("\\x.cred",),
    )  # fmt: skip


def test_a_release_takes_the_keys_that_it_knows():
    assert hidden("uki /a.efi", release="257") == "it does not name an image"
    old = entry("efi /a.efi\nprofile 3\nextra /x", release="257")
    assert isinstance(old, Entry)
    assert (old.profile, old.extras) == (0, ())


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("title x", "it does not name an image"),
        ("efi /EFI/boot/bootx64.efi", "it is systemd-boot itself"),
        ("efi /a.efi\narchitecture aa64", "for architecture aa64"),
        ("efi /a.efi\nlinux /b", "efi and linux: one image only"),
        ("uki-url :x.efi", "uki-url :x.efi: systemd-boot itself was not started from a URL"),
    ],
)
def test_hidden(text: str, why: str):
    assert hidden(text) == why


@pytest.mark.parametrize(
    ("text", "release", "options"),
    [
        ('options a\noptions ""\noptions b', "257.13", "a (null) b"),
        ('options a\noptions ""\noptions b', "258", "a  b"),
        ('options ""\noptions a', "257.13", "a"),
        ('options ""\noptions a', "262.1", " a"),
        ('options ""', "254.26", None),
        ('options ""', "262.1", ""),
        ("options 'a b'", "257.10", "'a b'"),
        ("options 'a b'", "257.11", "a b"),
    ],
)
def test_options_that_are_empty_or_quoted(text: str, release: str, options: str | None):
    """By systemd-boot's own code of 252.39, 254.26, 257.13 and 262.1."""
    row = entry(f"linux /a\n{text}\n", release=release)
    assert isinstance(row, Entry)
    assert row.options == options


def test_an_empty_sort_key_is_none():
    old, new = (entry('linux /a\nsort-key k\nsort-key ""\n', release=release) for release in ("257.13", "262.1"))
    assert isinstance(old, Entry)
    assert isinstance(new, Entry)
    assert (old.sort_key, new.sort_key) == (None, "")


def test_the_last_of_two_images_counts_where_two_are_taken():
    row = entry("efi /a.efi\nlinux /b", release="257")
    assert isinstance(row, Entry)
    assert (row.kind, row.loader) == ("linux", "\\b")


def test_an_image_that_is_not_there_hides_the_entry():
    assert hidden("linux /a", exists=False) == "\\a does not exist"


def test_boot_counting():
    row = entry("linux /a", file="Lab+3-1.conf")
    assert isinstance(row, Entry)
    assert row.id == "lab.conf"
    assert row.tries == Tries(3, 1, "\\loader\\entries", "Lab+3-1.conf", "Lab+2-2.conf")
    old = entry("linux /a", file="Lab+3-1.conf", release="257")
    assert isinstance(old, Entry)
    assert old.id == "lab+3-1.conf"
    between = entry("linux /a", file="Lab+3-1.conf", release="257.10")
    assert isinstance(between, Entry)
    assert between.id == "Lab.conf"


@pytest.mark.parametrize(
    ("file", "name", "after"),
    [
        ("lab+3.efi", "lab.efi", "lab+2-1.efi"),
        ("lab+0-4.efi", "lab.efi", "lab+0-5.efi"),
        ("a+b+1.EFI", "a+b.efi", "a+b+0-1.efi"),
        ("lab+4-0.efi", "lab.efi", "lab+3-1.efi"),
    ],
)
def test_tries(file: str, name: str, after: str):
    counted = parse_tries("\\EFI\\Linux", file, ".efi", folds=True)
    assert counted is not None
    assert (counted[0], counted[1].next) == (name, after)


@pytest.mark.parametrize("file", ["lab.efi", "lab+.efi", "lab+x.efi", "lab+1x.efi", "lab+1-.efi", "lab+2147483648.efi"])
def test_no_tries(file: str):
    assert parse_tries("\\EFI\\Linux", file, ".efi", folds=True) is None


@pytest.mark.parametrize(
    ("file", "valid"),
    [("a.conf", True), ("A.CONF", True), (".a.conf", False), ("Auto-a.conf", False), ("a.cfg", False), ("", False)],
)
def test_names(file: str, valid: bool):
    assert valid_name(file, model_of("262.1")) == valid


@given(st.binary(max_size=80), st.sampled_from(["252", "257", "258", "262.1"]))
def test_any_bytes(content: bytes, release: str):
    row = parse(content, "a.conf", "esp", model_of(release), machine="x64", own_path=None, exists=lambda _: True)
    assert isinstance(row, (Entry, Hidden))


@pytest.mark.parametrize(("old", "new"), [("252.18", "252.19"), ("253.12", "253.13"), ("254.5", "254.6")])
def test_a_line_of_blanks_swallows_what_follows(old: str, new: str):
    text = "linux /a.efi\n  \noptions a\ninitrd /i\n"
    for release, options, initrds in ((old, "a\ninitrd /i\n", ()), (new, "a", ("\\i",))):
        row = entry(text, release=release)
        assert isinstance(row, Entry)
        assert (row.options, row.initrds) == (options, initrds)


@pytest.mark.parametrize(("release", "paths"), [("252.2", ("\\i", "\\j")), ("252.3", ("i", "\\j"))])
def test_the_backslash_of_the_oldest(release: str, paths: tuple[str, str]):
    row = entry("linux /a.efi\ninitrd i\ninitrd //j\n", release=release)
    assert isinstance(row, Entry)
    assert row.initrds == paths


@pytest.mark.parametrize("release", ["252.12", "262.1"])
def test_many_options(release: str):
    row = entry("linux /a\n" + "options abcdefgh\n" * 3_000, release=release)
    assert isinstance(row, Entry)
    assert row.options == " ".join(["abcdefgh"] * 3_000)
