"""SQLite for the peers, with the durability that tickwork's store has by default."""

from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event

__all__ = ["engine_of"]


def engine_of(file: Path, *, durable: bool = True) -> Engine:
    """Return an engine whose commits survive a power cut, or (to prepare data) don't."""
    engine = create_engine(f"sqlite:///{file}")
    synchronous = "FULL" if durable else "OFF"

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _record: object) -> None:
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute(f"PRAGMA synchronous={synchronous}")
        cursor.close()

    return engine
