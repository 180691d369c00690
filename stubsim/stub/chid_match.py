"""The look-up of this machine in `.hwids` (systemd-stub: chid.c, chid_match)."""

from __future__ import annotations

from typing import NamedTuple
from uuid import UUID

from stubsim import chid
from stubsim.formats import edid, hwids
from stubsim.stub.context import Context

_NULL = UUID(int=0)
_EXACT_DESCRIPTOR_SIZE = hwids.ENTRY_SIZE


class Match(NamedTuple):
    """The entry that won and by which CHID type; the string is its compatible or fwid, None when it has none."""

    entry: hwids.Entry
    chid_type: int
    string: bytes | None


def machine_chids(context: Context) -> dict[int, UUID | None]:
    """The stub's CHIDs of the machine, types 0 to 17; None is one that is absent."""
    panel = None if context.host.edid is None else edid.panel_id(context.host.edid)
    return chid.chids(context.host.fields, panel)


def chid_match(context: Context, data: memoryview, wanted: int) -> tuple[Match | None, str | None]:
    """The first entry of the wanted type by CHID priority, then table order; or the UEFI status of the failure."""
    entries = hwids.walk(data)
    for entry in entries:
        status = _refused(context, data, entry)
        if status is not None:
            return None, status
    chids = machine_chids(context)
    for kind in context.model.chid_priority:
        # An absent CHID is all zeros, and so equals an all-zero entry (recorded: chid-nullguid on 262.1).
        own = chids[kind] or _NULL
        for entry in entries:
            if entry.type == wanted and entry.chid == own:
                return Match(entry, kind, _string(context, data, entry)), None
    return None, "EFI_NOT_FOUND"


def _refused(context: Context, data: memoryview, entry: hwids.Entry) -> str | None:
    """What of an entry makes the stub refuse the whole table, be it for another machine or behind the match."""
    if context.model.refuses_inexact_descriptors:
        if (entry.type, entry.size) != (hwids.DEVICETREE, _EXACT_DESCRIPTOR_SIZE):
            return "EFI_UNSUPPORTED"
    elif entry.type not in (hwids.DEVICETREE, hwids.UEFI_FW):
        return "EFI_UNSUPPORTED"
    if context.model.checks_hwids_offsets:
        for offset in (entry.name_offset, entry.string_offset):
            if offset and _terminated(data, offset) is None:
                return "EFI_INVALID_PARAMETER"
    return None


def _string(context: Context, data: memoryview, entry: hwids.Entry) -> bytes | None:
    if entry.string_offset == 0:
        return None
    string = _terminated(data, entry.string_offset)
    if string is None:
        context.unknown(
            f"the string of .hwids entry {entry.index} at offset {entry.string_offset:#x}",
            "this stub checks no offsets and reads what lies behind the section; taken as no match",
            "selection",
            "devicetree",
            "measurements",
            "pcrs",
        )
    return string


def _terminated(data: memoryview, offset: int) -> bytes | None:
    """The NUL-terminated string at an offset, None when it does not end inside the section."""
    if offset >= len(data):
        return None
    text, nul, _ = bytes(data[offset:]).partition(b"\0")
    return text if nul else None
