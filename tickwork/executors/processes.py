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

import itertools
import math
import os
import signal
import time
from collections.abc import Sequence
from concurrent.futures import BrokenExecutor, Future
from functools import partial
from threading import Event, Thread
from typing import TYPE_CHECKING, ClassVar

from tickwork.executors import child
from tickwork.executors.ledger import Ledger, checked_limit
from tickwork.executors.outcomes import failure, never_begun, run_error
from tickwork.executors.session import Session, SessionExecutor
from tickwork.interfaces import ExecutorEnvironment, Leftover
from tickwork.model.current import add_line
from tickwork.model.jobs import Job, Outcome, RunError
from tickwork.model.policies import RunState

if TYPE_CHECKING:
    from tickwork.executors.lines import Kind, Line

__all__ = ["ProcessPoolExecutor"]

_END_S = 10.0
"""How long the end of processes is waited for; pebble kills a stubborn one after 3 s."""

_LOOK_S = 1.0
"""How often the pool is looked after while it has jobs."""

_FORGOTTEN_S = 15.0
"""How long pebble may take to report a job whose process is gone."""

_DIED = ("ProcessDied", "Exception")
_NO_REFERENCE = RunError(
    "NoReference",
    "a process can only run a function that it can import, and this one has no reference;"
    " move it to the top level of a module, or give the task executor='threadpool'",
    kinds=("NoReference", "Exception"),
)
_POOL_BROKE = RunError(
    "ProcessDied",
    "the process pool broke down around this run, perhaps before it was started; if no process"
    ' can start at all, put what starts the scheduler behind `if __name__ == "__main__":`, since'
    " each process imports the main module anew",
    kinds=_DIED,
)
_FORGOTTEN = RunError(
    "ProcessDied", "the process of this run was ended with the one before it", kinds=_DIED
)
_CANCELLED = RunError("asyncio.exceptions.CancelledError", "cancelled; its process is ended")


class _Flight:
    """A job on its way, from when it was taken to its end.

    It has a future once it is in the pool, and a line once its process was allowed to begin it.
    """

    __slots__ = ("cut_off_at", "future", "job", "line", "number", "over", "unwanted")

    def __init__(self, job: Job, number: int) -> None:
        self.job = job
        self.number = number
        self.future: Future[child.Verdict] | None = None
        self.line: Line | None = None
        self.over = False
        self.unwanted = False
        self.cut_off_at = math.inf

    def is_in_pool(self) -> bool:
        """Whether pebble has it and owes its end."""
        return self.future is not None and not self.future.done()

    def was_ended(self) -> bool:
        """Whether pebble was told to end it, it runs no more, and all that it said is heard."""
        if self.line is None or self.future is None or not self.future.cancelled():
            return False
        return self.over or not self.line.is_open


class _ProcessSession(Session):
    """The pool of one life of a `ProcessPoolExecutor`, and those made in its place.

    One thread hands jobs to the pool and looks after it: the first job starts the processes, which
    takes longer than a caller of `start` would like to wait. The threads of the lines come with
    what processes say.
    """

    def __init__(self, workers: int, environment: ExecutorEnvironment) -> None:
        # Brings pebble and multiprocessing in, which most programs never need.
        from tickwork.executors.pool import Pool

        self.ledger = Ledger(workers, environment.report)
        self._make_pool = partial(Pool, workers, self)
        self._pool = self._make_pool()
        self._ends: list[Thread] = []
        self._now_us = environment.now_us
        self._log_level = environment.log_level
        self._numbers = itertools.count(1)
        self._flights: dict[Job, _Flight] = {}
        self._over = False
        self._bell = Event()
        self._thread = Thread(target=self._serve, name="tickwork-pool", daemon=True)
        self._thread.start()

    def start(self, jobs: Sequence[Job]) -> None:
        with self.ledger.lock:
            self.ledger.enter(jobs)
            for job in jobs:
                self._flights[job] = _Flight(job, next(self._numbers))
        self._bell.set()

    def cancel(self, run_id: str) -> bool:
        with self.ledger.lock:
            flights = [each for each in self._flights.values() if each.job.run_id == run_id]
            if not flights:
                return False
            # After a lease was lost, an earlier attempt of it may still go on beside this one.
            flight = max(flights, key=lambda each: each.job.fence)
            flight.unwanted = True
            if flight.line is None:
                # Its process, if there is one yet, will ask whether to begin it, and may not.
                del self._flights[flight.job]
        if flight.line is not None:
            self._kill(flight)
        else:
            self.ledger.take_waiting(flight.job)
            self.ledger.report([never_begun(flight.job, self._now_us())])
        return True

    def stop(self, timeout_s: float) -> Leftover:
        unstarted = [*self.ledger.close(), *self._take_back()]
        self.ledger.wait_until_empty(timeout_s)
        leftover = self.ledger.end(unstarted)
        self._over = True
        self._bell.set()
        self._thread.join()
        for thread in [*self._ends, self._pool.end()]:
            thread.join(_END_S)
        return leftover

    def _take_back(self) -> list[Job]:
        """Take back what no process has begun; none may, from now on."""
        with self.ledger.lock:
            running = self.ledger.running
            jobs = [job for job, each in self._flights.items() if each.line is None]
            for job in jobs:
                del self._flights[job]
            taken = [job for job in jobs if job in running]
            running.difference_update(taken)
            return taken

    # --- what processes say, over their lines -------------------------------------------------

    def may_begin(self, line: "Line", number: int) -> bool:
        flight = self._flight(number)
        if flight is None:
            return False
        now_us = self._now_us()
        if not flight.job.may_start(now_us):
            self._end(flight, Outcome(flight.job, RunState.CANCELLED, 0, now_us))
            return False
        with self.ledger.lock:
            if flight.job not in self._flights:
                return False
            flight.line = line
            flight.job.started_us = now_us
            return True

    def said(self, line: "Line", number: int, kind: "Kind", text: str) -> None:
        flight = self._flight(number)
        if flight is None:
            return
        if kind == "progress":
            flight.job.progress = text
            flight.job.noted()
        elif kind == "log":
            add_line(flight.job, text)
        else:
            flight.over = True
            self._settle(flight)

    def hung_up(self, line: "Line") -> None:
        for flight in list(self._flights.values()):
            if flight.line is line:
                flight.cut_off_at = time.monotonic()
                self._settle(flight)

    def _flight(self, number: int) -> _Flight | None:
        flights = list(self._flights.values())
        return next((each for each in flights if each.number == number), None)

    # --- the pool -----------------------------------------------------------------------------

    def _serve(self) -> None:
        while not self._over:
            self._bell.wait(_LOOK_S if self._flights else None)
            self._bell.clear()
            if self._pool.is_broken():
                self._renew_pool()
            for job in self.ledger.take(self.ledger.places):
                flight = self._flights.get(job)
                if flight is not None:
                    self._submit(flight)
            for flight in list(self._flights.values()):
                self._look_after(flight)

    def _submit(self, flight: _Flight) -> None:
        if not flight.job.reference:
            self._end(flight, failure(flight.job, _NO_REFERENCE, self._now_us()))
            return
        call = self._call(flight)
        future = self._pool.schedule(call)
        if future is None:
            self._renew_pool()
            future = self._pool.schedule(call)
        if future is None:
            self._end(flight, failure(flight.job, _POOL_BROKE, self._now_us()))
            return
        flight.future = future
        future.add_done_callback(partial(self._done, flight))
        if flight.unwanted:
            self._kill(flight)

    def _call(self, flight: _Flight) -> child.Call:
        job = flight.job
        return child.Call(
            flight.number,
            job.reference,
            job.payload,
            job.run_id,
            job.task_id,
            job.attempt,
            job.fire_us,
            job.fence,
            self._log_level,
        )

    def _renew_pool(self) -> None:
        """Begin with a new pool; jobs that the old one holds fail when its processes are gone.

        pebble reports most of them itself, but none that it had not sent to a process yet.
        """
        old, self._pool = self._pool, self._make_pool()
        lost = [flight for flight in list(self._flights.values()) if flight.is_in_pool()]
        self._ends = [thread for thread in self._ends if thread.is_alive()]
        self._ends.append(old.end(partial(self._give_up, lost)))

    def _give_up(self, flights: Sequence[_Flight]) -> None:
        for flight in flights:
            self._end(flight, failure(flight.job, _POOL_BROKE, self._now_us()))

    # --- ends ---------------------------------------------------------------------------------

    def _kill(self, flight: _Flight) -> None:
        """Have pebble end the process of a job: it alone knows when no lock is held there.

        That takes moments. A job that comes to its end before is reported as cancelled all the
        same, since pebble has dropped its result.
        """
        # One that isn't known to be in the pool yet comes here again when it is.
        if flight.future is not None and flight.future.cancel():
            self._settle(flight)

    def _settle(self, flight: _Flight) -> None:
        """Report a job that was cancelled, once it doesn't run any more."""
        if flight.was_ended():
            now_us = self._now_us()
            self._end(flight, failure(flight.job, _CANCELLED, now_us, RunState.CANCELLED))

    def _look_after(self, flight: _Flight) -> None:
        """Find out about the end of a job that nobody told of."""
        if flight.line is None:
            return
        if flight.unwanted and flight.line.child.is_gone():
            # A process that it had forked may hold the line open.
            flight.line.drain()
            flight.over = True
            self._settle(flight)
        elif time.monotonic() - flight.cut_off_at > _FORGOTTEN_S:
            # pebble ended its process in the belief that it was still busy with the job before.
            self._end(flight, failure(flight.job, _FORGOTTEN, self._now_us()))

    def _done(self, flight: _Flight, future: "Future[child.Verdict]") -> None:
        """Report a job that pebble is done with; called in a thread of pebble's, or by `cancel`."""
        if future.cancelled():
            # That is only what was asked for. Its process may still run.
            return
        if flight.line is not None:
            # Its last words, before it is reported.
            flight.line.drain()
        now_us = self._now_us()
        if (error := future.exception()) is not None:
            self._end(flight, failure(flight.job, _reason(error), now_us))
        else:
            self._end(flight, _outcome(flight.job, future.result(), now_us))

    def _end(self, flight: _Flight, outcome: Outcome) -> None:
        with self.ledger.lock:
            self._flights.pop(flight.job, None)
        self.ledger.report([outcome])


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
        message = f"the process of this run {_death(status)} before it ended"
        return RunError("ProcessDied", message, kinds=_DIED)
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
    to its end on an event loop of its own there. `started_us` is when its process was ready to
    begin it, which takes the first ones a while. A cancelled job that hasn't begun by then never
    does; the process of one that has is ended, killed after 3 s, and the job reported when it is
    gone. Progress comes over at once, and so do log records, as far as the loggers there let them
    through: what is configured for logging only behind the guard of the main module isn't in
    these processes. In each of them `TICKWORK_POOL_CHILD` is "1".
    """

    kind: ClassVar[str] = "processpool"
    ends_running: ClassVar[bool] = True

    def __init__(self, max_workers: int | None = None) -> None:
        super().__init__()
        if max_workers is None:
            max_workers = os.cpu_count() or 1
        self._max_workers = checked_limit("max_workers", max_workers)

    def cancel(self, run_id: str) -> bool:
        """Ask for the end of a run: its process is killed, or not allowed to begin it."""
        session = self._session
        return session is not None and session.cancel(run_id)

    def _opened(self, environment: ExecutorEnvironment) -> _ProcessSession:
        return _ProcessSession(self._max_workers, environment)
