"""APScheduler 3: its asyncio scheduler for coroutines, its background scheduler for threads."""

# ruff: noqa: D102  what the methods do is said once, in `bench.contenders`

from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from apscheduler.executors.asyncio import AsyncIOExecutor
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.schedulers.background import BackgroundScheduler

from bench.contenders import THREADS, Function, Setup
from bench.databases import engine_of, redis_socket

__all__ = ["APScheduler", "make"]


class APScheduler:
    """A scheduler of APScheduler 3."""

    def __init__(self) -> None:
        self._scheduler: Any = None

    def open(self, setup: Setup) -> None:
        coroutines = setup.work == "coroutine"
        self._scheduler = (AsyncIOScheduler if coroutines else BackgroundScheduler)(
            jobstores={"default": _store(setup)},
            executors={"default": AsyncIOExecutor() if coroutines else ThreadPoolExecutor(THREADS)},
            job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1},
            timezone="UTC",
        )
        self._scheduler.start(paused=True)

    def add_once(self, function: Function, count: int, due: datetime) -> None:
        for number in range(count):
            self._scheduler.add_job(function, "date", run_date=due, id=f"once-{number}")

    def add_hourly(self, function: Function, count: int, *, bulk: bool = False) -> None:
        for number in range(count):
            self._scheduler.add_job(function, "interval", hours=1, id=f"hourly-{number}")

    def add_secondly(self, function: Function, count: int, start: datetime, end: datetime) -> None:
        lot = uuid4().hex
        for number in range(count):
            self._scheduler.add_job(
                function,
                "interval",
                seconds=1,
                start_date=start + timedelta(seconds=number / count),
                end_date=end,
                args=[number],
                id=f"secondly-{lot}-{number}",
            )

    def submit(self, function: Function, number: int) -> None:
        raise NotImplementedError("its processes can't share a store")

    def stored(self) -> int:
        return len(self._scheduler.get_jobs())

    def resume(self) -> None:
        self._scheduler.resume()

    def settle(self, count: int, timeout_s: float) -> float | None:
        return None

    def close(self) -> None:
        self._scheduler.shutdown()


def _store(setup: Setup) -> Any:
    if setup.store == "memory":
        from apscheduler.jobstores.memory import MemoryJobStore

        return MemoryJobStore()
    if setup.store == "redis":
        from apscheduler.jobstores.redis import RedisJobStore

        return RedisJobStore(unix_socket_path=redis_socket(setup.place))
    from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore

    return SQLAlchemyJobStore(engine=engine_of(setup))


def make() -> APScheduler:
    """Return one that isn't open yet."""
    return APScheduler()
