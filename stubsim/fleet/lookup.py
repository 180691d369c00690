"""What the `.hwids` of an image tell apart: all that a boot learns from the SMBIOS strings of a machine.

A stub makes nothing of the strings but CHIDs, and of a CHID nothing but whether a table has it (chid.c, chid_match).
So two machines that the tables cannot tell apart boot alike, and one of them stands for both.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from operator import itemgetter
from typing import Any
from uuid import UUID

from stubsim import chid
from stubsim.errors import StubsimError
from stubsim.explain.boot_manager import loaded_addons
from stubsim.fleet.columns import BIOS_RELEASE
from stubsim.formats import edid, hwids
from stubsim.formats.smbios import Fields
from stubsim.hosts.host import Host
from stubsim.result import Boot
from stubsim.rows import NamedTuple
from stubsim.simulation import boot
from stubsim.start import Start
from stubsim.stub.chid_match import unknown_fields
from stubsim.uki import Uki

# An absent CHID is all zeros, and so equals an all-zero entry.
_NULL = UUID(int=0)
_ABSENT = _NULL.bytes
_NO_NUMBERS = (None, None, None)
# Of the SHA-1 what a version 5 UUID leaves alone at its start (RFC 9562 5.5).
_KEPT = 6

# The first entry of each table and kind that a machine has, by what it is found: (table, kind, CHID type, entry).
Hits = tuple[tuple[int, int, int, int], ...]


class Reader(NamedTuple):
    """A CHID type that is known of a machine, and the texts it is the hash of; without a panel it is absent."""

    type: int
    texts: Callable[[Sequence[Any]], tuple[Any, ...]] | None


class Chids:
    """Which of a set of GUIDs are CHIDs of a machine; most machines have none, and that is found out fast."""

    def __init__(self, types: Sequence[int], guids: Collection[UUID]) -> None:
        self.types = tuple(types)
        self._numbers = any({*Fields._fields[-3:]} & {*chid.PARTS[kind]} for kind in types)
        self._guids = frozenset(guids)
        self._beginnings = frozenset(guid.bytes[:_KEPT] for guid in guids)

    def readers(self, rest: Host) -> tuple[Reader, ...]:
        """The types that are known of machines with this rest, in order."""
        panel = None if rest.edid is None else edid.panel_id(rest.edid)
        names = (*Fields._fields, "edid_panel")
        readers = []
        for kind in self.types:
            parts = chid.PARTS[kind]
            if unknown_fields(rest, kind):
                continue
            absent = panel is None and "edid_panel" in parts
            places = [names.index(part) for part in parts]
            # Of one place itemgetter gives no tuple.
            picked = itemgetter(*places) if len(places) > 1 else itemgetter(slice(places[0], places[0] + 1))
            readers.append(Reader(kind, None if absent else picked))
        return tuple(readers)

    def found(self, fields: Fields, panel: bytes | None, readers: Sequence[Reader]) -> list[tuple[int, UUID]]:
        """Those of the machine by type, in the order of the readers; the panel is in UTF-16LE."""
        texts = self._texts(fields, panel)
        found, beginnings, hashed = [], self._beginnings, chid.hash_utf16
        for kind, pick in readers:
            parts = (None,) if pick is None else pick(texts)
            digest = _ABSENT if None in parts else hashed(parts)
            if digest[:_KEPT] not in beginnings:
                continue
            guid = _NULL if digest is _ABSENT else UUID(bytes=digest, version=5)
            if guid in self._guids:
                found.append((kind, guid))
        return found

    def _texts(self, fields: Fields, panel: bytes | None) -> tuple[bytes | None, ...]:
        """In the order of Fields, and the panel behind them; numbers only where a type that is looked at has them."""
        numbers = map(chid.stub_number, Fields._fields[-3:], fields[-3:]) if self._numbers else _NO_NUMBERS
        return (*map(chid.stub_text, fields[:-3]), *numbers, panel)


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

    def hits(self, fields: Fields, panel: bytes | None, readers: Sequence[Reader]) -> Hits:
        """What a machine is found by."""
        found: dict[tuple[int, int], tuple[int, int, int, int]] = {}
        for kind, guid in self.chids.found(fields, panel, readers):
            for table, entry_kind, index in self._entries[guid]:
                found.setdefault((table, entry_kind), (table, entry_kind, kind, index))
        return tuple(sorted(found.values()))


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
