"""Not a workload: puts many tasks into a store, a few of them due.

One of every so many is due, those of a batch at one instant, so that each batch is spread over all
that is stored; the others are due much later. In SQL databases one task is added through the store
and copied by the database itself, which takes a tenth of the time.
"""

from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from sqlalchemy import Engine, MetaData, Table, create_engine, text

from bench.contenders import Setup
from tickwork.interfaces import Store
from tickwork.model.instants import SECOND
from tickwork.model.records import TaskRecord
from tickwork.model.steps import Edit
from tickwork.testing.store_contract.bench import MINUTE, T0, definition

__all__ = ["LATER_US", "Stock", "stock"]

LATER_US = 86_400 * SECOND
_AT_ONCE = 5_000

_COPY = """
INSERT INTO {table} ({columns})
WITH RECURSIVE numbers (n) AS (
    SELECT CAST(1 AS BIGINT) UNION ALL SELECT n + 1 FROM numbers WHERE n + 1 < :number
)
SELECT {values} FROM numbers, {table} AS model WHERE model.id = :model
"""
_DUE = (
    "CASE WHEN n % :apart = 0 AND n / :apart < :batches * :size"
    " THEN :now_us + (n / :apart % :batches + 1) * :minute"
    " ELSE :now_us + :later_us + n END"
)


class Stock(NamedTuple):
    """What is stored: tasks whose ids begin with `lot`, among them batches that become due."""

    lot: str
    number: int
    batches: int
    size: int

    @property
    def apart(self) -> int:
        """How far apart the tasks are that are due some time soon."""
        return self.number // (self.batches * self.size)

    def due_us(self, number: int) -> int:
        """Return how long until a task of the lot is due: one batch a minute, then the others."""
        position, between = divmod(number, self.apart)
        if between == 0 and position < self.batches * self.size:
            return (position % self.batches + 1) * MINUTE
        return LATER_US + number

    def tasks(self, now_us: int) -> Iterator[TaskRecord]:
        """Yield the tasks."""
        shared = definition()
        for number in range(self.number):
            due_us = now_us + self.due_us(number)
            yield TaskRecord(
                id=f"{self.lot}-{number}",
                generation=1,
                definition=shared,
                fire_us=due_us,
                due_us=due_us,
                created_us=T0,
                updated_us=T0,
            )


def stock(store: Store, setup: Setup, lot: Stock, now_us: int) -> None:
    """Put tasks into a store that has none of their lot; what is due is counted from `now_us`."""
    tasks = lot.tasks(now_us)
    in_database = setup.store in {"sqlite", "postgresql"}
    while some := list(islice(tasks, 1 if in_database else _AT_ONCE)):
        store.put(some, _never, str)
        if in_database:
            _copy(setup, lot, now_us)
            return


def _copy(setup: Setup, lot: Stock, now_us: int) -> None:
    """Have the database copy the first task, which is there, as often as is wanted."""
    engine = _engine(setup)
    table = Table("tickwork_tasks", MetaData(), autoload_with=engine)
    differing = {"id": ":lot || '-' || CAST(n AS VARCHAR(20))", "fire_us": _DUE, "due_us": _DUE}
    columns = [column.name for column in table.columns]
    statement = _COPY.format(
        table=table.name,
        columns=", ".join(columns),
        values=", ".join(differing.get(name, f"model.{name}") for name in columns),
    )
    parameters = {
        **lot._asdict(),
        "now_us": now_us,
        "apart": lot.apart,
        "model": f"{lot.lot}-0",
        "later_us": LATER_US,
        "minute": MINUTE,
    }
    with engine.begin() as connection:
        connection.execute(text(statement), parameters)
    if setup.store == "postgresql":
        # Written out before anything is measured.
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("CHECKPOINT"))
    engine.dispose()


def _engine(setup: Setup) -> Engine:
    url = f"sqlite:///{setup.place}" if setup.store == "sqlite" else setup.place
    return create_engine(url)


def _never(*_: TaskRecord) -> Edit:
    raise AssertionError("there were no tasks of this lot before")
