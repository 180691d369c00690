"""`stubsim fleet`: what it prints, writes and returns."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from stubsim import schemas
from tests import samples
from tests.fleet import machines as made

pytest.importorskip("duckdb")
pq = pytest.importorskip("pyarrow.parquet")

GIVEN = ("--given", "edid=null", "--given", "secure_boot=false")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    table = samples.table((1, "example,one"), (2, "fw"), chids=(samples.CHIDS[3], samples.CHIDS[7]))
    image = samples.uki(table, samples.devicetree("example,one"), samples.firmware())
    samples.written(tmp_path, "a.efi", image)
    (tmp_path / "m.ndjson").write_text(made.ndjson(made.machines()) + "{\n")
    return tmp_path


def report(place: Path, *arguments: str) -> dict[str, object]:
    result = samples.invoke("fleet", place / "a.efi", "--hosts", place / "m.ndjson", "--format", "json", *arguments)
    value: dict[str, object] = json.loads(result.out)
    assert [str(error) for error in Draft202012Validator(schemas.load("fleet")).iter_errors(value)] == []
    return value


def test_the_counts_add_up(place: Path):
    found = report(place, *GIVEN)
    assert (found["machines"], found["refused"]["rows"]) == (100, 1)
    for name in (".dtbauto", ".efifw"):
        rows = [row for row in found["sections"] if row["name"] == name]
        assert sum(row["machines"] for row in rows) == 100
        for row in rows:
            assert row["index"] is None or sum(each["machines"] for each in row["types"]) == row["machines"]
    for row in found["pcrs"]:
        assert sum(value["machines"] for value in row["values"]) + row["unknown"] == 100
    # Where a null leaves open which type it is, no entry is given.
    chosen = [each for row in found["sections"] for each in row["types"] if each["chid_type"] is not None]
    assert sum(entry["machines"] for entry in found["entries"]) == sum(each["machines"] for each in chosen) > 100


def test_what_is_not_known_is_counted_apart(place: Path):
    chosen, none = [row for row in report(place)["sections"] if row["name"] == ".dtbauto"]
    # There is one .dtbauto: a panel may give it to those that have none, and takes it from nobody.
    assert "edid" not in chosen["hangs_on"]
    assert none["hangs_on"]["edid"] == none["machines"] == none["unsure"]
    rows = [row for row in report(place, *GIVEN)["sections"] if row["name"] == ".dtbauto"]
    # Every eleventh of the hundred, where no other type decides.
    assert 0 < sum(row["unsure"] for row in rows) <= 10
    assert {key for row in rows for key in row["hangs_on"]} == {"smbios.baseboard_product"}


def test_a_row_for_each_machine(place: Path):
    out = place / "result.parquet"
    result = samples.invoke("fleet", place / "a.efi", "--hosts", place / "m.ndjson", "-o", out, *GIVEN)
    assert result.status == 0
    rows = pq.read_table(out).to_pylist()
    assert [row["serial"] for row in rows] == [row["serial"] for row in made.machines()]
    chosen = [row["stubsim_dtbauto"] for row in rows if row["stubsim_dtbauto"]]
    text = next(line for line in result.out.splitlines() if ".dtbauto, section" in line)
    assert int(text.split()[0]) == len(chosen)
    before = out.read_bytes()
    samples.invoke("fleet", place / "a.efi", "--hosts", place / "m.ndjson", "-o", out, *GIVEN)
    assert out.read_bytes() == before


def test_a_failed_run_leaves_what_was_there(place: Path):
    out = place / "result.parquet"
    out.write_bytes(b"before")
    for hosts in ("none.parquet", "a.efi"):
        assert samples.invoke("fleet", place / "a.efi", "--hosts", place / hosts, "-o", out).status == 2
    (place / "a.ndjson").write_text("{")
    assert samples.invoke("fleet", place / "a.efi", "--hosts", place / "a.ndjson", "-o", out).status == 2
    assert out.read_bytes() == b"before"
    assert sorted(path.name for path in place.iterdir()) == ["a.efi", "a.ndjson", "m.ndjson", "result.parquet"]


def test_the_page_has_a_bar_for_each_choice(place: Path):
    result = samples.invoke("fleet", place / "a.efi", "--hosts", place / "m.ndjson", "--format", "html", *GIVEN)
    assert result.out.count('<rect class="s') >= 3
    assert "Machines by choice" in result.out


def test_a_boot_that_fails(place: Path):
    samples.written(place, "b.efi", samples.uki(linux=None))
    result = samples.invoke("fleet", place / "b.efi", "--hosts", place / "m.ndjson")
    assert result.status == 1
    assert "Image lacks .linux section." in result.out


@pytest.mark.parametrize(
    "words", [("--given", "secure_boot"), ("--given", "colour=red"), ("--map", "=x"), ("--given", "secure_boot=maybe")]
)
def test_options_that_say_nothing(words: tuple[str, str], place: Path):
    assert samples.invoke("fleet", place / "a.efi", "--hosts", place / "m.ndjson", *words).status == 2


def test_hostile_texts_are_clean(place: Path):
    rows = [{**samples.MACHINE, "product_name": "\x1b[31m::error::<script>"}]
    (place / "m.ndjson").write_text(made.ndjson(rows))
    for form in ("text", "json", "html"):
        out = samples.invoke("fleet", place / "a.efi", "--hosts", place / "m.ndjson", "--format", form).out
        assert "\x1b" not in out
        assert "<script" not in out or form == "json"


def test_other_commands_load_no_engine(place: Path):
    code = (
        "import sys; from stubsim.cli import main; main(['inspect', sys.argv[1]]); "
        "print({'duckdb', 'pyarrow'} & {*sys.modules})"
    )
    call = [sys.executable, "-c", code, str(place / "a.efi")]
    assert subprocess.run(call, capture_output=True, text=True, check=True).stdout.endswith("set()\n")


def test_each_register_has_a_verdict(place: Path):
    def verdicts(*words: str) -> dict[int, tuple[str, list[str]]]:
        rows = report(place, *words)["pcrs"]
        return {row["pcr"]: (row["verdict"], row["because"]) for row in rows}

    known = ("--given", "oem_strings=[]", "--given", "confidential=null")
    found = verdicts(*GIVEN, *known)
    assert found[4][0] == "value"
    assert found[12] == ("value", [])
    # A null leaves open for some machines what is chosen.
    assert found[11] == ("unknown", ["baseboard product not known"])
    (place / "m.ndjson").write_text(made.ndjson([row for row in made.machines() if row["baseboard_product"]]))
    assert verdicts(*GIVEN, *known)[11] == ("differs-by-machine", ["2 values"])
    # Nothing is told of OEM strings.
    assert verdicts(*GIVEN)[12] == ("unknown", ["OEM strings not known"])
    shown = samples.invoke("fleet", place / "a.efi", "--hosts", place / "m.ndjson", *GIVEN).out
    assert "   12  not known           OEM strings not known\n" in shown
