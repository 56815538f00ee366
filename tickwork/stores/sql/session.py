"""What the steps of a SQL store share: its tables, codec and clock, and small statements."""

from collections.abc import Callable, Collection, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    Select,
    Table,
    Update,
    and_,
    bindparam,
    case,
    false,
    func,
    insert,
    literal,
    select,
    true,
    update,
)

from tickwork.errors import LeaseLostError
from tickwork.interfaces import StoreEnvironment
from tickwork.model.policies import RunState
from tickwork.model.records import TaskRecord
from tickwork.model.steps import Eligibility, PlannedRun
from tickwork.stores.sql.database import Database
from tickwork.stores.sql.many import ManyInserts, ManyUpdates, New
from tickwork.stores.sql.rows import NEW_TASK, RUN, new_task_rows, task_row
from tickwork.stores.sql.schema import Tables

__all__ = ["CHUNK", "Session", "chunks", "eligible", "leasable", "met_by_most", "named"]

_Item = TypeVar("_Item")

CHUNK = 400
"""How many ids one statement names at most: SQLite once allowed 999 parameters."""


@dataclass(frozen=True, slots=True)
class Session:
    """An open SQL store, as its steps see it."""

    database: Database
    tables: Tables
    environment: StoreEnvironment
    _statements: dict[Hashable, Any] = field(default_factory=dict)
    _latest: dict[str, tuple[object, Any]] = field(default_factory=dict)

    def once(self, name: Hashable, make: Callable[[], Any]) -> Any:
        """Return a statement that is built only once: building costs more than running it."""
        statement = self._statements.get(name)
        if statement is None:
            statement = self._statements[name] = make()
        return statement

    def latest(self, name: str, of: object, make: Callable[[], Any]) -> Any:
        """Return a statement that is built anew only when what it is made `of` is another."""
        known = self._latest.get(name)
        if known is None or known[0] != of:
            known = self._latest[name] = of, make()
        return known[1]

    def update(
        self,
        connection: Connection,
        keys: Sequence[str],
        make: Callable[[New], Update],
        rows: Sequence[Sequence[Any]],
    ) -> int:
        """Execute an update, which is built only once, for rows of `keys`.

        Return how many rows of the table it met.
        """
        if not rows:
            return 0
        # The code that makes a statement is its name.
        name = f"{make.__module__}.{make.__qualname__}"
        many: ManyUpdates = self.once(
            name, lambda: ManyUpdates(connection, self.database.backend, keys, make)
        )
        return many.execute(connection, rows)

    def insert(
        self,
        connection: Connection,
        table: Table,
        columns: Sequence[str],
        rows: Iterable[Sequence[Any]],
        *,
        count: int,
    ) -> None:
        """Insert `count` rows of `columns`; raises IntegrityError where a key is taken."""
        if count:
            many: ManyInserts = self.once(
                (table.name, *columns),
                lambda: ManyInserts(connection, self.database.backend, table, columns),
            )
            many.execute(connection, rows, count)

    def insert_alone(self, table: Table, columns: Sequence[str], row: Sequence[Any]) -> bool:
        """Insert a row and hint at it, all by one statement, which is a transaction of its own.

        False where that can't be, or where it is too early for a hint. Raises IntegrityError where
        a key is taken.
        """
        hints = self.database.hints
        if hints is None or not hints.takes_turn():
            return False
        names = [f"b_{name}" for name in columns]

        def make() -> Select[Any]:
            values: dict[str, Any] = dict(zip(columns, map(bindparam, names), strict=True))
            return hints.telling(insert(table).values(values))

        statement = self.once(("alone", table.name, *columns), make)
        # Not to be read, but without a way to the server to begin, and one to commit.
        with self.database.reading() as connection:
            given = dict(zip(names, row, strict=True))
            connection.execute(statement, {**given, "sender": hints.sender})
        return True

    def living(self) -> Select[Any]:
        """Return a query that finds a node, `b_node`, if its lease holds, and keeps it so.

        Until the transaction ends: a node may be declared dead while it stands still between two
        steps; what it leased after that would be nobody's.
        """
        nodes = self.tables.nodes
        living = select(nodes.c.id).where(nodes.c.id == bindparam("b_node"), nodes.c.expires_us > 0)
        return living.with_for_update(read=True)

    def seen_alive(self, node: str, found: object) -> None:
        """Raise where `living` hasn't `found` a node."""
        if found is None:
            raise LeaseLostError(f"node {node} isn't registered (any more)")

    def require_alive(self, connection: Connection, node: str) -> None:
        """Raise unless a node's lease holds, and keep it so until the transaction ends."""
        living = self.once("living", self.living)
        self.seen_alive(node, connection.execute(living, {"b_node": node}).scalar())

    @property
    def run(self) -> tuple[Column[Any], ...]:
        """The columns of a run that its record is made of."""
        columns: tuple[Column[Any], ...] = self.once(
            "columns of a run", lambda: tuple(self.tables.runs.c[name] for name in RUN)
        )
        return columns

    def definition_of_run(self) -> ColumnElement[Any]:
        """Return a run's own definition or that of its task, as part of a statement about runs.

        Not joined: a statement that locks the runs must not lock their tasks, too.
        """
        runs, tasks = self.tables.runs, self.tables.tasks
        mine = (tasks.c.id == runs.c.task_id) & (tasks.c.generation == runs.c.generation)
        of_task = select(tasks.c.definition).where(mine).correlate(runs).scalar_subquery()
        return func.coalesce(runs.c.definition, of_task)

    def next_fence(self, connection: Connection) -> int:
        """Return a fence that is higher than all before it."""
        backend = self.database.backend
        *counting, reading = self.once("fence", lambda: backend.next_fence(self.tables))
        for each in counting:
            connection.execute(each)
        return int(connection.execute(reading).scalar_one())

    @property
    def clock(self) -> ColumnElement[int]:
        """The time by which leases are measured, as an expression."""
        clock = self.database.backend.clock
        if clock is None or self.environment.simulated:
            return literal(self.environment.now_us(), BigInteger)
        return clock

    def store_now_us(self, connection: Connection) -> int:
        """Return the time by which leases are measured."""
        return int(connection.execute(select(self.clock)).scalar_one())

    def insert_tasks(self, connection: Connection, tasks: Sequence[TaskRecord]) -> None:
        """Add new tasks."""
        rows = new_task_rows(tasks, self.environment.codec)
        self.insert(connection, self.tables.tasks, NEW_TASK, rows, count=len(tasks))

    def update_task(self, connection: Connection, task: TaskRecord) -> None:
        """Write all of a task that was read in this transaction."""
        row = task_row(task, self.environment.codec)
        table = self.tables.tasks
        connection.execute(update(table).where(table.c.id == task.id).values(row))

    def free_slots(
        self, connection: Connection, task: TaskRecord, planned: Iterable[PlannedRun]
    ) -> list[PlannedRun]:
        """Return the planned runs whose slot isn't taken."""
        planned = list(planned)
        asked = [each.fire_us for each in planned if each.fire_us is not None]
        runs = self.tables.runs
        taken: set[int] = set()
        for some in chunks(asked):
            found = select(runs.c.fire_us).where(
                runs.c.task_id == task.id,
                runs.c.generation == task.generation,
                runs.c.fire_us.in_(some),
            )
            taken.update(connection.execute(found).scalars())
        free = []
        for each in planned:
            if each.fire_us is None or each.fire_us not in taken:
                free.append(each)
                if each.fire_us is not None:
                    taken.add(each.fire_us)
        return free


def chunks(items: Sequence[_Item]) -> Iterable[Sequence[_Item]]:
    """Yield the items in pieces that fit into one statement."""
    for start in range(0, len(items), CHUNK):
        yield items[start : start + CHUNK]


def eligible(
    session: Session,
    table: Table,
    eligibility: Eligibility,
    *,
    state: ColumnElement[bool],
    task_id: str,
) -> ColumnElement[bool]:
    """Return the condition under which a node can deal with a row of tasks or runs."""
    conditions: list[ColumnElement[bool]] = [
        state,
        table.c.executor.in_(named(session, "executors", eligibility.executors)),
    ]
    if eligibility.without_functions:
        functions = named(session, "functions", eligibility.without_functions)
        conditions.append(table.c.function.not_in(functions))
    if eligibility.without_tasks:
        tasks = named(session, "tasks", eligibility.without_tasks)
        conditions.append(table.c[task_id].not_in(tasks))
    return met_by_most(*conditions)


def leasable(session: Session, eligibility: Eligibility) -> ColumnElement[bool]:
    """Return the condition under which a node can execute a run."""
    runs = session.tables.runs
    pending = runs.c.state == RunState.PENDING.value
    return eligible(session, runs, eligibility, state=pending, task_id="task_id")


def met_by_most(*conditions: ColumnElement[bool]) -> ColumnElement[bool]:
    """Return conditions that nearly all rows meet, as one of which a database guesses nothing.

    Without statistics yet it takes what is compared with a value, or with null, for rare. Then it
    would rather sort all that is due than walk along the index until it has enough, or look through
    the whole table for each row that it could find by its id.
    """
    return case((and_(*conditions), true()), else_=false())


def named(session: Session, name: str, values: Collection[str]) -> Any:
    """Return values for an `in_`, however many: statements take only so many parameters."""
    listed = sorted(values)
    together = session.database.backend.listed(name, listed)
    return bindparam(name, listed, expanding=True) if together is None else together
