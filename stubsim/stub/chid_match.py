"""The look-up of this machine in `.hwids` (systemd-stub: chid.c, chid_match)."""

from __future__ import annotations

from typing import NamedTuple
from uuid import UUID

from stubsim import chid
from stubsim.extent import Bytes
from stubsim.formats import edid, hwids
from stubsim.hosts import Host
from stubsim.stub.context import Context
from stubsim.stub.models import StubModel
from stubsim.trace import Unknown

_NULL = UUID(int=0)
# Keys of the boot's JSON that are not known where the stub may not live to see the next step.
WHOLE_RUN = (
    "outcome", "profile", "hwids", "sections", "selection", "load_options", "cmdline", "initrd", "devicetree",
    "memory", "fw_cfg", "measurements", "pcrs", "rtmrs", "variables", "esp_changes", "log",
)  # fmt: skip
# The registers that the stub and the kernel extend.
WHOLE_RUN_PCRS = (4, 9, 11, 12, 13)
_EXACT_DESCRIPTOR_SIZE = hwids.ENTRY_SIZE


class Match(NamedTuple):
    """The entry that won and by which CHID type; the string is its compatible or fwid, None when it has none."""

    entry: hwids.Entry
    chid_type: int
    string: bytes | None


def machine_chids(host: Host) -> dict[int, UUID | None]:
    """The stub's CHIDs of the machine, types 0 to 17; None is one that is absent.

    Types that depend on what the host file calls unknown are left out.
    """
    panel = None if host.edid is None else edid.panel_id(host.edid)
    known = {kind: own for kind, own in chid.chids(host.fields, panel).items() if not unknown_fields(host, kind)}
    known.update(host.chids)
    return {kind: known[kind] for kind in sorted(known)}


def unknown_fields(host: Host, kind: int) -> tuple[str, ...]:
    """Those parts of a CHID type that the host file calls unknown; none where it is absent whatever they are."""
    if not host.unknown:
        return ()
    if "edid_panel" in chid.PARTS[kind] and "edid" not in host.unknown and edid.panel_id(host.edid or b"") is None:
        return ()
    return tuple(field for field in chid.PARTS[kind] if is_unknown(host, field))


def is_unknown(host: Host, field: str) -> bool:
    """Whether the host file calls this part of CHIDs unknown."""
    return not host.unknown.isdisjoint(_keys(field))


def _keys(field: str) -> tuple[str, ...]:
    """The keys of a host file under which a part would be called unknown."""
    return ("edid",) if field == "edid_panel" else ("smbios", "smbios_table", f"smbios.{field}")


def chid_match(context: Context, data: Bytes, wanted: int) -> tuple[Match | None, str | None]:
    """The entry for this machine with the string it names; or the UEFI status of the failure."""
    found = find_entry(context, data, wanted)
    if isinstance(found, str):
        return None, found
    return found._replace(string=_string(context, data, found.entry)), None


def find_entry(context: Context, data: Bytes, wanted: int) -> Match | str:
    """The first entry of the wanted type by CHID priority, then table order; or the UEFI status of the failure.

    Its string is not read yet.
    """
    entries = hwids.walk(data)
    refused = refusal(context.model, data, entries)
    if refused is not None:
        return refused[1]
    chids, first = machine_chids(context.host), hwids.first_by_chid(data)
    for kind in context.model.chid_priority:
        if kind not in chids:
            continue
        # An absent CHID is all zeros, and so equals an all-zero entry (recorded: chid-nullguid on 262.1).
        own = chids[kind] or _NULL
        entry = first.get((wanted, own))
        if entry is not None:
            return Match(entry, kind, None)
    return "EFI_NOT_FOUND"


def refusal(model: StubModel, data: Bytes, entries: tuple[hwids.Entry, ...]) -> tuple[hwids.Entry, str] | None:
    """The first entry for which the stub refuses the whole table, be it for another machine, and the UEFI status."""
    last_nul = hwids.last_nul(data)
    for entry in entries:
        if model.refuses_inexact_descriptors:
            if (entry.type, entry.size) != (hwids.DEVICETREE, _EXACT_DESCRIPTOR_SIZE):
                return entry, "EFI_UNSUPPORTED"
        elif entry.type not in (hwids.DEVICETREE, hwids.UEFI_FW):
            return entry, "EFI_UNSUPPORTED"
        # A string that starts behind the last NUL has no end inside the section, or starts outside.
        if model.checks_hwids_offsets and max(entry.name_offset, entry.string_offset) > max(last_nul, 0):
            return entry, "EFI_INVALID_PARAMETER"
    return None


def _string(context: Context, data: Bytes, entry: hwids.Entry) -> bytes | None:
    if entry.string_offset == 0:
        return None
    string = hwids.string_at(data, entry.string_offset)
    if string is None:
        # Any section may be chosen by what is read there, or none; or the read faults, and nothing comes after it
        # (257.13's own code in emulation, offset 0xffffffff: killed by signal 11).
        what = f"the string of .hwids entry {entry.index} at offset {entry.string_offset:#x}"
        why = "this stub checks no offsets and reads what lies behind the section, if anything does; taken as no match"
        # One that starts in the section was recorded as no match: what lies behind goes on with it (0xAF).
        pcrs = WHOLE_RUN_PCRS if entry.string_offset >= len(data) else ()
        context.emit(Unknown(what, why, WHOLE_RUN, pcrs))
    return string
