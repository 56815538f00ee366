"""What runs execute, and those that wait for a task which is gone.

A run that was submitted has a definition of its own, and no task. Of those that have a task, the
ones that wait for it when it is gone could never be executed by anybody, so they end.

Whoever makes a leased run pending again looks afterwards whether its task is there; whoever removes
a task cancels afterwards what is pending. One of the two sees the other, and if he ends before he
has looked, the next one who would lease the run does.
"""

from collections.abc import Sequence

from tickwork.model.definition import Definition, Unreadable
from tickwork.model.policies import RunState
from tickwork.model.steps import TASK_REMOVED
from tickwork.stores.mongo.collection import Document, chunks
from tickwork.stores.mongo.gates import attend_to
from tickwork.stores.mongo.outbox import outbox_of, settle_all
from tickwork.stores.mongo.session import NUMBER, Session
from tickwork.stores.mongo.shapes import ended

__all__ = ["definitions_of", "end_orphans", "end_orphans_among"]


def definitions_of(
    session: Session, runs: Sequence[Document]
) -> dict[str, Definition | Unreadable]:
    """Return what runs execute, by their ids; those whose task is gone aren't named."""
    texts = {run["_id"]: run["definition"] for run in runs if "definition" in run}
    of_tasks = _tasks_of(session, [run for run in runs if run["_id"] not in texts])
    texts |= {run_id: task["definition"] for run_id, task in of_tasks.items()}
    return {run_id: session.codec.read(text) for run_id, text in texts.items()}


def _tasks_of(session: Session, runs: Sequence[Document]) -> dict[str, Document]:
    """Return the tasks of runs by the ids of the runs; those whose task is gone aren't named."""
    found: dict[str, Document] = {}
    for some in chunks(sorted({run["task_id"] for run in runs})):
        tasks = session.tasks.find({"_id": {"$in": some}})
        found.update((task["_id"], task) for task in tasks)
    gone = [task for task in found.values() if "gone" in task]
    # Removed, but not to the end: their runs are cancelled with that, for its own reason.
    settle_all(session, map(outbox_of, gone))
    there = {(task["_id"], task["generation"]): task for task in found.values() if task not in gone}
    keys = {run["_id"]: (run["task_id"], run["generation"]) for run in runs}
    return {run_id: there[key] for run_id, key in keys.items() if key in there}


def end_orphans(session: Session, run_ids: Sequence[str]) -> None:
    """Cancel runs that are available although their task is gone."""
    cancelled = {
        "state": RunState.CANCELLED.value,
        "reason": TASK_REMOVED,
        "finished_us": session.environment.now_us(),
    }
    for some in chunks(run_ids):
        session.runs.change({"_id": {"$in": some}, "available_us": NUMBER}, ended(cancelled))
    if run_ids:
        attend_to(session, run_ids)


def end_orphans_among(session: Session, run_ids: Sequence[str]) -> None:
    """Cancel those runs that are available and whose task is gone, or another one now."""
    available: list[Document] = []
    for some in chunks(run_ids):
        waiting = {"_id": {"$in": some}, "available_us": NUMBER, "definition": {"$exists": False}}
        available += session.runs.find(waiting, ["task_id", "generation"])
    there = _tasks_of(session, available)
    end_orphans(session, [run["_id"] for run in available if run["_id"] not in there])
