"""What the machine and its servers can do at all: limits that no scheduler gets past.

- memory: items a second from one thread through a queue to twenty, which only take them.
- SQLite, PostgreSQL, Redis: what a run needs to be written at least, in batches of a thousand, by
  the driver alone, with nothing decided and nothing executed: the task moved on, the run added, the
  run finished. Each half of that is a transaction of its own, which waits for the disk where the
  store does.
"""

import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from itertools import chain
from typing import Any

from bench.contenders import Setup
from bench.databases import libpq_address
from bench.spec import Spec
from bench.workloads.stage import fresh_store

__all__ = ["RedisRuns", "SQLiteRuns", "measure"]

_THREADS = 20
_BATCH = 1_000
_TEXT = "x" * 200
"""What a record has besides: names, instants, a definition."""

_SCHEMA = (
    "CREATE TABLE raw_tasks (id varchar(40) PRIMARY KEY, due bigint, body text)",
    "CREATE INDEX raw_due ON raw_tasks (due)",
    "CREATE TABLE raw_runs (id varchar(40) PRIMARY KEY, state text, ended bigint, body text)",
    "CREATE INDEX raw_ended ON raw_runs (ended)",
)


def measure(spec: Spec) -> dict[str, Any]:
    """Return how many a second."""
    with fresh_store(spec) as setup:
        return _LIMITS[spec.store](setup, spec.count)


def _hand_overs(_: Setup, count: int) -> dict[str, Any]:
    items: queue.SimpleQueue[int | None] = queue.SimpleQueue()
    taken = [0] * _THREADS

    def take(thread: int) -> None:
        while items.get() is not None:
            taken[thread] += 1

    threads = [threading.Thread(target=take, args=[number]) for number in range(_THREADS)]
    for thread in threads:
        thread.start()
    since = time.perf_counter()
    for item in chain(range(count), [None] * _THREADS):
        items.put(item)
    for thread in threads:
        thread.join()
    took_s = time.perf_counter() - since
    assert sum(taken) == count
    return {"per_s": count / took_s}


def _batches(count: int) -> list[list[str]]:
    ids = [f"task-{number}" for number in range(count)]
    return [ids[begin : begin + _BATCH] for begin in range(0, count, _BATCH)]


def _timed(count: int, batch: Callable[[list[str]], object]) -> float:
    since = time.perf_counter()
    for ids in _batches(count):
        batch(ids)
    return count / (time.perf_counter() - since)


class SQLiteRuns:
    """What is written of tasks and their runs, in a database of its own."""

    def __init__(self, place: str) -> None:
        self._connection = sqlite3.connect(place, check_same_thread=False)
        for statement in ("PRAGMA journal_mode=WAL", "PRAGMA synchronous=FULL", *_SCHEMA):
            self._connection.execute(statement)

    def add(self, ids: Sequence[str]) -> None:
        """Add tasks."""
        with self._connection as connection:
            rows = [(id_, 0, _TEXT) for id_ in ids]
            connection.executemany("INSERT INTO raw_tasks VALUES (?, ?, ?)", rows)

    def begin(self, ids: Sequence[str]) -> None:
        """Move tasks on, and add a run of each."""
        with self._connection as connection:
            connection.executemany(
                "UPDATE raw_tasks SET due = 1 WHERE id = ?", [(id_,) for id_ in ids]
            )
            connection.executemany(
                "INSERT INTO raw_runs VALUES (?, 'running', NULL, ?)",
                [(id_, _TEXT) for id_ in ids],
            )

    def end(self, ids: Sequence[str]) -> None:
        """End the runs, and count them on their tasks."""
        with self._connection as connection:
            connection.executemany(
                "UPDATE raw_runs SET state = 'completed', ended = 1 WHERE id = ?",
                [(id_,) for id_ in ids],
            )
            connection.executemany(
                "UPDATE raw_tasks SET due = 2 WHERE id = ?", [(id_,) for id_ in ids]
            )

    def close(self) -> None:
        """Let go of the database."""
        self._connection.close()


def _sqlite(setup: Setup, count: int) -> dict[str, Any]:
    return _as_written(SQLiteRuns(setup.place), count)


def _as_written(written: "SQLiteRuns | RedisRuns", count: int) -> dict[str, Any]:
    with closing(written) as runs:
        runs.add([id_ for ids in _batches(count) for id_ in ids])

        def batch(ids: list[str]) -> None:
            runs.begin(ids)
            runs.end(ids)

        return {"per_s": _timed(count, batch)}


def _postgresql(setup: Setup, count: int) -> dict[str, Any]:
    import psycopg

    with psycopg.connect(libpq_address(setup.place)) as connection:
        for statement in _SCHEMA:
            connection.execute(statement.encode())
        with connection.cursor().copy("COPY raw_tasks FROM STDIN") as copy:
            for ids in _batches(count):
                for id_ in ids:
                    copy.write_row((id_, 0, _TEXT))
        connection.commit()
        by_many = _timed(count, lambda ids: _by_many(connection, ids))
        connection.execute("DELETE FROM raw_runs")
        connection.commit()
        by_copy = _timed(count, lambda ids: _by_copy(connection, ids))
    return {"per_s": max(by_many, by_copy), "executemany_per_s": by_many, "copy_per_s": by_copy}


def _by_many(connection: Any, ids: list[str]) -> None:
    with connection.cursor() as cursor:
        rows = [(id_,) for id_ in ids]
        cursor.executemany("UPDATE raw_tasks SET due = 1 WHERE id = %s", rows)
        cursor.executemany(
            "INSERT INTO raw_runs VALUES (%s, 'running', NULL, %s)", [(id_, _TEXT) for id_ in ids]
        )
        connection.commit()
        cursor.executemany("UPDATE raw_runs SET state = 'completed', ended = 1 WHERE id = %s", rows)
        connection.commit()


def _by_copy(connection: Any, ids: list[str]) -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE raw_tasks SET due = 2 WHERE id = ANY(%s)", [ids])
        with cursor.copy("COPY raw_runs FROM STDIN") as copy:
            for id_ in ids:
                copy.write_row((id_, "running", None, _TEXT))
        connection.commit()
        cursor.execute(
            "UPDATE raw_runs SET state = 'completed', ended = 1 WHERE id = ANY(%s)", [ids]
        )
        connection.commit()


class RedisRuns:
    """What is written of tasks and their runs, in a Redis of its own; each step atomic."""

    def __init__(self, place: str) -> None:
        import redis

        self._client = redis.Redis.from_url(place)

    def add(self, ids: Sequence[str]) -> None:
        """Add tasks."""
        for begin in range(0, len(ids), _BATCH):
            some = ids[begin : begin + _BATCH]
            with self._client.pipeline() as pipeline:
                pipeline.mset({f"raw:task:{id_}": _TEXT for id_ in some})
                pipeline.zadd("raw:due", dict.fromkeys(some, 0))
                pipeline.execute()

    def begin(self, ids: Sequence[str]) -> None:
        """Move tasks on, and add a run of each."""
        with self._client.pipeline() as pipeline:
            pipeline.zadd("raw:due", dict.fromkeys(ids, 1))
            pipeline.mset({f"raw:task:{id_}": _TEXT for id_ in ids})
            pipeline.mset({f"raw:run:{id_}": _TEXT for id_ in ids})
            pipeline.execute()

    def end(self, ids: Sequence[str]) -> None:
        """End the runs, and count them on their tasks."""
        with self._client.pipeline() as pipeline:
            pipeline.mset({f"raw:run:{id_}": _TEXT for id_ in ids})
            pipeline.zadd("raw:ended", dict.fromkeys(ids, 1))
            pipeline.mset({f"raw:task:{id_}": _TEXT for id_ in ids})
            pipeline.execute()

    def close(self) -> None:
        """Let go of the connections."""
        self._client.close()


def _redis(setup: Setup, count: int) -> dict[str, Any]:
    return _as_written(RedisRuns(setup.place), count)


_LIMITS: Mapping[str, Callable[[Setup, int], dict[str, Any]]] = {
    "memory": _hand_overs,
    "sqlite": _sqlite,
    "postgresql": _postgresql,
    "redis": _redis,
}
