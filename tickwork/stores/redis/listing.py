"""Reading for people, in Redis, in pieces that hold nobody up.

Tasks are in the order of their ids, runs in that of their creation. For any other order all tasks
are read, but for those that a label leads to.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from tickwork.model.listing import page_of_tasks
from tickwork.model.policies import ScheduleState
from tickwork.model.records import RunRecord, TaskRecord
from tickwork.model.steps import RunQuery, TaskQuery
from tickwork.stores.redis.layout import word
from tickwork.stores.redis.run_texts import KeptRun
from tickwork.stores.redis.server import split
from tickwork.stores.redis.session import Session

__all__ = ["counts", "find_runs", "find_tasks", "get_run", "get_task"]

_PIECE = 500
_KEPT = 5_000


def get_task(session: Session, task_id: str) -> TaskRecord | None:
    """Do a reader's `get_task`."""
    name = word(task_id)
    kept = session.tasks([name]).get(name)
    return kept.record if kept else None


def get_run(session: Session, run_id: str) -> RunRecord | None:
    """Do a reader's `get_run`."""
    kept = session.runs([run_id]).get(run_id)
    return kept.record if kept else None


def find_tasks(session: Session, query: TaskQuery) -> list[TaskRecord]:
    """Do a reader's `find_tasks`."""
    if query.declared_in is not None:
        return page_of_tasks(_labelled(session, f"declared_in\n{word(query.declared_in)}"), query)
    if query.trigger == "shutdown":
        return page_of_tasks(_labelled(session, "trigger\nshutdown"), query)
    if query.sort in {"id", "-id"}:
        return _in_order(session, query)
    return _in_another_order(session, query)


def _labelled(session: Session, label: str) -> Iterator[TaskRecord]:
    after: str | None = None
    while True:
        entries = session.entries("labels", label, _PIECE, after)
        tasks = session.tasks([each[-1] for each in entries])
        yield from (kept.record for kept in tasks.values())
        if len(entries) < _PIECE:
            return
        after = "\n".join(entries[-1])


def _in_order(session: Session, query: TaskQuery) -> list[TaskRecord]:
    """Read no further than to the end of the page that is asked for."""
    end = query.offset + query.limit
    found: list[TaskRecord] = []
    for page in _all(session, descending=query.sort == "-id"):
        found += page_of_tasks(page, replace(query, offset=0, limit=len(page)))
        if len(found) >= end:
            break
    return found[query.offset : end]


def _in_another_order(session: Session, query: TaskQuery) -> list[TaskRecord]:
    """Read all, keeping no more at a time than may be in the page that is asked for."""
    first = replace(query, offset=0, limit=query.offset + query.limit)
    found: list[TaskRecord] = []
    for page in _all(session):
        found += page
        if len(found) > 2 * first.limit + _KEPT:
            found = page_of_tasks(found, first)
    return page_of_tasks(found, query)


def _all(session: Session, *, descending: bool = False) -> Iterator[list[TaskRecord]]:
    beyond: str | None = None
    while True:
        ids = session.ids(_PIECE, beyond, descending=descending)
        tasks = session.tasks(list(map(word, ids)))
        yield [kept.record for kept in tasks.values()]
        if len(ids) < _PIECE:
            return
        beyond = ids[-1]


def find_runs(session: Session, query: RunQuery) -> list[RunRecord]:
    """Do a reader's `find_runs`."""
    found: list[RunRecord] = []
    passed = 0
    for run in _newest(session, query.task_id):
        if len(found) >= query.limit:
            break
        if _matches(run, query):
            passed += 1
            if passed > query.offset:
                found.append(run)
    return found


def _newest(session: Session, task_id: str | None) -> Iterator[RunRecord]:
    before: str | None = None
    while True:
        page = _older(session, task_id, before)
        yield from (run.record for run in page)
        if len(page) < _PIECE:
            return
        before = page[-1].record.id


def _older(session: Session, task_id: str | None, before: str | None) -> list[KeptRun]:
    if task_id is not None:
        return session.history(word(task_id), _PIECE, before)
    return session.newest("-", "+" if before is None else f"({before}", _PIECE)


def _matches(run: RunRecord, query: RunQuery) -> bool:
    return (
        (query.states is None or run.state in query.states)
        and (query.source is None or run.source is query.source)
        and (query.since_us is None or run.created_us >= query.since_us)
        and (query.until_us is None or run.created_us <= query.until_us)
    )


def counts(session: Session) -> Mapping[str, int]:
    """Do a reader's `counts`."""
    found = dict.fromkeys((state.value for state in ScheduleState), 0)
    states, numbers = (split(each) for each in session.server.run("counts"))
    found.update(zip(states, map(int, numbers), strict=True))
    return found
