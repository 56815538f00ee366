"""The store that lives in this process: a real one, under the same rules as the others."""

from collections.abc import Callable, Mapping, Sequence
from threading import RLock
from typing import ClassVar

from tickwork.errors import StoreUnavailableError
from tickwork.interfaces import StoreEnvironment
from tickwork.model.keeping import Document, DocumentQuery
from tickwork.model.locks import LockRecord, LockRequest
from tickwork.model.policies import RunState, ScheduleState
from tickwork.model.records import NodeRecord, RunRecord, TaskRecord, copied
from tickwork.model.steps import (
    Batch,
    Beat,
    CancelRequest,
    Edit,
    Edited,
    LeaseReply,
    LeaseRequest,
    PlanReply,
    PlanRequest,
    PruneRequest,
    RecoverReply,
    RecoverRequest,
    RunQuery,
    TaskQuery,
)
from tickwork.stores.memory.documents import Documents
from tickwork.stores.schedule_locks import ScheduleLocks
from tickwork.stores.shelves import editing, finishing, listing, locks, nodes, planning
from tickwork.stores.shelves.shelves import Shelves

__all__ = ["MemoryStore"]

_PARENTS = "it was under way in the parent of this process, which has a store of its own"


class MemoryStore(ScheduleLocks):
    """Keeps tasks and runs in this process for as long as it lives.

    Several schedulers of the process may share one; it is open as long as one of them has it open.
    Closing it keeps what it holds.
    """

    kind: ClassVar[str] = "memory"
    persistent: ClassVar[bool] = False

    def __init__(self) -> None:
        self._shelves = Shelves()
        self._documents = Documents()
        self._lock = RLock()
        self._environment: StoreEnvironment | None = None
        self._opened = 0

    def open(self, environment: StoreEnvironment) -> None:
        with self._lock:
            self._environment = environment
            self._opened += 1

    def close(self) -> None:
        with self._lock:
            self._opened = max(0, self._opened - 1)
            if not self._opened:
                self._environment = None

    def forsake(self) -> None:
        """Let go of what the parent of this process executes; this is a copy of its store."""
        self._lock = RLock()
        self._environment = None
        self._shelves.nodes.clear()
        self._shelves.locks.clear()
        for leased in self._shelves.leased.values():
            for run in leased.values():
                run.state, run.node, run.reason = RunState.LOST, None, _PARENTS
                run.finished_us = run.due_us
                self._shelves.let_go_of_key(run)
                task = self._shelves.tasks.get(run.task_id)
                if task is not None and task.generation == run.generation:
                    task.active -= 1
        self._shelves.leased.clear()

    def _now_us(self) -> int:
        if self._environment is None:
            raise StoreUnavailableError("the memory store isn't open; connect or start first")
        return self._environment.now_us()

    def put(
        self,
        tasks: Sequence[TaskRecord],
        decide: Callable[[TaskRecord, TaskRecord], Edit],
        new_id: Callable[[], str],
    ) -> list[Edited]:
        with self._lock:
            return editing.put(self._shelves, tasks, decide, new_id=new_id, now_us=self._now_us())

    def edit(
        self,
        ids: Sequence[str],
        decide: Callable[[TaskRecord], Edit],
        new_id: Callable[[], str],
    ) -> list[Edited]:
        with self._lock:
            return editing.edit(self._shelves, ids, decide, new_id=new_id, now_us=self._now_us())

    def plan(self, request: PlanRequest) -> PlanReply:
        with self._lock:
            return planning.plan(self._shelves, request)

    def lease(self, request: LeaseRequest) -> LeaseReply:
        with self._lock:
            return planning.lease(self._shelves, request, self._now_us())

    def finish(self, batch: Batch) -> frozenset[str]:
        with self._lock:
            return finishing.finish(self._shelves, batch, self._now_us())

    def beat(self, node: NodeRecord, lease_us: int, *, leaving: bool = False) -> Beat:
        with self._lock:
            now_us = self._now_us()
            return nodes.beat(self._shelves, node, lease_us, now_us=now_us, leaving=leaving)

    def recover(self, request: RecoverRequest) -> RecoverReply:
        with self._lock:
            return nodes.recover(self._shelves, request, self._now_us())

    def prune(self, request: PruneRequest) -> int:
        with self._lock:
            locks.prune(self._shelves, request.now_us)
            self._documents.prune(min(request.now_us, self._now_us()), request.limit)
            return listing.prune(self._shelves, request)

    def submit(self, runs: Sequence[RunRecord]) -> None:
        with self._lock:
            finishing.submit(self._shelves, runs)

    def cancel(self, request: CancelRequest) -> list[RunRecord | None]:
        with self._lock:
            return finishing.cancel(self._shelves, request)

    def asked(self, node: str) -> list[str]:
        with self._lock:
            return self._shelves.asked(node)

    def acquire_lock(self, request: LockRequest) -> LockRecord:
        with self._lock:
            return locks.acquire(self._shelves, request, self._now_us())

    def renew_lock(self, name: str, owner: str, lease_us: int, kept_us: int | None = None) -> bool:
        with self._lock:
            now_us = self._now_us()
            return locks.renew(self._shelves, name, owner, lease_us, kept_us=kept_us, now_us=now_us)

    def locks(self) -> list[LockRecord]:
        with self._lock:
            return locks.listed(self._shelves, self._now_us())

    def keep(self, document: Document, expected: int | None = None) -> int | None:
        with self._lock:
            return self._documents.keep(document, expected, self._now_us())

    def forget(self, kind: str, key: str, expected: int | None = None) -> bool:
        with self._lock:
            return self._documents.forget(kind, key, expected, self._now_us())

    def documents(self, query: DocumentQuery) -> list[Document]:
        with self._lock:
            return self._documents.listed(query, self._now_us())

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

    def count_tasks(self, query: TaskQuery) -> int:
        with self._lock:
            return listing.count_tasks(self._shelves, query)

    def count_runs(self, query: RunQuery) -> int:
        with self._lock:
            return listing.count_runs(self._shelves, query)

    def nodes(self) -> list[NodeRecord]:
        with self._lock:
            return [copied(node) for node in self._shelves.nodes.values()]

    def counts(self) -> Mapping[str, int]:
        with self._lock:
            counts = dict.fromkeys((state.value for state in ScheduleState), 0)
            for task in self._shelves.tasks.values():
                counts[task.state.value] += 1
            return counts
