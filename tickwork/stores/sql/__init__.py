"""The store in a SQL database, through SQLAlchemy Core."""

from tickwork.stores.sql.store import SQLStore

__all__ = ["SQLStore"]
