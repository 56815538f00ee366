"""Not a workload: fills the store for those that need many stored tasks.

One task is overdue, all others are due in an hour or later. One of these is added as anybody adds
it, and copied by the database, or to the server: to add a million one by one would take a quarter
of an hour that nobody measures, and what isn't due is never looked into.
"""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from bench.contenders import Contender, Setup
from bench.databases import libpq_address
from bench.spec import Spec
from bench.work import noop_coroutine, noop_function
from bench.workloads.stage import on_stage

__all__ = ["measure"]


class _Table(NamedTuple):
    """Where tasks are kept: a table, the columns that say when they are due, and their unit."""

    name: str
    due: tuple[str, ...]
    per_s: int


_TABLES = {
    "tickwork": _Table("tickwork_tasks", ("fire_us", "due_us"), 1_000_000),
    "apscheduler": _Table("apscheduler_jobs", ("next_run_time",), 1),
    "apscheduler4": _Table("schedules", ("next_fire_time",), 1_000_000),
}
_COPY = """
INSERT INTO {table} ({columns})
WITH RECURSIVE numbers (n) AS (
    SELECT CAST(1 AS BIGINT) UNION ALL SELECT n + 1 FROM numbers WHERE n + 1 < {count}
)
SELECT {values} FROM numbers, (SELECT * FROM {table} LIMIT 1) AS model
"""
_AT_ONCE = 10_000


def measure(spec: Spec) -> dict[str, Any]:
    """Fill the store."""
    return on_stage(spec, lambda made: _fill(made, spec), _end)


def _fill(made: Contender, spec: Spec) -> None:
    assert spec.place is not None
    made.open(Setup(spec.store, spec.place, spec.work))
    function = noop_coroutine if spec.work == "coroutine" else noop_function
    if spec.contender == "bare" or (spec.store == "redis" and spec.contender == "tickwork"):
        made.add_hourly(function, spec.count - 1, bulk=True)
    else:
        made.add_hourly(function, 1)
        _COPIERS[spec.store](spec, spec.place)
    made.add_once(function, 1, datetime.now(UTC) - timedelta(seconds=1))


def _end(made: Contender, _: None) -> dict[str, Any]:
    made.close()
    return {}


def _copy_in_sqlite(spec: Spec, place: str) -> None:
    table = _TABLES[spec.contender]
    with closing(sqlite3.connect(place)) as connection:
        described = connection.execute(f"PRAGMA table_info({table.name})")
        columns = [row[1] for row in described]
        with connection:
            connection.execute(_statement(spec, columns, "n * {per_s}"))
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _copy_in_postgresql(spec: Spec, place: str) -> None:
    import psycopg

    with psycopg.connect(libpq_address(place), autocommit=True) as connection:
        described = connection.execute(
            "SELECT column_name, data_type FROM information_schema.columns WHERE table_name = %s",
            [_TABLES[spec.contender].name],
        )
        types: dict[str, str] = dict(described.fetchall())
        instants = types[_TABLES[spec.contender].due[0]].startswith("timestamp")
        later = "n * interval '1 second'" if instants else "n * {per_s}"
        connection.execute(_statement(spec, list(types), later).encode())
        # Written out before anything is measured.
        connection.execute("CHECKPOINT")


def _statement(spec: Spec, columns: list[str], later: str) -> str:
    """Return the statement that copies the only task, each copy due a second after the other."""
    table = _TABLES[spec.contender]
    later = later.format(per_s=table.per_s)
    values = {"id": "model.id || '-' || CAST(n AS VARCHAR(20))"} | {
        name: f"model.{name} + {later}" for name in table.due
    }
    return _COPY.format(
        table=table.name,
        count=spec.count - 1,
        columns=", ".join(f'"{name}"' for name in columns),
        values=", ".join(values.get(name, f'model."{name}"') for name in columns),
    )


def _copy_in_redis(spec: Spec, place: str) -> None:
    """Copy the only job of APScheduler 3."""
    import redis

    with redis.Redis.from_url(place) as client:
        jobs: Any = client.hgetall("apscheduler.jobs")
        ((id_, state),) = jobs.items()
        due: Any = client.zscore("apscheduler.run_times", id_)
        for begin in range(1, spec.count - 1, _AT_ONCE):
            numbers = range(begin, min(begin + _AT_ONCE, spec.count - 1))
            with client.pipeline(transaction=False) as pipeline:
                copies = {f"{id_.decode()}-{number}": number for number in numbers}
                pipeline.hset("apscheduler.jobs", mapping=dict.fromkeys(copies, state))
                times = {name: due + number for name, number in copies.items()}
                pipeline.zadd("apscheduler.run_times", times)
                pipeline.execute()


_COPIERS: dict[str, Callable[[Spec, str], None]] = {
    "sqlite": _copy_in_sqlite,
    "postgresql": _copy_in_postgresql,
    "redis": _copy_in_redis,
}
