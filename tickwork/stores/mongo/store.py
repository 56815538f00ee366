"""The face of the MongoDB store; each step stands in a module of its own."""

from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

from tickwork.errors import StoreUnavailableError
from tickwork.interfaces import StoreEnvironment
from tickwork.model.keeping import Document, DocumentQuery
from tickwork.model.locks import LockRecord, LockRequest
from tickwork.model.records import NodeRecord, RunRecord, TaskRecord
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
from tickwork.stores.mongo import (
    demand,
    editing,
    finishing,
    keeping,
    leasing,
    listing,
    locks,
    nodes,
    planning,
    pruning,
)
from tickwork.stores.mongo.database import Database, Place
from tickwork.stores.mongo.session import Session, opened
from tickwork.stores.mongo.watching import Watcher
from tickwork.stores.schedule_locks import ScheduleLocks

__all__ = ["MongoStore"]


class MongoStore(ScheduleLocks):
    """Keeps tasks and runs in a MongoDB database, given as a URL or as a client or database.

    A stand-alone server is enough; transactions aren't used. The database is that of the URL's
    path, or of a client's URL, else "tickwork"; the names of the collections begin with `prefix`.
    What is written is acknowledged by a majority and journaled, unless the URL, the client or the
    database says otherwise. A client that was given is never closed.
    """

    kind: ClassVar[str] = "mongo"
    persistent: ClassVar[bool] = True
    overlaps: ClassVar[bool] = True

    def __init__(self, url: Place = "mongodb://localhost", *, prefix: str = "tickwork_") -> None:
        self._database = Database(url)
        self._prefix = prefix
        self._open: Session | None = None
        self._watchers: list[Watcher] = []

    def __repr__(self) -> str:
        return f"MongoStore({self._database!r})"

    @property
    def _session(self) -> Session:
        if self._open is None:
            raise StoreUnavailableError(f"{self!r} isn't open; connect or start first")
        return self._open

    def open(self, environment: StoreEnvironment) -> None:
        self._database.open()
        try:
            self._open = opened(self._database, self._prefix, environment)
        except BaseException:
            if self._open is None:
                self._database.close()
            raise

    def close(self) -> None:
        for each in self._watchers:
            each.stop()
        self._watchers.clear()
        self._open = None
        self._database.close()

    def forsake(self) -> None:
        """Forget connections that belong to the parent of this process; then `open` again."""
        self._watchers.clear()
        self._open = None
        self._database.forsake()

    def now_us(self) -> int:
        return self._session.server_us()

    def watch(self, wake: Callable[[], None]) -> None:
        self._watchers.append(Watcher(self._session.database, self._prefix, wake))

    def put(
        self,
        tasks: Sequence[TaskRecord],
        decide: Callable[[TaskRecord, TaskRecord], Edit],
        new_id: Callable[[], str],
    ) -> list[Edited]:
        return editing.put(self._session, tasks, decide, new_id)

    def edit(
        self,
        ids: Sequence[str],
        decide: Callable[[TaskRecord], Edit],
        new_id: Callable[[], str],
    ) -> list[Edited]:
        return editing.edit(self._session, ids, decide, new_id)

    def plan(self, request: PlanRequest) -> PlanReply:
        return planning.plan(self._session, request)

    def lease(self, request: LeaseRequest) -> LeaseReply:
        return leasing.lease(self._session, request)

    def finish(self, batch: Batch) -> frozenset[str]:
        return finishing.finish(self._session, batch)

    def beat(self, node: NodeRecord, lease_us: int, *, leaving: bool = False) -> Beat:
        return nodes.beat(self._session, node, lease_us, leaving=leaving)

    def recover(self, request: RecoverRequest) -> RecoverReply:
        return nodes.recover(self._session, request)

    def prune(self, request: PruneRequest) -> int:
        locks.prune(self._session, request)
        keeping.prune(self._session, request)
        return pruning.prune(self._session, request)

    def submit(self, runs: Sequence[RunRecord]) -> None:
        demand.submit(self._session, runs)

    def cancel(self, request: CancelRequest) -> list[RunRecord | None]:
        return demand.cancel(self._session, request)

    def asked(self, node: str) -> list[str]:
        return demand.asked(self._session, node)

    def acquire_lock(self, request: LockRequest) -> LockRecord:
        return locks.acquire(self._session, request)

    def renew_lock(self, name: str, owner: str, lease_us: int, kept_us: int | None = None) -> bool:
        return locks.renew(self._session, name, owner, lease_us, kept_us=kept_us)

    def locks(self) -> list[LockRecord]:
        return locks.listed(self._session)

    def keep(self, document: Document, expected: int | None = None) -> int | None:
        return keeping.keep(self._session, document, expected)

    def forget(self, kind: str, key: str, expected: int | None = None) -> bool:
        return keeping.forget(self._session, kind, key, expected)

    def documents(self, query: DocumentQuery) -> list[Document]:
        return keeping.listed(self._session, query)

    def get_task(self, task_id: str) -> TaskRecord | None:
        return listing.get_task(self._session, task_id)

    def find_tasks(self, query: TaskQuery) -> list[TaskRecord]:
        return listing.find_tasks(self._session, query)

    def get_run(self, run_id: str) -> RunRecord | None:
        return listing.get_run(self._session, run_id)

    def find_runs(self, query: RunQuery) -> list[RunRecord]:
        return listing.find_runs(self._session, query)

    def count_tasks(self, query: TaskQuery) -> int:
        return listing.count_tasks(self._session, query)

    def count_runs(self, query: RunQuery) -> int:
        return listing.count_runs(self._session, query)

    def nodes(self) -> list[NodeRecord]:
        return listing.nodes(self._session)

    def counts(self) -> Mapping[str, int]:
        return listing.counts(self._session)
