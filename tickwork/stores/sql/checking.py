"""What a database has of the schema, compared with what it should have; nothing is changed.

The steps that bring it up to date can be had as SQL, for those who apply such things by hand. They
are written without a database: the migrations look at what there is before they make anything, and
what there is is then what they have written so far.
"""

from __future__ import annotations

import re
from functools import partial
from io import StringIO
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import column, insert, inspect, literal
from sqlalchemy import table as sql_table
from sqlalchemy.engine import Dialect, Inspector, make_url

from tickwork.errors import InvalidInputError
from tickwork.stores.sql.migration import MIGRATIONS, current_version, upgrade
from tickwork.stores.sql.schema import HEAD, indexes_of, tables

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from tickwork.stores.sql.store import SQLStore

__all__ = ["SchemaState", "migration_sql", "schema_state", "upgrade_schema"]

_TABLE = re.compile(r"CREATE TABLE (\S+)")
_INDEX = re.compile(r"(CREATE(?: UNIQUE)?|DROP) INDEX (\S+)(?: ON (\S+)(?: \(([^)]*)\))?)?")


class SchemaState(NamedTuple):
    """What a database has; `version` is None where it has no tables of tickwork."""

    version: str | None
    head: str
    missing_tables: tuple[str, ...] = ()
    missing_indexes: tuple[str, ...] = ()
    missing_columns: tuple[str, ...] = ()

    @property
    def is_current(self) -> bool:
        """Whether it is as this version of tickwork wants it."""
        missing = self.missing_tables or self.missing_indexes or self.missing_columns
        return self.version == self.head and not missing


def schema_state(store: SQLStore) -> SchemaState:
    """Return what the database of a store has; the store needn't be open.

    Raises:
        NotFoundError: the database is a file that isn't there.
        StoreUnavailableError: it doesn't answer.
    """
    database, prefix = store._database, store._prefix  # noqa: SLF001  of the same package
    if database.is_without(f"{prefix}version"):
        return SchemaState(None, HEAD)
    database.open()
    try:
        with database.reading() as connection:
            return _compared(connection, prefix, some=database.backend.indexes_some)
    finally:
        database.close()


def _compared(connection: Connection, prefix: str, *, some: bool) -> SchemaState:
    version = current_version(connection, prefix)
    if version != HEAD:
        return SchemaState(version, HEAD)
    inspector = inspect(connection)
    known = set(inspector.get_table_names())
    no_tables, no_indexes, no_columns = [], [], []
    for table in tables(prefix).metadata.sorted_tables:
        if table.name not in known:
            no_tables.append(table.name)
            continue
        indexes = {each["name"] for each in inspector.get_indexes(table.name)}
        wanted = [str(each.name) for each in indexes_of(table, some=some)]
        no_indexes += [name for name in wanted if name not in indexes]
        columns = {each["name"] for each in inspector.get_columns(table.name)}
        no_columns += [f"{table.name}.{c.name}" for c in table.columns if c.name not in columns]
    found = (tuple(sorted(each)) for each in (no_tables, no_indexes, no_columns))
    return SchemaState(version, HEAD, *found)


def upgrade_schema(store: SQLStore) -> None:
    """Create the tables of a store, or bring them up to date.

    Raises:
        StoreError: a newer tickwork has been here; nothing is changed.
    """
    database, prefix = store._database, store._prefix  # noqa: SLF001  of the same package
    database.open()
    try:
        upgrade(database, prefix, create=True)
    finally:
        database.close()


def migration_sql(store: SQLStore, start: str | None = None) -> str:
    """Return the SQL that makes the tables, or brings them up to date from a version.

    Raises:
        InvalidInputError: there is no such version.
    """
    from alembic.config import Config
    from alembic.runtime.environment import EnvironmentContext
    from alembic.script import ScriptDirectory

    prefix = store._prefix  # noqa: SLF001  of the same package
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["prefix"] = prefix
    scripts = ScriptDirectory.from_config(config)
    if start is not None and start not in {each.revision for each in scripts.walk_revisions()}:
        known = ", ".join(sorted(each.revision for each in scripts.walk_revisions()))
        raise InvalidInputError(f"there is no version {start!r} of the schema; there are {known}")
    written = StringIO()

    def steps(revision: Any, context: Any) -> Any:
        context.impl.connection = _Paper(context.dialect, written)
        context.impl.bulk_insert = partial(_insert, context.impl)
        return scripts._upgrade_revs("head", revision)  # noqa: SLF001  as alembic's own command does

    with EnvironmentContext(config, scripts, fn=steps, as_sql=True) as environment:
        environment.configure(
            dialect_name=_dialect(store).name,
            dialect_opts={"paramstyle": "named"},
            version_table=f"{prefix}version",
            output_buffer=written,
        )
        environment.run_migrations()
    return _since(written.getvalue(), start)


def _insert(impl: Any, table: Any, rows: Any, **_: Any) -> None:
    """Write rows whose columns have no types, which alembic can't write as text."""
    typed = sql_table(table.name, *(column(name) for name in rows[0]))
    for row in rows:
        values = {name: literal(value) for name, value in row.items()}
        spelled = {"literal_binds": True}
        text = insert(typed).values(values).compile(dialect=impl.dialect, compile_kwargs=spelled)
        impl.static_output(f"{text};")


def _dialect(store: SQLStore) -> Dialect:
    url = make_url(store._database.url)  # noqa: SLF001  of the same package
    return url.get_dialect()()


def _since(text: str, start: str | None) -> str:
    """Return what comes behind the steps to a version."""
    if start is None:
        return text
    marks = list(re.finditer(r"^-- Running upgrade (\S*) *-> (\S+)$", text, re.MULTILINE))
    following = next((each for each in marks if each[1] == start), None)
    return "" if following is None else text[following.start() :]


class _Paper(Inspector):
    """Stands where migrations expect a connection, and knows what they have written."""

    def __init__(self, dialect: Dialect, written: StringIO) -> None:
        self.dialect = dialect
        self._written = written

    def has_table(self, table_name: str, *_: Any, **__: Any) -> bool:
        """Whether a table is written."""
        return table_name in (_bare(each) for each in _TABLE.findall(self._written.getvalue()))

    def get_columns(self, *_: Any, **__: Any) -> Any:
        """Return no columns: a migration only adds those that the ones before didn't write."""
        return []

    def get_indexes(self, table_name: str, *_: Any, **__: Any) -> Any:
        """Return the indexes of a table that are written, and not dropped again."""
        found: dict[str, dict[str, Any]] = {}
        for verb, name, table, columns in _INDEX.findall(self._written.getvalue()):
            if verb == "DROP":
                found.pop(_bare(name), None)
            elif _bare(table) == table_name:
                names = [_bare(each.strip()) for each in columns.split(",")]
                found[_bare(name)] = {"name": _bare(name), "column_names": names}
        return list(found.values())

    def execute(self, *_: Any, **__: Any) -> Any:
        """Return no rows: nothing was there before."""
        return _NoRows()


class _NoRows:
    """The answer of a database that has nothing."""

    @staticmethod
    def scalar() -> None:
        """Return no value."""


def _bare(name: str) -> str:
    """Return a name without its quotes."""
    return name.rstrip(";").strip('"`')
