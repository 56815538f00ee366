"""Tasks as they stand, and the one change of a document by which they move on."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from tickwork.errors import StoreUnavailableError
from tickwork.model.records import TaskRecord
from tickwork.stores.mongo.collection import Document, chunks
from tickwork.stores.mongo.outbox import Outbox, outbox_of, settle_all
from tickwork.stores.mongo.session import VISIBLE, Session
from tickwork.stores.mongo.shapes import changed, task_of

__all__ = [
    "Change",
    "Counts",
    "commit",
    "commit_all",
    "count_runs",
    "records",
    "settled",
    "settled_again",
]

Counts = Mapping[tuple[str, int], tuple[int, int]]
"""By a task's id and generation, how many of its runs are active, and how many of these queued."""

_TRIES = 20


def settled(session: Session, ids: Sequence[str]) -> dict[str, Document]:
    """Return the tasks of these ids by id, with nothing in their outboxes."""
    found: dict[str, Document] = {}
    for some in chunks(ids):
        tasks = session.tasks.find({"_id": {"$in": some}})
        found.update((task["_id"], task) for task in tasks)
    return settled_again(session, found)


def settled_again(session: Session, found: dict[str, Document]) -> dict[str, Document]:
    """Return tasks that were read, after settling their outboxes and reading those again.

    Raises:
        StoreUnavailableError: they change too quickly.
    """
    for _ in range(_TRIES):
        boxes = [outbox_of(task) for task in found.values() if "owing" in task]
        if not boxes:
            return found
        settle_all(session, boxes)
        for some in chunks([box.task_id for box in boxes]):
            for task_id in some:
                del found[task_id]
            tasks = session.tasks.find({"_id": {"$in": some}})
            found.update((task["_id"], task) for task in tasks)
    raise StoreUnavailableError("tasks are being changed by too many at once; try again")


def count_runs(session: Session, ids: Sequence[str], **where: Any) -> Counts:
    """Count the runs of tasks that aren't over; those that have none aren't named."""
    counts: dict[tuple[str, int], tuple[int, int]] = {}
    queued = {"$cond": [{"$eq": [{"$type": "$queued_of"}, "missing"]}, 0, 1]}
    group = {
        "_id": {"task_id": "$task_id", "generation": "$generation"},
        "active": {"$sum": 1},
        "queued": {"$sum": queued},
    }
    for some in chunks(ids):
        match = {"open_of": {"$in": some}, **where, **VISIBLE}
        for found in session.runs.groups({"$match": match}, {"$group": group}):
            key = found["_id"]["task_id"], found["_id"]["generation"]
            counts[key] = found["active"], found["queued"]
    return counts


def records(session: Session, tasks: Iterable[Document]) -> list[TaskRecord]:
    """Return the records of tasks, with the numbers of their runs."""
    tasks = list(tasks)
    counts = count_runs(session, [task["_id"] for task in tasks])
    return [
        task_of(task, session.codec, counts.get((task["_id"], task["generation"]), (0, 0)))
        for task in tasks
    ]


class Change(NamedTuple):
    """A change of a task at a revision: the fields that get new values, and what else follows."""

    task_id: str
    revision: int
    fields: Document
    outbox: Outbox | None = None

    def command(self, token: str) -> tuple[Document, Document]:
        """Return the condition of the change, and the change."""
        now = {"_id": self.task_id, "revision": self.revision, "owing": {"$exists": False}}
        fields = {**self.fields, "revision": self.revision + 1, "by": token}
        if self.outbox is not None:
            fields |= self.outbox.fields()
        return now, changed(fields)


def commit(session: Session, change: Change, token: str) -> bool:
    """Change a task, if it still stands where it did and owes nothing."""
    return session.tasks.change_one(*change.command(token))


def commit_all(
    session: Session, changes: Sequence[Change], token: str
) -> tuple[set[str], set[str]]:
    """Change tasks as `commit` does, with few calls.

    Return the ids of those that were changed, and of those of which it isn't known, because others
    have changed them again since.
    """
    commands = [change.command(token) for change in changes]
    if session.tasks.change_each(commands) == len(changes):
        return {change.task_id for change in changes}, set()
    born = {change.task_id: change.revision + 1 for change in changes}
    ours: set[str] = set()
    unknown: set[str] = set()
    for some in chunks(list(born)):
        for task in session.tasks.find({"_id": {"$in": some}}, ["revision", "by"]):
            if task.get("by") == token:
                ours.add(task["_id"])
            elif task["revision"] > born[task["_id"]]:
                unknown.add(task["_id"])
    return ours, unknown
