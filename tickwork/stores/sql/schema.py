"""The tables, as the newest migration leaves them.

Instants are integers of microseconds. A task has a `due_us` and a run an `available_us` exactly
while somebody should look at it, so that the indexes which every wake-up goes through hold what is
waiting and nothing of what is stored besides. In the same way a run's `key` stands in `held_key`
while the run holds it, and in `awaited_key` while it waits for it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    false,
    literal_column,
    true,
)

from tickwork.model.policies import TERMINAL, RunState

__all__ = ["HEAD", "UNUSUAL", "Tables", "indexes_of", "tables", "unusual"]

HEAD = "0005"
"""The migration that these tables correspond to."""

UNUSUAL = TERMINAL - {RunState.COMPLETED}
"""How runs end that don't go as planned."""

_ONLY_PARTIAL = "only_partial"
_ID = 191
_WORD = 64


def unusual(runs: Table) -> ColumnElement[bool]:
    """Return the condition of the index of unusual runs, for queries that are to use it."""
    # No parameters: from these a database can't tell which rows are meant.
    usual: list[ColumnElement[str]] = [
        literal_column(f"'{word}'") for word in sorted(frozenset(RunState) - UNUSUAL)
    ]
    # Not the others by name: SQLite would look for each of them in the index.
    return runs.c.state.not_in(usual)


def indexes_of(table: Table, *, some: bool) -> list[Index]:
    """Return the indexes that a table has in a database that can (`some`) index some rows.

    Without, those of runs that ended badly would have an entry for each run, and aren't made.
    """
    return [each for each in table.indexes if some or not each.info.get(_ONLY_PARTIAL)]


@dataclass(frozen=True, slots=True)
class Tables:
    """The tables of one store."""

    metadata: MetaData
    tasks: Table
    runs: Table
    nodes: Table
    locks: Table
    documents: Table
    counters: Table
    """Numbers by name: the fence of SQLite, and `gate`, the row that locks what keys are held."""
    fences: str
    """The name of what fences come from elsewhere: see the backends."""


def tables(prefix: str) -> Tables:
    """Return the tables whose names begin with `prefix`."""
    metadata = MetaData()
    return Tables(
        metadata,
        _tasks(metadata, prefix),
        _runs(metadata, prefix),
        _nodes(metadata, prefix),
        _locks(metadata, prefix),
        _documents(metadata, prefix),
        Table(
            f"{prefix}counters",
            metadata,
            Column("name", String(_WORD), primary_key=True),
            Column("value", BigInteger, nullable=False),
        ),
        f"{prefix}fences",
    )


def _instant(name: str) -> Column[int]:
    return Column(name, BigInteger)


def _number(name: str) -> Column[int]:
    return Column(name, BigInteger, nullable=False, default=0)


def _count(name: str) -> Column[int]:
    return Column(name, BigInteger, nullable=False, server_default="0")


def _tasks(metadata: MetaData, prefix: str) -> Table:
    table = Table(
        f"{prefix}tasks",
        metadata,
        Column("id", String(_ID), primary_key=True),
        _number("generation"),
        _number("revision"),
        Column("definition", Text, nullable=False),
        Column("declared", Text),
        Column("name", Text, nullable=False),
        Column("function", Text, nullable=False),
        Column("executor", String(_WORD), nullable=False),
        Column("trigger_kind", String(_WORD), nullable=False),
        Column("tags", Text, nullable=False),
        Column("disposable", Boolean, nullable=False),
        Column("declared_in", String(_ID)),
        Column("state", String(_WORD), nullable=False),
        _instant("fire_us"),
        _instant("due_us"),
        _number("anchor_us"),
        _instant("planned_us"),
        _instant("catchup_us"),
        _number("active"),
        _number("queued"),
        _count("made"),
        _count("streak"),
        Column("problem", Text),
        Column("paused_reason", Text),
        _number("created_us"),
        _number("updated_us"),
    )
    _partial(prefix, "tasks_due", table.c.due_us)
    _partial(prefix, "tasks_declared_in", table.c.declared_in)
    finished = table.c.state == "finished"
    Index(
        f"{prefix}ix_tasks_finished",
        table.c.updated_us,
        sqlite_where=finished,
        postgresql_where=finished,
    )
    waits = table.c.trigger_kind == "shutdown"
    Index(
        f"{prefix}ix_tasks_shutdown",
        table.c.trigger_kind,
        sqlite_where=waits,
        postgresql_where=waits,
    )
    _some(f"{prefix}ix_tasks_streak", table.c.streak > literal_column("0"), table.c.id)
    return table


def _runs(metadata: MetaData, prefix: str) -> Table:
    table = Table(
        f"{prefix}runs",
        metadata,
        Column("id", String(_WORD), primary_key=True),
        Column("task_id", String(_ID), nullable=False),
        _number("generation"),
        Column("state", String(_WORD), nullable=False),
        Column("source", String(_WORD), nullable=False),
        _instant("fire_us"),
        _instant("due_us"),
        _instant("first_us"),
        _instant("last_us"),
        _number("fire_count"),
        Column("exact", Boolean, nullable=False),
        Column("function", Text, nullable=False),
        Column("executor", String(_WORD), nullable=False),
        Column("attempt", Integer, nullable=False),
        Column("failures", Integer, nullable=False, server_default="0"),
        Column("crashes", Integer, nullable=False, server_default="0"),
        Column("suspect", Boolean, nullable=False, server_default=false()),
        _instant("available_us"),
        Column("node", String(_WORD)),
        _number("fence"),
        _number("created_us"),
        _instant("started_us"),
        _instant("finished_us"),
        Column("result", Text),
        Column("errors", Text),
        Column("reason", Text),
        Column("retry_of", String(_WORD)),
        _instant("queued_us"),
        Column("definition", Text),
        _count("rank"),
        Column("key", String(_ID)),
        _count("key_limit"),
        Column("held_key", String(_ID)),
        Column("awaited_key", String(_ID)),
        _instant("gated_us"),
        _instant("cancel_us"),
        _instant("expires_us"),
        Column("progress", Text),
        Column("log", Text),
    )
    Index(
        f"{prefix}uq_runs_slot",
        table.c.task_id,
        table.c.generation,
        table.c.fire_us,
        unique=True,
    )
    Index(f"{prefix}ix_runs_history", table.c.task_id, table.c.id)
    _partial(prefix, "runs_available", table.c.available_us)
    # What is available has no node. That the index says so keeps it from being taken for the one by
    # time alone, and all that waits from being sorted then.
    ready = table.c.available_us.is_not(None) & table.c.node.is_(None)
    Index(
        f"{prefix}ix_runs_ready",
        table.c.suspect,
        table.c.executor,
        table.c.rank,
        table.c.available_us,
        sqlite_where=ready,
        postgresql_where=ready,
    )
    _partial(prefix, "runs_node", table.c.node, after=(table.c.cancel_us,))
    _partial(prefix, "runs_queued", table.c.queued_us, table.c.task_id)
    _partial(prefix, "runs_held_key", table.c.held_key)
    order = (table.c.rank, table.c.gated_us)
    _partial(prefix, "runs_awaited_key", table.c.awaited_key, after=order)
    _partial(prefix, "runs_expires", table.c.expires_us)
    # What succeeds is in none of these.
    columns = (table.c.state, table.c.id, table.c.task_id)
    _some(f"{prefix}ix_runs_unusual", unusual(table), *columns)
    _some(f"{prefix}ix_runs_suspect", table.c.suspect.is_(true()), table.c.id)
    return table


def _some(name: str, condition: ColumnElement[bool], *columns: Column[Any]) -> None:
    """Index the rows that meet a condition, if a database can leave out the others."""
    info = {_ONLY_PARTIAL: True}
    Index(name, *columns, info=info, sqlite_where=condition, postgresql_where=condition)


def _partial(
    prefix: str,
    name: str,
    column: Column[Any],
    *before: Column[Any],
    after: Sequence[Column[Any]] = (),
) -> None:
    """Index the rows that have a value in `column`; where a database can't, index all."""
    present = column.is_not(None)
    columns = (*before, column, *after)
    Index(f"{prefix}ix_{name}", *columns, sqlite_where=present, postgresql_where=present)


def _nodes(metadata: MetaData, prefix: str) -> Table:
    return Table(
        f"{prefix}nodes",
        metadata,
        Column("id", String(_WORD), primary_key=True),
        Column("host", Text, nullable=False),
        Column("pid", BigInteger, nullable=False),
        Column("version", Text, nullable=False),
        _number("started_us"),
        _number("beat_us"),
        _number("expires_us"),
        _number("offset_us"),
        Column("executors", Text, nullable=False),
        Column("unresolved", Text, nullable=False),
    )


def _locks(metadata: MetaData, prefix: str) -> Table:
    table = Table(
        f"{prefix}locks",
        metadata,
        Column("name", String(_ID), primary_key=True),
        Column("owner", String(_ID), nullable=False),
        Column("about", Text, nullable=False),
        _number("fence"),
        _number("acquired_us"),
        _number("expires_us"),
        _number("kept_us"),
        _number("forgotten_us"),
    )
    Index(f"{prefix}ix_locks_old", table.c.forgotten_us, table.c.expires_us)
    return table


def _documents(metadata: MetaData, prefix: str) -> Table:
    table = Table(
        f"{prefix}documents",
        metadata,
        Column("kind", String(_WORD), primary_key=True),
        Column("key", String(_ID), primary_key=True),
        Column("body", Text, nullable=False),
        _number("revision"),
        _number("changed_us"),
        _instant("expires_us"),
    )
    _partial(prefix, "documents_expires", table.c.expires_us)
    return table
