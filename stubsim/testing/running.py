"""Booting cases and comparing, in as many processes as it is worth; each UKI is opened and hashed once."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import lru_cache, partial
from time import perf_counter
from typing import Any, TypeVar

from stubsim import hosts, uki
from stubsim.errors import InternalError, StubsimError
from stubsim.formats.efi_string import utf16z
from stubsim.hosts.fixture import memory_size
from stubsim.named_files import content
from stubsim.result import Boot
from stubsim.rows import NamedTuple
from stubsim.simulation import boot
from stubsim.start import Start
from stubsim.testing.cases import Case, Machine
from stubsim.testing.expectations import Difference
from stubsim.testing.observed import differences

# A boot takes some milliseconds, a process that has to be forked and to answer some ten.
_WORTH_A_PROCESS = 48
_CHUNK = 24
# Open at a time: each holds a file descriptor.
_UKIS = 64
# Load options or certificates.
_FILE_MAX = 16 << 20

Loaded = TypeVar("Loaded")


class Run(NamedTuple):
    """One case on one of its machines."""

    case: Case
    machine: Machine


class Result(NamedTuple):
    """What came of a run: the expectations that do not hold, or why it could not be booted at all."""

    run: Run
    differences: tuple[Difference, ...]
    error: StubsimError | None = None
    seconds: float = 0.0

    @property
    def passed(self) -> bool:
        return not self.differences and self.error is None


def unread(file: str, error: StubsimError) -> Result:
    """A case file of which nothing can be run."""
    case = Case(file=file, place="", name="the case file", uki="", hosts=(), options={}, expect={})
    return Result(Run(case, Machine("no machine", "")), (), error)


def runs_of(cases: Iterable[Case]) -> tuple[Run, ...]:
    """Every case on each of its machines, in the order of the files."""
    return tuple(Run(case, machine) for case in cases for machine in case.hosts)


class Inputs:
    """UKIs, hosts and starts, each made once for all cases that name them."""

    def __init__(self, *, allow_outside: bool = False) -> None:
        self._uki = lru_cache(maxsize=_UKIS)(uki.load)
        self._host = lru_cache(maxsize=None)(partial(hosts.load, allow_outside=allow_outside))
        self._starts: dict[int, tuple[dict[str, Any], Start]] = {}

    def boot(self, run: Run) -> Boot:
        """Boot it; StubsimError for files that cannot be read, and for options that contradict each other."""
        case, (_, path) = run
        image = _named(self._uki, case.uki, case.file and f"the uki of {case.file}")
        host = _named(self._host, path, case.file and f"a host of {case.file}")
        try:
            return boot(image, host, self._start(case.options))
        except StubsimError as error:
            if error.path is None and case.file:
                error.path = case.file
                error.message = f"{case.place}.options: {error.message}".removeprefix(".")
            raise

    def _start(self, options: dict[str, Any]) -> Start:
        # The options are kept as well, or others could get their id.
        if id(options) not in self._starts:
            self._starts[id(options)] = options, start_of(options)
        return self._starts[id(options)][1]


def _named(load: Callable[[str], Loaded], path: str, what: str) -> Loaded:
    """Load it, and say in a complaint who names it."""
    try:
        return load(path)
    except StubsimError as error:
        error.hint = error.hint or what or None
        raise


def start_of(options: dict[str, Any]) -> Start:
    """The options of a case as the boot takes them; StubsimError for files that are not there."""
    given = {key: value for key, value in options.items() if key not in ("load_options", "cmdline", "db")}
    if "load_options" in options:
        given["load_options"] = _read(options["load_options"])
    elif "cmdline" in options:
        given["load_options"] = utf16z(options["cmdline"])
    if "memory" in options:
        given["memory"] = memory_size(options["memory"])
    if "db" in options:
        from stubsim.uefi.secure_boot import read_certificates, trusted_by

        read = [certificate for path in options["db"] for certificate in read_certificates(_read(path), path)]
        given["trusted"] = trusted_by(read)
    return Start(**given)


def _read(path: str) -> bytes:
    return content(path, _FILE_MAX)


def check(run: Run, inputs: Inputs) -> Result:
    """Boot and compare; what cannot be read is in the result, and so is a fault of stubsim."""
    began = perf_counter()
    try:
        found = differences(inputs.boot(run), run.case.expect, run.case.accept_unknown)
    except StubsimError as error:
        return Result(run, (), error, perf_counter() - began)
    except Exception as error:  # one case less, and the others go on
        return Result(run, (), InternalError.of(error), perf_counter() - began)
    return Result(run, found, None, perf_counter() - began)


def check_all(
    runs: Sequence[Run],
    jobs: int | None = None,
    tick: Callable[[int], None] = lambda done: None,
    *,
    allow_outside: bool = False,
) -> tuple[Result, ...]:
    """The results in the order of the runs, whatever the number of processes; ``tick`` is told how many are done.

    Without ``jobs`` there is a process for each processor, where there is enough to do for them.
    """
    inputs = Inputs(allow_outside=allow_outside)
    processes = min(jobs or len(os.sched_getaffinity(0)), len(runs) // _WORTH_A_PROCESS)
    results = []
    for result in (check(run, inputs) for run in runs) if processes < 2 else _forked(runs, processes, inputs):
        results.append(result)
        tick(len(results))
    return tuple(results)


def _forked(runs: Sequence[Run], processes: int, inputs: Inputs) -> Iterator[Result]:
    import signal
    from concurrent.futures import ProcessPoolExecutor
    from concurrent.futures.process import BrokenProcessPool
    from multiprocessing import get_context

    # Opened and hashed here, so that no process has to do it again.
    first: dict[str, Run] = {}
    for run in runs:
        first.setdefault(run.case.uki, run)
    for run in list(first.values())[:_UKIS]:
        # What cannot be read is told by the run itself.
        with suppress(StubsimError):
            inputs.boot(run).uki.digests.wait()
    with ProcessPoolExecutor(processes, get_context("fork"), _take, (runs, inputs)) as pool:
        starts = range(0, len(runs), _CHUNK)
        try:
            # An interrupt, which comes to all processes of a terminal, is for this one alone.
            before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
            chunks = pool.map(_chunk, starts)
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            for start, found in zip(starts, chunks, strict=True):
                for run, (rows, error, seconds) in zip(runs[start : start + _CHUNK], found, strict=True):
                    yield Result(run, rows, error, seconds)
        except BrokenProcessPool as error:
            raise StubsimError("a process ended before its work was done", hint="-j 1 needs no other") from error
        finally:
            pool.shutdown(cancel_futures=True)


def _take(runs: Sequence[Run], inputs: Inputs) -> None:
    """In a forked process: keep what it was born with and need not be sent."""
    global _shared  # noqa: PLW0603 - the one thing a pool lets its processes have
    _shared = runs, inputs


_shared: tuple[Sequence[Run], Inputs]


def _chunk(start: int) -> list[tuple[tuple[Difference, ...], StubsimError | None, float]]:
    runs, inputs = _shared
    return [check(run, inputs)[1:] for run in runs[start : start + _CHUNK]]
