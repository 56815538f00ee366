"""Create tasks, runs, nodes, and what fences are numbered by."""

from typing import Any

import sqlalchemy as sa
from alembic import context, op
from sqlalchemy.dialects.mysql import LONGTEXT

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    prefix = context.config.attributes["prefix"]
    _create_tasks(prefix)
    _create_runs(prefix)
    _create_nodes(prefix)
    _create_fences(prefix)


def _dialect() -> str:
    # MariaDB's dialect has a name of its own where the URL says so.
    name = op.get_bind().dialect.name
    return "mysql" if name == "mariadb" else name


def _number(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False)


def _word(length: int) -> sa.types.TypeEngine[str]:
    """Return a short text that is compared character by character."""
    return sa.String(length).with_variant(sa.String(length, collation="C"), "postgresql")


def _text() -> sa.types.TypeEngine[str]:
    """Return a text of any length, compared as a word is."""
    postgresql = sa.Text(collation="C")
    return (
        sa.Text()
        .with_variant(postgresql, "postgresql")
        .with_variant(LONGTEXT(), "mysql", "mariadb")
    )


def _table(name: str, *columns: Any, **options: Any) -> None:
    """Create a table.

    MySQL commits each statement by itself: there, what an attempt that ended half way has left is
    not created again.
    """
    if _dialect() == "mysql":
        if sa.inspect(op.get_bind()).has_table(name):
            return
        mariadb = getattr(op.get_bind().dialect, "is_mariadb", False)
        # Character by character, blanks at the end included.
        collation = "utf8mb4_nopad_bin" if mariadb else "utf8mb4_0900_bin"
        for dialect in ("mysql", "mariadb"):
            options[f"{dialect}_engine"] = "InnoDB"
            options[f"{dialect}_charset"] = "utf8mb4"
            options[f"{dialect}_collate"] = collation
    op.create_table(name, *columns, **options)


def _index(name: str, table: str, columns: list[str], **options: Any) -> None:
    """Create an index; see `_table`."""
    if _dialect() == "mysql":
        known = {each["name"] for each in sa.inspect(op.get_bind()).get_indexes(table)}
        if name in known:
            return
    op.create_index(name, table, columns, **options)


def _partial(name: str, table: str, columns: list[str], condition: str) -> None:
    """Create an index of some rows; where a database has no such index, of all rows."""
    where = sa.text(condition)
    _index(name, table, columns, sqlite_where=where, postgresql_where=where)


def _create_tasks(prefix: str) -> None:
    table = f"{prefix}tasks"
    _table(
        table,
        sa.Column("id", _word(191), primary_key=True),
        _number("generation"),
        _number("revision"),
        sa.Column("definition", _text(), nullable=False),
        sa.Column("declared", _text()),
        sa.Column("name", _text(), nullable=False),
        sa.Column("function", _text(), nullable=False),
        sa.Column("executor", _word(64), nullable=False),
        sa.Column("trigger_kind", _word(64), nullable=False),
        sa.Column("tags", _text(), nullable=False),
        sa.Column("disposable", sa.Boolean, nullable=False),
        sa.Column("declared_in", _word(191)),
        sa.Column("state", _word(64), nullable=False),
        sa.Column("fire_us", sa.BigInteger),
        sa.Column("due_us", sa.BigInteger),
        _number("anchor_us"),
        sa.Column("planned_us", sa.BigInteger),
        sa.Column("catchup_us", sa.BigInteger),
        _number("active"),
        _number("queued"),
        sa.Column("problem", _text()),
        sa.Column("paused_reason", _text()),
        _number("created_us"),
        _number("updated_us"),
    )
    _partial(f"{prefix}ix_tasks_due", table, ["due_us"], "due_us IS NOT NULL")
    declared = "declared_in IS NOT NULL"
    _partial(f"{prefix}ix_tasks_declared_in", table, ["declared_in"], declared)
    finished = ["state", "updated_us"] if _dialect() == "mysql" else ["updated_us"]
    _partial(f"{prefix}ix_tasks_finished", table, finished, "state = 'finished'")
    waits = "trigger_kind = 'shutdown'"
    _partial(f"{prefix}ix_tasks_shutdown", table, ["trigger_kind"], waits)


def _create_runs(prefix: str) -> None:
    table = f"{prefix}runs"
    _table(
        table,
        sa.Column("id", _word(64), primary_key=True),
        sa.Column("task_id", _word(191), nullable=False),
        _number("generation"),
        sa.Column("state", _word(64), nullable=False),
        sa.Column("source", _word(64), nullable=False),
        sa.Column("fire_us", sa.BigInteger),
        sa.Column("due_us", sa.BigInteger),
        sa.Column("first_us", sa.BigInteger),
        sa.Column("last_us", sa.BigInteger),
        _number("fire_count"),
        sa.Column("exact", sa.Boolean, nullable=False),
        sa.Column("function", _text(), nullable=False),
        sa.Column("executor", _word(64), nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("failures", sa.Integer, nullable=False, server_default="0"),
        sa.Column("crashes", sa.Integer, nullable=False, server_default="0"),
        sa.Column("suspect", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("available_us", sa.BigInteger),
        sa.Column("node", _word(64)),
        _number("fence"),
        _number("created_us"),
        sa.Column("started_us", sa.BigInteger),
        sa.Column("finished_us", sa.BigInteger),
        sa.Column("result", _text()),
        sa.Column("errors", _text()),
        sa.Column("reason", _text()),
        sa.Column("retry_of", _word(64)),
        sa.Column("queued_us", sa.BigInteger),
    )
    slot = ["task_id", "generation", "fire_us"]
    _index(f"{prefix}uq_runs_slot", table, slot, unique=True)
    _index(f"{prefix}ix_runs_history", table, ["task_id", "id"])
    available = "available_us IS NOT NULL"
    _partial(f"{prefix}ix_runs_available", table, ["available_us"], available)
    _partial(f"{prefix}ix_runs_node", table, ["node"], "node IS NOT NULL")
    queued = "queued_us IS NOT NULL"
    _partial(f"{prefix}ix_runs_queued", table, ["task_id", "queued_us"], queued)


def _create_nodes(prefix: str) -> None:
    _table(
        f"{prefix}nodes",
        sa.Column("id", _word(64), primary_key=True),
        sa.Column("host", _text(), nullable=False),
        sa.Column("pid", sa.BigInteger, nullable=False),
        sa.Column("version", _text(), nullable=False),
        _number("started_us"),
        _number("beat_us"),
        _number("expires_us"),
        _number("offset_us"),
        sa.Column("executors", _text(), nullable=False),
        sa.Column("unresolved", _text(), nullable=False),
    )


def _create_fences(prefix: str) -> None:
    dialect = _dialect()
    if dialect == "postgresql":
        op.execute(sa.schema.CreateSequence(sa.Sequence(f"{prefix}fences")))
        # Goes when the table goes.
        quote = op.get_bind().dialect.identifier_preparer.quote
        owner = f"{quote(f'{prefix}runs')}.fence"
        op.execute(f"ALTER SEQUENCE {quote(f'{prefix}fences')} OWNED BY {owner}")
    elif dialect == "mysql":
        number = sa.Column("value", sa.BigInteger, primary_key=True, autoincrement=True)
        _table(f"{prefix}fences", number)
    else:
        counters = op.create_table(
            f"{prefix}counters",
            sa.Column("name", sa.String(64), primary_key=True),
            sa.Column("value", sa.BigInteger, nullable=False),
        )
        op.bulk_insert(counters, [{"name": "fence", "value": 0}])
