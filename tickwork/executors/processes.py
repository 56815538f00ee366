"""Jobs in processes of their own: what a thread can't be, a process can be killed.

Processes are spawned, not forked (a fork of a process with threads may hang), and kept by pebble,
whose pool can end the one process that runs a given job. Spawning imports the main module of the
program again, so a script that starts a scheduler must do so behind a guard, as always with
`multiprocessing`:

    if __name__ == "__main__":
        with scheduler:
            ...

A process that dies in a job takes only this run with it. One that dies without a job makes pebble
give up its pool, as do processes that die while they start, which is what a missing guard leads to.
The pool is made anew then; jobs that were in the old one fail, since nobody knows how far they got.
"""

import os
import signal
from collections.abc import Sequence
from concurrent.futures import BrokenExecutor, Future
from functools import partial
from threading import Event, Thread
from typing import ClassVar

from tickwork.executors import child
from tickwork.executors.ledger import Ledger, checked_limit
from tickwork.executors.outcomes import failure, run_error
from tickwork.executors.session import Session, SessionExecutor
from tickwork.interfaces import ExecutorEnvironment, Leftover
from tickwork.model.jobs import Job, Outcome, RunError
from tickwork.model.policies import RunState

__all__ = ["ProcessPoolExecutor"]

_END_S = 10.0
"""How long the end of processes is waited for; pebble kills a stubborn one after 3 s."""

_LOOK_S = 1.0
"""How often the pool is looked after while it has jobs."""

_NO_REFERENCE = RunError(
    "NoReference",
    "a process can only run a function that it can import, and this one has no reference;"
    " move it to the top level of a module, or give the task executor='threadpool'",
)
_POOL_BROKE = RunError(
    "ProcessDied",
    "the process pool broke down around this run, perhaps before it was started; if no process"
    ' can start at all, put what starts the scheduler behind `if __name__ == "__main__":`, since'
    " each process imports the main module anew",
)
_CANCELLED = RunError("asyncio.exceptions.CancelledError", "cancelled; its process is ended")


class _ProcessSession(Session):
    """The pool of one life of a `ProcessPoolExecutor`, and those made in its place.

    One thread hands jobs to the pool and looks after it: the first job starts the processes, which
    takes longer than a caller of `start` would like to wait.
    """

    def __init__(self, workers: int, environment: ExecutorEnvironment) -> None:
        # Brings pebble and multiprocessing in, which most programs never need.
        from tickwork.executors.pool import Pool

        self.ledger = Ledger(workers, environment.report)
        self._make_pool = partial(Pool, workers)
        self._pool = self._make_pool()
        self._ends: list[Thread] = []
        self._now_us = environment.now_us
        self._futures: dict[Job, Future[child.Verdict]] = {}
        self._unwanted: set[Job] = set()
        self._over = False
        self._bell = Event()
        self._thread = Thread(target=self._serve, name="tickwork-pool", daemon=True)
        self._thread.start()

    def start(self, jobs: Sequence[Job]) -> None:
        with self.ledger.lock:
            self.ledger.enter(jobs)
        self._bell.set()

    def cancel(self, run_id: str) -> bool:
        with self.ledger.lock:
            jobs = [*self.ledger.waiting, *self.ledger.running]
        job = next((job for job in jobs if job.run_id == run_id), None)
        if job is None:
            return False
        # In this order; `_submit` looks here after it has made the future known.
        self._unwanted.add(job)
        future = self._futures.get(job)
        return future is None or future.cancel()

    def stop(self, timeout_s: float) -> Leftover:
        unstarted = self.ledger.close()
        self.ledger.wait_until_empty(timeout_s)
        leftover = self.ledger.end(unstarted)
        self._over = True
        self._bell.set()
        self._thread.join()
        for thread in [*self._ends, self._pool.end()]:
            thread.join(_END_S)
        return leftover

    def _serve(self) -> None:
        while not self._over:
            self._bell.wait(_LOOK_S if self._futures else None)
            self._bell.clear()
            if self._pool.is_broken():
                self._renew_pool()
            for job in self.ledger.take(self.ledger.places):
                self._submit(job)

    def _submit(self, job: Job) -> None:
        now_us = self._now_us()
        if not job.may_start(now_us):
            self.ledger.report([Outcome(job, RunState.CANCELLED, 0, now_us)])
            return
        job.started_us = now_us
        if not job.reference:
            self._fail([job], _NO_REFERENCE)
            return
        future = self._pool.schedule(job.reference, job.payload)
        if future is None:
            self._renew_pool()
            future = self._pool.schedule(job.reference, job.payload)
        if future is None:
            self._fail([job], _POOL_BROKE)
            return
        self._futures[job] = future
        future.add_done_callback(partial(self._done, job))
        if job in self._unwanted:
            future.cancel()

    def _renew_pool(self) -> None:
        """Begin with a new pool; jobs that the old one holds fail when its processes are gone.

        pebble reports most of them itself, but none that it had not sent to a process yet.
        """
        old, self._pool = self._pool, self._make_pool()
        lost = [job for job, future in list(self._futures.items()) if not future.done()]
        self._ends = [thread for thread in self._ends if thread.is_alive()]
        self._ends.append(old.end(partial(self._fail, lost, _POOL_BROKE)))

    def _done(self, job: Job, future: "Future[child.Verdict]") -> None:
        """Report a job that pebble is done with; called in a thread of pebble's, or by `cancel`."""
        self._futures.pop(job, None)
        self._unwanted.discard(job)
        if future.cancelled():
            outcome = failure(job, _CANCELLED, self._now_us(), RunState.CANCELLED)
        elif (error := future.exception()) is not None:
            outcome = failure(job, _reason(error), self._now_us())
        else:
            outcome = _outcome(job, future.result(), self._now_us())
        self.ledger.report([outcome])

    def _fail(self, jobs: Sequence[Job], error: RunError) -> None:
        for job in jobs:
            self._futures.pop(job, None)
        now_us = self._now_us()
        self.ledger.report([failure(job, error, now_us) for job in jobs])


def _outcome(job: Job, verdict: child.Verdict, now_us: int) -> Outcome:
    return Outcome(
        job,
        RunState(verdict.state),
        job.started_us,
        now_us,
        result=verdict.result,
        error=verdict.error,
        encoded=True,
        note=verdict.note,
    )


def _reason(error: BaseException) -> RunError:
    """Return why there is no verdict."""
    from tickwork.executors.pool import exit_status

    status = exit_status(error)
    if status is not None:
        return RunError("ProcessDied", f"the process of this run {_death(status)} before it ended")
    if isinstance(error, BrokenExecutor):
        return _POOL_BROKE
    return run_error(error)


def _death(status: int) -> str:
    if status >= 0:
        return f"exited with status {status}"
    try:
        return f"was killed by signal {-status} ({signal.Signals(-status).name})"
    except ValueError:
        return f"was killed by signal {-status}"


class ProcessPoolExecutor(SessionExecutor[_ProcessSession]):
    """Run functions in spawned processes, one for each processor unless told otherwise.

    A job is sent as the reference of its function and its stored arguments, and comes back as its
    stored result, so results that can't be stored are lost with a note. A coroutine function runs
    to its end on an event loop of its own there. `started_us` is when the job was handed to the
    pool: its first jobs wait for the processes to start. A cancelled job is reported at once, and
    its process killed within moments. In each process `TICKWORK_POOL_CHILD` is "1".
    """

    kind: ClassVar[str] = "processpool"

    def __init__(self, max_workers: int | None = None) -> None:
        super().__init__()
        if max_workers is None:
            max_workers = os.cpu_count() or 1
        self._max_workers = checked_limit("max_workers", max_workers)

    def cancel(self, run_id: str) -> bool:
        """Ask for the end of a run: its process is killed, or never given the job."""
        session = self._session
        return session is not None and session.cancel(run_id)

    def _opened(self, environment: ExecutorEnvironment) -> _ProcessSession:
        return _ProcessSession(self._max_workers, environment)
