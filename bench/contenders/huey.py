"""Huey: a queue; its worker runs in this process, on as many threads as everybody else's.

Its results are as they are by default (there is none to keep), and so is its look-up of each job
among those that were revoked. It calls functions in threads only.
"""

# ruff: noqa: D102  what the methods do is said once, in `bench.contenders`

from asyncio import iscoroutinefunction
from datetime import UTC, datetime, timedelta
from typing import Any

from huey import FileHuey, MemoryHuey, PostgresHuey, RedisHuey, SqliteHuey

from bench.contenders import THREADS, Function, Setup
from bench.databases import libpq_address
from bench.work import FUNCTIONS

__all__ = ["Huey", "make"]


class Huey:
    """A queue of huey's and, once resumed, its worker."""

    def __init__(self) -> None:
        self._queue: Any = None
        self._tasks: dict[Function, Any] = {}
        self._worker: Any = None

    def open(self, setup: Setup) -> None:
        if setup.work != "thread":
            raise ValueError("huey calls functions in threads, not coroutines on a loop")
        self._queue = _queue(setup)
        self._tasks = {
            function: self._queue.task()(function)
            for function in FUNCTIONS
            if not iscoroutinefunction(function)
        }

    def add_once(self, function: Function, count: int, due: datetime) -> None:
        task = self._tasks[function]
        for _ in range(count):
            task.schedule(eta=due)

    def add_hourly(self, function: Function, count: int, *, bulk: bool = False) -> None:
        self.add_once(function, count, datetime.now(UTC) + timedelta(hours=1))

    def add_secondly(self, function: Function, count: int, start: datetime, end: datetime) -> None:
        raise NotImplementedError("its smallest period is a minute")

    def submit(self, function: Function, number: int) -> None:
        self._tasks[function](number)

    def stored(self) -> int:
        stored: int = self._queue.pending_count() + self._queue.scheduled_count()
        return stored

    def resume(self) -> None:
        self._worker = self._queue.create_consumer(
            workers=THREADS, worker_type="thread", periodic=False
        )
        self._worker.start()

    def settle(self, count: int, timeout_s: float) -> float | None:
        return None

    def close(self) -> None:
        if self._worker is not None:
            self._worker.stop(graceful=True)


def _queue(setup: Setup) -> Any:
    match setup.store:
        case "memory":
            return MemoryHuey()
        case "sqlite":
            return SqliteHuey(filename=setup.place, fsync=setup.durable)
        case "file":
            return FileHuey(path=setup.place)
        case "redis":
            return RedisHuey(url=setup.place)
        case "postgresql":
            return PostgresHuey(dsn=libpq_address(setup.place))


def make() -> Huey:
    """Return one that isn't open yet."""
    return Huey()
