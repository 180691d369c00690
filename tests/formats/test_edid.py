"""EDID panel ids; SDC4195 is the panel of a Surface Pro 11 in TravMurav/dtbloader, the RHT ones are in recordings."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stubsim.errors import StubsimError
from stubsim.formats import edid

HEADER = bytes.fromhex("00ffffffffffff00")


@pytest.mark.parametrize(
    ("words", "panel"),
    [
        ("06af3412", "AUO1234"),
        ("4c839541", "SDC4195"),
        # Recording launch-edid-lower: the digits are lower case.
        ("4914cdab", "RHTabcd"),
        # The 16th bit of the manufacturer does not count, letter 0 is the character before A.
        ("86af0000", "AUO0000"),
        ("00000100", "@@@0001"),
        ("6b5a0000", "ZZZ0000"),
        ("6b5b0000", None),
        ("7fff0000", None),
    ],
)
def test_panel_id(words: str, panel: str | None) -> None:
    assert edid.panel_id((HEADER + bytes.fromhex(words)).ljust(128, b"\0")) == panel


def test_no_edid() -> None:
    valid = edid.build("AUO1234")
    assert edid.panel_id(valid + bytes(128)) == "AUO1234"
    assert edid.panel_id(valid[:127]) is None
    # Recording launch-edid-bad.
    assert edid.panel_id(b"\0\0" + valid[2:]) is None
    assert edid.panel_id(b"") is None


def test_recorded_panels(shared: Path) -> None:
    found = {}
    for file in sorted((shared / "golden").glob("launch-edid-*/host.json")):
        host = json.loads(file.read_text())
        if host.get("edid"):
            found[file.parent.name.partition("@")[0]] = edid.panel_id(base64.b64decode(host["edid"]))
    assert found["launch-edid-bad"] is None
    assert found["launch-edid-lower"] == "RHTabcd"
    assert found["launch-edid-type16"] == "RHT1234"


def test_built_block_is_an_edid() -> None:
    block = edid.build("SDC4195")
    assert len(block) == 128
    assert sum(block) % 256 == 0
    assert block[18:20] == b"\x01\x04"


@pytest.mark.parametrize("panel", ["", "AUO123", "AUO12345", "auo1234", "AUO12AB", "AU[1234", "ÄUO1234", "AUO+123"])
def test_build_refuses(panel: str) -> None:
    with pytest.raises(StubsimError):
        edid.build(panel)


@given(st.from_regex("[@A-Z]{3}[0-9a-f]{4}", fullmatch=True))
def test_there_and_back(panel: str) -> None:
    assert edid.panel_id(edid.build(panel)) == panel


@given(st.binary(max_size=140), st.booleans())
def test_arbitrary_bytes(data: bytes, long: bool) -> None:
    panel = edid.panel_id((HEADER + data).ljust(128, b"\0") if long else data)
    assert panel is None or len(panel) == 7
