"""Planning and leasing what is held in memory."""

from tickwork.errors import LeaseLostError
from tickwork.model.definition import Definition, Unreadable
from tickwork.model.policies import RunState
from tickwork.model.records import Leased, RunRecord, TaskRecord, copied
from tickwork.model.steps import (
    UNREADABLE_AGAIN_US,
    Deferral,
    LeaseReply,
    LeaseRequest,
    Plan,
    PlannedRun,
    PlanReply,
    PlanRequest,
    new_run,
)
from tickwork.stores.shelves.editing import line_up
from tickwork.stores.shelves.finishing import definition_of, offer_again
from tickwork.stores.shelves.shelves import Shelves, available_of, place_of

__all__ = ["lease", "plan"]

_PENDING = RunState.PENDING


def _require_alive(shelves: Shelves, node_id: str) -> None:
    node = shelves.nodes.get(node_id)
    if node is None or not node.expires_us:
        raise LeaseLostError(f"node {node_id} isn't registered (any more)")


def plan(shelves: Shelves, request: PlanRequest) -> PlanReply:
    """Do a store's `plan`."""
    _require_alive(shelves, request.node)
    due = shelves.due(request.now_us, request.eligibility, request.limit)
    try:
        # Decisions come first: if one raises, nothing has happened yet.
        decisions = [request.decide(task) for task in due]
    except BaseException:
        for task in due:
            shelves.place(task)
        raise
    planning = _Planning(shelves, request)
    for task, decision in zip(due, decisions, strict=True):
        planning.apply(task, decision)
        shelves.place(task)
    more = len(due) == request.limit
    next_us = None if more else shelves.next_due(request.eligibility)
    return PlanReply(planning.leased, planning.recorded, planning.deferred, next_us, more)


class _Planning:
    """One step that plans."""

    def __init__(self, shelves: Shelves, request: PlanRequest) -> None:
        self._shelves = shelves
        self._request = request
        self._fence = shelves.next_fence()
        self._capacity = dict(request.capacity)
        self._of_node = shelves.leased[request.node]
        self.leased: list[Leased] = []
        self.recorded: list[RunRecord] = []
        self.deferred: list[tuple[str, Deferral]] = []

    def apply(self, task: TaskRecord, decision: Plan | Deferral) -> None:
        if isinstance(decision, Deferral):
            self.deferred.append((task.id, decision))
            return
        task.state = decision.state
        task.fire_us = decision.fire_us
        task.due_us = decision.due_us
        task.planned_us = decision.planned_us
        task.catchup_us = decision.catchup_us
        task.problem = None
        task.revision += 1
        definition = task.definition
        if not isinstance(definition, Unreadable):
            for planned in decision.runs:
                self._add(task, definition, planned)

    def _add(self, task: TaskRecord, definition: Definition, planned: PlannedRun) -> None:
        request, shelves = self._request, self._shelves
        free = self._capacity.get(definition.executor, 0)
        pending = planned.state is _PENDING
        if pending and not planned.queued and free > 0 and definition.concurrency_key is None:
            run = new_run(
                planned, task, request.new_id(), request.now_us, request.node, self._fence
            )
            if shelves.keep(run):
                self._capacity[definition.executor] = free - 1
                task.active += 1
                task.made += 1
                self._of_node[run.id] = run
                # The one record that isn't a copy: its receiver only reads it, 100,000 a second.
                self.leased.append(Leased(run, definition))
            return
        run = new_run(planned, task, request.new_id(), request.now_us, None, 0)
        if shelves.keep(run):
            line_up(shelves, task, run, queued=planned.queued)
            self.recorded.append(copied(run))


def lease(shelves: Shelves, request: LeaseRequest, now_us: int) -> LeaseReply:
    """Do a store's `lease`."""
    _require_alive(shelves, request.node)
    found = shelves.oldest_suspect(request) if request.suspects else []
    taken = {run.executor for run in found}
    for executor, room in request.capacity.items():
        left = room - (executor in taken)
        found += shelves.available(executor, request, left, suspects=False)
    found.sort(key=place_of)
    fence = shelves.next_fence()
    leased: list[Leased] = []
    deferred: list[tuple[str, Deferral]] = []
    for run in found:
        definition = definition_of(shelves, run)
        if definition is None:
            offer_again(shelves, run, available_of(run), now_us)
        elif isinstance(definition, Unreadable) and run.definition is not None:
            # No task of that name is to blame; another node may understand it.
            shelves.offer(run, request.now_us + UNREADABLE_AGAIN_US)
        elif isinstance(definition, Unreadable):
            shelves.offer(run, available_of(run))
            deferred.append((run.task_id, Deferral(definition.reason)))
        else:
            leased.append(_lease(shelves, run, definition, request.node, fence))
    next_us = shelves.next_available(request.eligibility, suspects=request.suspects)
    return LeaseReply(leased, next_us, deferred)


def _lease(  # noqa: PLR0917  cut out of the function above for its length
    shelves: Shelves, run: RunRecord, definition: Definition, node: str, fence: int
) -> Leased:
    run.node, run.fence = node, fence
    run.available_us = None
    run.attempt += 1
    shelves.leased[node][run.id] = run
    return Leased(copied(run), definition)
