"""Forgetting old runs and finished tasks.

A run is forgotten only if the outbox that made it has been emptied, else it could be made again: so
the tasks of the runs are asked for their outboxes after the runs were read, and runs of those that
have one are left for the next time. Nor is a run forgotten that something still follows from, or
that is still leased.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import takewhile

from tickwork.model.policies import TERMINAL, ScheduleState
from tickwork.model.steps import PruneRequest
from tickwork.stores.mongo.collection import Document, chunks
from tickwork.stores.mongo.session import Session

__all__ = ["prune"]

_PAGE = 1_000
_PAGES = 10
_TERMINAL = sorted(state.value for state in TERMINAL)
_LINKED = ("follows_of", "opens", "node", "draft")
_LOOKED_AT = ["task_id", "created_us", "finished_us", "state", "expires_us", *_LINKED]
_OVER = {"state": {"$in": _TERMINAL}, **{name: {"$exists": False} for name in _LINKED}}


def prune(session: Session, request: PruneRequest) -> int:
    """Do a store's `prune`."""
    old = _old(session, request)
    finished = _finished(session, request)
    gone = 0
    for some in chunks(_forgettable(session, old[: request.limit])):
        gone += session.runs.remove({"_id": {"$in": some}, **_OVER})
    for task in finished:
        unchanged = {"_id": task["_id"], "revision": task["revision"], "owing": {"$exists": False}}
        gone += session.tasks.remove(unchanged)
    return gone


def _old(session: Session, request: PruneRequest) -> list[Document]:
    """Return runs that may go: expired and aged ones first."""
    old = {run["_id"]: run for run in _expired(session, request)}
    if len(old) < request.limit:
        old.update((run["_id"], run) for run in _aged(session, request))
    for task_id, kept in _longer(session, request.histories):
        if len(old) >= request.limit:
            break
        surplus = session.runs.find(
            {"task_id": task_id, **_OVER}, ["task_id"], order=[("_id", -1)], offset=kept
        )
        old.update((run["_id"], run) for run in reversed(surplus))
    return list(old.values())


def _longer(session: Session, histories: Mapping[str, int]) -> Iterator[tuple[str, int]]:
    """Yield the few tasks that have more runs than are kept, and how many are."""
    alike: dict[int, list[str]] = {}
    for task_id, kept in histories.items():
        alike.setdefault(kept, []).append(task_id)
    counted = {"$group": {"_id": "$task_id", "runs": {"$sum": 1}}}
    for kept, names in alike.items():
        too_many = {"$match": {"runs": {"$gt": kept}}}
        for some in chunks(names):
            theirs = {"$match": {"task_id": {"$in": some}}}
            for found in session.runs.groups(theirs, counted, too_many):
                yield found["_id"], kept


def _expired(session: Session, request: PruneRequest) -> list[Document]:
    expired = {"expires_us": {"$lte": request.now_us}, **_OVER}
    order = [("expires_us", 1)]
    return session.runs.find(expired, ["task_id"], order=order, limit=request.limit)


def _aged(session: Session, request: PruneRequest) -> list[Document]:
    """Return runs that ended long ago, and don't expire by themselves.

    No more are read than the oldest runs that there are.
    """
    aged: list[Document] = []
    last = ""
    limit = 1
    while len(aged) < request.limit:
        # Ids begin with the time of creation: behind the first young run all others are younger.
        page = session.runs.find(
            {"_id": {"$gt": last}}, _LOOKED_AT, order=[("_id", 1)], limit=limit
        )
        old = list(takewhile(lambda run: run["created_us"] < request.before_us, page))
        aged += [run for run in old if _is_aged(run, request.before_us)]
        if not page or len(old) < len(page):
            break
        last, limit = page[-1]["_id"], _PAGE
    return aged


def _is_aged(run: Document, before_us: int) -> bool:
    ended = run["state"] in _TERMINAL and run.get("finished_us", 0) < before_us
    return ended and not any(name in run for name in (*_LINKED, "expires_us"))


def _forgettable(session: Session, runs: Sequence[Document]) -> list[str]:
    """Return the ids of runs whose task has no outbox."""
    owing: set[str] = set()
    for some in chunks(sorted({run["task_id"] for run in runs})):
        tasks = session.tasks.find({"_id": {"$in": some}, "owing": {"$exists": True}}, ["_id"])
        owing.update(task["_id"] for task in tasks)
    return [run["_id"] for run in runs if run["task_id"] not in owing]


def _finished(session: Session, request: PruneRequest) -> list[Document]:
    """Return finished tasks that have no runs any more."""
    finished = {
        "updated_us": {"$lt": request.before_us},
        "state": ScheduleState.FINISHED.value,
        "disposable": True,
        "owing": {"$exists": False},
    }
    order = [("updated_us", 1), ("_id", 1)]
    found: list[Document] = []
    for offset in range(0, _PAGE * _PAGES, _PAGE):
        page = session.tasks.find(finished, ["revision"], order=order, limit=_PAGE, offset=offset)
        having: set[str] = set()
        for some in chunks([task["_id"] for task in page]):
            having.update(session.runs.values("task_id", {"task_id": {"$in": some}}))
        found += [task for task in page if task["_id"] not in having]
        if len(page) < _PAGE or len(found) >= request.limit:
            break
    return found[: request.limit]
