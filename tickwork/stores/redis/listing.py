"""Reading for people, in Redis, in pieces that hold nobody up.

Tasks are in the order of their ids, runs in that of their creation. For any other order all tasks
are read, but for those that a label or their ids lead to.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice

from tickwork.model.json_text import to_text
from tickwork.model.listing import (
    TELLING,
    fits,
    is_failing,
    looked_at,
    matching_tasks,
    page_of_tasks,
    sort_of,
)
from tickwork.model.policies import RunState, ScheduleState
from tickwork.model.records import RunRecord, TaskRecord
from tickwork.model.steps import RunQuery, TaskQuery
from tickwork.stores.redis.layout import word
from tickwork.stores.redis.run_texts import KeptRun
from tickwork.stores.redis.server import split
from tickwork.stores.redis.session import Session

__all__ = [
    "count_runs",
    "count_tasks",
    "counts",
    "find_runs",
    "find_tasks",
    "get_run",
    "get_task",
]

_PIECE = 500
_HISTORIES = 100
_KEPT = 5_000
_ALL_TASKS = TaskQuery(limit=0)
_ALL_RUNS = RunQuery(limit=0)


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
    sort_of(query)
    if query.ids is None and _few(query) is None and query.sort in {"id", "-id"}:
        return _in_order(session, query)
    return _in_another_order(session, query)


def _few(query: TaskQuery) -> str | None:
    """Return a label that leads to the tasks in question, or None where all have to be read."""
    if query.declared_in is not None:
        return f"declared_in\n{word(query.declared_in)}"
    return "trigger\nshutdown" if query.trigger == "shutdown" else None


def count_tasks(session: Session, query: TaskQuery) -> int:
    """Do a reader's `count_tasks`; of tasks in a state, all have been counted before."""
    if replace(query, state=None, sort="id", limit=0, offset=0, after=None) == _ALL_TASKS:
        numbers = counts(session)
        return sum(numbers.values()) if query.state is None else numbers[query.state.value]
    return sum(len(_matching(session, page, query)) for page in _pages(session, query))


def _matching(session: Session, tasks: Sequence[TaskRecord], query: TaskQuery) -> list[TaskRecord]:
    """Return the tasks that meet the conditions of a query."""
    found = matching_tasks(tasks, replace(query, failing=None))
    if query.failing is None:
        return found
    last = _last_states(session, found)
    return [task for task in found if is_failing(task, last.get(task.id)) is query.failing]


def _last_states(session: Session, tasks: Sequence[TaskRecord]) -> dict[str, RunState]:
    """Return how the newest runs of tasks ended that tell whether those fail."""
    states: dict[str, RunState] = {}
    for start in range(0, len(tasks), _HISTORIES):
        some = tasks[start : start + _HISTORIES]
        asked = [[word(task.id), str(task.generation)] for task in some]
        [answer] = session.server.run("lasts", to_text(sorted(TELLING)), to_text(asked))
        found = zip(some, split(answer, len(some)), strict=True)
        states.update((task.id, RunState(state)) for task, state in found if state)
    return states


def _pages(session: Session, query: TaskQuery) -> Iterator[list[TaskRecord]]:
    """Yield the tasks that may be meant, so many at a time, in no order that matters."""
    if query.ids is not None:
        return _named(session, sorted(query.ids))
    label = _few(query)
    return _all(session) if label is None else _labelled(session, label)


def _named(session: Session, ids: Sequence[str]) -> Iterator[list[TaskRecord]]:
    for start in range(0, len(ids), _PIECE):
        tasks = session.tasks(list(map(word, ids[start : start + _PIECE])))
        yield [kept.record for kept in tasks.values()]


def _labelled(session: Session, label: str) -> Iterator[list[TaskRecord]]:
    after: str | None = None
    while True:
        entries = session.entries("labels", label, _PIECE, after)
        tasks = session.tasks([each[-1] for each in entries])
        yield [kept.record for kept in tasks.values()]
        if len(entries) < _PIECE:
            return
        after = "\n".join(entries[-1])


def _in_order(session: Session, query: TaskQuery) -> list[TaskRecord]:
    """Read no further than to the end of the page that is asked for."""
    end = query.offset + query.limit
    found: list[TaskRecord] = []
    beyond = None if query.after is None else query.after[1]
    for page in _all(session, beyond, descending=query.sort == "-id"):
        found += _matching(session, page, query)
        if len(found) >= end:
            break
    return found[query.offset : end]


def _in_another_order(session: Session, query: TaskQuery) -> list[TaskRecord]:
    """Read all, keeping no more at a time than may be in the page that is asked for."""
    judged = replace(query, failing=None)
    first = replace(judged, offset=0, limit=query.offset + query.limit)
    found: list[TaskRecord] = []
    for page in _pages(session, query):
        found += _matching(session, page, query)
        if len(found) > 2 * first.limit + _KEPT:
            found = page_of_tasks(found, first)
    return page_of_tasks(found, judged)


def _all(
    session: Session, beyond: str | None = None, *, descending: bool = False
) -> Iterator[list[TaskRecord]]:
    while True:
        ids = session.ids(_PIECE, beyond, descending=descending)
        tasks = session.tasks(list(map(word, ids)))
        yield [kept.record for kept in tasks.values()]
        if len(ids) < _PIECE:
            return
        beyond = ids[-1]


def find_runs(session: Session, query: RunQuery) -> list[RunRecord]:
    """Do a reader's `find_runs`."""
    before = None if query.before is None else query.before[1]
    newest = looked_at(_newest(session, query.task_id, before), query)
    wanted = (run for run in newest if fits(run, query))
    return list(islice(wanted, query.offset, query.offset + query.limit))


def count_runs(session: Session, query: RunQuery) -> int:
    """Do a reader's `count_runs`; without further conditions nothing is read."""
    if replace(query, task_id=None, limit=0, offset=0, before=None) == _ALL_RUNS:
        task = "" if query.task_id is None else word(query.task_id)
        [number] = session.server.run("runs", task)
        return int(number)
    return sum(fits(run, query) for run in looked_at(_newest(session, query.task_id), query))


def _newest(
    session: Session, task_id: str | None, before: str | None = None
) -> Iterator[RunRecord]:
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


def counts(session: Session) -> Mapping[str, int]:
    """Do a reader's `counts`."""
    found = dict.fromkeys((state.value for state in ScheduleState), 0)
    states, numbers = (split(each) for each in session.server.run("counts"))
    found.update(zip(states, map(int, numbers), strict=True))
    return found
