"""Processes whose tasks have a gate, over one store and one clock."""

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.unit.coordination.places import DEADLINE_S, LocksStore
from tests.unit.scheduler import jobs
from tickwork import Scheduler
from tickwork.testing import ManualClock, SteppedScheduler

START = datetime(2026, 1, 1, tzinfo=UTC)
KEPT = "the lock 'task:a' is kept: its work has been done for this span of time"


class Site:
    """Processes that share a store and a clock, each a scheduler with tasks of its own."""

    def __init__(self) -> None:
        # Not at a fire time: those begin with the first interval.
        self.clock = ManualClock(START + timedelta(microseconds=1))
        self.store = LocksStore()
        self.all: list[SteppedScheduler] = []
        self.calls: list[Any] = []
        self.go = threading.Event()

    def process(self, *, start: bool = True, **options: Any) -> SteppedScheduler:
        """Return another process."""
        scheduler = SteppedScheduler(self.store, clock=self.clock, patience_s=DEADLINE_S, **options)
        self.all.append(scheduler)
        return scheduler.start() if start else scheduler

    def add(self, scheduler: SteppedScheduler, *, id: str = "a", **options: Any) -> None:
        """Add a task that notes which process executes it, every ten seconds."""
        number = self.all.index(scheduler)
        options = {"seconds": 10, **options}
        trigger = options.pop("trigger", "interval")
        fn = options.pop("fn", None) or (lambda: self.calls.append(number))
        if trigger != "interval":
            options.pop("seconds")
        scheduler.add_task(fn, trigger, id=id, **options)

    def two(self, **options: Any) -> tuple[SteppedScheduler, SteppedScheduler]:
        """Return two processes with the same task."""
        one, two = self.process(), self.process()
        for each in (one, two):
            self.add(each, **options)
        return one, two

    def pass_time(self, seconds: float, *schedulers: SteppedScheduler, by: float = 1.0) -> None:
        """Let time pass in all processes, or in some: the others stand still."""
        for _ in range(round(seconds / by)):
            self.clock.advance(seconds=by)
            for each in schedulers or self.all:
                each.step()

    def wait(self) -> None:
        """Be a function that goes on until the test lets it."""
        self.calls.append("waiting")
        self.go.wait(DEADLINE_S)
        self.calls.append("went")

    @property
    def names(self) -> list[str]:
        """The locks that are held, but for those of leaders."""
        return [
            lock.name
            for lock in self.store.locks()
            if lock.owner and not lock.name.startswith("leader:")
        ]

    @property
    def wanted(self) -> list[str]:
        """The locks that were asked for since this was looked at last."""
        wanted, self.store.wanted = self.store.wanted, []
        return wanted

    def end(self) -> None:
        self.go.set()
        jobs.go.set()
        self.store.down = False
        self.store.during = lambda *_: None
        for each in self.all:
            each.stop(timeout=2)


def runs(scheduler: Scheduler, **filters: Any) -> list[tuple[str, float | None, str | None]]:
    """Return state, fire time (in seconds from the start) and reason of runs, oldest first."""
    found = []
    for run in reversed(scheduler.get_runs(limit=1_000, **filters)):
        fire_s = (run.fire_time - START).total_seconds() if run.fire_time else None
        found.append((run.status.value, fire_s, run.reason))
    return found


def begin(scheduler: SteppedScheduler) -> None:
    """Have all begin that can, and write what has ended, without waiting for more ends."""
    loops = scheduler._loops()  # noqa: SLF001  stepping would wait for the end
    for _ in range(4):
        for loop in loops:
            loop.tick()


def states(scheduler: Scheduler, **filters: Any) -> list[str]:
    return [state for state, _, _ in runs(scheduler, **filters)]
