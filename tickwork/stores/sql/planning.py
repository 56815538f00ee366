"""Planning in SQL.

It looks first, without locks, whether there is anything to do: an idle scheduler never writes. Then
one transaction locks the rows (on SQLite the whole database, elsewhere the rows themselves, passing
over those that another node works on), decides, writes, and commits.
"""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    Update,
    and_,
    bindparam,
    null,
    or_,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError

from tickwork.errors import StoreUnavailableError
from tickwork.model.definition import Definition, Unreadable
from tickwork.model.policies import RunState, ScheduleState
from tickwork.model.records import Leased, RunRecord, TaskRecord
from tickwork.model.steps import (
    Deferral,
    Plan,
    PlannedRun,
    PlanReply,
    PlanRequest,
    new_run,
)
from tickwork.stores.sql.making import NewRuns
from tickwork.stores.sql.many import New
from tickwork.stores.sql.rows import PLANABLE, planable_of, word_of
from tickwork.stores.sql.session import Session, eligible

__all__ = ["plan"]

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

    def first() -> Select[Any]:
        eligible = tasks.c.due_us.is_not(None), _plannable(session, request)
        return select(tasks.c.due_us).where(*eligible).order_by(tasks.c.due_us).limit(1)

    with session.database.reading() as connection:
        statement = session.latest("next due", request.eligibility, first)
        return connection.execute(statement).scalar()


def _plannable(session: Session, request: PlanRequest) -> ColumnElement[bool]:
    tasks = session.tables.tasks
    # As `TaskRecord.wake_us` has it.
    state = tasks.c.state
    goes_on = and_(state == ScheduleState.PAUSED.value, tasks.c.due_us == tasks.c.catchup_us)
    wakes = or_(state == ScheduleState.SCHEDULED.value, goes_on)
    return eligible(session, tasks, request.eligibility, state=wakes, task_id="id")


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
        self._new = NewRuns()
        self._fence = 0
        self._leaves = False

    def reply(self) -> PlanReply:
        request = self._request
        statement = self._session.latest("due", request.eligibility, self._due)
        named = {"b_now_us": request.now_us, "b_limit": request.limit}
        due = self._connection.execute(statement, named).all()
        if due and any(self._capacity.values()):
            self._fence = self._session.next_fence(self._connection)
        for row in due:
            self._consider(row)
        self._write()
        # What comes next may have been locked by others; the next look will tell.
        return PlanReply(self._leased, self._recorded, self._deferred, None, more=bool(due))

    def _due(self) -> Select[Any]:
        tasks = self._session.tables.tasks
        due = tasks.c.due_us <= bindparam("b_now_us"), _plannable(self._session, self._request)
        return (
            select(*(tasks.c[name] for name in PLANABLE))
            .where(*due)
            .order_by(tasks.c.due_us)
            .limit(bindparam("b_limit"))
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
        at_once = not planned.queued and definition.concurrency_key is None
        leased = pending and at_once and free > 0
        node = request.node if leased else None
        fence = self._fence if leased else 0
        run = new_run(planned, task, request.new_id(), request.now_us, node, fence)
        if leased:
            self._capacity[definition.executor] = free - 1
            self._leased.append(Leased(run, definition))
        else:
            self._recorded.append(run)
            self._leaves |= pending
        self._new.add(task, planned, run)

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
        self._new.insert(self._session, self._connection)
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
    "made",
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
        task.made,
    )
