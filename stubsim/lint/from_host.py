"""A hwids description from a machine: which of its ids are worth having, and why the others are not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from stubsim import chid
from stubsim.errors import StubsimError
from stubsim.formats import edid, hwids
from stubsim.hosts import Host
from stubsim.lint.identities import generic
from stubsim.rows import NamedTuple
from stubsim.stub.chid_match import machine_chids
from stubsim.stub.models import which
from stubsim.wording import plain

# All of them have the product's name. In linuxhw/DMI (97,824 machines) no two products share such an id, while type 6
# of 10 % of the machines is that of another product too, type 10 of 21 %, type 7 of 63 % and type 11 of 91 %.
DEFAULT_TYPES = (3, 4, 5, 8, 9)
_SHARED = {6: 10, 7: 63, 10: 21, 11: 91}


class Draft(NamedTuple):
    """A description as ukify reads it, and what a person should know of it, a line each."""

    description: dict[str, object]
    notes: tuple[str, ...]


def from_host(host: Host, kind: int, string: str, name: str | None = None, types: Sequence[int] = ()) -> Draft:
    """The description of a machine for a devicetree's compatible or a firmware's id.

    Without ``types`` it has those of DEFAULT_TYPES whose strings are all there and name something. Raises StubsimError
    for a type that no stub looks for or whose strings the host does not tell, and where no id is left.
    """
    panel = None if host.edid is None else edid.panel_id(host.edid)
    rows = {row.type: row for row in chid.compute(host.fields, panel)}
    known = machine_chids(host)
    for number in types:
        _check(number, known, rows)
    notes: list[str] = []
    ids: dict[str, int] = {}
    for number in types or DEFAULT_TYPES:
        why = _unfit(host, rows[number]) if known.get(number) else "the host does not tell its strings"
        if why:
            notes.append(f"type {number} ({_words(number)}) {'is vague' if types else 'is left out'}: {why}")
        if types or not why:
            ids.setdefault(str(known[number]), number)
    if not types:
        notes += _left_out(known)
    if not ids:
        raise StubsimError(
            "no id is left that would name this machine", expected="strings of its own", hint="; ".join(notes)
        )
    word, key = next((word, key) for word, (number, key) in hwids.KINDS.items() if number == kind)
    own = {field: text for row in rows.values() for field, text in row.parts}
    description: dict[str, object] = {"type": word, "name": name or _name(host, own), key: string, "hwids": list(ids)}
    hwids.device(description)
    return Draft(description, tuple(notes))


def _check(number: int, known: Mapping[int, object], rows: Mapping[int, chid.Chid]) -> None:
    looked_up = ", ".join(str(kind) for kind in sorted(chid.PRIORITY))
    if number not in chid.PRIORITY:
        raise StubsimError(f"type {number}: no stub looks for it", expected=f"types among {looked_up}")
    if number not in known:
        raise StubsimError(f"type {number}: the host does not know all of {_words(number)}")
    if known[number] is None:
        missing = ", ".join(plain(field) for field, text in rows[number].parts if text is None)
        raise StubsimError(f"type {number}: the host has no {missing}")


def _unfit(host: Host, row: chid.Chid) -> str | None:
    """Why a machine's id is none to choose by."""
    for field, text in row.parts:
        if generic(text):
            missing = not getattr(host.fields, field, True)
            return f"{plain(field)} is " + ("missing" if missing else f"{text!r}, which names nothing")
    if row.type in _SHARED:
        return f"{_SHARED[row.type]} % of 97,824 real machines share theirs with another product (linuxhw/DMI)"
    if "product_name" not in chid.PARTS[row.type]:
        return "it has no product name, so other products may share it"
    return None


def _left_out(known: Mapping[int, object]) -> Iterator[str]:
    shares = ", ".join(f"{kind} of {share} %" for kind, share in _SHARED.items())
    yield (
        "types 6, 7, 10, 11 are left out: they have no product name, and other products share them "
        f"(in linuxhw/DMI, 97,824 machines: type {shares}); --types takes them"
    )
    if known.get(15):
        older = which(lambda model: model.matches_devicetree_entries and 15 not in model.chid_priority)
        yield f"types 15 to 17 are left out: they name this panel only, and stub {older} knows none; --types takes them"


def _words(number: int) -> str:
    return " + ".join(plain(field) for field in chid.PARTS[number])


def _name(host: Host, own: dict[str, str | None]) -> str:
    """As the descriptions that ship with systemd are named: manufacturer and family, or else the product."""
    if host.unknown & {"smbios", "smbios_table", "smbios.manufacturer"}:
        raise StubsimError("the host does not tell its manufacturer", hint="name the device with --name")
    second = "product_name" if generic(own["family"]) or "smbios.family" in host.unknown else "family"
    return " ".join(text for text in (own["manufacturer"], own[second]) if text)
