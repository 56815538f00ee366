"""What follows for a task from the end of its runs: its next fire time, and its queued runs.

**A task that waits for the end of its run** (fixed delay) moves on by a change of its own. The run
that ended carries a mark until then, put there by the same change that ended it; the change of the
task says for which runs it was made, and settling it takes their marks away. So whoever finds the
mark, whenever, may do this: if it was done, settling has taken the mark away before the task could
be read without an outbox; if others are doing it at the same time, one of the changes fails. How
many runs are active is counted after the mark was put: of two runs that end at the same time, the
later one sees both.

**Queued runs are let go** when a run of their task ends, as many as `max_instances` leaves room
for. Two must not let go into the same room, so this is a change of the task as well, that names the
runs; between reading the task and changing it, runs may end, but none can begin to count. A step
that ends a run looks for queued ones afterwards, and one that queues runs looks afterwards whether
any has ended which it had still counted (`queued_behind`): one of the two sees the other. If the
process ends before it has looked, runs may be queued behind nobody, which `recover` looks for.
"""

from collections.abc import Iterable, Mapping, Sequence
from random import sample
from typing import Any, NamedTuple

from tickwork.errors import StoreUnavailableError
from tickwork.model.definition import Definition, Unreadable
from tickwork.model.policies import RunState
from tickwork.model.records import TaskRecord, copied
from tickwork.model.steps import AfterRun, Ended
from tickwork.stores.mongo.collection import Document, chunks
from tickwork.stores.mongo.outbox import UNMARKED, Outbox, settle
from tickwork.stores.mongo.session import PRESENT, VISIBLE, Session, new_token
from tickwork.stores.mongo.shapes import task_fields
from tickwork.stores.mongo.tasks import Change, commit_all, count_runs, records, settled

__all__ = [
    "End",
    "Foreseen",
    "follow",
    "foresee",
    "let_go",
    "let_queued_go",
    "queued_behind",
    "stuck",
]

_STATES = {state.value: state for state in RunState}

_TRIES = 20

_AT_ONCE = 1_000
"""How many runs of a task one change lets go."""


class End(NamedTuple):
    """The end of a run that is to be written: of which task, and how, where something follows."""

    task_id: str
    generation: int
    how: Ended | None
    queued: bool = False


class Foreseen(NamedTuple):
    """How a task will move on for some ends, if it stands by then as it was `expected` to."""

    expected: TaskRecord
    ends: Sequence[Ended]
    moved: TaskRecord


def foresee(session: Session, ends: Iterable[End], after_run: AfterRun) -> dict[str, Foreseen]:
    """Ask how tasks move on once some of their runs have ended; nothing happens yet.

    What `after_run` raises comes out while nothing has been written.
    """
    by_task: dict[tuple[str, int], list[End]] = {}
    for each in ends:
        by_task.setdefault((each.task_id, each.generation), []).append(each)
    following = {key[0] for key, these in by_task.items() if any(each.how for each in these)}
    foreseen = {}
    for task in records(session, settled(session, sorted(following)).values()):
        these = by_task.get((task.id, task.generation), ())
        how = sorted(each.how for each in these if each.how)
        if how and not isinstance(task.definition, Unreadable):
            task.active -= len(these)
            task.queued -= sum(each.queued for each in these)
            moved = copied(task)
            after_run(moved, how)
            foreseen[task.id] = Foreseen(task, how, moved)
    return foreseen


def follow(
    session: Session,
    ids: Iterable[str],
    after_run: AfterRun,
    foreseen: Mapping[str, Foreseen] | None = None,
) -> None:
    """Move tasks on for those of their runs that are marked."""
    left = sorted(set(ids))
    for _ in range(_TRIES):
        left = _followed(session, left, after_run, foreseen or {})
        if not left:
            return
    raise StoreUnavailableError(f"task {left[0]!r} is being changed by too many at once; try again")


def _followed(
    session: Session, ids: Sequence[str], after_run: AfterRun, foreseen: Mapping[str, Foreseen]
) -> list[str]:
    """Move tasks on; return the ids of those that have to be looked at again."""
    standing = _standing(session, ids)
    # Read after the tasks: a mark that is still there wasn't counted by any change up to them.
    marked = _marked(session, ids)
    odd = [
        task_id
        for task_id in marked
        if len(_mine(marked, standing, task_id)) < len(marked[task_id])
    ]
    if odd:
        _unmark(session, odd, marked)
    token = new_token()
    changes = []
    for task_id in marked:
        mine = _mine(marked, standing, task_id)
        if mine:
            record = standing[task_id]
            moved = _moved(record, _ends(mine), after_run, foreseen)
            fields = task_fields(moved, session.codec)
            followed = [run["_id"] for run in mine]
            changes.append(_change(session, record, fields, token, followed=followed))
    # Of which it isn't known that they were changed are looked at again, too.
    moved_on = _commit(session, changes, token)
    return [change.task_id for change in changes if change.task_id not in moved_on]


def _standing(session: Session, ids: Sequence[str]) -> dict[str, TaskRecord]:
    found = records(session, settled(session, ids).values())
    return {record.id: record for record in found}


def _marked(session: Session, ids: Sequence[str]) -> dict[str, list[Document]]:
    """Return the marked runs of tasks by the ids of the tasks."""
    marked: dict[str, list[Document]] = {}
    for some in chunks(ids):
        fields = ["follows_of", "generation", "state", "finished_us"]
        for run in session.runs.find({"follows_of": {"$in": some}}, fields):
            marked.setdefault(run["follows_of"], []).append(run)
    return marked


def _mine(
    marked: Mapping[str, Sequence[Document]], standing: Mapping[str, TaskRecord], task_id: str
) -> list[Document]:
    """Return the marked runs for which a task moves on."""
    record = standing.get(task_id)
    if record is None or isinstance(record.definition, Unreadable):
        return []
    return [run for run in marked[task_id] if run["generation"] == record.generation]


def _unmark(session: Session, ids: Sequence[str], marked: Mapping[str, Sequence[Document]]) -> None:
    """Take the marks of runs away for which nothing follows: their task is gone, or unreadable."""
    # Read after the marks: a task that isn't there now will not come back as it was.
    standing = _standing(session, ids)
    mine = {run["_id"] for task_id in ids for run in _mine(marked, standing, task_id)}
    others = [run["_id"] for each in ids for run in marked[each] if run["_id"] not in mine]
    for some in chunks(others):
        session.runs.change({"_id": {"$in": some}}, UNMARKED)


def _ends(runs: Sequence[Document]) -> list[Ended]:
    # A word that isn't known here can only be that of something unusual.
    return sorted(
        Ended(_STATES.get(run["state"], RunState.LOST), run["finished_us"]) for run in runs
    )


def _moved(
    record: TaskRecord,
    ends: Sequence[Ended],
    after_run: AfterRun,
    foreseen: Mapping[str, Foreseen],
) -> TaskRecord:
    known = foreseen.get(record.id)
    if known is not None and (known.expected, known.ends) == (record, ends):
        return known.moved
    moved = copied(record)
    after_run(moved, ends)
    return moved


def _change(
    session: Session, record: TaskRecord, fields: Document, token: str, **what: Any
) -> Change:
    """Return the change of a task that has some effect on its runs."""
    born, at_us = record.revision + 1, session.environment.now_us()
    outbox = Outbox(record.id, token, record.generation, born, at_us, **what)
    return Change(record.id, record.revision, fields, outbox)


def _commit(session: Session, changes: Sequence[Change], token: str) -> set[str]:
    """Change tasks that are as they were, and settle; return the ids of those."""
    if not changes:
        return set()
    ours, _ = commit_all(session, changes, token)
    boxes = [each.outbox for each in changes if each.outbox and each.task_id in ours]
    settle(session, boxes, own=True)
    return ours


def let_go(session: Session, ids: Iterable[str]) -> None:
    """Let queued runs of tasks go, as far as there is room beside the others."""
    left: list[str] = []
    for some in chunks(sorted(set(ids))):
        left += session.runs.values("queued_of", {"queued_of": {"$in": some}, **VISIBLE})
    let_queued_go(session, left)


def let_queued_go(session: Session, ids: Iterable[str]) -> None:
    """Do the same of tasks that are known to have queued runs."""
    left = sorted(ids)
    for _ in range(_TRIES):
        if not left:
            return
        left = _let_go(session, left)
    raise StoreUnavailableError(f"task {left[0]!r} is being changed by too many at once; try again")


def _let_go(session: Session, ids: Sequence[str]) -> list[str]:
    """Let queued runs of tasks go; return the ids of those that have to be looked at again."""
    token = new_token()
    changes = []
    for record in _standing(session, ids).values():
        definition = record.definition
        limit = definition.max_instances if isinstance(definition, Definition) else 1
        room = min(limit - (record.active - record.queued), record.queued, _AT_ONCE)
        if room > 0:
            longest = _longest_queued(session, record, room)
            release = [run["_id"] for run in longest]
            keys = sorted({run["gate"] for run in longest if "gate" in run})
            changes.append(_change(session, record, {}, token, release=release, keys=keys))
    gone = _commit(session, changes, token)
    return [
        each.task_id
        for each in changes
        if each.task_id not in gone or (each.outbox and len(each.outbox.release) == _AT_ONCE)
    ]


def _longest_queued(session: Session, record: TaskRecord, limit: int) -> list[Document]:
    queued = {"queued_of": record.id, "generation": record.generation, **VISIBLE}
    order = [("queued_us", 1), ("_id", 1)]
    return session.runs.find(queued, ["gate"], order=order, limit=limit)


def queued_behind(session: Session, boxes: Sequence[Outbox], active: Mapping[str, int]) -> None:
    """Let queued runs of outboxes go, if others which they were queued behind ended meanwhile.

    `active` is how many runs of each task were active when it was decided.
    """
    for box in boxes:
        before = active.get(box.task_id, 0)
        if before and any("queued_of" in run for run in box.runs):
            counts = count_runs(session, [box.task_id], born={"$lt": box.born})
            left, _ = counts.get((box.task_id, box.generation), (0, 0))
            if left < before:
                let_go(session, [box.task_id])


def stuck(session: Session, limit: int) -> list[str]:
    """Return tasks of which all runs are queued; look at up to `limit` that have queued ones."""
    tasks = session.runs.values("queued_of", {"queued_of": PRESENT, **VISIBLE})
    # By chance, so that all have their turn.
    counts = count_runs(session, sample(tasks, min(limit, len(tasks))))
    return sorted({key[0] for key, (active, queued) in counts.items() if active == queued})
