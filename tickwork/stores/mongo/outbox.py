"""How a task and its runs change together where no two documents do.

**One compare-and-set decides.** A step that moves a task on compares its `revision`, and writes in
the same change of one document what else follows from it: the task's *outbox*, with the runs to
make, which pending ones to cancel, which queued ones to let go. From then on the step has happened;
what is left is work that anybody can do, any number of times. Whoever wants to change a task whose
outbox isn't empty settles it first, so there is never more than one. Who finds such tasks: their
planner at once, whoever else plans, edits or finishes something of them, and each `recover`.

**Runs tell the truth about runs.** No count is kept anywhere: how many runs of a task are active
or queued is counted when it is asked (`tasks`). The end of a run is therefore one change of one
document. Where more follows from it (a fixed delay, the next one to have its key), the same change
leaves a mark on the run (`follows_of`, `opens`), and the mark goes when that was done (`following`,
`gates`). Only how many scheduled runs were ever made is counted by the changes that make them:
runs are forgotten.

**Settling** an outbox with a token, by anybody, at any time:

1. Each run is inserted as a *draft*, which nobody sees, with a nonce of the one who inserts it.
   One that is there already, or whose slot is taken, is refused by the unique indexes.
2. The task is read: is the outbox still there? If not, others have settled it. All its runs were
   there before it was emptied; drafts of ours are of runs that have been executed and forgotten
   since, and are removed.
3. If it is, the drafts are made runs: those of ours, and those of others by the nonces that
   were seen before the task was read.
4. The rest is done: pending runs that the task had made by then are cancelled, queued ones let go,
   marks taken away; keys are given to those that wait for one from now on, and to the next ones
   after those that end. Each names what it is about, and changes only what is still so. (Who stands
   still between 2 and 4 may cancel late; a run that was under way when it was asked for, and waits
   for its next attempt by then, is cancelled with the others.)
5. The outbox is emptied if it is still the one with this token; a removed task goes with it. Runs
   whose slots were taken aren't counted any more.

Why none is lost: 5 comes only after 1 to 4 were acknowledged, and until then the outbox is there
for the next one to begin at 1. Why none is doubled: a run has its id from the outbox, and its slot;
both are unique, as long as it is stored. It is forgotten (`pruning`) only after its outbox was
emptied; who comes later with an old copy of the outbox fails at 2, however long he stood still
before; who stands still between 2 and 3 finds no draft with the nonces that he has seen, because
those were made runs before the outbox was emptied. A draft is thus either about to be made a run by
whoever settles next, or garbage, which `recover` sweeps up: it is garbage exactly if its task's
outbox is not there.

Why only the planner leases what it planned: others insert its runs as available to all, since
nobody knows whether it still waits for them; it looks afterwards which of the runs are its own.

A crash of the server is a crash of all: single documents are written whole, in an order of which it
keeps a beginning. Of commands that change many documents some may then have been changed.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from tickwork.model.policies import RunState, Source
from tickwork.stores.mongo.collection import Document, chunks
from tickwork.stores.mongo.gates import attend, open_gates
from tickwork.stores.mongo.session import PRESENT, VISIBLE, Session, new_token
from tickwork.stores.mongo.shapes import ended

__all__ = [
    "RUNS_LIMIT",
    "UNMARKED",
    "Outbox",
    "counts_as_made",
    "outbox_of",
    "settle",
    "settle_all",
    "sweep",
    "too_many",
]

RUNS_LIMIT = 10_000
"""How many runs one change may make: they are all in one document, which ends at 16 MB.

Nor are many more made by one command, which has to end in time.
"""

UNMARKED: Mapping[str, Any] = {"$unset": {"follows_of": "", "follows_us": ""}}
"""The change of a run from which nothing follows any more; of an earlier version, too."""

_MADE = {"$unset": {"draft": ""}, "$rename": {"later_us": "available_us"}}
_EMPTIED = {"$unset": {"owing": "", "outbox": ""}}


class Outbox(NamedTuple):
    """What is still to be done for a change of a task.

    `runs` are documents of runs to make, `release` the ids of queued runs that may go, `keys` the
    keys of these, `followed` the ids of runs for which the task has moved on. Runs of the
    `generation` that are pending, and were made by the revision `born` or before, are cancelled for
    the reason `cancel`.
    """

    task_id: str
    token: str
    generation: int
    born: int
    at_us: int
    runs: Sequence[Document] = ()
    cancel: str | None = None
    release: Sequence[str] = ()
    keys: Sequence[str] = ()
    followed: Sequence[str] = ()
    gone: bool = False
    planned: bool = False

    def fields(self) -> Document:
        """Return the fields of the task that are this outbox."""
        kept = {name: value for name, value in self._asdict().items() if value}
        for elsewhere in ("task_id", "token", "gone"):
            kept.pop(elsewhere, None)
        # Numbers are kept also where they are 0.
        kept |= {"generation": self.generation, "born": self.born, "at_us": self.at_us}
        return {"owing": self.token, "outbox": kept, "gone": self.gone or None}


def outbox_of(task: Document) -> Outbox:
    """Return the outbox of a task's document that has one."""
    kept = task["outbox"]
    known = {name: kept[name] for name in Outbox._fields if name in kept}
    return Outbox(task_id=task["_id"], token=task["owing"], gone=bool(task.get("gone")), **known)


def counts_as_made(run: Document) -> bool:
    """Whether a run of an outbox counts among those that were ever made of its task."""
    return bool(run["state"] == RunState.PENDING.value and run["source"] == Source.SCHEDULED.value)


def too_many(runs: int) -> str:
    """Return why a change that makes so many runs is refused."""
    return f"{runs:,} runs at once are too many for a MongoDB store, which takes {RUNS_LIMIT:,}"


def settle(
    session: Session,
    boxes: Sequence[Outbox],
    instead: Mapping[str, Document] | None = None,
    *,
    own: bool = False,
) -> bool:
    """Do what outboxes say, and empty them.

    Runs named in `instead` are inserted as it says. With `own`, these are all outboxes of changes
    of ours that were acknowledged: only then no more of them can appear under their token. Return
    whether nobody else took part: then all runs are there as they were to be inserted.
    """
    nonce = new_token()
    documents = [
        _draft((instead or {}).get(run["_id"], run), f"{box.token}:{nonce}")
        for box in boxes
        for run in box.runs
    ]
    refused = [documents[place]["_id"] for place in session.runs.add(documents)]
    there = _there(session, refused)
    live = _live(session, boxes)
    if len(live) < len(boxes):
        _remove_drafts(session, [box for box in boxes if box not in live], nonce)
    _make_runs(session, live, nonce, whole=len(live) == len(boxes))
    _make_runs_of_others(session, live, [run for run in there if "draft" in run])
    _do_the_rest(session, live)
    _open_gates(session, live)
    if len(there) < len(refused):
        _count_less(session, live, set(refused) - {run["_id"] for run in there})
    _empty(session, live, own=own)
    return not refused and len(live) == len(boxes)


def settle_all(session: Session, boxes: Iterable[Outbox]) -> None:
    """Settle outboxes of others, however much there is to do."""
    some: list[Outbox] = []
    runs = 0
    for box in boxes:
        some.append(box)
        runs += len(box.runs)
        if runs >= RUNS_LIMIT:
            settle(session, some)
            some, runs = [], 0
    if some:
        settle(session, some)


def _draft(run: Document, draft: str) -> Document:
    """Return the document of a run as a draft, which isn't available to anybody."""
    document = {**run, "draft": draft}
    if "available_us" in document:
        document["later_us"] = document.pop("available_us")
    return document


def _there(session: Session, run_ids: Sequence[str]) -> list[Document]:
    """Return those of some runs that are there; of the others slots were taken."""
    found: list[Document] = []
    for some in chunks(run_ids):
        found += session.runs.find({"_id": {"$in": some}}, ["draft"])
    return found


def _live(session: Session, boxes: Sequence[Outbox]) -> list[Outbox]:
    """Return the outboxes that are still there."""
    tokens = sorted({box.token for box in boxes})
    found: set[tuple[str, str]] = set()
    for some in chunks(tokens):
        tasks = session.tasks.find({"owing": {"$in": some}}, ["owing"])
        found.update((task["_id"], task["owing"]) for task in tasks)
    return [box for box in boxes if (box.task_id, box.token) in found]


def _remove_drafts(session: Session, settled: Sequence[Outbox], nonce: str) -> None:
    for token in {box.token for box in settled}:
        ids = [run["_id"] for box in settled if box.token == token for run in box.runs]
        for some in chunks(ids):
            session.runs.remove({"_id": {"$in": some}, "draft": f"{token}:{nonce}"})


def _make_runs(session: Session, live: Sequence[Outbox], nonce: str, *, whole: bool) -> None:
    for token in dict.fromkeys(box.token for box in live if box.runs):
        draft = {"draft": f"{token}:{nonce}"}
        if whole:
            session.runs.change(draft, _MADE)
            continue
        ids = [run["_id"] for box in live if box.token == token for run in box.runs]
        for some in chunks(ids):
            session.runs.change({"_id": {"$in": some}, **draft}, _MADE)


def _make_runs_of_others(
    session: Session, live: Sequence[Outbox], others: Sequence[Document]
) -> None:
    awaited = {run["_id"] for box in live for run in box.runs}
    for draft in others:
        if draft["_id"] in awaited:
            session.runs.change_one(draft, _MADE)


def _do_the_rest(session: Session, live: Sequence[Outbox]) -> None:
    cancels = [(_cancellable(box), _cancelled(box)) for box in live if box.cancel is not None]
    session.runs.change_all(cancels)
    _release(session, live)
    for some in chunks([run_id for box in live for run_id in box.followed]):
        session.runs.change({"_id": {"$in": some}, "follows_of": {"$exists": True}}, UNMARKED)


def _release(session: Session, live: Sequence[Outbox]) -> None:
    for some in chunks([run_id for box in live for run_id in box.release]):
        queued = {"_id": {"$in": some}, "queued_of": {"$exists": True}}
        session.runs.change({**queued, "gate": {"$exists": False}}, _released("available_us"))
        if any(box.keys for box in live):
            session.runs.change({**queued, "gate": PRESENT}, _released("gated_us"))


def _released(name: str) -> Document:
    return {"$rename": {"queued_us": name}, "$unset": {"queued_of": ""}}


def _open_gates(session: Session, live: Sequence[Outbox]) -> None:
    """Give keys to those that begin to wait for one, and to the next ones after those that end."""
    for some in chunks([box.task_id for box in live if box.cancel is not None]):
        of_these = {"task_id": {"$in": some}, "opens": PRESENT}
        attend(session, session.runs.find(of_these, ["opens", "gate"]))
    keys = {run["gate"] for box in live for run in box.runs if "gated_us" in run}
    open_gates(session, keys.union(*(box.keys for box in live)))


def _count_less(session: Session, live: Sequence[Outbox], not_made: set[str]) -> None:
    """Empty outboxes of which some runs weren't made, and count these no more."""
    for box in live:
        less = sum(run["_id"] in not_made and counts_as_made(run) for run in box.runs)
        if less and not box.gone:
            owing = {"_id": box.task_id, "owing": box.token}
            session.tasks.change_one(owing, {**_EMPTIED, "$inc": {"made": -less}})


def _cancellable(box: Outbox) -> Document:
    return {
        "open_of": box.task_id,
        "generation": box.generation,
        "born": {"$lte": box.born},
        "state": RunState.PENDING.value,
        "node": {"$exists": False},
        **VISIBLE,
    }


def _cancelled(box: Outbox) -> Document:
    state = RunState.CANCELLED.value
    return ended({"state": state, "reason": box.cancel, "finished_us": box.at_us})


def _empty(session: Session, live: Sequence[Outbox], *, own: bool) -> None:
    for token, gone in dict.fromkeys((box.token, box.gone) for box in live):
        these: list[Document] = [{"owing": token, "gone": True if gone else {"$exists": False}}]
        if not own:
            ids = [box.task_id for box in live if (box.token, box.gone) == (token, gone)]
            these = [{**these[0], "_id": {"$in": some}} for some in chunks(ids)]
        for each in these:
            if gone:
                session.tasks.remove(each)
            else:
                session.tasks.change(each, _EMPTIED)


def sweep(session: Session, limit: int) -> None:
    """Remove drafts whose outbox isn't there: nobody will ever make them runs."""
    drafts = session.runs.find({"draft": {"$gte": ""}}, ["draft", "task_id"], limit=limit)
    owing: dict[str, str] = {}
    for some in chunks(sorted({draft["task_id"] for draft in drafts})):
        tasks = session.tasks.find({"_id": {"$in": some}}, ["owing"])
        owing.update((task["_id"], task.get("owing", "")) for task in tasks)
    for draft in drafts:
        if draft["draft"].partition(":")[0] != owing.get(draft["task_id"]):
            session.runs.remove({"_id": draft["_id"], "draft": draft["draft"]})
