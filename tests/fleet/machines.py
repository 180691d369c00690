"""A hundred machines of nobody's, most of them not told from each other by a UKI."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests import samples

NAMES = ("serial", *samples.MACHINE)


def machines(count: int = 100) -> list[dict[str, Any]]:
    """Every fifth has all strings of MACHINE, every seventh another SKU, some leave one out or do not know it."""
    rows = []
    for number in range(count):
        row: dict[str, Any] = {"serial": f"S{number:04d}", **samples.MACHINE}
        if number % 5:
            row |= {"product_name": f"Product {number % 9}", "family": "Other"}
        if number % 7 == 0:
            row["product_sku"] = "Another"
        if number % 11 == 0:
            row["baseboard_product"] = None
        if number % 13 == 0:
            row["product_sku"] = "Not Specified"
        rows.append(row)
    return rows


def ndjson(rows: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def csv(rows: list[dict[str, Any]]) -> str:
    lines = [",".join(NAMES)]
    lines += [",".join("" if row[name] is None else f'"{row[name]}"' for name in NAMES) for row in rows]
    return "\n".join(lines) + "\n"


def parquet(rows: list[dict[str, Any]], path: Path) -> Path:
    import pyarrow as pa
    import pyarrow.parquet

    pyarrow.parquet.write_table(pa.Table.from_pylist(rows), path)
    return path


def sqlite(rows: list[dict[str, Any]], path: Path) -> Path:
    import sqlite3

    with sqlite3.connect(path) as database:
        database.execute(f"CREATE TABLE inventory ({', '.join(f'{name} TEXT' for name in NAMES)})")
        database.executemany(
            f"INSERT INTO inventory VALUES ({', '.join('?' * len(NAMES))})", [tuple(row.values()) for row in rows]
        )
    database.close()
    return path
