"""The look-up of this machine in `.hwids` (systemd-stub: chid.c, chid_match)."""

from __future__ import annotations

from functools import lru_cache
from uuid import UUID

from stubsim import chid
from stubsim.extent import Bytes
from stubsim.formats import edid, hwids
from stubsim.hosts import Host
from stubsim.rows import NamedTuple
from stubsim.stub.context import Context
from stubsim.stub.models import StubModel
from stubsim.trace import WHOLE_RUN, WHOLE_RUN_PCRS, Unknown

_NULL = UUID(int=0)
_EXACT_DESCRIPTOR = hwids.DEVICETREE << 28 | hwids.ENTRY_SIZE


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
    return _open_parts(host.unknown, kind)


# Each trial of a boot asks for each type, several times.
@lru_cache(maxsize=1 << 10)
def _open_parts(unknown: frozenset[str], kind: int) -> tuple[str, ...]:
    return tuple(field for field in chid.PARTS[kind] if not unknown.isdisjoint(_keys(field)))


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
    refused = refusal(context.model, data)
    if refused is not None:
        return refused[1]
    chids = machine_chids(context.host)
    kinds = [kind for kind in context.model.chid_priority if kind in chids]
    # An absent CHID is all zeros, and so equals an all-zero entry (recorded: chid-nullguid on 262.1).
    found = hwids.first(data, wanted, [chids[kind] or _NULL for kind in kinds])
    return "EFI_NOT_FOUND" if found is None else Match(found[1], kinds[found[0]], None)


def refusal(model: StubModel, data: Bytes) -> tuple[hwids.Entry, str] | None:
    """The first entry for which the stub refuses the whole table, be it for another machine, and the UEFI status."""
    found = _refused(*hwids.held(data), model.refuses_inexact_descriptors, model.checks_hwids_offsets)
    return None if found is None else (hwids.walk(data)[found[0]], found[1])


# A table can have hundreds of thousands of entries, and who compares stubs or machines asks for each of them.
@lru_cache(maxsize=8)
def _refused(table: bytes, size: int, inexact: bool, offsets: bool) -> tuple[int, str] | None:
    last_nul = max(hwids.last_nul(table, size), 0)
    for index, (descriptor, *targets) in enumerate(hwids.descriptors(table, size)):
        if inexact:
            if descriptor != _EXACT_DESCRIPTOR:
                return index, "EFI_UNSUPPORTED"
        elif descriptor >> 28 not in (hwids.DEVICETREE, hwids.UEFI_FW):
            return index, "EFI_UNSUPPORTED"
        # A string that starts behind the last NUL has no end inside the section, or starts outside.
        if offsets and max(targets) > last_nul:
            return index, "EFI_INVALID_PARAMETER"
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
