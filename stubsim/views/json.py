"""A boot as JSON (`stubsim/boot/1`)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from uuid import UUID

from stubsim import chid
from stubsim.errors import StubsimError
from stubsim.explain.selection import reasons
from stubsim.extent import Extent
from stubsim.formats import fdt, hwids
from stubsim.printable import without_commands
from stubsim.result import Boot
from stubsim.stub.chid_match import Match
from stubsim.stub.devicetree import Devicetree
from stubsim.stub.initrd import Combined
from stubsim.trace import Access, EspWritten, FwCfgWritten, Log, Measured, Staged, Unknown, VariableSet
from stubsim.uki import Uki

if TYPE_CHECKING:
    from stubsim.explain.snp import Launch

Json = dict[str, Any]


def dumps(value: Json, indent: int = 1) -> str:
    """One document, keys in the order of the contract, ASCII only so that any text survives."""
    return "".join(document(value, indent))


def document(value: Json, indent: int = 1) -> Iterator[str]:
    """The same piece by piece: the text of a long command line is held once only. No command is in two pieces."""
    for piece in json.JSONEncoder(indent=indent).iterencode(value):
        yield without_commands(piece, number_sign=r"\u0023")
    yield "\n"


def boot_json(boot: Boot, launch: Launch | None = None) -> Json:
    """The contract of `stubsim boot --format json`; see the schema of the same name."""
    return {
        "schema": "stubsim/boot/1",
        "uki": uki_json(boot),
        "model": model_json(boot),
        "outcome": boot.outcome._asdict(),
        "profile": profile_json(boot),
        "chids": {str(kind): _guid(boot.chids.get(kind)) for kind in chid.PARTS},
        "hwids": _hwids(boot),
        "sections": _sections(boot),
        "selection": _selection(boot),
        "load_options": None if boot.load_options is None else boot.load_options.hex(),
        "cmdline": None if boot.prepared is None else boot.prepared.cmdline,
        "initrd": None if boot.prepared is None else _initrd(boot, boot.prepared.initrd),
        "kernel": boot.linux and {"format": boot.linux.format, "release": boot.linux.release},
        "devicetree": None if boot.prepared is None else _devicetree(boot, boot.prepared.devicetree),
        "memory": [row._asdict() for row in boot.events(Staged)],
        "fw_cfg": {
            "dialect": boot.dialect,
            "proposal": boot.proposal,
            "writes": [write._asdict() | {"data": write.data.hex()} for write in boot.events(FwCfgWritten)],
            "io": [row._asdict() | {"data": row.data.hex()} for row in boot.events(Access)],
        },
        "measurements": [measurement_json(event) for event in boot.events(Measured)],
        "pcrs": {
            bank: {str(pcr): value.hex() for pcr, value in values.items()} for bank, values in boot.known_pcrs.items()
        },
        "rtmrs": {str(register): value.hex() for register, value in boot.known_rtmrs.items()},
        "variables": _variables(boot),
        "esp_changes": [_esp_change(event) for event in boot.events(EspWritten)],
        "log": [event._asdict() for event in boot.events(Log)],
        "assumed": list(boot.assumed),
        "unknown": [unknown_json(row) for row in boot.events(Unknown)],
        "firmware": None if boot.firmware is None else _payload(boot, boot.firmware),
        "next": None if boot.next is None else boot_json(boot.next),
        **_snp(launch),
    }


def _snp(launch: Launch | None) -> Json:
    if launch is None:
        return {}
    from stubsim.views.launch import launch_json

    return {"snp": launch_json(launch)}


def uki_json(boot: Boot) -> Json:
    uki = boot.uki
    return {
        "path": uki.path,
        "size": uki.size,
        "sha256": boot.digests.sha256(uki.image.data).hex(),
        "machine": uki.machine,
        "stub": stub_json(uki),
    }


def stub_json(uki: Uki) -> Json | None:
    return None if uki.stub is None else {"name": uki.stub.name, "version": uki.stub.version}


def model_json(boot: Boot) -> Json:
    return {"id": boot.model.id, "reason": boot.model_reason, "verified": list(boot.verified)}


def profile_json(boot: Boot) -> Json | None:
    """The profile that was booted; None where the stub gave up before it knew."""
    own = boot.profile
    return None if own is None else {"index": own.index, "id": own.id, "title": own.title}


def measurement_json(event: Measured) -> Json:
    return {
        "by": event.by,
        "pcr": event.pcr,
        "type": event.type,
        "tag": None if event.tag is None else f"{event.tag:#010x}",
        "description": event.description,
        "digests": hexed(event.digests),
    }


def unknown_json(row: Unknown) -> Json:
    registers = {"pcrs": list(row.pcrs)} if row.pcrs else {}
    return {"what": row.what, "why": row.why, "affects": list(row.affects), **registers}


def hexed(digests: dict[str, bytes]) -> dict[str, str]:
    return {bank: digest.hex() for bank, digest in digests.items()}


def _guid(value: UUID | None) -> str | None:
    """None stands for an absent CHID, and for one that a gap in the host file leaves unknown."""
    return None if value is None else str(value)


def _hwids(boot: Boot) -> Json:
    sections = boot.sections
    data = None if sections is None else sections.data(".hwids")
    matches = {} if sections is None else sections.matches
    return {
        "entries": 0 if data is None else len(hwids.walk(data)),
        "error": None if sections is None else sections.hwids_error,
        "matches": {
            "devicetree": _match(matches.get(hwids.DEVICETREE), "compatible"),
            "uefi-fw": _match(matches.get(hwids.UEFI_FW), "fwid"),
        },
    }


def _match(match: Match | None, string: str) -> Json | None:
    if match is None:
        return None
    return {
        "entry": match.entry.index,
        "chid_type": match.chid_type,
        "chid": str(match.entry.chid),
        "name": match.entry.name,
        string: None if match.string is None else match.string.decode("utf-8", "replace"),
    }


def _sections(boot: Boot) -> list[Json]:
    if boot.sections is None:
        return []
    rows = []
    for name in boot.model.sections:
        section, data = boot.sections.section(name), boot.sections.data(name)
        if section is not None and data is not None:
            rows.append(
                {
                    "index": section.index,
                    "name": name,
                    "offset": section.raw_offset,
                    "size": section.virtual_size,
                    "digests": hexed(boot.digests.of(data)),
                }
            )
    return rows


def _selection(boot: Boot) -> Json:
    chosen: Json = {"efifw": None, "dtbauto": None}
    if boot.sections is not None:
        section, blob = boot.sections.section(".efifw"), boot.sections.efifw()
        if section is not None and blob is not None:
            chosen["efifw"] = {
                "section": section.index,
                "fwid": blob.fwid.decode("utf-8", "replace"),
                "payload": _payload(boot, blob.payload),
            }
        section, data = boot.sections.section(".dtbauto"), boot.sections.data(".dtbauto")
        if section is not None and data is not None:
            chosen["dtbauto"] = {"section": section.index, "compatible": fdt.root_compatible(data)[0]}
    return chosen | {"reasons": list(reasons(boot))}


def _payload(boot: Boot, data: Extent) -> Json:
    from stubsim.formats import payload

    return {"size": len(data), "sha256": boot.digests.sha256(data).hex(), "kind": payload.kind(data).name}


def _initrd(boot: Boot, initrd: Combined | None) -> Json | None:
    if initrd is None:
        return None
    digests = boot.digests
    return {
        "size": initrd.size,
        "sha256": _hex(digests.sha256_for_reader(initrd.parts)) if initrd.known else None,
        "parts": [
            {
                "kind": part.kind,
                "name": part.name,
                "offset": part.offset,
                "size": part.size,
                "sha256": _hex(digests.sha256_for_reader(part.parts)) if part.known else None,
            }
            for part in initrd.initrds
        ],
    }


def _hex(digest: bytes | None) -> str | None:
    return None if digest is None else digest.hex()


def _devicetree(boot: Boot, tree: Devicetree | None) -> Json | None:
    if tree is None:
        return None
    source = tree.source if tree.section is None else f"{tree.source} (section {tree.section})"
    if tree.data is None:
        note = (
            "the blob does not tell its length" if tree.known else "what the firmware's fix-up makes of it is unknown"
        )
        return {"size": None, "sha256": None, "source": source, "note": note}
    return {"size": len(tree.data), "sha256": boot.digests.sha256(tree.data).hex(), "source": source}


def _esp_change(event: EspWritten) -> Json:
    renamed = {} if event.renamed_from is None else {"renamed_from": event.renamed_from}
    return {"path": event.path, "size": event.size, **renamed}


def _variables(boot: Boot) -> list[Json]:
    random = {event.name for event in boot.events(VariableSet) if event.data is None}
    return [
        {
            "name": variable.name,
            "guid": str(variable.guid),
            "attributes": variable.attributes,
            "data": None if variable.name in random else variable.data.hex(),
            "set_by_stub": variable.set_by_stub,
        }
        for variable in boot.variables
    ]


def error_json(error: StubsimError) -> Json:
    """`stubsim/error/1`."""
    keys = ("message", "path", "section", "offset", "expected", "hint")
    others = [{key: getattr(other, key) for key in keys} for other in error.more]
    found = {"schema": "stubsim/error/1"} | {key: getattr(error, key) for key in keys}
    return found | ({"more": others} if others else {})
