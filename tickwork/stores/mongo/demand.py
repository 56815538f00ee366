"""Runs without a task, and ends on demand.

A run that waits for a key is added with a mark that goes once it stands in line (see `gates`). A
run is cancelled, or asked to end, by one change, under the condition that it is still without a
lease, or still leased; where it isn't, it is looked at again.
"""

from collections.abc import Iterable, Mapping, Sequence

from tickwork.errors import StoreUnavailableError
from tickwork.model.policies import TERMINAL, RunState
from tickwork.model.records import RunRecord, copied
from tickwork.model.steps import CancelRequest, Ended
from tickwork.stores.mongo.collection import Document, chunks
from tickwork.stores.mongo.following import End, follow, foresee, let_go
from tickwork.stores.mongo.gates import attend
from tickwork.stores.mongo.session import NUMBER, VISIBLE, Session
from tickwork.stores.mongo.shapes import ended, fitting, run_document, run_of

__all__ = ["asked", "cancel", "submit"]

_TRIES = 20
_TERMINAL = frozenset(state.value for state in TERMINAL)


def submit(session: Session, runs: Sequence[RunRecord]) -> None:
    """Do a store's `submit`."""
    documents = [_submitted(session, run) for run in runs]
    session.runs.add(documents)
    # Also of those that were there: whoever added them may not have come to this.
    attend(session, [document for document in documents if "opens" in document])


def _submitted(session: Session, run: RunRecord) -> Document:
    record = copied(run)
    if run.key is not None:
        record.gated_us, record.available_us = run.available_us or 0, None
    document = run_document(record, session.codec)
    if run.key is not None:
        document["opens"] = run.key
    return document


def cancel(session: Session, request: CancelRequest) -> list[RunRecord | None]:
    """Do a store's `cancel`."""
    found = _found(session, request.run_ids)
    # What `after_run` raises comes out while nothing has been written.
    foreseen = foresee(session, _ends(found.values(), request), request.after_run)
    for _ in range(_TRIES):
        open_runs = [run for run in found.values() if _is_open(run)]
        if not open_runs:
            break
        session.runs.change_each([_ended(run, request) for run in open_runs])
        found = _found(session, request.run_ids)
    else:
        raise StoreUnavailableError("these runs are being changed by too many at once; try again")
    followed = {run["follows_of"] for run in found.values() if "follows_of" in run}
    if followed:
        follow(session, followed, request.after_run, foreseen)
        let_go(session, followed)
    attend(session, [run for run in found.values() if "opens" in run])
    return [
        run_of(found[run_id], session.codec) if run_id in found else None
        for run_id in request.run_ids
    ]


def _found(session: Session, run_ids: Sequence[str]) -> Mapping[str, Document]:
    found: dict[str, Document] = {}
    for some in chunks(run_ids):
        runs = session.runs.find({"_id": {"$in": list(some)}, **VISIBLE})
        found.update((run["_id"], run) for run in runs)
    return found


def _ends(runs: Iterable[Document], request: CancelRequest) -> list[End]:
    how = Ended(RunState.CANCELLED, request.now_us)
    return [
        End(run["task_id"], run["generation"], how, queued="queued_of" in run)
        for run in runs
        if _is_open(run) and "node" not in run and "definition" not in run
    ]


def _is_open(run: Document) -> bool:
    """Whether there is something to write of a run whose end is asked for."""
    return run["state"] not in _TERMINAL and not ("node" in run and "cancel_us" in run)


def _ended(run: Document, request: CancelRequest) -> tuple[Document, Document]:
    """Return the condition and the change that end a run, or ask for its end."""
    if "node" in run:
        leased = {"_id": run["_id"], "fence": run["fence"], "node": run["node"]}
        return {**leased, "state": run["state"]}, {"$set": {"cancel_us": request.now_us}}
    free = {"_id": run["_id"], "state": run["state"], "node": {"$exists": False}}
    fields = {
        "state": RunState.CANCELLED.value,
        "reason": request.reason,
        "finished_us": request.now_us,
    }
    if "definition" not in run:
        fields["follows_of"] = run["task_id"]
    return free, ended(fitting(fields))


def asked(session: Session, node: str) -> list[str]:
    """Do a store's `asked`."""
    where = {"node": node, "cancel_us": NUMBER, "state": {"$nin": sorted(_TERMINAL)}, **VISIBLE}
    return [run["_id"] for run in session.runs.find(where, ["_id"], order=[("_id", 1)])]
