"""Reading for people.

A task whose last runs stand in its outbox is finished, and they aren't to be seen yet. To people it
is still scheduled until they are: else there would be moments, or seconds where its planner has
ended, in which nothing seems to be left of a task that was never executed.
"""

import re
from collections.abc import Iterable, Mapping

from tickwork.errors import InvalidInputError
from tickwork.model.policies import ScheduleState
from tickwork.model.records import NodeRecord, RunRecord, TaskRecord
from tickwork.model.steps import RunQuery, TaskQuery
from tickwork.stores.mongo.collection import Document
from tickwork.stores.mongo.session import VISIBLE, Session
from tickwork.stores.mongo.shapes import node_of, run_of
from tickwork.stores.mongo.tasks import records

__all__ = ["counts", "find_runs", "find_tasks", "get_run", "get_task", "nodes"]

_SORTS = {"id": "_id", "name": "name", "next_run_time": "due_us", "created_at": "created_us"}
_THERE: Document = {"gone": {"$exists": False}}
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
    word = query.sort.removeprefix("-")
    if word not in _SORTS:
        raise InvalidInputError(
            f"can't sort tasks by {query.sort!r}; use one of {', '.join(_SORTS)}, "
            "with - in front for descending"
        )
    return _shown(session, _page(session, query, _SORTS[word]))


def _page(session: Session, query: TaskQuery, field: str) -> list[Document]:
    """Return a page of documents: those that have the field in its order, then the others."""
    if not query.limit:
        return []
    wanted = _wanted(query)
    having = wanted if field == "_id" else {**wanted, field: {"$exists": True}}
    order = [(field, -1 if query.sort.startswith("-") else 1)]
    order += [("_id", 1)] if field != "_id" else []
    found = session.tasks.find(having, order=order, limit=query.limit, offset=query.offset)
    if len(found) == query.limit or field == "_id":
        return found
    offset = max(0, query.offset - session.tasks.count(having))
    lacking = {**wanted, field: {"$exists": False}}
    limit = query.limit - len(found)
    return found + session.tasks.find(lacking, order=[("_id", 1)], limit=limit, offset=offset)


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
    if query.state is not None:
        state = query.state.value
        wanted["$and"] = [_SHOWN_AS.get(state, {"state": state})]
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
    wanted = dict(VISIBLE)
    if query.task_id is not None:
        wanted["task_id"] = query.task_id
    if query.states is not None:
        wanted["state"] = {"$in": sorted(each.value for each in query.states)}
    if query.source is not None:
        wanted["source"] = query.source.value
    between = {"$gte": query.since_us, "$lte": query.until_us}
    created = {operator: at_us for operator, at_us in between.items() if at_us is not None}
    if created:
        wanted["created_us"] = created
    # Ids of runs begin with the time of their creation.
    order = [("_id", -1)]
    found = session.runs.find(wanted, order=order, limit=query.limit, offset=query.offset)
    return [run_of(run, session.codec) for run in found]


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
