"""Which EFI variables of a running system its next stub will meet, and what they say of the machine."""

from __future__ import annotations

import json
import os
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stubsim import hosts
from stubsim.formats import smbios
from stubsim.formats.efi_string import utf16z
from stubsim.hosts import live, live_variables
from stubsim.hosts.host import Host, Reading
from stubsim.hosts.live_findings import Findings
from tests.hosts.test_live import FIELDS, put

LOADER = "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"
OVMF = "EDK II 1.00"
PARTITION, OTHER = UUID("5eed0e5b-1ab0-4000-8000-000000000001"), UUID("5eed0e5b-1ab0-4000-8000-000000000002")


def variable(root: Path, name: str, value: str | bytes, attributes: int = 6) -> None:
    data = value if isinstance(value, bytes) else utf16z(value)
    put(root, f"sys/firmware/efi/efivars/{name}-{LOADER}", attributes.to_bytes(4, "little") + data)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    put(tmp_path, "sys/firmware/dmi/tables/DMI", smbios.from_fields(FIELDS))
    return tmp_path


def after_stub(root: Path, stub: str = "systemd-stub 262.1") -> None:
    """What a stub that nobody stood before leaves."""
    texts = {
        "LoaderDevicePartUUID": str(PARTITION).upper(), "LoaderImageIdentifier": "\\EFI\\Linux\\a.efi",
        "LoaderFirmwareInfo": OVMF, "LoaderFirmwareType": "UEFI 2.70", "LoaderTpm2ActivePcrBanks": "0x00000006",
        "LoaderPcrSMBIOS": "1", "StubInfo": stub, "StubImageIdentifier": "\\EFI\\Linux\\a.efi",
        "StubDevicePartUUID": str(PARTITION).upper(), "StubProfile": "0", "StubPcrKernelImage": "11",
    }  # fmt: skip
    for name, text in texts.items():
        variable(root, name, text)


def names(reading: Reading) -> set[str]:
    return {row.name for row in reading.host.variables}


def test_what_the_stub_wrote_is_not_what_it_meets(root: Path):
    after_stub(root)
    variable(root, "LoaderSystemToken", bytes(32), attributes=7)
    variable(root, "LoaderEntryOneShot", "a.efi", attributes=7)
    reading = live.read(str(root))
    assert names(reading) == {"LoaderSystemToken", "LoaderEntryOneShot"}
    assert "variables" not in reading.host.unknown
    assert any(
        note.startswith("variables left out, as the stub of the last boot set them: LoaderDevicePartUUID, ")
        for note in reading.notes
    )


def test_what_they_say(root: Path):
    after_stub(root)
    host = live.read(str(root)).host
    firmware = host.firmware
    assert (firmware.vendor, firmware.revision, firmware.uefi_revision) == ("EDK II", 0x10000, 0x20046)
    assert host.esp_partition_uuid == PARTITION
    assert (host.tpm, host.keyboard_layout, host.secure_boot) == (("sha256", "sha384"), None, False)
    assert not host.unknown & {
        "firmware", "firmware.vendor", "firmware.revision", "firmware.uefi_revision", "tpm", "keyboard_layout",
        "secure_boot", "esp_partition_uuid",
    }  # fmt: skip
    # No variable proves them.
    assert host.unknown >= {"rng", "boot_secret", "firmware.sha256", "edid"}


def test_a_stub_that_exports_no_layout_says_nothing_of_it(root: Path):
    after_stub(root, "systemd-stub 257.13-1~deb13u1")
    assert "keyboard_layout" in live.read(str(root)).host.unknown
    variable(root, "LoaderKeyboardLayout", "de-DE")
    host = live.read(str(root)).host
    assert (host.keyboard_layout, "keyboard_layout" in host.unknown) == ("de-DE", False)


def test_no_tpm_by_its_banks(root: Path):
    variable(root, "LoaderTpm2ActivePcrBanks", "0x00000000")
    host = live.read(str(root)).host
    assert (host.tpm, "tpm" in host.unknown) == (None, False)


BY_EVERY = {"LoaderDevicePartUUID", "LoaderFirmwareInfo", "LoaderFirmwareType", "LoaderImageIdentifier"}


@pytest.mark.parametrize(
    ("loader", "kept"),
    [
        ("systemd-boot 262.1", BY_EVERY | {"LoaderTpm2ActivePcrBanks", "LoaderPcrSMBIOS"}),
        ("systemd-boot 258", BY_EVERY | {"LoaderTpm2ActivePcrBanks"}),
        ("systemd-boot 257", BY_EVERY),
        ("GRUB 2.12", {"LoaderDevicePartUUID"}),
    ],
)
def test_what_a_loader_sets_stays(root: Path, loader: str, kept: set[str]):
    after_stub(root)
    variable(root, "LoaderInfo", loader)
    variable(root, "LoaderFeatures", bytes(8))
    variable(root, "LoaderTimeInitUSec", "123456")
    variable(root, "LoaderImageIdentifier", "\\EFI\\BOOT\\BOOTX64.EFI")
    reading = live.read(str(root))
    assert names(reading) == {"LoaderInfo", "LoaderFeatures", *kept}
    assert "variables" not in reading.host.unknown


def test_a_loader_that_nobody_knows_leaves_it_open(root: Path):
    after_stub(root)
    variable(root, "LoaderInfo", "another 1.0")
    reading = live.read(str(root))
    assert "LoaderImageIdentifier" not in names(reading)
    assert "variables" in reading.host.unknown


def test_without_a_stub_all_are_the_loaders(root: Path):
    variable(root, "LoaderDevicePartUUID", str(PARTITION))
    variable(root, "LoaderFirmwareInfo", OVMF)
    assert names(live.read(str(root))) == {"LoaderDevicePartUUID", "LoaderFirmwareInfo"}


def test_no_variables_at_all(root: Path):
    for text in ("was not started by UEFI", "efivarfs is not mounted, or empty"):
        reading = live.read(str(root))
        assert any(text in note for note in reading.notes)
        assert reading.host.unknown >= {"variables", "secure_boot", "esp_partition_uuid", "firmware.vendor"}
        (root / "sys/firmware/efi/efivars").mkdir(parents=True, exist_ok=True)


def mount(root: Path, **points: tuple[str, UUID]) -> None:
    lines = []
    links = root / "dev/disk/by-partuuid"
    links.mkdir(parents=True, exist_ok=True)
    for name, (point, guid) in points.items():
        lines.append(f"36 25 8:1 / {point} rw,noatime shared:1 - vfat /dev/{name} rw,fmask=0077\n")
        if not os.path.lexists(links / str(guid)):
            (links / str(guid)).symlink_to(f"../../{name}")
    put(root, "proc/self/mountinfo", "25 1 8:2 / / rw - ext4 /dev/sda2 rw\n" + "".join(lines))


def test_the_partition_that_is_mounted(root: Path):
    variable(root, "LoaderSystemToken", bytes(32), attributes=7)
    assert "esp_partition_uuid" in live.read(str(root)).host.unknown
    mount(root, sda1=("/boot/efi", PARTITION))
    reading = live.read(str(root))
    assert (reading.host.esp_partition_uuid, "esp_partition_uuid" in reading.host.unknown) == (PARTITION, False)
    assert "the partition is the one that is mounted on /boot/efi" in reading.notes
    mount(root, sda1=("/efi", PARTITION), sda3=("/boot", OTHER))
    host = live.read(str(root)).host
    assert (host.esp_partition_uuid, "esp_partition_uuid" in host.unknown) == (PARTITION, True)


def test_the_loaders_partition_need_not_be_that_of_the_uki(root: Path):
    variable(root, "LoaderInfo", "systemd-boot 257")
    variable(root, "LoaderDevicePartUUID", str(PARTITION))
    assert "esp_partition_uuid" not in live.read(str(root)).host.unknown
    mount(root, sda1=("/efi", PARTITION), sda3=("/boot", OTHER))
    assert "esp_partition_uuid" in live.read(str(root)).host.unknown


def test_a_stub_that_came_from_no_partition(root: Path):
    variable(root, "StubInfo", "systemd-stub 262.1")
    mount(root, sda1=("/efi", PARTITION))
    host = live.read(str(root)).host
    assert (host.esp_partition_uuid, "esp_partition_uuid" in host.unknown) == (None, False)


@given(st.dictionaries(st.sampled_from([*live_variables._OF_STUB, "LoaderInfo", "StubInfo"]), st.binary()))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_any_contents(tmp_path_factory: pytest.TempPathFactory, contents: dict[str, bytes]):
    folder = tmp_path_factory.mktemp("root")
    for name, content in contents.items():
        put(folder, f"sys/firmware/efi/efivars/{name}-{LOADER}", content)
    found = Findings(Host(), str(folder))
    live_variables.read(found)
    assert len(found.host.variables) <= len(contents)


def test_recorded_guests(shared: Path, tmp_path: Path):
    """From what was read in a running guest to what its stub met: the complete host was put together by hand."""
    for folder in sorted(path.parent for path in (shared / "golden-linux").glob("*/expect.json")):
        complete = hosts.load(str(folder / "host.json"))
        assert complete.structures is not None
        guest = tmp_path / folder.name
        put(guest, "sys/firmware/dmi/tables/DMI", b"".join(row.raw for row in complete.structures))
        for name, row in json.loads((folder / "expect.json").read_bytes())["variables"].items():
            variable(guest, name, bytes.fromhex(row["data"]), row["attributes"])
        host = live.read(str(guest)).host
        assert {row for row in host.variables if row.name != "LoaderEntryOneShot"} == {*complete.variables}, folder.name
        for key in ("firmware", "esp_partition_uuid", "memory"):
            assert getattr(host, key) == getattr(complete, key), folder.name
            assert key not in host.unknown
        if "keyboard_layout" not in host.unknown:
            assert host.keyboard_layout == complete.keyboard_layout, folder.name
