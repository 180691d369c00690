"""What the text of inspect says of a firmware payload, made from its JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from stubsim.rows import NamedTuple

Json = dict[str, Any]


class Table(NamedTuple):
    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


def facts(payload: Json) -> Iterator[tuple[str, str]]:
    """Label and text."""
    details = payload["details"] or {}
    # The table below says the rest.
    yield "payload", f"OVMF: {payload['size']} bytes" if details.get("table") else payload["description"]
    yield "sha256", payload["sha256"] or "not computed"
    if details.get("cores"):
        yield "cores", ", ".join(f"{row['phase']} {row['machine']}" for row in details["cores"])
    if payload["kind"] == "capsule" and details.get("name"):
        yield "capsule", f"{details['name']}, header of {details['header_size']} bytes, flags {details['flags']}"
    for text in details.get("errors", ()):
        yield "broken", text


def tables(payload: Json) -> Iterator[Table]:
    """The lists that a payload of its kind has."""
    details = payload["details"]
    if details is not None:
        yield from _TABLES.get(payload["kind"], _no_tables)(details)


def _no_tables(details: Json) -> Iterator[Table]:
    yield from ()


def _ovmf(details: Json) -> Iterator[Table]:
    table, sev, tdx = details["table"], details["sev_metadata"], details["tdx_metadata"]
    if table is not None:
        entries = [_entry(row) for row in table["entries"]]
        yield Table(f"OVMF's table at {table['offset']:#x}, {table['size']} bytes", ("what", "gpa", "size"), entries)
    if sev is not None:
        prepared = [(row["name"], f"{row['base']:#x}", f"{row['size']:#x}") for row in sev["sections"]]
        yield Table(f"SEV metadata at {sev['offset']:#x}", ("what", "gpa", "size"), prepared)
    if tdx is not None:
        loaded = [
            (
                row["name"],
                f"{row['address']:#x}",
                f"{row['size']:#x}",
                f"{row['data_offset']:#x}" if row["data_size"] else "",
                f"{row['data_size']:#x}" if row["data_size"] else "",
                "MRTD" if row["attributes"] & 1 else "",
            )
            for row in tdx["sections"]
        ]
        columns = ("what", "gpa", "size", "from offset", "bytes", "measured")
        yield Table(f"TDX metadata at {tdx['offset']:#x}", columns, loaded)


def _entry(row: Json) -> tuple[str, str, str]:
    name = row["name"] or row["guid"]
    if "offset" in row:
        where = "outside" if row["offset"] is None else f"{row['offset']:#x}"
        return f"{name}, at {where}", "", ""
    if "address" not in row:
        return f"{name}: {row['data'] or 'empty'}", "", ""
    if row["address"] is None:
        return name, "none", ""
    return name, f"{row['address']:#x}", f"{row['size']:#x}" if "size" in row else ""


def _igvm(details: Json) -> Iterator[Table]:
    platforms = [
        (
            row["name"] or f"type {row['type']}",
            str(row["version"]),
            row["compatibility_mask"],
            str(row["highest_vtl"]),
            f"{row['shared_gpa_boundary']:#x}",
        )
        for row in details["platforms"]
    ]
    columns = ("what", "version", "mask", "highest VTL", "shared above")
    if platforms:
        yield Table("platforms", columns, platforms)
    headers = [(row["name"], str(row["count"])) for row in details["headers"]]
    if headers:
        yield Table("headers", ("what", "count"), headers)


def _elf(details: Json) -> Iterator[Table]:
    rows = [
        (
            row["type"],
            f"{row['offset']:#x}",
            row["virtual_address"],
            row["physical_address"],
            f"{row['file_size']:#x}",
            f"{row['memory_size']:#x}",
            "".join(letter if row["flags"] & bit else "-" for letter, bit in (("r", 4), ("w", 2), ("x", 1))),
        )
        for row in details["segments"]
    ]
    if rows:
        columns = ("what", "offset", "virtual", "physical", "in file", "in memory", "access")
        yield Table("segments", columns, rows)


_TABLES = {"ovmf": _ovmf, "igvm": _igvm, "elf": _elf}
