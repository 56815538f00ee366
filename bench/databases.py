"""Databases for the peers, with the durability that tickwork's stores have by default."""

from typing import Any

from bench.contenders import Setup

__all__ = ["configure_sqlite", "engine_of", "libpq_address", "redis_socket"]


def engine_of(setup: Setup) -> Any:
    """Return an engine whose commits survive a power cut, or (to prepare data) don't."""
    from sqlalchemy import create_engine

    if setup.store == "postgresql":
        return create_engine(setup.place)
    engine = create_engine(f"sqlite:///{setup.place}")
    configure_sqlite(engine, durable=setup.durable)
    return engine


def configure_sqlite(engine: Any, *, durable: bool) -> None:
    """Have the connections of an engine write ahead, and wait for the disk at each commit."""
    from sqlalchemy import event

    synchronous = "FULL" if durable else "OFF"

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _record: object) -> None:
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute(f"PRAGMA synchronous={synchronous}")
        cursor.close()


def libpq_address(url: str) -> str:
    """Return SQLAlchemy's URL of a PostgreSQL database as the driver itself understands it."""
    return url.replace("postgresql+psycopg://", "postgresql://", 1)


def redis_socket(url: str) -> str:
    """Return the path of the socket that a Redis URL names."""
    return url.removeprefix("unix://")
