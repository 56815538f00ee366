"""What each kind of database does its own way; the steps of a store know nothing of it."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

from sqlalchemy import ColumnElement, Connection, Engine, Executable, FromClause
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.type_api import TypeEngine

from tickwork.errors import InvalidInputError
from tickwork.stores.sql.schema import Tables

__all__ = ["Backend"]


class Backend(ABC):
    """A kind of database; an object of it belongs to one `Database`."""

    driver: ClassVar[str]
    """The driver that we know how to use, as it is named in URLs."""

    extra: ClassVar[str | None] = None
    """The extra of ours that installs the driver."""

    reading: ClassVar[Mapping[str, Any]] = {}
    """The execution options of connections that only read."""

    place_of: ClassVar[str] = "instr"
    """The function that returns where in a text another one stands, by case; from 1, else 0."""

    indexes_some: ClassVar[bool] = True
    """Whether an index may be of some rows only."""

    infers: ClassVar[bool] = False
    """Whether it sees by itself which conditions imply that of an index of some rows."""

    copies: ClassVar[bool] = False
    """Whether the driver copies rows into tables."""

    clock: ClassVar[ColumnElement[int] | None] = None
    """The server's time, in microseconds, where there is a server."""

    connect_s: ClassVar[int] = 5
    """How long making a connection may take."""

    lock_s: ClassVar[int] = 5
    """How long a statement waits for what another transaction has locked."""

    statement_s: ClassVar[int] = 20
    """How long a server works on a statement."""

    patience_s: ClassVar[int] = 25
    """How long we wait for a sign of life: only a server that is dead or hangs takes longer."""

    idle_s: ClassVar[int] = 15
    """How long a server keeps the locks of a transaction whose client has fallen silent."""

    migration_s: ClassVar[int] = 20
    """How long to wait for another process that is making the tables."""

    def address(self, url: URL) -> URL:
        """Return a URL with the driver named."""
        dialect, _, driver = url.drivername.partition("+")
        if driver not in {"", self.driver}:
            raise InvalidInputError(
                f"the SQL store doesn't use the driver {driver!r}; say {dialect}+{self.driver}://"
            )
        return url.set(drivername=f"{url.get_backend_name()}+{self.driver}")

    def connect(self, url: URL) -> Engine:
        """Make an engine of our own, whose statements end in bounded time."""
        address = self.address(url)
        try:
            return self.make_engine(address)
        except ModuleNotFoundError as error:
            raise InvalidInputError(
                f"the driver for {address.get_backend_name()} isn't installed ({error}); "
                f"pip install 'tickwork[{self.extra}]'"
            ) from error

    @abstractmethod
    def make_engine(self, url: URL) -> Engine:
        """Make an engine for `connect`."""

    @abstractmethod
    def adopt(self, engine: Engine, *, ours: bool) -> Engine:
        """Return a view of an engine, ours or another's, that behaves as the steps expect."""

    def is_without(self, url: URL, table: str) -> bool:
        """Whether a table is known not to be there, without opening anything."""
        return False

    def is_contended(self, error: DBAPIError) -> bool:
        """Whether a transaction was only sacrificed for another one, and may begin anew."""
        return False

    @contextmanager
    def alone(self, connection: Connection, prefix: str) -> Iterator[None]:
        """Keep all others who would migrate the same tables waiting."""
        yield

    @abstractmethod
    def next_fence(self, tables: Tables) -> Sequence[Executable]:
        """Return statements, the last of which answers a number higher than all before it."""

    def listed(self, name: str, values: Sequence[str]) -> Any:
        """Return values for an `in_` as one parameter; None where that isn't needed."""
        return None

    def fresh(self, types: Sequence[TypeEngine[Any]]) -> FromClause | None:
        """Return a table of the rows in a parameter `rows`, a JSON text; None where that is slow.

        A row is an object of values named `c0`, `c1` and so on, in the order of `types`.
        """
        return None
