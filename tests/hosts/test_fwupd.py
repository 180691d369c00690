"""Text of `fwupdtool hwids`: recorded ones of 44 real machines, and what the tool prints of tables of ours."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stubsim import chid, hosts
from stubsim.errors import StubsimError
from stubsim.formats import edid, smbios
from stubsim.hosts import Host, fwupd
from stubsim.hosts.recognise import read_bytes
from tests.hosts.outcomes import is_host_or_error
from tests.strategies import mutated

TEXT = b"""Computer Information
--------------------
BiosVendor: Example
BiosVersion: 1.0
BiosMajorRelease: 255
BiosMinorRelease: 10
FirmwareMajorRelease: ff
Manufacturer: Example
Family:\x20
ProductName: One \xc3\xa9
EnclosureKind: 1f

Hardware IDs
------------
{aca387a9-183e-5da9-8f9d-f460c3f50f54}   <- Manufacturer + EnclosureKind
not available as 'ProductSku' unknown
{cc0aea32-ad2c-5013-8bed-cede6be8c9f4}   <- Manufacturer + BaseboardProduct
"""

# How fwupd names the parts of each type.
NAMES = {
    "manufacturer": "Manufacturer",
    "family": "Family",
    "product_name": "ProductName",
    "product_sku": "ProductSku",
    "bios_vendor": "BiosVendor",
    "bios_version": "BiosVersion",
    "bios_major": "BiosMajorRelease",
    "bios_minor": "BiosMinorRelease",
    "baseboard_manufacturer": "BaseboardManufacturer",
    "baseboard_product": "BaseboardProduct",
    "enclosure_type": "EnclosureKind",
    "edid_panel": "EDID",
}
TYPES = {" + ".join(NAMES[part] for part in parts): kind for kind, parts in chid.PARTS.items()}
LISTED = re.compile(r"^\{(.{36})\}\s+\\?<- (.*)$", re.MULTILINE)


def unknown_fields(host: Host) -> set[str]:
    return {key.partition(".")[2] for key in host.unknown if key.startswith("smbios.")}


def test_a_text():
    reading = read_bytes(TEXT)
    assert (reading.kind, reading.description) == ("fwupd-hwids", "text of fwupdtool hwids")
    assert reading.host.fields == smbios.Fields(
        manufacturer=b"Example",
        family=b" ",
        product_name="One é".encode(),
        bios_vendor=b"Example",
        bios_version=b"1.0",
        bios_major=255,
        bios_minor=10,
        enclosure_type=0x1F,
    )
    # No CHID of a SKU is listed, so there is none; of a board product there is one, so the text has lost it.
    assert unknown_fields(reading.host) == {"baseboard_product", "oem_strings"}
    assert reading.host.unknown >= {"edid", "devicetree", "tpm"}


def test_what_a_text_cut_off_before_the_ids_leaves_open():
    host = fwupd.read(TEXT[: TEXT.index(b"Hardware IDs")]).host
    assert unknown_fields(host) == {"product_sku", "baseboard_manufacturer", "baseboard_product", "oem_strings"}


def test_messages_in_front_and_other_line_ends():
    text = b"Loading...\r\n" + TEXT.replace(b"\n", b"\r\n")
    assert read_bytes(text).host == fwupd.read(TEXT).host


def test_a_text_out_of_markdown():
    text = TEXT.replace(b" <-", b"\\<-").replace(b"One", b"One\\_Two\\*")
    assert fwupd.read(text).host.fields.product_name == "One_Two* é".encode()
    assert fwupd.read(TEXT.replace(b"One", b"One\\_Two")).host.fields.product_name == "One\\_Two é".encode()


def test_a_panel():
    host = fwupd.read(TEXT.replace(b"EnclosureKind", b"EDID: SDC4A95\nEnclosureKind")).host
    assert host.edid is not None
    assert edid.panel_id(host.edid) == "SDC4a95"
    assert "edid" not in host.unknown


def test_the_first_of_several_machines():
    reading = fwupd.read(TEXT + TEXT.replace(b"One", b"Two"))
    assert reading.host.fields.product_name == "One é".encode()
    assert "several machines" in reading.notes[0]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"Release: 255", b"Release: 256", "BiosMajorRelease: '256'"),
        (b"Release: 255", b"Release: ff", "BiosMajorRelease: 'ff'"),
        (b"Kind: 1f", b"Kind: 1ff", "EnclosureKind: '1ff'"),
        (b"Kind: 1f", b"Kind: \xff", "EnclosureKind"),
        (b"Kind: 1f", b"EDID: nothing", "EDID: 'nothing'"),
    ],
)
def test_numbers_that_are_none(tmp_path: Path, old: bytes, new: bytes, message: str):
    if new.startswith(b"EDID"):
        old = b"Enclosure" + old
    text = TEXT.replace(old, new)
    path = tmp_path / "text"
    path.write_bytes(text)
    with pytest.raises(StubsimError) as caught:
        hosts.load(str(path))
    assert caught.value.path == str(path)
    assert caught.value.message.startswith(message)
    line = next(line for line in text.split(b"\n") if new in line)
    assert caught.value.offset == text.index(line)


def test_a_text_without_a_value():
    with pytest.raises(StubsimError, match="no line with a value"):
        fwupd.read(b"Computer Information\n--------------------\n")


ROOTLESS_TEXTS = {
    "msm8998-lenovo-miix-630-81f1", "sc7180-ecs-liva-qc710", "x1e001de-devkit", "x1e80100-dell-latitude-7455",
    "x1e80100-hp-omnibook-x14", "x1p42100-hp-omnibook-x14",
}  # fmt: skip


def test_the_recorded_texts(shared: Path):
    """Every CHID in them comes out, but the ids that somebody made of strings that were not stripped."""
    paths = sorted((shared / "data" / "hwids" / "fwupd").glob("*.txt"))
    listed, differing = 0, []
    for path in paths:
        data = path.read_bytes()
        reading = read_bytes(data)
        assert reading.kind == "fwupd-hwids"
        doubted = any("made without root" in note for note in reading.notes)
        assert doubted == (path.stem in ROOTLESS_TEXTS)
        panel = None if reading.host.edid is None else edid.panel_id(reading.host.edid)
        own = {row.type: str(row.chid) for row in chid.compute(reading.host.fields, panel, "fwupd")}
        for text in LISTED.findall(data.decode().partition("\n\nComputer Information")[0]):
            if text[1] in TYPES:
                listed += 1
                if own[TYPES[text[1]]] != text[0]:
                    differing.append((path.stem, TYPES[text[1]]))
    assert len(paths) == 44
    assert listed > 500
    # Of the strings that were not stripped, and of a decimal enclosure (type 12).
    latitude = {kind for stem, kind in differing if stem == "x1e80100-dell-latitude-7455"}
    assert {stem for stem, _ in differing} <= ROOTLESS_TEXTS
    assert latitude == {3, 4, 6, 7, 8, 10, 12, 13}
    assert {kind for stem, kind in differing if stem != "x1e80100-dell-latitude-7455"} == {12}


def test_the_second_machine_of_a_text(shared: Path):
    data = (shared / "data" / "hwids" / "fwupd" / "x1e80100-microsoft-denali.txt").read_bytes()
    second = data[data.index(b"\n\nComputer") :]
    host = read_bytes(second).host
    assert host.fields.product_sku == b"Surface_Pro_11th_Edition_For_Business_2085"
    assert host.edid is not None
    own = {row.type: str(row.chid) for row in chid.compute(host.fields, edid.panel_id(host.edid), "fwupd")}
    named = {TYPES[name]: value for value, name in LISTED.findall(second.decode())}
    assert {15, 16, 17} < named.keys()
    # One id is listed of an enclosure that is not.
    assert unknown_fields(host) == {"enclosure_type", "oem_strings"}
    assert {kind: own[kind] for kind in named if kind != 12} == {kind: named[kind] for kind in named if kind != 12}


@pytest.mark.oracle
def test_what_fwupdtool_prints_of_the_made_up_machines(shared: Path, oracle: Callable[[str], str], tmp_path: Path):
    """The ids in the text come out of the strings in it, whatever it stripped on the way, and so do the stub's."""
    program, folder = oracle("fwupdtool"), tmp_path / "dmi" / "tables"
    folder.mkdir(parents=True)
    compared = 0
    for path in sorted((shared / "data" / "chids").glob("smbios-*.bin")):
        table = path.read_bytes()
        (folder / "DMI").write_bytes(table)
        (folder / "smbios_entry_point").write_bytes(smbios.build_entry_point(table))
        environment = {**os.environ, "FWUPD_SYSFSFWDIR": str(tmp_path)}
        done = subprocess.run([program, "hwids"], capture_output=True, timeout=60, check=False, env=environment)
        reading = read_bytes(done.stdout)
        host = reading.host
        if path.stem in ("smbios-newline", "smbios-utf8"):
            # It prints the line end as it is, and "Zorn" for what it hashes as "Zörn".
            assert any("another character set" in note for note in reading.notes)
            continue
        assert len(reading.notes) == 1
        own = {str(row.chid) for row in chid.compute(host.fields, None, "fwupd")}
        listed = {value for value, name in LISTED.findall(done.stdout.decode()) if name in TYPES}
        assert listed <= own, path.stem
        compared += len(listed)
    assert compared > 200


@given(st.binary().map(lambda data: b"Computer Information\n" + data) | mutated(TEXT))
def test_any_text_is_a_host_or_one_error(data: bytes):
    assert is_host_or_error(data)


ROOTLESS = b"""Computer Information
--------------------
BiosVendor: V
BiosVersion: 1.2
Manufacturer: Maker
Family:  F
ProductName: P
ProductSku: 0001
EnclosureKind: 10
Hardware IDs
------------
not available as 'BiosMajorRelease' unknown
{%s}   <- Manufacturer + ProductSku
{%s}   <- Manufacturer + EnclosureKind
{%s}   <- Manufacturer + ProductName
""" % tuple(str(chid.hash_texts(texts)).encode() for texts in (("Maker", "0001"), ("Maker", "10"), ("Maker", "P")))


def test_without_root():
    """Then fwupd has the kernel's strings, which are not stripped, and a decimal enclosure (fu-hwids-dmi.c)."""
    reading = read_bytes(ROOTLESS)
    fields = reading.host.fields
    assert (fields.product_sku, fields.family, fields.enclosure_type) == (b"0001", b" F", 10)
    assert len(reading.notes) == 1
    assert "made without root" in reading.notes[0]
    assert "2 of the listed ids" in reading.notes[0]
    # With the table there are releases, and the enclosure is hexadecimal.
    with_root = ROOTLESS.replace(
        b"Manufacturer: Maker", b"BiosMajorRelease: 1\nBiosMinorRelease: 2\nManufacturer: Maker"
    )
    with_root = with_root.replace(b"not available as 'BiosMajorRelease' unknown\n", b"")
    reading = read_bytes(with_root)
    assert reading.host.fields.enclosure_type == 16
    assert not any("root" in note for note in reading.notes)
