"""What a fleet costs: `stubsim fleet -o result.parquet` beside DuckDB alone: `scripts/bench.py --fleet`.

Whole processes that read the same file with the same number of threads, in turn, each with its best round. DuckDB reads
the machines, finds the distinct ones, joins them back with three result columns and writes Parquet. The machines are
those of linuxhw/DMI where shared/ is beside the repository, else the fixtures', repeated and changed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from stubsim.formats import fdt, hwids, pe
from stubsim.formats.pe import SectionSpec

ROOT = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("STUBSIM_SHARED", ROOT.parent / "shared")) / "data"
COLUMNS = (
    "manufacturer", "product_name", "product_sku", "family", "baseboard_manufacturer", "baseboard_product",
)  # fmt: skip
MILLION = 1_000_000
DISTINCT = 60_000
MB = 1000 * 1000
PEAK = 600 * MB

MAKE = """
import sys, duckdb
source, path, machines, distinct = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
columns = sys.argv[5].split(",")
names = ", ".join(columns)
base = duckdb.connect()
distinct_ones = f"SELECT DISTINCT {names} FROM '{source}' ORDER BY ALL"
base.execute(f"CREATE TABLE real AS SELECT row_number() OVER () - 1 AS id, * FROM ({distinct_ones})")
(count,) = base.execute("SELECT count(*) FROM real").fetchone()
changed = "CASE WHEN turn > 0 THEN coalesce(product_sku, '') || '-' || turn ELSE product_sku END AS product_sku"
own = ", ".join(changed if name == "product_sku" else name for name in columns)
numbers = f"SELECT range AS number, range % {distinct} AS kind FROM range({machines})"
chosen = f"SELECT number, kind % {count} AS real_id, kind // {count} AS turn FROM ({numbers})"
rows = f"SELECT 'S' || number AS serial, {own} FROM ({chosen}) JOIN real ON real.id = real_id"
base.execute(f"COPY ({rows}) TO '{path}' (FORMAT json)")
"""
ALONE = """
import sys, duckdb
source, path, columns = sys.argv[1], sys.argv[2], sys.argv[3].split(",")
names = ", ".join(columns)
same = " AND ".join(f"source.{name} IS NOT DISTINCT FROM found.{name}" for name in columns)
duckdb.connect().execute(
    f"COPY (WITH source AS (SELECT * FROM read_ndjson('{source}')), found AS (SELECT {names}, 1 AS one, 'text' AS two, "
    f"count(*) AS three FROM source GROUP BY ALL) SELECT source.*, one, two, three FROM source JOIN found ON {same}) "
    f"TO '{path}' (FORMAT parquet)"
)
"""


class Cost(NamedTuple):
    """Seconds by the clock and of the processor, and the peak resident memory of the process in bytes."""

    wall: float
    cpu: float
    peak: int


def run(command: list[str]) -> Cost:
    """One run, in a process of its own so that its peak is not that of an earlier one."""
    started = time.perf_counter()
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(child.pid, 0)
    wall = time.perf_counter() - started
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        sys.exit(f"bench: {' '.join(command[:3])} ends with {child.returncode}")
    return Cost(wall, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024)


def report(rounds: int) -> int:
    """Print the costs and the ratios with their bounds; 1 where one is over."""
    source = SHARED / "dmi" / "machines.parquet"
    with tempfile.TemporaryDirectory(prefix="stubsim-fleet-bench-") as folder:
        uki = _uki(folder)
        million, ten = (_machines(folder, source, times) for times in (1, 10))
        ours = {name: _ours(uki, name, folder) for name in (million, ten)}
        alone = [sys.executable, "-c", ALONE, million, os.path.join(folder, "alone.parquet"), ",".join(COLUMNS)]
        found: dict[str, list[Cost]] = {"stubsim, 1 M": [], "duckdb, 1 M": []}
        for _ in range(rounds):
            found["stubsim, 1 M"].append(run(ours[million]))
            found["duckdb, 1 M"].append(run(alone))
        found["stubsim, 10 M"] = [run(ours[ten])]
    best = {name: Cost(*map(min, zip(*costs, strict=True))) for name, costs in found.items()}
    for name, cost in best.items():
        print(f"{name:<16} wall {cost.wall:6.1f} s   cpu {cost.cpu:6.1f} s   peak {cost.peak / MB:6.0f} MB")
    one, duckdb, ten_times = best["stubsim, 1 M"], best["duckdb, 1 M"], best["stubsim, 10 M"]
    rows = [
        ("fleet on 1 M machines, wall", "duckdb alone", one.wall / duckdb.wall, 3.0),
        ("fleet on 1 M machines, CPU", "duckdb alone", one.cpu / duckdb.cpu, 3.0),
        ("peak memory on 1 M", "600 MB", one.peak / PEAK, 1.0),
        ("peak memory on 10 M", "600 MB", ten_times.peak / PEAK, 1.0),
        ("10 M machines, CPU", "1 M", ten_times.cpu / one.cpu, 11.0),
    ]
    for what, against, ratio, bound in rows:
        print(f"{what:<34}{against:<16}{ratio:>7.2f}{bound:>7g}  {'ok' if ratio <= bound else 'over'}")
    return int(any(ratio > bound for _, _, ratio, bound in rows))


def _machines(folder: str, source: Path, times: int) -> str:
    path = os.path.join(folder, f"machines-{times}.ndjson")
    given = str(source) if source.is_file() else str(ROOT / "fixtures" / "fleet" / "machines.csv")
    sizes = (str(times * MILLION), str(times * DISTINCT))
    subprocess.run([sys.executable, "-c", MAKE, given, path, *sizes, ",".join(COLUMNS)], check=True)
    return path


def _uki(folder: str) -> str:
    """A UKI with the hardware ids of systemd 262 and a devicetree for each device; without them the demo."""
    shipped = SHARED / "hwids" / "ukify-262.hwids"
    if not shipped.is_file():
        return str(ROOT / "build/fixtures/demo.efi")
    table = shipped.read_bytes()
    names = dict.fromkeys(entry.string for entry in hwids.parse(table) if entry.string)
    kernel = pe.build([SectionSpec(".text", b"\xf4" * 512)])
    mark = SectionSpec(".sdmagic", b"#### LoaderInfo: systemd-stub 262.1-1 ####\0")
    trees = [SectionSpec(".dtbauto", fdt.build([name])) for name in names]
    path = os.path.join(folder, "shipped.efi")
    Path(path).write_bytes(pe.build([mark, SectionSpec(".linux", kernel), SectionSpec(".hwids", table), *trees]))
    return path


def _ours(uki: str, machines: str, folder: str) -> list[str]:
    stubsim = str(Path(sys.executable).with_name("stubsim"))
    given = ["--given", "edid=null", "--given", "secure_boot=false"]
    return [stubsim, "fleet", uki, "--hosts", machines, *given, "-o", os.path.join(folder, "result.parquet")]
