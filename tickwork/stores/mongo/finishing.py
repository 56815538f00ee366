"""Writing what happened to leased runs.

Each entry is one change of one document, under the condition that the run is still leased under the
entry's fence. Nearly always all of them are; if fewer were met, the runs are read, to tell apart
those whose lease was lost, those that an earlier, identical call has written, and those that are
given back although their end was asked for: they needn't wait for what they wait for.
"""

from collections.abc import Mapping, Sequence

from tickwork.model.policies import TERMINAL, RunState
from tickwork.model.steps import TASK_REMOVED, Batch, Ended, Finished, GivenBack, Mark, Note
from tickwork.stores.mongo.collection import Document, chunks
from tickwork.stores.mongo.following import End, Foreseen, follow, foresee, let_queued_go
from tickwork.stores.mongo.gates import attend_to
from tickwork.stores.mongo.orphans import end_orphans_among
from tickwork.stores.mongo.session import PRESENT, VISIBLE, Session
from tickwork.stores.mongo.shapes import changed, ended, fitting

__all__ = ["finish"]

_Entry = Mark | GivenBack | Finished

_TERMINAL = frozenset(state.value for state in TERMINAL)
_NOT_OVER = {"state": {"$nin": sorted(_TERMINAL)}}
_NOT_ASKED = {"cancel_us": {"$exists": False}}
_LEASED = {"node": {"$exists": True}}
_LOOKED_AT = ["fence", "node", "state", "finished_us", "reason", "cancel_us"]


def finish(session: Session, batch: Batch) -> frozenset[str]:
    """Do a store's `finish`."""
    foreseen = _foreseen(session, batch)
    session.runs.change_each([_noted(each) for each in batch.notes if _said(each)])
    marks: list[_Entry] = [*batch.marks, *(each for each in batch.finished if each.lingers)]
    lost = _write(session, marks)
    ends, refused = _ends(batch)
    lost_ends = _write(session, ends)
    left = [each for each in ends if each not in lost_ends]
    end_orphans_among(session, [each.run_id for each in left if isinstance(each, GivenBack)])
    _see_to(session, batch, [each for each in left if isinstance(each, Finished)], foreseen)
    return frozenset(each.run_id for each in (*lost, *lost_ends)) | refused


def _foreseen(session: Session, batch: Batch) -> dict[str, Foreseen]:
    """Ask what follows before anything is written, since that may raise."""
    entries, _ = _ends(batch)
    ends = [each for each in entries if isinstance(each, Finished)]
    follows = {(each.task_id, each.generation) for each in ends if each.follows}
    if not follows:
        return {}
    mine = [each for each in ends if (each.task_id, each.generation) in follows]
    found = _looked_at(session, [each.run_id for each in mine])
    held = (each for each in mine if _holds(found.get(each.run_id), each))
    over = [
        End(
            each.task_id,
            each.generation,
            Ended(each.state, each.finished_us) if each.follows else None,
        )
        for each in held
    ]
    return foresee(session, over, batch.after_run)


def _ends(batch: Batch) -> tuple[list[GivenBack | Finished], set[str]]:
    """Return the entries that end leases, one for each lease, and the ids of contradictory ones."""
    ends: dict[tuple[str, int], GivenBack | Finished] = {}
    refused = set()
    entries: list[GivenBack | Finished] = [*batch.given_back, *batch.finished]
    for each in entries:
        if isinstance(each, Finished) and each.lingers:
            continue
        if each != ends.setdefault((each.run_id, each.fence), each):
            refused.add(each.run_id)
    return list(ends.values()), refused


def _see_to(
    session: Session, batch: Batch, over: Sequence[Finished], foreseen: Mapping[str, Foreseen]
) -> None:
    """Do what follows for others from the end of runs."""
    followed = {each.task_id for each in over if each.follows}
    if followed:
        follow(session, followed, batch.after_run, foreseen)
    queued, marked = _waiting_for(session, over)
    let_queued_go(session, queued)
    if marked:
        attend_to(session, [each.run_id for each in over])


def _waiting_for(session: Session, over: Sequence[Finished]) -> tuple[set[str], bool]:
    """Return the tasks of runs that have queued ones, and whether any of the runs has a key."""
    found: list[Document] = []
    facts = {name: f"${name}" for name in ("queued_of", "generation", "opens")}
    for some in chunks(over):
        behind = {"queued_of": {"$in": sorted({each.task_id for each in some})}, **VISIBLE}
        with_key = {"_id": {"$in": [each.run_id for each in some]}, "opens": PRESENT}
        either = {"$match": {"$or": [behind, with_key]}}
        found += [each["_id"] for each in session.runs.groups(either, {"$group": {"_id": facts}})]
    # Another task of the same id has nothing to do with it.
    tasks = {(each.task_id, each.generation) for each in over}
    queued = {
        each["queued_of"] for each in found if "queued_of" in each and _task_of(each) in tasks
    }
    return queued, any("opens" in each for each in found)


def _task_of(queued: Document) -> tuple[str, int]:
    return queued["queued_of"], queued["generation"]


def _said(note: Note) -> Document:
    said = fitting({"progress": note.progress, "log": note.log})
    return {name: said[name] for name in ("progress", "log") if said[name] is not None}


def _noted(note: Note) -> tuple[Document, Document]:
    return {"_id": note.run_id, "fence": note.fence, **VISIBLE}, {"$set": _said(note)}


def _marked(mark: Mark) -> tuple[Document, Document]:
    # A start that is written down already stays as it is.
    waits = {**_leased(mark), "state": RunState.PENDING.value}
    return waits, changed({"state": RunState.RUNNING.value, "started_us": mark.started_us})


def _changed(entry: _Entry) -> tuple[Document, Document]:
    """Return the condition and the change that an entry is."""
    if isinstance(entry, Mark):
        return _marked(entry)
    if isinstance(entry, GivenBack):
        return {**_leased(entry), **_NOT_OVER, **_NOT_ASKED}, _given_back(entry)
    if entry.lingers:
        return {**_leased(entry), **_NOT_OVER}, _lingering(entry)
    return _leased(entry), _finished(entry)


def _leased(entry: _Entry) -> Document:
    return {"_id": entry.run_id, "fence": entry.fence, **_LEASED}


def _given_back(entry: GivenBack) -> Document:
    fields: Document = {
        "state": RunState.PENDING.value,
        "node": None,
        "available_us": entry.available_us,
        "reason": entry.reason,
    }
    if not entry.started:
        return {**changed(fitting({**fields, "started_us": None})), "$inc": {"attempt": -1}}
    if entry.error is None:
        return changed(fitting(fields))
    return {**changed(fitting({**fields, "errors": entry.error})), "$inc": {"failures": 1}}


def _finished(entry: Finished) -> Document:
    fields = {**_outcome(entry), "node": None}
    if entry.follows:
        fields["follows_of"] = entry.task_id
    return {**ended(fields), **_counted(entry)}


def _lingering(entry: Finished) -> Document:
    return {**changed(_outcome(entry)), **_counted(entry)}


def _outcome(entry: Finished) -> Document:
    fields: Document = {
        "state": entry.state.value,
        "finished_us": entry.finished_us,
        "result": entry.result,
        "reason": entry.reason,
        "expires_us": entry.expires_us,
    }
    if entry.started_us is not None:
        fields["started_us"] = entry.started_us
    if entry.errors is not None:
        fields["errors"] = entry.errors
    return fitting(fields)


def _counted(entry: Finished) -> Document:
    failed = entry.errors is not None and entry.state is not RunState.COMPLETED
    return {"$inc": {"failures": 1}} if failed else {}


def _write(session: Session, entries: Sequence[_Entry]) -> list[_Entry]:
    """Write entries about different leases; return those whose lease was lost."""
    if session.runs.change_each([_changed(each) for each in entries]) == len(entries):
        return []
    found = _looked_at(session, [each.run_id for each in entries])
    asked = [_at_once(each, found) for each in entries if isinstance(each, GivenBack)]
    if session.runs.change_each([each for each in asked if each is not None]):
        found = _looked_at(session, [each.run_id for each in entries])
    return [each for each in entries if not _stands(found.get(each.run_id), each)]


def _at_once(entry: GivenBack, found: Mapping[str, Document]) -> tuple[Document, Document] | None:
    """Return the condition and the change that give a run back whose end was asked for."""
    run = found.get(entry.run_id, {})
    if "cancel_us" not in run:
        return None
    # Once it was asked for, that stays as it is.
    return {**_leased(entry), **_NOT_OVER}, _given_back(
        entry._replace(available_us=run["cancel_us"])
    )


def _looked_at(session: Session, run_ids: Sequence[str]) -> Mapping[str, Document]:
    found: dict[str, Document] = {}
    for some in chunks(run_ids):
        runs = session.runs.find({"_id": {"$in": some}, **VISIBLE}, _LOOKED_AT)
        found.update((run["_id"], run) for run in runs)
    return found


def _holds(run: Document | None, entry: _Entry) -> bool:
    return run is not None and run["fence"] == entry.fence and "node" in run


def _stands(run: Document | None, entry: _Entry) -> bool:
    """Whether a run is as an entry says, by this call or by an earlier one."""
    if run is None or run["fence"] != entry.fence:
        return False
    if isinstance(entry, Mark):
        return "node" in run
    if isinstance(entry, Finished):
        over = run["state"], run.get("finished_us")
        return over == (entry.state.value, entry.finished_us) and (
            entry.lingers or "node" not in run
        )
    if "node" in run:
        return False
    # One given back whose task was gone is over by that.
    return run["state"] not in _TERMINAL or run.get("reason") == TASK_REMOVED
