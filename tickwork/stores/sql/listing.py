"""Looking at single records, counting, and forgetting, in SQL; for pages see `searching`."""

from collections.abc import Mapping

from sqlalchemy import Connection, delete, func, literal_column, or_, select

from tickwork.model.policies import TERMINAL, ScheduleState
from tickwork.model.records import NodeRecord, RunRecord, TaskRecord
from tickwork.model.steps import PruneRequest
from tickwork.stores.sql.rows import node_of, run_of, task_of
from tickwork.stores.sql.session import CHUNK, Session, chunks

__all__ = ["counts", "get_run", "get_task", "nodes", "prune"]

_OVER = sorted(state.value for state in TERMINAL)
_MANY = 100_000


def get_task(session: Session, task_id: str) -> TaskRecord | None:
    """Do a reader's `get_task`."""
    tasks = session.tables.tasks
    with session.database.reading() as connection:
        row = connection.execute(select(tasks).where(tasks.c.id == task_id)).one_or_none()
        return None if row is None else task_of(row, session.environment.codec)


def get_run(session: Session, run_id: str) -> RunRecord | None:
    """Do a reader's `get_run`."""
    runs = session.tables.runs
    with session.database.reading() as connection:
        row = connection.execute(select(*session.run).where(runs.c.id == run_id)).one_or_none()
        return None if row is None else run_of(row, session.environment.codec)


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
    for task_id, kept in _longer(session, connection, request.histories):
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


def _longer(
    session: Session, connection: Connection, histories: Mapping[str, int]
) -> list[tuple[str, int]]:
    """Return the few tasks that have more runs than are kept, and how many are.

    To look at each alone takes a statement a task.
    """
    runs = session.tables.runs
    alike: dict[int, list[str]] = {}
    for task_id, kept in histories.items():
        alike.setdefault(kept, []).append(task_id)
    found = []
    for kept, names in alike.items():
        for some in chunks(names):
            longer = (
                select(runs.c.task_id)
                .where(runs.c.task_id.in_(some))
                .group_by(runs.c.task_id)
                .having(func.count() > kept)
            )
            found += [(name, kept) for name in connection.execute(longer).scalars()]
    return found


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
