"""Every PCR 11 that one UKI can lead to, with what a machine must be like for it.

A machine is known to `.hwids` only by which of its GUIDs are among the machine's CHIDs, and in which order the stub
comes to them. Which CHID type a GUID belongs to cannot be read from it, so any order counts as possible.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations
from uuid import UUID

from stubsim.errors import StubsimError
from stubsim.explain.quiet import quiet_context
from stubsim.explain.selection import KINDS
from stubsim.formats import fdt, hwids, pe
from stubsim.machine.tpm import Tpm
from stubsim.result import Boot
from stubsim.rows import NamedTuple
from stubsim.start import Start
from stubsim.stub.chid_match import Match
from stubsim.stub.context import Context
from stubsim.stub.locate import choose_devicetree, choose_firmware, locate_by_prefix, locate_sections
from stubsim.stub.measure import Measured, measure_sections
from stubsim.stub.sections import Sections
from stubsim.systemd.measure import PCR_KERNEL_IMAGE
from stubsim.systemd.strings import UINT_MAX
from stubsim.trace import Event

COMBINATIONS_MAX = 4096

# Comparisons of a string with a blob; each takes some microseconds.
_LOOKS_MAX = 1 << 18
_ENTRIES_MAX = 1 << 16
# GUIDs and names that a condition lists; real machines have a dozen.
_LISTED_MAX = 64
_NULL = UUID(int=0)
_PANEL_TYPES = (15, 16, 17)

# What one look-up found: None while no entry matched, else the section, or none that fits the entry.
Found = tuple[pe.Section | None] | None
State = tuple[Found, ...]


class Possible(NamedTuple):
    """A PCR 11 value by bank. Each condition alone leads to it; none at all: every machine gets it."""

    conditions: tuple[str, ...]
    dtbauto: pe.Section | None
    efifw: pe.Section | None
    values: dict[str, bytes]
    events: tuple[Event, ...]


class _Class(NamedTuple):
    """GUIDs that make no difference to each other: each look-up finds the same by any of them."""

    found: State
    guids: tuple[UUID, ...]


class _Part:
    """The base, or the chosen profile's own sections: each is matched by its own `.hwids`."""

    def __init__(self, context: Context, table: Sequence[pe.Section]) -> None:
        self.context = context
        self.table = table
        if context.model.takes_last_section_by_prefix:
            located = locate_by_prefix(context, context.uki)
        else:
            located = locate_sections(context, context.uki, table)
        self.plain = {name: s for name, s in located.found.items() if name not in (".dtbauto", ".efifw")}
        data = located.data(".hwids")
        refused = data is None or located.hwids_error is not None
        self.entries = () if refused or data is None else hwids.walk(data)

    def matches(self, kind: int) -> dict[UUID, Found]:
        """What each GUID of an entry of this kind leads to; the first entry of a GUID counts."""
        found: dict[UUID, Found] = {}
        # An entry is made anew when it is asked for, so only what it leads to is kept.
        chosen: dict[str | None, Found] = {}
        _limit(len(self.entries), _ENTRIES_MAX, "entries in .hwids")
        for entry in self.entries:
            if entry.type != kind or entry.chid in found:
                continue
            if entry.string not in chosen:
                _limit((len(chosen) + 1) * len(self.table), _LOOKS_MAX, "entries and sections to compare")
                chosen[entry.string] = (self._choose(kind, entry),)
            found[entry.chid] = chosen[entry.string]
        return found

    def _choose(self, kind: int, entry: hwids.Entry) -> pe.Section | None:
        string = None if entry.string is None else entry.string.encode(errors="surrogateescape")
        found: dict[str, pe.Section] = {}
        choose = choose_devicetree if kind == hwids.DEVICETREE else choose_firmware
        choose(self.context, self.context.uki, self.table, found, Match(entry, 0, string))
        return next(iter(found.values()), None)

    def by_firmware_tree(self, compatible: str) -> pe.Section | None:
        """The `.dtbauto` for a firmware devicetree of this first compatible."""
        host = self.context.host._replace(devicetree=fdt.build([compatible]))
        found: dict[str, pe.Section] = {}
        choose_devicetree(self.context._replace(host=host), self.context.uki, self.table, found, None)
        return found.get(".dtbauto")

    def compatibles(self) -> list[str]:
        """First compatibles of the `.dtbauto`, those of bad blobs left out."""
        texts: dict[str, None] = {}
        for section in self.table:
            if section.name == ".dtbauto":
                try:
                    texts.update(dict.fromkeys(fdt.root_compatible(self.context.uki.data(section))[:1]))
                except StubsimError:
                    continue
        _limit(len(texts) * len(self.table), _LOOKS_MAX, "devicetrees to compare")
        return list(texts)


def possible(boot: Boot, start: Start) -> tuple[Possible, ...]:
    """The PCR 11 values of the boot's UKI and profile on whatever machine, in the boot's banks.

    The boot must have come as far as the kernel. Raises StubsimError when there are more than COMBINATIONS_MAX ways.
    """
    assert boot.prepared is not None
    context = quiet_context(boot, start)
    profile, profiles = boot.prepared.profile, boot.uki.profiles
    tables = [boot.uki.base]
    if boot.model.takes_profiles and profile != UINT_MAX and profile < len(profiles):
        tables.append(profiles[profile].sections)
    parts = [_Part(context, table) for table in tables]

    values: dict[tuple[bytes, ...], Possible] = {}
    for condition, trees, firmwares in _ways(boot, parts):
        found: dict[str, pe.Section] = {}
        for part, tree, firmware in zip(parts, trees, firmwares, strict=True):
            found |= part.plain
            if tree is not None:
                found[".dtbauto"] = tree
            if firmware is not None:
                found[".efifw"] = firmware
        row = _measured(context, found)
        key = tuple(row.values.values())
        row = values.get(key, row)
        values[key] = row._replace(conditions=(*row.conditions, condition))
    if len(values) == 1:
        return tuple(row._replace(conditions=()) for row in values.values())
    return tuple(values.values())


Way = tuple[str, list[pe.Section | None], list[pe.Section | None]]


def _ways(boot: Boot, parts: Sequence[_Part]) -> list[Way]:
    """Condition, and the `.dtbauto` and `.efifw` of each part, for everything that can happen."""
    model = boot.model
    kinds = [hwids.DEVICETREE] if model.matches_devicetree_entries else []
    kinds += [hwids.UEFI_FW] if model.matches_firmware_entries else []
    none: list[pe.Section | None] = [None] * len(parts)
    ways: list[Way] = []

    own_tree = hwids.DEVICETREE in kinds and any(s.name == ".dtbauto" for part in parts for s in part.table)

    lead = ["the firmware brings no devicetree"] if own_tree else []
    for words, found in _look_ups(boot, parts, kinds):
        ways.append(("; ".join(lead + words), found.get(hwids.DEVICETREE, none), found.get(hwids.UEFI_FW, none)))
    if own_tree:
        compatibles = dict.fromkeys(text for part in parts for text in part.compatibles())
        trees = [
            (f"the firmware's devicetree is for {text!r}", [part.by_firmware_tree(text) for part in parts])
            for text in compatibles
        ]
        trees.append(("the firmware's devicetree fits no .dtbauto", none))
        # It stops the look-up of devicetrees, not that of firmware.
        without = _look_ups(boot, parts, [kind for kind in kinds if kind != hwids.DEVICETREE])
        _limit(len(ways) + len(trees) * len(without), COMBINATIONS_MAX, "combinations of devicetree and firmware")
        for text, chosen in trees:
            for words, found in without:
                ways.append(("; ".join([text, *words]), chosen, found.get(hwids.UEFI_FW, none)))
    return ways


LookedUp = tuple[list[str], dict[int, list[pe.Section | None]]]


def _look_ups(boot: Boot, parts: Sequence[_Part], kinds: Sequence[int]) -> list[LookedUp]:
    """Every joint result of the look-ups of these kinds: what it takes, and by kind the section found in each part."""
    tables = [(kind, part.matches(kind)) for kind in kinds for part in parts]
    classes = _classes([table for _, table in tables])
    panels = any(kind in boot.model.chid_priority for kind in _PANEL_TYPES)
    null = next((row for row in classes if _NULL in row.guids), None)
    classes = [row for row in classes if row is not null]

    starts: list[tuple[_Class, ...]] = [()]
    if null is not None and panels:
        starts.append((null,))
    states = _reachable(tuple(None for _ in tables), classes, starts)
    texts = _texts(parts, kinds, [*classes, *([null] if null else [])])
    results = []
    for state, path in states.items():
        words = _condition(tables, state, [texts[row] for row in path], _ordered(state, path))
        if null is not None and panels and null not in path:
            words.insert(0, "the machine has an EDID")
        found = {
            kind: [row[0] if row else None for (k, _), row in zip(tables, state, strict=True) if k == kind]
            for kind in kinds
        }
        results.append((words, found))
    return results


def _classes(tables: Sequence[dict[UUID, Found]]) -> list[_Class]:
    """The GUIDs of all tables by what they lead to; the all-zero one by itself, as only absent CHIDs equal it."""
    groups: dict[tuple[State, bool], list[UUID]] = {}
    for guid in dict.fromkeys(guid for table in tables for guid in table):
        found = tuple(table.get(guid) for table in tables)
        groups.setdefault((found, guid == _NULL), []).append(guid)
    return [_Class(found, tuple(guids)) for (found, _), guids in groups.items()]


def _reachable(
    nothing: State, classes: Sequence[_Class], starts: Sequence[tuple[_Class, ...]]
) -> dict[State, tuple[_Class, ...]]:
    """Every state the look-ups can end in, with the GUIDs of a machine that leads there, in the stub's order.

    A GUID settles each look-up that has it in its table and is still open; so four of them at most are of interest.
    """
    states = {_settle(nothing, path): path for path in starts}
    waiting = list(states)
    while waiting:
        state = waiting.pop(0)
        if None not in state:
            continue
        for row in classes:
            after = _settle(state, (row,))
            if after not in states:
                states[after] = (*states[state], row)
                waiting.append(after)
                _limit(len(states), COMBINATIONS_MAX, "combinations of devicetree and firmware")
    return states


def _settle(state: State, path: Sequence[_Class]) -> State:
    for row in path:
        state = tuple(old or new for old, new in zip(state, row.found, strict=True))
    return state


def _ordered(state: State, path: Sequence[_Class]) -> bool:
    """Whether it matters which of the machine's CHIDs the stub comes to first."""
    nothing: State = tuple(None for _ in state)
    return any(_settle(nothing, other) != state for other in permutations(path))


def _condition(
    tables: Sequence[tuple[int, dict[UUID, Found]]], state: State, chids: Sequence[str], ordered: bool
) -> list[str]:
    """In words: the CHIDs a machine has, and the kinds of entries of which none matches."""
    words = []
    if chids:
        joint = ", and by a CHID type of lower priority " if ordered else " and "
        words.append("the machine has " + joint.join(chids))
    for kind in dict.fromkeys(kind for kind, _ in tables):
        rows = [(table, found) for (k, table), found in zip(tables, state, strict=True) if k == kind]
        if any(table for table, _ in rows) and all(found is None for _, found in rows):
            words.append(f"no {KINDS[kind].word} entry matches")
    return words


def _texts(parts: Sequence[_Part], kinds: Sequence[int], classes: Sequence[_Class]) -> dict[_Class, str]:
    """Each class in words: its GUIDs, and the names and strings of their entries."""
    places: dict[UUID, list[tuple[int, int]]] = {}
    for number, part in enumerate(parts):
        for entry in part.entries:
            if entry.type in kinds:
                places.setdefault(entry.chid, []).append((number, entry.index))
    texts = {}
    for row in classes:
        names: dict[str, None] = {}
        strings: dict[str, None] = {}
        for number, index in (place for guid in row.guids for place in places[guid]):
            entry = parts[number].entries[index]
            strings[_entry(entry)] = None
            if entry.name is not None:
                names[repr(entry.name)] = None
        word = "CHID" if len(row.guids) == 1 else "one of the CHIDs"
        guids = _listed([str(guid) for guid in row.guids])
        texts[row] = f"{word} {guids} ({_listed([*names, *strings])})"
        if row.guids == (_NULL,):
            texts[row] = f"no EDID, which the all-zero CHID in .hwids matches ({_listed([*names, *strings])})"
    return texts


def _listed(texts: Sequence[str]) -> str:
    more = f" and {len(texts) - _LISTED_MAX} more" if len(texts) > _LISTED_MAX else ""
    return ", ".join(texts[:_LISTED_MAX]) + more


def _entry(entry: hwids.Entry) -> str:
    kind, string = KINDS[entry.type], repr(entry.string)
    if entry.string is None:
        string = "missing" if entry.string_offset == 0 else "outside of .hwids, taken as no match"
    return f"{kind.word} {kind.string} {string}"


def _measured(context: Context, found: dict[str, pe.Section]) -> Possible:
    tpm = Tpm(context.tpm.banks)
    events: list[Event] = []
    context = context._replace(services=context.services._replace(tpm=tpm, emit=events.append))
    measure_sections(context, Sections(context.uki, found, {}, None), Measured())
    values = {bank: pcrs[PCR_KERNEL_IMAGE] for bank, pcrs in tpm.pcrs().items()}
    return Possible((), found.get(".dtbauto"), found.get(".efifw"), values, tuple(events))


def _limit(count: int, most: int, what: str) -> None:
    if count > most:
        raise StubsimError(f"more than {most} {what}", hint="name the machines with --smbios")
