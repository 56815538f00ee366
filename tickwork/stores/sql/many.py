"""One statement for many rows, at the speed of the driver.

SQLAlchemy prepares the parameters of each row with care for types that need converting. Ours are
numbers, texts and truth values, which every driver takes as they are, so the statement is compiled
once and its rows go to the driver directly: a third of the time of a batch otherwise.
"""

from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any

from sqlalchemy import Connection, Delete, Insert, Update

__all__ = ["Many"]


class Many:
    """A statement that is executed for many rows, compiled for one kind of database.

    `keys` are the names of its parameters, as they stand in the rows.
    """

    __slots__ = ("_constants", "_order", "_text")

    def __init__(
        self, connection: Connection, statement: Insert | Update | Delete, keys: Sequence[str]
    ) -> None:
        columns = list(keys) if isinstance(statement, Insert) else None
        compiled = statement.compile(dialect=connection.dialect, column_keys=columns)
        self._text = str(compiled)
        self._order: Sequence[str] | None = getattr(compiled, "positiontup", None)
        named = set(keys)
        self._constants = {
            name: value for name, value in compiled.params.items() if name not in named
        }

    def execute(self, connection: Connection, rows: Sequence[Mapping[str, Any]]) -> int:
        """Execute the statement for each row; return how many rows of the table were touched."""
        given: Sequence[Mapping[str, Any]] = rows
        if self._constants:
            given = [{**self._constants, **row} for row in rows]
        if self._order is None:
            return connection.exec_driver_sql(self._text, list(given)).rowcount
        in_order = itemgetter(*self._order)
        return connection.exec_driver_sql(self._text, [in_order(row) for row in given]).rowcount
