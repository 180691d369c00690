"""What `grep . /sys/class/dmi/id/*` prints, as people post it; the folder itself is in test_live."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stubsim.formats import smbios
from stubsim.hosts.recognise import read_bytes
from tests.hosts.outcomes import is_host_or_error
from tests.strategies import mutated

TEXT = b"""\
/sys/class/dmi/id/bios_date:03/20/2023
/sys/class/dmi/id/bios_release:1.51
/sys/class/dmi/id/bios_vendor:LENOVO
/sys/class/dmi/id/bios_version:N32ET75W (1.51 )
grep: /sys/class/dmi/id/board_serial: Permission denied
/sys/class/dmi/id/board_name:20XW: a board
/sys/class/dmi/id/board_vendor:LENOVO
/sys/class/dmi/id/chassis_type:10
/sys/class/dmi/id/modalias:dmi:bvnLENOVO:bvrN32ET75W(1.51):
grep: /sys/class/dmi/id/power: Is a directory
/sys/class/dmi/id/product_family:ThinkPad X1 Carbon Gen 9
/sys/class/dmi/id/product_name:20XW\x20
/sys/class/dmi/id/sys_vendor:LENOVO
"""
FIELDS = smbios.Fields(
    manufacturer=b"LENOVO", product_name=b"20XW ", family=b"ThinkPad X1 Carbon Gen 9", baseboard_manufacturer=b"LENOVO",
    baseboard_product=b"20XW: a board", bios_vendor=b"LENOVO", bios_version=b"N32ET75W (1.51 )", bios_major=1,
    bios_minor=51,
)  # fmt: skip


def strings(unknown: frozenset[str]) -> set[str]:
    return {key.removeprefix("smbios.") for key in unknown if key.startswith("smbios.")}


def test_the_lines_of_all_files():
    reading = read_bytes(TEXT)
    assert (reading.kind, reading.host.fields) == ("dmi-id-text", FIELDS)
    # Without a line it is empty, or this kernel has no such file.
    assert strings(reading.host.unknown) == {"product_sku", "oem_strings", "enclosure_type"}


@pytest.mark.parametrize(
    "text",
    [
        b"sys_vendor:A\nproduct_name:B\n",
        b"./sys_vendor:A\n./product_name:B\n",
        b"/sys/class/dmi/id//product_name:B\r\n/sys/class/dmi/id//sys_vendor:A\r\n",
        b"/sys/devices/virtual/dmi/id/sys_vendor:A\n/sys/devices/virtual/dmi/id/product_name:B\nsys_vendor:again\n",
    ],
)
def test_the_lines_of_some_files(text: bytes):
    host = read_bytes(text).host
    assert host.fields == smbios.Fields(manufacturer=b"A", product_name=b"B")
    assert strings(host.unknown) == {*smbios.Fields._fields, "oem_strings"} - {"manufacturer", "product_name"}


@given(mutated(TEXT) | st.binary().map(lambda data: b"sys_vendor:" + data))
def test_any_bytes_are_a_host_or_one_error(data: bytes):
    assert is_host_or_error(data)
