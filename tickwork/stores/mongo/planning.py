"""Turning due tasks into runs: one change of each task decides, `outbox` does the rest.

A step that finds nothing due asks two questions of indexes that hold what waits, and writes
nothing.
"""

from collections.abc import Callable, Sequence

from tickwork.model.definition import Definition, Unreadable
from tickwork.model.instants import SECOND
from tickwork.model.policies import RunState, ScheduleState
from tickwork.model.records import Leased, RunRecord, TaskRecord
from tickwork.model.steps import (
    Deferral,
    Eligibility,
    Plan,
    PlannedRun,
    PlanReply,
    PlanRequest,
    new_run,
)
from tickwork.stores.mongo.collection import CHUNK, Document, chunks
from tickwork.stores.mongo.following import queued_behind
from tickwork.stores.mongo.outbox import (
    RUNS_LIMIT,
    Outbox,
    counts_as_made,
    outbox_of,
    settle,
    settle_all,
    too_many,
)
from tickwork.stores.mongo.session import NUMBER, PRESENT, VISIBLE, Session, new_token
from tickwork.stores.mongo.shapes import run_of, run_of_task
from tickwork.stores.mongo.tasks import Change, commit_all, records, settled_again

__all__ = ["eligible", "leased_to", "plan", "sorted_out"]

_NAMED = 2_000
"""How many exclusions a query names; where there are more, they are sorted out here."""

_LEFT_US = 2 * SECOND
"""How old an outbox is that its maker has probably left behind."""


def plan(session: Session, request: PlanRequest) -> PlanReply:
    """Do a store's `plan`."""
    next_us = _next_due(session, request)
    if next_us is None or next_us > request.now_us:
        _settle_left(session, request.now_us)
        return PlanReply(next_us=next_us)
    session.require_alive(request.node)
    due = _due(session, request)
    # Decisions come first: if one raises, nothing has happened yet.
    planning = _Planning(session, request, due)
    planning.write()
    # What comes next may be in the hands of others; the next look will tell.
    return PlanReply(planning.leased, planning.recorded, planning.deferred, None, more=bool(due))


def _next_due(session: Session, request: PlanRequest) -> int | None:
    found = session.tasks.find(
        {"wake_us": NUMBER, **eligible(request.eligibility, "_id")},
        ["wake_us", "function"],
        order=[("wake_us", 1)],
        limit=1,
        which=sorted_out(request.eligibility, "_id"),
    )
    return found[0]["wake_us"] if found else None


def _due(session: Session, request: PlanRequest) -> list[TaskRecord]:
    due = {"wake_us": {"$lte": request.now_us}, **eligible(request.eligibility, "_id")}
    which = sorted_out(request.eligibility, "_id")
    limit, order = session.crowd.widened(request.limit), [("wake_us", 1)]
    if limit > request.limit:
        wide = session.tasks.find(due, ["function"], order=order, limit=limit, which=which)
        due["_id"] = {"$in": [task["_id"] for task in session.crowd.share(wide, request.limit)]}
    found = session.tasks.find(due, order=order, limit=request.limit, which=which)
    if any("owing" in task for task in found):
        again = settled_again(session, {task["_id"]: task for task in found})
        found = [again[task["_id"]] for task in found if task["_id"] in again]
    return records(session, (task for task in found if _is_due(task, request.now_us)))


def _is_due(task: Document, now_us: int) -> bool:
    wake_us = task.get("wake_us")
    return wake_us is not None and wake_us <= now_us


def _settle_left(session: Session, now_us: int) -> None:
    """Settle what others have left behind, since there is nothing else to do."""
    left = {"owing": PRESENT, "outbox.at_us": {"$lte": now_us - _LEFT_US}}
    settle_all(session, map(outbox_of, session.tasks.find(left, limit=CHUNK)))


def eligible(eligibility: Eligibility, task_id: str) -> Document:
    """Return the conditions under which a node can deal with a document of a task or run."""
    conditions: Document = {"executor": {"$in": sorted(eligibility.executors)}}
    if 0 < len(eligibility.without_functions) <= _NAMED:
        conditions["function"] = {"$nin": sorted(eligibility.without_functions)}
    if 0 < len(eligibility.without_tasks) <= _NAMED:
        conditions[task_id] = {"$nin": sorted(eligibility.without_tasks)}
    return conditions


def sorted_out(eligibility: Eligibility, task_id: str) -> Callable[[Document], bool] | None:
    """Return what decides here about documents, where `eligible` would name too many."""
    functions, tasks = eligibility.without_functions, eligibility.without_tasks
    if max(len(functions), len(tasks)) <= _NAMED:
        return None
    return lambda found: found["function"] not in functions and found[task_id] not in tasks


class _Planning:
    """One step that plans."""

    def __init__(self, session: Session, request: PlanRequest, due: Sequence[TaskRecord]) -> None:
        self._session = session
        self._request = request
        self._token = new_token()
        self._capacity = dict(request.capacity)
        self._fence = session.next_fence() if due and any(self._capacity.values()) else 0
        self._changes: list[Change] = []
        self._active: dict[str, int] = {}
        self._definitions: dict[str, Definition] = {}
        self._instead: dict[str, Document] = {}
        self.leased: list[Leased] = []
        self.recorded: list[RunRecord] = []
        self.deferred: list[tuple[str, Deferral]] = []
        runs = 0
        for task in due:
            runs += self._consider(task)
            if runs >= RUNS_LIMIT:
                # The others are as due as before.
                break

    def _consider(self, task: TaskRecord) -> int:
        """Decide about a task; return how many runs are to be made of it."""
        definition = task.definition
        if isinstance(definition, Unreadable):
            self.deferred.append((task.id, Deferral(definition.reason)))
            return 0
        decision = self._request.decide(task)
        if isinstance(decision, Deferral):
            self.deferred.append((task.id, decision))
            return 0
        if len(decision.runs) > RUNS_LIMIT:
            self.deferred.append((task.id, Deferral(too_many(len(decision.runs)))))
            return 0
        self._move(task, definition, decision)
        return len(decision.runs)

    def _move(self, task: TaskRecord, definition: Definition, decision: Plan) -> None:
        born = task.revision + 1
        runs = [self._document(task, definition, each, born) for each in decision.runs]
        outbox = Outbox(
            task.id, self._token, task.generation, born, self._request.now_us,
            runs=runs, planned=True,
        )  # fmt: skip
        moved = _moved(decision)
        moved["made"] = task.made + sum(map(counts_as_made, runs))
        self._changes.append(Change(task.id, task.revision, moved, outbox if runs else None))
        self._active[task.id] = task.active
        self._definitions[task.id] = definition

    def _document(
        self, task: TaskRecord, definition: Definition, planned: PlannedRun, born: int
    ) -> Document:
        """Return the document of a run as anybody may insert it, and note how we do."""
        request, codec = self._request, self._session.codec
        pending = planned.state is RunState.PENDING
        free = self._capacity.get(definition.executor, 0)
        if not pending or planned.queued or free <= 0 or definition.concurrency_key is not None:
            run = new_run(planned, task, request.new_id(), request.now_us, None, 0)
            self.recorded.append(run)
            return run_of_task(run, codec, born, queued=pending and planned.queued)
        self._capacity[definition.executor] = free - 1
        run_id = request.new_id()
        run = new_run(planned, task, run_id, request.now_us, request.node, self._fence)
        self.leased.append(Leased(run, definition))
        self._instead[run_id] = run_of_task(run, codec, born, queued=False)
        free_run = new_run(planned, task, run_id, request.now_us, None, 0)
        return run_of_task(free_run, codec, born, queued=False)

    def write(self) -> None:
        """Move the tasks on and make their runs; keep what took effect."""
        session, changes = self._session, self._changes
        # Of which it isn't known, others have made the runs.
        moved, _ = commit_all(session, changes, self._token)
        session.crowd.note(met=len(moved) < len(changes))
        boxes = [each.outbox for each in changes if each.outbox and each.task_id in moved]
        alone = settle(session, boxes, self._instead, own=True)
        if not alone or len(moved) < len(changes):
            self._look_again(boxes)
        else:
            self._look_at_keys()
        queued_behind(session, boxes, self._active)

    def _look_at_keys(self) -> None:
        """Look which of the runs that waited for their key have it."""
        gated = [run.id for run in self.recorded if run.gated_us is not None]
        there = self._there(gated)
        self.recorded = [there.get(run.id, run) for run in self.recorded]

    def _look_again(self, boxes: Sequence[Outbox]) -> None:
        """Look what became of the runs: slots were taken, or others had a hand in it."""
        ids = [run["_id"] for box in boxes for run in box.runs]
        there = self._there(ids)
        if self._lease_instead([there[each] for each in ids if each in there]):
            there = self._there(ids)
        self.leased, self.recorded = [], []
        for run in (there[each] for each in ids if each in there):
            if self._is_mine(run):
                self.leased.append(Leased(run, self._definitions[run.task_id]))
            else:
                self.recorded.append(run)

    def _there(self, ids: Sequence[str]) -> dict[str, RunRecord]:
        there: dict[str, RunRecord] = {}
        for some in chunks(ids):
            found = self._session.runs.find({"_id": {"$in": some}, **VISIBLE})
            there.update((run["_id"], run_of(run, self._session.codec)) for run in found)
        return there

    def _is_mine(self, run: RunRecord) -> bool:
        return run.fence == self._fence and run.node == self._request.node

    def _lease_instead(self, runs: Sequence[RunRecord]) -> bool:
        """Lease other runs, in the places of those that weren't made; return whether there were."""
        left = dict(self._request.capacity)
        for run in runs:
            left[run.executor] = left.get(run.executor, 0) - self._is_mine(run)
        waiting = []
        for run in runs:
            if run.available_us is not None and run.key is None and left[run.executor] > 0:
                left[run.executor] -= 1
                waiting.append(run.id)
        for some in chunks(waiting):
            available = {"_id": {"$in": some}, "available_us": NUMBER}
            self._session.runs.change(*leased_to(self._request.node, self._fence, available))
        return bool(waiting)


def leased_to(node: str, fence: int, available: Document) -> tuple[Document, Document]:
    """Return the condition and the change that lease available runs; fences only ever grow."""
    how: Document = {"$set": {"node": node, "fence": fence}, "$inc": {"attempt": 1}}
    return {**available, "fence": {"$lt": fence}}, {**how, "$unset": {"available_us": ""}}


def _moved(decision: Plan) -> Document:
    state = decision.state
    return {
        "state": state.value,
        "fire_us": decision.fire_us,
        "due_us": decision.due_us,
        "wake_us": decision.due_us if state is ScheduleState.SCHEDULED else None,
        "planned_us": decision.planned_us,
        "catchup_us": decision.catchup_us,
        "problem": None,
    }
