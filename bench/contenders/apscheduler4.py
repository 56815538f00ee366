"""APScheduler 4, an alpha; on an event loop of its own, where its methods are coroutines.

It hands on up to a hundred schedules at a time, and runs up to a hundred jobs at a time, by
default. `max_running_jobs` counts the jobs of a function, not those of a schedule: all our
schedules call one function, so there is no such limit here. It keeps the outcome of a job when told
how long: it isn't told. It tells other nodes of its events where there are some; that costs it a
fifth. Synchronous drivers, and more jobs at a time, make it no faster.
"""

# ruff: noqa: D102  what the methods do is said once, in `bench.contenders`

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from apscheduler import AsyncScheduler, CoalescePolicy, TaskDefaults
from apscheduler.executors.async_ import AsyncJobExecutor
from apscheduler.executors.thread import ThreadPoolJobExecutor
from apscheduler.triggers.date import DateTrigger
from apscheduler.triggers.interval import IntervalTrigger

from bench.contenders import THREADS, Function, Setup
from bench.contenders.own_loop import OwnLoop
from bench.databases import configure_sqlite, libpq_address

__all__ = ["APScheduler4", "make"]

_JOBS = 100


class APScheduler4:
    """A scheduler of APScheduler 4."""

    def __init__(self) -> None:
        self._loop = OwnLoop()
        self._scheduler: Any = None
        self._engine: Any = None

    def open(self, setup: Setup) -> None:
        self._loop.call(self._open(setup))

    async def _open(self, setup: Setup) -> None:
        executors = {
            "coroutine": AsyncJobExecutor(),
            "thread": ThreadPoolJobExecutor(max_workers=THREADS),
        }
        defaults = TaskDefaults(job_executor=setup.work, max_running_jobs=None)
        self._scheduler = AsyncScheduler(
            **self._place(setup),
            job_executors=executors,
            task_defaults=defaults,
            max_concurrent_jobs=_JOBS,
        )
        # One task must both enter and leave it.
        self._leave = asyncio.Event()
        ready = asyncio.Event()
        self._entered = asyncio.create_task(self._stay(ready))
        await ready.wait()

    async def _stay(self, ready: asyncio.Event) -> None:
        async with self._scheduler:
            ready.set()
            await self._leave.wait()

    def _place(self, setup: Setup) -> dict[str, Any]:
        if setup.store == "memory":
            return {}
        from apscheduler.datastores.sqlalchemy import SQLAlchemyDataStore
        from sqlalchemy.ext.asyncio import create_async_engine

        if setup.store == "sqlite":
            self._engine = create_async_engine(f"sqlite+aiosqlite:///{setup.place}")
            configure_sqlite(self._engine.sync_engine, durable=setup.durable)
            return {"data_store": SQLAlchemyDataStore(self._engine)}
        self._engine = create_async_engine(setup.place.replace("+psycopg:", "+asyncpg:", 1))
        place: dict[str, Any] = {"data_store": SQLAlchemyDataStore(self._engine)}
        if setup.shared:
            from apscheduler.eventbrokers.asyncpg import AsyncpgEventBroker

            place["event_broker"] = AsyncpgEventBroker(libpq_address(setup.place))
        return place

    def add_once(self, function: Function, count: int, due: datetime) -> None:
        self._loop.call(self._add(function, [DateTrigger(due) for _ in range(count)]))

    def add_hourly(self, function: Function, count: int, *, bulk: bool = False) -> None:
        start = datetime.now(UTC) + timedelta(hours=1)
        triggers = [IntervalTrigger(hours=1, start_time=start) for _ in range(count)]
        self._loop.call(self._add(function, triggers))

    def add_secondly(self, function: Function, count: int, start: datetime, end: datetime) -> None:
        triggers = [
            IntervalTrigger(
                seconds=1, start_time=start + timedelta(seconds=number / count), end_time=end
            )
            for number in range(count)
        ]
        self._loop.call(self._add(function, triggers, numbered=True))

    async def _add(
        self, function: Function, triggers: list[Any], *, numbered: bool = False
    ) -> None:
        lot = uuid4().hex
        for number, trigger in enumerate(triggers):
            await self._scheduler.add_schedule(
                function,
                trigger,
                id=f"{lot}-{number}",
                args=[number] if numbered else [],
                coalesce=CoalescePolicy.latest,
                misfire_grace_time=None,
            )

    def submit(self, function: Function, number: int) -> None:
        self._loop.call(self._scheduler.add_job(function, args=[number]))

    def stored(self) -> int:
        return len(self._loop.call(self._scheduler.get_schedules()))

    def resume(self) -> None:
        self._loop.call(self._scheduler.start_in_background())

    def settle(self, count: int, timeout_s: float) -> float | None:
        return None

    def close(self) -> None:
        self._loop.call(self._close())
        self._loop.close()

    async def _close(self) -> None:
        await self._scheduler.stop()
        self._leave.set()
        await self._entered
        if self._engine is not None:
            await self._engine.dispose()


def make() -> APScheduler4:
    """Return one that isn't open yet."""
    return APScheduler4()
