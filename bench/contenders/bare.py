"""A bare loop over a store: locks up to 1,000 due rows, moves them on, commits, starts them.

At most every five milliseconds. Nothing but one-second tasks, no record of a run: what nobody who
keeps tasks in that store can be faster than.
"""

# ruff: noqa: D102  what the methods do is said once, in `bench.contenders`

import asyncio
import sqlite3
import threading
import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Protocol
from uuid import uuid4

from bench.contenders import Function, Setup
from bench.databases import libpq_address

__all__ = ["Bare", "make"]

_AT_ONCE = 1_000
_OFTEN_S = 0.005
_LONG_S = 3_600.0
_COLUMNS = "id varchar(40) PRIMARY KEY, number bigint, due float8, until float8"
_SCHEMA = (
    f"CREATE TABLE IF NOT EXISTS bare ({_COLUMNS})",
    "CREATE INDEX IF NOT EXISTS bare_due ON bare (due)",
)
_Row = tuple[str, int, float, float]


class _Rows(Protocol):
    """Rows of tasks: an id, a number, when it is due, and until when."""

    def add(self, rows: Sequence[_Row]) -> None:
        """Add rows."""

    def take(self, now: float) -> list[int]:
        """Move on up to a thousand due rows by a second; return their numbers."""

    def count(self) -> int:
        """Return how many rows there are."""


class Bare:
    """The loop, in a thread of its own; coroutines run on the loop of who opened it."""

    def __init__(self) -> None:
        self._rows: _Rows
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work)
        self._loop: asyncio.AbstractEventLoop
        self._function: Function
        self._tasks: set[asyncio.Task[Any]] = set()

    def open(self, setup: Setup) -> None:
        self._rows = _ROWS[setup.store](setup.place)
        self._loop = asyncio.get_running_loop()

    def add_once(self, function: Function, count: int, due: datetime) -> None:
        at = due.timestamp()
        self._add(function, [(uuid4().hex, 0, at, at) for _ in range(count)])

    def add_hourly(self, function: Function, count: int, *, bulk: bool = False) -> None:
        due = time.time() + _LONG_S
        self._add(function, [(uuid4().hex, 0, due, due) for _ in range(count)])

    def add_secondly(self, function: Function, count: int, start: datetime, end: datetime) -> None:
        begin, until = start.timestamp(), end.timestamp()
        rows = [(uuid4().hex, n, begin + n / count, until) for n in range(count)]
        self._add(function, rows)

    def _add(self, function: Function, rows: Sequence[_Row]) -> None:
        self._function = function
        self._rows.add(rows)

    def submit(self, function: Function, number: int) -> None:
        raise NotImplementedError("it has one-second tasks only")

    def stored(self) -> int:
        return self._rows.count()

    def resume(self) -> None:
        self._thread.start()

    def _work(self) -> None:
        while not self._ended.is_set():
            since = time.perf_counter()
            if numbers := self._rows.take(time.time()):
                self._loop.call_soon_threadsafe(self._start, numbers)
            self._ended.wait(max(0.0, since + _OFTEN_S - time.perf_counter()))

    def _start(self, numbers: Sequence[int]) -> None:
        for number in numbers:
            task = self._loop.create_task(self._function(number))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def settle(self, count: int, timeout_s: float) -> float | None:
        return None

    def close(self) -> None:
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()


class _SQLiteRows:
    def __init__(self, place: str) -> None:
        self._connection = sqlite3.connect(
            place, check_same_thread=False, isolation_level=None, cached_statements=10
        )
        for statement in ("PRAGMA journal_mode=WAL", "PRAGMA synchronous=FULL", *_SCHEMA):
            self._connection.execute(statement)

    def add(self, rows: Sequence[_Row]) -> None:
        self._connection.execute("BEGIN")
        self._connection.executemany("INSERT INTO bare VALUES (?, ?, ?, ?)", rows)
        self._connection.execute("COMMIT")

    def take(self, now: float) -> list[int]:
        self._connection.execute("BEGIN IMMEDIATE")
        due = self._connection.execute(
            "SELECT id, number, due, until FROM bare WHERE due <= ? ORDER BY due LIMIT ?",
            [now, _AT_ONCE],
        ).fetchall()
        moved = [(_next(row[2], row[3]), row[0]) for row in due]
        self._connection.executemany("UPDATE bare SET due = ? WHERE id = ?", moved)
        self._connection.execute("COMMIT")
        return [row[1] for row in due]

    def count(self) -> int:
        counted: int = self._connection.execute("SELECT count(*) FROM bare").fetchone()[0]
        return counted


class _PostgreSQLRows:
    def __init__(self, place: str) -> None:
        import psycopg

        self._connection = psycopg.connect(libpq_address(place))
        for statement in _SCHEMA:
            self._connection.execute(statement.encode())
        self._connection.commit()

    def add(self, rows: Sequence[_Row]) -> None:
        with self._connection.cursor().copy("COPY bare FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)
        self._connection.commit()

    def take(self, now: float) -> list[int]:
        due = self._connection.execute(
            "SELECT id, number, due, until FROM bare WHERE due <= %s ORDER BY due LIMIT %s"
            " FOR UPDATE SKIP LOCKED",
            [now, _AT_ONCE],
        ).fetchall()
        if due:
            later = [_next(row[2], row[3]) for row in due]
            self._connection.execute(
                "UPDATE bare SET due = moved.due"
                " FROM unnest(%s::varchar[], %s::float8[]) AS moved (id, due)"
                " WHERE bare.id = moved.id",
                [[row[0] for row in due], later],
            )
        self._connection.commit()
        return [row[1] for row in due]

    def count(self) -> int:
        counted = self._connection.execute("SELECT count(*) FROM bare").fetchone()
        assert counted is not None
        return int(counted[0])


class _RedisRows:
    """Nothing but the ids in the order of when they are due, which say the rest."""

    def __init__(self, place: str) -> None:
        import redis

        self._client = redis.Redis.from_url(place)

    def add(self, rows: Sequence[_Row]) -> None:
        for begin in range(0, len(rows), _AT_ONCE):
            some = rows[begin : begin + _AT_ONCE]
            due = {f"{id_}:{number}:{until}": due for id_, number, due, until in some}
            self._client.zadd("bare", due)

    def take(self, now: float) -> list[int]:
        due: Any = self._client.zrangebyscore("bare", 0, now, 0, _AT_ONCE, withscores=True)
        parts = [member.split(b":") for member, _ in due]
        if due:
            moved = zip(due, parts, strict=True)
            later = {member: _next(at, float(part[2])) for (member, at), part in moved}
            self._client.zadd("bare", later, xx=True)
        return [int(part[1]) for part in parts]

    def count(self) -> int:
        counted: Any = self._client.zcard("bare")
        return int(counted)


def _next(due: float, until: float) -> float:
    """Return when a task is due again: in a second, or, when it is over, not any more."""
    later = due + 1.0
    return later if later <= until else due + 1_000 * _LONG_S


_ROWS: dict[str, Any] = {
    "sqlite": _SQLiteRows,
    "postgresql": _PostgreSQLRows,
    "redis": _RedisRows,
}


def make() -> Bare:
    """Return one that isn't open yet."""
    return Bare()
