"""The face of the file store; the steps themselves are those of `tickwork.stores.shelves`."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar
from weakref import WeakMethod

from tickwork.errors import StoreUnavailableError
from tickwork.interfaces import StoreEnvironment
from tickwork.model.keeping import Document, DocumentQuery
from tickwork.model.locks import LockRecord, LockRequest
from tickwork.model.policies import ScheduleState
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
from tickwork.stores.file.disk import Disk
from tickwork.stores.file.folder import Folder
from tickwork.stores.file.place import Durability, place_of
from tickwork.stores.schedule_locks import ScheduleLocks
from tickwork.stores.shelves import editing, finishing, listing, locks, nodes, planning

__all__ = ["FileStore"]


class FileStore(ScheduleLocks):
    """Keeps tasks and runs in files of a folder, given as `file:///folder` or as its path.

    Several processes of one host may share it. With `prefix`, the files are in a folder of that
    name within it. `durability` "full" survives a power cut, "normal" the crash of the process
    only. All tasks and all runs that are kept are held in the memory of each process, too.
    """

    kind: ClassVar[str] = "file"
    persistent: ClassVar[bool] = True

    def __init__(
        self,
        url: str | Path,
        *,
        prefix: str = "",
        durability: Durability | None = None,
    ) -> None:
        self.path, self._durability = place_of(url, prefix, durability)
        self._disk = Disk()
        self._folder: Folder | None = None
        if hasattr(os, "register_at_fork"):
            forsaking = WeakMethod(self.forsake)
            os.register_at_fork(after_in_child=lambda: _call(forsaking))

    def __repr__(self) -> str:
        return f"FileStore({str(self.path)!r})"

    def open(self, environment: StoreEnvironment) -> None:
        if self._folder is not None:
            self._folder.let_go()
        durable = self._durability == "full"
        self._folder = Folder(self.path, environment, self._disk, durable=durable)

    def close(self) -> None:
        folder, self._folder = self._folder, None
        if folder is not None:
            folder.close()

    def forsake(self) -> None:
        """Close the copies of files that belong to the parent of this process; then `open` again.

        Happens by itself in a forked child: with a copy of the lock's file, it would go on holding
        the lock of a parent that was killed.
        """
        folder, self._folder = self._folder, None
        if folder is not None:
            folder.let_go()

    @property
    def _open(self) -> Folder:
        if self._folder is None:
            raise StoreUnavailableError(f"{self!r} isn't open; connect or start first")
        return self._folder

    # --- steps --------------------------------------------------------------------------------

    def put(
        self,
        tasks: Sequence[TaskRecord],
        decide: Callable[[TaskRecord, TaskRecord], Edit],
        new_id: Callable[[], str],
    ) -> list[Edited]:
        now_us = self._open.environment.now_us()
        with self._open.changing(relied_on=True) as shelves:
            return editing.put(shelves, tasks, decide, new_id=new_id, now_us=now_us)

    def edit(
        self,
        ids: Sequence[str],
        decide: Callable[[TaskRecord], Edit],
        new_id: Callable[[], str],
    ) -> list[Edited]:
        now_us = self._open.environment.now_us()
        with self._open.changing(relied_on=True) as shelves:
            return editing.edit(shelves, ids, decide, new_id=new_id, now_us=now_us)

    def plan(self, request: PlanRequest) -> PlanReply:
        with self._open.changing() as shelves:
            reply = planning.plan(shelves, request)
            for task_id, _ in reply.deferred:
                # Taken, and put back as it was.
                shelves.changes.tasks.pop(task_id, None)
            leased = [each._replace(run=copied(each.run)) for each in reply.leased]
            return reply._replace(leased=leased)

    def lease(self, request: LeaseRequest) -> LeaseReply:
        with self._open.changing() as shelves:
            return planning.lease(shelves, request, self._open.environment.now_us())

    def finish(self, batch: Batch) -> frozenset[str]:
        with self._open.changing(relied_on=True) as shelves:
            for mark in batch.marks:
                run = shelves.runs.get(mark.run_id)
                if run is not None:
                    shelves.note_run(run)
            return finishing.finish(shelves, batch, self._open.environment.now_us())

    def beat(self, node: NodeRecord, lease_us: int, *, leaving: bool = False) -> Beat:
        # No node survives a power cut: its beats needn't.
        with self._open.changing(durable=False) as shelves:
            shelves.note_node(node.id)
            now_us = self._open.environment.now_us()
            return nodes.beat(shelves, node, lease_us, now_us=now_us, leaving=leaving)

    def recover(self, request: RecoverRequest) -> RecoverReply:
        with self._open.changing() as shelves:
            now_us = self._open.environment.now_us()
            for node in shelves.nodes.values():
                if node.expires_us <= now_us:
                    shelves.note_node(node.id)
            return nodes.recover(shelves, request, now_us)

    def prune(self, request: PruneRequest) -> int:
        with self._open.documents() as documents:
            documents.prune(min(request.now_us, self._open.environment.now_us()), request.limit)
        with self._open.changing() as shelves:
            shelves.note_locks(shelves.locks)
            locks.prune(shelves, request.now_us)
            return listing.prune(shelves, request)

    def submit(self, runs: Sequence[RunRecord]) -> None:
        with self._open.changing(relied_on=True) as shelves:
            finishing.submit(shelves, runs)

    def cancel(self, request: CancelRequest) -> list[RunRecord | None]:
        with self._open.changing(relied_on=True) as shelves:
            return finishing.cancel(shelves, request)

    def asked(self, node: str) -> list[str]:
        with self._open.reading() as shelves:
            return shelves.asked(node)

    def acquire_lock(self, request: LockRequest) -> LockRecord:
        with self._open.changing(relied_on=True) as shelves:
            shelves.note_locks([request.name])
            return locks.acquire(shelves, request, self._open.environment.now_us())

    def renew_lock(self, name: str, owner: str, lease_us: int, kept_us: int | None = None) -> bool:
        # Nobody who holds a lock survives a power cut: a mere lease needn't either.
        says_more = not lease_us or kept_us is not None
        with self._open.changing(relied_on=says_more, durable=says_more) as shelves:
            shelves.note_locks([name])
            now_us = self._open.environment.now_us()
            return locks.renew(shelves, name, owner, lease_us, kept_us=kept_us, now_us=now_us)

    def locks(self) -> list[LockRecord]:
        with self._open.reading() as shelves:
            return locks.listed(shelves, self._open.environment.now_us())

    def keep(self, document: Document, expected: int | None = None) -> int | None:
        with self._open.documents() as documents:
            return documents.keep(document, expected, self._open.environment.now_us())

    def forget(self, kind: str, key: str, expected: int | None = None) -> bool:
        with self._open.documents() as documents:
            return documents.forget(kind, key, expected, self._open.environment.now_us())

    def documents(self, query: DocumentQuery) -> list[Document]:
        with self._open.documents(shared=True) as documents:
            return documents.listed(query, self._open.environment.now_us())

    # --- reading ------------------------------------------------------------------------------

    def get_task(self, task_id: str) -> TaskRecord | None:
        with self._open.reading() as shelves:
            task = shelves.tasks.get(task_id)
            return copied(task) if task else None

    def find_tasks(self, query: TaskQuery) -> list[TaskRecord]:
        with self._open.reading() as shelves:
            return [copied(task) for task in listing.tasks(shelves, query)]

    def get_run(self, run_id: str) -> RunRecord | None:
        with self._open.reading() as shelves:
            run = shelves.runs.get(run_id)
            return copied(run) if run else None

    def find_runs(self, query: RunQuery) -> list[RunRecord]:
        with self._open.reading() as shelves:
            return [copied(run) for run in listing.runs(shelves, query)]

    def count_tasks(self, query: TaskQuery) -> int:
        with self._open.reading() as shelves:
            return listing.count_tasks(shelves, query)

    def count_runs(self, query: RunQuery) -> int:
        with self._open.reading() as shelves:
            return listing.count_runs(shelves, query)

    def nodes(self) -> list[NodeRecord]:
        with self._open.reading() as shelves:
            return [copied(node) for node in shelves.nodes.values()]

    def counts(self) -> Mapping[str, int]:
        with self._open.reading() as shelves:
            counts = dict.fromkeys((state.value for state in ScheduleState), 0)
            for task in shelves.tasks.values():
                counts[task.state.value] += 1
            return counts


def _call(forsaking: "WeakMethod[Callable[[], None]]") -> None:
    forsake = forsaking()
    if forsake is not None:
        forsake()
