"""`hwids audit`: entries for machines of several models, held against counts made another way."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from stubsim import chid, schemas
from stubsim.formats import hwids, smbios
from tests import samples
from tests.fleet import machines as made

duckdb = pytest.importorskip("duckdb")

FIRST = {**samples.MACHINE}
SECOND = {**FIRST, "product_name": "Other", "baseboard_product": "Two"}


def section(folder: Path, *types: int) -> Path:
    """Entries of these types for FIRST, and one for nobody."""
    own = chid.chids(smbios.Fields(**{key: text.encode() for key, text in FIRST.items()}), None)
    rows = [(hwids.DEVICETREE, own[kind], "First", "example,first") for kind in types]
    rows.append((hwids.DEVICETREE, chid.UUID("12345678-1234-5678-9234-123456789abc"), "None", "example,none"))
    return samples.written(folder, "table.hwids", hwids.build(rows))


def audited(folder: Path, machines: list[dict[str, Any]], *types: int) -> Any:
    (folder / "m.ndjson").write_text(made.ndjson(machines))
    result = samples.invoke(
        "hwids", "audit", section(folder, *types), "--hosts", folder / "m.ndjson", "--format", "json"
    )
    assert not list(Draft202012Validator(schemas.load("hwids-audit")).iter_errors(result.json))
    assert result.status == bool(result.json["several_models"])
    return result.json


def test_an_entry_for_two_models(tmp_path: Path):
    found = audited(tmp_path, [FIRST, FIRST, SECOND], 3, 7)
    [wide] = found["several_models"]
    assert (wide["chid_type"], wide["machines"], [model["machines"] for model in wide["models"]]) == (7, 3, [2, 1])
    assert wide["strings"] == {"manufacturer": "Example", "product_sku": "SKU"}
    # 4 has the product's name as well, 6 the board.
    assert sorted(wide["narrower"]) == [3, 4, 6]
    # The entry of type 3 says which of them is meant.
    assert [model["product_name"] for model in wide["kept"]] == ["Product"]
    assert [(hit["chid_type"], hit["machines"]) for hit in found["one_model"]] == [(3, 2)]
    assert [row["string"] for row in found["nobody"]] == ["example,none"]


def test_many_machines_of_one_model_are_right(tmp_path: Path):
    machines = [{**FIRST, "serial": number, "bios_version": str(number)} for number in range(9)]
    machines.append({**FIRST, "product_name": "Product  "})
    assert audited(tmp_path, machines, 7)["several_models"] == []


def test_a_string_that_is_not_known_makes_no_model(tmp_path: Path):
    found = audited(tmp_path, [FIRST, {**FIRST, "family": None}], 7)
    assert found["several_models"] == []
    assert found["one_model"][0]["machines"] == 2
    # And a CHID of it is nobody's.
    assert audited(tmp_path, [{**FIRST, "product_sku": None}], 7)["one_model"] == []


def test_a_narrower_type_that_does_not_tell_them_apart_is_not_named(tmp_path: Path):
    found = audited(tmp_path, [FIRST, {**FIRST, "baseboard_product": "Two"}], 7)
    assert sorted(found["several_models"][0]["narrower"]) == [3, 6]


def test_configurations_of_a_lenovo_are_one_model(tmp_path: Path):
    lenovo = {**FIRST, "manufacturer": "LENOVO", "product_name": "21BYS00000", "baseboard_product": "21BYS00000"}
    other = {**lenovo, "product_name": "21BYS03Y00", "baseboard_product": "21BYS03Y00"}
    third = {**lenovo, "product_name": "21BXS03Y00", "baseboard_product": "21BXS03Y00"}
    own = chid.chids(smbios.Fields(**{key: text.encode() for key, text in lenovo.items()}), None)
    table = samples.written(tmp_path, "l.hwids", hwids.build([(hwids.DEVICETREE, own[7], "L", "l")]))
    for machines, status in (([lenovo, other], 0), ([lenovo, third], 1)):
        (tmp_path / "m.ndjson").write_text(made.ndjson(machines))
        assert samples.invoke("hwids", "audit", table, "--hosts", tmp_path / "m.ndjson").status == status


STRINGS = ("manufacturer", "product_name", "product_sku", "family", "baseboard_manufacturer", "baseboard_product")


def counted(shared: Path, texts: dict[str, str]) -> int:
    """Machines with these strings, as a stub strips them; by DuckDB over the strings themselves."""
    stripped = (
        "rtrim(ltrim(ltrim(CASE WHEN {0} IN ('Not Specified', '<BAD INDEX>') THEN '' ELSE {0} END, ' '), '0'), ' ')"
    )
    same = " AND ".join(f"{stripped.format(name)} = ?" for name in texts)
    query = f"SELECT count(*) FROM read_parquet(?) WHERE {same}"
    values = [str(shared / "data/dmi/machines.parquet"), *texts.values()]
    [(count,)] = duckdb.connect().execute(query, values).fetchall()
    return int(count)


@pytest.mark.heavy
def test_the_shipped_descriptions_on_real_machines(shared: Path):
    machines = shared / "data/dmi/machines.parquet"
    result = samples.invoke("hwids", "audit", shared / "data/hwids/json", "--hosts", machines, "--format", "json")
    wide = {(row["string"], row["chid_type"]): row for row in result.json["several_models"]}
    huawei = wide["huawei,gaokun3", 7]
    assert huawei["strings"] == {"manufacturer": "HUAWEI", "product_sku": "C233"}
    assert huawei["machines"] == counted(shared, huawei["strings"]) == 47
    assert len(wide) >= 11
    for row in wide.values():
        assert row["machines"] == counted(shared, row["strings"]), row["strings"]
    # Those that were meant are not among them.
    right = {row["string"] for row in result.json["one_model"]}
    assert {"lenovo,thinkpad-x13s", "lenovo,yoga-c630", "microsoft,arcata", "microsoft,romulus13"} <= right
    assert not {"lenovo,thinkpad-x13s", "lenovo,yoga-c630", "microsoft,arcata"} & {string for string, _ in wide}


def test_the_text_says_what_to_do(tmp_path: Path):
    (tmp_path / "m.ndjson").write_text(json.dumps(FIRST) + "\n" + json.dumps(SECOND) + "\n")
    text = samples.invoke("hwids", "audit", section(tmp_path, 7), "--hosts", tmp_path / "m.ndjson").out
    text = " ".join(text.split())
    assert "1 entry is for machines of several models" in text
    assert "2 models, 2 machines" in text
    assert "narrow enough by type 3" in text
