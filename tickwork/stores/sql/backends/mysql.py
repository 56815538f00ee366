"""MySQL and MariaDB, through PyMySQL.

Every transaction is READ COMMITTED: rows are locked before anything is decided about them, and
the gaps between rows, which REPEATABLE READ locks as well, would only make neighbours wait.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    Engine,
    Executable,
    FromClause,
    MetaData,
    Table,
    column,
    create_engine,
    delete,
    event,
    func,
    insert,
    literal_column,
    select,
    text,
)
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.type_api import TypeEngine

from tickwork.errors import InvalidInputError, StoreUnavailableError
from tickwork.stores.sql.backends.base import Backend
from tickwork.stores.sql.schema import Tables

__all__ = ["MySQL"]

_DEADLOCK = 1213
_FOUND_ROWS = 1 << 1
_CHECKED = "tickwork_checked"

_TYPES = {"BIGINT": "BIGINT", "INTEGER": "BIGINT", "BOOLEAN": "BOOLEAN"}


class MySQL(Backend):
    """A MySQL or MariaDB server."""

    driver: ClassVar[str] = "pymysql"
    extra: ClassVar[str | None] = "mysql"
    indexes_some: ClassVar[bool] = False
    clock: ClassVar[ColumnElement[int] | None] = literal_column(
        "TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))"
    )

    def make_engine(self, url: URL) -> Engine:
        options = {name: value for name, value in self._usual().items() if name not in url.query}
        engine = create_engine(
            url,
            isolation_level="READ COMMITTED",
            pool_timeout=self.connect_s,
            connect_args=options,
        )
        event.listen(engine, "connect", self._limit)
        return engine

    def _usual(self) -> dict[str, Any]:
        """Return how we connect where the URL doesn't say otherwise."""
        return {
            "charset": "utf8mb4",
            "connect_timeout": self.connect_s,
            "read_timeout": self.patience_s,
            "write_timeout": self.patience_s,
        }

    def _limit(self, connection: Any, _: Any) -> None:
        settings = [
            f"innodb_lock_wait_timeout = {self.lock_s}",
            # What doesn't fit is refused, never cut.
            "sql_mode = CONCAT(@@sql_mode, ',STRICT_ALL_TABLES')",
        ]
        if "MariaDB" in connection.server_version:
            settings.append(f"max_statement_time = {self.statement_s}")
            settings.append(f"idle_transaction_timeout = {self.idle_s}")
        with connection.cursor() as cursor:
            cursor.execute(f"SET SESSION {', SESSION '.join(settings)}")

    def adopt(self, engine: Engine, *, ours: bool) -> Engine:
        # Another's connections are set and set back each time, which takes two ways to the server.
        options = {} if ours else {"isolation_level": "READ COMMITTED"}
        view = engine.execution_options(**options)
        event.listen(view, "engine_connect", _check)
        return view

    def is_contended(self, error: DBAPIError) -> bool:
        return bool(error.orig and error.orig.args and error.orig.args[0] == _DEADLOCK)

    @contextmanager
    def alone(self, connection: Connection, prefix: str) -> Iterator[None]:
        mine = func.sha1(func.concat(func.database(), " tickwork ", prefix))
        if connection.execute(select(func.get_lock(mine, self.migration_s))).scalar() != 1:
            raise StoreUnavailableError("another process is still making the tables; try again")
        try:
            with _unhurried(connection):
                yield
            # Whoever comes next must see what was done.
            connection.exec_driver_sql("COMMIT")
        finally:
            # A connection that broke has let go of it.
            if not connection.invalidated:
                connection.execute(select(func.release_lock(mine)))

    def next_fence(self, tables: Tables) -> Sequence[Executable]:
        # A number that the server gives to a row is nobody else's, and keeps nobody waiting until
        # a transaction ends, as a row with the last number would.
        fences = Table(tables.fences, MetaData(), Column("value", BigInteger, primary_key=True))
        mine = func.last_insert_id()
        return insert(fences), delete(fences).where(fences.c.value == mine), select(mine)

    def fresh(self, types: Sequence[TypeEngine[Any]]) -> FromClause | None:
        columns = ", ".join(f"c{at} {_type(kind)} PATH '$.c{at}'" for at, kind in enumerate(types))
        source = text(f"SELECT * FROM JSON_TABLE(:rows, '$[*]' COLUMNS ({columns})) AS given")  # noqa: S608  our own words
        named = [column(f"c{at}", kind) for at, kind in enumerate(types)]
        return source.columns(*named).subquery("fresh")


@contextmanager
def _unhurried(connection: Connection) -> Iterator[None]:
    """Let statements take as long as they need: indexing a large table does."""
    driver: Any = connection.connection.dbapi_connection
    read_timeout = driver._read_timeout  # noqa: SLF001  there is no other way to change it later
    mariadb = "MariaDB" in driver.server_version
    limit_s = connection.exec_driver_sql("SELECT @@max_statement_time").scalar() if mariadb else 0
    driver._read_timeout = None  # noqa: SLF001  as above
    if mariadb:
        connection.exec_driver_sql("SET SESSION max_statement_time = 0")
    try:
        yield
    finally:
        driver._read_timeout = read_timeout  # noqa: SLF001  as above
        if mariadb and not connection.invalidated:
            connection.exec_driver_sql(f"SET SESSION max_statement_time = {limit_s}")


def _type(kind: TypeEngine[Any]) -> str:
    return _TYPES.get(str(kind), "LONGTEXT CHARACTER SET utf8mb4")


def _check(connection: Connection) -> None:
    """Refuse connections that would lose characters, or miscount what an update has met."""
    if _CHECKED in connection.info:
        return
    driver: Any = connection.connection.dbapi_connection
    if driver.charset != "utf8mb4":
        raise InvalidInputError(f"charset={driver.charset} loses characters; use charset=utf8mb4")
    if not driver.client_flag & _FOUND_ROWS:
        raise InvalidInputError(
            "connections must be made with client_flag=CLIENT.FOUND_ROWS, as create_engine does"
        )
    connection.info[_CHECKED] = True
