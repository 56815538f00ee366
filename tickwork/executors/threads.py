"""Jobs in a pool of daemon threads, handed over in batches.

One by one, the interpreter lock costs more than a short job: a switch of threads to wake a worker,
another to report. So jobs wait in a queue that busy workers empty without being woken, and outcomes
are collected: a worker that finds the queue empty reports at once, otherwise a reporter thread does
when half of what waited is begun, and every 20 ms, so that no outcome ever waits for the end of
another job.

How many jobs may wait is learned (`Prefetch`): a long job must not be hoarded here while another
node is idle, and no-op jobs must not wait for the store's round trip between two batches. While
jobs wait, the reporter looks whether they are too many, and gives these back: they are reported as
withdrawn.
"""

import os
from collections import deque
from collections.abc import Sequence
from threading import Event, Lock, Thread, current_thread
from typing import ClassVar

from tickwork.executors.capture import job_context
from tickwork.executors.guard import attempt
from tickwork.executors.ledger import Ledger, checked_limit, drained
from tickwork.executors.outcomes import never_begun
from tickwork.executors.prefetch import Prefetch
from tickwork.executors.session import Session, SessionExecutor
from tickwork.interfaces import ExecutorEnvironment, Leftover
from tickwork.model.jobs import Job, Outcome
from tickwork.model.policies import RunState

__all__ = ["ThreadPoolExecutor"]

_OFTEN_S = 0.02
"""How long an outcome waits at most for others to be reported with it."""

_JOIN_S = 2.0
"""How long a stop waits for threads without a job to end."""


class _ThreadSession(Session):
    """The threads of one life of a `ThreadPoolExecutor`."""

    def __init__(self, workers: int, environment: ExecutorEnvironment) -> None:
        self.ledger = Ledger(workers, environment.report)
        self._workers = workers
        self._prefetch = Prefetch(workers)
        self._now_us = environment.now_us
        self._context = job_context(environment.log_level)
        self._ended: deque[Outcome] = deque()
        self._resting: list[Lock] = []
        self._to_report = Event()
        self._dry = Event()
        self._watched = False
        self._half = 0
        self._threads: list[Thread] = []
        self._launch()

    def reserve(self, wanted: int) -> int:
        ledger, soon_s = self.ledger, 0.0
        with ledger.lock:
            granted = self._grant(wanted)
            if granted < wanted:
                soon_s = self._prefetch.glance(len(ledger.waiting))
        if soon_s:
            # Or until nothing waits any more.
            self._dry.wait(soon_s)
        if granted < wanted:
            with ledger.lock:
                self._prefetch.glance(len(ledger.waiting))
                granted += self._grant(wanted - granted)
        return granted

    def _grant(self, wanted: int) -> int:
        self.ledger.places = self._workers + self._prefetch.allowance
        granted = self.ledger.grant(wanted)
        self._prefetch.limited = granted < wanted
        return granted

    def idle(self) -> int:
        with self.ledger.lock:
            return max(0, self._workers - self.ledger.occupied())

    def start(self, jobs: Sequence[Job]) -> None:
        with self.ledger.lock:
            self._dry.clear()
            self._prefetch.handed_over(len(jobs), len(self.ledger.waiting))
            self.ledger.enter(jobs)
            woken = [self._resting.pop() for _ in range(min(len(jobs), len(self._resting)))]
            self._half = len(self.ledger.waiting) // 2
            watch = not self._watched and len(self.ledger.waiting) > len(woken)
            self._watched |= watch
        for bell in woken:
            bell.release()
        if watch:
            self._to_report.set()

    def cancel(self, run_id: str) -> bool:
        with self.ledger.lock:
            job = next((each for each in self.ledger.waiting if each.run_id == run_id), None)
        if job is None or not self.ledger.take_waiting(job):
            return False
        self.ledger.report([never_begun(job, self._now_us())])
        return True

    def stop(self, timeout_s: float) -> Leftover:
        unstarted = self.ledger.close()
        with self.ledger.lock:
            woken, self._resting = self._resting, []
        for bell in woken:
            bell.release()
        self.ledger.wait_until_empty(timeout_s)
        self._flush()
        leftover = self.ledger.end(unstarted)
        self._to_report.set()
        if not leftover.running:
            for thread in set(self._threads) - {current_thread()}:
                thread.join(_JOIN_S)
        return leftover

    def _launch(self) -> None:
        names = [f"tickwork-worker-{number}" for number in range(1, self._workers + 1)]
        self._threads = [Thread(target=self._work, name=name, daemon=True) for name in names]
        self._threads.append(Thread(target=self._report, name="tickwork-reporter", daemon=True))
        for thread in self._threads:
            thread.start()

    def _work(self) -> None:
        """Be a worker: run jobs while there are any, rest until woken, end with the session."""
        bell = Lock()
        bell.acquire()
        copy, now_us, ended = self._context.copy, self._now_us, self._ended
        batch = 0
        while True:
            job = self._next(bell, batch)
            if job is not None:
                batch = self._prefetch.batch
                ended.append(copy().run(attempt, job, now_us))
                waiting = len(self.ledger.waiting)
                if not waiting:
                    self._flush()
                elif (waiting <= self._half or not self._watched) and not self._to_report.is_set():
                    self._half = waiting // 2
                    self._to_report.set()
            elif self.ledger.closing:
                return
            else:
                bell.acquire()

    def _next(self, bell: Lock, batch: int) -> Job | None:
        """Take the oldest job; where there is none, lie down to be woken by `bell`.

        `batch` is the last one that there was when the job before was begun.
        """
        ledger = self.ledger
        with ledger.lock:
            if ledger.waiting:
                job = ledger.waiting.popleft()
                ledger.running.add(job)
                return job
            self._dry.set()
            if not ledger.closing:
                self._prefetch.ran_dry(batch)
                self._resting.append(bell)
            return None

    def _report(self) -> None:
        """Be the reporter: pass on what ended while the workers were too busy to."""
        while not self.ledger.closing or self.ledger.running:
            self._to_report.wait(_OFTEN_S if self._watched else None)
            self._to_report.clear()
            self._give_back()
            # Last: who has seen that this thread watches, and left an outcome to it, is heard.
            self._flush()

    def _give_back(self) -> None:
        """Report as withdrawn what waits here for too long, if it is time to look at that."""
        with self.ledger.lock:
            surplus = self._prefetch.look(len(self.ledger.waiting))
            jobs = self.ledger.withdraw_last(surplus)
            self._prefetch.given_back(len(jobs))
            self._watched = bool(self.ledger.waiting)
        if jobs:
            now_us = self._now_us()
            self.ledger.report([Outcome(job, RunState.CANCELLED, 0, now_us) for job in jobs])

    def _flush(self) -> None:
        self.ledger.report(drained(self._ended))


class ThreadPoolExecutor(SessionExecutor[_ThreadSession]):
    """Run functions in daemon threads, `min(32, processors + 4)` of them unless told otherwise.

    A coroutine function that lands here runs to its end on an event loop of its own, in the
    worker's thread. More jobs may be reserved than there are threads, as long as they are done
    within moments; those that aren't, go back to the store before they begin. A thread can't be
    killed: what `stop` returns as running goes on, unreported, and keeps its (daemon) thread until
    it returns.
    """

    kind: ClassVar[str] = "threadpool"
    ends_running: ClassVar[bool] = False

    def __init__(self, max_workers: int | None = None) -> None:
        super().__init__()
        if max_workers is None:
            max_workers = min(32, (os.cpu_count() or 1) + 4)
        self._max_workers = checked_limit("max_workers", max_workers)

    def cancel(self, run_id: str) -> bool:
        """End a run that still waits for a thread; False for one that runs, for it goes on."""
        session = self._session
        return session is not None and session.cancel(run_id)

    def _opened(self, environment: ExecutorEnvironment) -> _ThreadSession:
        return _ThreadSession(self._max_workers, environment)
