"""Leave room in the pages of tasks: a task that is moved on stays in its page."""

from alembic import context, op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Elsewhere a row that is written anew replaces the old one.
    bind = op.get_bind()
    if bind.dialect.name == "postgresql":
        prefix = context.config.attributes["prefix"]
        table = bind.dialect.identifier_preparer.quote(f"{prefix}tasks")
        op.execute(f"ALTER TABLE {table} SET (fillfactor = 60)")
