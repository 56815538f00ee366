"""Create tasks, runs, nodes and counters."""

import sqlalchemy as sa
from alembic import context, op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    prefix = context.config.attributes["prefix"]
    _create_tasks(prefix)
    _create_runs(prefix)
    _create_nodes(prefix)
    counters = op.create_table(
        f"{prefix}counters",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("value", sa.BigInteger, nullable=False),
    )
    op.bulk_insert(counters, [{"name": "fence", "value": 0}])


def _number(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False)


def _partial(name: str, table: str, columns: list[str], present: str) -> None:
    where = sa.text(f"{present} IS NOT NULL")
    op.create_index(name, table, columns, sqlite_where=where, postgresql_where=where)


def _create_tasks(prefix: str) -> None:
    table = f"{prefix}tasks"
    op.create_table(
        table,
        sa.Column("id", sa.String(191), primary_key=True),
        _number("generation"),
        _number("revision"),
        sa.Column("definition", sa.Text, nullable=False),
        sa.Column("declared", sa.Text),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("function", sa.Text, nullable=False),
        sa.Column("executor", sa.String(64), nullable=False),
        sa.Column("trigger_kind", sa.String(64), nullable=False),
        sa.Column("tags", sa.Text, nullable=False),
        sa.Column("disposable", sa.Boolean, nullable=False),
        sa.Column("declared_in", sa.String(191)),
        sa.Column("state", sa.String(64), nullable=False),
        sa.Column("fire_us", sa.BigInteger),
        sa.Column("due_us", sa.BigInteger),
        _number("anchor_us"),
        sa.Column("planned_us", sa.BigInteger),
        sa.Column("catchup_us", sa.BigInteger),
        _number("active"),
        _number("queued"),
        sa.Column("problem", sa.Text),
        sa.Column("paused_reason", sa.Text),
        _number("created_us"),
        _number("updated_us"),
    )
    _partial(f"{prefix}ix_tasks_due", table, ["due_us"], "due_us")
    _partial(f"{prefix}ix_tasks_declared_in", table, ["declared_in"], "declared_in")
    finished = sa.text("state = 'finished'")
    op.create_index(
        f"{prefix}ix_tasks_finished",
        table,
        ["updated_us"],
        sqlite_where=finished,
        postgresql_where=finished,
    )
    waits = sa.text("trigger_kind = 'shutdown'")
    op.create_index(
        f"{prefix}ix_tasks_shutdown",
        table,
        ["trigger_kind"],
        sqlite_where=waits,
        postgresql_where=waits,
    )


def _create_runs(prefix: str) -> None:
    table = f"{prefix}runs"
    op.create_table(
        table,
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("task_id", sa.String(191), nullable=False),
        _number("generation"),
        sa.Column("state", sa.String(64), nullable=False),
        sa.Column("source", sa.String(64), nullable=False),
        sa.Column("fire_us", sa.BigInteger),
        sa.Column("due_us", sa.BigInteger),
        sa.Column("first_us", sa.BigInteger),
        sa.Column("last_us", sa.BigInteger),
        _number("fire_count"),
        sa.Column("exact", sa.Boolean, nullable=False),
        sa.Column("function", sa.Text, nullable=False),
        sa.Column("executor", sa.String(64), nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("failures", sa.Integer, nullable=False, server_default="0"),
        sa.Column("crashes", sa.Integer, nullable=False, server_default="0"),
        sa.Column("suspect", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("available_us", sa.BigInteger),
        sa.Column("node", sa.String(64)),
        _number("fence"),
        _number("created_us"),
        sa.Column("started_us", sa.BigInteger),
        sa.Column("finished_us", sa.BigInteger),
        sa.Column("result", sa.Text),
        sa.Column("errors", sa.Text),
        sa.Column("reason", sa.Text),
        sa.Column("retry_of", sa.String(64)),
        sa.Column("queued_us", sa.BigInteger),
    )
    slot = ["task_id", "generation", "fire_us"]
    op.create_index(f"{prefix}uq_runs_slot", table, slot, unique=True)
    op.create_index(f"{prefix}ix_runs_history", table, ["task_id", "id"])
    _partial(f"{prefix}ix_runs_available", table, ["available_us"], "available_us")
    _partial(f"{prefix}ix_runs_node", table, ["node"], "node")
    _partial(f"{prefix}ix_runs_queued", table, ["task_id", "queued_us"], "queued_us")


def _create_nodes(prefix: str) -> None:
    op.create_table(
        f"{prefix}nodes",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("host", sa.Text, nullable=False),
        sa.Column("pid", sa.BigInteger, nullable=False),
        sa.Column("version", sa.Text, nullable=False),
        _number("started_us"),
        _number("beat_us"),
        _number("expires_us"),
        _number("offset_us"),
        sa.Column("executors", sa.Text, nullable=False),
        sa.Column("unresolved", sa.Text, nullable=False),
    )
