"""Windows' ComputerHardwareIds: a published output, and variants of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stubsim import chid
from stubsim.errors import StubsimError
from stubsim.hosts.host import Reading
from stubsim.hosts.recognise import read_bytes
from tests.hosts.outcomes import is_host_or_error
from tests.strategies import mutated

# Strings and ids of an output in a public question (stackoverflow.com/questions/43619888): Windows computed the ids.
TEXT = """Using the BIOS to gather information

Computer Information
--------------------

BIOS Vendor: American Megatrends Inc.
BIOS Version string: 1201
System BIOS Major Release: 4
System BIOS Minor Release: 6

System Manufacturer: To be filled by O.E.M.
System Family: To be filled by O.E.M.
System ProductName: To be filled by O.E.M.
SKU Number: SKU

Enclosure Type: 03 "Desktop"


Hardware IDs
------------
{a8670b03-1d98-5e95-ad4e-c64211eac9df}    <- Manufacturer + Family + ProductName + SKUNumber + BIOS Vendor + BIOS Version + BIOS Major Release + BIOS Minor Release
{5a127cba-be28-5d3b-84f0-0e450d266d97}    <- Manufacturer + SKUNumber
{482f3f58-6045-593a-9be4-611717ce4770}    <- Manufacturer + Enclosure Type
{11b4a036-3b64-5421-a372-22c07df10a4d}    <- Manufacturer
"""  # noqa: E501


def read(text: str) -> Reading:
    reading = read_bytes(text.encode())
    assert reading.kind == "windows-hardware-ids"
    return reading


def test_the_ids_are_those_that_windows_computed():
    reading = read(TEXT)
    ids = {row.type: str(row.chid) for row in chid.compute(reading.host.fields, None)}
    assert [ids[kind] for kind in (0, 7, 12, 14)] == [
        "a8670b03-1d98-5e95-ad4e-c64211eac9df",
        "5a127cba-be28-5d3b-84f0-0e450d266d97",
        "482f3f58-6045-593a-9be4-611717ce4770",
        "11b4a036-3b64-5421-a372-22c07df10a4d",
    ]
    assert reading.notes == ()
    fields = {key for key in reading.host.unknown if key.startswith("smbios.")}
    # Older tools do not know the board.
    assert fields == {"smbios.oem_strings", "smbios.baseboard_manufacturer", "smbios.baseboard_product"}


def test_ids_of_other_strings_are_told():
    assert any(
        "3 of the listed ids" in note
        for note in read(
            TEXT.replace("SKU Number: SKU", "SKU Number: X").replace("11b4", "11b5").replace("482f", "482f")
        ).notes
    )


@pytest.mark.parametrize(
    ("old", "new", "key", "value"),
    [
        ("System Family: To be filled by O.E.M.", "System Family: (null)", "family", None),
        ("SKU Number: SKU", "SKU Number: ", "product_sku", b" "),
        ('03 "Desktop"', '0a "Notebook"', "enclosure_type", 10),
        ('03 "Desktop"', "Portable", "enclosure_type", 8),
        ('03 "Desktop"', "1f", "enclosure_type", 31),
        ("Major Release: 4", "Major Version: 5", "bios_major", 5),
        ("Computer Information", "## Computer Information", "bios_minor", 6),
        ("SKU Number", "Baseboard Manufacturer: M\nSKU Number", "baseboard_manufacturer", b"M"),
    ],
)
def test_values(old: str, new: str, key: str, value: object):
    for text in (TEXT, TEXT.replace("\n", "\r\n")):
        host = read(text.replace(old, new)).host
        assert getattr(host.fields, key) == value
        assert f"smbios.{key}" not in host.unknown


def test_utf_16_as_windows_shells_write_it():
    expected = read(TEXT)
    for data in (TEXT.encode("utf-16"), b"\xfe\xff" + TEXT.encode("utf-16-be"), TEXT.encode("utf-16-le")):
        assert read_bytes(data) == expected


def test_a_code_page():
    reading = read_bytes(TEXT.replace("Family: To", "Family: T\udcf6").encode("utf-8", "surrogateescape"))
    assert "smbios.family" in reading.host.unknown
    assert any("UTF-8" in note for note in reading.notes)


@pytest.mark.parametrize("new", ["Major Release: x", "Major Release: 256", "Major Release: "])
def test_numbers_that_are_none(new: str):
    with pytest.raises(StubsimError, match="is not a release number") as caught:
        read(TEXT.replace("Major Release: 4", new))
    assert caught.value.offset is not None


@given(
    mutated(TEXT.encode()) | st.text().map(lambda text: f"Computer Information\nSystem Manufacturer:{text}".encode())
)
def test_any_bytes_are_a_host_or_one_error(data: bytes):
    assert is_host_or_error(data)
