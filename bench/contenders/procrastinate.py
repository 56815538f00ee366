"""Procrastinate: a queue on PostgreSQL; its worker runs on an event loop of its own.

It keeps its finished jobs, as it does by default.
"""

# ruff: noqa: D102  what the methods do is said once, in `bench.contenders`

import asyncio
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from procrastinate import App, PsycopgConnector

from bench.contenders import Function, Setup
from bench.contenders.own_loop import OwnLoop
from bench.databases import libpq_address
from bench.work import FUNCTIONS

__all__ = ["Procrastinate", "make"]

_BULK = 1_000
_CONCURRENCY = 10


class Procrastinate:
    """A queue of procrastinate's and, once resumed, its worker."""

    def __init__(self) -> None:
        self._loop = OwnLoop()
        self._app: Any = None
        self._tasks: dict[Function, Any] = {}
        self._worker: asyncio.Task[None] | None = None

    def open(self, setup: Setup) -> None:
        connector = PsycopgConnector(conninfo=libpq_address(setup.place), max_size=_CONCURRENCY + 2)
        self._app = App(connector=connector)
        self._tasks = {
            function: self._app.task(name=function.__name__)(function) for function in FUNCTIONS
        }
        self._loop.call(self._open())

    async def _open(self) -> None:
        await self._app.open_async()
        tables = "SELECT to_regclass('procrastinate_jobs') IS NOT NULL AS made"
        if not (await self._app.connector.execute_query_one_async(tables))["made"]:
            await self._app.schema_manager.apply_schema_async()

    def add_once(self, function: Function, count: int, due: datetime) -> None:
        self._loop.call(self._defer(function, count, due))

    def add_hourly(self, function: Function, count: int, *, bulk: bool = False) -> None:
        due = datetime.now(UTC) + timedelta(hours=1)
        adding = self._defer if bulk else self._defer_each
        self._loop.call(adding(function, count, due))

    async def _defer(self, function: Function, count: int, due: datetime) -> None:
        at = self._tasks[function].configure(schedule_at=due)
        for some in range(0, count, _BULK):
            await at.batch_defer_async(*[{}] * min(_BULK, count - some))

    async def _defer_each(self, function: Function, count: int, due: datetime) -> None:
        task = self._tasks[function]
        for _ in range(count):
            await task.configure(schedule_at=due).defer_async()

    def add_secondly(self, function: Function, count: int, start: datetime, end: datetime) -> None:
        raise NotImplementedError("its periodic jobs are declared in code, not stored")

    def submit(self, function: Function, number: int) -> None:
        self._loop.call(self._tasks[function].defer_async(number=number))

    def stored(self) -> int:
        counted = self._app.connector.execute_query_one_async(
            "SELECT count(*) AS jobs FROM procrastinate_jobs"
        )
        stored: int = self._loop.call(counted)["jobs"]
        return stored

    def resume(self) -> None:
        self._loop.call(self._start())

    async def _start(self) -> None:
        working = self._app.run_worker_async(
            concurrency=_CONCURRENCY, install_signal_handlers=False
        )
        self._worker = asyncio.create_task(working)

    def settle(self, count: int, timeout_s: float) -> float | None:
        return None

    def close(self) -> None:
        self._loop.call(self._stop())
        self._loop.close()

    async def _stop(self) -> None:
        if self._worker is not None:
            self._worker.cancel()
            with suppress(asyncio.CancelledError):
                await self._worker
        await self._app.close_async()


def make() -> Procrastinate:
    """Return one that isn't open yet."""
    return Procrastinate()
