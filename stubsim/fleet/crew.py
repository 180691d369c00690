"""The processes that work on a fleet: as many as there are processors, made before there is a thread."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from stubsim.fleet.coded import Coded

if TYPE_CHECKING:
    from concurrent.futures import Executor, Future

    from stubsim.fleet.answer import Answer
    from stubsim.fleet.columns import Machine
    from stubsim.fleet.plan import Plan

# Columns by name, and how many rows they have.
Rows = tuple[Mapping[str, Coded], int]
# Batches that are under way for each process; more would wait in memory.
_AHEAD = 2

# Those of a process of a crew.
_PLANS: list[Plan] = []


class Crew:
    """Works on plans in other processes, or in this one where there are none."""

    def __init__(self, plans: Sequence[Plan], others: Executor | None = None, ahead: int = 0) -> None:
        self.plans = plans
        self._others = others
        self._ahead = ahead

    def kinds(self, batches: Iterable[Rows]) -> Iterator[list[Coded]]:
        """`Plan.kinds` of each batch, for each plan; in order."""
        if self._others is None:
            yield from (_kinds(self.plans, rows) for rows in batches)
            return
        running: deque[Future[list[Coded]]] = deque()
        for rows in batches:
            running.append(self._others.submit(_others_kinds, rows))
            if len(running) > self._ahead:
                yield running.popleft().result()
        while running:
            yield running.popleft().result()

    def ask(self, number: int) -> Callable[[Machine], Callable[[], Answer]] | None:
        """How a plan, by its number, has machines answered."""
        others = self._others
        return None if others is None else lambda machine: others.submit(_others_answer, number, machine).result


@contextmanager
def crew_for(plans: Sequence[Plan]) -> Iterator[Crew]:
    """A crew for these plans. To be called early: a process that has threads cannot be forked, and works alone."""
    count = _processors()
    if count < 2 or not _may_fork():
        yield Crew(plans)
        return
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    ended, alive = os.pipe()
    executor = ProcessPoolExecutor(count, get_context("fork"), _begin, (plans, ended, alive))
    try:
        # The first piece of work makes the processes, all of them.
        executor.submit(int)
        yield Crew(plans, executor, _AHEAD * count)
    finally:
        executor.shutdown(cancel_futures=True)
        os.close(ended)
        os.close(alive)


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1


def _may_fork() -> bool:
    """Whether this is the only thread of its process; where nothing tells, it may not be."""
    try:
        return len(os.listdir("/proc/self/task")) == 1
    except OSError:
        return False


def _begin(plans: Sequence[Plan], ended: int, alive: int) -> None:
    """Begin the life of another process; the pipe from ``alive`` to ``ended`` breaks when the first one ends."""
    import signal
    from threading import Thread

    _PLANS[:] = plans
    # Who stops the command stops this process with it, and that is enough.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.close(alive)
    Thread(target=_end_with, args=(ended,), daemon=True).start()


def _end_with(ended: int) -> None:
    os.read(ended, 1)
    os._exit(1)


def _kinds(plans: Sequence[Plan], rows: Rows) -> list[Coded]:
    return [plan.kinds(*rows) for plan in plans]


def _others_kinds(rows: Rows) -> list[Coded]:
    return _kinds(_PLANS, rows)


def _others_answer(number: int, machine: Machine) -> Answer:
    return _PLANS[number].answer(machine)
