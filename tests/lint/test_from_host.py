"""A description from a machine: ids that name it, and a word for each that does not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stubsim import chid, hosts
from stubsim.errors import StubsimError
from stubsim.formats import edid, hwids, smbios
from stubsim.hosts import Host
from stubsim.lint import lint
from stubsim.lint.from_host import DEFAULT_TYPES, from_host
from tests.samples import ROOT, written

TREE = hwids.DEVICETREE
MACHINE = {
    "manufacturer": "Lab Inc.",
    "product_name": "Board 10",
    "product_sku": "B10-A",
    "family": "Boards",
    "baseboard_manufacturer": "Lab Inc.",
    "baseboard_product": "B10",
}
CHIDS = chid.chids(smbios.Fields(**{key: text.encode() for key, text in MACHINE.items()}), None)
EDID = edid.build("AUO1234")


def machine(unknown: tuple[str, ...] = (), edid: bytes | None = None, **changes: str | None) -> Host:
    fields = {key: text for key, text in (MACHINE | changes).items() if text is not None}
    own = smbios.Fields(**{key: text.encode() for key, text in fields.items()})
    return Host(fields=own, unknown=frozenset(unknown), edid=edid)


def ids(host: Host, **options: Any) -> list[str]:
    value: Any = from_host(host, TREE, "lab,board", **options).description["hwids"]
    return list(value)


def test_by_default():
    draft = from_host(machine(), TREE, "lab,board")
    assert draft.description == {
        "type": "devicetree",
        "name": "Lab Inc. Boards",
        "compatible": "lab,board",
        "hwids": [str(CHIDS[kind]) for kind in DEFAULT_TYPES],
    }
    (note,) = draft.notes
    assert "types 6, 7, 10, 11 are left out" in note


def test_the_types_left_out_have_no_product_name():
    looked_up = {kind for kind in chid.PRIORITY if kind < 15}
    assert {kind for kind in looked_up if "product_name" in chid.PARTS[kind]} == set(DEFAULT_TYPES)


def test_for_a_firmware():
    draft = from_host(machine(), hwids.UEFI_FW, "ovmf", name="Mine")
    assert (draft.description["type"], draft.description["fwid"], draft.description["name"]) == (
        "uefi-fw", "ovmf", "Mine",
    )  # fmt: skip


def test_as_asked_for():
    assert ids(machine(), types=(11, 3)) == [str(CHIDS[11]), str(CHIDS[3])]
    (note,) = from_host(machine(), TREE, "x", types=(3, 7)).notes
    assert note.startswith("type 7 (manufacturer + product SKU) is vague: 63 %")


@pytest.mark.parametrize("text", ["To Be Filled By O.E.M.", "default string", "System Product Name", "000", " ", None])
def test_strings_that_name_nothing(text: str | None):
    draft = from_host(machine(product_sku=text), TREE, "x")
    assert draft.description["hwids"] == [str(chid.chids(machine().fields, None)[kind]) for kind in (5, 8, 9)]
    assert [note.partition(" ")[2].partition(" ")[0] for note in draft.notes] == ["3", "4", "6,"]
    assert ("missing" if text is None else "names nothing") in draft.notes[0]
    # Who asks for it by its number gets it, and is told.
    asked = from_host(machine(product_sku=text), TREE, "x", types=(4,))
    assert len(asked.notes) == 1


@pytest.mark.parametrize(("kind", "word"), [(0, "0"), (2, "2"), (12, "12"), (14, "14"), (18, "18"), (99, "99")])
def test_types_that_no_stub_looks_for(kind: int, word: str):
    with pytest.raises(StubsimError, match=f"type {word}: no stub looks for it"):
        from_host(machine(), TREE, "x", types=(3, kind))


def test_what_the_host_does_not_tell():
    host = machine(unknown=("smbios.baseboard_product", "edid"))
    draft = from_host(host, TREE, "x")
    assert draft.description["hwids"] == [str(CHIDS[kind]) for kind in (4, 5, 9)]
    assert "the host does not tell its strings" in draft.notes[0]
    with pytest.raises(StubsimError, match="type 8: the host does not know"):
        from_host(host, TREE, "x", types=(8,))
    with pytest.raises(StubsimError, match="type 15: the host does not know"):
        from_host(host, TREE, "x", types=(15,))
    with pytest.raises(StubsimError, match="type 15: the host has no EDID panel"):
        from_host(machine(), TREE, "x", types=(15,))
    with pytest.raises(StubsimError, match="no id is left"):
        from_host(machine(unknown=("smbios.manufacturer",)), TREE, "x")


def test_a_panel():
    host = machine(edid=EDID)
    own = chid.chids(host.fields, "AUO1234")
    assert str(own[15]) not in ids(host)
    assert "types 15 to 17 are left out" in from_host(host, TREE, "x").notes[-1]
    assert ids(host, types=(15, 17)) == [str(own[15]), str(own[17])]


def test_nothing_left():
    with pytest.raises(StubsimError, match="no id is left") as caught:
        from_host(Host(), TREE, "x")
    assert "manufacturer is missing" in str(caught.value.hint)


def test_names():
    assert from_host(machine(family=None), TREE, "x").description["name"] == "Lab Inc. Board 10"
    assert from_host(machine(family="Default string"), TREE, "x").description["name"] == "Lab Inc. Board 10"
    assert from_host(machine(unknown=("smbios.family",)), TREE, "x").description["name"] == "Lab Inc. Board 10"


@pytest.mark.parametrize("string", ["a\0b", "\udcff"])
def test_strings_that_ukify_refuses(string: str):
    with pytest.raises(StubsimError):
        from_host(machine(), TREE, string)


def test_its_own_output_has_no_finding(tmp_path: Path):
    for path in sorted((ROOT / "fixtures" / "hosts").glob("*.json")):
        host = hosts.load(str(path))
        try:
            draft = from_host(host, TREE, "lab,board")
        except StubsimError:
            assert path.stem in NOTHING_OF_THEIR_OWN
            continue
        written(tmp_path, "a.json", draft.description)
        assert lint([str(tmp_path)], [("m", host)]) == ()
        assert json.loads((tmp_path / "a.json").read_text())["hwids"]


NOTHING_OF_THEIR_OWN: tuple[str, ...] = ()
SOME = [b"", b" ", b"0", b"Default string", b"Ab", b" 0x", b"\xc3", b"a\0b"]
WORDS = st.none() | st.sampled_from(SOME) | st.binary(max_size=6)


@given(
    st.fixed_dictionaries(dict.fromkeys(MACHINE, WORDS)),
    st.sets(st.sampled_from([*(f"smbios.{key}" for key in MACHINE), "edid", "smbios"]), max_size=2),
    st.lists(st.integers(0, 20), max_size=3, unique=True),
)
def test_any_machine(texts: dict[str, bytes | None], unknown: set[str], types: list[int]):
    host = Host(fields=smbios.Fields(**texts), unknown=frozenset(unknown))
    try:
        draft = from_host(host, TREE, "x", "name", types)
    except StubsimError:
        return
    stub = chid.chids(host.fields, None)
    found: Any = draft.description["hwids"]
    assert found
    assert {UUID(one) for one in found} <= {stub[kind] for kind in (types or DEFAULT_TYPES)}
    assert hwids.parse(hwids.from_descriptions([draft.description]))
