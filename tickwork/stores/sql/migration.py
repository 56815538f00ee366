"""Bringing a database to the newest schema, through alembic.

Alembic is only imported where there is something to do; a database that is up to date is
recognised by one query.
"""

from pathlib import Path

from sqlalchemy import Connection, column, inspect, select, table

from tickwork.errors import NotFoundError, StoreError
from tickwork.stores.sql.database import Database
from tickwork.stores.sql.schema import HEAD

__all__ = ["MIGRATIONS", "current_version", "upgrade"]

MIGRATIONS = Path(__file__).with_name("migrations")


def current_version(connection: Connection, prefix: str) -> str | None:
    """Return the version of the schema that a database has, or None where it has none."""
    name = f"{prefix}version"
    if not inspect(connection).has_table(name):
        return None
    return connection.execute(select(column("version_num")).select_from(table(name))).scalar()


def upgrade(database: Database, prefix: str, *, create: bool) -> None:
    """Create the schema or bring it up to date, once, whoever else tries at the same time.

    Raises:
        NotFoundError: there is no schema, or an old one, and none is to be made.
        StoreError: a newer tickwork has been here; nothing is changed.
    """
    version = None
    if create or not database.is_without(f"{prefix}version"):
        with database.reading() as connection:
            version = current_version(connection, prefix)
    if version == HEAD:
        return
    if not create and (version is None or version < HEAD):
        what = "older tables" if version else "no tables"
        raise NotFoundError(
            f"{database.url} has {what} of tickwork (prefix {prefix!r}) in it: is it the right "
            "database, and has a scheduler of this version used it?"
        )
    with database.writing() as connection, database.backend.alone(connection, prefix):
        version = current_version(connection, prefix)
        if version == HEAD:
            return
        if version is not None and version > HEAD:
            raise StoreError(
                f"{database.url} has schema version {version}, this tickwork knows {HEAD}: "
                "update tickwork here before using this store"
            )
        _run_migrations(connection, prefix)


def _run_migrations(connection: Connection, prefix: str) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    config.attributes["prefix"] = prefix
    command.upgrade(config, "head")
