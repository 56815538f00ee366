"""Runs that wait for a task which is gone: nobody could ever execute them, so they end.

Whoever makes a leased run pending again looks afterwards whether its task is there; whoever removes
a task cancels afterwards what is pending. One of the two sees the other, and if he ends before he
has looked, the next one who would lease the run does.
"""

from collections.abc import Mapping, Sequence

from tickwork.model.policies import RunState
from tickwork.model.steps import TASK_REMOVED
from tickwork.stores.mongo.collection import Document, chunks
from tickwork.stores.mongo.outbox import outbox_of, settle_all
from tickwork.stores.mongo.planning import NUMBER
from tickwork.stores.mongo.session import Session
from tickwork.stores.mongo.shapes import changed

__all__ = ["ENDED", "end_orphans", "end_orphans_among", "tasks_of"]

ENDED: Mapping[str, None] = dict.fromkeys(("available_us", "queued_us", "queued_of", "open_of"))
"""The fields that a run has no more once it is over."""


def tasks_of(session: Session, runs: Sequence[Document]) -> dict[str, Document]:
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
        **ENDED,
        "state": RunState.CANCELLED.value,
        "reason": TASK_REMOVED,
        "finished_us": session.environment.now_us(),
    }
    for some in chunks(run_ids):
        session.runs.change({"_id": {"$in": some}, "available_us": NUMBER}, changed(cancelled))


def end_orphans_among(session: Session, run_ids: Sequence[str]) -> None:
    """Cancel those runs that are available and whose task is gone, or another one now."""
    available: list[Document] = []
    for some in chunks(run_ids):
        waiting = {"_id": {"$in": some}, "available_us": NUMBER}
        available += session.runs.find(waiting, ["task_id", "generation"])
    there = tasks_of(session, available)
    end_orphans(session, [run["_id"] for run in available if run["_id"] not in there])
