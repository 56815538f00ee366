"""Tickwork itself, with its defaults but for the number of threads."""

# ruff: noqa: D102  what the methods do is said once, in `bench.contenders`

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from itertools import islice
from typing import Any
from uuid import uuid4

from bench.contenders import THREADS, Function, Setup
from tickwork import Scheduler
from tickwork.executors.threads import ThreadPoolExecutor
from tickwork.interfaces import Store
from tickwork.model.policies import RunState
from tickwork.model.steps import Batch, RunQuery
from tickwork.wiring import build_store

__all__ = ["Tickwork", "make", "store_of"]

_BULK = 10_000


class Written:
    """Notes when the record of the last run was written.

    `heard` is told after each step: how many records there are, and when the last was written.
    """

    def __init__(self) -> None:
        self.wanted = 0
        self.written_at = 0.0
        self.heard: Callable[[int, float], None] = lambda _records, _at: None
        self._records = 0
        self._all = threading.Event()

    def watch(self, store: Store) -> None:
        """Count the records of runs that end in a store."""
        finish = store.finish

        def watched(batch: Batch) -> frozenset[str]:
            rejected = finish(batch)
            if batch.finished:
                self._add(len(batch.finished) - len(rejected))
            return rejected

        store.finish = watched  # type: ignore[method-assign]  # of this one object

    def _add(self, records: int) -> None:
        self.written_at = time.perf_counter()
        self._records += records
        self.heard(self._records, self.written_at)
        if self._records == self.wanted:
            self._all.set()

    def wait(self, timeout_s: float) -> bool:
        """Wait for the last one."""
        return self._all.wait(timeout_s)


class Tickwork:
    """A `Scheduler`, with a store that says when it has written.

    `watchers` are shown the store before it is opened.
    """

    def __init__(self) -> None:
        self.written = Written()
        self.watchers: list[Callable[[Store], None]] = [self.written.watch]
        self.store: Any
        self._scheduler: Scheduler

    def open(self, setup: Setup) -> None:
        self.store = store_of(setup)
        for watch in self.watchers:
            watch(self.store)
        executors = {"threadpool": ThreadPoolExecutor(max_workers=THREADS)}
        self._scheduler = Scheduler(self.store, executors=executors)
        self._scheduler.start(paused=True)

    def add_once(self, function: Function, count: int, due: datetime) -> None:
        self.written.wanted = count
        self._add_in_bulk(
            {"fn": function, "trigger": "date", "run_at": due, "id": f"once-{number}"}
            for number in range(count)
        )

    def add_hourly(self, function: Function, count: int, *, bulk: bool = False) -> None:
        ids = [f"hourly-{number}" for number in range(count)]
        if bulk:
            hourly = {"fn": function, "trigger": "interval", "hours": 1}
            self._add_in_bulk({**hourly, "id": each} for each in ids)
        else:
            for each in ids:
                self._scheduler.add_task(function, "interval", hours=1, id=each)

    def add_secondly(self, function: Function, count: int, start: datetime, end: datetime) -> None:
        lot = uuid4().hex
        secondly = {"fn": function, "trigger": "interval", "seconds": 1}
        self._add_in_bulk(
            {
                **secondly,
                "id": f"secondly-{lot}-{number}",
                "args": [number],
                "start_at": start + timedelta(seconds=number / count),
                "end_at": end,
            }
            for number in range(count)
        )

    def _add_in_bulk(self, tasks: Iterable[Mapping[str, Any]]) -> None:
        rest = iter(tasks)
        while some := list(islice(rest, _BULK)):
            self._scheduler.add_tasks(some)

    def submit(self, function: Function, number: int) -> None:
        self._scheduler.submit(function, number)

    def tell(self, heard: Callable[[int, float], None]) -> None:
        self.written.heard = heard

    def stored(self) -> int:
        return sum(self.store.counts().values())

    def resume(self) -> None:
        self._scheduler.resume()

    def settle(self, count: int, timeout_s: float) -> float | None:
        if not self.written.wait(timeout_s):
            raise TimeoutError("not all runs were written")
        self.check(count)
        return self.written.written_at

    def check(self, count: int) -> None:
        """Look up whether there are as many records as there should be, one for each task."""
        completed = frozenset({RunState.COMPLETED})
        runs = self.store.find_runs(RunQuery(states=completed, limit=count + 1))
        if len(runs) != count or len({run.task_id for run in runs}) != count:
            raise AssertionError(f"{len(runs)} records of {count} runs")

    def close(self) -> None:
        report = self._scheduler.stop()
        assert report.clean, report


def store_of(setup: Setup) -> Store:
    """Return the store that a setup names, which isn't open yet."""
    match setup.store:
        case "memory":
            return build_store("memory://")
        case "sqlite" | "file":
            durability = "full" if setup.durable else "normal"
            scheme = "sqlite:///" if setup.store == "sqlite" else "file://"
            return build_store({"url": f"{scheme}{setup.place}", "durability": durability})
        case _:
            return build_store(setup.place)


def make() -> Tickwork:
    """Return one that isn't open yet."""
    return Tickwork()
