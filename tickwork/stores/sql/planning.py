"""Planning and leasing in SQL.

Both look first, without locks, whether there is anything to do: an idle scheduler never writes.
Then one transaction locks the rows (on SQLite the whole database, elsewhere the rows themselves,
passing over those that another node works on), decides, writes, and commits.
"""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, Update, null, select, update
from sqlalchemy.exc import IntegrityError

from tickwork.errors import StoreUnavailableError, UnreadableRecordError
from tickwork.model.definition import Definition, Unreadable
from tickwork.model.policies import RunState, ScheduleState
from tickwork.model.records import Leased, RunRecord, TaskRecord
from tickwork.model.steps import (
    Deferral,
    LeaseReply,
    LeaseRequest,
    Plan,
    PlannedRun,
    PlanReply,
    PlanRequest,
    new_run,
)
from tickwork.stores.sql.many import New
from tickwork.stores.sql.rows import PLANABLE, new_run_row, planable_of, run_of, word_of
from tickwork.stores.sql.session import Session, eligible, named

__all__ = ["lease", "plan"]

_TRIES = 3


def plan(session: Session, request: PlanRequest) -> PlanReply:
    """Do a store's `plan`."""
    next_us = _next_due(session, request)
    if next_us is None or next_us > request.now_us:
        return PlanReply(next_us=next_us)
    careful = False
    for _ in range(_TRIES):
        try:
            with session.database.writing() as connection:
                session.require_alive(connection, request.node)
                return _Planning(session, connection, request, careful=careful).reply()
        except IntegrityError:
            # A slot is taken: this task has been moved back by hand. Look before adding.
            careful = True
    raise StoreUnavailableError("slots are being taken while they are planned; will try again")


def _next_due(session: Session, request: PlanRequest) -> int | None:
    tasks = session.tables.tasks
    with session.database.reading() as connection:
        found = connection.execute(
            select(tasks.c.due_us)
            .where(tasks.c.due_us.is_not(None), _plannable(session, request))
            .order_by(tasks.c.due_us)
            .limit(1)
        )
        return found.scalar()


def _plannable(session: Session, request: PlanRequest) -> ColumnElement[bool]:
    state = ScheduleState.SCHEDULED.value
    return eligible(session, session.tables.tasks, request.eligibility, state=state, task_id="id")


class _Planning:
    """One transaction that plans."""

    def __init__(
        self, session: Session, connection: Connection, request: PlanRequest, *, careful: bool
    ) -> None:
        self._session = session
        self._connection = connection
        self._request = request
        self._careful = careful
        self._capacity = dict(request.capacity)
        self._leased: list[Leased] = []
        self._recorded: list[RunRecord] = []
        self._deferred: list[tuple[str, Deferral]] = []
        self._moves: list[tuple[Any, ...]] = []
        self._rows: list[tuple[Any, ...]] = []
        self._fence = 0
        self._leaves = False

    def reply(self) -> PlanReply:
        due = self._connection.execute(self._due()).all()
        if due and any(self._capacity.values()):
            self._fence = self._session.next_fence(self._connection)
        for row in due:
            self._consider(row)
        self._write()
        # What comes next may have been locked by others; the next look will tell.
        return PlanReply(self._leased, self._recorded, self._deferred, None, more=bool(due))

    def _due(self) -> Select[Any]:
        tasks = self._session.tables.tasks
        request = self._request
        return (
            select(*(tasks.c[name] for name in PLANABLE))
            .where(tasks.c.due_us <= request.now_us, _plannable(self._session, request))
            .order_by(tasks.c.due_us)
            .limit(request.limit)
            .with_for_update(skip_locked=True)
        )

    def _consider(self, row: Row[Any]) -> None:
        task = planable_of(row, self._session.environment.codec)
        definition = task.definition
        if isinstance(definition, Unreadable):
            self._deferred.append((task.id, Deferral(definition.reason)))
            return
        decision = self._request.decide(task)
        if isinstance(decision, Deferral):
            self._deferred.append((task.id, decision))
            return
        planned: Iterable[PlannedRun] = decision.runs
        if self._careful:
            planned = self._session.free_slots(self._connection, task, planned)
        for each in planned:
            self._add(task, definition, each)
        self._moves.append(_move(task, decision))

    def _add(self, task: TaskRecord, definition: Definition, planned: PlannedRun) -> None:
        request = self._request
        pending = planned.state is RunState.PENDING
        free = self._capacity.get(definition.executor, 0)
        leased = pending and not planned.queued and free > 0
        node = request.node if leased else None
        fence = self._fence if leased else 0
        run = new_run(planned, task, request.new_id(), request.now_us, node, fence)
        if leased:
            self._capacity[definition.executor] = free - 1
            self._leased.append(Leased(run, definition))
        else:
            self._recorded.append(run)
            self._leaves |= pending
        queued = pending and planned.queued
        task.active += pending
        task.queued += queued
        self._rows.append(new_run_row(run, queued=queued))

    def _write(self) -> None:
        if not self._moves:
            return
        tasks = self._session.tables.tasks

        def make(new: New) -> Update:
            moved = {name: new[name] for name in _MOVED[2:]}
            return (
                update(tasks)
                .where(tasks.c.id == new["its_id"], tasks.c.revision == new["its_revision"])
                .values(**moved, problem=null())
            )

        moved = self._session.update(self._connection, _MOVED, make, self._moves)
        if moved != len(self._moves):
            raise StoreUnavailableError("tasks were changed while they were planned; try again")
        self._session.insert_runs(self._connection, self._rows)
        if self._leaves:
            self._session.database.hint(self._connection)


_MOVED = (
    "its_id",
    "its_revision",
    "revision",
    "state",
    "fire_us",
    "due_us",
    "planned_us",
    "catchup_us",
    "active",
    "queued",
)
"""What `_move` returns: which task, as it was found, and what it becomes."""


def _move(task: TaskRecord, decision: Plan) -> tuple[Any, ...]:
    return (
        task.id,
        task.revision,
        task.revision + 1,
        word_of(decision.state),
        decision.fire_us,
        decision.due_us,
        decision.planned_us,
        decision.catchup_us,
        task.active,
        task.queued,
    )


def lease(session: Session, request: LeaseRequest) -> LeaseReply:
    """Do a store's `lease`."""
    next_us = _next_available(session, request)
    if next_us is None or next_us > request.now_us:
        return LeaseReply(next_us=next_us)
    if not any(request.capacity.values()):
        return LeaseReply()
    leased: list[Leased] = []
    deferred: list[tuple[str, Deferral]] = []
    with session.database.writing() as connection:
        session.require_alive(connection, request.node)
        found = _available(session, connection, request)
        if not found:
            session.end_orphans(connection)
        fence = session.next_fence(connection) if found else 0
        for row in found:
            _take(session, row, request.node, fence, leased, deferred)
        _write_leases(session, connection, leased)
    return LeaseReply(leased, None if leased else next_us, deferred)


def _next_available(session: Session, request: LeaseRequest) -> int | None:
    runs = session.tables.runs
    conditions = [_leasable(session, request)]
    if not request.suspects:
        conditions.append(runs.c.suspect.is_(False))
    with session.database.reading() as connection:
        first = (
            select(runs.c.available_us)
            .where(runs.c.available_us.is_not(None), *conditions)
            .order_by(runs.c.available_us)
        )
        return connection.execute(first.limit(1)).scalar()


def _leasable(session: Session, request: LeaseRequest) -> ColumnElement[bool]:
    state = RunState.PENDING.value
    runs = session.tables.runs
    return eligible(session, runs, request.eligibility, state=state, task_id="task_id")


def _available(session: Session, connection: Connection, request: LeaseRequest) -> list[Row[Any]]:
    """Return the runs that may be leased, longest available first."""
    left = {executor: room for executor, room in request.capacity.items() if room > 0}
    found: list[Row[Any]] = []
    if request.suspects and left:
        found += _waiting(session, connection, request, list(left), limit=1, suspect=True)
        for row in found:
            left[row.executor] -= 1
    for executor, room in left.items():
        if room:
            found += _waiting(session, connection, request, [executor], limit=room, suspect=False)
    return sorted(found, key=lambda row: int(row.available_us))


def _waiting(
    session: Session,
    connection: Connection,
    request: LeaseRequest,
    executors: list[str],
    *,
    limit: int,
    suspect: bool,
) -> list[Row[Any]]:
    runs = session.tables.runs
    definition = session.definition_of_run()
    statement = (
        select(runs, definition.label("definition"))
        .where(
            runs.c.available_us <= request.now_us,
            _leasable(session, request),
            runs.c.executor.in_(executors),
            runs.c.suspect.is_(suspect),
            definition.is_not(None),
        )
        .order_by(runs.c.available_us)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    if request.only is not None:
        statement = statement.where(runs.c.id.in_(named(session, "only", request.only)))
    return list(connection.execute(statement).all())


def _take(  # noqa: PLR0917  cut out of the function above for its length
    session: Session,
    row: Row[Any],
    node: str,
    fence: int,
    leased: list[Leased],
    deferred: list[tuple[str, Deferral]],
) -> None:
    try:
        definition = session.environment.codec.decode(row.definition)
    except UnreadableRecordError as error:
        deferred.append((row.task_id, Deferral(str(error))))
        return
    run = run_of(row)
    run.node, run.fence, run.available_us = node, fence, None
    run.attempt += 1
    leased.append(Leased(run, definition))


def _write_leases(session: Session, connection: Connection, leased: list[Leased]) -> None:
    if not leased:
        return
    runs = session.tables.runs

    def make(new: New) -> Update:
        return (
            update(runs)
            .where(runs.c.id == new["its_id"])
            .values(
                node=new["node"], fence=new["fence"], attempt=new["attempt"], available_us=null()
            )
        )

    session.update(
        connection,
        ("its_id", "node", "fence", "attempt"),
        make,
        [(run.id, run.node, run.fence, run.attempt) for run, _ in leased],
    )
