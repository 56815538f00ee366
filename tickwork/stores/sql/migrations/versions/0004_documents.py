"""Create documents, and index what didn't go well."""

from typing import Any

import sqlalchemy as sa
from alembic import context, op
from sqlalchemy.dialects.mysql import LONGTEXT

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    prefix = context.config.attributes["prefix"]
    table, index = f"{prefix}documents", f"{prefix}ix_documents_expires"
    # MySQL commits each statement by itself: there, what an attempt that ended half way has left is
    # not created again.
    if not sa.inspect(op.get_bind()).has_table(table):
        _create(table)
    if index not in {each["name"] for each in sa.inspect(op.get_bind()).get_indexes(table)}:
        expires = sa.column("expires_us").is_not(None)
        columns = ["expires_us"]
        op.create_index(index, table, columns, sqlite_where=expires, postgresql_where=expires)
    if op.get_bind().dialect.name in {"sqlite", "postgresql"}:
        _index_trouble(prefix)


def _index_trouble(prefix: str) -> None:
    """Index some rows; MySQL would index all, which isn't worth it."""
    state: sa.ColumnClause[str] = sa.column("state", sa.String)
    usual = ["completed", "pending", "running"]
    suspect: sa.ColumnClause[bool] = sa.column("suspect", sa.Boolean)
    for table, name, columns, condition in (
        ("tasks", "streak", ["id"], sa.text("streak > 0")),
        ("runs", "unusual", ["state", "id", "task_id"], state.not_in(usual)),
        ("runs", "suspect", ["id"], suspect.is_(sa.true())),
    ):
        op.create_index(
            f"{prefix}ix_{table}_{name}",
            f"{prefix}{table}",
            columns,
            sqlite_where=condition,
            postgresql_where=condition,
        )


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


def _create(table: str) -> None:
    mariadb = getattr(op.get_bind().dialect, "is_mariadb", False)
    # Character by character, blanks at the end included.
    collation = "utf8mb4_nopad_bin" if mariadb else "utf8mb4_0900_bin"
    options: dict[str, Any] = {}
    for dialect in ("mysql", "mariadb"):
        options[f"{dialect}_engine"] = "InnoDB"
        options[f"{dialect}_charset"] = "utf8mb4"
        options[f"{dialect}_collate"] = collation
    op.create_table(
        table,
        sa.Column("kind", _word(64), primary_key=True),
        sa.Column("key", _word(191), primary_key=True),
        sa.Column("body", _text(), nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("changed_us", sa.BigInteger, nullable=False),
        sa.Column("expires_us", sa.BigInteger),
        **options,
    )
