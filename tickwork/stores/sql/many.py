"""One statement for many rows, at the speed of the driver.

SQLAlchemy prepares the parameters of each row with care for types that need converting. Ours are
numbers, texts and truth values, which every driver takes as they are, so a statement is compiled
once and its rows, tuples in the order of its `keys`, go to the driver directly.

On SQLite hundreds of rows share one execution: half the time of as many executions, and most of it
without the interpreter lock, which otherwise changes hands at every row. To servers all rows go as
one JSON text, from which they make a table: one way there and back instead of one a row, and less
work here than for as many parameters. New rows are copied to PostgreSQL, which works on the first
ones while later ones are still being made.
"""

import json
import sqlite3
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import chain
from operator import itemgetter
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    ColumnElement,
    Connection,
    Insert,
    Integer,
    Table,
    Text,
    TextualSelect,
    Update,
    bindparam,
    column,
    insert,
    select,
    text,
)
from sqlalchemy.exc import DBAPIError

from tickwork.errors import InvalidInputError
from tickwork.stores.sql.backends import Backend

__all__ = ["ManyInserts", "ManyUpdates", "New"]

New = Mapping[str, ColumnElement[Any]]
"""The new values of a row by name, as expressions that a statement is written with."""

Row = Sequence[Any]

_TEXTS = {"its_id", "node", "state", "result", "errors", "reason", "progress", "log"}
"""The keys of updates whose values are texts; the others are numbers."""

_FROM = 3
"""How many rows are worth being made a JSON text."""

_TYPES = {BigInteger: "int8", Integer: "int4", Boolean: "bool"}
"""The server's names of the types of columns that aren't texts."""

_LONGEST = 4_000_000
"""How long a JSON text may become: MySQL takes statements of 16 megabytes."""

_TOGETHER = (200, 20)
"""How many rows share one execution: as often as possible the first number, then the second."""


class ManyUpdates:
    """An update that `make` writes with the new values of a row; its constants are literals."""

    __slots__ = ("_each", "_together")

    def __init__(
        self,
        connection: Connection,
        backend: Backend,
        keys: Sequence[str],
        make: Callable[[New], Update],
    ) -> None:
        self._each = _Each(connection, make({key: bindparam(key) for key in keys}), keys)
        self._together: list[_Together | _AsText] = []
        given = backend.fresh([Text() if key in _TEXTS else BigInteger() for key in keys])
        if given is not None:
            new = dict(zip(keys, given.columns, strict=True))
            self._together.append(_AsText(connection, make(new), len(keys)))
        for count in _shared(connection):
            fresh = _rows(count, len(keys)).subquery("fresh")
            new = dict(zip(keys, fresh.columns, strict=True))
            self._together.append(_Together(connection, make(new), count))

    def execute(self, connection: Connection, rows: Sequence[Row]) -> int:
        """Execute it for each row; return how many rows of the table were touched."""
        return _execute(connection, rows, self._each, self._together)


class ManyInserts:
    """An insert of rows with some columns of a table."""

    __slots__ = ("_copied", "_each", "_together")

    def __init__(
        self, connection: Connection, backend: Backend, table: Table, columns: Sequence[str]
    ) -> None:
        values: dict[str, Any] = {name: bindparam(name) for name in columns}
        self._each = _Each(connection, insert(table).values(values), columns)
        self._together: list[_Together | _AsText] = []
        self._copied = _Copied(connection, table, columns) if backend.copies else None
        given = None if backend.copies else backend.fresh([table.c[each].type for each in columns])
        if given is not None:
            all_given = insert(table).from_select(
                list(columns), select(*given.columns), include_defaults=False
            )
            self._together.append(_AsText(connection, all_given, len(columns)))
        for count in _shared(connection):
            # Without defaults: those are the database's, here as elsewhere.
            together = insert(table).from_select(
                list(columns), _rows(count, len(columns)), include_defaults=False
            )
            self._together.append(_Together(connection, together, count))

    def execute(self, connection: Connection, rows: Iterable[Row], count: int) -> None:
        """Insert `count` rows, which may be made while others are written."""
        if self._copied is not None and count >= _FROM:
            self._copied.execute(connection, rows)
        else:
            _execute(connection, list(rows), self._each, self._together)


class _Each:
    """A statement that the driver executes once a row."""

    __slots__ = ("_in_order", "_keys", "_text")

    def __init__(
        self, connection: Connection, statement: Insert | Update, keys: Sequence[str]
    ) -> None:
        compiled = statement.compile(dialect=connection.dialect)
        self._text = str(compiled)
        self._keys = tuple(keys)
        order: Sequence[str] | None = getattr(compiled, "positiontup", None)
        self._in_order: Callable[[Row], Any] = self._named
        if order is not None:
            places = [self._keys.index(name) for name in order]
            self._in_order = itemgetter(*places) if len(places) > 1 else tuple

    def _named(self, row: Row) -> dict[str, Any]:
        return dict(zip(self._keys, row, strict=True))

    def execute(self, connection: Connection, rows: Sequence[Row]) -> int:
        given = list(map(self._in_order, rows))
        # One alone needs none of what a driver does to execute many.
        return connection.exec_driver_sql(self._text, given if given[1:] else given[0]).rowcount


class _Together:
    """A statement for `count` rows at a time."""

    __slots__ = ("_text", "count")

    def __init__(self, connection: Connection, statement: Insert | Update, count: int) -> None:
        self._text = str(statement.compile(dialect=connection.dialect))
        self.count = count

    def execute(self, connection: Connection, rows: Sequence[Row]) -> int:
        values = tuple(chain.from_iterable(rows))
        return connection.exec_driver_sql(self._text, values).rowcount


class _AsText:
    """A statement for as many rows as make up one JSON text that isn't too long."""

    __slots__ = ("_names", "_positional", "_text", "count")

    def __init__(self, connection: Connection, statement: Insert | Update, width: int) -> None:
        compiled = statement.compile(dialect=connection.dialect)
        self._text = str(compiled)
        self._positional = getattr(compiled, "positiontup", None) is not None
        self._names = [f"c{at}" for at in range(width)]
        self.count = _FROM

    def execute(self, connection: Connection, rows: Sequence[Row]) -> int:
        names = self._names
        listed = [dict(zip(names, row, strict=True)) for row in rows]
        given = json.dumps(listed, ensure_ascii=False, separators=(",", ":"))
        if len(given) > _LONGEST and len(rows) > 1:
            half = len(rows) // 2
            first = self.execute(connection, rows[:half])
            return first + self.execute(connection, rows[half:])
        parameters: Any = (given,) if self._positional else {"rows": given}
        return connection.exec_driver_sql(self._text, parameters).rowcount


class _Copied:
    """A binary COPY into a table, which takes less than half the time of an INSERT of its rows."""

    __slots__ = ("_text", "_types")

    def __init__(self, connection: Connection, table: Table, columns: Sequence[str]) -> None:
        preparer = connection.dialect.identifier_preparer
        names = ", ".join(preparer.quote(name) for name in columns)
        self._text = f"COPY {preparer.format_table(table)} ({names}) FROM STDIN (FORMAT BINARY)"
        # Said to the driver, since the server converts nothing. (It may cut off an int4 that is too
        # large: those are numbers of attempts.)
        self._types = [_TYPES.get(type(table.c[name].type), "text") for name in columns]

    def execute(self, connection: Connection, rows: Iterable[Row]) -> None:
        dialect = connection.dialect
        driver = connection.connection
        try:
            with driver.cursor() as cursor, cursor.copy(self._text) as copy:  # type: ignore[attr-defined]  # psycopg's
                copy.set_types(self._types)
                for row in rows:
                    _write(copy, row)
        except dialect.loaded_dbapi.Error as error:
            # What SQLAlchemy does for statements that go through it.
            if dialect.is_disconnect(error, driver, None):
                connection.invalidate(error)
            kind = dialect.loaded_dbapi.Error
            raise DBAPIError.instance(self._text, None, error, kind, dialect=dialect) from error


def _write(copy: Any, row: Row) -> None:
    try:
        copy.write_row(row)
    except (OverflowError, TypeError, struct.error) as error:
        raise InvalidInputError(f"the database doesn't take a value: {error}") from error


def _execute(
    connection: Connection,
    rows: Sequence[Row],
    each: _Each,
    together: Sequence[_Together | _AsText],
) -> int:
    touched = done = 0
    for some in together:
        while len(rows) - done >= some.count:
            count = some.count if isinstance(some, _Together) else len(rows) - done
            touched += some.execute(connection, rows[done : done + count])
            done += count
    if done < len(rows):
        touched += each.execute(connection, rows[done:])
    return touched


def _shared(connection: Connection) -> Sequence[int]:
    """Return how many rows may share an execution."""
    # UPDATE ... FROM came with 3.33.
    takes = connection.dialect.name == "sqlite" and sqlite3.sqlite_version_info >= (3, 33)
    return _TOGETHER if takes else ()


@lru_cache(maxsize=64)
def _rows(count: int, width: int) -> TextualSelect:
    """Return a table of parameters, with the column names that SQLite gives to one."""
    row = f"({', '.join('?' * width)})"
    parameters = f"VALUES {', '.join([row] * count)}"
    return text(parameters).columns(*(column(f"column{at + 1}") for at in range(width)))
