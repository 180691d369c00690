"""What an id is the hash of, as far as that can be proven: a hash tells nothing, but what it is of can be guessed.

The guesses are the ids of machines that somebody has a description of, what a device is called (tools name it by its
manufacturer and family), and texts that makers leave as the firmware's vendor wrote them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import product
from uuid import UUID

from stubsim import chid
from stubsim.formats import edid
from stubsim.hosts import Host
from stubsim.rows import NamedTuple

# Field -> the word that Microsoft and `fwupdtool hwids` have for it.
WORDS = {
    "manufacturer": "Manufacturer",
    "family": "Family",
    "product_name": "ProductName",
    "product_sku": "ProductSku",
    "baseboard_manufacturer": "BaseboardManufacturer",
    "baseboard_product": "BaseboardProduct",
    "bios_vendor": "BiosVendor",
    "bios_version": "BiosVersion",
    "bios_major": "BiosMajorRelease",
    "bios_minor": "BiosMinorRelease",
    "enclosure_type": "EnclosureKind",
    "edid_panel": "EdidPanel",
}
# The "Extra Hardware IDs" of `fwupdtool hwids` (fwupd 2.1), which no stub computes.
_FWUPD_EXTRA = (
    ("manufacturer", "family", "product_name", "product_sku", "bios_vendor"),
    ("manufacturer", "family", "product_name", "bios_vendor"),
    ("manufacturer", "bios_vendor"),
)

# Texts that four or more makers in linuxhw/DMI (97,824 machines) have as family, product, SKU or board and that name
# nothing of theirs, in the upper and lower case in which they stand there; three that stand for a maker ("System
# manufacturer" and the like); and what dmidecode prints for a string that is not there. "" is a string that is missing,
# or nothing but blanks and zeros.
GENERIC = (
    "", "To be filled by O.E.M.", "To Be Filled By O.E.M.", "To Be Filled By O.E.M", "To be filled by O.E.M",
    "Default string", "Not Applicable", "N/A", "NA", "None", "NULL", "Null", "Unknown", "empty", "*", "INVALID", "OEM",
    "TBD", "System Product Name", "System SKUNumber", "System SKU#", "System SKU Number Unknown", "SKU", "SKU1",
    "Default SKU", "All", "1", "1.0", "123456789", "1234567890", "1234567890123456789AB", "Type1 - SKU0", "Type1Sku0",
    "Type1 - Family", "Type1Family", "Family", "Type2 - Board Manufacturer", "Type2 - Board Vendor Name1",
    "Base Board Product Name", "Type2 - Board Product Name", "Type2 - Board Product Name1", "Standard", "Notebook",
    "NoteBook", "NOTEBOOK", "Laptop", "Tablet", "Desktop", "High-End Desktop", "Mini PC", "MiniPC", "AIO", "Server",
    # Reference boards and their firmware.
    "Aptio CRB", "Cherry Trail CR", "CherryTrail CR", "ChiefRiver System", "CedarTrail System", "HuronRiver System",
    "SharkBay System", "BayTrail System", "Calpella_CRB", "HuronRiver_CRB", "Montevina_Fab", "NetTopSku", "BasicNB_QS",
    "Intel_Mobile", "PEGA Family",
    "System manufacturer", "System Manufacturer", "$(DEFAULT_STRING)", "Not Specified", "<BAD INDEX>",
)  # fmt: skip
_GENERIC = frozenset(text.lower() for text in GENERIC)

# A hostile table may name as many devices as it has entries.
_NAMES_MAX = 512
_NAME_LENGTH_MAX = 128


class Identity(NamedTuple):
    """A text that an id is the hash of: the CHID type (None: fwupd's own), its fields, their texts, and whose they are.

    ``stripped`` is False for texts that a stub would have stripped, so that it never computes this id from them.
    ``source`` is the machine's name, None for a guess by the device's name.
    """

    type: int | None
    fields: tuple[str, ...]
    texts: tuple[str, ...]
    source: str | None
    stripped: bool = True

    @property
    def looked_up(self) -> bool:
        """Whether a stub looks for such an id in `.hwids`."""
        return self.stripped and self.type in chid.PRIORITY


Known = dict[UUID, list[Identity]]


class Machine(NamedTuple):
    """A machine by the name it is called by, with its ids as the stub computes them: `chid_match.machine_chids`."""

    label: str
    host: Host
    chids: dict[int, UUID | None]


def generic(text: str | None) -> bool:
    """Whether a string is one that many makers leave as it is, or missing."""
    return (text or "").strip().lower() in _GENERIC


def known_ids(names: Iterable[str], machines: Sequence[Machine]) -> Known:
    """Every id that the machines have, or that follows from the names of devices, with all it may be the hash of."""
    known: Known = {}
    for machine in machines:
        for identity in _of_machine(machine):
            _add(known, identity)
    for name in list(dict.fromkeys(names))[:_NAMES_MAX]:
        for identity in _of_name(name):
            _add(known, identity)
    return known


def ids_by_name(names: Iterable[str]) -> dict[UUID, tuple[str, str]]:
    """The ids that are a device's name, cut in two: Manufacturer + Family by the custom of those who name devices."""
    some = list(dict.fromkeys(names))[:_NAMES_MAX]
    pairs = [pair for name in some for pair in name_parts(name) if pair[1]]
    return {chid.hash_texts(pair): pair for pair in pairs}


def _add(known: Known, identity: Identity) -> None:
    found = known.setdefault(chid.hash_texts(identity.texts), [])
    if identity not in found:
        found.append(identity)


def _of_machine(machine: Machine) -> Iterator[Identity]:
    label, host, certain = machine
    panel = None if host.edid is None else edid.panel_id(host.edid)
    rows = {row.type: row for row in chid.compute(host.fields, panel)}
    texts = {field: text or "" for row in rows.values() for field, text in row.parts}
    shapes: list[tuple[int | None, tuple[str, ...]]] = [
        (kind, chid.PARTS[kind]) for kind, value in certain.items() if value is not None
    ]
    shapes += [(None, names) for names in _FWUPD_EXTRA if not any(_unknown(host, name) for name in names)]
    for kind, names in shapes:
        own = tuple(texts[name] for name in names)
        yield Identity(kind, names, own, label)
        for strip in (None, " "):
            other = tuple(_unstripped(host, name, texts[name], strip) for name in names)
            if other != own:
                yield Identity(kind, names, other, label, stripped=False)


def _unknown(host: Host, field: str) -> bool:
    return not host.unknown.isdisjoint({"smbios", "smbios_table", f"smbios.{field}"})


def _unstripped(host: Host, name: str, text: str, strip: str | None) -> str:
    """A string as it stands in the firmware, or with only its blanks gone, as tools that know no zeros leave it."""
    raw = getattr(host.fields, name, None)
    if not isinstance(raw, bytes):
        return text
    whole = raw.decode(errors="replace")
    return whole if strip is None else whole.strip(strip)


def _of_name(name: str) -> Iterator[Identity]:
    """Type 14, if the name begins with the manufacturer, and whatever blank is behind that.

    What follows may be the family, the product or something else, so no other type is certain.
    """
    for maker, _ in name_parts(name):
        yield Identity(14, chid.PARTS[14], (maker,), None)


def name_parts(name: str) -> Iterator[tuple[str, str]]:
    """A device's name cut in two at each of its first blanks, also behind its end."""
    words = name.split(" ") if len(name) <= _NAME_LENGTH_MAX else []
    for count in range(1, min(len(words), 8) + 1):
        yield " ".join(words[:count]), " ".join(words[count:])


def generic_ids(names: Iterable[str]) -> dict[UUID, tuple[str, ...]]:
    """Ids that are the hash of nothing but generic texts, be it behind the maker that a device's name begins with."""
    makers = {maker for name in list(dict.fromkeys(names))[:_NAMES_MAX] for maker, _ in name_parts(name)}
    # "1" is also a kind of enclosure.
    pairs = [pair for pair in product(sorted(makers), GENERIC) if pair[1] != "1"]
    return {**_all_generic(), **{chid.hash_texts(pair): pair for pair in pairs}}


@cache
def _all_generic() -> dict[UUID, tuple[str, ...]]:
    texts: list[tuple[str, ...]] = [pair for pair in product(GENERIC, GENERIC) if pair[1] != "1"]
    # All of them the same, as on a machine that has no strings at all: types 3 to 11.
    texts += [(text,) * count for text in GENERIC for count in (3, 4, 6)]
    return {chid.hash_texts(parts): parts for parts in texts}
