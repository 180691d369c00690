"""What the `.hwids` of an image tell apart: all that a boot learns from the SMBIOS strings of a machine.

A stub makes nothing of the strings but CHIDs, and of a CHID nothing but whether a table has it (chid.c, chid_match).
So two machines that the tables cannot tell apart boot alike, and one of them stands for both.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, Final
from uuid import UUID

from stubsim import chid
from stubsim.errors import StubsimError
from stubsim.explain.boot_manager import loaded_addons
from stubsim.fleet.coded import Coded
from stubsim.fleet.columns import BIOS_RELEASE, STRINGS, Machines
from stubsim.formats import edid, hwids
from stubsim.formats.efi_string import utf16
from stubsim.formats.smbios import Fields
from stubsim.hosts.host import Host
from stubsim.result import Boot
from stubsim.simulation import boot
from stubsim.start import Start
from stubsim.stub.chid_match import unknown_fields
from stubsim.uki import Uki

# An absent CHID is all zeros, and so equals an all-zero entry.
_NULL = UUID(int=0)
_JOINT = utf16("&")
# Of the SHA-1 what a version 5 UUID leaves alone at its start (RFC 9562 5.5).
_KEPT = 6
_PANEL = "edid_panel"
# Several types end with both of these.
_BOARD = ("baseboard_manufacturer", "baseboard_product")
# In place of the text that a CHID is the hash of, which is None where the CHID is absent: it is not known.
_UNKNOWN: Final[Any] = object()

# The first entry of each table and kind that a machine has, by what it is found: (table, kind, CHID type, entry).
Hits = tuple[tuple[int, int, int, int], ...]


class Chids:
    """Which of a set of GUIDs are CHIDs of machines; most machines have none, and that is found out fast."""

    def __init__(self, types: Sequence[int], guids: Collection[UUID]) -> None:
        self.types = tuple(types)
        self._wanted = frozenset(guids)
        self._beginnings = frozenset(guid.bytes[:_KEPT] for guid in guids)

    def found(self, machines: Machines) -> Iterator[tuple[int, Coded]]:
        """The types by which a machine has one of the GUIDs, in order, and for each machine which one, or None."""
        texts = _Texts(machines.fields)
        for kind in self.types:
            own = texts.of(kind, machines.rests)
            guids = self._guids(own.values)
            if any(guid is not None for guid in guids):
                yield kind, Coded(own.codes, guids)

    def known(self, rest: Host) -> bool:
        """Whether the CHIDs of all types are known of machines with this rest."""
        return not any(unknown_fields(rest, kind) for kind in self.types)

    def _guids(self, texts: Iterable[bytes | None]) -> list[UUID | None]:
        """Those that are the hash of a text."""
        beginnings, absent = self._beginnings, _NULL if _NULL in self._wanted else None
        guids: list[UUID | None] = []
        for text in texts:
            if text is None or text is _UNKNOWN:
                guids.append(absent if text is None else None)
                continue
            digest = chid.hash_utf16(text)
            guid = UUID(bytes=digest, version=5) if digest[:_KEPT] in beginnings else None
            guids.append(guid if guid in self._wanted else None)
        return guids


class _Texts:
    """What the CHIDs of machines are the hash of, in UTF-16LE; types that begin alike share the work."""

    def __init__(self, fields: Sequence[Coded]) -> None:
        self._fields = dict(zip(Fields._fields, fields, strict=True))
        self._joined: dict[tuple[str, ...], Coded] = {}

    def of(self, kind: int, rests: Coded) -> Coded:
        """The text of each machine's CHID of a type."""
        strings = tuple(part for part in chid.PARTS[kind] if part != _PANEL)
        if strings == chid.PARTS[kind]:
            known = rests.each(partial(_is_known, kind))
            texts = self._of(strings)
            return texts if all(known.values) else texts.with_(known, lambda text, known: text if known else _UNKNOWN)
        panels = rests.each(partial(_panel, kind))
        if not any(isinstance(panel, bytes) for panel in panels.values):
            return panels
        return self._of(strings).with_(panels, _join)

    def _of(self, parts: tuple[str, ...]) -> Coded:
        if parts not in self._joined:
            if len(parts) == 1:
                self._joined[parts] = self._fields[parts[0]].each(partial(_text, parts[0]))
            else:
                size = len(_BOARD) if parts[-len(_BOARD) :] == _BOARD != parts else 1
                self._joined[parts] = self._of(parts[:-size]).with_(self._of(parts[-size:]), _join)
        return self._joined[parts]


def _text(field: str, value: Any) -> bytes | None:
    return chid.stub_text(value) if field in STRINGS else chid.stub_number(field, value)


def _join(front: Any, last: Any) -> Any:
    if last is _UNKNOWN:
        return last
    return None if front is None or last is None else front + _JOINT + last


def _is_known(kind: int, rest: Host | StubsimError) -> bool:
    return not isinstance(rest, StubsimError) and not unknown_fields(rest, kind)


def _panel(kind: int, rest: Host | StubsimError) -> Any:
    """What machines with this rest have for a panel."""
    if isinstance(rest, StubsimError) or unknown_fields(rest, kind):
        return _UNKNOWN
    panel = None if rest.edid is None else edid.panel_id(rest.edid)
    return None if panel is None else utf16(panel)


class Lookup:
    """The tables of an image and of the addons that are started with it."""

    def __init__(self, uki: Uki, start: Start) -> None:
        # Which stub it is and which addons it finds does not depend on the machine.
        self.plain = plain = boot(uki, Host(), start)
        images = (uki, *loaded_addons(plain))
        self._entries: dict[UUID, list[tuple[int, int, int]]] = {}
        for number, data in enumerate(_tables(images)):
            for (kind, guid), entry in hwids.first_by_chid(data).items():
                self._entries.setdefault(guid, []).append((number, kind, entry.index))
        for number, guid in enumerate(_targets(images) if plain.model.applies_capsules else ()):
            # A capsule asks whether the machine has its CHID at all: a table of its own without any kind of entry.
            self._entries.setdefault(guid, []).append((-1 - number, 0, 0))
        self.chids = Chids(_types(plain), self._entries)

    def looks_at(self, column: str) -> bool:
        """Whether a column of an inventory can make a difference; those that are no SMBIOS field do."""
        fields = {BIOS_RELEASE: Fields._fields[-3:-1]}.get(column, (column,))
        return not {*fields} <= {*Fields._fields} or any({*fields} & {*chid.PARTS[kind]} for kind in self.chids.types)

    def hits(self, machines: Machines) -> Coded:
        """What each machine is found by (Hits)."""
        found = Coded.alike(len(machines.rests.codes), ())
        for kind, guids in self.chids.found(machines):
            found = found.with_(guids.merged(), partial(_with_chid, kind))
        return found.each(self._hits)

    def _hits(self, chids: Sequence[tuple[int, UUID]]) -> Hits:
        found: dict[tuple[int, int], tuple[int, int, int, int]] = {}
        for kind, guid in chids:
            for table, entry_kind, index in self._entries[guid]:
                found.setdefault((table, entry_kind), (table, entry_kind, kind, index))
        return tuple(sorted(found.values()))


def _with_chid(kind: int, chids: tuple[tuple[int, UUID], ...], guid: UUID | None) -> tuple[tuple[int, UUID], ...]:
    return chids if guid is None else (*chids, (kind, guid))


def _types(plain: Boot) -> tuple[int, ...]:
    """The types that are looked at at all; a capsule is held against all there are."""
    all_types = chid.PARTS if plain.model.applies_capsules else ()
    return tuple(dict.fromkeys((*plain.model.chid_priority, *all_types)))


def _tables(images: Sequence[Uki]) -> list[Any]:
    return [
        image.data(section) for image in images for section in image.image.sections if section.name == hwids.SECTION
    ]


def _targets(images: Sequence[Uki]) -> list[UUID]:
    found: dict[UUID | None, None] = {}
    for image in images:
        for section in image.image.sections:
            if section.name == ".efifw":
                try:
                    found[image.efifw(section).target_chid] = None
                except StubsimError:
                    continue
    return [guid for guid in found if guid is not None]
