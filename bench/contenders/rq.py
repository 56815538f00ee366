"""RQ: a queue on Redis; its worker runs in this process, in a thread.

It is the worker that calls functions itself (`SimpleWorker`): one that forks for each job is ten
times slower. More of them in one process make it no faster. Two parts of it work in the main thread
of a process only and are left out: how it is stopped, and the time limit of jobs (which costs it a
system call). It keeps its jobs, with their results, for 500 seconds, as it does by default.
"""

# ruff: noqa: D102  what the methods do is said once, in `bench.contenders`

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

from redis import Redis
from rq import Queue, SimpleWorker
from rq.timeouts import BaseDeathPenalty

from bench.contenders import Function, Setup

__all__ = ["RQ", "make"]

_BULK = 1_000


class _NoLimit(BaseDeathPenalty):  # type: ignore[misc]  # its package isn't there for mypy
    """No time limit for jobs."""

    def setup_death_penalty(self) -> None:
        """Set no alarm."""

    def cancel_death_penalty(self) -> None:
        """Take none back."""


class _Worker(SimpleWorker):  # type: ignore[misc]  # as above
    """A worker that works in any thread."""

    death_penalty_class = _NoLimit

    def _install_signal_handlers(self) -> None:
        """Leave signals to the process."""


class RQ:
    """A queue of RQ's and, once resumed, its worker."""

    def __init__(self) -> None:
        self._queue: Any = None
        self._url = ""

    def open(self, setup: Setup) -> None:
        if setup.work != "thread":
            raise ValueError("rq calls functions in the worker's thread, not coroutines on a loop")
        self._url = setup.place
        self._queue = Queue(connection=Redis.from_url(setup.place))

    def add_once(self, function: Function, count: int, due: datetime) -> None:
        for some in range(0, count, _BULK):
            jobs = [Queue.prepare_data(function) for _ in range(min(_BULK, count - some))]
            self._queue.enqueue_many(jobs)

    def add_hourly(self, function: Function, count: int, *, bulk: bool = False) -> None:
        due = datetime.now(UTC) + timedelta(hours=1)
        at_once = _BULK if bulk else 1
        for some in range(0, count, at_once):
            with self._queue.connection.pipeline() as pipeline:
                for _ in range(min(at_once, count - some)):
                    self._queue.enqueue_at(due, function, pipeline=pipeline)
                pipeline.execute()

    def add_secondly(self, function: Function, count: int, start: datetime, end: datetime) -> None:
        raise NotImplementedError("its scheduler looks once a second")

    def submit(self, function: Function, number: int) -> None:
        self._queue.enqueue(function, number)

    def stored(self) -> int:
        stored: int = self._queue.count + self._queue.scheduled_job_registry.count
        return stored

    def resume(self) -> None:
        worker = _Worker([self._queue], connection=Redis.from_url(self._url))
        # It waits for the next job until the process ends.
        working = threading.Thread(
            target=worker.work, kwargs={"logging_level": "ERROR"}, daemon=True
        )
        working.start()

    def settle(self, count: int, timeout_s: float) -> float | None:
        return None

    def close(self) -> None:
        self._queue.connection.close()


def make() -> RQ:
    """Return one that isn't open yet."""
    return RQ()
