"""Giving pending runs to nodes.

Runs are looked for, and then changed under the condition that they are still available, with one
fence for the step; which of them carry it afterwards is asked. Between the two, others may have
leased some of them, and their tasks may have been removed, which cancels them: then they aren't
available any more.
"""

from collections.abc import Sequence

from tickwork.model.definition import Unreadable
from tickwork.model.records import Leased
from tickwork.model.steps import UNREADABLE_AGAIN_US, Deferral, LeaseReply, LeaseRequest
from tickwork.stores.mongo.collection import Document, chunks
from tickwork.stores.mongo.orphans import definitions_of, end_orphans
from tickwork.stores.mongo.planning import eligible, leased_to, sorted_out
from tickwork.stores.mongo.session import NUMBER, VISIBLE, Session
from tickwork.stores.mongo.shapes import changed, run_of

__all__ = ["lease"]

_OLDEST_FIRST = [("available_us", 1)]
_IN_LINE = [("rank", 1), ("available_us", 1), ("_id", 1)]
_LOOKED_AT = [
    "task_id",
    "generation",
    "executor",
    "function",
    "rank",
    "available_us",
    "suspect",
    "definition",
]
_FEW = 200


def lease(session: Session, request: LeaseRequest) -> LeaseReply:
    """Do a store's `lease`."""
    next_us = _next_available(session, request)
    if next_us is None or next_us > request.now_us:
        return LeaseReply(next_us=next_us)
    if not any(request.capacity.values()):
        return LeaseReply()
    session.require_alive(request.node)
    leased, deferred = _take(session, request, _available(session, request))
    return LeaseReply(leased, None if leased else next_us, deferred)


def _next_available(session: Session, request: LeaseRequest) -> int | None:
    where = {"available_us": NUMBER, **_leasable(request)}
    if not request.suspects:
        where["suspect"] = False
    found = session.runs.find(
        where,
        ["task_id", "function", "available_us"],
        order=_OLDEST_FIRST,
        limit=1,
        which=sorted_out(request.eligibility, "task_id"),
    )
    return found[0]["available_us"] if found else None


def _leasable(request: LeaseRequest) -> Document:
    return {**eligible(request.eligibility, "task_id"), **VISIBLE}


def _available(session: Session, request: LeaseRequest) -> list[Document]:
    """Return runs that may be leased, in line."""
    executors = request.eligibility.executors
    left = {name: room for name, room in request.capacity.items() if room > 0 and name in executors}
    found: list[Document] = []
    if request.suspects and left:
        found += _waiting(session, request, list(left), limit=1, suspect=True)
        for run in found:
            left[run["executor"]] -= 1
    for executor, room in left.items():
        if room:
            found += _waiting(session, request, [executor], limit=room, suspect=False)
    return sorted(found, key=lambda run: (_rank(run), run["available_us"], run["_id"]))


def _waiting(
    session: Session, request: LeaseRequest, executors: list[str], *, limit: int, suspect: bool
) -> list[Document]:
    where = {
        "available_us": {"$lte": request.now_us},
        **_leasable(request),
        "executor": {"$in": executors},
        "suspect": suspect,
    }
    only = request.only
    which = sorted_out(request.eligibility, "task_id")
    if only is not None and len(only) <= _FEW:
        where["_id"] = {"$in": sorted(only)}
    elif only is not None:
        excluded = which
        which = lambda run: run["_id"] in only and (excluded is None or excluded(run))  # noqa: E731
    wide = session.crowd.widened(limit)
    found = session.runs.find(where, _LOOKED_AT, order=_IN_LINE, limit=wide, which=which)
    # Chance is for those of the same rank: where there aren't enough of these, none is left.
    first = [run for run in found if _rank(run) == _rank(found[0])]
    return session.crowd.share(first, limit) if len(first) > limit else found[:limit]


def _rank(run: Document) -> int:
    rank: int = run.get("rank", 0)
    return rank


def _take(
    session: Session, request: LeaseRequest, found: Sequence[Document]
) -> tuple[list[Leased], list[tuple[str, Deferral]]]:
    """Lease runs, as far as they have a task that can be executed."""
    definitions = definitions_of(session, found)
    fit = []
    orphans = []
    odd = []
    deferred: dict[str, Deferral] = {}
    for run in found:
        definition = definitions.get(run["_id"])
        if definition is None:
            orphans.append(run["_id"])
        elif isinstance(definition, Unreadable) and "definition" in run:
            odd.append(run["_id"])
        elif isinstance(definition, Unreadable):
            deferred[run["task_id"]] = Deferral(definition.reason)
        else:
            fit.append((run, definition))
    end_orphans(session, orphans)
    _offer_later(session, request, odd)
    taken = _leased(session, request, [run for run, _ in fit])
    leased = [
        Leased(run_of(taken[run["_id"]], session.codec), definition)
        for run, definition in fit
        if run["_id"] in taken
    ]
    return leased, list(deferred.items())


def _offer_later(session: Session, request: LeaseRequest, run_ids: Sequence[str]) -> None:
    """Leave runs of their own that can't be understood here to others for a while."""
    later_us = request.now_us + UNREADABLE_AGAIN_US
    for some in chunks(run_ids):
        still = {"_id": {"$in": some}, "available_us": {"$lte": request.now_us}}
        session.runs.change(still, changed({"available_us": later_us}))


def _leased(
    session: Session, request: LeaseRequest, runs: Sequence[Document]
) -> dict[str, Document]:
    """Lease those runs that are still available; return them by id."""
    if not runs:
        return {}
    fence = session.next_fence()
    taken: dict[str, Document] = {}
    for suspect in (True, False):
        ids = [run["_id"] for run in runs if run["suspect"] is suspect]
        for some in chunks(ids):
            available = {"$lte": request.now_us}
            still = {"_id": {"$in": some}, "available_us": available, "suspect": suspect}
            session.runs.change(*leased_to(request.node, fence, still))
            found = session.runs.find({"_id": {"$in": some}, "fence": fence})
            taken.update((run["_id"], run) for run in found)
    session.crowd.note(met=len(taken) < len(runs))
    return taken
