"""Runs migrations on the connection, and with the table prefix, of the store that asked."""

from alembic import context

prefix = context.config.attributes["prefix"]
context.configure(
    connection=context.config.attributes["connection"],
    version_table=f"{prefix}version",
    transactional_ddl=False,
)
context.run_migrations()
