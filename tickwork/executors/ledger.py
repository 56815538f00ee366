"""The account of one life of an executor, from `open` to `stop`: places, jobs, reports.

A place is reserved, then held by a job that waits or runs, and free again just before the job's
outcome is reported, so that the receiver can reserve it at once. Whoever removes a job from the
ledger, under its lock, owes its fate: `report` an outcome, `stop` a line in the leftover. That is
why each job has exactly one. Nothing is counted twice: what is held is what waits and runs.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from threading import TIMEOUT_MAX, Condition, Lock

from tickwork.errors import InvalidInputError, SchedulerStateError
from tickwork.interfaces import Leftover
from tickwork.model.jobs import Job, Outcome

__all__ = ["Ledger", "checked_limit", "drained"]

_SETTLE_S = 5.0
"""How long a stop waits for the receiver of a last report, which is bound to return at once."""

logger = logging.getLogger("tickwork.executors")


class Ledger:
    """Places, waiting and running jobs, and the gate for reports of one life of an executor.

    `lock` guards `waiting`, `running`, `closing` and what a session of its own keeps beside them;
    it is held for moments and never while user code or a receiver runs.
    """

    def __init__(self, places: int, report: Callable[[Sequence[Outcome]], None]) -> None:
        self.lock = Lock()
        self.places = places
        self.waiting: deque[Job] = deque()
        self.running: set[Job] = set()
        self.closing = False
        self._changed = Condition(self.lock)
        self._report = report
        self._reserved = 0
        self._reporting = 0

    def taken(self) -> int:
        """Return how many places are reserved or held."""
        return self._reserved + len(self.waiting) + len(self.running)

    def occupied(self) -> int:
        """Return how many places are held by jobs."""
        return len(self.waiting) + len(self.running)

    def reserve(self, wanted: int) -> int:
        """Set aside up to `wanted` of the free places; none while closing."""
        with self.lock:
            return self.grant(wanted)

    def grant(self, wanted: int) -> int:
        """Do what `reserve` does, for a caller that holds the lock."""
        granted = 0 if self.closing else max(0, min(wanted, self.places - self.taken()))
        self._reserved += granted
        return granted

    def release(self, places: int) -> None:
        """Give back reserved places.

        Raises:
            SchedulerStateError: more than are reserved.
        """
        with self.lock:
            self._spend(places)

    def enter(self, jobs: Sequence[Job]) -> None:
        """Move jobs into places reserved before, to wait; the caller holds the lock.

        Raises:
            SchedulerStateError: the executor is stopping, or fewer places are reserved.
        """
        if self.closing:
            message = "the executor is stopping; keep these jobs and give them back to the store"
            raise SchedulerStateError(message)
        self._spend(len(jobs))
        self.waiting.extend(jobs)

    def take(self, count: int) -> list[Job]:
        """Move up to `count` jobs from waiting to running, oldest first."""
        with self.lock:
            batch = [self.waiting.popleft() for _ in range(min(count, len(self.waiting)))]
            self.running.update(batch)
            return batch

    def take_waiting(self, job: Job) -> bool:
        """Move one job from waiting to running, if it waits: the caller reports its end."""
        with self.lock:
            if job not in self.waiting:
                return False
            self.waiting.remove(job)
            self.running.add(job)
            return True

    def withdraw_last(self, count: int) -> list[Job]:
        """Move up to `count` of the youngest jobs that wait, if they let themselves be withdrawn.

        From waiting to running: the caller, who holds the lock, reports their end.
        """
        withdrawn: list[Job] = []
        stay: list[Job] = []
        for _ in range(min(count, len(self.waiting))):
            job = self.waiting.pop()
            (withdrawn if job.withdraw() else stay).append(job)
        self.waiting.extend(reversed(stay))
        self.running.update(withdrawn)
        return withdrawn

    def withdraw(self) -> list[Job]:
        """Take all jobs out of the ledger; the caller reports them by `report_withdrawn`."""
        with self.lock:
            jobs = [*self.running, *self.waiting]
            self.running.clear()
            self.waiting.clear()
            self._reporting += 1
            return jobs

    def report(self, outcomes: Iterable[Outcome]) -> None:
        """Free the places of these jobs, then report them; drop those that `stop` has returned."""
        with self.lock:
            # `running` is the truth about who owes what: a job that isn't there is another's.
            due = [outcome for outcome in outcomes if outcome.job in self.running]
            if not due:
                return
            self.running.difference_update([outcome.job for outcome in due])
            self._reporting += 1
        self.report_withdrawn(due)

    def report_withdrawn(self, outcomes: Sequence[Outcome]) -> None:
        """Pass on outcomes of jobs that are out of the ledger already."""
        try:
            if outcomes:
                self._report(outcomes)
        except Exception:
            # A receiver that fails must not take a worker thread or an event loop with it.
            logger.exception("report_failed", extra={"outcomes": len(outcomes)})
        finally:
            with self.lock:
                self._reporting -= 1
                self._changed.notify_all()

    def close(self) -> list[Job]:
        """Let no job in or start any more, and return those that wait."""
        with self.lock:
            self.closing = True
            unstarted = list(self.waiting)
            self.waiting.clear()
            self._changed.notify_all()
            return unstarted

    def wait_until_empty(self, timeout_s: float) -> bool:
        """Wait until all jobs are reported, at most `timeout_s`, and say whether they are."""
        with self.lock:
            return self._changed.wait_for(self._is_quiet, min(timeout_s, TIMEOUT_MAX))

    def end(self, unstarted: list[Job]) -> Leftover:
        """Close the gate for reports, wait for those under way, and return what is left."""
        with self.lock:
            running = list(self.running)
            self.running.clear()
            self._changed.wait_for(self._is_quiet, _SETTLE_S)
            return Leftover(unstarted, running)

    def _is_quiet(self) -> bool:
        return not self.running and not self._reporting

    def _spend(self, places: int) -> None:
        if places > self._reserved:
            message = (
                f"{places} places are used or given back, but only {self._reserved} are reserved;"
                " call `reserve` before, and use no more than it returned"
            )
            raise SchedulerStateError(message)
        self._reserved -= places


def drained(outcomes: deque[Outcome]) -> list[Outcome]:
    """Take out what is there; several threads may do so at the same time."""
    batch: list[Outcome] = []
    try:
        while True:
            batch.append(outcomes.popleft())
    except IndexError:
        return batch


def checked_limit(option: str, value: object) -> int:
    """Return a number of places as it was given.

    Raises:
        InvalidInputError: it isn't a whole number of at least 1.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        message = (
            f"{option} must be a whole number of at least 1, not {value!r};"
            " leave it out for the default"
        )
        raise InvalidInputError(message)
    return value
