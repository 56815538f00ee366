"""Writing what happened to leased runs.

Each entry is one change of one document, under the condition that the run is still leased under the
entry's fence. Nearly always all of them are; if fewer were met, the runs are read, to tell apart
those whose lease was lost and those that an earlier, identical call has written.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

from tickwork.model.policies import TERMINAL, RunState
from tickwork.model.steps import TASK_REMOVED, Batch, Finished, GivenBack, Mark
from tickwork.stores.mongo.collection import Document, chunks
from tickwork.stores.mongo.following import Foreseen, Key, follow, foresee, let_go
from tickwork.stores.mongo.orphans import end_orphans_among
from tickwork.stores.mongo.outbox import VISIBLE
from tickwork.stores.mongo.session import Session
from tickwork.stores.mongo.shapes import changed

__all__ = ["finish"]

_Entry = Mark | GivenBack | Finished

_TERMINAL = frozenset(state.value for state in TERMINAL)
_LEASED = {"node": {"$exists": True}}
_LOOKED_AT = ["task_id", "generation", "fence", "node", "state", "finished_us", "reason"]
_BYTES = {"result": 8_000_000, "errors": 4_000_000, "reason": 2_000_000}
"""How long the texts of a run may be, in UTF-8: a document ends at 16 MB."""

_LONGEST_CHARACTER = 4


def finish(session: Session, batch: Batch) -> frozenset[str]:
    """Do a store's `finish`."""
    foreseen = _foreseen(session, batch)
    rejected = _write(session, batch.marks, [_marked(each) for each in batch.marks])
    entries, refused = _ends(batch)
    rejected |= refused | _write(session, entries, [_ended(each) for each in entries])
    ends = [each for each in entries if each.run_id not in rejected]
    end_orphans_among(session, [each.run_id for each in ends if isinstance(each, GivenBack)])
    over = [each for each in ends if isinstance(each, Finished)]
    followed = {each.task_id for each in over if each.follows}
    if followed:
        follow(session, followed, batch.after_run, foreseen)
    if over:
        let_go(session, {each.task_id for each in over})
    return frozenset(rejected)


def _foreseen(session: Session, batch: Batch) -> dict[str, Foreseen]:
    """Ask what follows before anything is written, since that may raise."""
    follows = {
        (each.task_id, each.generation): each.finished_us for each in batch.finished if each.follows
    }
    if not follows:
        return {}
    entries, _ = _ends(batch)
    ends = [each for each in entries if isinstance(each, Finished)]
    mine = [each for each in ends if (each.task_id, each.generation) in follows]
    found = _looked_at(session, [each.run_id for each in mine])
    held = [each for each in mine if _holds(found.get(each.run_id), each)]
    over: Counter[Key] = Counter((each.task_id, each.generation) for each in held)
    awaited = {(each.task_id, each.generation): each.finished_us for each in held if each.follows}
    return foresee(session, over, awaited, batch.after_run)


def _ends(batch: Batch) -> tuple[list[GivenBack | Finished], set[str]]:
    """Return the entries that end leases, one for each run, and the ids of contradictory ones."""
    ends: dict[str, GivenBack | Finished] = {}
    refused = set()
    entries: list[GivenBack | Finished] = [*batch.given_back, *batch.finished]
    for each in entries:
        if each != ends.setdefault(each.run_id, each):
            refused.add(each.run_id)
    return list(ends.values()), refused


def _marked(mark: Mark) -> tuple[Document, Document]:
    # A start that is written down already stays as it is.
    waits = {**_leased(mark), "state": RunState.PENDING.value}
    return waits, changed({"state": RunState.RUNNING.value, "started_us": mark.started_us})


def _ended(entry: GivenBack | Finished) -> tuple[Document, Document]:
    change = _given_back(entry) if isinstance(entry, GivenBack) else _finished(entry)
    return _leased(entry), change


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
        return {**changed(_fitting({**fields, "started_us": None})), "$inc": {"attempt": -1}}
    if entry.error is None:
        return changed(_fitting(fields))
    return {**changed(_fitting({**fields, "errors": entry.error})), "$inc": {"failures": 1}}


def _finished(entry: Finished) -> Document:
    fields: Document = {
        "state": entry.state.value,
        "node": None,
        "open_of": None,
        "finished_us": entry.finished_us,
        "result": entry.result,
        "reason": entry.reason,
    }
    if entry.started_us is not None:
        fields["started_us"] = entry.started_us
    if entry.errors is not None:
        fields["errors"] = entry.errors
    if entry.follows:
        fields |= {"follows_of": entry.task_id, "follows_us": entry.finished_us}
    failed = entry.errors is not None and entry.state is not RunState.COMPLETED
    how = changed(_fitting(fields))
    return {**how, "$inc": {"failures": 1}} if failed else how


def _fitting(fields: Document) -> Document:
    """Return the fields without texts that are too long: the run is over, whatever it says."""
    too_long = [
        name
        for name, limit in _BYTES.items()
        if len(fields.get(name) or "") * _LONGEST_CHARACTER > limit
        and len(fields[name].encode("utf-8", "surrogatepass")) > limit
    ]
    if not too_long:
        return fields
    note = f"too long for MongoDB, and not kept: {', '.join(too_long)}"
    return {**fields, **dict.fromkeys(too_long), "reason": note}


def _write(
    session: Session,
    entries: Sequence[_Entry],
    changes: Sequence[tuple[Document, Document]],
) -> set[str]:
    """Write entries about different runs; return the ids of those whose lease was lost."""
    if session.runs.change_each(changes) == len(entries):
        return set()
    found = _looked_at(session, [each.run_id for each in entries])
    return {each.run_id for each in entries if not _stands(found.get(each.run_id), each)}


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
    if "node" in run:
        return False
    if isinstance(entry, Finished):
        ended = run["state"], run.get("finished_us")
        return ended == (entry.state.value, entry.finished_us)
    # One given back whose task was gone is over by that.
    return run["state"] not in _TERMINAL or run.get("reason") == TASK_REMOVED
