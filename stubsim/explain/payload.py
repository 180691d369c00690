"""A firmware payload decoded: what is told of it, and what the warnings go by."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from stubsim.errors import StubsimError
from stubsim.extent import Bytes, view_of
from stubsim.formats import capsule, elf, firmware_volume, igvm, ovmf, payload, pe
from stubsim.rows import NamedTuple

Json = dict[str, Any]


class Content(NamedTuple):
    """What it is, and the `details` of the inspect schema for that kind; None where there is nothing to tell."""

    kind: payload.Kind
    details: Json | None

    @property
    def machines(self) -> dict[str, str]:
        """Of firmware volumes: which machine the core of a phase is built for."""
        rows = [] if self.details is None else self.details.get("cores", [])
        return {row["phase"]: row["machine"] for row in rows}


def decode(data: Bytes) -> Content:
    """Never raises: what is broken in the payload is told in the kind's description or in the details."""
    view = view_of(data)
    kind = payload.kind(view)
    try:
        return Content(kind, _DETAILS[kind.name](view))
    except StubsimError:
        return Content(kind, None)


def _ovmf(view: memoryview) -> Json:
    details: Json = {"cores": _cores(view), "table": None, "sev_metadata": None, "tdx_metadata": None, "errors": []}
    try:
        entries = ovmf.parse(view)
    except StubsimError as error:
        return details | {"errors": [str(error)]}
    size = ovmf.table_size(entries)
    rows = [_entry(each, len(view)) for each in entries]
    details["table"] = {"offset": len(view) - ovmf.TAIL - size, "size": size, "entries": rows}
    for key, read in _METADATA.items():
        try:
            details[key] = _metadata(read(view, entries))
        except StubsimError as error:
            details["errors"].append(str(error))
    return details


def _entry(entry: ovmf.Entry, size: int) -> Json:
    numbers = entry.numbers
    row: Json = {"guid": str(entry.guid), "name": ovmf.NAMES.get(entry.guid), "data": entry.data.hex()}
    if entry.guid == ovmf.SEV_ES_RESET and numbers:
        row["address"] = numbers[0]
    elif entry.guid in ovmf.AREAS and len(numbers) > 1:
        present = any(numbers[:2])
        row |= {"address": numbers[0] if present else None, "size": numbers[1] if present else None}
    elif entry.guid in ovmf.POINTERS and numbers:
        row["offset"] = size - numbers[0] if numbers[0] <= size else None
    return row


_Metadata = ovmf.SevMetadata | ovmf.TdxMetadata


def _metadata(found: _Metadata | None) -> Json | None:
    if found is None:
        return None
    return {
        "offset": found.offset,
        "sections": [{"name": row.name, **row._asdict()} for row in found.sections],
    }


_METADATA: dict[str, Callable[[memoryview, tuple[ovmf.Entry, ...]], _Metadata | None]] = {
    "sev_metadata": ovmf.sev_metadata,
    "tdx_metadata": ovmf.tdx_metadata,
}


def _cores(view: memoryview) -> list[Json]:
    return [
        {"phase": core.phase, "machine": pe.MACHINES.get(core.machine, f"{core.machine:#06x}")}
        for core in firmware_volume.cores(view)
    ]


def _unknown(view: memoryview) -> Json | None:
    cores = _cores(view)
    return {"cores": cores} if cores else None


def _igvm(view: memoryview) -> Json:
    file = igvm.parse(view)
    counts = Counter(header.type for header in file.headers)
    return {
        "version": file.version,
        "machine": igvm.ARCHITECTURES.get(file.architecture, f"{file.architecture:#x}"),
        "page_size": file.page_size,
        "total_size": file.total_size,
        "platforms": [_platform(row) for row in file.platforms],
        "headers": [
            {"type": kind, "name": igvm.header_name(kind), "count": count} for kind, count in sorted(counts.items())
        ],
    }


def _platform(row: igvm.Platform) -> Json:
    mask = f"{row.compatibility_mask:#x}"
    return {"name": igvm.PLATFORMS.get(row.type), **row._asdict(), "compatibility_mask": mask}


def _capsule(view: memoryview) -> Json:
    header = capsule.parse(view)
    return {
        "guid": str(header.guid),
        "name": header.name,
        "header_size": header.header_size,
        "flags": f"{header.flags:#010x}",
        "flag_names": list(header.flag_names),
        "flags_valid": header.flags_valid,
        "image_size": header.image_size,
    }


def _elf(view: memoryview) -> Json:
    """Addresses as text: many readers of JSON lose the low bits of a kernel's."""
    file = elf.parse(view)
    segments = [
        row._asdict()
        | {"virtual_address": f"{row.virtual_address:#x}", "physical_address": f"{row.physical_address:#x}"}
        for row in file.segments
    ]
    return file._asdict() | {"entry": f"{file.entry:#x}", "segments": segments}


_DETAILS: dict[str, Callable[[memoryview], Json | None]] = {
    "ovmf": _ovmf,
    "igvm": _igvm,
    "capsule": _capsule,
    "elf": _elf,
    "unknown": _unknown,
}
