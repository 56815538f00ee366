"""The runs that a loop holds a lease of, from the moment they are received to their last write.

Outcomes come in from any thread and wait in an inbox; the loop turns what has come in into one
batch and writes it. What can't be written stays here and is written later; each entry takes effect
at most once, so a batch may be repeated when nobody knows whether it was written.

A run's start is written down on its own only if that matters: beforehand, where a start must never
be repeated, and after a moment, where the run takes longer than that. Most runs are over by then.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, cast

from tickwork.interfaces import Store
from tickwork.model.instants import SECOND
from tickwork.model.jobs import Job, Outcome
from tickwork.model.policies import RunState
from tickwork.model.records import TaskRecord
from tickwork.model.steps import Batch, Finished, GivenBack, Mark
from tickwork.scheduler.announcing import Announcer
from tickwork.scheduler.held import Held, concluded, failed, left_over
from tickwork.scheduler.store_clock import StoreClock

__all__ = ["Holding"]

_MARKED_AFTER_US = SECOND // 10


class _Conclusion(NamedTuple):
    finished: Finished
    held: Held
    outcome: Outcome


class Holding:
    """The leased runs of one loop. Only `receive` and `in_flight` are for other threads."""

    def __init__(
        self,
        store: Store,
        announcer: Announcer,
        after_run: Callable[[TaskRecord, int], None],
        wake: threading.Event,
        *,
        clock: StoreClock,
    ) -> None:
        self._store = store
        self._announcer = announcer
        self._after_run = after_run
        self._clock = clock
        self.wake = wake
        self.good_until_us = 0
        """By the clock here: until when all leases hold, if they aren't renewed."""
        self.inbox: deque[Outcome] = deque()
        self.held: dict[str, Held] = {}
        self._unmarked: dict[str, Held] = {}
        self._conclusions: list[_Conclusion] = []
        self._given_back: list[GivenBack] = []
        self.ended: list[Held] = []

    def renew(self, until_us: int) -> None:
        """Note until when the leases hold now; from any thread."""
        self.good_until_us = until_us

    def in_flight(self) -> list[Held]:
        """Return what is leased and not written back; from any thread."""
        return list(self.held.values())

    def is_empty(self) -> bool:
        """Whether nothing is held, and nothing is left to be written."""
        return not (self.held or self.inbox or self._conclusions or self._given_back)

    def suspects(self) -> bool:
        """Whether a run is held that was under way when a node died."""
        return any(held.run.suspect for held in self.held.values())

    def take(self, held: Held) -> None:
        """Hold a run that was just leased."""
        self.held[held.run_id] = held
        self._unmarked[held.run_id] = held

    def fail(self, held: Held, error: BaseException | None, now_us: int) -> None:
        """End a run that can't be started."""
        self.held[held.run_id] = held
        finished = failed(held, error, now_us)
        outcome = Outcome(held, finished.state, 0, now_us)
        self._conclusions.append(_Conclusion(finished, held, outcome))

    def give_back(self, run_id: str, fence: int, available_us: int) -> None:
        """Give back a run that has not started."""
        self._given_back.append(GivenBack(run_id, fence, available_us))

    def withdraw_unstarted(self) -> None:
        """Let go of what has not started: the lease is over, it belongs to others."""
        for held in list(self.held.values()):
            if not held.started_us:
                held.withdrawn = True
                self._forget(held.run_id)

    def _forget(self, run_id: str) -> None:
        self.held.pop(run_id, None)
        self._unmarked.pop(run_id, None)

    # --- writing ------------------------------------------------------------------------------

    def next_mark_us(self) -> int | None:
        """Return when a run will have been under way for so long that its start is written."""
        for held in self._unmarked.values():
            return held.received_us + _MARKED_AFTER_US
        return None

    def write(self, now_us: int) -> None:
        """Write what has ended, what is given back, and what has been under way for a moment."""
        self._collect(now_us)
        marks = self._due_marks(now_us)
        batch = Batch(self._after_run)
        offset_us = self._clock.offset_us
        batch.marks = [Mark(held.run_id, held.fence, held.started_us + offset_us) for held in marks]
        batch.given_back = self._given_back
        batch.finished = [each.finished for each in self._conclusions]
        if not batch:
            return
        rejected = self._store.finish(batch)
        conclusions, self._conclusions, self._given_back = self._conclusions, [], []
        for held in marks:
            held.marked = True
            self._unmarked.pop(held.run_id, None)
        for back in batch.given_back:
            self._forget(back.run_id)
        self._conclude(conclusions, rejected)

    def _conclude(self, conclusions: list[_Conclusion], rejected: frozenset[str]) -> None:
        held_runs, unmarked = self.held, self._unmarked
        quiet = self._announcer.is_quiet()
        for finished, held, outcome in conclusions:
            held_runs.pop(finished.run_id, None)
            unmarked.pop(finished.run_id, None)
            if rejected and finished.run_id in rejected:
                self._announcer.lease_lost(held)
                continue
            self.ended.append(held)
            if not quiet or outcome.state is not RunState.COMPLETED:
                self._announcer.finished(held, outcome, finished.reason)

    def _collect(self, now_us: int) -> None:
        """Turn outcomes that came in into what is to be written."""
        inbox, held_runs, conclusions = self.inbox, self.held, self._conclusions
        offset_us = self._clock.offset_us
        for _ in range(len(inbox)):
            outcome = inbox.popleft()
            if offset_us:
                outcome = _at_the_store(outcome, offset_us)
            held = cast("Held", outcome.job)
            if held_runs.get(held.run_id) is not held:
                if not held.withdrawn:
                    self._announcer.lease_lost(held)
            elif held.withdrawn and not outcome.started_us:
                self.give_back(held.run_id, held.fence, held.run.due_us or now_us)
            else:
                conclusions.append(_Conclusion(concluded(held, outcome), held, outcome))

    def _due_marks(self, now_us: int) -> list[Held]:
        if not self._unmarked:
            return []
        due: list[Held] = []
        over = {each.finished.run_id for each in self._conclusions}
        for held in self._unmarked.values():
            if now_us - held.received_us < _MARKED_AFTER_US:
                # In the order in which they were received: those that follow are younger.
                break
            if held.run_id not in over:
                due.append(held)
        marks = []
        here_us = now_us - self._clock.offset_us
        for held in due:
            if held.started_us and here_us - held.started_us >= _MARKED_AFTER_US:
                marks.append(held)
            else:
                # In an executor's queue, or only just begun: look again in a moment.
                self._unmarked.pop(held.run_id)
                held.received_us = now_us
                self._unmarked[held.run_id] = held
        return marks

    def mark(self, runs: Sequence[Held], now_us: int) -> list[Held]:
        """Write down that runs start now, before they do; return those whose lease holds."""
        batch = Batch(self._after_run)
        batch.marks = [Mark(held.run_id, held.fence, now_us) for held in runs]
        rejected = self._store.finish(batch)
        for held in runs:
            held.marked = True
            self._unmarked.pop(held.run_id, None)
            if held.run_id in rejected:
                self._announcer.lease_lost(held)
                self._forget(held.run_id)
        return [held for held in runs if held.run_id not in rejected]

    def wind_up(self, unstarted: Iterable[Job], ended: Iterable[Job], now_us: int) -> list[str]:
        """Give back what executors left when they were stopped; return what is still running.

        `ended` are jobs that were ended in the middle.
        """
        for job in unstarted:
            held = cast("Held", job)
            self.give_back(held.run_id, held.fence, held.run.due_us or now_us)
        for job in ended:
            held = cast("Held", job)
            verdict = left_over(held, now_us, self._clock.offset_us)
            if isinstance(verdict, GivenBack):
                self._given_back.append(verdict)
            else:
                outcome = Outcome(job, verdict.state, verdict.started_us or 0, now_us)
                self._conclusions.append(_Conclusion(verdict, held, outcome))
        self.write(now_us)
        return list(self.held)


def _at_the_store(outcome: Outcome, offset_us: int) -> Outcome:
    """Return an outcome with the store's time instead of that of the clock here."""
    started_us = outcome.started_us and outcome.started_us + offset_us
    return outcome._replace(started_us=started_us, finished_us=outcome.finished_us + offset_us)
