"""The connection to a database: engine, transactions, and the errors that leave this package."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine, Pool
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DataError, DBAPIError, IntegrityError, SQLAlchemyError

from tickwork.errors import InvalidInputError, StoreUnavailableError
from tickwork.stores.sql.backends import Backend, Durability, backend_of
from tickwork.stores.sql.hints import Hints

__all__ = ["ContendedError", "Database", "Durability"]

_HINT = "tickwork_hint"


class ContendedError(StoreUnavailableError):
    """A transaction was sacrificed so that another could go on; it may begin anew at once."""


class Database:
    """An engine, ours or a user's, with transactions that raise `StoreUnavailableError`."""

    def __init__(self, where: str | URL | Engine, durability: Durability) -> None:
        if durability not in {"full", "normal"}:
            raise InvalidInputError(
                f"durability={durability!r} isn't known; use 'full' (a commit survives a power "
                "cut) or 'normal' (faster, survives a crash of the process only)"
            )
        self._given = where if isinstance(where, Engine) else None
        self._url = where.url if isinstance(where, Engine) else _read(where)
        self.backend: Backend = backend_of(self._url, durability)
        self._own: Engine | None = None
        self._engine: Engine | None = None
        self._forsaken: list[Pool] = []
        self.hints: Hints | None = None
        """What tells others that there may be something to do, where the server passes it on."""

    @property
    def engine(self) -> Engine:
        """The engine of an open database."""
        if self._engine is None:
            raise StoreUnavailableError("the SQL store isn't open; connect or start first")
        return self._engine

    @property
    def url(self) -> str:
        """Where the database is, for people: without its password."""
        return self._url.render_as_string(hide_password=True)

    def open(self) -> None:
        """Make the engine ready; connects at the first use."""
        if self._engine is not None:
            return
        if self._given is not None:
            self.backend.address(self._url)
            self._engine = self.backend.adopt(self._given, ours=False)
        else:
            self._own = self.backend.connect(self._url)
            self._engine = self.backend.adopt(self._own, ours=True)

    def is_without(self, name: str) -> bool:
        """Whether a table is known not to be there, without opening anything.

        Raises:
            NotFoundError: the database is a file that isn't there.
        """
        return self.backend.is_without(self._url, name)

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

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Open a transaction that writes: all of the block, or nothing."""
        with self._translated():
            with self.engine.begin() as connection:
                connection.info.pop(_HINT, None)
                yield connection
                hints = self.hints if connection.info.pop(_HINT, False) else None
                told = hints is None or hints.tell(connection)
            if hints is not None and not told:
                hints.owe()

    def write(self, work: Callable[[Connection], None]) -> None:
        """Do some work in a transaction of its own."""
        with self.writing() as connection:
            work(connection)

    def hint(self, connection: Connection) -> None:
        """Let others know, once this transaction is over, that there may be something to do."""
        if self.hints is not None:
            connection.info[_HINT] = True

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Open a connection that changes nothing; each statement sees one state of the database."""
        with self._translated(), self.engine.connect() as plain:
            connection = plain.execution_options(**self.backend.reading)
            with connection.begin():
                yield connection

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except IntegrityError:
            # Two inserted the same key; whoever called knows what that means.
            raise
        except (DataError, UnicodeError) as error:
            reason = getattr(error, "orig", error)
            raise InvalidInputError(f"the database doesn't take a value: {reason}") from error
        except DBAPIError as error:
            # Without the statement, whose parameters may be many, and nobody else's concern.
            kind = ContendedError if self.backend.is_contended(error) else StoreUnavailableError
            raise kind(f"the database doesn't answer as it should: {error.orig}") from error
        except (SQLAlchemyError, sqlite3.Error) as error:
            # What is told to SQLite when it is connected goes to the driver directly.
            message = f"the database doesn't answer as it should: {error}"
            raise StoreUnavailableError(message) from error


def _read(where: str | URL) -> URL:
    try:
        return make_url(where)
    except ArgumentError as error:
        raise InvalidInputError(f"{where!r} isn't the URL of a database") from error
