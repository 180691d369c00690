"""One question to a fleet: which UKI, how it is started, and what holds for every machine."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping, Sequence

from stubsim.errors import StubsimError
from stubsim.fleet.answer import Answer, answer
from stubsim.fleet.coded import Coded
from stubsim.fleet.columns import Columns, Machine
from stubsim.fleet.lookup import Hits, Lookup
from stubsim.hosts.host import Host
from stubsim.rows import NamedTuple
from stubsim.start import DEFAULT_START, Start
from stubsim.uki import Uki


class Kind(NamedTuple):
    """Machines that the UKI cannot tell apart: one of them, and what they are found by."""

    machine: Machine
    hits: Hits


# Starts to find out the answer for a machine, and gives what waits for it.
Ask = Callable[[Machine], Callable[[], Answer]]


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
        self._lookup = Lookup(uki, start)
        # A boot of a plain machine, for what does not depend on it.
        self.plain = self._lookup.plain
        self._numbers: dict[tuple[int, Hits] | str, int] = {}
        self._rests: dict[Host, int] = {}
        self._waiting: list[Callable[[], Answer | StubsimError]] = []
        self._answers: list[Answer | StubsimError] = []

    @property
    def answers(self) -> Sequence[Answer | StubsimError]:
        """By number; a row that describes no machine has the error. Raises StubsimError as `stubsim.boot` does."""
        for wait in self._waiting[len(self._answers) :]:
            self._answers.append(wait())
        return self._answers

    def columns(self, names: Sequence[str]) -> Columns:
        """How rows with these columns are read."""
        return Columns(names, self.uki.machine, self.given)

    def needs(self, name: str) -> bool:
        """Whether a column can make a difference: strings of the machine do where a CHID type has them."""
        return self._lookup.looks_at(name)

    def kinds(self, columns: Mapping[str, Coded], rows: int) -> Coded:
        """The Kind of each of so many rows, or what is wrong with it; nothing is booted, and nothing kept."""
        machines = self.columns(tuple(columns)).machines(columns, rows)
        hits = machines.rests.with_(self._lookup.hits(machines), lambda rest, hits: hits)
        first = dict(zip(reversed(hits.codes), reversed(range(rows)), strict=True))
        kinds = []
        for place, own in enumerate(hits.values if rows else ()):
            machine = machines.at(first[place])
            kinds.append(machine if isinstance(machine, StubsimError) else Kind(machine, own))
        return Coded(hits.codes, kinds)

    def numbers(self, kinds: Coded, ask: Ask | None = None) -> array[int]:
        """The place in ``answers`` of what each row's kind gets; ``ask`` is told of machines of a new kind."""
        numbers = [self._number(kind, ask or self._ask) for kind in kinds.values]
        return array("i", map(numbers.__getitem__, kinds.codes))

    def answer(self, machine: Machine) -> Answer:
        """What one machine gets. Raises StubsimError as `stubsim.boot` does."""
        return answer(self.uki, machine.host, self.start, self.bank)

    def _ask(self, machine: Machine) -> Callable[[], Answer]:
        return lambda: self.answer(machine)

    def _number(self, kind: Kind | StubsimError, ask: Ask) -> int:
        if isinstance(kind, StubsimError):
            return self._numbered(str(kind), lambda: lambda: kind)
        rest = self._rests.setdefault(kind.machine.rest, len(self._rests))
        return self._numbered((rest, kind.hits), lambda: ask(kind.machine))

    def _numbered(self, key: tuple[int, Hits] | str, asked: Callable[[], Callable[[], Answer | StubsimError]]) -> int:
        number = self._numbers.get(key)
        if number is None:
            self._waiting.append(asked())
            number = self._numbers[key] = len(self._waiting) - 1
        return number
