"""Asyncz: its asyncio scheduler, which starts a loop of its own where none runs."""

# ruff: noqa: D102  what the methods do is said once, in `bench.contenders`

from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from asyncz.executors.asyncio import AsyncIOExecutor
from asyncz.executors.pool import ThreadPoolExecutor
from asyncz.schedulers.asyncio import AsyncIOScheduler

from bench.contenders import THREADS, Function, Setup
from bench.databases import engine_of, redis_socket

__all__ = ["Asyncz", "make"]

# None, its spelling of "no limit", is replaced by one second here.
_DEFAULTS = {"mistrigger_grace_time": 86_400, "coalesce": True, "max_instances": 1}


class Asyncz:
    """A scheduler of asyncz."""

    def __init__(self) -> None:
        self._scheduler: Any = None

    def open(self, setup: Setup) -> None:
        coroutines = setup.work == "coroutine"
        executor = AsyncIOExecutor() if coroutines else ThreadPoolExecutor(max_workers=THREADS)
        self._scheduler = AsyncIOScheduler(
            stores={"default": _store(setup)},
            executors={"default": executor},
            task_defaults=_DEFAULTS,
            timezone="UTC",
        )
        self._scheduler.start(paused=True)

    def add_once(self, function: Function, count: int, due: datetime) -> None:
        for number in range(count):
            self._scheduler.add_task(function, "date", run_at=due, id=f"once-{number}")

    def add_hourly(self, function: Function, count: int, *, bulk: bool = False) -> None:
        for number in range(count):
            self._scheduler.add_task(function, "interval", hours=1, id=f"hourly-{number}")

    def add_secondly(self, function: Function, count: int, start: datetime, end: datetime) -> None:
        lot = uuid4().hex
        for number in range(count):
            self._scheduler.add_task(
                function,
                "interval",
                seconds=1,
                start_at=start + timedelta(seconds=number / count),
                end_at=end,
                args=[number],
                id=f"secondly-{lot}-{number}",
            )

    def submit(self, function: Function, number: int) -> None:
        raise NotImplementedError("its processes can't share a store")

    def stored(self) -> int:
        return len(self._scheduler.get_tasks())

    def resume(self) -> None:
        self._scheduler.resume()

    def settle(self, count: int, timeout_s: float) -> float | None:
        return None

    def close(self) -> None:
        self._scheduler.shutdown()


def _store(setup: Setup) -> Any:
    if setup.store == "memory":
        from asyncz.stores.memory import MemoryStore

        return MemoryStore()
    if setup.store == "redis":
        from asyncz.stores.redis import RedisStore

        return RedisStore(unix_socket_path=redis_socket(setup.place))
    if setup.store == "file":
        from asyncz.stores.file import FileStore

        return FileStore(setup.place)
    from asyncz.stores.sqlalchemy import SQLAlchemyStore

    return SQLAlchemyStore(engine_of(setup))


def make() -> Asyncz:
    """Return one that isn't open yet."""
    return Asyncz()
