"""The face of the Redis store; each step stands in a module of its own.

**What is safe.** Each step is one script, which Redis runs alone, and writes to its log as one
transaction: after a crash, it is there whole or not at all. How much of the log survives is the
server's setting:

- `appendonly yes`, `appendfsync always`: all that was answered.
- `appendonly yes`, `appendfsync everysec` (Redis' default for it): a power cut may take the last
  second or two with it. So may a crash of the server's process alone, though only while the disk
  is so slow that a sync takes longer than a second; writes wait for it then, answers don't.
- `appendonly yes`, `appendfsync no`: a crash of the process takes nothing, a power cut whatever
  the system had not written yet, some half a minute.
- without `appendonly`: everything since the last snapshot, whatever crashes.
- A replica that is promoted lacks what had not reached it.

What is lost is lost together, from an instant on: tasks stand where they stood then. What was due
since is planned again, so nothing is missed, but runs of that time are executed a second time,
unmarked, `at_most_once` or not; tasks that were added, changed or removed are as before; locks that
were taken are free, and others may get them beside who has them.

Fences go with the server's clock, so a server that has lost its last ones gives none of them again:
who holds a run from before is refused when he writes its end, and what is guarded by the fence of a
lock can tell who had it first.

Redis must be of version 5 or later, or what does the same (Valkey). `maxmemory-policy` must be
`noeviction`: with any other, Redis deletes whole keys when its memory is full, and all tasks are
in one.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from tickwork.errors import NotFoundError, StoreUnavailableError
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
from tickwork.stores.redis import (
    demand,
    editing,
    finishing,
    keeping,
    leasing,
    listing,
    locking,
    nodes,
    planning,
    pruning,
)
from tickwork.stores.redis.server import Server
from tickwork.stores.redis.session import Session
from tickwork.stores.redis.watching import Watcher
from tickwork.stores.schedule_locks import ScheduleLocks

__all__ = ["RedisStore"]


class RedisStore(ScheduleLocks):
    """Keeps tasks and runs in a Redis server, given as a URL or as a redis-py client.

    Its keys begin with `{prefix}:`. Connections that the store makes give up after `timeout_s`. A
    client that was given is never closed, and goes by its own time-outs.
    """

    kind: ClassVar[str] = "redis"
    persistent: ClassVar[bool] = True
    overlaps: ClassVar[bool] = True

    def __init__(self, url: Any, *, prefix: str = "tickwork", timeout_s: float = 5.0) -> None:
        self._server = Server(url, prefix, timeout_s)
        self._open: Session | None = None
        self._watchers: list[Watcher] = []

    def __repr__(self) -> str:
        return f"RedisStore({self._server.url!r})"

    @property
    def _session(self) -> Session:
        if self._open is None:
            raise StoreUnavailableError(f"{self!r} isn't open; connect or start first")
        return self._open

    def open(self, environment: StoreEnvironment) -> None:
        self._server.open()
        if environment.existing and not self._server.is_used():
            self._server.close()
            raise NotFoundError(f"no scheduler has used {self!r} yet")
        self._open = Session(self._server, environment)

    def close(self) -> None:
        self._open = None
        watchers, self._watchers = self._watchers, []
        for watcher in watchers:
            watcher.stop()
        self._server.close()
        for watcher in watchers:
            watcher.join()

    def forsake(self) -> None:
        """Forget connections that belong to the parent of this process; then `open` again."""
        self._open = None
        self._watchers = []
        self._server.forsake()

    def watch(self, wake: Callable[[], None]) -> None:
        watcher = Watcher(self._session.server, wake)
        self._watchers.append(watcher)
        watcher.start()

    def now_us(self) -> int:
        return nodes.now_us(self._session)

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
        session = self._session
        locking.forget(session, request)
        keeping.expire(session, request)
        return pruning.prune(session, request)

    def submit(self, runs: Sequence[RunRecord]) -> None:
        demand.submit(self._session, runs)

    def cancel(self, request: CancelRequest) -> list[RunRecord | None]:
        return demand.cancel(self._session, request)

    def asked(self, node: str) -> list[str]:
        return demand.asked(self._session, node)

    def acquire_lock(self, request: LockRequest) -> LockRecord:
        return locking.acquire(self._session, request)

    def renew_lock(self, name: str, owner: str, lease_us: int, kept_us: int | None = None) -> bool:
        return locking.renew(self._session, name, owner, lease_us, kept_us=kept_us)

    def locks(self) -> list[LockRecord]:
        return locking.listed(self._session)

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
        return nodes.registered(self._session)

    def counts(self) -> Mapping[str, int]:
        return listing.counts(self._session)
