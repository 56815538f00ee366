"""What each part of the executor contract begins with."""

import asyncio
import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import Condition, Event, Thread
from typing import Any
from uuid import uuid4

from tickwork.interfaces import Executor, ExecutorEnvironment
from tickwork.model.functions import reference_of
from tickwork.model.jobs import Job, Outcome
from tickwork.model.policies import RunState
from tickwork.model.values import decode_result, encode_arguments
from tickwork.testing.executor_contract.gate import DEADLINE_S, Gate, stand_at_gate

__all__ = ["ExecutorCase", "NotingJob", "Reports", "hand_over", "make_job", "result_of"]


class Reports:
    """The receiver of outcomes, and a clock that counts how often it is read."""

    def __init__(self) -> None:
        self.outcomes: list[Outcome] = []
        self.on_report: Callable[[Sequence[Outcome]], None] = lambda _: None
        self._changed = Condition()
        self._clock = itertools.count(1_000_000)

    def environment(
        self, loop: asyncio.AbstractEventLoop | None = None, log_level: int = 0
    ) -> ExecutorEnvironment:
        """Return what to open an executor with."""
        return ExecutorEnvironment(self.now_us, self.report, loop, log_level)

    def now_us(self) -> int:
        """Return the present instant: another one each time."""
        return next(self._clock)

    def report(self, outcomes: Sequence[Outcome]) -> None:
        """Keep outcomes."""
        self.on_report(outcomes)
        with self._changed:
            self.outcomes.extend(outcomes)
            self._changed.notify_all()

    def wait_for(self, count: int) -> list[Outcome]:
        """Wait until there are `count` outcomes, and return exactly these."""
        with self._changed:
            arrived = self._changed.wait_for(lambda: len(self.outcomes) >= count, DEADLINE_S)
            assert arrived, f"{len(self.outcomes)} of {count} outcomes after {DEADLINE_S} s"
            assert len(self.outcomes) == count
            return list(self.outcomes)

    def by_run(self) -> dict[str, Outcome]:
        """Return the outcomes by the ids of their runs."""
        return {outcome.job.run_id: outcome for outcome in self.outcomes}


class NotingJob(Job):
    """A job that remembers each time that it was told that something was said."""

    def __init__(self, **fields: Any) -> None:
        super().__init__(**fields)
        self.notes: list[tuple[str | None, str | None]] = []
        """Progress and last line of the log each time."""
        self._changed = Condition()

    def noted(self) -> None:
        """Remember what there is to be noted."""
        with self._changed:
            self.notes.append((self.progress, self.log[-1] if self.log else None))
            self._changed.notify_all()

    def wait_for(self, said: Callable[[str | None, str | None], bool]) -> None:
        """Wait until something was said of which the job was told."""

        def is_said() -> bool:
            return any(said(*each) for each in self.notes)

        with self._changed:
            assert self._changed.wait_for(is_said, DEADLINE_S), self.notes[-10:]


def make_job(function: Callable[..., Any], *args: Any) -> NotingJob:
    """Return a job that any executor can run, of a function at the top level of a module."""
    return NotingJob(
        run_id=uuid4().hex,
        task_id="task",
        attempt=1,
        target=function,
        args=args,
        reference=reference_of(function),
        payload=encode_arguments(args, {}, function),
    )


def result_of(outcome: Outcome) -> Any:
    """Return the result of a completed job."""
    assert outcome.state is RunState.COMPLETED, outcome
    if not outcome.encoded:
        return outcome.result
    assert isinstance(outcome.result, str), outcome
    return decode_result(outcome.result)


def hand_over(executor: Executor, jobs: Sequence[Job], freed: Event) -> None:
    """Start all jobs, in as many batches as the executor has places for."""
    rest = list(jobs)
    while rest:
        granted = executor.reserve(len(rest))
        assert 0 <= granted <= len(rest)
        if granted:
            executor.start(rest[:granted])
            del rest[:granted]
        else:
            assert freed.wait(DEADLINE_S)
            freed.clear()


class ExecutorCase:
    """How an executor under test is made, opened and given jobs."""

    def make_executor(self) -> Executor:
        """Return a new executor, not opened."""
        raise NotImplementedError

    def event_loop(self) -> asyncio.AbstractEventLoop | None:
        """Return the application's event loop to lend to the executor, where it is to have one."""
        return None

    def gate_function(self) -> Callable[[int], Any]:
        """Return what stands at a gate: `stand_at_gate_later` where a plain one would block all."""
        return stand_at_gate

    @contextmanager
    def opened(self, log_level: int = 0) -> Iterator[tuple[Executor, Reports]]:
        """Give an executor that is open, and the receiver of its outcomes; stop it at the end."""
        executor, reports = self.make_executor(), Reports()
        executor.open(reports.environment(self.event_loop(), log_level))
        try:
            yield executor, reports
        finally:
            executor.stop(DEADLINE_S)

    def outcomes_of(self, *jobs: Job) -> list[Outcome]:
        """Run jobs in an executor of their own and return their outcomes, in the order of jobs."""
        with self.opened() as (executor, reports):
            freed = Event()
            reports.on_report = lambda _: freed.set()
            hand_over(executor, jobs, freed)
            reports.wait_for(len(jobs))
        found = reports.by_run()
        return [found[job.run_id] for job in jobs]

    @contextmanager
    def at_work(self, executor: Executor, *jobs: Job) -> Iterator[None]:
        """Hand jobs over, in a thread: an executor may run them in its caller's."""
        assert executor.reserve(len(jobs)) == len(jobs)
        starter = Thread(target=executor.start, args=(jobs,), daemon=True)
        starter.start()
        try:
            yield
        finally:
            starter.join(DEADLINE_S)

    @contextmanager
    def standing(self, executor: Executor, gate: Gate, count: int) -> Iterator[list[Job]]:
        """Give jobs that were handed over, the first of which stands at the gate."""
        jobs: list[Job] = [make_job(self.gate_function(), gate.port) for _ in range(count)]
        with self.at_work(executor, *jobs):
            try:
                gate.wait_for(1)
                yield jobs
            finally:
                gate.open()
