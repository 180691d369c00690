"""The table of systemd-boot's releases: what each row begins with, by the tags named in it."""

from __future__ import annotations

from itertools import pairwise

import pytest

from stubsim.formats import pe
from stubsim.formats.pe import SectionSpec
from stubsim.loader.config import Config
from stubsim.loader.entries import Wanted, compare, default_entry
from stubsim.loader.entry import Entry, Hidden, Tries, parse_tries
from stubsim.loader.releases import CHANGES, LoaderModel, model_of, release_of
from stubsim.loader.type2 import entries, valid_name
from stubsim.systemd.release import KNOWN, NEWEST, OLDEST, Change
from tests import samples


def models() -> list[LoaderModel]:
    return [model_of(str(release)) for release in KNOWN]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.name)
def test_a_row_is_seen_at_each_of_its_borders(change: Change):
    for border in change.borders:
        before = KNOWN[KNOWN.index(border) - 1]
        assert change.holds(border)
        assert not change.holds(before) or before.major != border.major
        assert model_of(str(border)) != model_of(str(before))._replace(release=border) or before.major != border.major


def test_every_field_is_set_by_a_row():
    changed = {key for change in CHANGES for key in change.sets}
    assert changed == set(LoaderModel._fields) - {"release"}


# By the tags' own export_variables() and efivars-fundamental.h.
FEATURES = {
    252: 0x7FF, 253: 0x7FF, 254: 0x1FFF, 255: 0x3FFF, 256: 0x3FFF, 257: 0x7FFF, 258: 0x7FFFF, 259: 0x7FFFF,
    260: 0xFFFFF, 261: 0x3FFFFF, 262: 0x3FFFFF,
}  # fmt: skip


def test_features():
    assert {model.release.major: model.features for model in models()} == FEATURES


@pytest.mark.parametrize(
    ("field", "without", "having"),
    [
        ("strips_counter", "257.9 258 256.17", "257.10 257.13 258.1 259 262.1"),
        ("keeps_profile_behind_counter", "257.13 258.2", "258.3 259"),
        ("lowers_counted_ids", "257.13 258.10", "259"),
        ("prefers_entry", "259.8", "260 261"),
        ("measures_loader_conf", "252.39 254.27", "255"),
        ("lists_profiles_without_cmdline", "257.5", "257.6 258"),
        ("counts_on_own_partition", "252.13 253.7 254", "252.14 253.8 254.1 255"),
        ("appends_smbios_extra", "255.22", "256"),
        ("measures_smbios_by_cc", "261.2", "262"),
    ],
)
def test_since_when(field: str, without: str, having: str):
    assert [getattr(model_of(text), field) for text in without.split()] == [False] * len(without.split())
    assert [getattr(model_of(text), field) for text in having.split()] == [True] * len(having.split())


def test_keys_by_release():
    keys = {model.release.major: set(model.type1_keys) for model in models()}
    assert keys[257] == set()
    assert keys[258] == {"uki", "uki-url"}
    assert keys[259] - keys[258] == {"profile"}
    assert keys[261] - keys[260] == {"extra"}


def test_versions():
    assert release_of("262.1-1") == NEWEST
    assert str(release_of("258")) == "258.0"
    assert release_of("257.13-1~deb13u1") is not None
    assert [release_of(text) for text in ("262~rc1", "300", "257.99", "251.4", "x", "261~devel")] == [None] * 6
    assert model_of("300").release == NEWEST
    assert model_of("x").release == OLDEST


def uki(*sections: SectionSpec) -> bytes:
    base = (SectionSpec(".osrel", b"ID=x\nPRETTY_NAME=X\n"), SectionSpec(".linux", samples.KERNEL))
    return pe.build([*base, *sections])


PROFILES = (SectionSpec(".profile", b"ID=a\n"), SectionSpec(".profile", b"ID=B\n"))


def listed(release: str, file: str, *sections: SectionSpec) -> list[str]:
    return names(uki(*sections), release, file)


def names(data: bytes, release: str, file: str = "lab.efi") -> list[str]:
    rows = entries(data, file, "esp", model_of(release), machine="x64")
    return [row.id if isinstance(row, Entry) else f"hidden: {row.why}" for row in rows]


@pytest.mark.parametrize(
    ("release", "ids"),
    [
        ("257.9", ["lab+3.efi", "lab+3.efi@b"]),
        ("257.10", ["Lab.efi", "Lab.efi"]),
        ("258.2", ["Lab.efi", "Lab.efi"]),
        ("258.3", ["Lab.efi", "Lab.efi@B"]),
        ("261.2", ["Lab.efi", "Lab.efi@B"]),
        ("262.1", ["lab.efi", "lab.efi@b"]),
    ],
)
def test_ids_of_a_counted_uki(release: str, ids: list[str]):
    assert listed(release, "Lab+3.efi", SectionSpec(".cmdline", b"x"), *PROFILES) == ids


def test_profiles_behind_one_without_a_command_line():
    hidden = "hidden: the profiles behind lab.efi, which has no .cmdline"
    assert listed("257.5", "lab.efi", *PROFILES) == ["lab.efi", hidden]
    assert listed("257.6", "lab.efi", *PROFILES) == ["lab.efi", "lab.efi@b"]
    assert listed("257.5", "lab.efi", SectionSpec(".cmdline", b"x"), *PROFILES) == ["lab.efi", "lab.efi@b"]


def entry_of(release: str, *sections: SectionSpec) -> Entry:
    row = next(entries(uki(*sections), "lab.efi", "esp", model_of(release), machine="x64"))
    assert not isinstance(row, Hidden)
    return row


def test_the_options_of_the_oldest_keep_blanks():
    def options(release: str) -> str | None:
        return entry_of(release, SectionSpec(".cmdline", b" a\tb\x7f \n")).options

    assert options("252.2") == " a\tb\x7f "
    assert options("252.3") == " a b\x7f  "
    assert options("252.6") == " a b\x7f"
    assert options("262.1") == "a b"


def test_case_of_a_profiles_id():
    """258.3's source no longer lowers it, 262.1's code does again."""
    cases = {"258.2": "lab.efi@b", "258.3": "lab.efi@B", "262.0": "lab.efi@B", "262.1": "lab.efi@b"}
    assert {release: listed(release, "LAB.efi", *PROFILES)[1] for release in cases} == cases


def test_which_of_the_sections_with_a_name_counts():
    """Up to 256 the last one, be it of a profile, and by the beginning of its name (run: 252.39, 254.26, 257.13)."""
    sections = (
        SectionSpec(".cmdline", b"first"),
        SectionSpec(".cmdline", b"second"),
        SectionSpec(".profile", b"ID=a"),
        SectionSpec(".osrelX", b"ID=y\nNAME=Y\n"),
        SectionSpec(".cmdline", b"last", virtual_size=7),
        SectionSpec(".other", b"behind"),
    )
    old, new = entry_of("256.17", *sections), entry_of("257", *sections)
    assert (old.options, old.sort_key, old.title) == ("last", "y", "Y")
    assert (new.options, new.sort_key, new.title) == ("last", "x", "X")


def test_a_file_that_is_cut_short_is_listed():
    """As far as headers and os-release are there; the firmware then refuses it (systemd-boot's code in emulation)."""
    whole = uki(SectionSpec(".cmdline", b"x"))
    for release in ("254.26", "257.13", "262.1"):
        assert names(whole[:-600], release) == ["lab.efi"]
        assert names(whole[:0x120], release)[0].startswith("hidden: no PE image: the file is cut short")


def test_more_than_96_sections():
    many = [SectionSpec(".x", b"x") for _ in range(95)]
    assert names(uki(*many), "252.38")[0].startswith("hidden: no PE image")
    assert names(uki(*many), "252.39") == ["lab.efi"]
    assert names(uki(*many[:94]), "252.38") == ["lab.efi"]


def test_a_section_outside_of_the_image():
    base = (SectionSpec(".osrel", b"ID=x\n"), SectionSpec(".linux", samples.KERNEL))
    data = pe.build(base, size_of_image=0x1003)
    assert names(data, "261.1") == ["lab.efi"]
    assert names(data, "261.2") == ["hidden: no .osrel"]


@pytest.mark.parametrize(
    ("release", "text", "expected"),
    [
        ("257.10", b"ID='x'\n", ("'x'", "'x'")),
        ("257.11", b"ID='x'\n", ("x", "x")),
        ("258.3", b"ID='x'\n", ("'x'", "'x'")),
        ("257.13", b'PRETTY_NAME=""\nID=x\n', ("x", "x")),
        ("258", b'PRETTY_NAME=""\nID=x\n', ("", "x")),
        ("257.13", b"NAME=a\nNAME=\nID=x\n", ("x", "x")),
        ("259.8", b"NAME=\nID=x\n", ("", "x")),
        ("260", b"NAME=\nID=x\n", ("ID=x\n", "x")),
        ("260.4", b"NAME=\nID=x\n", ("", "x")),
        ("261.1", b"ID=x\nNAME= \n", ("", "x")),
        ("261.1", b"ID=x\nNAME=", ("", "x")),
    ],
)
def test_values_of_the_os_release(release: str, text: bytes, expected: tuple[str, str]):
    row = entry_of(release, SectionSpec(".profile", b""), SectionSpec(".osrel", text))
    if model_of(release).lists_profiles:
        assert (row.title, row.sort_key) == expected


def test_no_name_but_an_empty_one():
    data = pe.build([SectionSpec(".osrel", b"PRETTY_NAME=\n"), SectionSpec(".linux", samples.KERNEL)])
    hidden = "hidden: .osrel has no PRETTY_NAME, IMAGE_ID, NAME or ID"
    assert names(data, "257.13") == [hidden]
    assert names(data, "262.1") == ["lab.efi"]


def test_case_of_a_counter_and_of_auto():
    assert parse_tries("", "lab+3.EFI", ".efi", folds=model_of("252.28").folds_counter_suffix) is None
    assert parse_tries("", "lab+3.EFI", ".efi", folds=model_of("252.29").folds_counter_suffix) is not None
    assert valid_name("Auto-x.efi", model_of("256.17"))
    assert not valid_name("Auto-x.efi", model_of("257"))


def plain(name: str, **fields: object) -> Entry:
    return Entry(name, "type2", None, "\\x", **fields)  # type: ignore[arg-type]


def chosen(release: str, config: Config, wanted: Wanted, *rows: Entry) -> str:
    entry = default_entry(rows, config, wanted, model_of(release))
    assert entry is not None
    return entry.id


def test_a_preferred_entry_has_tries_left():
    spent, other = plain("a.efi", tries=Tries(0, 3, "", "", "")), plain("b.efi")
    assert chosen("260", Config(preferred="a*"), Wanted(), other, spent) == "b.efi"
    assert chosen("260", Config(default="a*"), Wanted(), other, spent) == "a.efi"
    assert chosen("260", Config(preferred="a*"), Wanted(preferred="x*"), other, plain("a.efi")) == "a.efi"
    assert chosen("260", Config(), Wanted(preferred="@saved", last="a.efi"), other, plain("a.efi")) == "a.efi"
    assert chosen("259.8", Config(preferred="a*"), Wanted(preferred="a*"), other, plain("a.efi")) == "b.efi"


def test_a_profile_is_no_default_by_itself():
    rows = (plain("a.efi@x", profile=1), plain("a.efi"))
    assert chosen("258.7", Config(), Wanted(), *rows) == "a.efi@x"
    assert chosen("258.8", Config(), Wanted(), *rows) == "a.efi"
    assert chosen("258.8", Config(default="*@x"), Wanted(), *rows) == "a.efi@x"


def test_profiles_are_sorted_behind_the_first():
    first, second = plain("a.efi", sort_key="k"), plain("b.efi@x", sort_key="k", profile=1)
    assert compare(first, second, model_of("258.7")) > 0
    assert compare(first, second, model_of("258.8")) < 0


def test_what_is_known_of_each_row():
    assert {change.basis for change in CHANGES} <= {"recorded", "run", "source"}
    assert all(change.reference for change in CHANGES)
    assert len({change.name for change in CHANGES}) == len(CHANGES)
    assert all(one != other for one, other in pairwise(CHANGES))
