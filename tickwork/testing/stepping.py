"""A real scheduler that goes through time step by step, as a test tells it.

The same loops as in production, without their threads: time moves from one instant at which
something is to be done to the next, and stands still there until all runs that were started have
ended and been written back.
"""

import threading
import time
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from tickwork.errors import SchedulerStateError, TickworkError
from tickwork.interfaces import Store
from tickwork.model.current import current_job
from tickwork.model.instants import to_us
from tickwork.scheduler.loop import LoopSettings, StoreLoop
from tickwork.scheduler.scheduler import Scheduler
from tickwork.testing.clock import ManualClock

__all__ = ["SteppedScheduler", "StuckError"]

_STEPS_AT_AN_INSTANT = 100_000


class StuckError(TickworkError, AssertionError):
    """Runs that were started at an instant didn't end within the real time allowed."""


class SteppedScheduler(Scheduler):
    """A scheduler whose time a test advances.

    Runs execute for real, on the executors that they name; coroutine functions on a loop of the
    scheduler's own, unless it is started on a running one and advanced by
    `await scheduler.aio.advance(...)`. `patience_s` bounds the real time that the runs of one
    instant may take together. Runs with a time-out are taken to hang when they have begun and
    nothing has happened for `hang_s` of real time: then time goes on, until they are timed out.
    """

    def __init__(
        self,
        store: str | Mapping[str, Any] | Store | None = None,
        *,
        clock: ManualClock | None = None,
        settings: LoopSettings | None = None,
        patience_s: float = 10.0,
        hang_s: float = 0.2,
        **options: Any,
    ) -> None:
        self.clock = clock or ManualClock()
        self.patience_s = patience_s
        self.hang_s = hang_s
        self._stepping = threading.RLock()
        self._standing: list[tuple[str, int]] = []
        self._changed_at = 0.0
        settings = settings or LoopSettings(threaded=False, aside_from=None)
        super().__init__(store, clock=self.clock, settings=settings, **options)

    def advance(self, delta: timedelta | None = None, **duration: float) -> None:
        """Let time pass and everything happen that is due in between, in order.

        `delta` or `hours=3` and the like. At the end it is exactly that much later.

        Raises:
            StuckError: runs of one instant took longer than `patience_s` of real time.
        """
        passed = delta if delta is not None else timedelta(**duration)
        self.advance_to(self.clock.now() + passed)

    def advance_to(self, moment: datetime) -> None:
        """Let time pass until an aware moment."""
        target_us = to_us(moment)
        next_us = self.step()
        while next_us is not None and next_us <= target_us:
            self.clock.set(max(next_us, self.clock.now_us()))
            next_us = self.step()
        self.clock.set(max(target_us, self.clock.now_us()))
        self.step()

    def step(self) -> int | None:
        """Do everything that is to be done at this instant; return when there is more."""
        with self._stepping:
            return self._step()

    def _step(self) -> int | None:
        loops = self._loops()
        began = self._changed_at = time.monotonic()
        next_us = None
        for _ in range(_STEPS_AT_AN_INSTANT):
            for loop in loops:
                loop.wake.clear()
            known = [each for each in map(_ticked, loops) if each is not None]
            next_us = min(known) if known else None
            if self._must_wait(loops, began):
                continue
            if any(loop.wake.is_set() for loop in loops):
                continue
            if next_us is None or next_us > self.clock.now_us():
                self._listeners.flush(self.patience_s)
                return next_us
        raise StuckError(f"there is no end of work at {self.clock.now().isoformat()}")

    def _must_wait(self, loops: list[StoreLoop], began: float) -> bool:
        """Wait for a run to end, if any is under way; whether there was one."""
        now = time.monotonic()
        passed_s = now - began
        standing = [(held.run_id, held.started_us) for loop in loops for held in loop.in_flight()]
        if standing != self._standing:
            self._standing, self._changed_at = standing, now
        hangs = now - self._changed_at > self.hang_s
        under_way = [loop for loop in loops if _awaited(loop, hangs=hangs)]
        if not under_way:
            return False
        left_s = self.patience_s - passed_s
        if left_s <= 0:
            held = [held.task_id for loop in under_way for held in loop.in_flight()]
            raise StuckError(
                f"{len(held)} runs didn't end within {self.patience_s:g} s of real time at "
                f"{self.clock.now().isoformat()}: {', '.join(sorted(set(held))[:5])}"
            )
        under_way[0].wake.wait(min(left_s, 0.05))
        return True

    def _let_work(self) -> None:
        # Time is the test's: a run that waits for another can't make it pass.
        alone = current_job.get(None) is None and self._stepping.acquire(blocking=False)
        if alone:
            try:
                if self._runtime is not None:
                    self.step()
            finally:
                self._stepping.release()

    def _loops(self) -> list[StoreLoop]:
        runtime = self._runtime
        if runtime is None:
            raise SchedulerStateError("start the scheduler before time passes")
        return list(runtime.loops.values())


def _awaited(loop: StoreLoop, *, hangs: bool) -> bool:
    """Whether time stands still for runs of a loop: not for those that outlive their end."""
    return any(
        not held.overdue
        and not held.at_gate
        and not (hangs and held.started_us and loop.may_time_out(held))
        for held in loop.in_flight()
    )


def _ticked(loop: StoreLoop) -> int | None:
    """Do one step of a loop; return when there is more, by the clock of the test."""
    next_us = loop.tick()
    return None if next_us is None else next_us - loop.clock.offset_us
