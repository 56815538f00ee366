"""Jobs as tasks of an event loop: the application's, or one of our own where there is none.

Handing work to a loop costs a system call and often a switch of threads, so jobs go over in
batches: `start` wakes the loop once, and the loop starts a slice of them in each of its turns.
Small slices keep the application responsive and are the fastest too: the tasks of a slice are done
and freed before the next ones are made, which spares the cache and the garbage collector (measured
on 100,000 no-op coroutines: 64 to 128 a turn take half the time of creating all of them at once).
"""

import asyncio
import contextvars
from collections import deque
from collections.abc import Callable, Sequence
from typing import ClassVar

from tickwork.errors import SchedulerStateError
from tickwork.executors.capture import job_context
from tickwork.executors.guard import attempt_on_loop
from tickwork.executors.ledger import Ledger, checked_limit, drained
from tickwork.executors.loop_thread import LoopThread
from tickwork.executors.outcomes import failure, never_begun, run_error
from tickwork.executors.session import Session, SessionExecutor
from tickwork.interfaces import ExecutorEnvironment, Leftover
from tickwork.model.jobs import Job, Outcome, RunError

__all__ = ["AsyncIOExecutor"]

_SLICE = 64
"""How many tasks are started in one turn of the loop."""

_COLLECT_S = 0.002
"""How long outcomes are collected while more jobs wait to be started."""

_LOOP_CLOSED = RunError(
    "EventLoopClosed",
    "the event loop that this scheduler was started on is closed, so this run can't go on;"
    " stop the scheduler before its loop ends, or start it from plain code to give it its own",
    kinds=("EventLoopClosed", "Exception"),
)


class _LoopSession(Session):
    """The tasks of one life of an `AsyncIOExecutor`."""

    def __init__(self, places: int, environment: ExecutorEnvironment) -> None:
        self.ledger = Ledger(places, environment.report)
        self._own: LoopThread | None = None
        self._loop: asyncio.AbstractEventLoop
        if environment.loop is None:
            self._own = LoopThread()
            self._loop = self._own.loop
        else:
            self._loop = environment.loop
        self._now_us = environment.now_us
        self._context = job_context(environment.log_level)
        self._home = contextvars.copy_context()
        self._tasks: dict[Job, asyncio.Task[None]] = {}
        self._ended: deque[Outcome] = deque()
        self._pumping = False
        self._flush_at = 0.0

    def reserve(self, wanted: int) -> int:
        if self._loop.is_closed():
            self._abandon()
            return 0
        return super().reserve(wanted)

    def idle(self) -> int:
        return 0 if self._loop.is_closed() else super().idle()

    def start(self, jobs: Sequence[Job]) -> None:
        with self.ledger.lock:
            self.ledger.enter(jobs)
            wake, self._pumping = not self._pumping, True
        if (wake or self._loop.is_closed()) and not self._call(self._pump, ()):
            self._abandon()

    def cancel(self, run_id: str) -> bool:
        with self.ledger.lock:
            jobs = [*self.ledger.waiting, *self.ledger.running]
        mine = [job for job in jobs if job.run_id == run_id]
        # After a lease was lost, an earlier attempt of it may still go on beside this one.
        job = max(mine, key=lambda each: each.fence, default=None)
        return job is not None and self._call(self._cancel, job)

    def stop(self, timeout_s: float) -> Leftover:
        if timeout_s > 0 and asyncio._get_running_loop() is self._loop:  # noqa: SLF001
            message = (
                "waiting here would block the event loop that runs the jobs;"
                " stop the scheduler by `await scheduler.aio.stop()`, or without waiting"
            )
            raise SchedulerStateError(message)
        unstarted = self.ledger.close()
        # A loop that its application has stopped or closed would be waited for in vain.
        if self._own is not None or self._loop.is_running():
            self.ledger.wait_until_empty(timeout_s)
        # What has ended in time is reported, also where the loop has no turn for it any more.
        self._flush()
        leftover = self.ledger.end(unstarted)
        self._call(self._cancel_all)
        if self._own is not None:
            self._own.stop()
        return leftover

    def _call(self, callback: Callable[..., None], *args: object) -> bool:
        """Have the loop call something in its next turn; False where it is closed."""
        try:
            self._loop.call_soon_threadsafe(callback, *args, context=self._home)
        except RuntimeError:
            return False
        return True

    def _pump(self, before: Sequence[Job]) -> None:
        """Start a slice of the waiting jobs as tasks; come back in the next turn for more.

        `before` is the slice of the last turn.
        """
        self._sweep(before)
        batch = self.ledger.take(_SLICE)
        create, copy, tasks = self._loop.create_task, self._context.copy, self._tasks
        now_us, ended = self._now_us, self._end
        plain = self._loop.get_task_factory() is None
        for job in batch:
            if plain:
                tasks[job] = create(attempt_on_loop(job, now_us, ended), context=copy())
            else:
                self._create_by_factory(job)
        with self.ledger.lock:
            self._pumping = bool(batch or self.ledger.waiting)
        if self._pumping:
            self._loop.call_soon(self._pump, batch, context=self._home)

    def _create_by_factory(self, job: Job) -> None:
        """Make the task by the application's factory, which may run it at once, or fail."""
        body = attempt_on_loop(job, self._now_us, self._end)
        try:
            # Not every factory takes a context; each task copies the one that it is made in.
            task = self._context.copy().run(self._loop.create_task, body)
        except Exception as error:  # noqa: BLE001 - user code too, and no reason to stop the others
            body.close()
            self._end(failure(job, run_error(error), self._now_us()))
        else:
            if not task.done():
                self._tasks[job] = task

    def _end(self, outcome: Outcome) -> None:
        """Keep the outcome for the one report of this turn; called in the job's task."""
        self._tasks.pop(outcome.job, None)
        self._ended.append(outcome)
        if len(self._ended) == 1 and not self._loop.is_closed():
            self._flush_at = self._loop.time() + _COLLECT_S
            self._loop.call_soon(self._flush_soon, context=self._home)

    def _flush_soon(self) -> None:
        """Report what has ended: after this turn, or some turns later in the middle of a burst."""
        if self.ledger.waiting and self._loop.time() < self._flush_at:
            self._loop.call_soon(self._flush_soon)
        else:
            self._flush()

    def _flush(self) -> None:
        self.ledger.report(drained(self._ended))

    def _sweep(self, batch: Sequence[Job]) -> None:
        """Report those whose task was cancelled before its first step: it never ran our guard."""
        lost = [job for job in batch if job in self._tasks and self._tasks[job].done()]
        for job in lost:
            self._end(never_begun(job, self._now_us()))

    def _cancel(self, job: Job) -> None:
        task = self._tasks.get(job)
        if task is not None:
            task.cancel()
            return
        if self.ledger.take_waiting(job):
            self.ledger.report([never_begun(job, self._now_us())])

    def _cancel_all(self) -> None:
        for task in list(self._tasks.values()):
            task.cancel()

    def _abandon(self) -> None:
        """Report what ended before the loop was closed, and as failed what can't go on now."""
        self._flush()
        now_us = self._now_us()
        jobs = self.ledger.withdraw()
        self.ledger.report_withdrawn([failure(job, _LOOP_CLOSED, now_us) for job in jobs])


class AsyncIOExecutor(SessionExecutor[_LoopSession]):
    """Run coroutine functions as tasks of the application's event loop, or of one of its own.

    Each job has a task and a context of its own. A plain function is called on the loop's thread:
    while it blocks, so does the loop. A job whose task is cancelled, from inside or outside, ends
    as `cancelled`; one that raises `SystemExit` or `KeyboardInterrupt` fails like any other.
    `stop` refuses to wait on the loop that runs the jobs; what is left after its time is cancelled.
    """

    kind: ClassVar[str] = "asyncio"
    ends_running: ClassVar[bool] = True

    def __init__(self, max_concurrency: int = 10_000) -> None:
        super().__init__()
        self._max_concurrency = checked_limit("max_concurrency", max_concurrency)

    def cancel(self, run_id: str) -> bool:
        """Ask for the end of a run: its task is cancelled, or never started if it still waits."""
        session = self._session
        return session is not None and session.cancel(run_id)

    def _opened(self, environment: ExecutorEnvironment) -> _LoopSession:
        return _LoopSession(self._max_concurrency, environment)
