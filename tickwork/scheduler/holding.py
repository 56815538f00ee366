"""The runs that a loop holds a lease of, from the moment they are received to their last write.

Outcomes come in from any thread and wait in an inbox; the loop turns what has come in into one
batch and writes it. What can't be written stays here and is written later; each entry takes effect
at most once, so a batch may be repeated when nobody knows whether it was written.

What runs say of themselves is written when they end, and before that their progress twice a second
at most, their log, which may be long, every five seconds.

Where a store's steps wait for its server, many ends are written by a thread of their own, while the
loop plans: the server has something to do while the loop decides, and the other way round.

A run's start is written down on its own only if that matters: beforehand, where a start must never
be repeated, and after a moment, where the run takes longer than that. Most runs are over by then.
"""

import threading
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple, cast

from tickwork.interfaces import Store
from tickwork.model.instants import SECOND
from tickwork.model.jobs import Job, Outcome
from tickwork.model.policies import RunState
from tickwork.model.steps import AfterRun, Batch, Finished, GivenBack, Mark
from tickwork.scheduler.announcing import Announcer
from tickwork.scheduler.aside import Aside
from tickwork.scheduler.held import Held
from tickwork.scheduler.store_clock import StoreClock
from tickwork.scheduler.verdicts import (
    cancelled_before,
    concluded,
    failed,
    left_over,
    lingering,
    note_of,
    refused,
    returned,
)

__all__ = ["Holding"]

_MARKED_AFTER_US = SECOND // 10
_NOTED_AFTER_US = SECOND // 2
_LOGGED_AFTER_US = 5 * SECOND


class _Conclusion(NamedTuple):
    finished: Finished
    held: Held
    outcome: Outcome


class _Retry(NamedTuple):
    back: GivenBack
    held: Held
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class _Writing:
    """What is written together, taken out of the holding until it is known what came of it."""

    batch: Batch
    marks: list[Held]
    given_back: list[GivenBack]
    conclusions: list[_Conclusion]
    retries: list[_Retry]
    noted: list[Held]


class Holding:
    """The leased runs of one loop. Only `receive` and `in_flight` are for other threads."""

    def __init__(
        self,
        store: Store,
        announcer: Announcer,
        after_run: AfterRun,
        wake: threading.Event,
        *,
        clock: StoreClock,
        aside_from: int | None = None,
    ) -> None:
        self._store = store
        self._aside_from = aside_from
        self._announcer = announcer
        self._after_run = after_run
        self._clock = clock
        self.wake = wake
        self.good_until_us = 0
        """By the clock here: until when all leases hold, if they aren't renewed."""
        self.rests = False
        """Whether the loop will look at the inbox in a moment, without being woken for it."""
        self.inbox: deque[Outcome] = deque()
        self.held: dict[str, Held] = {}
        self._noted: dict[str, Held] = {}
        self._noted_at_us = 0
        self._logged_at_us = 0
        self._unlogged: dict[str, Held] = {}
        self._unmarked: dict[str, Held] = {}
        self._suspected: list[Held] = []
        self._conclusions: list[_Conclusion] = []
        self._retries: list[_Retry] = []
        self._given_back: list[GivenBack] = []
        self.ended: list[Held] = []
        self.being_written: Collection[str] = ()
        """The tasks whose runs are just being written as over, and not counted as that yet."""
        self.behind_gates = False
        """Whether a run has ended that was let through a gate."""

    def renew(self, until_us: int) -> None:
        """Note until when the leases hold now; from any thread."""
        self.good_until_us = until_us

    def in_flight(self) -> list[Held]:
        """Return what is leased and not written back; from any thread."""
        return list(self.held.values())

    def note(self, held: Held) -> None:
        """Note that a run has said something of itself; from any thread."""
        first = not self._noted
        self._noted[held.run_id] = held
        if first:
            # The loop has to see when it is to write; of the others it will hear then.
            self.wake.set()

    def now_us(self) -> int:
        """Return the present instant, as the store's server sees it."""
        return self._clock.now_us()

    def is_empty(self) -> bool:
        """Whether nothing is held, and nothing is left to be written."""
        return not (self.held or self.inbox or self._conclusions or self._given_back)

    def suspects(self) -> bool:
        """Whether a run is held that was under way when a node died."""
        self._suspected = [each for each in self._suspected if self.held.get(each.run_id) is each]
        return any(held.lingers_as is None for held in self._suspected)

    def take(self, held: Held) -> None:
        """Hold a run that was just leased."""
        self.held[held.run_id] = held
        if held.run.suspect:
            self._suspected.append(held)
        self._unmarked[held.run_id] = held

    def fail(self, held: Held, error: BaseException | None, now_us: int) -> None:
        """End a run that can't be started."""
        self._end_unstarted(held, failed(held, error, now_us), now_us)

    def skip(self, held: Held, why: str, now_us: int) -> None:
        """End a run that another process executes, or nobody at this time."""
        self._end_unstarted(held, refused(held, why, now_us), now_us)

    def end_unstarted(self, held: Held, now_us: int) -> None:
        """End a run that was to be ended before it could start."""
        self._end_unstarted(held, cancelled_before(held, now_us), now_us)

    def _end_unstarted(self, held: Held, entry: Finished, now_us: int) -> None:
        self.held[held.run_id] = held
        self._conclusions.append(_Conclusion(entry, held, Outcome(held, entry.state, 0, now_us)))

    def linger(self, held: Held, now_us: int) -> None:
        """Have a run be over that can't be ended, or wait for its end to try again."""
        held.overdue = True
        entry = lingering(held, now_us, self._clock.offset_us)
        outcome = Outcome(held, held.ending or RunState.TIMEOUT, held.started_us, now_us)
        if entry is None:
            self._announcer.still_running(held)
            return
        held.lingers_as = entry.finished_us, held.why
        self._conclusions.append(_Conclusion(entry, held, outcome))

    def give_back(self, run_id: str, fence: int, available_us: int) -> None:
        """Give back a run that has not started."""
        self._given_back.append(GivenBack(run_id, fence, available_us))

    def withdraw_unstarted(self) -> None:
        """Let go of what has not started: the lease is over, it belongs to others."""
        for held in list(self.held.values()):
            if not held.started_us:
                held.withdrawn = True
                self._forget(held)

    def _forget(self, held: Held) -> None:
        """Hold a run no more, unless a later attempt of it has been leased since."""
        if self.held.get(held.run_id) is held:
            for each in (self.held, self._unmarked, self._noted, self._unlogged):
                each.pop(held.run_id, None)

    # --- writing ------------------------------------------------------------------------------

    def next_mark_us(self) -> int | None:
        """Return when a run will have been under way for so long that its start is written."""
        for held in self._unmarked.values():
            return held.received_us + _MARKED_AFTER_US
        return None

    def next_note_us(self) -> int | None:
        """Return when to write what runs said of themselves."""
        if self._noted:
            return self._noted_at_us + _NOTED_AFTER_US
        return self._logged_at_us + _LOGGED_AFTER_US if self._unlogged else None

    def write(self, now_us: int) -> None:
        """Write what has ended, what is given back, and what has been under way for a moment."""
        self.collect(now_us)
        writing = self._taken(now_us)
        if writing.batch:
            with self._kept_if_it_fails(writing):
                rejected = self._store.finish(writing.batch)
            self._written(writing, rejected)

    @contextmanager
    def written_beside(self, now_us: int) -> Iterator[None]:
        """Do as `write` does, but if it is much, while the block goes on; it is done at its end.

        Raises:
            StoreError: it couldn't be written; whatever the block raised.
        """
        self.collect(now_us)
        if self._aside_from is None or len(self._conclusions) < self._aside_from:
            self.write(now_us)
            yield
            return
        writing = self._taken(now_us)
        with self._kept_if_it_fails(writing):
            step = Aside(lambda: self._store.finish(writing.batch), "tickwork-finish")
        self.being_written = {each.held.task_id for each in writing.conclusions}
        try:
            yield
        finally:
            self.being_written = ()
            with self._kept_if_it_fails(writing):
                rejected = step.result()
            self._written(writing, rejected)

    def _taken(self, now_us: int) -> _Writing:
        """Take out what is to be written."""
        marks = self._due_marks(now_us)
        batch = Batch(self._after_run)
        offset_us = self._clock.offset_us
        batch.marks = [Mark(held.run_id, held.fence, held.started_us + offset_us) for held in marks]
        batch.given_back = [*self._given_back, *(each.back for each in self._retries)]
        batch.finished = [each.finished for each in self._conclusions]
        noted = self._due_notes(now_us) if self._noted or self._unlogged else []
        batch.notes = [note for held, log in noted if (note := note_of(held, log=log)) is not None]
        writing = _Writing(
            batch, marks, self._given_back, self._conclusions, self._retries,
            [held for held, _ in noted],
        )  # fmt: skip
        self._conclusions, self._retries, self._given_back = [], [], []
        return writing

    @contextmanager
    def _kept_if_it_fails(self, writing: _Writing) -> Iterator[None]:
        """Take back what couldn't be written, before what has come since."""
        try:
            yield
        except BaseException:
            self._conclusions = writing.conclusions + self._conclusions
            self._retries = writing.retries + self._retries
            self._given_back = writing.given_back + self._given_back
            for held in writing.noted:
                self._noted.setdefault(held.run_id, held)
            raise

    def _written(self, writing: _Writing, rejected: frozenset[str]) -> None:
        for held in writing.marks:
            held.marked = True
            if self._unmarked.get(held.run_id) is held:
                del self._unmarked[held.run_id]
        for back in writing.batch.given_back:
            known = self.held.get(back.run_id)
            if known is not None and known.fence == back.fence:
                self._forget(known)
        self._conclude(writing.conclusions, rejected)
        for back, held, outcome in writing.retries:
            if back.run_id in rejected:
                self._announcer.lease_lost(held)
            else:
                self._announcer.retried(held, outcome, back)

    def _due_notes(self, now_us: int) -> list[tuple[Held, bool]]:
        """Take what runs said, with or without their log: all of it of those that are over."""
        over = [each.finished.run_id for each in self._conclusions]
        over += [each.back.run_id for each in self._retries]
        due: list[tuple[Held, bool]] = []
        for run_id in over:
            held = self._noted.pop(run_id, None)
            held = self._unlogged.pop(run_id, held) or held
            if held is not None:
                due.append((held, True))
        if now_us - self._noted_at_us >= _NOTED_AFTER_US:
            taken, self._noted = self._noted, {}
            self._noted_at_us = now_us
            self._unlogged.update(taken)
            logs = now_us - self._logged_at_us >= _LOGGED_AFTER_US
            if logs:
                taken, self._unlogged = self._unlogged, {}
                self._logged_at_us = now_us
            due += [(held, logs) for held in taken.values()]
        return due

    def _conclude(self, conclusions: list[_Conclusion], rejected: frozenset[str]) -> None:
        held_runs, unmarked = self.held, self._unmarked
        quiet = self._announcer.is_quiet()
        for finished, held, outcome in conclusions:
            run_id = finished.run_id
            lost = bool(rejected) and run_id in rejected
            if held_runs.get(run_id) is held:
                unmarked.pop(run_id, None)
                if lost or not finished.lingers:
                    del held_runs[run_id]
            if lost:
                self._announcer.lease_lost(held)
                continue
            if held.lingers_as is None or finished.lingers:
                self.ended.append(held)
                if not quiet or finished.state is not RunState.COMPLETED:
                    self._announcer.finished(held, outcome, finished)

    def collect(self, now_us: int) -> None:
        """Turn outcomes that came in into what is to be written."""
        inbox, held_runs, conclusions = self.inbox, self.held, self._conclusions
        offset_us = self._clock.offset_us
        for _ in range(len(inbox)):
            outcome = inbox.popleft()
            if offset_us:
                outcome = _at_the_store(outcome, offset_us)
            held = cast("Held", outcome.job)
            if held.definition.gate is not None:
                self.behind_gates = True
            if held_runs.get(held.run_id) is not held:
                if not held.withdrawn:
                    self._announcer.lease_lost(held)
            elif held.withdrawn and not outcome.started_us and held.ending is None:
                self.give_back(held.run_id, held.fence, held.run.due_us or now_us)
            elif held.lingers_as is not None:
                held.ended_us = outcome.finished_us
                conclusions.append(_Conclusion(returned(held, outcome), held, outcome))
            else:
                held.ended_us = outcome.finished_us
                held.settled = True
                entry = concluded(held, outcome)
                if type(entry) is Finished:
                    conclusions.append(_Conclusion(entry, held, outcome))
                else:
                    self._retries.append(_Retry(cast("GivenBack", entry), held, outcome))

    def _due_marks(self, now_us: int) -> list[Held]:
        next_us = self.next_mark_us()
        if next_us is None or now_us < next_us:
            return []
        due: list[Held] = []
        over = {each.finished.run_id for each in self._conclusions}
        over |= {each.run_id for each in self._given_back}
        over |= {each.back.run_id for each in self._retries}
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
                self._forget(held)
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
            entry = left_over(held, now_us, self._clock.offset_us)
            if isinstance(entry, GivenBack):
                self._given_back.append(entry)
            else:
                outcome = Outcome(job, entry.state, entry.started_us or 0, now_us)
                self._conclusions.append(_Conclusion(entry, held, outcome))
        self.write(now_us)
        return list(self.held)


def _at_the_store(outcome: Outcome, offset_us: int) -> Outcome:
    """Return an outcome with the store's time instead of that of the clock here."""
    started_us = outcome.started_us and outcome.started_us + offset_us
    return outcome._replace(started_us=started_us, finished_us=outcome.finished_us + offset_us)
