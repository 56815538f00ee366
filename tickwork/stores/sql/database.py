"""The connection to a database: engine, transactions, and the errors that may leave this package.

SQLite: the write-ahead log lets readers go on beside the one writer; every writing transaction
begins as one (BEGIN IMMEDIATE), because a transaction that has read and then wants to write can't
wait for another writer, it can only fail. `synchronous=FULL` makes a commit survive a power cut;
`NORMAL` survives the crash of the process only, in exchange for not waiting for the disk.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from sqlalchemy import Connection, Engine, Pool, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from tickwork.errors import InvalidInputError, StoreUnavailableError

__all__ = ["Database", "Durability"]

Durability = Literal["full", "normal"]

_BUSY_MS = 5_000
_READING = "tickwork_reading"
_CONFIGURED = "tickwork_configured"


class Database:
    """An engine, ours or a user's, with transactions that raise `StoreUnavailableError`."""

    def __init__(self, where: str | URL | Engine, durability: Durability) -> None:
        if durability not in {"full", "normal"}:
            raise InvalidInputError(
                f"durability={durability!r} isn't known; use 'full' (a commit survives a power "
                "cut) or 'normal' (faster, survives a crash of the process only)"
            )
        self._where = where
        self._durability = durability
        self._own: Engine | None = None
        self._engine: Engine | None = None
        self._forsaken: list[Pool] = []

    @property
    def engine(self) -> Engine:
        """The engine of an open database."""
        if self._engine is None:
            raise StoreUnavailableError("the SQL store isn't open; connect or start first")
        return self._engine

    @property
    def url(self) -> str:
        """Where the database is, for people: without its password."""
        if isinstance(self._where, Engine):
            return self._where.url.render_as_string(hide_password=True)
        return make_url(self._where).render_as_string(hide_password=True)

    def open(self) -> None:
        """Make the engine ready; connects at the first use."""
        if self._engine is not None:
            return
        url = self._where.url if isinstance(self._where, Engine) else make_url(self._where)
        if url.get_backend_name() == "sqlite":
            _refuse_memory(url)
        if isinstance(self._where, Engine):
            engine = self._where
        else:
            engine = self._own = create_engine(url)
        # A view of the engine: what we listen to there is no concern of its other users.
        self._engine = engine.execution_options()
        if url.get_backend_name() == "sqlite":
            self._prepare_sqlite(self._engine)

    def close(self) -> None:
        """Close our connections; an engine of the user's stays as it is."""
        if self._own is not None:
            self._own.dispose()
        self._own = self._engine = None

    def forsake(self) -> None:
        """Forget connections that belong to the parent of this process."""
        if self._engine is not None:
            # Kept, since closing them here would end locks and sessions that the parent has.
            self._forsaken.append(self._engine.pool)
            self._engine.dispose(close=False)

    def _prepare_sqlite(self, engine: Engine) -> None:
        synchronous = "FULL" if self._durability == "full" else "NORMAL"

        @event.listens_for(engine, "engine_connect")
        def configure(connection: Connection) -> None:
            if connection.info.get(_CONFIGURED) == synchronous:
                return
            connection.info[_CONFIGURED] = synchronous
            cursor = connection.connection.cursor()
            cursor.execute(f"PRAGMA busy_timeout={_BUSY_MS}")
            (mode,) = cursor.execute("PRAGMA journal_mode").fetchone()
            if mode != "wal":
                cursor.execute("PRAGMA journal_mode=WAL")
            cursor.execute(f"PRAGMA synchronous={synchronous}")
            cursor.close()

        @event.listens_for(engine, "begin")
        def begin(connection: Connection) -> None:
            # The driver begins transactions of its own before writes only, and not within ours.
            reading = connection.get_execution_options().get(_READING, False)
            connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Open a transaction that writes: all of the block, or nothing."""
        with _translated(), self.engine.begin() as connection:
            yield connection

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Open a transaction that sees one state of the database, and changes nothing."""
        with _translated(), self.engine.connect() as plain:
            connection = plain.execution_options(**{_READING: True})
            with connection.begin():
                yield connection


def _refuse_memory(url: URL) -> None:
    database = url.database or ":memory:"
    if ":memory:" in database or url.query.get("mode") == "memory":
        raise InvalidInputError(
            f"{url} is a database in memory, which threads and processes can't share; "
            "use memory:// or name a file: sqlite:///tasks.db"
        )


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except IntegrityError:
        # Two inserted the same key; whoever called knows what that means.
        raise
    except (SQLAlchemyError, sqlite3.Error) as error:
        # What is told to SQLite when it is connected goes to the driver directly.
        raise StoreUnavailableError(f"the database doesn't answer as it should: {error}") from error
