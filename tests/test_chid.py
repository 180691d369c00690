"""CHIDs against what fwupd and systemd-analyze printed: 45 real machines, 25 made-up ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stubsim import chid
from stubsim.errors import StubsimError
from stubsim.formats import efi_string, smbios
from stubsim.formats.smbios import Fields

# fwupd's names of the fields.
FWUPD = {
    "Manufacturer": "manufacturer",
    "Family": "family",
    "ProductName": "product_name",
    "ProductSku": "product_sku",
    "BaseboardManufacturer": "baseboard_manufacturer",
    "BaseboardProduct": "baseboard_product",
    "BiosVendor": "bios_vendor",
    "BiosVersion": "bios_version",
    "BiosMajorRelease": "bios_major",
    "BiosMinorRelease": "bios_minor",
    "EnclosureKind": "enclosure_type",
    "EDID": "edid_panel",
}
TYPES = {names: type_ for type_, names in chid.PARTS.items()}

# Made with a fwupd that did not strip zeros: ProductSku 0C85 and BaseboardProduct 0FK7MX stand in them as they are.
LATITUDE = "x1e80100-dell-latitude-7455.txt"
LATITUDE_ODD = {
    UUID("903e3a6f-e14b-5643-9d55-244f917aadb6"),
    UUID("59e5c810-9e60-5a89-8665-db36c56b34d6"),
    UUID("6e01222b-b2aa-531e-b95f-0e4b2a063364"),
    UUID("93055898-8c85-50e7-adde-8115f194579a"),
    UUID("b3e5b59d-84ae-597d-9222-8a4d48480bc3"),
    UUID("68822228-a3e0-5b12-942d-9408751405d1"),
    UUID("cb846e91-7a9f-564f-8f33-6cf5bc04a5b8"),
    UUID("683e4579-8440-5bc1-89ac-dfcd7c25b307"),
}

# `fwupdtool hwids` of a Lenovo ThinkPad X13s (sc8280xp-lenovo-thinkpad-x13s-21bx.txt of ubuntu/stubble).
X13S = Fields(
    manufacturer=b"LENOVO",
    product_name=b"21BXCTO1WW",
    product_sku=b"LENOVO_MT_21BX_BU_Think_FM_ThinkPad X13s Gen 1",
    family=b"ThinkPad X13s Gen 1",
    baseboard_manufacturer=b"LENOVO",
    baseboard_product=b"21BXCTO1WW",
    bios_vendor=b"LENOVO",
    bios_version=b"N3HET88W (1.60 )",
    bios_major=1,
    bios_minor=60,
    enclosure_type=10,
)
X13S_CHIDS = {
    0: "810e34c6-cc69-5e36-8675-2f6e354272d3",
    1: "f22c935e-2dc8-5949-9486-09bbf10361b2",
    2: "abdbb2cb-ab52-5674-9d0a-2e2cb69bcbb4",
    3: "ddf28a3f-43fc-54a4-a6a7-4cba5ad46b3e",
    4: "4df470e6-7878-5b0f-b2e0-733d5d9fa228",
    5: "3ad863ab-0181-5a2f-9cc1-70eedc446da9",
    6: "69c47e1e-fde2-5062-b777-acbeab73784b",
    7: "3486eccc-d0ac-534a-9e2f-a1c18bc310c6",
    8: "c869f39e-f205-5ca0-be7b-d90f90ef5556",
    9: "b470d002-ad8e-5d5c-a7bf-bb1333f2ce4b",
    10: "64b71f12-4341-5e5c-b7cd-25b6503799e3",
    11: "f249803d-0d95-54f3-a28f-f26c14a03f3b",
    12: "e093d715-70f7-51f4-b6c8-b4a7e31def85",
    13: "156c9b34-bedb-5bfd-ae1f-ef5d2a994967",
    14: "6de5d951-d755-576b-bd09-c5cf66b27234",
}


class Machine:
    """One machine of a `fwupdtool hwids` output: its fields, and the texts of the ids printed for it."""

    def __init__(self, text: str) -> None:
        self.ids: list[tuple[UUID, tuple[str, ...]]] = []
        values: dict[str, str] = {}
        # One file went through Markdown, which escaped underscores and arrows.
        for line in text.replace("\\", "").splitlines():
            if line.startswith("{"):
                guid, _, names = line.partition("}")
                parts = tuple(FWUPD[name] for name in names.partition("<-")[2].strip().split(" + "))
                self.ids.append((UUID(guid[1:]), parts))
            elif ": " in line:
                name, _, value = line.partition(": ")
                values[FWUPD.get(name, name)] = value
        self.panel = values.get("edid_panel")
        strings: dict[str, Any] = {name: values[name].encode() for name in Fields._fields[:8] if name in values}
        # fwupd prints the release in decimal and hashes two hex digits; the enclosure it prints as hashed.
        bases = {"bios_major": 10, "bios_minor": 10, "enclosure_type": 16}
        numbers = {name: int(values[name], base) for name, base in bases.items() if name in values}
        self.fields = Fields(**strings | numbers)

    def texts(self, view: str = "fwupd") -> dict[str, str | None]:
        return {name: text for row in chid.compute(self.fields, self.panel, view) for name, text in row.parts}


def read_machines(file: Path) -> list[Machine]:
    return [Machine(part) for part in file.read_text().split("Computer Information")[1:]]


def test_every_id_fwupd_printed(shared: Path) -> None:
    files = sorted((shared / "data/hwids/fwupd").glob("*.txt"))
    assert len(files) == 44
    machines = [(file.name, machine) for file in files for machine in read_machines(file)]
    assert len(machines) == 45

    of_types = extra = 0
    missed = set()
    for name, machine in machines:
        fields = machine.fields
        if machine.panel and fields.enclosure_type is None:
            # The second machine of this file lacks the line, not the id; both are Surfaces with enclosure 9.
            assert name == "x1e80100-microsoft-denali.txt"
            machine.fields = fields = fields._replace(enclosure_type=9)
        by_type = {row.type: row.chid for row in chid.compute(fields, machine.panel, "fwupd")}
        printed = {parts for _, parts in machine.ids}
        for guid, parts in machine.ids:
            if parts in TYPES:
                of_types += 1
                computed = by_type[TYPES[parts]]
            else:
                extra += 1
                computed = chid.hash_texts(str(machine.texts()[part]) for part in parts)
            if computed != guid:
                assert name == LATITUDE
                missed.add(guid)
        # The other way round: nothing is computed that fwupd called unknown.
        if name not in {"x1e80100-microsoft-denali.txt", LATITUDE}:
            unprinted = {type_ for type_, value in by_type.items() if value and chid.PARTS[type_] not in printed}
            assert not unprinted, name
    assert missed == LATITUDE_ODD
    assert (of_types, extra) == (639, 102)


def test_latitude_comes_out_without_stripping(shared: Path) -> None:
    (machine,) = read_machines(shared / "data/hwids/fwupd" / LATITUDE)
    texts = machine.texts("systemd-analyze")
    assert {guid for guid, _ in machine.ids} >= LATITUDE_ODD
    for guid, parts in machine.ids:
        assert chid.hash_texts(str(texts[part]) for part in parts) == guid


@pytest.fixture(scope="session")
def made_up(shared: Path) -> dict[str, tuple[Fields, dict[str, Any]]]:
    """The made-up machines: fields from the raw table, and what both programs printed."""
    outputs = json.loads((shared / "data/chids/chid.json").read_text())
    assert len(outputs) == 25
    return {
        name: (smbios.fields(smbios.parse((shared / f"data/chids/smbios-{name}.bin").read_bytes())), output)
        for name, output in outputs.items()
    }


def test_systemd_analyze(made_up: dict[str, tuple[Fields, dict[str, Any]]]) -> None:
    for name, (fields, output) in made_up.items():
        printed = {row["type"]: UUID(row["chid"]) for row in output["systemd_analyze"]}
        computed = {row.type: row.chid for row in chid.compute(fields, None, "systemd-analyze") if row.chid}
        assert computed == printed, name


def test_fwupd(made_up: dict[str, tuple[Fields, dict[str, Any]]]) -> None:
    for name, (fields, output) in made_up.items():
        printed = {
            TYPES[tuple(FWUPD[part] for part in parts.split(" + "))]: UUID(guid)
            for parts, guid in output["fwupd"].items()
        }
        # What SMBIOS lacks fwupd takes from sysfs, and the made-up sysfs had empty files for missing strings.
        known = Fields(*(b"" if value is None else value for value in fields))  # type: ignore[arg-type]
        computed = {row.type: row.chid for row in chid.compute(known, None, "fwupd") if row.chid}
        assert computed == printed, name


def test_stub_agrees_with_fwupd_but_for_two(made_up: dict[str, tuple[Fields, dict[str, Any]]]) -> None:
    """systemd 262.1 was seen to match by fwupd's types 3-11; a tab and an empty manufacturer are what differs."""
    differ = {}
    for name, (fields, output) in made_up.items():
        computed = {str(guid) for type_, guid in chid.chids(fields, None).items() if guid and type_ < 15}
        if computed != set(output["fwupd"].values()):
            differ[name] = computed - set(output["fwupd"].values())
    assert set(differ) == {"tab", "nomanufacturer", "zeroonly"}
    assert len(differ["tab"]) == 15
    assert len(differ["nomanufacturer"]) == len(differ["zeroonly"]) == 1


@pytest.mark.parametrize("view", chid.VIEWS)
def test_real_machine(view: str) -> None:
    computed = {row.type: str(row.chid) for row in chid.compute(X13S, None, view) if row.chid}
    assert computed == X13S_CHIDS


def test_panel_ids() -> None:
    # The OLED Surface Pro 11 of TravMurav/dtbloader, panel SDC4195.
    surface = Fields(
        manufacturer=b"Microsoft Corporation",
        family=b"Surface",
        product_name=b"Microsoft Surface Pro, 11th Edition",
        product_sku=b"Surface_Pro_11th_Edition_For_Business_2085",
    )
    rows = chid.compute(surface, "SDC4195")
    assert [row.type for row in rows] == list(range(18))
    assert [str(row.chid) for row in rows[15:]] == [
        "d752a22b-1fd8-53c3-89ef-8ca95618134a",
        "ca2ff828-b404-5253-9e0e-579c93bfb059",
        "2ea92a70-ac64-51f7-a395-dc86b06f4e0a",
    ]
    assert rows[16].parts == (
        ("manufacturer", "Microsoft Corporation"),
        ("family", "Surface"),
        ("edid_panel", "SDC4195"),
    )
    without = chid.chids(surface, None)
    assert without[14] is not None
    assert not any(without[type_] for type_ in (15, 16, 17))


def test_missing_strings() -> None:
    lonely = Fields(manufacturer=b"Lab Vendor")
    stub = chid.chids(lonely, None)
    # Strings count as empty, numbers do not (systemd 262, chid.c).
    assert {type_ for type_, guid in stub.items() if guid is None} == {0, 1, 2, 12, 15, 16, 17}
    assert stub[4] == chid.hash_texts(["Lab Vendor", "", "", ""])
    for view in ("fwupd", "systemd-analyze"):
        assert [row.type for row in chid.compute(lonely, None, view) if row.chid] == [14]


@pytest.mark.parametrize(
    ("value", "stub", "fwupd", "analyze"),
    [
        (b" 0AB ", "AB", "AB", " 0AB "),
        (b"0 AB", " AB", " AB", "0 AB"),
        (b" 00 x ", " x", " x", " 00 x "),
        (b"0000", "", "", "0000"),
        (b"ab\t", "ab\t", "ab", "ab\t"),
        (b"\t0ab", "\t0ab", "ab", "\t0ab"),
        (b"", "", "", None),
        (b"Z\xc3\xb6rn", "Zörn", "Zörn", "Zörn"),
        (b"Z\xf6rn", "Z", None, None),
        # The bytes are stripped before they are decoded: an overlong blank stays.
        (b"\xc0\xa0x", " x", None, None),
        (b"\xf0\x9f\x92\xbbx", "x", "\U0001f4bbx", "\U0001f4bbx"),
        (None, "", None, None),
    ],
)
def test_strings(value: bytes | None, stub: str, fwupd: str | None, analyze: str | None) -> None:
    for view, expected in zip(chid.VIEWS, (stub, fwupd, analyze), strict=True):
        (row,) = [row for row in chid.compute(Fields(product_sku=value), None, view) if row.type == 7]
        assert row.parts[1] == ("product_sku", expected)


@pytest.mark.parametrize(("number", "release", "enclosure"), [(2, "02", "2"), (11, "0b", "b"), (255, "ff", "ff")])
def test_numbers(number: int, release: str, enclosure: str) -> None:
    rows = chid.compute(Fields(bios_major=number, bios_minor=0, enclosure_type=number), None)
    assert rows[0].parts[-2:] == (("bios_major", release), ("bios_minor", "00"))
    assert rows[12].parts[-1] == ("enclosure_type", enclosure)


def test_chassis_lock() -> None:
    """Linux leaves bit 7 out of chassis_type."""
    locked, plain = Fields(manufacturer=b"x", enclosure_type=0x8A), Fields(manufacturer=b"x", enclosure_type=10)
    assert chid.compute(locked, None, "systemd-analyze") == chid.compute(plain, None, "systemd-analyze")
    assert chid.compute(locked, None)[12] != chid.compute(plain, None)[12]


def test_unknown_view() -> None:
    with pytest.raises(StubsimError, match="windows"):
        chid.compute(Fields(), None, "windows")


def test_priority_is_of_known_types() -> None:
    assert len(set(chid.PRIORITY)) == 12
    assert set(chid.PARTS) - set(chid.PRIORITY) == {0, 1, 2, 12, 13, 14}


@given(st.lists(st.text(st.characters(codec="ascii", exclude_characters="\0"))))
def test_hash_is_uuid5(texts: list[str]) -> None:
    """For ASCII, uuid5 of the text with a NUL behind each character hashes the same bytes, in Python 3.11 too."""
    assert chid.hash_texts(texts) == uuid5(chid.NAMESPACE, efi_string.utf16("&".join(texts)).decode())


optional_bytes = st.none() | st.binary(max_size=20)
optional_number = st.none() | st.integers(0, 255)
any_fields = st.builds(Fields, *[optional_bytes] * 8, *[optional_number] * 3)


@given(any_fields, st.none() | st.text(max_size=8), st.sampled_from(chid.VIEWS))
def test_anything_computes(fields: Fields, panel: str | None, view: str) -> None:
    for row in chid.compute(fields, panel, view):
        assert (row.chid is None) or row.chid.version == 5
        if any(text is None for _, text in row.parts):
            assert row.chid is None
