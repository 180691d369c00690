"""Spark in local mode, with a real Java, gives the same table as `stubsim fleet`, and runs the example."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests import samples
from tests.fleet import machines as made

pyspark = pytest.importorskip("pyspark")
pytest.importorskip("pandas")
pq = pytest.importorskip("pyarrow.parquet")
pytest.importorskip("duckdb")

pytestmark = [pytest.mark.heavy, pytest.mark.skipif(shutil.which("java") is None, reason="no Java")]

ROOT = Path(__file__).resolve().parents[2]
GIVEN = ("edid=null", "secure_boot=false")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    table = samples.table((1, "example,one"), (2, "fw"), chids=(samples.CHIDS[3], samples.CHIDS[7]))
    image = samples.uki(table, samples.devicetree("example,one"), samples.firmware())
    samples.written(tmp_path, "a.efi", image)
    made.parquet(made.machines(), tmp_path / "m.parquet")
    return tmp_path


def written(path: Path) -> bytes:
    """A table's rows in order, as bytes: sorted by serial number, in one batch, without what a writer adds."""
    import pyarrow as pa

    table = pq.read_table(path).sort_by("serial")
    schema = pa.schema([(field.name, field.type) for field in table.schema])
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema) as stream:
        stream.write_table(table.cast(schema).combine_chunks())
    return sink.getvalue().to_pybytes()


def test_spark_submit_gives_the_same_table(place: Path):
    words = [word for value in GIVEN for word in ("--given", value)]
    own = samples.invoke("fleet", place / "a.efi", "--hosts", place / "m.parquet", "-o", place / "own.parquet", *words)
    assert own.status == 0, own.err
    submit = Path(pyspark.__file__).parent / "bin" / "spark-submit"
    environment = {
        **os.environ,
        "PYSPARK_PYTHON": sys.executable,
        "SPARK_LOCAL_IP": "127.0.0.1",
        "PYTHONPATH": os.pathsep.join((str(ROOT), os.environ.get("PYTHONPATH", ""))),
    }
    call = [
        str(submit), "--master", "local[2]", "--conf", "spark.ui.enabled=false", "--conf", f"spark.local.dir={place}",
        "--conf", "spark.log.level=ERROR", "--conf", "spark.sql.shuffle.partitions=2",
        str(ROOT / "examples" / "spark_fleet.py"), str(place / "a.efi"), str(place / "m.parquet"),
        str(place / "spark.parquet"), *GIVEN,
    ]  # fmt: skip
    done = subprocess.run(call, env=environment, capture_output=True, text=True, timeout=600, check=False, cwd=place)
    assert done.returncode == 0, done.stderr[-5000:]
    assert "kernel-started" in done.stdout
    assert len(list((place / "spark.parquet").glob("*.parquet"))) >= 1
    assert written(place / "spark.parquet") == written(place / "own.parquet")
