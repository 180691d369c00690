from __future__ import annotations

from pathlib import Path

import pytest

from stubsim.formats import pe
from stubsim.formats.pe import SectionSpec
from stubsim.loader.config import Config
from stubsim.loader.entries import (
    Entries,
    Wanted,
    all_entries,
    compare,
    default_entry,
    find,
    selected_entry,
)
from stubsim.loader.entry import Entry, Tries
from stubsim.loader.image import loader_version
from stubsim.loader.releases import model_of
from stubsim.uefi.esp import Esp
from stubsim.uki import Uki
from tests import samples

BOOT = "EFI/BOOT/BOOTX64.EFI"


def systemd_boot(version: str = "262.1-1") -> bytes:
    return pe.build([SectionSpec(".sdmagic", f"#### LoaderInfo: systemd-boot {version} ####".encode())])


def profiles(*texts: str) -> bytes:
    return samples.uki(*(SectionSpec(".profile", text.encode()) for text in texts))


def osrel(text: str) -> bytes:
    return pe.build([SectionSpec(".osrel", text.encode()), SectionSpec(".linux", samples.KERNEL)])


def listed(
    root: Path, files: dict[str, bytes | str], *, release: str = "262.1", config: Config | None = None,
    xbootldr: dict[str, bytes | str] | None = None, **options: object,
) -> Entries:  # fmt: skip
    for folder, content in ((root / "esp", files), (root / "xbootldr", xbootldr or {})):
        folder.mkdir()
        for name, data in content.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data.encode() if isinstance(data, str) else data)
    return all_entries(
        model_of(release), config or Config(), esp=Esp(str(root / "esp")),
        xbootldr=None if xbootldr is None else Esp(str(root / "xbootldr")), version="262.1-1", machine="x64",
        own_path="\\EFI\\BOOT\\BOOTX64.EFI", **options,  # type: ignore[arg-type]
    )  # fmt: skip


def ids(entries: Entries) -> list[str]:
    return [entry.id for entry in entries.entries]


def test_a_uki_has_an_entry_for_each_profile(tmp_path: Path):
    found = listed(tmp_path, {"EFI/Linux/Lab.efi": profiles("ID=main", "ID=p1\nTITLE=First", "")})
    assert ids(found) == ["lab.efi", "lab.efi@p1", "lab.efi@2", "auto-reboot-to-firmware-setup"]
    assert [entry.title for entry in found.entries[:3]] == ["example", "example (First)", "example (Profile #3)"]
    assert [entry.profile for entry in found.entries[:3]] == [0, 1, 2]


def test_releases_before_profiles_have_one_entry(tmp_path: Path):
    found = listed(tmp_path, {"EFI/Linux/lab.efi": profiles("ID=main", "ID=p1")}, release="254", firmware_setup=False)
    assert ids(found) == ["lab.efi"]


def test_files_that_are_no_entries_are_told(tmp_path: Path):
    files = {
        "EFI/Linux/text.efi": "no image", "EFI/Linux/nameless.efi": osrel("VERSION=1\n"), "EFI/Linux/a.txt": "x",
        "EFI/Linux/auto-x.efi": "x", "loader/entries/x.conf": "title x", "EFI/Linux/bare.efi": samples.KERNEL,
    }  # fmt: skip
    found = listed(tmp_path, files, firmware_setup=False)
    assert found.entries == ()
    assert [(row.file.rpartition("\\")[2], row.why.partition(":")[0]) for row in found.hidden] == [
        ("bare.efi", "no .osrel"),
        ("nameless.efi", ".osrel has no PRETTY_NAME, IMAGE_ID, NAME or ID"),
        ("text.efi", "no PE image"),
        ("x.conf", "it does not name an image"),
    ]


def test_both_partitions_and_smbios(tmp_path: Path):
    oem = [
        b"io.systemd.boot.entries-extra:s.conf=title S\nuki-url http://x/y.efi",
        b"io.systemd.boot.entries-extra:t.conf",
    ]
    found = listed(
        tmp_path, {"EFI/Linux/b.efi": osrel("ID=z\n")}, firmware_setup=False, oem_strings=oem,
        xbootldr={"loader/entries/a.conf": "linux /k", "k": "x", "EFI/Linux/c.efi": osrel("ID=y\n")},
    )  # fmt: skip
    assert [(entry.id, entry.partition, entry.kind) for entry in found.entries] == [
        ("c.efi", "xbootldr", "type2"),
        ("b.efi", "esp", "type2"),
        ("s.conf", "esp", "uki-url"),
        ("a.conf", "xbootldr", "linux"),
    ]


@pytest.mark.parametrize(
    ("files", "added"),
    [
        ({BOOT: systemd_boot()}, []),
        ({BOOT: systemd_boot("257.13")}, []),
        ({"shellx64.efi": b"x", "EFI/Microsoft/Boot/bootmgfw.efi": b"x"}, ["auto-windows", "auto-efi-shell"]),
        ({"System/Library/CoreServices/boot.efi": b"x"}, ["auto-osx"]),
    ],
)
def test_what_is_added(tmp_path: Path, files: dict[str, bytes | str], added: list[str]):
    assert ids(listed(tmp_path, files, firmware_setup=False)) == added


def test_macos_is_looked_for_on_both_partitions(tmp_path: Path):
    """config_add_entry_osx, each file system; run: the code of 257.13 and 262.1 in emulation."""
    for name in "ab":
        (tmp_path / name).mkdir()
    macos, windows = "System/Library/CoreServices/boot.efi", "EFI/Microsoft/Boot/bootmgfw.efi"
    other = listed(tmp_path / "a", {}, xbootldr={macos: b"x", windows: b"x"}, firmware_setup=False)
    assert [(row.id, row.partition) for row in other.entries] == [("auto-osx", "xbootldr")]
    both = listed(tmp_path / "b", {macos: b"x"}, xbootldr={macos: b"x"}, firmware_setup=False)
    assert [(row.id, row.partition) for row in both.entries] == [("auto-osx", "esp")]


def test_the_default_loader_is_added_unless_it_is_systemd_boot_of_the_same_version(tmp_path: Path):
    esp = tmp_path / "esp" / "EFI" / "BOOT"
    esp.mkdir(parents=True)

    def added(image: bytes) -> list[str]:
        (esp / "BOOTX64.EFI").write_bytes(image)
        found = all_entries(
            NEWEST, Config(), esp=Esp(str(tmp_path / "esp")), xbootldr=None, version="262.1-1", machine="x64",
            own_path="\\EFI\\systemd\\systemd-bootx64.efi", firmware_setup=False,
        )  # fmt: skip
        return ids(found)

    assert added(systemd_boot("257.13")) == ["auto-efi-default"]
    assert added(systemd_boot()) == []


def test_nothing_is_added_when_not_wanted(tmp_path: Path):
    config = Config(auto_entries=False, auto_firmware=False, auto_poweroff=True, auto_reboot=True)
    assert ids(listed(tmp_path, {"shellx64.efi": b"x"}, config=config)) == ["auto-poweroff", "auto-reboot"]


def plain(name: str, **fields: object) -> Entry:
    return Entry(name, "linux", None, "\\x", **fields)  # type: ignore[arg-type]


NEWEST = model_of("262.1")


def tries(left: int, done: int = 0) -> Tries:
    return Tries(left, done, "", "", "")


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (plain("lab-2.conf"), plain("lab-1.conf")),
        (plain("a", sort_key="x"), plain("b")),
        (plain("a", sort_key="a"), plain("b", sort_key="b")),
        (plain("a", sort_key="x", version="2"), plain("b", sort_key="x", version="1")),
        (plain("a", sort_key="x", version="1"), plain("b", sort_key="x", machine_id="m", version="2")),
        (plain("a"), plain("b", tries=tries(0))),
        (plain("a", tries=tries(3)), plain("a", tries=tries(2))),
        (plain("a", tries=tries(2, 0)), plain("a", tries=tries(2, 1))),
        (plain("x@a", id_without_profile="x", profile=1), plain("x@b", id_without_profile="x", profile=2)),
    ],
)
def test_order(first: Entry, second: Entry):
    assert compare(first, second, NEWEST) < 0 < compare(second, first, NEWEST)


ENTRIES = (plain("b.conf"), plain("a.conf"), Entry("auto-reboot", "action", None, None))


@pytest.mark.parametrize(
    ("config", "wanted", "chosen"),
    [
        (Config(), Wanted(), "b.conf"),
        (Config(default="a*"), Wanted(), "a.conf"),
        (Config(default="nothing"), Wanted(), "b.conf"),
        (Config(default="b*"), Wanted(default="A.conf"), "a.conf"),
        (Config(), Wanted(one_shot="a.conf", default="b.conf"), "a.conf"),
        (Config(default="@saved"), Wanted(last="a.conf"), "a.conf"),
        (Config(default="b*"), Wanted(default="@saved", last="a.conf"), "a.conf"),
        (Config(default="@saved"), Wanted(default="@saved"), "b.conf"),
        (Config(default="auto-*"), Wanted(), "auto-reboot"),
        (Config(default="b*", preferred="a*"), Wanted(), "a.conf"),
    ],
)
def test_default(config: Config, wanted: Wanted, chosen: str):
    entry = default_entry(ENTRIES, config, wanted, NEWEST)
    assert entry is not None
    assert entry.id == chosen


def test_the_first_where_none_can_be_selected():
    """Behind a menu; so starts a Type #1 entry that asks for a profile (booted: systemd-boot 262.1)."""
    assert default_entry((), Config(), Wanted(), NEWEST) is None
    assert default_entry(ENTRIES[2:], Config(), Wanted(), NEWEST) is ENTRIES[2]
    rows = (plain("lab.conf", profile=1), ENTRIES[2])
    assert selected_entry(rows, Config(), Wanted(), NEWEST) is None
    assert default_entry(rows, Config(), Wanted(), NEWEST) is rows[0]


def test_an_entry_for_a_folder_is_listed(tmp_path: Path):
    """It opens as a file does, and fails when it is loaded."""
    files: dict[str, bytes | str] = {"loader/entries/a.conf": "uki /EFI/Linux", "EFI/Linux/x.txt": "x"}
    assert ids(listed(tmp_path, files, firmware_setup=False)) == ["a.conf"]


def test_find_regards_no_case():
    entry = find(ENTRIES, "A.CONF")
    assert entry is not None
    assert entry.id == "a.conf"


def test_version():
    assert loader_version(Uki(pe.open_bytes(systemd_boot(), "x"))) == "262.1-1"
    assert loader_version(Uki(pe.open_bytes(samples.uki(), "x"))) is None
