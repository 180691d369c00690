"""Whatever the machines come from, they get the same answers; what cannot be read is told and stops nothing."""

from __future__ import annotations

import gzip
import io
import json
import lzma
import tarfile
from pathlib import Path
from typing import Any

import pytest

from stubsim import uki
from stubsim.errors import StubsimError
from stubsim.fleet import Plan, evaluate_batch
from stubsim.fleet.crew import Crew
from stubsim.fleet.engine import Survey, fleet_of
from stubsim.fleet.evaluate import PREFIX
from stubsim.formats import pe
from tests import samples
from tests.fleet import machines as made

duckdb = pytest.importorskip("duckdb")
pa = pytest.importorskip("pyarrow")

GIVEN = {"edid": None, "secure_boot": False}
TABLE = samples.table((1, "example,one"), (2, "fw"), chids=(samples.CHIDS[3], samples.CHIDS[7]))
IMAGE = uki.Uki(pe.open_bytes(samples.uki(TABLE, samples.devicetree("example,one"), samples.firmware()), "test.efi"))
ROWS = made.machines()


def asked(place: str | Path, plan: Plan | None = None, **options: Any) -> Survey:
    with fleet_of(str(place), **options) as fleet:
        return fleet.survey(Crew([plan or Plan(IMAGE, given=GIVEN)]))


def counted(survey: Survey, plan: Plan) -> dict[tuple[Any, ...], int]:
    """Machines by what is chosen for them and by what that hangs on."""
    counts: dict[tuple[Any, ...], int] = {}
    for group in survey.groups:
        answer = plan.answers[group.kinds[0]]
        assert not isinstance(answer, StubsimError)
        key = tuple((row.section, row.chid_type, row.hangs_on) for row in answer.chosen.values())
        counts[key] = counts.get(key, 0) + group.machines
    return counts


@pytest.fixture(scope="module")
def expected() -> dict[tuple[Any, ...], int]:
    """By `evaluate_batch` alone."""
    plan = Plan(IMAGE, given=GIVEN)
    batch = pa.RecordBatch.from_pylist(ROWS)
    counts: dict[tuple[Any, ...], int] = {}
    for row in evaluate_batch(batch, plan).to_pylist():
        parts = []
        for word in ("dtbauto", "efifw"):
            section, kind, keys = (row[f"{PREFIX}{word}_{name}"] for name in ("section", "chid_type", "hangs_on"))
            parts.append((section, kind, tuple(keys.split(", ") if keys else ())))
        counts[tuple(parts)] = counts.get(tuple(parts), 0) + 1
    assert len(counts) > 3
    return counts


def write(kind: str, folder: Path) -> str:
    path = folder / f"machines.{kind}"
    if kind == "parquet":
        return str(made.parquet(ROWS, path))
    if kind == "ndjson.gz":
        path.write_bytes(gzip.compress(made.ndjson(ROWS).encode()))
    elif kind == "bare":
        # Known by what is in it, under a name that would be a pattern.
        path = folder / "mach[i]nes*"
        path.write_text(made.ndjson(ROWS))
    else:
        path.write_text({"ndjson": made.ndjson, "csv": made.csv}[kind](ROWS))
    return str(path)


@pytest.mark.parametrize("kind", ["parquet", "ndjson", "ndjson.gz", "bare", "csv"])
def test_files_of_rows(kind: str, tmp_path: Path, expected: dict[tuple[Any, ...], int]):
    plan = Plan(IMAGE, given=GIVEN)
    survey = asked(write(kind, tmp_path), plan)
    assert (survey.machines, survey.refused) == (100, 0)
    assert counted(survey, plan) == expected


def test_a_database(tmp_path: Path, expected: dict[tuple[Any, ...], int]):
    pytest.importorskip("adbc_driver_sqlite")
    plan = Plan(IMAGE, given=GIVEN)
    place = made.sqlite(ROWS, tmp_path / "inventory.db")
    survey = asked(f"sqlite:{place}", plan, sql="SELECT * FROM inventory WHERE serial LIKE 'S%'")
    assert counted(survey, plan) == expected
    with pytest.raises(StubsimError, match="the query fails"):
        asked(f"sqlite:{place}", sql="SELECT * FROM nothing")
    with pytest.raises(StubsimError, match="no such database"):
        asked(f"sqlite:{tmp_path}/none.db", sql="SELECT 1")
    with pytest.raises(StubsimError, match="unknown kind of database 'oracle'"):
        asked("oracle://somewhere", sql="SELECT 1")


def host_files() -> dict[str, bytes]:
    strings = {key: text for key, text in samples.MACHINE.items() if key != "bios_version"}
    return {
        "a.json": json.dumps({"smbios": strings, **GIVEN}).encode(),
        "deeper/b.json": json.dumps({"smbios": {"manufacturer": "Another"}, "unknown": ["secure_boot"]}).encode(),
        "c.txt": b"no machine at all",
        "d.json": b'{"smbios": {"manufacturer": 1}}',
    }


def in_folder(folder: Path) -> Path:
    for name, content in host_files().items():
        (folder / name).parent.mkdir(exist_ok=True, parents=True)
        (folder / name).write_bytes(content)
    return folder


def in_tar(folder: Path) -> Path:
    path = folder / "machines.tar.xz"
    with tarfile.open(path, "w:xz") as tar:
        for name, content in host_files().items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


@pytest.mark.parametrize("make", [in_folder, in_tar])
def test_host_files_of_any_kind(make: Any, tmp_path: Path):
    plan = Plan(IMAGE)
    survey = asked(make(tmp_path / "in" if make is in_folder else tmp_path), plan)
    assert (survey.machines, survey.refused) == (2, 2)
    assert [row.line for row in survey.listed] == ["c.txt", "d.json"]
    answers = [plan.answers[group.kinds[0]] for group in survey.groups]
    assert sorted((answer.chosen[1].string or "", answer.hangs_on) for answer in answers) == [
        ("", ("secure_boot",)),
        ("example,one", ()),
    ]


def test_columns_have_other_names(tmp_path: Path):
    rows = [{"vendor": row["manufacturer"], "sku number": row["product_sku"]} for row in ROWS]
    (tmp_path / "m.ndjson").write_text(made.ndjson(rows))
    plan = Plan(IMAGE, given=GIVEN)
    survey = asked(tmp_path / "m.ndjson", plan, mapping={"manufacturer": "vendor", "product_sku": "sku number"})
    assert survey.machines == 100
    assert any(row[0] is not None for key in counted(survey, plan) for row in key)
    with pytest.raises(StubsimError, match=r"no column maker \(expected one of its columns: vendor, sku number\)"):
        asked(tmp_path / "m.ndjson", mapping={"manufacturer": "maker"})
    with pytest.raises(StubsimError, match="a host file has no maker"):
        asked(tmp_path / "m.ndjson", mapping={"maker": "vendor"})
    with pytest.raises(StubsimError, match=r"no column manufacturer.*vendor, sku number"):
        asked(tmp_path / "m.ndjson")


@pytest.mark.parametrize("ending", ["", '\n{"manufacturer": "Example", "product_s'])
def test_lines_that_are_no_json(ending: str, tmp_path: Path):
    lines = made.ndjson(ROWS).splitlines()
    lines[3:3] = ["[1, 2]", "", "{", '{"manufacturer": "\\ud800"}', '{"manufacturer": NaN}']
    (tmp_path / "m.ndjson").write_text("\n".join(lines) + ending)
    survey = asked(tmp_path / "m.ndjson")
    assert survey.machines == 100
    assert [row.line for row in survey.listed] == [4, 6, 7, 8, *([106] if ending else [])]
    assert survey.refused == len(survey.listed)
    assert survey.listed[0].why == "not a JSON object"


def test_a_bad_line_behind_the_sample(tmp_path: Path):
    (tmp_path / "m.ndjson").write_text(made.ndjson(made.machines(20500)) + "{\n" + made.ndjson(ROWS))
    survey = asked(tmp_path / "m.ndjson")
    assert (survey.machines, [row.line for row in survey.listed]) == (20600, [20501])


def test_lines_that_are_no_rows(tmp_path: Path):
    lines = made.csv(ROWS).splitlines()
    lines[5:5] = ["a,b", "a,b,c,d,e,f,g,h"]
    (tmp_path / "m.csv").write_text("\n".join(lines) + "\n")
    survey = asked(tmp_path / "m.csv")
    assert (survey.machines, survey.refused) == (100, 2)
    assert [row.line for row in survey.listed] == [6, 7]


def test_a_quote_that_nothing_ends_takes_lines_along(tmp_path: Path):
    lines = made.csv(ROWS).splitlines()
    lines = [line.replace('"', "") for line in lines]
    lines[-3] = f'"{lines[-3]}'
    (tmp_path / "m.csv").write_text("\n".join(lines) + "\n")
    survey = asked(tmp_path / "m.csv")
    assert (survey.machines, survey.refused) == (97, 1)
    [row] = survey.listed
    assert row.line == 99
    assert row.why.endswith("; 3 lines are in it")


def test_values_that_describe_no_machine(tmp_path: Path):
    rows = [{**row, "secure_boot": "perhaps" if number == 40 else "false"} for number, row in enumerate(ROWS)]
    (tmp_path / "m.ndjson").write_text(made.ndjson(rows))
    survey = asked(tmp_path / "m.ndjson", Plan(IMAGE))
    assert (survey.machines, survey.refused) == (99, 1)
    [row] = survey.listed
    assert row.line == "row 41"
    assert row.why.startswith("secure_boot")


@pytest.mark.parametrize("kind", ["parquet", "ndjson.gz"])
def test_a_source_that_ends_in_the_middle(kind: str, tmp_path: Path):
    whole = Path(write(kind, tmp_path))
    whole.write_bytes(whole.read_bytes()[:-20])
    with pytest.raises(StubsimError):
        asked(whole)


@pytest.mark.parametrize("content", [b"", b"\0" * 100, b"\xff\xfe\n1\n", b"[]\n", b"1\n"])
@pytest.mark.parametrize("name", ["m.parquet", "m.ndjson", "m.csv", "m.tar", "m"])
def test_what_is_no_inventory(name: str, content: bytes, tmp_path: Path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(StubsimError):
        asked(tmp_path / name)


def test_there_is_nothing(tmp_path: Path):
    with pytest.raises(StubsimError, match="No such file"):
        asked(tmp_path / "none")


def test_packed_as_zst(tmp_path: Path):
    source = write("csv", tmp_path)
    packed = tmp_path / "p.csv.zst"
    with duckdb.connect() as engine:
        engine.execute(f"COPY (FROM read_csv('{source}', all_varchar = true)) TO '{packed}' (COMPRESSION zstd)")
    assert asked(packed).machines == 100
    packed.write_bytes(packed.read_bytes()[:-20])
    with pytest.raises(StubsimError, match=r"p\.csv\.zst"):
        asked(packed)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ('{"manufacturer": "a", "manufacturer": "b"}', "not JSON: a key is there twice"),
        ('{"manufacturer": "' + "x" * (17 << 20) + '"}', "longer than 16 MiB"),
        ('{"manufacturer": ' + "[" * 100000 + "]" * 100000 + "}", "not JSON: "),
    ],
    ids=["twice", "long", "deep"],
)
def test_a_line_that_the_engine_refuses_is_one_row(line: str, why: str, tmp_path: Path):
    lines = made.ndjson(ROWS).splitlines()
    lines[3:3] = [line]
    (tmp_path / "m.ndjson").write_text("\n".join(lines) + "\n{\n")
    survey = asked(tmp_path / "m.ndjson")
    assert (survey.machines, [row.line for row in survey.listed]) == (100, [4, 102])
    assert survey.listed[0].why.startswith(why)


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("name", ["m.csv", "m.ndjson", "m.csv.gz", "m"])
def test_utf_16_is_refused_as_what_it_is(name: str, encoding: str, tmp_path: Path):
    data = ("\ufeff" + "manufacturer,product_name\r\nA,B\r\n").encode(encoding)
    path = samples.written(tmp_path, name, gzip.compress(data) if name.endswith(".gz") else data)
    with pytest.raises(StubsimError, match="is UTF-16") as caught:
        asked(path)
    assert (caught.value.path, caught.value.expected) == (str(path), "UTF-8 (in PowerShell: Out-File -Encoding utf8)")


@pytest.mark.parametrize("header", ["manufacturer,Manufacturer\n1,2\n", "manufacturer\r1\r", "a,,b\n1,2,3\n"])
def test_a_first_line_that_names_no_columns(header: str, tmp_path: Path):
    (tmp_path / "m.csv").write_text(header)
    with pytest.raises(StubsimError, match=r"m\.csv: the first line"):
        asked(tmp_path / "m.csv")


def test_a_tar_file_without_its_end(tmp_path: Path):
    whole = tmp_path / "m.tar"
    data = lzma.decompress(in_tar(tmp_path).read_bytes()).rstrip(b"\0")
    # Between two members, where nothing looks cut off.
    whole.write_bytes(data + bytes(-len(data) % 512))
    with pytest.raises(StubsimError, match="no mark of its end"):
        asked(whole)


def test_an_error_names_the_file_as_it_was_given(tmp_path: Path):
    (tmp_path / "m.parquet").write_bytes(b"PAR1")
    with pytest.raises(StubsimError) as caught:
        asked(tmp_path / "m.parquet")
    assert "inventory.parquet" not in str(caught.value)
