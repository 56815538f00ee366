"""Reading for people, and forgetting, in SQL."""

import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, Select, delete, func, literal, literal_column, or_, select

from tickwork.errors import InvalidInputError
from tickwork.model.policies import TERMINAL, ScheduleState
from tickwork.model.records import NodeRecord, RunRecord, TaskRecord
from tickwork.model.steps import PruneRequest, RunQuery, TaskQuery
from tickwork.stores.sql.rows import node_of, run_of, task_of
from tickwork.stores.sql.session import CHUNK, Session, chunks

__all__ = ["counts", "find_runs", "find_tasks", "get_run", "get_task", "nodes", "prune"]

_SORTS = {"id": "id", "name": "name", "next_run_time": "due_us", "created_at": "created_us"}
_OVER = sorted(state.value for state in TERMINAL)
_MANY = 100_000


def get_task(session: Session, task_id: str) -> TaskRecord | None:
    """Do a reader's `get_task`."""
    tasks = session.tables.tasks
    with session.database.reading() as connection:
        row = connection.execute(select(tasks).where(tasks.c.id == task_id)).one_or_none()
        return None if row is None else task_of(row, session.environment.codec)


def find_tasks(session: Session, query: TaskQuery) -> list[TaskRecord]:
    """Do a reader's `find_tasks`."""
    tasks = session.tables.tasks
    word = query.sort.removeprefix("-")
    if word not in _SORTS:
        raise InvalidInputError(
            f"can't sort tasks by {query.sort!r}; use one of {', '.join(_SORTS)}, "
            "with - in front for descending"
        )
    column = tasks.c[_SORTS[word]]
    order = column.desc() if query.sort.startswith("-") else column.asc()
    statement = _filtered(session, query).order_by(column.is_(None), order, tasks.c.id)
    with session.database.reading() as connection:
        rows = connection.execute(statement.limit(query.limit).offset(query.offset)).all()
        return [task_of(row, session.environment.codec) for row in rows]


def _filtered(session: Session, query: TaskQuery) -> Select[Any]:
    tasks = session.tables.tasks
    statement = select(tasks)
    if query.state is not None:
        statement = statement.where(tasks.c.state == query.state.value)
    if query.executor is not None:
        statement = statement.where(tasks.c.executor == query.executor)
    if query.function is not None:
        statement = statement.where(tasks.c.function == query.function)
    if query.trigger is not None:
        # Written into the statement: an index of the tasks of one kind can only be chosen then.
        kind = literal(query.trigger, literal_execute=True)
        statement = statement.where(tasks.c.trigger_kind == kind)
    if query.tag is not None:
        # With what stands before it, a tag's JSON text is found nowhere but where the tag begins.
        tag = json.dumps(query.tag, ensure_ascii=False)
        found = getattr(func, session.database.backend.place_of)
        first, other = found(tasks.c.tags, f"[{tag}"), found(tasks.c.tags, f", {tag}")
        statement = statement.where(or_(first > 0, other > 0))
    if query.declared_in is not None:
        statement = statement.where(tasks.c.declared_in == query.declared_in)
    if query.search is not None:
        searched = query.search
        statement = statement.where(
            or_(
                tasks.c.id.icontains(searched, autoescape=True),
                tasks.c.name.icontains(searched, autoescape=True),
            )
        )
    return statement


def get_run(session: Session, run_id: str) -> RunRecord | None:
    """Do a reader's `get_run`."""
    runs = session.tables.runs
    with session.database.reading() as connection:
        row = connection.execute(select(*session.run).where(runs.c.id == run_id)).one_or_none()
        return None if row is None else run_of(row, session.environment.codec)


def find_runs(session: Session, query: RunQuery) -> list[RunRecord]:
    """Do a reader's `find_runs`."""
    runs = session.tables.runs
    # Ids of runs begin with the time of their creation.
    statement = select(*session.run).order_by(runs.c.id.desc())
    if query.task_id is not None:
        statement = statement.where(runs.c.task_id == query.task_id)
    if query.states is not None:
        statement = statement.where(runs.c.state.in_(sorted(each.value for each in query.states)))
    if query.source is not None:
        statement = statement.where(runs.c.source == query.source.value)
    if query.since_us is not None:
        statement = statement.where(runs.c.created_us >= query.since_us)
    if query.until_us is not None:
        statement = statement.where(runs.c.created_us <= query.until_us)
    with session.database.reading() as connection:
        rows = connection.execute(statement.limit(query.limit).offset(query.offset)).all()
        return [run_of(row, session.environment.codec) for row in rows]


def nodes(session: Session) -> list[NodeRecord]:
    """Do a reader's `nodes`."""
    with session.database.reading() as connection:
        return [node_of(row) for row in connection.execute(select(session.tables.nodes))]


def counts(session: Session) -> Mapping[str, int]:
    """Do a reader's `counts`."""
    tasks = session.tables.tasks
    found = dict.fromkeys((state.value for state in ScheduleState), 0)
    with session.database.reading() as connection:
        rows = connection.execute(select(tasks.c.state, func.count()).group_by(tasks.c.state))
        found.update({row[0]: row[1] for row in rows})
    return found


def prune(session: Session, request: PruneRequest) -> int:
    """Do a store's `prune`: look without locks, then delete in one short transaction."""
    with session.database.reading() as connection:
        old = _old_runs(session, connection, request)
        finished = _finished_tasks(session, connection, request)
    if not old and not finished:
        return 0
    runs, tasks = session.tables.runs, session.tables.tasks
    with session.database.writing() as connection:
        gone = 0
        for some in chunks(old):
            over = (runs.c.id.in_(some), runs.c.state.in_(_OVER), runs.c.node.is_(None))
            gone += connection.execute(delete(runs).where(*over)).rowcount
        for some in chunks(finished):
            done = (tasks.c.id.in_(some), tasks.c.state == ScheduleState.FINISHED.value)
            gone += connection.execute(delete(tasks).where(*done, tasks.c.active == 0)).rowcount
        return gone


def _old_runs(session: Session, connection: Connection, request: PruneRequest) -> list[str]:
    old = dict.fromkeys(_expired_runs(session, connection, request))
    old |= dict.fromkeys(_aged_runs(session, connection, request))
    runs = session.tables.runs
    for task_id, kept in request.histories.items():
        if len(old) >= request.limit:
            break
        beyond = (
            select(runs.c.id)
            .where(runs.c.task_id == task_id, runs.c.state.in_(_OVER), runs.c.node.is_(None))
            .order_by(runs.c.id.desc())
            .offset(kept)
            # The newest ones: without a limit, MySQL knows no offset.
            .limit(_MANY)
        )
        found = list(connection.execute(beyond).scalars())
        old |= dict.fromkeys(reversed(found))
    return list(old)[: request.limit]


def _expired_runs(session: Session, connection: Connection, request: PruneRequest) -> list[str]:
    runs = session.tables.runs
    expired = runs.c.expires_us <= request.now_us, runs.c.node.is_(None)
    first = select(runs.c.id).where(*expired).order_by(runs.c.expires_us).limit(request.limit)
    return list(connection.execute(first).scalars())


def _aged_runs(session: Session, connection: Connection, request: PruneRequest) -> list[str]:
    """Return runs that ended long ago, reading no more than the oldest runs that there are."""
    runs = session.tables.runs
    columns = ("id", "created_us", "finished_us", "state", "node")
    # Those that expire on their own are passed over, as long as they are no sign to stop.
    told = or_(runs.c.expires_us.is_(None), runs.c.created_us >= request.before_us)
    oldest = select(*(runs.c[name] for name in columns)).where(told).order_by(runs.c.id)
    aged: list[str] = []
    last = ""
    while True:
        found = connection.execute(oldest.where(runs.c.id > last).limit(CHUNK)).all()
        for row in found:
            # Ids begin with the time of creation: all further runs are younger.
            if len(aged) >= request.limit or row.created_us >= request.before_us:
                return aged
            over = row.state in _OVER and row.node is None
            if over and (row.finished_us or 0) < request.before_us:
                aged.append(row.id)
        if len(found) < CHUNK:
            return aged
        last = found[-1].id


def _finished_tasks(session: Session, connection: Connection, request: PruneRequest) -> list[str]:
    tasks, runs = session.tables.tasks, session.tables.runs
    has_runs = select(runs.c.id).where(runs.c.task_id == tasks.c.id).exists()
    finished = select(tasks.c.id).where(
        # As a literal: SQLite can't tell from a parameter that a partial index is meant.
        tasks.c.state == literal_column(f"'{ScheduleState.FINISHED.value}'"),
        tasks.c.active == 0,
        tasks.c.disposable.is_(True),
        tasks.c.updated_us < request.before_us,
        ~has_runs,
    )
    return list(connection.execute(finished.limit(request.limit)).scalars())
