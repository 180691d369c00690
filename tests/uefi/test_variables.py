"""EFI variables: the firmware's rule for those that exist already."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from uuid import UUID

import pytest

from stubsim.formats.efi_string import utf16z
from stubsim.uefi.variables import LOADER, Variable, Variables

OTHER = UUID("8be4df61-93ca-11d2-aa0d-00e098032b8c")
OLD = b"o\0l\0d\0\0\0"


def test_set_and_get() -> None:
    variables = Variables()
    assert variables.get("StubInfo") is None
    assert variables.set("StubInfo", utf16z("systemd-stub 262"), 6)
    variable = variables.get("StubInfo")
    assert variable == Variable("StubInfo", LOADER, 6, "systemd-stub 262\0".encode("utf-16-le"), True)
    assert variables.get("StubInfo", OTHER) is None
    assert variables.get("stubinfo") is None


def test_other_attributes_are_refused() -> None:
    variables = Variables([("StubInfo", LOADER, 7, OLD)])
    assert not variables.set("StubInfo", utf16z("new"), 6)
    assert variables.items() == (Variable("StubInfo", LOADER, 7, OLD, False),)
    assert variables.set("StubInfo", utf16z("new"), 7)
    assert variables.items()[0].data == utf16z("new")
    assert variables.items()[0].set_by_stub


def test_same_name_of_another_vendor_is_another_variable() -> None:
    variables = Variables([("StubInfo", OTHER, 7, OLD)])
    assert variables.set("StubInfo", utf16z("new"), 6)
    kept = variables.get("StubInfo", OTHER)
    assert kept is not None
    assert kept.data == OLD


def test_order_is_that_of_the_first_setting() -> None:
    variables = Variables([("B", LOADER, 6, OLD), ("A", LOADER, 6, OLD)])
    for name in ("D", "C", "A", "D"):
        assert variables.set(name, b"x", 6)
    assert [(v.name, v.set_by_stub) for v in variables.items()] == [("B", False), ("A", True), ("D", True), ("C", True)]


@pytest.mark.parametrize(("data", "attributes", "taken"), [(b"", 6, True), (b"x", 0, True), (b"", 7, False)])
def test_deletion(data: bytes, attributes: int, taken: bool) -> None:
    variables = Variables([("A", LOADER, 6, OLD)])
    assert variables.set("A", data, attributes) is taken
    assert (variables.get("A") is None) is taken
    assert not Variables().set("A", data, attributes)


def test_values_are_kept_as_they_are() -> None:
    variables = Variables()
    data = bytearray(b"12345678")
    variables.set("StubFeatures", data, 6)
    data[:] = bytes(8)
    variable = variables.get("StubFeatures")
    assert variable
    assert variable.data == b"12345678"


@pytest.mark.parametrize("stub", ["257.13", "262.1"])
def test_recorded_earlier_variables_survive(shared: Path, stub: str) -> None:
    """A host that has non-volatile variables of the stub's names keeps them; all others come out as recorded."""
    folder = shared / f"golden/prior-vars@{stub}"
    host = json.loads((folder / "host.json").read_text())
    expected = json.loads((folder / "expect.json").read_text())["variables"]
    variables = Variables(
        (v["name"], UUID(v["guid"]), v["attributes"], base64.b64decode(v["data"])) for v in host["variables"]
    )
    earlier = {v["name"] for v in host["variables"]}
    assert "StubInfo" in earlier
    for name, value in expected.items():
        taken = variables.set(name, bytes.fromhex(value["hex"]) + b"new", 6)
        assert taken is (name not in earlier)
    found = {v.name: v for v in variables.items()}
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name].attributes == value["attributes"]
        assert (found[name].data.hex() == value["hex"]) is (name in earlier)
        assert found[name].set_by_stub is (name not in earlier)
