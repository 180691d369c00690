"""A UKI's sections, profiles and stub."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stubsim import uki
from stubsim.errors import StubsimError
from stubsim.formats import pe
from stubsim.formats.efi_program import StubId
from stubsim.formats.pe import SectionSpec

MAGIC = b"#### LoaderInfo: systemd-stub 262.1-1 ####\0"
SBAT = b"""sbat,1,SBAT Version,sbat,1,https://github.com/rhboot/shim/blob/main/SBAT.md
systemd-stub,1,The systemd Developers,systemd,262,https://systemd.io/
uki,1,UKI,uki,1,https://uapi-group.org/specifications/specs/unified_kernel_image/
"""


def make(*sections: tuple[str, bytes]) -> uki.Uki:
    return uki.Uki(pe.open_bytes(pe.build([SectionSpec(name, data) for name, data in sections]), "made.efi"))


def test_without_profiles_all_is_base():
    made = make((".linux", b"K"), (".osrel", b"ID=x"))
    assert made.base == made.image.sections
    assert made.profiles == ()
    assert made.stub is None
    assert (made.path, made.size) == ("made.efi", len(made.image.data))


def test_profiles():
    made = make(
        (".linux", b"K"),
        (".profile", b"ID=main\nTITLE=Main system\n"),
        (".cmdline", b"1"),
        (".profile", b""),
        (".profile", b"# ID=no\nTITLE=\"Rescue mode\"\nID='b'\nnonsense\n\nID=c\0ID=d"),
        (".initrd", b"2"),
    )
    assert [section.name for section in made.base] == [".linux"]
    assert [(each.index, each.id, each.title) for each in made.profiles] == [
        (0, "main", "Main system"),
        (1, None, None),
        (2, "c", "Rescue mode"),
    ]
    assert [[section.name for section in each.sections] for each in made.profiles] == [
        [".profile", ".cmdline"], [".profile"], [".profile", ".initrd"],
    ]  # fmt: skip
    assert made.profiles[2].sections[1].index == 5


def test_a_profile_without_any_base():
    made = make((".profile", b"ID=a"), (".linux", b"K"))
    assert made.base == ()
    assert [section.name for section in made.profiles[0].sections] == [".profile", ".linux"]


def test_data_has_its_zeros():
    made = uki.Uki(pe.open_bytes(pe.build([SectionSpec(".initrd", b"12", virtual_size=5)]), "x"))
    section = made.image.sections[0]
    assert bytes(made.data(section)) == b"12\0\0\0"
    assert made.data(section).key == made.data(section).key


@pytest.mark.parametrize(
    ("sections", "stub"),
    [
        ([(".sdmagic", MAGIC)], StubId("systemd-stub", "262.1-1")),
        ([(".sbat", SBAT)], StubId("systemd-stub", "262", series_only=True)),
        ([(".sbat", SBAT), (".sdmagic", MAGIC)], StubId("systemd-stub", "262.1-1")),
        (
            [(".sbat", SBAT + b"systemd-stub.debian,1,Debian,systemd,262.1-1,https://tracker.debian.org/\n")],
            StubId("systemd-stub", "262.1-1"),
        ),
        (
            [(".sbat", SBAT + b"systemd-stub.odd,1,Odd,systemd,7-3,x\n")],
            StubId("systemd-stub", "262", series_only=True),
        ),
        (
            [(".sbat", b"stubble,1,Canonical,stubble,9,https://github.com/canonical/stubble\n")],
            StubId("stubble", "9"),
        ),
        (
            [
                (".linux", b"x"),
                (".sbat", b"systemd,1,The systemd Developers,systemd,249,https://www.freedesktop.org/\n"),
            ],
            StubId("systemd-stub", "249", series_only=True),
        ),
        ([(".sbat", b"grub,1,x,grub,2,https://x\n")], None),
        ([(".sbat", b"systemd-stub,1\n")], None),
        ([(".sdmagic", b"#### LoaderInfo: systemd-stub")], None),
        ([(".sdmagic", b"")], None),
        ([(".osrel", b"")], None),
    ],
)
def test_which_stub(sections: list[tuple[str, bytes]], stub: StubId | None):
    assert make(*sections).stub == stub


def test_recorded_stubs_and_profiles(shared: Path):
    """Each recording names the stub it was made with, and its StubProfile variable the profile that was booted."""
    count = 0
    for path in sorted((shared / "golden").glob("*/expect.json")):
        loaded = uki.load(str(path.with_name("uki.efi")))
        assert loaded.stub is not None
        assert loaded.stub.name == "systemd-stub"
        assert loaded.stub.version.startswith(json.loads(path.read_text())["stub"]), path
        count += 1
    assert count > 100
    profiles = uki.load(str(shared / "golden/profile-at1@262.1/uki.efi")).profiles
    assert [(each.id, each.title) for each in profiles] == [("main", "Main"), ("rescue", "Rescue"), ("two", None)]


def test_many_profiles_stay_cheap():
    made = make(*[(".profile", b"ID=x")] * 300)
    assert len(made.profiles) == 300
    assert [each.id for each in made.profiles] == ["x"] * 256 + [None] * 44


def test_not_a_uki(tmp_path: Path):
    with pytest.raises(StubsimError, match="is a folder"):
        uki.load(str(tmp_path))


@given(st.binary(max_size=200), st.binary(max_size=200), st.binary(max_size=200))
def test_arbitrary_texts(magic: bytes, sbat: bytes, profile: bytes):
    made = make((".sdmagic", b"#### LoaderInfo: " + magic), (".sbat", b"systemd-stub," + sbat), (".profile", profile))
    assert made.stub is None or made.stub.version
    assert len(made.profiles) == 1
