"""PostgreSQL, through psycopg 3.

Every transaction is READ COMMITTED: rows are locked before anything is decided about them. What
only reads goes without a transaction, which saves two of three ways to the server and back.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import inf
from typing import Any, ClassVar

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    Executable,
    FromClause,
    bindparam,
    column,
    create_engine,
    event,
    literal_column,
    select,
    text,
)
from sqlalchemy import (
    Sequence as Numbers,
)
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.type_api import TypeEngine

from tickwork.errors import InvalidInputError
from tickwork.stores.sql.backends.base import Backend
from tickwork.stores.sql.schema import Tables

__all__ = ["PostgreSQL"]

_FEW = 8
"""How many values are named one by one: a statement for each number of them is one too many."""
_SERIALIZATION_FAILURE, _DEADLOCK = "40001", "40P01"

_TYPES = {"BIGINT": "bigint", "INTEGER": "integer", "BOOLEAN": "boolean"}


class PostgreSQL(Backend):
    """A PostgreSQL server."""

    driver: ClassVar[str] = "psycopg"
    extra: ClassVar[str | None] = "postgresql"
    reading: ClassVar[Mapping[str, Any]] = {"isolation_level": "AUTOCOMMIT"}
    place_of: ClassVar[str] = "strpos"
    infers: ClassVar[bool] = True
    copies: ClassVar[bool] = True
    clock: ClassVar[ColumnElement[int] | None] = literal_column(
        "CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS bigint)"
    )

    def address(self, url: URL) -> URL:
        if url.get_backend_name() == "postgres":
            url = url.set(drivername=url.drivername.replace("postgres", "postgresql", 1))
        return super().address(url)

    def make_engine(self, url: URL) -> Engine:
        from tickwork.stores.sql.backends.patience import PatientConnection

        options = {name: value for name, value in self._usual().items() if name not in url.query}
        if "prepare_threshold" in url.query:
            options["prepare_threshold"] = _threshold(url.query["prepare_threshold"])
            url = url.difference_update_query(["prepare_threshold"])
        engine = create_engine(
            url,
            isolation_level="READ COMMITTED",
            pool_timeout=self.connect_s,
            connect_args=options,
        )

        @event.listens_for(engine, "do_connect")
        def connect(_: Any, __: Any, words: Any, options: Any) -> Any:
            connection = PatientConnection.connect(*words, **options)
            connection.patience_s = self.patience_s
            return connection

        event.listen(engine, "connect", self._limit)
        return engine

    def _usual(self) -> dict[str, Any]:
        """Return how we connect where the URL doesn't say otherwise."""
        return {
            "application_name": "tickwork",
            "client_encoding": "utf8",
            "connect_timeout": self.connect_s,
            # A host that is gone without a word is noticed within these.
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            "tcp_user_timeout": 1_000 * self.patience_s,
        }

    def _limit(self, connection: Any, _: Any) -> None:
        limits = {
            "statement_timeout": self.statement_s,
            "lock_timeout": self.lock_s,
            "idle_in_transaction_session_timeout": self.idle_s,
        }
        calls = [f"set_config('{name}', '{limit}s', false)" for name, limit in limits.items()]
        # A plan that was made while a table was empty would read all of it for as long as nobody
        # has analysed it, however much is in it by then.
        calls.append("set_config('plan_cache_mode', 'force_custom_plan', false)")
        # What waits is in memory. Where a page that an index leads to is taken for four times as
        # dear as the next page, more plans are weighed, and a wrong one is chosen sooner.
        calls.append("set_config('random_page_cost', '1.1', false)")
        connection.autocommit = True
        connection.execute(f"SELECT {', '.join(calls)}")
        connection.autocommit = False

    def adopt(self, engine: Engine, *, ours: bool) -> Engine:
        return engine if ours else engine.execution_options(isolation_level="READ COMMITTED")

    def is_contended(self, error: DBAPIError) -> bool:
        return getattr(error.orig, "sqlstate", None) in {_SERIALIZATION_FAILURE, _DEADLOCK}

    @contextmanager
    def alone(self, connection: Connection, prefix: str) -> Iterator[None]:
        # To the end of the transaction, which is that of the migration.
        waiting = f"set_config('lock_timeout', '{self.migration_s}s', true)"
        working = "set_config('statement_timeout', '0', true)"
        connection.execute(text(f"SELECT {waiting}, {working}"))
        mine = "hashtextextended(current_schema() || ' tickwork ' || :prefix, 0)"
        connection.execute(text(f"SELECT pg_advisory_xact_lock({mine})"), {"prefix": prefix})
        driver: Any = connection.connection.dbapi_connection
        patience_s = getattr(driver, "patience_s", inf)
        # Indexing a large table takes its time.
        driver.patience_s = inf
        try:
            yield
        finally:
            driver.patience_s = patience_s

    def next_fence(self, tables: Tables) -> Sequence[Executable]:
        # A sequence keeps nobody waiting until a transaction ends, as a row would.
        return (select(Numbers(tables.fences).next_value()),)

    def listed(self, name: str, values: Sequence[str]) -> Any:
        if len(values) <= _FEW:
            return None
        array = text(f"SELECT json_array_elements_text(CAST(:{name} AS json))")
        return array.bindparams(bindparam(name, json.dumps(values))).columns(column("value"))

    def fresh(self, types: Sequence[TypeEngine[Any]]) -> FromClause | None:
        columns = ", ".join(
            f"c{at} {_TYPES.get(str(kind), 'text')}" for at, kind in enumerate(types)
        )
        source = text(f"SELECT * FROM json_to_recordset(CAST(:rows AS json)) AS given({columns})")  # noqa: S608  our own words
        named = [column(f"c{at}", kind) for at, kind in enumerate(types)]
        return source.columns(*named).subquery("fresh")


def _threshold(word: object) -> int | None:
    """Read after how many executions a statement is prepared on the server; None is never."""
    if word in {"none", "None", "off"}:
        return None
    try:
        return int(str(word))
    except ValueError as error:
        raise InvalidInputError(
            f"prepare_threshold={word!r} isn't a number of executions; use one, or 'none'"
        ) from error
