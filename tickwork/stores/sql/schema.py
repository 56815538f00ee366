"""The tables, as the newest migration leaves them.

Instants are integers of microseconds. A task has a `due_us` and a run an `available_us` exactly
while somebody should look at it, so that the two indexes which every wake-up goes through hold
what is waiting and nothing of what is stored besides.
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    false,
)

__all__ = ["HEAD", "Tables", "tables"]

HEAD = "0001"
"""The migration that these tables correspond to."""

_ID = 191
_WORD = 64


@dataclass(frozen=True, slots=True)
class Tables:
    """The tables of one store."""

    metadata: MetaData
    tasks: Table
    runs: Table
    nodes: Table
    counters: Table
    """Numbers of SQLite's, by name."""
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
    _partial(prefix, "runs_node", table.c.node)
    _partial(prefix, "runs_queued", table.c.queued_us, table.c.task_id)
    return table


def _partial(prefix: str, name: str, column: Column[Any], *before: Column[str]) -> None:
    """Index the rows that have a value in `column`; where a database can't, index all."""
    present = column.is_not(None)
    Index(f"{prefix}ix_{name}", *before, column, sqlite_where=present, postgresql_where=present)


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
