"""Reading for people.

A task whose last runs stand in its outbox is finished, and they aren't to be seen yet. To people it
is still scheduled until they are: else there would be moments, or seconds where its planner has
ended, in which nothing seems to be left of a task that was never executed.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from tickwork.model.listing import FAILURES, TELLING, sort_of
from tickwork.model.policies import ScheduleState
from tickwork.model.records import NodeRecord, RunRecord, TaskRecord
from tickwork.model.steps import RunQuery, TaskQuery
from tickwork.stores.mongo.collection import CHUNK, Document
from tickwork.stores.mongo.session import VISIBLE, Session
from tickwork.stores.mongo.shapes import node_of, run_of
from tickwork.stores.mongo.tasks import records

__all__ = [
    "count_runs",
    "count_tasks",
    "counts",
    "find_runs",
    "find_tasks",
    "get_run",
    "get_task",
    "nodes",
]

_SORTS = {"id": "_id", "name": "name", "next_run_time": "due_us", "created_at": "created_us"}
_THERE: Document = {"gone": {"$exists": False}}
_TELLS: Document = {"state": {"$in": sorted(state.value for state in TELLING)}}
_EVERY = 2**62
_NEWEST = [("_id", -1)]
"""Ids of runs begin with the time of their creation."""

_SCHEDULED, _FINISHED = ScheduleState.SCHEDULED.value, ScheduleState.FINISHED.value
_SHOWN_AS: Mapping[str, Document] = {
    _SCHEDULED: {"$or": [{"state": _SCHEDULED}, {"state": _FINISHED, "outbox.planned": True}]},
    _FINISHED: {"state": _FINISHED, "outbox.planned": {"$ne": True}},
}


def get_task(session: Session, task_id: str) -> TaskRecord | None:
    """Do a reader's `get_task`."""
    found = _shown(session, session.tasks.find({"_id": task_id, **_THERE}))
    return found[0] if found else None


def _shown(session: Session, tasks: Iterable[Document]) -> list[TaskRecord]:
    return records(session, [{**task, "state": _shown_state(task)} for task in tasks])


def _shown_state(task: Document) -> str:
    state: str = task["state"]
    makes_last = state == _FINISHED and task.get("outbox", {}).get("planned", False)
    return _SCHEDULED if makes_last else state


def find_tasks(session: Session, query: TaskQuery) -> list[TaskRecord]:
    """Do a reader's `find_tasks`."""
    word, _ = sort_of(query)
    if not query.limit:
        return []
    if query.failing is None:
        return _shown(session, _page(session, query, _SORTS[word]))
    found = _shown(session, _judged(session, query, _SORTS[word]))
    return found[query.offset :]


def _judged(session: Session, query: TaskQuery, field: str) -> list[Document]:
    """Return the tasks that fail, or don't, up to the end of a page."""
    found: list[Document] = []
    asked = replace(query, failing=None, offset=0, limit=CHUNK)
    while len(found) < query.offset + query.limit:
        page = _page(session, asked, field)
        found += _failing(session, page, wanted=query.failing is True)
        if len(page) < CHUNK:
            break
        asked = replace(asked, after=(page[-1].get(field), page[-1]["_id"]))
    return found[: query.offset + query.limit]


def _failing(session: Session, tasks: Sequence[Document], *, wanted: bool) -> list[Document]:
    """Return those of some tasks that fail, or those that don't."""
    match = {"task_id": {"$in": [task["_id"] for task in tasks]}, **_TELLS, **VISIBLE}
    key = {"task_id": "$task_id", "generation": "$generation"}
    group = {"$group": {"_id": key, "last": {"$last": "$state"}}}
    groups = session.runs.groups({"$match": match}, {"$sort": {"_id": 1}}, group) if tasks else []
    last = {(each["_id"]["task_id"], each["_id"]["generation"]): each["last"] for each in groups}
    fails = (
        task.get("streak", 0) > 0 or last.get((task["_id"], task["generation"])) in FAILURES
        for task in tasks
    )
    return [task for task, failing in zip(tasks, fails, strict=True) if failing is wanted]


def count_tasks(session: Session, query: TaskQuery) -> int:
    """Do a reader's `count_tasks`."""
    if query.failing is None:
        return session.tasks.count(_wanted(query))
    every = replace(query, sort="id", after=None, offset=0, limit=_EVERY)
    return len(_judged(session, every, "_id"))


def _page(session: Session, query: TaskQuery, field: str) -> list[Document]:
    """Return a page of documents: those that have the field in its order, then the others."""
    wanted, after = _wanted(query), query.after
    conditions = [wanted] if field == "_id" else [wanted, {field: {"$exists": True}}]
    if after is not None:
        conditions.append(_beyond(query, field, *after))
    having: Document = {"$and": conditions} if len(conditions) > 1 else wanted
    order = [(field, -1 if query.sort.startswith("-") else 1)]
    order += [("_id", 1)] if field != "_id" else []
    found: list[Document] = []
    if after is None or after[0] is not None:
        found = session.tasks.find(having, order=order, limit=query.limit, offset=query.offset)
    # What is late has a time at which it is due.
    if len(found) == query.limit or field == "_id" or query.due_before_us is not None:
        return found
    return found + _lacking(session, query, field, having=having, found=len(found))


def _beyond(query: TaskQuery, field: str, value: str | int | None, task_id: str) -> Document:
    """Return the condition of the tasks that come after a place in the order."""
    operator = "$lt" if query.sort.startswith("-") else "$gt"
    if field == "_id":
        return {"_id": {operator: task_id}}
    return {"$or": [{field: {operator: value}}, {field: value, "_id": {"$gt": task_id}}]}


def _lacking(
    session: Session, query: TaskQuery, field: str, *, having: Document, found: int
) -> list[Document]:
    """Return the rest of a page, of tasks that don't have the field, by their ids."""
    lacking: Document = {**_wanted(query), field: {"$exists": False}}
    offset = query.offset
    if query.after is not None and query.after[0] is None:
        lacking = {"$and": [lacking, {"_id": {"$gt": query.after[1]}}]}
    elif offset:
        offset = 0 if found else max(0, offset - session.tasks.count(having))
    limit = query.limit - found
    return session.tasks.find(lacking, order=[("_id", 1)], limit=limit, offset=offset)


def _wanted(query: TaskQuery) -> Document:
    equal = {
        "declared_in": query.declared_in,
        "trigger": query.trigger,
        "executor": query.executor,
        "function": query.function,
        "tags": query.tag,
    }
    wanted: Document = {name: value for name, value in equal.items() if value is not None}
    wanted |= _THERE
    if query.ids is not None:
        wanted["_id"] = {"$in": sorted(query.ids)}
    if query.state is not None:
        state = query.state.value
        wanted["$and"] = [_SHOWN_AS.get(state, {"state": state})]
    if query.due_before_us is not None:
        wanted |= {"state": _SCHEDULED, "due_us": {"$lt": query.due_before_us}}
    if query.search is not None:
        # As a text: a regular expression of BSON's own ends at the first NUL.
        pattern = re.escape(query.search).replace("\0", "x00")
        found = {"$regex": pattern, "$options": "i"}
        wanted["$or"] = [{"_id": found}, {"name": found}]
    return wanted


def get_run(session: Session, run_id: str) -> RunRecord | None:
    """Do a reader's `get_run`."""
    found = session.runs.first({"_id": run_id, **VISIBLE})
    return None if found is None else run_of(found, session.codec)


def find_runs(session: Session, query: RunQuery) -> list[RunRecord]:
    """Do a reader's `find_runs`."""
    if not query.limit:
        return []
    wanted = _wanted_runs(query) | _looked_at(session, query, query.before)
    found = session.runs.find(wanted, order=_NEWEST, limit=query.limit, offset=query.offset)
    return [run_of(run, session.codec) for run in found]


def _looked_at(session: Session, query: RunQuery, before: tuple[int, str] | None) -> Document:
    """Return the condition of the runs that are looked at: from which id on, and to which."""
    ids: Document = {} if before is None else {"$lt": before[1]}
    if query.among is not None:
        asked = RunQuery(query.task_id, until_us=query.until_us)
        those = _wanted_runs(asked) | ({"_id": ids} if ids else {})
        for beyond in session.runs.find(those, order=_NEWEST, limit=1, offset=query.among):
            ids["$gt"] = beyond["_id"]
    return {"_id": ids} if ids else {}


def count_runs(session: Session, query: RunQuery) -> int:
    """Do a reader's `count_runs`."""
    return session.runs.count(_wanted_runs(query) | _looked_at(session, query, None))


def _wanted_runs(query: RunQuery) -> Document:
    wanted = dict(VISIBLE)
    if query.task_id is not None:
        wanted["task_id"] = query.task_id
    if query.states is not None:
        wanted["state"] = {"$in": sorted(each.value for each in query.states)}
    if query.source is not None:
        wanted["source"] = query.source.value
    if query.suspect is not None:
        wanted["suspect"] = query.suspect
    between = {"$gte": query.since_us, "$lte": query.until_us}
    created = {operator: at_us for operator, at_us in between.items() if at_us is not None}
    if created:
        wanted["created_us"] = created
    return wanted


def nodes(session: Session) -> list[NodeRecord]:
    """Do a reader's `nodes`."""
    return [node_of(node) for node in session.nodes.find({}, order=[("_id", 1)])]


def counts(session: Session) -> Mapping[str, int]:
    """Do a reader's `counts`."""
    found = dict.fromkeys((state.value for state in ScheduleState), 0)
    facts = {"state": "$state", "outbox": {"planned": "$outbox.planned"}}
    group = {"$group": {"_id": facts, "tasks": {"$sum": 1}}}
    for each in session.tasks.groups({"$match": _THERE}, group):
        state = _shown_state(each["_id"])
        found[state] = found.get(state, 0) + each["tasks"]
    return found
