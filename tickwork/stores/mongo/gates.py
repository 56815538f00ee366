"""Keys: at most so many runs hold one at a time, and the next one gets it when one of them ends.

**The document of a key names its holders.** One change of that document, under the condition that
there is room, makes a run a holder; only then does the run's own document say that it holds its key
and is available. When a run is over, its own document says so first, and it is named no more then.
So there are never more that may be leased than are named. Where nobody is named, there is no
document.

**Nobody waits for ever.** A run that begins to wait for a key, or that ends, carries a mark
(`opens`), or comes out of an outbox, which is a mark as well. It goes once the gate of the key was
opened for it: the run that ended is named no more, and the first in line was made a holder for as
long as there was room. Who finds a mark, whenever, may do this; each part of it changes only what
is still so. `recover` looks for marks that were left behind.

**Who finds no room looks whether those named are there.** Whoever names a run may end before he
has told the run; or may have stood still until it was over, and then end before he takes its name
out again. The former are told, the latter are taken out. Room is thus never taken from those who
wait by anything but runs that hold the key: what stands in their way has been looked at since they
came, and whatever names a run later finds room only before they do, while their gate is being
opened for them.
"""

from collections.abc import Iterable, Sequence

from tickwork.stores.mongo.collection import Document, chunks
from tickwork.stores.mongo.session import NUMBER, PRESENT, VISIBLE, Session

__all__ = ["attend", "attend_to", "open_gates"]

_WAITING = {"gated_us": NUMBER, **VISIBLE}
_IN_LINE = [("rank", 1), ("gated_us", 1), ("_id", 1)]
_PAGE = 10
_UNMARKED = {"$unset": {"opens": ""}}


def attend_to(session: Session, run_ids: Sequence[str]) -> None:
    """Open the gates for those of some runs that carry a mark."""
    found: list[Document] = []
    for some in chunks(run_ids):
        found += session.runs.find({"_id": {"$in": some}, "opens": PRESENT}, ["opens", "gate"])
    attend(session, found)


def attend(session: Session, marked: Sequence[Document]) -> None:
    """Open the gates for runs that carry a mark, and take their marks away."""
    if not marked:
        return
    over = [run for run in marked if "gate" not in run]
    session.keys.change_each([_struck(run["opens"], [run["_id"]]) for run in over])
    let_in = open_gates(session, {run["opens"] for run in marked})
    _drop_unused(session, {run["opens"] for run in over})
    waiting = [run["_id"] for run in marked if "gate" in run and run["_id"] not in let_in]
    for some in chunks([run["_id"] for run in over]):
        session.runs.change({"_id": {"$in": some}}, _UNMARKED)
    for some in chunks(waiting):
        # Those that are over by now carry the mark of that.
        session.runs.change({"_id": {"$in": some}, "gate": PRESENT}, _UNMARKED)


def open_gates(session: Session, keys: Iterable[str]) -> set[str]:
    """Give keys to the first in line, as far as there is room; return who was let in."""
    let_in: set[str] = set()
    for key in sorted(set(keys)):
        _open(session, key, let_in)
    return let_in


def _open(session: Session, key: str, let_in: set[str]) -> None:
    more = True
    while more:
        line = session.runs.find(
            {"key": key, **_WAITING}, ["key_limit"], order=_IN_LINE, limit=_PAGE
        )
        more = len(line) == _PAGE
        for run in line:
            if not _name(session, key, run):
                more = _is_changed(session, key, run["key_limit"])
                break
            _tell(session, key, run["_id"])
            let_in.add(run["_id"])


def _name(session: Session, key: str, run: Document) -> bool:
    """Name a run among the holders of its key, if there is room; return whether it is one."""
    room = {f"holders.{run['key_limit'] - 1}": {"$exists": False}}
    where = {"_id": key, "$or": [room, {"holders": run["_id"]}]}
    if session.keys.change_one(where, {"$addToSet": {"holders": run["_id"]}}):
        return True
    return not session.keys.add([{"_id": key, "holders": [run["_id"]]}])


def _tell(session: Session, key: str, run_id: str) -> None:
    """Make a run available that has become a holder of its key."""
    held = {
        "$rename": {"gated_us": "available_us"},
        "$set": {"holds_key": True},
        "$unset": {"opens": ""},
    }
    if session.runs.change_one({"_id": run_id, **_WAITING}, held):
        return
    # Others have told it, or it is over by now, and maybe nobody else takes its name out any more.
    if session.runs.first({"_id": run_id, "gate": PRESENT}, ["_id"]) is None:
        session.keys.change_one(*_struck(key, [run_id]))
        _drop_unused(session, [key])


def _is_changed(session: Session, key: str, limit: int) -> bool:
    """Look after the holders of a key without room; return whether there may be room now."""
    document = session.keys.first({"_id": key})
    if document is None or len(document["holders"]) < limit:
        return True
    found: dict[str, Document] = {}
    for some in chunks(document["holders"]):
        runs = session.runs.find({"_id": {"$in": some}, "gate": PRESENT}, ["holds_key"])
        found.update((run["_id"], run) for run in runs)
    over = [run_id for run_id in document["holders"] if run_id not in found]
    untold = [run_id for run_id, run in found.items() if not run.get("holds_key")]
    if over:
        session.keys.change_one(*_struck(key, over))
    for run_id in untold:
        _tell(session, key, run_id)
    return bool(over or untold)


def _struck(key: str, run_ids: Sequence[str]) -> tuple[Document, Document]:
    """Return the condition and the change that name runs no more which are over."""
    return {"_id": key}, {"$pull": {"holders": {"$in": list(run_ids)}}}


def _drop_unused(session: Session, keys: Iterable[str]) -> None:
    for some in chunks(sorted(keys)):
        session.keys.remove({"_id": {"$in": some}, "holders": []})
