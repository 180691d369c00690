"""What the terminal says of a boot, as plain text in blocks; how it looks is in `stubsim.views.terminal`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from stubsim import chid
from stubsim.errors import StubsimError
from stubsim.explain.selection import reasons
from stubsim.extent import Bytes
from stubsim.formats import edid, efifw, fdt, hwids, payload, vmfwupdate
from stubsim.linux.releases import known_model
from stubsim.machine.tpm import rtmr
from stubsim.result import Boot
from stubsim.stub.devicetree import Devicetree
from stubsim.stub.programs import is_simulated
from stubsim.trace import EspWritten, Log, Measured, Staged, Unknown, VariableSet
from stubsim.uefi.variables import NON_VOLATILE
from stubsim.views.block import Block, doubt
from stubsim.views.chain import chain_block
from stubsim.views.terminal_handover import BLOCKS
from stubsim.views.units import gpa_range, text_or_number
from stubsim.views.units import size as _size
from stubsim.wording import plain

if TYPE_CHECKING:
    from stubsim.explain.snp import Launch

GPA_NOTE = "gpas are those of the simulated memory map; real firmware will place things elsewhere."
_KINDS = {"ovmf": "OVMF", "igvm": "IGVM", "capsule": "UEFI capsule", "elf": "ELF", "unknown": "unknown kind"}
_BASIS = {"recording": "a recording", "source": "public source", "proposal": "a proposal"}
_FILES = frozenset(file.name for files in vmfwupdate.FILES.values() for file in files)


def headline(boot: Boot) -> str:
    """The outcome in one line."""
    status, message, efi_status, _ = boot.outcome
    blob = _firmware(boot)
    firmware = "the firmware" if blob is None else f"{_text(blob.fwid)} ({_size(len(blob.payload))}, {_kind(blob)})"
    protocol = f"by {boot.dialect}, a proposed protocol"
    if status == "firmware-update":
        line = f"firmware update: {firmware} is handed over {protocol}"
    elif status == "hypervisor-abort" and boot.dialect is None:
        line = f"nothing boots: {message}"
    elif status == "hypervisor-abort":
        line = f"the firmware update fails: {firmware} is handed over {protocol}, but {message}"
    elif status == "kernel-started" and boot.follows_update:
        line = "the kernel starts from memory, on the new firmware"
    elif status == "kernel-started":
        line = "; ".join(["the kernel starts", *_chosen(boot, firmware)])
    elif status == "boot-loop":
        line = message or "boot loop: the machine starts again and again"
    elif status == "not-simulated":
        line = f"not simulated: {message}"
    else:
        line = f"the boot fails: {message or status}" + (f" ({efi_status})" if efi_status else "")
    return line + doubt(boot, "outcome", *(("selection",) if "chosen" in line else ()))


def blocks(boot: Boot, launch: Launch | None = None) -> Iterator[Block]:
    """Everything else, in the order of the boot; only blocks that have something to say."""
    yield Block(None, [*_facts(boot)], fixed=(0,))
    if not boot.follows_update:
        yield chain_block(boot)
    for make in (_initrd, _memory, *BLOCKS, _pcrs, _rtmrs, _variables):
        block = make(boot)
        if block is not None:
            yield block
    if launch is not None:
        yield _snp(boot, launch)
    written = [
        (row.path, f"{row.size} bytes" if row.renamed_from is None else f"renamed from {row.renamed_from}")
        for row in boot.events(EspWritten)
    ]
    if written:
        yield Block("Files written on the partition" + doubt(boot, "esp_changes"), written)
    messages = [(event.level, event.message) for event in boot.events(Log)]
    if messages:
        yield Block("Messages", messages, fixed=(0,))
    if boot.assumed:
        yield Block("Assumed", [("-", text) for text in boot.assumed], fixed=(0,))
    unknown = [("-", f"{event.what}: {event.why}{_affects(event)}") for event in boot.events(Unknown)]
    if unknown:
        yield Block("Unknown", unknown, fixed=(0,))


def _affects(event: Unknown) -> str:
    return f" (affects {', '.join(map(plain, event.affects))})" if event.affects else ""


def _facts(boot: Boot) -> Iterator[tuple[str, str]]:
    """Label and text, an empty label where the text goes on."""
    uki, host, prepared = boot.uki, boot.host, boot.prepared
    if boot.outcome.because is not None:
        yield "because", boot.outcome.because
    stub = "no stub named" if uki.stub is None else f"{uki.stub.name} {uki.stub.version}"
    yield "UKI", f"{uki.path}: {_size(uki.size)}, {uki.machine}, {stub}"
    if is_simulated(boot.model):
        yield "stub model", f"{boot.model.id}: {boot.model_reason}; {_how_sure(boot)}"
    name = " ".join(_text(part) for part in (host.fields.manufacturer, host.fields.product_name) if part)
    described = f"{host.name}: {name}" if host.name and name else host.name or name
    if described:
        yield "machine", described
    if prepared is not None and uki.profiles and boot.model.takes_profiles:
        own = uki.profiles[prepared.profile] if prepared.profile < len(uki.profiles) else None
        names = "" if own is None else " ".join(f'"{text}"' for text in (own.id, own.title) if text)
        yield "profile", f"{prepared.profile} {names}".rstrip()
    yield from _choices(boot)
    if boot.firmware is not None:
        digest = boot.digests.sha256(boot.firmware).hex()
        yield "firmware", f"{_size(len(boot.firmware))}, {payload.kind(boot.firmware).description}"
        yield "SHA-256", digest
    if prepared is None:
        return
    cmdline = "(none)" if prepared.cmdline is None else prepared.cmdline or "(empty)"
    yield "command line", cmdline + doubt(boot, "cmdline")
    if boot.outcome.status == "kernel-started" and boot.prepared is not None and not boot.follows_update:
        yield "kernel", _kernel(boot)
    if prepared.devicetree is not None:
        yield "devicetree", _installed(prepared.devicetree) + doubt(boot, "devicetree")


def _kernel(boot: Boot) -> str:
    """Which Linux it is, and what such a one measures into PCR 9."""
    linux = boot.linux
    if linux is None:
        return "not a known Linux; what it measures is not known"
    if linux.version is None:
        return f"a Linux ({linux.format}) that does not tell its release; what it measures is not known"
    model = known_model(linux)
    if model is None:
        why = "may have changes of later releases; what it measures is not known"
        return f"Linux {linux.release} ({linux.format}), which {why}"
    parts = {"load options": model.measures_load_options, "initrd": model.measures_initrd}
    measured = " and ".join(name for name, does in parts.items() if does) or "nothing"
    return f"Linux {linux.release} ({linux.format}), which measures {measured}"


def _how_sure(boot: Boot) -> str:
    """Whether recordings stand behind the model, on this kind of machine."""
    if boot.verified:
        return f"stub {boot.model.id} is verified by recorded boots"
    if boot.model.recorded is None:
        return f"unverified: from {_BASIS.get(boot.model.basis, boot.model.basis)}, not recorded"
    if boot.follows_update:
        return "unverified: no such boot was recorded"
    where = "in a confidential guest" if boot.host.confidential else "on this architecture"
    return f"unverified: not recorded {where}"


def _choices(boot: Boot) -> Iterator[tuple[str, str]]:
    """What was chosen for this machine, or that nothing was, and why."""
    matches = {} if boot.sections is None else boot.sections.matches
    chosen = {
        ".dtbauto": (_dtbauto(boot), matches.get(hwids.DEVICETREE)),
        ".efifw": (_efifw(boot), matches.get(hwids.UEFI_FW)),
    }
    for reason in reasons(boot):
        name, _, why = reason.partition(": ")
        what, match = chosen.get(name, (None, None))
        if what is None:
            yield name, f"none: {why}" + doubt(boot, "selection")
            continue
        entry = "" if match is None or match.entry.name is None else f', named "{match.entry.name}" in .hwids'
        yield name, what + entry + doubt(boot, "selection")
        yield "", f"because {why}"
    if chosen[".efifw"][0] is not None and boot.outcome.status not in ("firmware-update", "hypervisor-abort"):
        yield "", _why_not_handed_over(boot)
    # An all-zero CHID is the hash of nothing.
    types = {match.chid_type for match in matches.values() if match is not None and match.entry.chid.int}
    panel = None if boot.host.edid is None or not types else edid.panel_id(boot.host.edid)
    for own in chid.compute(boot.host.fields, panel) if types else ():
        if own.type in types:
            parts = ", ".join(f'{plain(field)} "{text or ""}"' for field, text in own.parts)
            yield f"CHID type {own.type}", parts if own.chid else "absent: the machine has no panel with a valid EDID"


def _why_not_handed_over(boot: Boot) -> str:
    blob = _firmware(boot)
    if blob is not None and _runs_it(boot, blob):
        return "not handed over: the machine already runs it"
    if boot.proposal is not None:
        return "not handed over: see Messages"
    device = boot.host.fw_cfg is not None and boot.host.fw_cfg.vmfwupdate is not None
    return "not handed over: no released stub does that" + ("" if device else ", and the machine has no update device")


def _efifw(boot: Boot) -> str | None:
    section = None if boot.sections is None else boot.sections.section(".efifw")
    blob = _firmware(boot)
    if section is None or blob is None:
        return None
    return f"{_text(blob.fwid)}: section {section.index}, {_size(len(blob.payload))}, {_kind(blob)}"


def _dtbauto(boot: Boot) -> str | None:
    section = None if boot.sections is None else boot.sections.section(".dtbauto")
    if boot.sections is None or section is None:
        return None
    return f"{_compatible(boot.sections.data('.dtbauto'))}: section {section.index}, {_size(section.virtual_size)}"


def _chosen(boot: Boot, firmware: str) -> Iterator[str]:
    """For the headline: what became of the choices that the UKI offers."""
    offered = {section.name for section in boot.uki.image.sections}
    sections, blob = boot.sections, _firmware(boot)
    if ".dtbauto" in offered and sections is not None:
        data = sections.data(".dtbauto")
        yield "no devicetree is chosen" if data is None else f"devicetree {_compatible(data)} is chosen"
    if blob is not None:
        end = "is what the machine runs already" if _runs_it(boot, blob) else "is chosen, but not handed over"
        yield f"firmware {firmware} {end}"
    elif ".efifw" in offered:
        yield "no firmware is chosen"


def _installed(tree: Devicetree) -> str:
    """The devicetree the kernel finds."""
    source = tree.source if tree.section is None else f"{tree.source} (section {tree.section})"
    if tree.data is None:
        return f"{source}, " + ("does not tell its length" if tree.known else "fixed up by the firmware")
    return f"{source}, {_size(len(tree.data))}, {_compatible(tree.data)}"


def _initrd(boot: Boot) -> Block | None:
    initrd = None if boot.prepared is None else boot.prepared.initrd
    if initrd is None:
        return None
    rows = [
        (
            part.kind if part.kind == part.name else f"{part.kind} {part.name}",
            str(part.offset),
            str(part.size),
            *(() if initrd.known else ("" if part.known else "content unknown",)),
        )
        for part in initrd.initrds
    ]
    whose = "" if initrd.by_stub else ", left by an earlier stage"
    title = f"Initrd, {_size(initrd.size)}{whose}" + doubt(boot, "initrd")
    return Block(title, rows, ("part", "offset", "bytes", *(() if initrd.known else ("",))), (1, 2))


def _memory(boot: Boot) -> Block | None:
    staged: list[Staged] = boot.events(Staged)
    if not staged:
        return None
    # What is data is for the boot after the update, if the hand-over left it.
    left = {(row.kind, row.gpa) for row in boot.left}
    shared = any(row.shared for row in staged)
    rows = []
    for row in sorted(staged, key=lambda row: row.gpa):
        what = plain(row.name)
        if (row.name, row.gpa) in left and row.type == "EfiLoaderData":
            what += ", next boot"
        elif row.name in _FILES:
            what = f"{row.name.rpartition('/')[2]} buffer"
        private = (("shared" if row.shared else "private"),) if shared else ()
        rows.append((gpa_range(row.gpa, row.size), _size(row.size), row.type, *private, what))
    columns = ("gpa", "size", "type", *(("memory",) if shared else ()), "what")
    return Block("Memory" + doubt(boot, "memory"), rows, columns, (1,), (GPA_NOTE,), (0, 2))


def _pcrs(boot: Boot) -> Block | None:
    events: list[Measured] = boot.events(Measured)
    touched = {event.pcr for event in events}
    known = boot.known_pcrs
    rows = [
        (str(pcr), bank, values[pcr].hex() if pcr in known[bank] else "not known")
        for bank, values in boot.pcrs.items()
        for pcr in values
        if pcr in touched
    ]
    if not events:
        return None
    count = f"{len(events)} measurement{'' if len(events) == 1 else 's'}"
    title = f"PCR values after the stub's {count}, from zero" if rows else f"{count}; no TPM, so no PCR values"
    rows.sort(key=lambda row: int(row[0]))
    return Block(title + doubt(boot, "pcrs"), rows, right=(0,), fixed=(1,))


def _rtmrs(boot: Boot) -> Block | None:
    """The registers of a TDX guest that a PCR the stub measures into is mapped to."""
    touched = {rtmr(event.pcr) for event in boot.events(Measured)}
    rows = [(str(index), "sha384", value.hex()) for index, value in boot.known_rtmrs.items() if index in touched]
    if not rows:
        return None
    title = "RTMR values after the same measurements, from zero" + doubt(boot, "rtmrs")
    return Block(title, rows, right=(0,), fixed=(1,))


def _snp(boot: Boot, launch: Launch) -> Block:
    from stubsim.views.launch import launch_json, launch_rows

    title = "SEV-SNP launch measurement of the chosen firmware" + doubt(boot, "selection")
    return Block(title, launch_rows(launch_json(launch)), fixed=(0,))


def _variables(boot: Boot) -> Block | None:
    """The last value of each variable the stub set."""
    last: dict[str, VariableSet] = {event.name: event for event in boot.events(VariableSet)}
    if not last:
        return None
    rows = [(row.name, _value(row)) for row in last.values()]
    return Block("Variables set by the stub" + doubt(boot, "variables"), rows, fixed=(0,))


def _value(row: VariableSet) -> str:
    kept = " (non-volatile)" if row.attributes & NON_VOLATILE else ""
    data = row.data
    if data is None:
        return f"drawn at random{kept}"
    text = text_or_number(data)
    return (f"{len(data)} bytes" if text is None else text) + kept


def _firmware(boot: Boot) -> efifw.Efifw | None:
    return None if boot.sections is None else boot.sections.efifw()


def _runs_it(boot: Boot, blob: efifw.Efifw) -> bool:
    """Whether the host's firmware is the chosen one, as the hand-over compares them."""
    return boot.host.firmware.sha256 == boot.digests.sha256(blob.payload).hex()


def _kind(blob: efifw.Efifw) -> str:
    return _KINDS[payload.kind(blob.payload).name]


def _compatible(data: Bytes | None) -> str:
    try:
        return fdt.root_compatible(data or b"")[0]
    except (StubsimError, IndexError):
        return "without compatible"


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")
