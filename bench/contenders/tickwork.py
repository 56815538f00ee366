"""Tickwork itself, with its defaults but for the number of threads."""

# ruff: noqa: D102  what the methods do is said once, in `bench.contenders`

import threading
import time
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from bench.contenders import THREADS, Function, Setup
from tickwork import Scheduler
from tickwork.executors.threads import ThreadPoolExecutor
from tickwork.model.policies import RunState
from tickwork.model.steps import Batch, RunQuery
from tickwork.stores.memory import MemoryStore
from tickwork.stores.sql import SQLStore

__all__ = ["Tickwork", "make"]

_BULK = 10_000


class Written:
    """Notes when the record of the last run was written."""

    def __init__(self) -> None:
        self.wanted = 0
        self.written_at = 0.0
        self._records = 0
        self._all = threading.Event()

    def add(self, records: int) -> None:
        """Count records of runs that have ended."""
        self._records += records
        if records and self._records >= self.wanted:
            self.written_at = time.perf_counter()
            self._all.set()

    def wait(self, timeout_s: float) -> bool:
        """Wait for the last one."""
        return self._all.wait(timeout_s)


class _WatchedMemoryStore(MemoryStore):
    def __init__(self, written: Written) -> None:
        super().__init__()
        self._written = written

    def finish(self, batch: Batch) -> frozenset[str]:
        rejected = super().finish(batch)
        self._written.add(len(batch.finished))
        return rejected


class _WatchedSQLStore(SQLStore):
    def __init__(self, url: str, written: Written, **options: Any) -> None:
        super().__init__(url, **options)
        self._written = written

    def finish(self, batch: Batch) -> frozenset[str]:
        rejected = super().finish(batch)
        self._written.add(len(batch.finished))
        return rejected


class Tickwork:
    """A `Scheduler`, with a store that says when it has written."""

    def __init__(self) -> None:
        self._written = Written()
        self._store: _WatchedMemoryStore | _WatchedSQLStore
        self._scheduler: Scheduler

    def open(self, setup: Setup) -> None:
        if setup.file is None:
            self._store = _WatchedMemoryStore(self._written)
        else:
            durability = "full" if setup.durable else "normal"
            self._store = _WatchedSQLStore(
                f"sqlite:///{setup.file}", self._written, durability=durability
            )
        executors = {"threadpool": ThreadPoolExecutor(max_workers=THREADS)}
        self._scheduler = Scheduler(self._store, executors=executors)
        self._scheduler.start(paused=True)

    def add_once(self, function: Function, count: int, due: datetime) -> None:
        self._written.wanted = count
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

    def add_secondly(self, function: Function, count: int, start: datetime) -> None:
        secondly = {"fn": function, "trigger": "interval", "seconds": 1}
        self._add_in_bulk(
            {
                **secondly,
                "id": f"secondly-{number}",
                "args": [number],
                "start_at": start + timedelta(seconds=number / count),
            }
            for number in range(count)
        )

    def _add_in_bulk(self, tasks: Iterable[Mapping[str, Any]]) -> None:
        rest = iter(tasks)
        while some := list(islice(rest, _BULK)):
            self._scheduler.add_tasks(some)

    def stored(self) -> int:
        return sum(self._store.counts().values())

    def resume(self) -> None:
        self._scheduler.resume()

    def settle(self, count: int, timeout_s: float) -> float | None:
        if not self._written.wait(timeout_s):
            raise TimeoutError("not all runs were written")
        completed = frozenset({RunState.COMPLETED})
        runs = self._store.find_runs(RunQuery(states=completed, limit=count + 1))
        if len(runs) != count or len({run.task_id for run in runs}) != count:
            raise AssertionError(f"{len(runs)} records of {count} runs")
        return self._written.written_at

    def close(self) -> None:
        report = self._scheduler.stop()
        assert report.clean, report


def make() -> Tickwork:
    """Return one that isn't open yet."""
    return Tickwork()
