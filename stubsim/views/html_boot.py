"""A boot as one HTML page: what the terminal says, and all that lies behind it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from xml.etree.ElementTree import Element

from stubsim import chid
from stubsim.formats import hwids
from stubsim.machine.ram import GIB4
from stubsim.result import Boot
from stubsim.stub.programs import is_simulated
from stubsim.trace import FwCfgWritten, Staged, VariableSet
from stubsim.uefi.variables import NON_VOLATILE
from stubsim.views.block import DOUBT, Block
from stubsim.views.chain import stages
from stubsim.views.chids import chids_json
from stubsim.views.html import (
    UNKNOWN,
    Cell,
    badge,
    block,
    block_table,
    code,
    details,
    facts,
    headline,
    hexdump,
    listing,
    marked,
    page,
    section,
    slug,
    table,
    unsure,
)
from stubsim.views.html_chain import chain_figure
from stubsim.views.html_selection import choices
from stubsim.views.json import Json, boot_json
from stubsim.views.markup import Child, element
from stubsim.views.memory_map import memory_map
from stubsim.views.terminal_boot import blocks
from stubsim.views.terminal_boot import headline as headline_text
from stubsim.views.units import size
from stubsim.wording import plain

_TONES = {"kernel-started": "good", "firmware-update": "good"}


def boot_page(boot: Boot, call: str | None = None) -> str:
    """The page of `stubsim boot --format html`; the same bytes for the same boot and command."""
    report = boot_json(boot)
    name = boot.uki.path.rpartition("/")[2]
    machine = boot.host.name or "the machine"
    head = headline(
        "stubsim boot",
        headline_text(boot),
        _TONES.get(boot.outcome.status, "bad"),
        element("p", code(boot.uki.path), " on ", element("strong", machine)),
        element("p", *_cautions(boot, report)),
    )
    return page(f"{name} on {machine}", head, [*_sections(boot, report)], call)


def _cautions(boot: Boot, report: Json) -> Iterator[Child]:
    """What to bear in mind before the first number is read."""
    if not report["model"]["verified"]:
        yield from (badge("unverified: no recorded boots behind this", "warn"), " ")
    if boot.proposal is not None:
        yield from (badge("proposed protocol", "warn"), " ")
    for key in ("assumed", UNKNOWN):
        if report[key]:
            yield from (element("a", f"{len(report[key])} {key}", href=f"#{key}", class_="badge warn"), " ")


def _sections(boot: Boot, report: Json) -> Iterator[Element]:
    summary, chain, *others = blocks(boot)
    yield section("Summary", block_table(summary))
    yield section("The chain", chain_figure(stages(boot)), doubt=(chain.title or "").endswith(DOUBT))
    doubts = {key for row in report["unknown"] for key in row["affects"]}
    trees = [*choices(boot, doubt="selection" in doubts)]
    if trees:
        yield section("Selection", *trees)
    if is_simulated(boot.model):
        yield _hardware_ids(boot, report, doubt="chids" in doubts)
    yield _uki(boot, report)
    if report["load_options"] is not None or report["cmdline"] is not None:
        yield _command_line(report, doubt="cmdline" in doubts)
    for each in others:
        title = each.title or ""
        make = next((make for start, make in _IN_FULL.items() if re.match(start, title)), _plain)
        yield make(boot, report, each)
    if boot.next is not None:
        yield _second_boot(boot.next)


def _second_boot(boot: Boot) -> Element:
    """The boot after the update, in one section: what the terminal says of it."""
    summary, *others = blocks(boot)
    parts = [
        section(
            (each.title or "").removesuffix(DOUBT),
            block_table(each),
            *(element("p", note, class_="note") for note in each.notes),
            id=slug(f"next {each.title}"),
            level=3,
        )
        for each in others
    ]
    return section("The boot after the update", element("p", headline_text(boot)), block_table(summary), *parts)


def _plain(boot: Boot, report: Json, given: Block) -> Element:
    """A block of which the terminal says all; its title up to the first comma or bracket is enough for the contents."""
    short = re.split(r"[,(:]", given.title or "")[0].strip()
    return block(given, short=short, id=UNKNOWN if given.title == "Unknown" else None)


def _hardware_ids(boot: Boot, report: Json, *, doubt: bool) -> Element:
    """The texts they are made of, those the stub looks up in its order, then the others."""
    rows = {row["type"]: row for row in chids_json(boot.host)["chids"]}
    order = boot.model.chid_priority
    matched: dict[int, list[Child]] = {}
    for kind, match in report["hwids"]["matches"].items():
        if match is not None:
            matched.setdefault(match["chid_type"], []).append(badge(f"{kind} entry {match['entry']}", "good"))
    texts = {part["field"]: part["value"] for kind in sorted(order) for part in rows[kind]["parts"]}
    lines = [
        (str(place), *_id_row(boot, rows[kind]), tuple(matched.get(kind, ()))) for place, kind in enumerate(order, 1)
    ]
    rest = [_id_row(boot, rows[kind]) for kind in chid.PARTS if kind not in order]
    columns = ("type", "CHID", "made of")
    caption = f"In the order in which stub {boot.model.id} looks them up"
    asked = hwids.SECTION in boot.model.sections and any(row.name == hwids.SECTION for row in boot.uki.image.sections)
    looked_up = table(("order", *columns, "matched"), lines, caption, right=(0, 1), key=1)
    more = table(columns, rest, "Never looked up", right=(0,), hidden=True)
    return section(
        "Hardware ids",
        facts((plain(field), _id_text(boot, field, text)) for field, text in texts.items()),
        looked_up if asked else details("The ids; this boot has no .hwids to look them up in", looked_up),
        details(f"{len(rest)} more that the stub does not look up", more),
        doubt=doubt,
    )


def _id_text(boot: Boot, field: str, text: str | None) -> Cell:
    """A stub takes a missing string for an empty one; only the panel of a display can be absent."""
    if text is None:
        absent = field == "edid_panel" and "edid" not in boot.host.unknown
        return element("em", "none (no EDID, or a bad one)") if absent else badge("not known", "warn")
    return code(f'"{text}"') if text else (code('""'), " empty or missing")


def _id_row(boot: Boot, row: Json) -> tuple[Cell, ...]:
    kind, own = row["type"], row["chid"]
    shown: Cell = element("code", own, class_="nowrap")
    if own is None and kind not in boot.chids:
        shown = (badge("not known", "warn"), f" {row['absent']}")
    elif own is None:
        shown = (badge("absent"), " all zeros to the stub" if kind in boot.model.chid_priority else f" {row['absent']}")
    return str(kind), shown, ", ".join(plain(part["field"]) for part in row["parts"])


def _uki(boot: Boot, report: Json) -> Element:
    uki = report["uki"]
    stub = "none named" if uki["stub"] is None else f"{uki['stub']['name']} {uki['stub']['version']}"
    used = {row["index"]: row for row in report["sections"]}
    digests = [bank for row in report["sections"][:1] for bank in row["digests"]]
    rows: list[tuple[Cell, ...]] = []
    profile = {each.index: own.index for own in boot.uki.profiles for each in own.sections}
    for each in boot.uki.image.sections:
        row = used.get(each.index)
        rows.append(
            (
                str(each.index),
                element("code", each.name, class_="nowrap"),
                str(profile.get(each.index, "")),
                f"{each.raw_offset:#x}",
                str(each.virtual_size),
                badge("used", "good") if row else "",
                *((_digest(row["digests"][bank]) if row else "") for bank in digests),
            )
        )
    columns = ("section", "name", "profile", "offset", "bytes", "used", *digests)
    about = [
        ("file", (code(uki["path"]), f", {size(uki['size'])}")),
        ("SHA-256", _digest(uki["sha256"])),
        ("machine", uki["machine"]),
        ("stub", stub),
    ]
    caption = "In file order; used: those the stub settled on"
    return section("The UKI", facts(about), table(columns, rows, caption, right=(0, 3, 4)))


def _digest(text: str) -> Element:
    """One that is broken where it must be, and a usual one on a wide screen is not."""
    return element("code", text, class_="digest" if len(text) <= 64 else "long digest")


def _content(digest: str | None, *, known: bool) -> Cell:
    if digest is not None:
        return _digest(digest)
    return "not hashed: zeros that no file has" if known else (unsure(), " content unknown")


def _command_line(report: Json, *, doubt: bool) -> Element:
    text, options = report["cmdline"], report["load_options"]
    shown = element("p", "(none)" if text is None else "(empty)") if not text else listing([text])
    shown.set("class", "wrap")
    more = details("The load options the kernel gets, in bytes", hexdump(bytes.fromhex(options))) if options else None
    return section("Command line", shown, more, doubt=doubt)


def _initrd(boot: Boot, report: Json, given: Block) -> Element:
    initrd, combined = report["initrd"], boot.prepared and boot.prepared.initrd
    assert combined is not None  # or there would be no such block
    rows: list[tuple[Cell, ...]] = [
        (
            part["kind"] if part["kind"] == part["name"] else f"{part['kind']} {part['name']}",
            str(part["offset"]),
            str(part["size"]),
            _content(part["sha256"], known=own.known),
        )
        for part, own in zip(initrd["parts"], combined.initrds, strict=True)
    ]
    whole, nothing = f"{initrd['size']} bytes, SHA-256 ", "not hashed" if combined.known else "unknown"
    columns = ("part", "offset", "bytes", "SHA-256")
    heading, *doubt = marked(given.title or "")
    return section(
        str(heading),
        element("p", whole, _digest(initrd["sha256"]) if initrd["sha256"] else nothing),
        table(columns, rows, "Parts in order, each padded to 4 bytes where there are several", right=(1, 2)),
        short="Initrd",
        doubt=bool(doubt),
    )


def _memory(boot: Boot, report: Json, given: Block) -> Element:
    device = None if boot.host.fw_cfg is None else boot.host.fw_cfg.vmfwupdate
    region = None if device is None or not 0 < device.bios_size <= GIB4 else (GIB4 - device.bios_size, GIB4)
    # The block has the ranges by address, each under the name that says what it is for.
    staged: list[Staged] = sorted(boot.events(Staged), key=lambda row: row.gpa)
    named = [row._replace(name=cells[-1]) for row, cells in zip(staged, given.rows, strict=True)]
    return block(given, element("figure", memory_map(named, ram=boot.memory.ram, bios_region=region)), short="Memory")


def _writes(boot: Boot, report: Json, given: Block) -> Element:
    writes: list[FwCfgWritten] = boot.events(FwCfgWritten)
    dumps = [
        details(f"Write {number} to {row.file}: the bytes", hexdump(row.data)) for number, row in enumerate(writes, 1)
    ]
    made = block(given, short="fw_cfg")
    made.extend(dumps)
    return made


def _measurements(boot: Boot, report: Json, given: Block) -> Element:
    events = report["measurements"]
    banks = [bank for row in events[:1] for bank in row["digests"]]
    rows: list[tuple[Cell, ...]] = [
        (
            str(number),
            str(row["pcr"]),
            _measured(row),
            (row["type"], f" {row['tag']}" if row["tag"] else None),
            *(_digest(row["digests"][bank]) for bank in banks),
        )
        for number, row in enumerate(events, 1)
    ]
    columns = ("", "PCR", "what", "event", *banks)
    made = block(given._replace(columns=("PCR", "bank", "value")) if given.rows else given, short="Measurements")
    made.append(table(columns, rows, "Measurements in order", right=(0, 1)))
    return made


def _measured(row: Json) -> str:
    """What was measured; of a section the name comes before the content, under the same description."""
    name = row["description"].encode(errors="replace") + b"\0"
    digests = [hashlib.new(bank, name, usedforsecurity=False).hexdigest() for bank in row["digests"]]
    own = digests and digests == [*row["digests"].values()]
    return f"{row['description']} (the name itself)" if own else str(row["description"])


def _variables(boot: Boot, report: Json, given: Block) -> Element:
    """The last value of each variable the stub set as the terminal has it, and all there are in bytes."""
    values = {row[0]: row[1] for row in given.rows}
    last: dict[str, VariableSet] = {event.name: event for event in boot.events(VariableSet)}
    rows: list[tuple[Cell, ...]] = [
        (row.name, values.get(name, ""), _attributes(row.attributes)) for name, row in last.items()
    ]
    others = [row for row in report["variables"] if not row["set_by_stub"]]
    found = (
        details(
            f"{len(others)} more that were there before",
            table(
                ("name", "vendor", "attributes"),
                [(row["name"], code(row["guid"]), _attributes(row["attributes"])) for row in others],
                "Variables the stub did not set",
            ),
        )
        if others
        else None
    )
    heading, *doubt = marked(given.title or "")
    listed = table(("name", "value", "attributes"), rows, "The last value of each")
    return section(str(heading), listed, found, short="Variables", doubt=bool(doubt))


def _attributes(bits: int) -> str:
    """UEFI 2.10, 8.2.1: what the lower bits are called."""
    names = [name for bit, name in ((NON_VOLATILE, "NV"), (2, "BS"), (4, "RT")) if bits & bit]
    rest = bits & ~7
    return "+".join([*names, *([f"{rest:#x}"] if rest else [])]) or "0"


# How a block of the terminal's text begins -> the section that has more to say on the same.
_IN_FULL: dict[str, Callable[[Boot, Json, Block], Element]] = {
    r"Initrd, ": _initrd,
    r"Memory": _memory,
    r"fw_cfg": _writes,
    r"PCR values|\d+ measurements?;": _measurements,
    r"Variables": _variables,
}
