"""Which entries of `.hwids` are for machines of several models, by which CHID type, and what would be narrow enough.

A model is what Manufacturer, ProductName, Family and the baseboard's two strings say. An entry that many machines of
one model have is right; one that machines of several models have was made of strings that they share.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from uuid import UUID

from stubsim import chid
from stubsim.errors import StubsimError
from stubsim.fleet.columns import HOST, Columns, Machine, Machines
from stubsim.fleet.engine import Fleet
from stubsim.fleet.evaluate import coded_columns
from stubsim.fleet.lookup import Chids
from stubsim.formats.efi_string import from_utf16
from stubsim.formats.smbios import Fields
from stubsim.lint.subjects import Row, Subject
from stubsim.rows import NamedTuple
from stubsim.stub.models import NEWEST

# Machine type and configuration: of 5,389 machines in linuxhw/DMI with such a name and a SKU like LENOVO_MT_21BY_BU_...
# all but two have the same four characters in both.
_LENOVO = re.compile("[0-9]{2}[0-9A-Z]{8}")
MODEL = ("manufacturer", "product_name", "family", "baseboard_manufacturer", "baseboard_product")
_STRINGS = Fields._fields[:6]


class Model(NamedTuple):
    """What tells a machine from others; None is string number 0, or not known."""

    manufacturer: str | None
    product_name: str | None
    family: str | None
    baseboard_manufacturer: str | None
    baseboard_product: str | None


class Hit(NamedTuple):
    """An entry that machines have by one CHID type; ``texts`` are what it is the hash of, ``models`` with how many.

    ``narrower`` are the types that have the same strings and more, and tell all of these models apart. ``kept`` are the
    models that other entries of the same device have by such a narrower type: what the device is for, it seems.
    """

    row: Row
    chid_type: int
    texts: tuple[tuple[str, str], ...]
    machines: int
    models: dict[Model, int]
    narrower: tuple[int, ...]
    kept: tuple[Model, ...]

    @property
    def too_wide(self) -> bool:
        return len(self.models) > 1


class Audit(NamedTuple):
    """``silent`` are the entries that no machine has; ``types`` are those that were looked at.

    ``left_open`` is how many machines there are whose CHIDs are not all known.
    """

    machines: int
    distinct: int
    types: tuple[int, ...]
    left_open: int
    hits: tuple[Hit, ...]
    silent: tuple[Row, ...]


def audit(subjects: Sequence[Subject], fleet: Fleet, tick: Callable[[str], None] = lambda text: None) -> Audit:
    """Hold every entry against every machine, whatever other entries there are.

    Raises StubsimError for descriptions that ukify refuses, and for machines that cannot be read.
    """
    for subject in subjects:
        if subject.refused:
            raise subject.refused[0]
    rows: dict[UUID, list[Row]] = {}
    for subject in subjects:
        for row in subject.rows:
            rows.setdefault(row.entry.chid, []).append(row)
    types = {kind for subject in subjects for kind in (subject.model or NEWEST).chid_priority} or {
        *NEWEST.chid_priority
    }
    look = _Look(Chids([kind for kind in chid.PARTS if kind in types], rows))
    wanted = [name for name in fleet.columns if name in (*_STRINGS, "edid", HOST)]
    distinct = fleet.distinct(wanted, tick)
    columns = Columns(wanted, "", {})
    for batch in fleet.batches():
        look.at(columns.machines(coded_columns(batch), batch.num_rows), batch.column("machines").to_pylist())
        tick(f"{look.distinct} of {distinct} distinct machines")
    hits = [hit for (kind, guid), machines in look.found.items() for hit in _hits(rows[guid], kind, machines)]
    hits = _with_kept(hits)
    hits.sort(key=lambda hit: (-len(hit.models), -hit.machines, hit.row.place, hit.row.entry.index))
    met = {guid for _, guid in look.found}
    silent = tuple(row for guid, own in rows.items() if guid not in met for row in own)
    return Audit(look.machines, distinct, look.chids.types, look.left_open, tuple(hits), silent)


Found = Counter[tuple[Fields, frozenset[str]]]


class _Look:
    """What was found so far: by CHID type and GUID the machines that have it."""

    def __init__(self, chids: Chids) -> None:
        self.chids = chids
        self.found: dict[tuple[int, UUID], Found] = {}
        self.machines = self.left_open = self.distinct = 0

    def at(self, machines: Machines, counts: Sequence[int]) -> None:
        """Look at machines; how many there are of each."""
        known = machines.rests.each(lambda rest: None if isinstance(rest, StubsimError) else self.chids.known(rest))
        for row, count in enumerate(counts):
            if known.at(row) is not None:
                self.distinct += 1
                self.machines += count
                self.left_open += 0 if known.at(row) else count
        for kind, guids in self.chids.found(machines):
            for row, code in enumerate(guids.codes):
                guid = guids.values[code]
                machine = None if guid is None else machines.at(row)
                if isinstance(machine, Machine):
                    self.found.setdefault((kind, guid), Counter())[machine.fields, machine.rest.unknown] += counts[row]


def _hits(rows: Iterable[Row], kind: int, machines: Found) -> Iterator[Hit]:
    models = _models(machines)
    first = next(iter(machines))[0]
    parts = [part for part in chid.PARTS[kind] if part in _STRINGS]
    texts = tuple((part, from_utf16(chid.stub_text(getattr(first, part)))) for part in parts)
    for row in rows:
        yield Hit(row, kind, texts, sum(machines.values()), models, _narrower(kind, machines), ())


def _models(machines: Found) -> dict[Model, int]:
    """The models of machines; one that is not wholly known is taken for another that it may well be."""
    counts: Counter[tuple[Model, frozenset[str]]] = Counter()
    for (fields, unknown), count in machines.items():
        gaps = frozenset(part for part in MODEL if f"smbios.{part}" in unknown)
        counts[_model(fields), gaps] += count
    found: dict[Model, int] = {}
    for (model, gaps), count in sorted(counts.items(), key=lambda item: (len(item[0][1]), -item[1], repr(item[0][0]))):
        same = next((other for other in found if gaps and _may_be(model, gaps, other)), model)
        found[same] = found.get(same, 0) + count
    return dict(sorted(found.items(), key=lambda item: (-item[1], repr(item[0]))))


def _model(fields: Fields) -> Model:
    """The model of a machine; Lenovo's configurations of one machine type are one."""
    model = Model(*(_text(fields, part) for part in MODEL))
    if model.manufacturer != "LENOVO" or not _LENOVO.fullmatch(model.product_name or ""):
        return model
    board = model.baseboard_product
    same = board == model.product_name
    kind = (model.product_name or "")[:4]
    return model._replace(product_name=kind, baseboard_product=kind if same else board)


def _may_be(model: Model, gaps: frozenset[str], other: Model) -> bool:
    return all(one == two for name, one, two in zip(MODEL, model, other, strict=True) if name not in gaps)


def _text(fields: Fields, part: str) -> str | None:
    value = getattr(fields, part)
    text = None if value is None else str(value, "utf-8", "backslashreplace").strip()
    return text or None


def _narrower(kind: int, machines: Found) -> tuple[int, ...]:
    """Types with the same strings and more, by which no two of the models have the same CHID."""
    parts = {*chid.PARTS[kind]}
    narrower = []
    for other in NEWEST.chid_priority:
        own = {*chid.PARTS[other]}
        if not parts < own or not own <= {*_STRINGS}:
            continue
        by: dict[tuple[bytes, ...], set[Model]] = {}
        for fields, _ in machines:
            key = tuple(chid.stub_text(getattr(fields, part)) for part in chid.PARTS[other])
            by.setdefault(key, set()).add(_model(fields))
        if all(len(models) == 1 for models in by.values()):
            narrower.append(other)
    return tuple(narrower)


def _with_kept(hits: Sequence[Hit]) -> list[Hit]:
    """With the models that the device's other, narrower entries have."""
    by: dict[tuple[int, str | None, str | None], list[Hit]] = {}
    for hit in hits:
        by.setdefault(hit.row.device, []).append(hit)
    return [hit._replace(kept=tuple(_kept(hit, by[hit.row.device]))) for hit in hits]


def _kept(hit: Hit, others: Iterable[Hit]) -> Iterator[Model]:
    parts = {*chid.PARTS[hit.chid_type]}
    models = {
        model
        for other in others
        if parts < {*chid.PARTS[other.chid_type]} and not other.too_wide
        for model in other.models
    }
    yield from (model for model in hit.models if model in models)
