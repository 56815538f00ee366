"""The kinds of databases that the SQL store knows."""

from typing import Literal

from sqlalchemy.engine import URL

from tickwork.errors import InvalidInputError
from tickwork.stores.sql.backends.base import Backend
from tickwork.stores.sql.backends.mysql import MySQL
from tickwork.stores.sql.backends.postgresql import PostgreSQL
from tickwork.stores.sql.backends.sqlite import SQLite

__all__ = ["Backend", "Durability", "backend_of"]

Durability = Literal["full", "normal"]


def backend_of(url: URL, durability: Durability) -> Backend:
    """Return the kind of database that a URL names."""
    name = url.get_backend_name()
    if name == "sqlite":
        return SQLite("FULL" if durability == "full" else "NORMAL")
    if name in {"postgresql", "postgres"}:
        return PostgreSQL()
    if name in {"mysql", "mariadb"}:
        return MySQL()
    raise InvalidInputError(
        f"the SQL store doesn't know databases of the kind {name!r}; "
        "it knows sqlite, postgresql, mysql and mariadb"
    )
