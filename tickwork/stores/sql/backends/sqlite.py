"""SQLite.

The write-ahead log lets readers go on beside the one writer; every writing transaction begins as
one (BEGIN IMMEDIATE), because a transaction that has read and then wants to write can't wait for
another writer, it can only fail. `synchronous=FULL` makes a commit survive a power cut; `NORMAL`
survives the crash of the process only, in exchange for not waiting for the disk.
"""

import json
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from threading import Event
from time import monotonic
from typing import Any, ClassVar

from sqlalchemy import (
    Connection,
    Engine,
    Executable,
    bindparam,
    create_engine,
    event,
    func,
    select,
    update,
)
from sqlalchemy.engine import URL
from sqlalchemy.engine.interfaces import DBAPICursor

from tickwork.errors import InvalidInputError, NotFoundError
from tickwork.stores.sql.backends.base import Backend
from tickwork.stores.sql.schema import Tables

__all__ = ["SQLite"]

_READING = "tickwork_reading"
_CONFIGURED = "tickwork_configured"
_PAUSE_S = 0.01
_FEW = 400
"""Up to how many values are parameters of their own: SQLite once allowed 999."""


class SQLite(Backend):
    """A database in a file."""

    driver: ClassVar[str] = "pysqlite"
    reading: ClassVar[Mapping[str, Any]] = {_READING: True}

    def __init__(self, synchronous: str) -> None:
        self._synchronous = synchronous

    def make_engine(self, url: URL) -> Engine:
        _refuse_memory(url)
        return create_engine(url)

    def adopt(self, engine: Engine, *, ours: bool) -> Engine:
        _refuse_memory(engine.url)
        # A view of the engine: what we listen to there is no concern of its other users.
        view = engine.execution_options()
        event.listen(view, "engine_connect", self._configure)
        event.listen(view, "begin", _begin)
        return view

    def _configure(self, connection: Connection) -> None:
        if connection.info.get(_CONFIGURED) == self._synchronous:
            return
        cursor = connection.connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout={int(1_000 * self.lock_s)}")
        (mode,) = cursor.execute("PRAGMA journal_mode").fetchone()
        if mode != "wal":
            self._log_ahead(cursor)
        cursor.execute(f"PRAGMA synchronous={self._synchronous}")
        cursor.close()
        # Last: a connection of which this failed is told again.
        connection.info[_CONFIGURED] = self._synchronous

    def _log_ahead(self, cursor: DBAPICursor) -> None:
        """Have the database use a write-ahead log.

        That asks for the file alone, and doesn't wait for those who have it open, as others do that
        are just being started.
        """
        until = monotonic() + self.lock_s
        while True:
            try:
                cursor.execute("PRAGMA journal_mode=WAL")
            except sqlite3.OperationalError:
                if monotonic() >= until:
                    raise
                _pause()
            else:
                return

    def is_without(self, url: URL, table: str) -> bool:
        name = url.database or ""
        if name.startswith("file:"):
            return False
        path = Path(name)
        if not path.exists():
            raise NotFoundError(f"there is no database {name}; the scheduler that uses it makes it")
        try:
            # Opened as usual, it would be made a database with a write-ahead log.
            address = f"{path.absolute().as_uri()}?mode=ro"
            with closing(sqlite3.connect(address, uri=True)) as connection:
                known = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?"
                return connection.execute(known, (table,)).fetchone() is None
        except sqlite3.Error:
            # Whatever is wrong with it, using it says it better.
            return False

    def next_fence(self, tables: Tables) -> Sequence[Executable]:
        counters = tables.counters
        mine = counters.c.name == "fence"
        counted = update(counters).where(mine).values(value=counters.c.value + 1)
        return counted, select(counters.c.value).where(mine)

    def listed(self, name: str, values: Sequence[str]) -> Any:
        if len(values) <= _FEW:
            return None
        array = func.json_each(bindparam(name, json.dumps(values))).table_valued(
            "value", name="listed"
        )
        return select(array.c.value)


def _pause() -> None:
    Event().wait(_PAUSE_S)


def _begin(connection: Connection) -> None:
    # The driver begins transactions of its own before writes only, and not within ours.
    reading = connection.get_execution_options().get(_READING, False)
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")


def _refuse_memory(url: URL) -> None:
    if url.host:
        raise InvalidInputError(f"{url}: a file takes three slashes, sqlite:///tasks.db")
    database = url.database or ":memory:"
    if ":memory:" in database or url.query.get("mode") == "memory":
        raise InvalidInputError(
            f"{url} is a database in memory, which threads and processes can't share; "
            "use memory:// or name a file: sqlite:///tasks.db"
        )
