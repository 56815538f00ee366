"""Places for stores in a SQL database that is there for the whole run: prefixes of tables.

Making the tables takes longer than most tests, so those of earlier tests are emptied and used
again: a store finds its schema up to date.
"""

from itertools import count

from sqlalchemy import MetaData, Table, create_engine, delete, inspect, table
from sqlalchemy.schema import DropTable

__all__ = ["EmptyTables"]


class EmptyTables:
    """Prefixes, each of which has either empty tables or none."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._numbers = count()

    def prefix(self) -> str:
        """Return a prefix that wasn't returned before."""
        prefix = f"t{next(self._numbers)}_"
        engine = create_engine(self._url)
        with engine.begin() as connection:
            names = set(inspect(connection).get_table_names())
            for name in ("tasks", "runs", "nodes", "locks", "documents"):
                if f"{prefix}{name}" in names:
                    connection.execute(delete(table(f"{prefix}{name}")))
        engine.dispose()
        return prefix

    def unused(self) -> str:
        """Return a prefix without any tables."""
        prefix = "unused_"
        engine = create_engine(self._url)
        with engine.begin() as connection:
            for name in inspect(connection).get_table_names():
                if name.startswith(prefix):
                    connection.execute(DropTable(Table(name, MetaData())))
        engine.dispose()
        return prefix
