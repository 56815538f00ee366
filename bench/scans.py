"""Which statements an idle tickwork makes in SQL, and whether one of them scans its tasks."""

import re
from typing import Any, NamedTuple, Self

from sqlalchemy import Connection, Engine, create_engine, event

from bench.contenders import Setup

__all__ = ["Plan", "Scans"]

_EXPLAINED = re.compile(r"\s*(SELECT|UPDATE|DELETE|WITH)\b", re.IGNORECASE)
_SCAN = re.compile(r"\b(?:SCAN|Seq Scan on) (?:TABLE )?tickwork_tasks\b")


class Plan(NamedTuple):
    """A statement, and how the database goes about it."""

    statement: str
    steps: str
    scans: bool


class Scans:
    """Writes down the statements of all engines in this process."""

    def __init__(self) -> None:
        self._statements: dict[str, Any] = {}

    def __enter__(self) -> Self:
        event.listen(Engine, "before_cursor_execute", self._heard)
        return self

    def __exit__(self, *_: object) -> None:
        event.remove(Engine, "before_cursor_execute", self._heard)

    def _heard(
        self,
        _connection: object,
        _cursor: object,
        statement: str,
        parameters: Any,
        _context: object,
        executemany: bool,  # noqa: FBT001  SQLAlchemy's way
    ) -> None:
        if _EXPLAINED.match(statement):
            self._statements[statement] = parameters[0] if executemany else parameters

    def plans(self, setup: Setup) -> list[Plan]:
        """Ask the database how it goes about each of them."""
        sqlite = setup.store == "sqlite"
        engine = create_engine(f"sqlite:///{setup.place}" if sqlite else setup.place)
        with engine.connect() as connection:
            plans = [
                _plan(connection, "EXPLAIN QUERY PLAN" if sqlite else "EXPLAIN", *asked)
                for asked in self._statements.items()
            ]
        engine.dispose()
        return plans


def _plan(connection: Connection, explain: str, statement: str, parameters: Any) -> Plan:
    rows = connection.exec_driver_sql(f"{explain} {statement}", parameters).all()
    steps = "\n".join(str(row[-1]) for row in rows)
    return Plan(statement, steps, bool(_SCAN.search(steps)))
