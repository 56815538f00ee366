"""Create locks."""

from typing import Any

import sqlalchemy as sa
from alembic import context, op
from sqlalchemy.dialects.mysql import LONGTEXT

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    prefix = context.config.attributes["prefix"]
    table, index = f"{prefix}locks", f"{prefix}ix_locks_old"
    # MySQL commits each statement by itself: there, what an attempt that ended half way has left is
    # not created again.
    if not sa.inspect(op.get_bind()).has_table(table):
        _create(table)
    if index not in {each["name"] for each in sa.inspect(op.get_bind()).get_indexes(table)}:
        op.create_index(index, table, ["forgotten_us", "expires_us"])


def _number(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False)


def _word() -> sa.types.TypeEngine[str]:
    """Return a short text that is compared character by character."""
    return sa.String(191).with_variant(sa.String(191, collation="C"), "postgresql")


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
        sa.Column("name", _word(), primary_key=True),
        sa.Column("owner", _word(), nullable=False),
        sa.Column("about", _text(), nullable=False),
        _number("fence"),
        _number("acquired_us"),
        _number("expires_us"),
        _number("kept_us"),
        _number("forgotten_us"),
        **options,
    )
