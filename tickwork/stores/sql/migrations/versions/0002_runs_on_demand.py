"""Add runs of their own definition, ranks, keys, ends on demand, and what tasks count."""

from typing import Any

import sqlalchemy as sa
from alembic import context, op
from sqlalchemy.dialects.mysql import LONGTEXT

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    prefix = context.config.attributes["prefix"]
    _add(f"{prefix}tasks", [_count("made"), _count("streak")])
    _add(
        f"{prefix}runs",
        [
            sa.Column("definition", _text()),
            _count("rank"),
            sa.Column("key", _word(191)),
            _count("key_limit"),
            sa.Column("held_key", _word(191)),
            sa.Column("awaited_key", _word(191)),
            sa.Column("gated_us", sa.BigInteger),
            sa.Column("cancel_us", sa.BigInteger),
            sa.Column("expires_us", sa.BigInteger),
            sa.Column("progress", _text()),
            sa.Column("log", _text()),
        ],
    )
    _index_runs(prefix)
    _create_gate(prefix)


def _count(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False, server_default="0")


def _word(length: int) -> sa.types.TypeEngine[str]:
    """Return a short text that is compared character by character."""
    return sa.String(length).with_variant(sa.String(length, collation="C"), "postgresql")


def _text() -> sa.types.TypeEngine[str]:
    """Return a text of any length, compared as a word is."""
    return (
        sa.Text()
        .with_variant(sa.Text(collation="C"), "postgresql")
        .with_variant(LONGTEXT(), "mysql", "mariadb")
    )


def _add(table: str, columns: list[sa.Column[int] | sa.Column[str]]) -> None:
    """Add columns.

    MySQL commits each statement by itself: there, what an attempt that ended half way has left is
    not added again.
    """
    known = {each["name"] for each in sa.inspect(op.get_bind()).get_columns(table)}
    for column in columns:
        if column.name not in known:
            op.add_column(table, column)


def _index_runs(prefix: str) -> None:
    table = f"{prefix}runs"
    known = {each["name"]: each for each in sa.inspect(op.get_bind()).get_indexes(table)}
    of_node = f"{prefix}ix_runs_node"
    if of_node in known and known[of_node]["column_names"] == ["node"]:
        op.drop_index(of_node, table)
        del known[of_node]
    for name, columns, condition in (
        ("node", ["node", "cancel_us"], "node IS NOT NULL"),
        (
            "ready",
            ["suspect", "executor", "rank", "available_us"],
            "available_us IS NOT NULL AND node IS NULL",
        ),
        ("held_key", ["held_key"], "held_key IS NOT NULL"),
        ("awaited_key", ["awaited_key", "rank", "gated_us"], "awaited_key IS NOT NULL"),
        ("expires", ["expires_us"], "expires_us IS NOT NULL"),
    ):
        if f"{prefix}ix_runs_{name}" not in known:
            # Of some rows; where a database has no such index, of all rows.
            where = sa.text(condition)
            op.create_index(
                f"{prefix}ix_runs_{name}",
                table,
                columns,
                sqlite_where=where,
                postgresql_where=where,
            )


def _create_gate(prefix: str) -> None:
    """Make the row that is locked by who decides about keys."""
    name = f"{prefix}counters"
    if not sa.inspect(op.get_bind()).has_table(name):
        mariadb = getattr(op.get_bind().dialect, "is_mariadb", False)
        # Character by character, as everywhere.
        collation = "utf8mb4_nopad_bin" if mariadb else "utf8mb4_0900_bin"
        options: dict[str, Any] = {}
        for dialect in ("mysql", "mariadb"):
            options[f"{dialect}_engine"] = "InnoDB"
            options[f"{dialect}_charset"] = "utf8mb4"
            options[f"{dialect}_collate"] = collation
        op.create_table(
            name,
            sa.Column("name", _word(64), primary_key=True),
            sa.Column("value", sa.BigInteger, nullable=False),
            **options,
        )
    counters = sa.table(name, sa.column("name"), sa.column("value"))
    there = sa.select(counters.c.name).where(counters.c.name == "gate")
    if op.get_bind().execute(there).scalar() is None:
        op.bulk_insert(counters, [{"name": "gate", "value": 0}])
