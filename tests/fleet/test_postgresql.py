"""A real PostgreSQL server, started here: an inventory in it gives the same result as in a file."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import samples
from tests.fleet import machines as made

pytest.importorskip("duckdb")
pytest.importorskip("adbc_driver_postgresql")
pq = pytest.importorskip("pyarrow.parquet")

pytestmark = [pytest.mark.heavy, pytest.mark.oracle]
GIVEN = ("--given", "edid=null", "--given", "secure_boot=false")


def programs() -> Path | None:
    """Where Debian keeps a server's programs."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return found[-1].parent if found else None


@pytest.fixture
def server() -> Iterator[str]:
    """The folder of the socket of a server that listens to nothing else."""
    where = programs()
    if where is None:
        pytest.skip("no PostgreSQL server")
    # pytest's own folders are root's alone, and it does not run as root.
    folder = Path(tempfile.mkdtemp(prefix="stubsim-pg-"))
    user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.geteuid() == 0 else []
    if user:
        shutil.chown(folder, "postgres", "postgres")

    def run(program: str, *words: str) -> None:
        call = [*user, str(where / program), *words]
        subprocess.run(call, check=True, capture_output=True, cwd=folder, timeout=120)

    data, options = str(folder / "data"), f"-c listen_addresses='' -c unix_socket_directories={folder} -c fsync=off"
    run("initdb", "-D", data, "-U", "inventory", "-A", "trust", "-E", "UTF8", "--locale=C")
    run("pg_ctl", "-D", data, "-w", "-l", str(folder / "log"), "-o", options, "start")
    try:
        yield str(folder)
    finally:
        run("pg_ctl", "-D", data, "-m", "immediate", "stop")
        shutil.rmtree(folder)


def test_10000_machines_in_a_database(server: str, tmp_path: Path):
    import adbc_driver_postgresql.dbapi

    table = samples.table((1, "example,one"), (2, "fw"), chids=(samples.CHIDS[3], samples.CHIDS[7]))
    image = samples.uki(table, samples.devicetree("example,one"), samples.firmware())
    uki = samples.written(tmp_path, "a.efi", image)
    inventory = made.parquet(made.machines(10_000), tmp_path / "m.parquet")
    uri = f"postgresql:///postgres?host={server}&user=inventory"
    with adbc_driver_postgresql.dbapi.connect(uri) as database, database.cursor() as cursor:
        cursor.adbc_ingest("machines", pq.read_table(inventory), mode="create")
        database.commit()
    query = "SELECT * FROM machines ORDER BY serial"
    for name, words in (("file", (str(inventory),)), ("database", (uri, "--sql", query))):
        result = samples.invoke("fleet", uki, "--hosts", *words, *GIVEN, "-o", tmp_path / f"{name}.parquet")
        assert result.status == 0, result.err
    assert pq.read_table(tmp_path / "database.parquet").equals(pq.read_table(tmp_path / "file.parquet"))
    broken = samples.invoke(
        "fleet", uki, "--hosts", uri, "--sql", "SELECT * FROM nothing", "-o", tmp_path / "x.parquet"
    )
    assert broken.status == 2
    assert "the query fails" in broken.err
    assert not (tmp_path / "x.parquet").exists()
