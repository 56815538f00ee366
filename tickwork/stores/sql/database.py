"""The connection to a database: engine, transactions, and the errors that may leave this package.

SQLite: the write-ahead log lets readers go on beside the one writer; every writing transaction
begins as one (BEGIN IMMEDIATE), because a transaction that has read and then wants to write can't
wait for another writer, it can only fail. `synchronous=FULL` makes a commit survive a power cut;
`NORMAL` survives the crash of the process only, in exchange for not waiting for the disk.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from tickwork.errors import InvalidInputError, StoreUnavailableError

__all__ = ["Database", "Durability"]

Durability = Literal["full", "normal"]

_BUSY_MS = 5_000
_READING = "tickwork_reading"


class Database:
    """An engine, ours or a user's, with transactions that raise `StoreUnavailableError`."""

    def __init__(self, where: str | URL | Engine, durability: Durability) -> None:
        if durability not in {"full", "normal"}:
            raise InvalidInputError(
                f"durability={durability!r} isn't known; use 'full' (a commit survives a power "
                "cut) or 'normal' (faster, survives a crash of the process only)"
            )
        self._ours = not isinstance(where, Engine)
        self._where = where
        self._durability = durability
        self._engine: Engine | None = where if isinstance(where, Engine) else None
        self._prepared = False

    @property
    def engine(self) -> Engine:
        """The engine of an open database."""
        if self._engine is None or not self._prepared:
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
        if self._engine is None:
            assert not isinstance(self._where, Engine)
            self._engine = create_engine(self._where)
        if not self._prepared:
            self._prepared = True
            if self._engine.dialect.name == "sqlite":
                self._prepare_sqlite(self._engine)

    def close(self) -> None:
        """Close our connections; an engine of the user's stays as it is."""
        if self._engine is not None and self._ours:
            self._engine.dispose()
            self._engine, self._prepared = None, False

    def forsake(self) -> None:
        """Forget connections that belong to the parent of this process."""
        if self._engine is not None:
            self._engine.dispose(close=False)

    def _prepare_sqlite(self, engine: Engine) -> None:
        if engine.url.database in {None, "", ":memory:"}:
            raise InvalidInputError(
                f"{self.url} is a database in memory, which threads and processes can't share; "
                "use memory:// or name a file: sqlite:///tasks.db"
            )
        synchronous = "FULL" if self._durability == "full" else "NORMAL"

        @event.listens_for(engine, "connect")
        def configure(connection: Any, _record: object) -> None:
            # Transactions are begun by `begin` below; the driver must not begin its own.
            connection.isolation_level = None
            connection.execute(f"PRAGMA busy_timeout={_BUSY_MS}")
            (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
            if mode != "wal":
                connection.execute("PRAGMA journal_mode=WAL")
            connection.execute(f"PRAGMA synchronous={synchronous}")

        @event.listens_for(engine, "begin")
        def begin(connection: Connection) -> None:
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


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except IntegrityError:
        # Two inserted the same key; whoever called knows what that means.
        raise
    except SQLAlchemyError as error:
        raise StoreUnavailableError(f"the database doesn't answer as it should: {error}") from error
