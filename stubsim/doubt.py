"""What of a boot hangs on something that is not known of the machine: found by booting again with other values.

A boot is a pure function of what it reads. A key that the run never asked for changes nothing; each of the others is
tried with the values that stand for it (`supposed`), and what comes out alike for all of them is known. Where a value
makes the run ask for another unknown key more often than before, the two are tried together.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

from stubsim.hosts import Host
from stubsim.rows import NamedTuple
from stubsim.supposed import Offers, Supposed, alternatives, open_fields, with_other_chids

# Trials of several keys together; what they do not get to stays doubted.
_JOINT_MAX = 12

Registers = dict[tuple[str, int], bytes]


class Trial(NamedTuple):
    """A run, seen from outside: what came out by key of the boot's JSON, PCRs by bank and number, and what it read.

    ``registers`` are None where the stub gave up on the way. ``reads`` counts fields of Host by name, and
    "variables". ``ending`` says in words how it ended.
    """

    facts: dict[str, object]
    registers: Registers | None
    reads: Counter[str]
    offered: Offers
    ending: str


class Doubt(NamedTuple):
    """Keys of the boot's JSON and PCRs that are not alike for all values, and another ending where there is one."""

    affects: tuple[str, ...]
    pcrs: tuple[int, ...]
    ending: str | None


# Keys of a host file that are read from other fields of Host than those of the same name.
_READ_FROM = {"smbios": ("fields", "oem_strings"), "smbios_table": ("fields", "oem_strings", "structures")}


def doubts(host: Host, first: Trial, again: Callable[[Supposed], Trial]) -> dict[str, Doubt]:
    """By unknown key what depends on it. ``first`` is the run on the host as it is taken to be."""
    search = _Search(host, first, again)
    for key in sorted(host.unknown):
        search.try_alone(key)
    for supposed in with_other_chids(host, first.offered):
        search.try_out(supposed)
    search.try_together()
    return {key: search.doubt(key) for key in sorted(host.unknown)}


class _Search:
    def __init__(self, host: Host, first: Trial, again: Callable[[Supposed], Trial]) -> None:
        self.host = host
        self.first = first
        self.again = again
        self.affects: dict[str, set[str]] = {key: set() for key in host.unknown}
        self.pcrs: dict[str, set[int]] = {key: set() for key in host.unknown}
        self.endings: dict[str, str] = {}
        self.together: list[Supposed] = []

    def try_alone(self, key: str) -> None:
        # What no stub looks up is computed all the same.
        if open_fields(key):
            self.affects[key].add("chids")
        if not any(self.first.reads[field] for field in _fields(key)):
            return
        others = alternatives(self.host, key, self.first.offered)
        if others is None:
            self._leave_open(key)
        for other in others or ():
            self.try_out(Supposed(frozenset((key,)), other))

    def try_out(self, supposed: Supposed, *, joint: bool = False) -> None:
        """Boot, and put down what differs to the keys; of a joint trial only what none of them explains alone."""
        trial = self.again(supposed)
        differing = {key for key, value in self.first.facts.items() if trial.facts[key] != value}
        pcrs = set(_differing(self.first.registers, trial.registers))
        if joint:
            differing = differing.difference(*(self.affects[key] for key in supposed.keys))
            pcrs = pcrs.difference(*(self.pcrs[key] for key in supposed.keys))
        for key in supposed.keys:
            self.affects[key] |= differing
            self.pcrs[key] |= pcrs
            if "outcome" in differing:
                self.endings.setdefault(key, trial.ending)
        self.together += self._asked_for(supposed, trial)

    def try_together(self) -> None:
        tried: set[Host] = set()
        waiting = iter(self.together)
        for supposed in waiting:
            if supposed.host in tried:
                continue
            if len(tried) == _JOINT_MAX:
                for key in {key for left in (supposed, *waiting) for key in left.keys}:
                    self._leave_open(key)
                return
            tried.add(supposed.host)
            self.try_out(supposed, joint=True)

    def _leave_open(self, key: str) -> None:
        """What was not tried may change all there is."""
        self.affects[key].update(self.first.facts)
        self.pcrs[key].update(pcr for _, pcr in self.first.registers or ())

    def doubt(self, key: str) -> Doubt:
        """In the order of the JSON."""
        affects = tuple(fact for fact in self.first.facts if fact in self.affects[key])
        return Doubt(affects, tuple(sorted(self.pcrs[key])), self.endings.get(key))

    def _asked_for(self, supposed: Supposed, trial: Trial) -> Iterator[Supposed]:
        """The same with other values of each unknown key that the run asked for more often than the first one."""
        more = trial.reads - self.first.reads
        asked = {key for key in self.host.unknown - supposed.keys if any(more[field] for field in _fields(key))}
        for key in sorted(asked):
            for other in alternatives(supposed.host, key, trial.offered) or ():
                yield Supposed(supposed.keys | {key}, other)
        if asked:
            for row in with_other_chids(supposed.host, trial.offered):
                if row.keys & asked:
                    yield Supposed(supposed.keys | row.keys & asked, row.host)


def _fields(key: str) -> tuple[str, ...]:
    """The fields of Host that a key of the host file stands in."""
    top, _, part = key.partition(".")
    if top == "smbios" and part:
        return (part,) if part == "oem_strings" else ("fields",)
    return _READ_FROM.get(top, (top,))


def _differing(one: Registers | None, other: Registers | None) -> Iterator[int]:
    """PCRs that both runs have, with another value."""
    if one is not None and other is not None:
        yield from (place[1] for place, value in one.items() if other.get(place, value) != value)
