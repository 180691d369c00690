"""The decision tree of a boot's choices as HTML: which ids were looked up, which entry matched, which section fits."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID
from xml.etree.ElementTree import Element

from stubsim.errors import StubsimError
from stubsim.explain.contents import Budget, Part, read
from stubsim.explain.selection import KINDS, reasons
from stubsim.formats import hwids, pe
from stubsim.result import Boot
from stubsim.rows import NamedTuple
from stubsim.views.html import badge, code, details, node, section, tree
from stubsim.views.markup import Child, element

_NULL = UUID(int=0)
_NOUNS = {hwids.DEVICETREE: "Devicetree", hwids.UEFI_FW: "Firmware"}
# Steps and entries that a line of the tree lists; the JSON of `stubsim inspect` has them all.
_MOST = 32


class _Candidate(NamedTuple):
    """A `.dtbauto` or `.efifw`: its first compatible or its firmware id, None for a blob the stub calls bad."""

    section: pe.Section
    string: str | None
    error: StubsimError | None


def choices(boot: Boot, *, doubt: bool) -> Iterator[Element]:
    """A section for each kind of choice that the UKI offers; ``doubt`` where something unknown has a say in it."""
    if boot.sections is None:
        return
    parts = [part for part in read(boot.uki, Budget(boot.uki)) if _is_read(boot, part)]
    why = {text.partition(": ")[0]: text.partition(": ")[2] for text in reasons(boot)}
    for kind, (_, _, name) in KINDS.items():
        if name not in why:
            continue
        chosen = boot.sections.section(name)
        steps = {part.profile: _steps(boot, kind, part, chosen) for part in parts}
        profiles = [node(_title(profile), below=below) for profile, below in steps.items() if below]
        nodes = profiles if len(parts) > 1 else steps[None]
        result = badge("none", "calm") if chosen is None else badge(f"section {chosen.index}", "good")
        yield section(
            f"{_NOUNS[kind]} ({name})",
            element("p", why[name][:1].upper() + why[name][1:] + "."),
            tree(*nodes) if nodes else None,
            id=f"choice-{name[1:]}",
            level=3,
            doubt=doubt,
            beside=result,
        )


def _is_read(boot: Boot, part: Part) -> bool:
    """The base, and the profile that was booted."""
    return part.profile is None or (boot.prepared is not None and part.profile == boot.prepared.profile)


def _title(profile: int | None) -> str:
    return "In the base" if profile is None else f"In profile {profile}, whose choice goes before the base's"


def _steps(boot: Boot, kind: int, part: Part, chosen: pe.Section | None) -> list[Element]:
    """What the stub does in the base or in a profile: each part's sections are matched by its own `.hwids`."""
    word, key, name = KINDS[kind]
    candidates = _candidates(kind, part)
    if name not in boot.model.sections or (kind == hwids.UEFI_FW and not boot.model.matches_firmware_entries):
        return []
    if kind == hwids.DEVICETREE and boot.host.devicetree is not None:
        asked = node("The firmware brings a devicetree, so .hwids is not asked for one.", tone="calm")
        return [asked, _sections(name, ("the first compatible of that one",), candidates, chosen, None)]
    if part.table is None:
        return [node("There is no .hwids, so none of its sections is used.", tone="calm")] if candidates else []
    refused = part.table.refused.get(boot.model.id)
    if refused is not None:
        return [node(badge("refused as a whole", "bad"), f" {refused}", tone="bad")]
    entries = [entry for entry in part.table.entries if entry.type == kind]
    steps, winner = _lookup(boot, entries)
    count = f"{len(entries)} {word} {'entry' if len(entries) == 1 else 'entries'}"
    title = f".hwids (section {part.table.section.index}) has {count}; the machine's ids are looked up in this order:"
    looked_up = node(title, below=steps)
    if winner is None:
        return [looked_up, node("No entry matches.", tone="calm")]
    if winner.string is None:
        return [looked_up, node(f"The entry names no {key} that can be read, so no section is chosen.", tone="warn")]
    wanted = (f"the {key} ", code(winner.string))
    return [looked_up, _sections(name, wanted, candidates, chosen, winner.string)]


def _candidates(kind: int, part: Part) -> list[_Candidate]:
    if kind == hwids.UEFI_FW:
        return [_Candidate(row.section, row.fwid, row.error) for row in part.firmwares]
    return [_Candidate(row.section, next(iter(row.compatible), None), row.error) for row in part.trees]


def _lookup(boot: Boot, entries: list[hwids.Entry]) -> tuple[list[Element], hwids.Entry | None]:
    """The ids one by one up to the one that an entry has, and that entry; see chid_match."""
    steps: list[Element] = []
    order = boot.model.chid_priority
    for place, kind in enumerate(order, 1):
        label = f"type {kind}: "
        if kind not in boot.chids:
            steps.append(node(label, badge("not known", "warn"), " the host file does not tell", tone="warn"))
            continue
        own = boot.chids[kind]
        shown: Child = "absent, so all zeros are looked up" if own is None else code(str(own))
        having = _having(boot, entries, kind)
        if not having:
            steps.append(node(label, shown, ", in no entry", tone="calm"))
            continue
        winner, *others = having
        named = "" if winner.name is None else f' "{winner.name}"'
        steps.append(node(label, shown, " ", badge(f"entry {winner.index}", "good"), named, tone="good"))
        if others:
            steps.append(node(f"behind it, with the same id: {_listed(others)}", tone="calm"))
        steps.extend(_not_looked_up(boot, entries, order[place:]))
        return steps, winner
    return steps, None


def _having(boot: Boot, entries: list[hwids.Entry], kind: int) -> list[hwids.Entry]:
    """The entries with the machine's CHID of a type; an absent one is all zeros to the stub."""
    return [entry for entry in entries if kind in boot.chids and entry.chid == (boot.chids[kind] or _NULL)]


def _not_looked_up(boot: Boot, entries: list[hwids.Entry], rest: tuple[int, ...]) -> Iterator[Element]:
    """What would have come next."""
    found = {kind: _having(boot, entries, kind) for kind in rest}
    hits = sum(map(bool, found.values()))
    if not rest:
        return
    lines = [
        node(f"type {kind}: " + (f"would be {_listed(having)}" if having else "in no entry"), tone="calm")
        for kind, having in found.items()
    ]
    types = ", ".join(map(str, rest))
    would = f"{hits} of them would match" if hits else "none of them would match"
    yield node(details(f"Types {types} are not looked up any more; {would}.", tree(*lines)), tone="calm")


def _listed(entries: list[hwids.Entry]) -> str:
    shown = ", ".join(f"entry {entry.index} ({entry.string})" for entry in entries[:_MOST])
    return shown + (f" and {len(entries) - _MOST} more" if len(entries) > _MOST else "")


def _sections(
    name: str, wanted: tuple[Child, ...], candidates: list[_Candidate], chosen: pe.Section | None, string: str | None
) -> Element:
    """The sections that were to choose from; ``string`` is what one must have, None where that is not known here."""
    listed = candidates[:_MOST] + [row for row in candidates[_MOST:] if row.section is chosen]
    below = [_candidate(row, chosen, string) for row in listed]
    if len(candidates) > len(listed):
        below.append(node(f"and {len(candidates) - len(listed)} more", tone="calm"))
    if not candidates:
        below.append(node("There is none in this part.", tone="calm"))
    return node(f"The first {name} section with ", *wanted, " is used:", below=below)


def _candidate(row: _Candidate, chosen: pe.Section | None, wanted: str | None) -> Element:
    label = f"section {row.section.index}: "
    if row.error is not None:
        return node(label, badge("bad", "bad"), f" {row.error}", tone="bad")
    shown = code(row.string or "")
    if row.section is chosen:
        return node(label, shown, " ", badge("chosen", "good"), tone="good")
    if row.string is not None and row.string == wanted:
        return node(label, shown, " fits too, but is not the one that counts", tone="calm")
    return node(label, shown, " differs", tone="calm")
