"""This machine, as a tree of our own shows it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from stubsim import chid, hosts
from stubsim.errors import StubsimError
from stubsim.formats import smbios
from stubsim.hosts import live

FIELDS = smbios.Fields(b"Maker", b"Product", b"SKU", b"Family", b"Board", b"One", b"V", b"1.2", 3, 4, 0x8A)
ID = {
    "sys_vendor": "Maker", "product_name": "Product", "product_sku": "SKU", "product_family": "Family",
    "board_vendor": "Board", "board_name": "One", "bios_vendor": "V", "bios_version": "1.2", "bios_release": "3.4",
    "chassis_type": "10",
}  # fmt: skip


def put(root: Path, name: str, content: bytes | str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


@pytest.fixture
def ids(tmp_path: Path) -> Path:
    for name, text in ID.items():
        put(tmp_path, f"sys/class/dmi/id/{name}", f"{text}\n")
    return tmp_path


def test_the_table(ids: Path):
    put(ids, "sys/firmware/dmi/tables/DMI", smbios.from_fields(FIELDS))
    reading = live.read(str(ids))
    assert (reading.kind, reading.host.fields) == ("live", FIELDS)
    assert reading.host.structures is not None
    assert reading.host.source == "this machine, by its SMBIOS table"
    assert reading.host.unknown >= {"edid", "tpm", "secure_boot"}


def test_a_broken_table_is_not_passed_over(ids: Path):
    put(ids, "sys/firmware/dmi/tables/DMI", smbios.from_fields(FIELDS)[:40])
    reading = live.read(str(ids))
    assert any("type 1 has length 27" in note for note in reading.notes)
    # What stands before it is read, not what the kernel shows instead.
    assert (reading.host.fields.bios_vendor, reading.host.fields.manufacturer) == (FIELDS.bios_vendor, None)


def test_what_everybody_may_read(ids: Path):
    reading = live.read(str(ids))
    host = reading.host
    assert host.fields == FIELDS._replace(enclosure_type=None)
    assert host.unknown >= {"smbios.enclosure_type", "smbios.oem_strings"}
    assert host.structures is None
    stub = chid.chids(host.fields, None)
    assert {kind: stub[kind] for kind in chid.PRIORITY} == {
        kind: chid.chids(FIELDS, None)[kind] for kind in chid.PRIORITY
    }


def test_a_folder_of_strings(ids: Path):
    folder = ids / "sys/class/dmi/id"
    reading = hosts.read(str(folder))
    assert (reading.kind, reading.host.fields.manufacturer) == ("dmi-id-folder", b"Maker")
    (folder / "product_sku").write_text("\n")
    (folder / "product_family").unlink()
    (folder / "bios_release").unlink()
    host = hosts.load(str(folder))
    assert (host.fields.product_sku, host.fields.family) == (None, None)
    assert {key for key in host.unknown if key.startswith("smbios.")} == {
        "smbios.family", "smbios.bios_major", "smbios.bios_minor", "smbios.enclosure_type", "smbios.oem_strings",
    }  # fmt: skip


@pytest.mark.parametrize(("content", "on"), [(b"\6\0\0\0\1", True), (b"\6\0\0\0\0", False), (b"", None), (None, None)])
def test_secure_boot(ids: Path, content: bytes | None, on: bool | None):
    if content is not None:
        put(ids, "sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c", content)
    host = live.read(str(ids)).host
    assert ("secure_boot" in host.unknown) == (on is None)
    assert host.secure_boot == bool(on)


def test_the_banks_of_a_tpm(ids: Path):
    put(ids, "sys/class/tpm/tpm0/tpm_version_major", "2\n")
    assert "tpm" in live.read(str(ids)).host.unknown
    for bank in ("sha384", "sha256"):
        put(ids, f"sys/class/tpm/tpm0/pcr-{bank}/0", "00\n")
    host = live.read(str(ids)).host
    assert host.tpm == ("sha256", "sha384")
    assert "tpm" not in host.unknown


def test_nothing_to_read(tmp_path: Path):
    with pytest.raises(StubsimError) as caught:
        live.read(str(tmp_path))
    assert str(caught.value) == (
        f"{tmp_path}/sys/firmware/dmi/tables/DMI: this machine's SMBIOS table cannot be read: No such file or "
        "directory (expected /sys/firmware/dmi/tables of a Linux with DMI)"
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to drop its rights")
def test_a_table_that_is_for_root_only(ids: Path):
    """As on any machine: the strings that are for everybody are taken, and it is said what root could have."""
    put(ids, "sys/firmware/dmi/tables/DMI", smbios.from_fields(FIELDS))
    (ids / "sys/firmware/dmi/tables/DMI").chmod(0o400)
    for path in (ids, *ids.parents):
        if path.stat().st_mode & 0o5 != 0o5 and str(path).startswith("/tmp/pytest"):
            path.chmod(0o755)
    code = (
        "import os, sys; from stubsim.hosts import live; os.setuid(65534);"
        "reading = live.read(sys.argv[1]); print(reading.host.fields.manufacturer); print(*reading.notes, sep='\\n')"
    )
    command = [sys.executable, "-c", code, str(ids)]
    run = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])
    first, *notes = run.stdout.splitlines() or [run.stderr]
    assert first == "b'Maker'"
    assert "as root the whole table can be read" in notes
