"""What a row of an inventory says of a machine: columns by the names of a host file's keys, and what they leave open.

A null is unknown, and so is whatever there is no column for: an inventory that does not tell of Secure Boot is not one
of machines without it. An empty text and dmidecode's words for string number 0 are a string that is not there.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from stubsim.errors import StubsimError
from stubsim.fleet.coded import Coded
from stubsim.formats.smbios import Fields
from stubsim.hosts.described import NOT_IN_SMBIOS
from stubsim.hosts.dmidecode import ENCLOSURE_TYPES, NO_STRING, is_doubtful
from stubsim.hosts.fixture import KEYS, from_json
from stubsim.hosts.host import Host
from stubsim.rows import NamedTuple

# The column with a whole host file, in JSON; it stands for all others.
HOST = "host"
# "major.minor", as /sys/class/dmi/id has it.
BIOS_RELEASE = "bios_release"
STRINGS = Fields._fields[:-3]
NUMBERS = Fields._fields[-3:]
# The other keys of a host file, a column each.
_ABOUT = ("$schema", "schema", "name", "source", "notes", "smbios", "smbios_table", "unknown")
OTHERS = ("oem_strings", *(key for key in KEYS[""] if key not in _ABOUT))
NAMES = (*STRINGS, *NUMBERS, BIOS_RELEASE, *OTHERS, HOST)

# Beside what no SMBIOS table tells, what a table would tell and an inventory of its strings does not.
_NOT_IN_INVENTORY = NOT_IN_SMBIOS | {"hypervisor", "confidential", "smbios.oem_strings"}
# What it is taken to be then: no virtual machine's.
_TAKEN: dict[str, object] = {"hypervisor": False, "fw_cfg": None}
_X86 = ("x64", "ia32")
# The OEM strings that stub and loader read; others are serial numbers and the like.
_READ = b"io.systemd."
_UNKNOWN: Any = object()


class Machine(NamedTuple):
    """One row: the SMBIOS fields, and the rest as a host without any; many machines have the same ``rest``."""

    fields: Fields
    rest: Host

    @property
    def host(self) -> Host:
        return self.rest._replace(fields=self.fields)


class Machines(NamedTuple):
    """Rows: a column for each SMBIOS field, and one of what else they are, or of what is wrong with the row."""

    fields: tuple[Coded, ...]
    rests: Coded

    def at(self, row: int) -> Machine | StubsimError:
        rest = self.rests.at(row)
        if isinstance(rest, StubsimError):
            return rest
        return Machine(Fields._make(column.at(row) for column in self.fields), rest)


def given_values(words: Iterable[str]) -> dict[str, object]:
    """The values of ``KEY=VALUE`` words; StubsimError for a key that no host file has."""
    values: dict[str, object] = {}
    for word in words:
        key, equals, text = word.partition("=")
        if not equals or key not in OTHERS:
            raise StubsimError(f"{word!r} gives nothing", expected=f"KEY=VALUE with a key of {', '.join(OTHERS)}")
        values[key] = _value(text)
    return values


class Columns:
    """The columns of an inventory, and how a row of them is read.

    ``given`` holds for every machine and stands for the column of its name. Raises StubsimError for values that no host
    file could have.
    """

    def __init__(self, names: Sequence[str], machine: str, given: Mapping[str, object]) -> None:
        self.names = tuple(name for name in NAMES if name in names and name not in given)
        self._given = dict(given)
        # Firmware for x86 brings no devicetree.
        self._not_told = _NOT_IN_INVENTORY - ({"devicetree"} if machine in _X86 else set())
        self._rests: dict[tuple[object, ...], Host | StubsimError] = {}
        self._others = [name for name in self.names if name in OTHERS]
        self._rest((), (None,) * len(self._others), raised=True)

    def machines(self, columns: Mapping[str, Coded], rows: int) -> Machines:
        """The machines of that many rows; values are texts or None, of each column of `names`."""
        if HOST in self.names:
            return _of_whole(columns[HOST].each(_whole))
        nothing = Coded.alike(rows, None)
        read = [_read(columns.get(name, nothing), _string) for name in STRINGS]
        read += self._numbers(columns, nothing)
        gaps, wrong = Coded.alike(rows, ()), nothing
        for name, column in zip(Fields._fields, read, strict=True):
            gap = column.each(partial(_gap, name)).merged()
            gaps = gaps.with_(gap, lambda own, name: (*own, name) if name else own)
            wrong = wrong.with_(column.each(_error).merged(), lambda one, other: one or other)
        others = Coded.alike(rows, ())
        for name in self._others:
            others = others.with_(columns[name], lambda own, text: (*own, text))
        rests = gaps.with_(others, self._rest).with_(wrong, lambda rest, error: error or rest)
        return Machines(tuple(column.each(_known) for column in read), rests)

    def _numbers(self, columns: Mapping[str, Coded], nothing: Coded) -> list[Coded]:
        release = _read(columns.get(BIOS_RELEASE, nothing), _release)
        numbers = [
            _read(columns[name], _number) if name in columns else release.each(partial(_part, place=place))
            for place, name in enumerate(NUMBERS[:2])
        ]
        return [*numbers, _read(columns.get("enclosure_type", nothing), _enclosure)]

    def _rest(
        self, left_open: tuple[str, ...], others: tuple[str | None, ...], *, raised: bool = False
    ) -> Host | StubsimError:
        """All but the SMBIOS fields, made once for all machines that share it."""
        key = (left_open, others)
        if key not in self._rests:
            told = {name: _value(text) for name, text in zip(self._others, others, strict=True) if text is not None}
            told |= self._given
            unknown = {f"smbios.{name}" for name in left_open}
            unknown |= {name for name in self._not_told if name.removeprefix("smbios.") not in told}
            unknown |= {name for name in self._others if name not in told and name != "oem_strings"}
            value: dict[str, object] = {**_TAKEN, **told, "unknown": sorted(unknown)}
            if "oem_strings" in value:
                value["smbios"] = {"oem_strings": value.pop("oem_strings") or []}
            try:
                self._rests[key] = from_json(value)
            except StubsimError as error:
                if raised:
                    raise
                self._rests[key] = error
        return self._rests[key]


def _of_whole(machines: Coded) -> Machines:
    """The machines of a column of Machine or StubsimError."""

    def field(place: int) -> Callable[[Machine | StubsimError], Any]:
        return lambda machine: None if isinstance(machine, StubsimError) else machine.fields[place]

    rests = machines.each(lambda machine: machine if isinstance(machine, StubsimError) else machine.rest)
    return Machines(tuple(machines.each(field(place)) for place in range(len(Fields._fields))), rests)


def _whole(text: str | None) -> Machine | StubsimError:
    try:
        host = from_json(None if text is None else json.loads(text))
    except StubsimError as error:
        return error
    except (ValueError, RecursionError):
        return StubsimError("the column host is not JSON", expected="a host file")
    # Who it is decides nothing; what the stub measures of the table goes into PCR 1, which is given for no machine.
    read = tuple(string for string in host.oem_strings if string.startswith(_READ))
    rest = host._replace(fields=Fields(), name=None, source=None, structures=None, damage=None, oem_strings=read)
    return Machine(host.fields, rest)


def _read(column: Coded, one: Callable[[str], Any]) -> Coded:
    return column.each(lambda text: _UNKNOWN if text is None else one(text))


def _gap(name: str, value: Any) -> str | None:
    return name if value is _UNKNOWN else None


def _error(value: Any) -> StubsimError | None:
    return value if isinstance(value, StubsimError) else None


def _known(value: Any) -> Any:
    return None if value is _UNKNOWN or isinstance(value, StubsimError) else value


def _string(text: str) -> Any:
    """Its bytes; None for string number 0; unknown where dmidecode may have printed a dot in place of another byte."""
    if "\0" in text:
        return StubsimError(f"{text[:40]!r} is not an SMBIOS string", expected="a string without NUL")
    try:
        value = text.encode()
    except UnicodeEncodeError:
        return StubsimError(f"{text[:40]!r} is not an SMBIOS string", expected="a string without lone surrogates")
    if not value or value in NO_STRING:
        return None
    return _UNKNOWN if is_doubtful(value) else value


def _number(text: str) -> int | StubsimError | None:
    if text == "":
        return None
    if text.isascii() and text.isdigit() and len(text) <= 3 and int(text) <= 0xFF:
        return int(text)
    return StubsimError(f"{text[:40]!r} is not a number from 0 to 255")


def _release(text: str) -> Any:
    major, dot, minor = text.partition(".")
    numbers = (_number(major), _number(minor))
    if text and (not dot or not all(isinstance(number, int) for number in numbers)):
        return StubsimError(f"{text[:40]!r} is not a BIOS release", expected='"major.minor"')
    return numbers


def _part(release: Any, place: int) -> Any:
    return release[place] if isinstance(release, tuple) else release


def _enclosure(text: str) -> Any:
    """A number; dmidecode's word for one leaves bit 7 open, the chassis lock."""
    words = text.encode(errors="replace")
    return _UNKNOWN if words in ENCLOSURE_TYPES or words == b"<OUT OF SPEC>" else _number(text)


def _value(text: str) -> object:
    """A value as a host file has it: JSON, or else the text itself; an empty one is what is not there."""
    if text == "":
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
