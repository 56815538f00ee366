"""The store that lives in this process: a real one, under the same rules as the others."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from threading import RLock
from typing import ClassVar

from tickwork.errors import LeaseLostError, StoreUnavailableError
from tickwork.interfaces import StoreEnvironment
from tickwork.model.definition import Definition
from tickwork.model.policies import TERMINAL, RunState, ScheduleState
from tickwork.model.records import Leased, NodeRecord, RunRecord, TaskRecord, copied
from tickwork.model.steps import (
    Batch,
    Beat,
    Deferral,
    Edit,
    Edited,
    Finished,
    GivenBack,
    LeaseReply,
    LeaseRequest,
    Mark,
    PlannedRun,
    PlanReply,
    PlanRequest,
    PruneRequest,
    RecoverReply,
    RecoverRequest,
    RunQuery,
    TASK_REMOVED,
    TaskQuery,
    new_run,
)
from tickwork.stores.memory import listing
from tickwork.stores.memory.shelves import Shelves

__all__ = ["MemoryStore"]


class MemoryStore:
    """Keeps tasks and runs in this process for as long as it lives.

    Several schedulers of the process may share one. Closing it keeps what it holds.
    """

    kind: ClassVar[str] = "memory"
    persistent: ClassVar[bool] = False

    def __init__(self) -> None:
        self._shelves = Shelves()
        self._lock = RLock()
        self._fence = 0
        self._environment: StoreEnvironment | None = None

    def open(self, environment: StoreEnvironment) -> None:
        self._environment = environment

    def close(self) -> None:
        self._environment = None

    def _now_us(self) -> int:
        if self._environment is None:
            raise StoreUnavailableError("the memory store isn't open; connect or start first")
        return self._environment.now_us()

    # --- definitions -------------------------------------------------------------------------

    def put(
        self,
        tasks: Sequence[TaskRecord],
        decide: Callable[[TaskRecord, TaskRecord], Edit],
        new_id: Callable[[], str],
    ) -> list[Edited]:
        with self._lock:
            now_us = self._now_us()
            kept = self._shelves.tasks
            edits = []
            new: dict[str, TaskRecord] = {}
            # Decisions come first: if one raises, nothing has happened yet.
            for task in tasks:
                existing = kept.get(task.id) or new.get(task.id)
                if existing is None:
                    new[task.id] = task
                    edits.append(Edit(task))
                else:
                    edits.append(decide(copied(existing), task))
            return [
                self._apply(task.id, edit, new_id, now_us)
                for task, edit in zip(tasks, edits, strict=True)
            ]

    def edit(
        self,
        ids: Sequence[str],
        decide: Callable[[TaskRecord], Edit],
        new_id: Callable[[], str],
    ) -> list[Edited]:
        with self._lock:
            now_us = self._now_us()
            kept = self._shelves.tasks
            edits = [decide(copied(kept[each])) if each in kept else None for each in ids]
            return [
                Edited(None) if edit is None else self._apply(each, edit, new_id, now_us)
                for each, edit in zip(ids, edits, strict=True)
            ]

    def _apply(self, task_id: str, edit: Edit, new_id: Callable[[], str], now_us: int) -> Edited:
        shelves = self._shelves
        existing = shelves.tasks.get(task_id)
        if edit.unchanged and existing is not None:
            return Edited(copied(existing))
        task = copied(edit.task) if edit.task is not None else None
        # Runs that an edit adds still belong to the task that was there.
        owner = existing or task
        made: list[RunRecord] = []
        if owner is not None and edit.runs:
            made = self._make(owner, edit.runs, new_id, now_us)
            if task is not None and task is not owner and task.generation == owner.generation:
                task.active, task.queued = owner.active, owner.queued
        if task is None:
            del shelves.tasks[task_id]
        else:
            task.revision = existing.revision + 1 if existing else 0
            shelves.place(task)
        if edit.cancel_pending is not None:
            self._cancel_pending(task_id, edit.cancel_pending, now_us)
        return Edited(copied(task) if task else None, [copied(run) for run in made])

    def _make(
        self,
        task: TaskRecord,
        planned: Sequence[PlannedRun],
        new_id: Callable[[], str],
        now_us: int,
    ) -> list[RunRecord]:
        made = []
        for each in planned:
            run = new_run(each, task, new_id(), now_us, None, 0)
            if not self._shelves.keep(run):
                continue
            made.append(run)
            self._line_up(task, run, queued=each.queued)
        return made

    def _line_up(self, task: TaskRecord, run: RunRecord, *, queued: bool) -> None:
        if run.state is not RunState.PENDING:
            return
        task.active += 1
        if queued:
            task.queued += 1
            self._shelves.queue(run)
        else:
            self._shelves.offer(run, run.due_us or 0)

    def _cancel_pending(self, task_id: str, reason: str, now_us: int) -> None:
        for run in list(self._shelves.by_task.get(task_id, {}).values()):
            if run.state is RunState.PENDING and run.node is None:
                run.state, run.reason = RunState.CANCELLED, reason
                run.finished_us, run.available_us = now_us, None
                self._over(run, None, now_us)

    def _require_alive(self, node: str) -> None:
        if node not in self._shelves.nodes:
            raise LeaseLostError(f"node {node} isn't registered (any more)")

    # --- planning and leasing ----------------------------------------------------------------

    def plan(self, request: PlanRequest) -> PlanReply:
        with self._lock:
            self._require_alive(request.node)
            shelves = self._shelves
            due = shelves.due(request.now_us, request.eligibility, request.limit)
            self._fence += 1
            capacity = dict(request.capacity)
            leased: list[Leased] = []
            recorded: list[RunRecord] = []
            deferred: list[tuple[str, Deferral]] = []
            for task in due:
                decision = request.decide(task)
                if isinstance(decision, Deferral):
                    deferred.append((task.id, decision))
                else:
                    task.state = decision.state
                    task.fire_us = decision.fire_us
                    task.due_us = decision.due_us
                    task.planned_us = decision.planned_us
                    task.catchup_us = decision.catchup_us
                    task.problem = None
                    task.revision += 1
                    for planned in decision.runs:
                        self._start_run(task, planned, request, capacity, leased, recorded)
                shelves.place(task)
            more = len(due) == request.limit
            next_us = None if more else shelves.next_due(request.eligibility)
            return PlanReply(leased, recorded, deferred, next_us, more)

    def _start_run(  # noqa: PLR0917  the hot path: one call a run
        self,
        task: TaskRecord,
        planned: PlannedRun,
        request: PlanRequest,
        capacity: dict[str, int],
        leased: list[Leased],
        recorded: list[RunRecord],
    ) -> None:
        definition = task.definition
        assert isinstance(definition, Definition)
        free = capacity.get(definition.executor, 0)
        if planned.state is RunState.PENDING and not planned.queued and free > 0:
            run = new_run(
                planned, task, request.new_id(), request.now_us, request.node, self._fence
            )
            if self._shelves.keep(run):
                capacity[definition.executor] = free - 1
                task.active += 1
                self._shelves.leased[request.node][run.id] = run
                # The one record that isn't a copy: its receiver only reads it, 100,000 a second.
                leased.append(Leased(run, definition))
            return
        run = new_run(planned, task, request.new_id(), request.now_us, None, 0)
        if self._shelves.keep(run):
            self._line_up(task, run, queued=planned.queued)
            recorded.append(copied(run))

    def lease(self, request: LeaseRequest) -> LeaseReply:
        with self._lock:
            self._require_alive(request.node)
            shelves = self._shelves
            leased: list[Leased] = []
            self._fence += 1
            suspects_left = int(request.suspects)
            for executor, room in request.capacity.items():
                suspects = self._take(request, executor, min(suspects_left, room), suspects=True)
                suspects_left -= len(suspects)
                others = self._take(request, executor, room - len(suspects), suspects=False)
                leased += [self._lease(run, request.node) for run in (*suspects, *others)]
            next_us = shelves.next_available(request.eligibility, suspects=request.suspects)
            return LeaseReply(leased, next_us)

    def _take(
        self, request: LeaseRequest, executor: str, limit: int, *, suspects: bool
    ) -> list[RunRecord]:
        return self._shelves.available(executor, request, limit, suspects=suspects)

    def _lease(self, run: RunRecord, node: str) -> Leased:
        run.node, run.fence = node, self._fence
        run.available_us = None
        run.attempt += 1
        self._shelves.leased[node][run.id] = run
        task = self._shelves.tasks[run.task_id]
        assert isinstance(task.definition, Definition)
        return Leased(copied(run), task.definition)

    # --- what happened to runs ---------------------------------------------------------------

    def finish(self, batch: Batch) -> frozenset[str]:
        with self._lock:
            rejected = [mark.run_id for mark in batch.marks if not self._mark(mark)]
            rejected += [each.run_id for each in batch.given_back if not self._give_back(each)]
            for each in batch.finished:
                if not self._finish(each, batch):
                    rejected.append(each.run_id)
            return frozenset(rejected)

    def _held(self, run_id: str, fence: int) -> RunRecord | None:
        run = self._shelves.runs.get(run_id)
        return run if run is not None and run.fence == fence else None

    def _mark(self, mark: Mark) -> bool:
        run = self._held(mark.run_id, mark.fence)
        if run is None or run.node is None:
            return False
        if run.state is RunState.PENDING:
            run.state, run.started_us = RunState.RUNNING, mark.started_us
        return True

    def _give_back(self, back: GivenBack) -> bool:
        run = self._held(back.run_id, back.fence)
        if run is None or run.state in TERMINAL:
            return False
        if run.node is None:
            return True
        self._unlease(run)
        if back.started:
            run.failures += back.error is not None
            run.errors = back.error or run.errors
        else:
            run.attempt -= 1
            run.started_us = None
        self._offer_again(run, back.available_us)
        return True

    def _offer_again(self, run: RunRecord, available_us: int) -> None:
        """Make a run pending again; one whose task is gone meanwhile is over."""
        task = self._shelves.tasks.get(run.task_id)
        if task is not None and task.generation == run.generation:
            run.state = RunState.PENDING
            self._shelves.offer(run, available_us)
            return
        run.state, run.reason = RunState.CANCELLED, TASK_REMOVED
        run.finished_us, run.available_us = self._now_us(), None

    def _unlease(self, run: RunRecord) -> None:
        if run.node is not None:
            self._shelves.leased[run.node].pop(run.id, None)
            run.node = None

    def _finish(self, finished: Finished, batch: Batch) -> bool:
        run = self._held(finished.run_id, finished.fence)
        if run is None:
            return False
        if run.node is None:
            return run.state is finished.state and run.finished_us == finished.finished_us
        self._unlease(run)
        run.state = finished.state
        if finished.started_us is not None:
            run.started_us = finished.started_us
        run.finished_us = finished.finished_us
        run.result, run.reason = finished.result, finished.reason
        if finished.errors is not None:
            run.errors = finished.errors
            run.failures += finished.state is not RunState.COMPLETED
        self._over(run, batch.after_run if finished.follows else None, finished.finished_us)
        return True

    def _over(
        self, run: RunRecord, after_run: Callable[[TaskRecord, int], None] | None, now_us: int
    ) -> None:
        """Let a task go on whose run has ended."""
        task = self._shelves.tasks.get(run.task_id)
        if task is None or task.generation != run.generation:
            self._shelves.queues.pop(run.task_id, None) if task is None else None
            return
        task.active -= 1
        if task.queued:
            self._release(task, run)
        if after_run is not None:
            task.revision += 1
            after_run(task, now_us)
            self._shelves.place(task)

    def _release(self, task: TaskRecord, over: RunRecord) -> None:
        queue = self._shelves.queues[task.id]
        if over in queue:
            queue.remove(over)
            task.queued -= 1
        definition = task.definition
        limit = definition.max_instances if isinstance(definition, Definition) else 1
        while queue and task.active - task.queued < limit:
            run = queue.popleft()
            task.queued -= 1
            self._shelves.offer(run, run.due_us or 0)
        if not queue:
            del self._shelves.queues[task.id]

    # --- nodes -------------------------------------------------------------------------------

    def beat(self, node: NodeRecord, lease_us: int, *, leaving: bool = False) -> Beat:
        with self._lock:
            now_us = self._now_us()
            nodes = self._shelves.nodes
            known = nodes.get(node.id)
            if leaving:
                if not self._shelves.leased.get(node.id):
                    nodes.pop(node.id, None)
                return Beat(known is not None, now_us)
            if node.beat_us and (known is None or known.expires_us == 0):
                return Beat(alive=False, now_us=now_us)
            nodes[node.id] = replace(node, beat_us=now_us, expires_us=now_us + lease_us)
            return Beat(alive=True, now_us=now_us)

    def recover(self, request: RecoverRequest) -> RecoverReply:
        with self._lock:
            now_us = self._now_us()
            recovered: list[RunRecord] = []
            dead = []
            for node in list(self._shelves.nodes.values()):
                if node.id == request.node or node.expires_us > now_us:
                    continue
                node.expires_us = 0
                dead.append(node.id)
                for run in list(self._shelves.leased[node.id].values()):
                    self._take_over(run, request)
                    recovered.append(copied(run))
                self._shelves.leased.pop(node.id, None)
                del self._shelves.nodes[node.id]
            if request.held is not None:
                recovered += self._give_back_strays(request.node, request.held)
            return RecoverReply(recovered, dead)

    def _take_over(self, run: RunRecord, request: RecoverRequest) -> None:
        task = self._shelves.tasks.get(run.task_id)
        alike = task is not None and task.generation == run.generation
        verdict = request.decide(copied(run), task.definition if task and alike else None)
        self._unlease(run)
        run.state, run.crashes = verdict.state, verdict.crashes
        run.suspect, run.reason = verdict.suspect, verdict.reason
        if verdict.state is RunState.PENDING:
            self._shelves.offer(run, run.due_us or 0)
        else:
            run.finished_us = request.now_us
            self._over(run, request.after_run, request.now_us)

    def _give_back_strays(self, node: str, held: frozenset[str]) -> list[RunRecord]:
        strays = [run for run in self._shelves.leased[node].values() if run.id not in held]
        for run in strays:
            self._unlease(run)
            run.attempt -= 1
            run.started_us = None
            self._offer_again(run, run.due_us or 0)
        return [copied(run) for run in strays]

    # --- history -----------------------------------------------------------------------------

    def prune(self, request: PruneRequest) -> int:
        with self._lock:
            shelves = self._shelves
            old = listing.prunable(shelves, request)
            for run in old:
                shelves.forget(run)
            finished = [
                task.id
                for task in shelves.tasks.values()
                if task.state is ScheduleState.FINISHED
                and task.active == 0
                and isinstance(task.definition, Definition)
                and task.definition.disposable
                and task.updated_us < request.before_us
                and task.id not in shelves.by_task
            ][: request.limit]
            for task_id in finished:
                del shelves.tasks[task_id]
            return len(old) + len(finished)

    # --- reading -----------------------------------------------------------------------------

    def get_task(self, task_id: str) -> TaskRecord | None:
        with self._lock:
            task = self._shelves.tasks.get(task_id)
            return copied(task) if task else None

    def find_tasks(self, query: TaskQuery) -> list[TaskRecord]:
        with self._lock:
            return [copied(task) for task in listing.tasks(self._shelves, query)]

    def get_run(self, run_id: str) -> RunRecord | None:
        with self._lock:
            run = self._shelves.runs.get(run_id)
            return copied(run) if run else None

    def find_runs(self, query: RunQuery) -> list[RunRecord]:
        with self._lock:
            return [copied(run) for run in listing.runs(self._shelves, query)]

    def nodes(self) -> list[NodeRecord]:
        with self._lock:
            return [copied(node) for node in self._shelves.nodes.values()]

    def counts(self) -> Mapping[str, int]:
        with self._lock:
            counts = dict.fromkeys((state.value for state in ScheduleState), 0)
            for task in self._shelves.tasks.values():
                counts[task.state.value] += 1
            return counts
