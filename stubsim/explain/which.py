"""Which boot of a UKI leads to a value of a PCR: its profile, phase, kind of machine and stub (`stubsim which`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from stubsim.errors import StubsimError
from stubsim.explain.every_value import EVERY_PHASE, measurements
from stubsim.explain.measure import Case, Measurement, Value, at_phase, values_at
from stubsim.explain.verdicts import verdicts
from stubsim.formats import eventlog
from stubsim.hosts import Host
from stubsim.machine.tpm import BANKS, DIGEST_SIZES, replay
from stubsim.rows import NamedTuple
from stubsim.start import Start
from stubsim.systemd.measure import PCR_KERNEL_IMAGE
from stubsim.trace import Measured
from stubsim.uki import Uki

# Those that a UKI's chain alone extends, behind the firmware.
PCRS = (4, 9, 11, 12, 13)
_NO_ACTION = eventlog.EVENT_TYPES["EV_NO_ACTION"]


class Asked(NamedTuple):
    """A value of a PCR; its length tells the bank."""

    pcr: int
    value: bytes

    @property
    def bank(self) -> str:
        return next(bank for bank in BANKS if DIGEST_SIZES[bank] == len(self.value))


class Match(NamedTuple):
    """A boot of these rules, machine or machines, profile and phase that has the value."""

    measurement: Measurement
    value: Value


class Nearest(NamedTuple):
    """The boot whose events are those of a log for longest: ``agreed`` of them, then the first that departs.

    ``predicted`` None: the log has one more; ``logged`` None: it ends there; both: they are the same to their ends.
    ``place`` is the logged event's, from 0 behind the header.
    """

    measurement: Measurement
    case: Case
    agreed: int
    predicted: Measured | None
    logged: eventlog.Event | None
    place: int | None


class Answer(NamedTuple):
    """``compared`` distinct values there were; ``because`` is why it has none, or is not known, on some.

    ``of_log`` is the phase in which the log leads to the value itself, None: in none, or no log was given.
    """

    asked: Asked
    matches: tuple[Match, ...]
    compared: int
    because: tuple[str, ...]
    of_log: str | None
    nearest: Nearest | None


class Together(NamedTuple):
    """Cases of one profile and stub that have all the values."""

    measurement: Measurement
    cases: tuple[Case, ...]


class Which(NamedTuple):
    measurements: tuple[Measurement, ...]
    answers: tuple[Answer, ...]
    together: tuple[Together, ...]


def which(
    uki: Uki,
    hosts: Sequence[tuple[str, Host]],
    start: Start,
    asked: Sequence[Asked],
    *,
    stubs: Sequence[str | None] = (None,),
    log: eventlog.Log | None = None,
) -> Which:
    """Hold values against all that the UKI leads to by each of the stubs, None for its own.

    Raises StubsimError as `every_value.measurements` does, and for a log without the bank of a value.
    """
    banks = [bank for bank in BANKS if any(row.bank == bank for row in asked)]
    measured = tuple(
        row for stub in stubs for row in measurements(uki, hosts, start._replace(stub=stub or start.stub), banks)
    )
    answers = tuple(_answer(row, measured, log) for row in asked)
    return Which(measured, answers, tuple(_together(answers)))


def _answer(asked: Asked, measured: Sequence[Measurement], log: eventlog.Log | None) -> Answer:
    matches, values = [], set()
    because: dict[str, None] = {}
    for measurement in measured:
        for value in values_at(measurement, asked.pcr, EVERY_PHASE):
            if value.bank == asked.bank:
                values.add(value.value)
                matches += [Match(measurement, value)] if value.value == asked.value else []
        if any(asked.pcr not in case.pcrs.get(asked.bank, {}) for case in measurement.cases):
            because[verdicts(measurement)[asked.pcr].because or "the boot does not come to it"] = None
    of_log = nearest = None
    if log is not None:
        of_log = _phase_in_log(asked, log)
        nearest = None if matches else _nearest(asked, measured, log)
    return Answer(asked, tuple(matches), len(values), tuple(because), of_log, nearest)


def _together(answers: Sequence[Answer]) -> Iterator[Together]:
    """What several values have in common."""
    if len(answers) < 2:
        return
    for found in {id(match.measurement): match.measurement for match in answers[0].matches}.values():
        cases = tuple(case for case in found.cases if all(_has(answer, case) for answer in answers))
        if cases:
            yield Together(found, cases)


def _has(answer: Answer, case: Case) -> bool:
    return any(case is other for match in answer.matches for other in match.value.cases)


def _logged(asked: Asked, log: eventlog.Log) -> list[tuple[int, eventlog.Event]]:
    """The events of the PCR with their places."""
    if asked.bank not in log.header.banks:
        raise StubsimError(
            f"the log has no {asked.bank} bank, which the value of PCR {asked.pcr} belongs to",
            expected=f"a value of one of its banks: {', '.join(log.header.banks)}",
        )
    rows = enumerate(log.events)
    return [(place, event) for place, event in rows if event.pcr == asked.pcr and event.type != _NO_ACTION]


def _phase_in_log(asked: Asked, log: eventlog.Log) -> str | None:
    events = [event for _, event in _logged(asked, log)]
    value = replay(events).get(asked.bank, {}).get(asked.pcr, bytes(len(asked.value)))
    phases = EVERY_PHASE if asked.pcr == PCR_KERNEL_IMAGE else ("",)
    return next((phase for phase in phases if at_phase(asked.bank, value, phase) == asked.value), None)


def _nearest(asked: Asked, measured: Sequence[Measurement], log: eventlog.Log) -> Nearest | None:
    """Of boots that agree for equally long the one with the fewest events that do not."""
    there = _logged(asked, log)
    found: list[tuple[int, int, Nearest]] = []
    for measurement in measured:
        for case in measurement.cases:
            events = [event for event in case.measurements if event.pcr == asked.pcr]
            agreed = 0
            for event, (_, logged) in zip(events, there, strict=False):
                if event.digests.get(asked.bank) != logged.digests.get(asked.bank):
                    break
                agreed += 1
            predicted = events[agreed] if agreed < len(events) else None
            place, other = there[agreed] if agreed < len(there) else (None, None)
            found.append((-agreed, len(events), Nearest(measurement, case, agreed, predicted, other, place)))
    if not found or not there:
        return None
    return min(found, key=lambda row: row[:2])[2]
