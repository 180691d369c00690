"""`evaluate_batch` says of each machine what a boot of that machine says."""

from __future__ import annotations

import base64
import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stubsim import chid, uki
from stubsim.errors import StubsimError
from stubsim.explain.measure import measure_hosts
from stubsim.fleet import Plan, evaluate_batch, result_schema
from stubsim.formats import edid, hwids, pe, smbios
from stubsim.formats.pe import SectionSpec
from stubsim.hosts import Host
from stubsim.hosts.fixture import from_json
from stubsim.start import Start
from tests import samples

pa = pytest.importorskip("pyarrow")

STRINGS = (
    "manufacturer", "product_name", "product_sku", "family", "baseboard_manufacturer", "baseboard_product",
    "bios_vendor", "bios_version",
)  # fmt: skip
# What an inventory of SMBIOS strings leaves open of a machine with x86.
LEFT_OPEN = (
    "edid", "memory", "secure_boot", "tpm", "rng", "console", "keyboard_layout", "firmware", "hypervisor",
    "confidential", "smbios.oem_strings", "smbios.bios_major", "smbios.bios_minor", "smbios.enclosure_type",
)  # fmt: skip
PLAIN = {"edid": None, "secure_boot": False}


def host_of(row: dict[str, Any], given: dict[str, Any] | None = None) -> Host:
    """The row as a host file, by the words of the documentation and not by the code under test."""
    known = {key: row[key] for key in STRINGS if row.get(key) is not None}
    strings = {key: None if text in ("", "Not Specified") else text for key, text in known.items()}
    unknown = [*(f"smbios.{key}" for key in STRINGS if key not in known), *LEFT_OPEN]
    given = given or {}
    return from_json(
        {
            "smbios": strings,
            "hypervisor": False,
            "fw_cfg": None,
            **given,
            "unknown": [key for key in unknown if key not in given],
        }
    )


def told(image: uki.Uki, host: Host, start: Start) -> dict[str, Any]:
    """What of a boot by itself has to be in a row."""
    measured = measure_hosts(image, [("", host)], start, ("sha256",))
    result = measured.boot
    doubted = {row.what: row for row in result.trace if hasattr(row, "affects") and row.what in host.unknown}
    row: dict[str, Any] = {
        "stubsim_outcome": result.outcome.status,
        "stubsim_outcome_hangs_on": ", ".join(key for key, one in doubted.items() if "outcome" in one.affects),
    }
    for word in ("dtbauto", "efifw"):
        section = None if result.sections is None else result.sections.section(f".{word}")
        row[f"stubsim_{word}_section"] = None if section is None else section.index
    values = measured.cases[0].pcrs.get("sha256", {})
    for pcr in (4, 9, 11, 12, 13):
        row[f"stubsim_pcr{pcr}"] = values[pcr].hex() if pcr in values else None
    return row


def batch_of(rows: list[dict[str, Any]]) -> Any:
    return pa.RecordBatch.from_pylist(rows, pa.schema([(key, pa.string()) for key in STRINGS]))


def choosing(*types: int, stub: str = "systemd-stub 262.1-1", null: bool = False) -> uki.Uki:
    """A UKI whose entries of these CHID types are for MACHINE, each with a devicetree of its own, and one firmware."""
    fields = smbios.Fields(**{key: text.encode() for key, text in samples.MACHINE.items()})
    own = chid.chids(fields, "ABC12ef")
    rows = [(hwids.DEVICETREE, own[kind], "Device", f"example,type-{kind}") for kind in types]
    rows.append((hwids.UEFI_FW, own[4], "Device", "fw"))
    if null:
        rows.append((hwids.DEVICETREE, chid.UUID(int=0), "Any", "example,any"))
    trees = [samples.devicetree(f"example,{name}") for name in (*(f"type-{kind}" for kind in types), "any")]
    table = SectionSpec(".hwids", hwids.build(rows))
    return uki.Uki(pe.open_bytes(samples.uki(table, *trees, samples.firmware(), stub=stub), "test.efi"))


IMAGES = (choosing(3, 7, 11), choosing(9, 17), choosing(5, null=True), choosing(5, 9, stub="systemd-stub 257.13-1"))
MACHINES = st.fixed_dictionaries(
    {
        key: st.sampled_from([text, text, "Another", f" {text}", f"0{text} ", "", "Not Specified", None])
        for key, text in samples.MACHINE.items()
    }
)


@settings(max_examples=25)
@given(st.lists(MACHINES, min_size=1, max_size=2), st.sampled_from(IMAGES), st.sampled_from([PLAIN, PLAIN, PLAIN, {}]))
def test_each_row_is_what_a_boot_says(rows: list[dict[str, Any]], image: uki.Uki, known: dict[str, Any]):
    answers = evaluate_batch(batch_of(rows), Plan(image, given=known)).to_pylist()
    for row, answer in zip(rows, answers, strict=True):
        host = host_of(row, known)
        expected = told(image, host, Start())
        assert {key: answer[key] for key in expected} == expected


def test_two_machines_alike_are_one_boot():
    plan = Plan(IMAGES[0], given=PLAIN)
    rows = [{**samples.MACHINE, "product_name": f"Product {number}"} for number in range(50)]
    evaluate_batch(batch_of(rows), plan)
    # All have the id of type 7 or of type 11 and not that of type 3.
    assert len(plan.answers) == 1


def test_the_type_and_the_entry_that_chose():
    [row] = evaluate_batch(batch_of([samples.MACHINE]), Plan(IMAGES[0], given=PLAIN)).to_pylist()
    assert (row["stubsim_dtbauto"], row["stubsim_dtbauto_chid_type"], row["stubsim_dtbauto_entry"]) == (
        "example,type-3",
        3,
        0,
    )
    assert (row["stubsim_efifw"], row["stubsim_efifw_chid_type"], row["stubsim_efifw_entry"]) == ("fw", 4, 3)


def test_a_panel_that_nobody_knows_leaves_the_choice_open():
    rows = [samples.MACHINE]
    [row] = evaluate_batch(batch_of(rows), Plan(IMAGES[1], given={"secure_boot": False})).to_pylist()
    assert (row["stubsim_dtbauto_section"] is not None, row["stubsim_dtbauto_hangs_on"]) == (True, "edid")
    assert row["stubsim_pcr11"] is None
    [row] = evaluate_batch(batch_of(rows), Plan(IMAGES[1], given=PLAIN)).to_pylist()
    assert (row["stubsim_dtbauto"], row["stubsim_dtbauto_hangs_on"]) == ("example,type-9", "")
    assert row["stubsim_pcr11"] is not None


def test_secure_boot_leaves_the_outcome_open_and_not_the_choice():
    [row] = evaluate_batch(batch_of([samples.MACHINE]), Plan(IMAGES[0], given={"edid": None})).to_pylist()
    assert row["stubsim_outcome_hangs_on"] == "secure_boot"
    assert row["stubsim_dtbauto_hangs_on"] == ""


def test_a_string_that_is_null_counts_where_it_may_decide_only():
    rows = [{**samples.MACHINE, "product_sku": None}, {**samples.MACHINE, "bios_version": None}]
    first, second = evaluate_batch(batch_of(rows), Plan(IMAGES[0], given=PLAIN)).to_pylist()
    assert first["stubsim_dtbauto_hangs_on"] == "smbios.product_sku"
    assert second["stubsim_dtbauto_hangs_on"] == ""


@pytest.mark.parametrize("text", ["", "Not Specified", "<BAD INDEX>"])
def test_string_number_0_is_known(text: str):
    image = choosing(11)
    [row] = evaluate_batch(batch_of([{**samples.MACHINE, "product_sku": text}]), Plan(image, given=PLAIN)).to_pylist()
    assert (row["stubsim_dtbauto"], row["stubsim_dtbauto_hangs_on"]) == ("example,type-11", "")


def test_a_dot_that_dmidecode_may_have_printed_for_another_byte_is_unknown():
    rows = [{**samples.MACHINE, "product_sku": "S.ku"}]
    [row] = evaluate_batch(batch_of(rows), Plan(IMAGES[0], given=PLAIN)).to_pylist()
    assert row["stubsim_dtbauto_hangs_on"] == "smbios.product_sku"


def test_columns_of_a_host_file_count():
    image = IMAGES[1]
    panel = base64.b64encode(edid.build("ABC12ef")).decode()
    schema = pa.schema(
        [*((key, pa.string()) for key in samples.MACHINE), ("edid", pa.string()), ("secure_boot", pa.bool_())]
    )
    rows = [
        {**samples.MACHINE, "edid": panel, "secure_boot": False},
        {**samples.MACHINE, "edid": "", "secure_boot": True},
    ]
    one, other = evaluate_batch(pa.RecordBatch.from_pylist(rows, schema), Plan(image)).to_pylist()
    assert (one["stubsim_outcome"], one["stubsim_outcome_hangs_on"]) == ("kernel-started", "")
    assert (one["stubsim_dtbauto"], one["stubsim_dtbauto_chid_type"]) == ("example,type-17", 17)
    assert (other["stubsim_outcome"], other["stubsim_dtbauto"]) == ("failed", None)


def test_a_whole_host_file_stands_for_all_columns():
    text = json.dumps({"smbios": samples.MACHINE, "secure_boot": False})
    batch = pa.RecordBatch.from_pylist([{"host": text, "manufacturer": "Another"}, {"host": "{", "manufacturer": None}])
    row, broken = evaluate_batch(batch, Plan(IMAGES[0])).to_pylist()
    assert (row["stubsim_dtbauto"], row["stubsim_dtbauto_hangs_on"]) == ("example,type-3", "")
    assert broken["stubsim_error"] == "the column host is not JSON (expected a host file)"


@pytest.mark.parametrize(
    ("key", "text", "part"),
    [
        ("secure_boot", "maybe", "secure_boot"),
        ("memory", "lots", "memory"),
        ("bios_release", "four", "BIOS release"),
        ("bios_major", "256", "0 to 255"),
        ("manufacturer", "a\0b", "NUL"),
        ("edid", "%", "edid"),
    ],
)
def test_a_value_that_no_host_file_has_is_the_row_s_own_error(key: str, text: str, part: str):
    batch = pa.RecordBatch.from_pylist([{"manufacturer": "A", key: text}, {"manufacturer": "A", key: None}])
    bad, good = evaluate_batch(batch, Plan(IMAGES[0])).to_pylist()
    assert part in bad["stubsim_error"]
    assert bad["stubsim_outcome"] is None
    assert (good["stubsim_error"], good["stubsim_outcome"]) == (None, "kernel-started")


def test_no_row_and_no_column():
    plan = Plan(IMAGES[0])
    assert evaluate_batch(batch_of([]), plan).schema == result_schema()
    [row] = evaluate_batch(pa.RecordBatch.from_pylist([{"serial": 1}]), plan).to_pylist()
    assert "smbios.manufacturer" in row["stubsim_dtbauto_hangs_on"]


def test_what_is_given_has_to_be_what_a_host_file_may_say():
    with pytest.raises(StubsimError, match="secure_boot"):
        Plan(IMAGES[0], given={"secure_boot": "maybe"}).columns(())


def shared_image(shared: Path) -> uki.Uki:
    """A UKI with the hardware ids that systemd 262 ships, and a devicetree for each."""
    table = (shared / "data/hwids/ukify-262.hwids").read_bytes()
    names = sorted({entry.string for entry in hwids.parse(table) if entry.string})
    trees = [samples.devicetree(name) for name in names]
    return uki.Uki(pe.open_bytes(samples.uki(SectionSpec(".hwids", table), *trees), "shipped.efi"))


def compare_with_boots(shared: Path, count: int, known: dict[str, Any], start: Start) -> None:
    import pyarrow.parquet

    image = shared_image(shared)
    table = pyarrow.parquet.read_table(shared / "data/dmi/machines.parquet", columns=list(STRINGS))
    rows = table.take(sorted(random.Random(count).sample(range(len(table)), count))).to_pylist()
    answers = evaluate_batch(batch_of(rows), Plan(image, start, given=known)).to_pylist()
    for row, answer in zip(rows, answers, strict=True):
        # The sample has strings with a dot that stands for another byte, perhaps.
        if any(text and "." in text for key, text in row.items() if not key.startswith("bios")):
            continue
        host = host_of(row, known)
        expected = told(image, host, start)
        assert {key: answer[key] for key in expected} == expected, row


def test_real_machines_one_by_one(shared: Path):
    compare_with_boots(shared, 40, PLAIN, Start(stub="262"))


@pytest.mark.heavy
@pytest.mark.parametrize("known", [PLAIN, {}])
@pytest.mark.parametrize("stub", ["257", "262"])
def test_500_real_machines_one_by_one(shared: Path, known: dict[str, Any], stub: str):
    compare_with_boots(shared, 500, known, Start(stub=stub))
