"""`stubsim chids`: on every recorded host, and against what real stubs chose by."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from stubsim import chid, schemas
from stubsim.cli import main
from tests.conftest import recordings
from tests.samples import CHIDS, MACHINE, execute, invoke, written

RECORDINGS = recordings()
CHIDS_SCHEMA = Draft202012Validator(schemas.load("chids"))


def shown(path: Path, view: str = "stub") -> Any:
    result = invoke("chids", "--smbios", path, "--view", view, "--format", "json")
    assert (result.status, result.err) == (0, "")
    value = result.json
    CHIDS_SCHEMA.validate(value)
    assert [row["type"] for row in value["chids"]] == list(range(18))
    for row in value["chids"]:
        assert (row["chid"] is None) == (row["absent"] is not None)
    return value


@pytest.mark.skipif(not RECORDINGS, reason="no recordings (STUBSIM_SHARED)")
def test_every_recorded_host():
    for folder in RECORDINGS:
        path = folder / "host.json"
        for view in chid.VIEWS:
            assert shown(path, view)["view"] == view
        boot = invoke("boot", folder / "uki.efi", "--smbios", path, "--format", "json").json
        assert {str(row["type"]): row["chid"] for row in shown(path)["chids"]} == boot["chids"]
        text = invoke("chids", "--smbios", path)
        assert text.status == 0
        assert all(len(line) <= 80 for line in text.out.splitlines())


def test_parts_and_priority(tmp_path: Path):
    path = written(tmp_path, "host.json", MACHINE)
    value = execute("chids", "--smbios", path, "--format", "json").json
    rows = {row["type"]: row for row in value["chids"]}
    assert {kind: row["chid"] for kind, row in rows.items()} == {k: v and str(v) for k, v in CHIDS.items()}
    assert rows[7]["parts"] == [
        {"field": "manufacturer", "value": "Example"},
        {"field": "product_sku", "value": "SKU"},
    ]
    order = sorted((row["priority"], kind) for kind, row in rows.items() if row["priority"])
    assert [kind for _, kind in order] == [17, 16, 15, 3, 6, 8, 10, 4, 5, 7, 9, 11]
    assert {kind for kind, row in rows.items() if row["matched_by_stub"]} == {kind for _, kind in order}


def test_a_part_that_is_not_known_is_not_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = written(tmp_path, "host.json", {"smbios": {"manufacturer": "M"}, "unknown": ["smbios.family"]})
    assert main(["chids", "--smbios", str(path)]) == 0
    text = capsys.readouterr().out
    assert "\n 3  not known\n" in text
    assert 'family (not known), product name ""' in " ".join(text.split())
    assert "BIOS major release (missing)" in text
    # Every part of this one is known, and one is not there.
    assert "\n 2  absent\n" in text


def test_why_there_is_none(tmp_path: Path):
    host = {"smbios": {"manufacturer": "M"}, "unknown": ["smbios.family"]}
    path = written(tmp_path, "host.json", host)
    stub = {row["type"]: row for row in shown(path)["chids"]}
    assert stub[14]["chid"] is not None
    assert stub[3]["absent"] == "the host file says that it is not known: family"
    # Without a panel it is absent, whatever the family is.
    assert stub[15]["absent"] == "edid_panel missing (no EDID)"
    assert stub[5]["chid"] is None
    assert stub[17]["absent"] == "edid_panel missing (no EDID)"
    assert stub[12]["absent"] == "enclosure_type missing"
    fwupd = {row["type"]: row for row in shown(path, "fwupd")["chids"]}
    assert fwupd[7]["absent"] == "product_sku missing"
    blank = written(tmp_path, "blank.json", {"manufacturer": " 0 "})
    assert {row["type"]: row["absent"] for row in shown(blank, "fwupd")["chids"]}[14] == "its text is empty"
    bad = written(tmp_path, "bad.json", {"edid": "AAAA"})
    assert "too short" in {row["type"]: row["absent"] for row in shown(bad)["chids"]}[17]


def test_the_views_differ_as_the_tools_do(tmp_path: Path):
    path = written(tmp_path, "host.json", {"manufacturer": " 0Maker "})
    parts = {view: shown(path, view)["chids"][14]["parts"][0]["value"] for view in chid.VIEWS}
    assert parts == {"stub": "Maker", "fwupd": "Maker", "systemd-analyze": " 0Maker "}


def test_as_text(tmp_path: Path):
    path = written(tmp_path, "host.json", {"name": "example-host", "smbios": MACHINE})
    text = invoke("chids", "--smbios", path).out
    for kind, value in CHIDS.items():
        assert str(value or "absent") in text, kind
    # Nothing can match an id that there is none of.
    assert "absent\n" in text
    assert "absent  looked up" not in text
    assert "example-host" in text
    assert "17, 16, 15, 3, 6, 8, 10, 4, 5, 7, 9, 11" in " ".join(text.split())
    target = tmp_path / "out"
    assert invoke("chids", "--smbios", path, "-o", target).status == 0
    assert target.read_text() == text


def test_what_the_stub_chose_by(shared: Path):
    """Where a real stub found a devicetree, one of the machine's ids is in its table."""
    compared = 0
    for path in sorted((shared / "golden").glob("chid-*@262.1/expect.json")):
        match = json.loads(path.read_text()).get("selection")
        host = path.parent / "host.json"
        inspected = invoke("inspect", path.parent / "uki.efi", "--format", "json").json
        if not match or not match["dtbauto"] or not inspected["hwids"]:
            continue
        # The stub chose by one of these ids, so at least one of the table's must be the machine's (or all zero).
        own = {row["chid"] or "00000000-0000-0000-0000-000000000000" for row in shown(host)["chids"]}
        assert own & {entry["chid"] for entry in inspected["hwids"][0]["entries"]}, path.parent.name
        compared += 1
    assert compared > 5
