"""Jobs in the thread that hands them over: for tests, and for whoever wants no concurrency."""

from collections.abc import Sequence
from typing import ClassVar

from tickwork.executors.capture import job_context
from tickwork.executors.guard import attempt
from tickwork.executors.ledger import Ledger
from tickwork.executors.session import Session, SessionExecutor
from tickwork.interfaces import ExecutorEnvironment, Leftover
from tickwork.model.jobs import Job

__all__ = ["InlineExecutor"]

_PLACES = 1_000_000


class _InlineSession(Session):
    """One life of an `InlineExecutor`."""

    def __init__(self, environment: ExecutorEnvironment) -> None:
        self.ledger = Ledger(_PLACES, environment.report)
        self._now_us = environment.now_us
        self._context = job_context(environment.log_level)

    def start(self, jobs: Sequence[Job]) -> None:
        with self.ledger.lock:
            self.ledger.enter(jobs)
        while batch := self.ledger.take(1):
            self.ledger.report([self._context.copy().run(attempt, batch[0], self._now_us)])

    def stop(self, timeout_s: float) -> Leftover:
        unstarted = self.ledger.close()
        self.ledger.wait_until_empty(timeout_s)
        return self.ledger.end(unstarted)


class InlineExecutor(SessionExecutor[_InlineSession]):
    """Run each job at once, inside `start`, in the caller's thread.

    A coroutine runs to its end on a fresh event loop, in a thread of its own where the caller
    stands on a running loop. There are as good as endless places, but nothing runs side by side
    unless several threads call `start`.
    """

    kind: ClassVar[str] = "inline"
    ends_running: ClassVar[bool] = False

    def __init__(self) -> None:
        super().__init__()

    def _opened(self, environment: ExecutorEnvironment) -> _InlineSession:
        return _InlineSession(environment)
