"""What a row of an inventory says of a machine: columns by the names of a host file's keys, and what they leave open.

A null is unknown, and so is whatever there is no column for: an inventory that does not tell of Secure Boot is not one
of machines without it. An empty text and dmidecode's words for string number 0 are a string that is not there.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from stubsim.errors import StubsimError
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
        self._by_gaps: dict[tuple[tuple[bool, ...], tuple[str | None, ...]], Host | StubsimError] = {}
        # Whether a value of the batch at hand is none that a machine has.
        self._wrong = False
        self._others = [name for name in self.names if name in OTHERS]
        self._rest((), (None,) * len(self._others), raised=True)

    def machines(self, columns: Mapping[str, Sequence[str | None]]) -> Iterator[Machine | StubsimError]:
        """The machine of each row, or what is wrong with the row; all values are texts, of each column of `names`."""
        rows = len(next(iter(columns.values()), ()))
        if HOST in self.names:
            yield from map(self._whole, columns[HOST])
            return
        nothing = [None] * rows
        fields = [_read(_string, columns.get(name, nothing)) for name in STRINGS]
        fields += self._numbers(columns, nothing)
        self._wrong = any(isinstance(value, StubsimError) for column in fields for value in {*column})
        others = zip(*(columns[name] for name in self._others), strict=True) if self._others else iter([()] * rows)
        for values, rest in zip(zip(*fields, strict=True), others, strict=True):
            yield self._machine(values, rest)

    def _numbers(self, columns: Mapping[str, Sequence[str | None]], nothing: list[None]) -> list[list[Any]]:
        release = _read(_release, columns.get(BIOS_RELEASE, nothing))
        parts = [[_part(row, place) for row in release] for place in (0, 1)]
        own = [_read(_number, columns[name]) if name in columns else None for name in NUMBERS[:2]]
        enclosure = _read(_enclosure, columns.get("enclosure_type", nothing))
        return [mine if mine is not None else part for mine, part in zip(own, parts, strict=True)] + [enclosure]

    def _machine(self, values: tuple[Any, ...], others: tuple[str | None, ...]) -> Machine | StubsimError:
        if self._wrong:
            wrong = next((value for value in values if isinstance(value, StubsimError)), None)
            if wrong is not None:
                return wrong
        gaps = tuple([value is _UNKNOWN for value in values])
        rest = self._by_gaps.get((gaps, others))
        if rest is None:
            left_open = tuple(name for name, gap in zip(Fields._fields, gaps, strict=True) if gap)
            rest = self._by_gaps[gaps, others] = self._rest(left_open, others)
        if isinstance(rest, StubsimError):
            return rest
        if _UNKNOWN in values:
            values = tuple([None if value is _UNKNOWN else value for value in values])
        return Machine(Fields._make(values), rest)

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

    def _whole(self, text: str | None) -> Machine | StubsimError:
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


def _read(one: Any, texts: Sequence[str | None]) -> list[Any]:
    """Each text as it is read, what is the same once."""
    known = {text: _UNKNOWN if text is None else one(text) for text in set(texts)}
    return [known[text] for text in texts]


def _string(text: str) -> Any:
    """Its bytes; None for string number 0; unknown where dmidecode may have printed a dot in place of another byte."""
    if "\0" in text:
        return StubsimError(f"{text[:40]!r} is no SMBIOS string", expected="a string without NUL")
    try:
        value = text.encode()
    except UnicodeEncodeError:
        return StubsimError(f"{text[:40]!r} is no SMBIOS string", expected="a string without lone surrogates")
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
