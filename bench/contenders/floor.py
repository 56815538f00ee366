"""The floor: a bare heap, and a bare `create_task` or `submit` for what is due. Keeps nothing."""

# ruff: noqa: D102  what the methods do is said once, in `bench.contenders`

import asyncio
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from heapq import heappop, heappush
from itertools import count as counter
from math import inf
from typing import Any

from bench.contenders import THREADS, Function, Setup

__all__ = ["Floor", "make"]

_Entry = tuple[float, int, Function, tuple[Any, ...], float, float]


class Floor:
    """What nobody can be faster than, in Python and without giving up contexts."""

    def __init__(self) -> None:
        self._heap: list[_Entry] = []
        self._order = counter()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pool: ThreadPoolExecutor | None = None
        self._tasks: set[asyncio.Task[Any]] = set()

    def open(self, setup: Setup) -> None:
        if setup.work == "coroutine":
            self._loop = asyncio.get_running_loop()
        else:
            self._pool = ThreadPoolExecutor(THREADS)

    def add_once(self, function: Function, count: int, due: datetime) -> None:
        for _ in range(count):
            self._push(due.timestamp(), function, (), 0.0)

    def add_hourly(self, function: Function, count: int, *, bulk: bool = False) -> None:
        due = datetime.now(UTC).timestamp() + 3_600
        for _ in range(count):
            self._push(due, function, (), 3_600.0)

    def add_secondly(self, function: Function, count: int, start: datetime, end: datetime) -> None:
        for number in range(count):
            due = start + timedelta(seconds=number / count)
            self._push(due.timestamp(), function, (number,), 1.0, end=end.timestamp())

    def _push(
        self,
        due: float,
        function: Function,
        args: tuple[Any, ...],
        every: float,
        *,
        end: float = inf,
    ) -> None:
        heappush(self._heap, (due, next(self._order), function, args, every, end))

    def submit(self, function: Function, number: int) -> None:
        raise NotImplementedError("it is in this process only")

    def stored(self) -> int:
        return len(self._heap)

    def resume(self) -> None:
        """Begin whatever is due, and come back when the next one is."""
        heap = self._heap
        now = datetime.now(UTC).timestamp()
        while heap and heap[0][0] <= now:
            due, _, function, args, every, end = heappop(heap)
            if every and due + every <= end:
                self._push(due + every, function, args, every, end=end)
            self._call(function, args)
        if heap and self._loop is not None:
            self._loop.call_later(heap[0][0] - now, self.resume)

    def _call(self, function: Function, args: tuple[Any, ...]) -> None:
        if self._pool is not None:
            self._pool.submit(function, *args)
        elif self._loop is not None:
            called: Coroutine[Any, Any, Any] = function(*args)
            task = self._loop.create_task(called)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def settle(self, count: int, timeout_s: float) -> float | None:
        return None

    def close(self) -> None:
        self._heap.clear()
        if self._pool is not None:
            self._pool.shutdown()


def make() -> Floor:
    """Return one that isn't open yet."""
    return Floor()
