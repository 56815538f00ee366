"""Databases for the peers, with the durability that tickwork's stores have by default."""

from typing import Any

from sqlalchemy import Engine, create_engine, event

from bench.contenders import Setup

__all__ = ["engine_of", "libpq_address", "redis_socket"]


def engine_of(setup: Setup) -> Engine:
    """Return an engine whose commits survive a power cut, or (to prepare data) don't."""
    if setup.store == "postgresql":
        return create_engine(setup.place)
    engine = create_engine(f"sqlite:///{setup.place}")
    synchronous = "FULL" if setup.durable else "OFF"

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _record: object) -> None:
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute(f"PRAGMA synchronous={synchronous}")
        cursor.close()

    return engine


def libpq_address(url: str) -> str:
    """Return SQLAlchemy's URL of a PostgreSQL database as the driver itself understands it."""
    return url.replace("postgresql+psycopg://", "postgresql://", 1)


def redis_socket(url: str) -> str:
    """Return the path of the socket that a Redis URL names."""
    return url.removeprefix("unix://")
