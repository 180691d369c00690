"""One question to a fleet: which UKI, how it is started, and what holds for every machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from stubsim.errors import StubsimError
from stubsim.fleet.answer import Answer, answer
from stubsim.fleet.columns import Columns, Machine
from stubsim.fleet.lookup import Hits, Lookup, Reader
from stubsim.formats import edid
from stubsim.formats.efi_string import utf16
from stubsim.hosts.host import Host
from stubsim.rows import NamedTuple
from stubsim.start import DEFAULT_START, Start
from stubsim.uki import Uki


class Plan:
    """The question, and what was found out on the way: each kind of machine is booted once.

    A kind is what the UKI cannot tell apart: the same `.hwids` entries found, the same of all that is not a string.
    ``given`` are values of a host file's keys that hold for every machine.
    """

    def __init__(
        self, uki: Uki, start: Start = DEFAULT_START, *, bank: str = "sha256", given: Mapping[str, object] | None = None
    ) -> None:
        self.uki = uki
        self.start = start
        self.bank = bank
        self.given = dict(given or {})
        self.answers: list[Answer | StubsimError] = []
        self._lookup = Lookup(uki, start)
        # A boot of a plain machine, for what does not depend on it.
        self.plain = self._lookup.plain
        self._numbers: dict[tuple[int, Hits] | str, int] = {}
        self._rests: dict[Host, _Rest] = {}
        # A rest that comes again is mostly the same object, and hashing a Host takes longer than all the rest.
        self._by_id: dict[int, _Rest] = {}

    def columns(self, names: Sequence[str]) -> Columns:
        """How rows with these columns are read."""
        return Columns(names, self.uki.machine, self.given)

    def needs(self, name: str) -> bool:
        """Whether a column can make a difference: strings of the machine do where a CHID type has them."""
        return self._lookup.looks_at(name)

    def number(self, machine: Machine | StubsimError) -> int:
        """The place of its answer in ``answers``.

        Raises StubsimError as `stubsim.boot` does; a row that describes no machine has the error for an answer.
        """
        if isinstance(machine, StubsimError):
            return self._numbered(str(machine), lambda: machine)
        rest = self._by_id.get(id(machine.rest)) or self._interned(machine.rest)
        hits = self._lookup.hits(machine.fields, rest.panel, rest.readers)
        return self._numbered((rest.number, hits), lambda: answer(self.uki, machine.host, self.start, self.bank))

    def _numbered(self, key: tuple[int, Hits] | str, made: Callable[[], Answer | StubsimError]) -> int:
        number = self._numbers.get(key)
        if number is None:
            self.answers.append(made())
            number = self._numbers[key] = len(self.answers) - 1
        return number

    def _interned(self, rest: Host) -> _Rest:
        if rest not in self._rests:
            panel = None if rest.edid is None else edid.panel_id(rest.edid)
            encoded = None if panel is None else utf16(panel)
            self._rests[rest] = _Rest(rest, len(self._rests), encoded, self._lookup.chids.readers(rest))
        own = self._rests[rest]
        if own.host is rest:
            self._by_id[id(rest)] = own
        return own


class _Rest(NamedTuple):
    host: Host
    number: int
    panel: bytes | None
    readers: tuple[Reader, ...]
