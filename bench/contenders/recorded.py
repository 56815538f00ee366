"""A bare loop that keeps a record of each run: what is due is noted, called, noted as over.

It decides nothing, and nobody shares its store: what it does is the least that a scheduler with
records does. In SQLite and Redis both notes are what `raw` writes, a thousand runs at a time, each
half a transaction; in memory a record is a list.
"""

# ruff: noqa: D102  what the methods do is said once, in `bench.contenders`

import asyncio
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from datetime import UTC, datetime
from functools import partial
from heapq import heappop, heappush
from typing import Any, Protocol
from uuid import uuid4

from bench.contenders import THREADS, Function, Setup
from bench.workloads.limits import RedisRuns, SQLiteRuns

__all__ = ["Recorded", "make"]

_AT_ONCE = 1_000
_Record = list[Any]
"""Of a run: its task, when it was due, when it started and ended, and its state."""


class _Book(Protocol):
    """Where records are written besides."""

    def add(self, ids: Sequence[str]) -> None: ...

    def begin(self, ids: Sequence[str]) -> None: ...

    def end(self, ids: Sequence[str]) -> None: ...

    def close(self) -> None: ...


class _NoBook:
    def __init__(self, _: str) -> None:
        """Keep nothing."""

    def add(self, ids: Sequence[str]) -> None:
        """Write nothing."""

    begin = end = add

    def close(self) -> None:
        """Have nothing to close."""


_BOOKS: Mapping[str, Callable[[str], _Book]] = {
    "memory": _NoBook,
    "sqlite": SQLiteRuns,
    "redis": RedisRuns,
}


class Recorded:
    """A heap, a loop or a pool, a context a run, and a record of it."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, str, Function]] = []
        self._records: dict[str, _Record] = {}
        self._going: list[str] = []
        self._left = 0
        self._written_at = 0.0
        self._over = threading.Event()
        self._pool: ThreadPoolExecutor | None = None

    def open(self, setup: Setup) -> None:
        if setup.work == "coroutine":
            self._loop = asyncio.get_running_loop()
        else:
            self._pool = ThreadPoolExecutor(THREADS)
        self._book = _BOOKS[setup.store](setup.place)

    def add_once(self, function: Function, count: int, due: datetime) -> None:
        at = due.timestamp()
        ids = [uuid4().hex for _ in range(count)]
        for id_ in ids:
            heappush(self._heap, (at, id_, function))
        self._book.add(ids)

    def add_hourly(self, function: Function, count: int, *, bulk: bool = False) -> None:
        raise NotImplementedError("it has tasks only that are due once")

    def add_secondly(self, function: Function, count: int, start: datetime, end: datetime) -> None:
        raise NotImplementedError("it has tasks only that are due once")

    def submit(self, function: Function, number: int) -> None:
        raise NotImplementedError("it has tasks only that are due once")

    def stored(self) -> int:
        return len(self._heap)

    def resume(self) -> None:
        if self._pool is None:
            self._begin_on_loop()
        else:
            threading.Thread(target=self._work_in_threads, args=[self._pool]).start()

    def _begin_on_loop(self) -> None:
        """Begin what is due, a batch; the next one when that is over."""
        for task, function in self._due():
            self._records[task][2] = time.time()
            self._loop.create_task(function()).add_done_callback(partial(self._ended, task))

    def _ended(self, task: str, _: asyncio.Task[Any]) -> None:
        self._end(task)
        self._left -= 1
        if not self._left:
            self._note_ends()
            if not self._over.is_set():
                self._begin_on_loop()

    def _work_in_threads(self, pool: ThreadPoolExecutor) -> None:
        while not self._over.is_set():
            begun = [(task, pool.submit(self._call, task, call)) for task, call in self._due()]
            for task, future in begun:
                future.result()
                self._end(task)
            self._note_ends()

    def _call(self, task: str, function: Function) -> None:
        self._records[task][2] = time.time()
        copy_context().run(function)

    def _due(self) -> list[tuple[str, Function]]:
        """Take what is due, a batch, and note it."""
        heap, now = self._heap, datetime.now(UTC).timestamp()
        due: list[tuple[str, Function]] = []
        while heap and heap[0][0] <= now and len(due) < _AT_ONCE:
            at, task, function = heappop(heap)
            self._records[task] = [task, at, None, None, "pending"]
            due.append((task, function))
        self._going = [task for task, _ in due]
        self._left = len(due)
        self._book.begin(self._going)
        return due

    def _end(self, task: str) -> None:
        record = self._records[task]
        record[3], record[4] = time.time(), "completed"

    def _note_ends(self) -> None:
        self._book.end(self._going)
        self._written_at = time.perf_counter()
        if not self._heap:
            self._over.set()

    def settle(self, count: int, timeout_s: float) -> float | None:
        assert self._over.wait(timeout_s)
        assert [record[4] for record in self._records.values()] == ["completed"] * count
        return self._written_at

    def close(self) -> None:
        self._book.close()
        if self._pool is not None:
            self._pool.shutdown()


def make() -> Recorded:
    """Return one that isn't open yet."""
    return Recorded()
