"""The face of the SQL store; each step stands in a module of its own."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import ClassVar, Concatenate, ParamSpec, TypeVar

from sqlalchemy import Engine
from sqlalchemy.engine import URL
from sqlalchemy.exc import IntegrityError

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
from tickwork.stores.schedule_locks import ScheduleLocks
from tickwork.stores.sql import (
    demand,
    documents,
    editing,
    finishing,
    histories,
    leasing,
    listing,
    locks,
    nodes,
    planning,
    searching,
)
from tickwork.stores.sql.backends.postgresql import PostgreSQL
from tickwork.stores.sql.backends.sqlite import SQLite
from tickwork.stores.sql.database import ContendedError, Database, Durability
from tickwork.stores.sql.hints import Hints
from tickwork.stores.sql.migration import upgrade
from tickwork.stores.sql.schema import tables
from tickwork.stores.sql.session import Session
from tickwork.stores.sql.watching import Watcher

__all__ = ["SQLStore"]

P = ParamSpec("P")
T = TypeVar("T")

_BEGINNINGS = 5
"""How often a step begins before it is left to the caller to try again."""


class SQLStore(ScheduleLocks):
    """Keeps tasks and runs in a SQL database, given as a URL or as an SQLAlchemy engine.

    SQLite, PostgreSQL, MySQL from 8.0.17, MariaDB from 10.6. Its tables begin with `prefix`.
    `durability` concerns SQLite: "full" survives a power cut, "normal" the crash of the process
    only. An engine that was given is never disposed of, and its statements take as long as it lets
    them; those of a URL end in bounded time.
    """

    kind: ClassVar[str] = "sqlalchemy"
    persistent: ClassVar[bool] = True

    def __new__(  # noqa: PYI034  a subclass of it, where the database can do more
        cls,
        url: str | URL | Engine,
        *,
        prefix: str = "tickwork_",  # noqa: ARG004  what people see is this signature
        durability: Durability = "full",
    ) -> "SQLStore":
        """Make a store with the powers that its kind of database has."""
        backend = Database(url, durability).backend
        if cls is not SQLStore or isinstance(backend, SQLite):
            return super().__new__(cls)
        return super().__new__(_HintingStore if isinstance(backend, PostgreSQL) else _ServedStore)

    def __init__(
        self,
        url: str | URL | Engine,
        *,
        prefix: str = "tickwork_",
        durability: Durability = "full",
    ) -> None:
        self._database = Database(url, durability)
        self._prefix = prefix
        self._open: Session | None = None

    def __repr__(self) -> str:
        return f"SQLStore({self._database.url!r})"

    @property
    def _session(self) -> Session:
        if self._open is None:
            raise StoreUnavailableError(f"{self!r} isn't open; connect or start first")
        return self._open

    def _take(
        self,
        step: Callable[Concatenate[Session, P], T],
        *request: P.args,
        **options: P.kwargs,
    ) -> T:
        """Take a step, which begins anew where it had to give way to others."""
        try:
            for _ in range(_BEGINNINGS - 1):
                with suppress(ContendedError):
                    return step(self._session, *request, **options)
            return step(self._session, *request, **options)
        except IntegrityError as error:
            raise StoreUnavailableError(f"a key was taken meanwhile: {error.orig}") from error

    def open(self, environment: StoreEnvironment) -> None:
        self._database.open()
        try:
            upgrade(self._database, self._prefix, create=not environment.existing)
        except BaseException:
            self._database.close()
            raise
        self._open = Session(self._database, tables(self._prefix), environment)

    def close(self) -> None:
        self._open = None
        self._database.close()

    def forsake(self) -> None:
        """Forget connections that belong to the parent of this process; then `open` again."""
        self._open = None
        self._database.forsake()

    def put(
        self,
        tasks: Sequence[TaskRecord],
        decide: Callable[[TaskRecord, TaskRecord], Edit],
        new_id: Callable[[], str],
    ) -> Sequence[Edited]:
        return self._take(editing.put, tasks, decide, new_id)

    def edit(
        self,
        ids: Sequence[str],
        decide: Callable[[TaskRecord], Edit],
        new_id: Callable[[], str],
    ) -> list[Edited]:
        return self._take(editing.edit, ids, decide, new_id)

    def plan(self, request: PlanRequest) -> PlanReply:
        return self._take(planning.plan, request)

    def lease(self, request: LeaseRequest) -> LeaseReply:
        return self._take(leasing.lease, request)

    def finish(self, batch: Batch) -> frozenset[str]:
        return self._take(finishing.finish, batch)

    def beat(self, node: NodeRecord, lease_us: int, *, leaving: bool = False) -> Beat:
        return self._take(nodes.beat, node, lease_us, leaving=leaving)

    def recover(self, request: RecoverRequest) -> RecoverReply:
        return self._take(nodes.recover, request)

    def prune(self, request: PruneRequest) -> int:
        self._take(locks.prune, request)
        self._take(documents.prune, request)
        return self._take(listing.prune, request)

    def submit(self, runs: Sequence[RunRecord]) -> None:
        self._take(demand.submit, runs)

    def cancel(self, request: CancelRequest) -> list[RunRecord | None]:
        return self._take(demand.cancel, request)

    def asked(self, node: str) -> list[str]:
        return self._take(demand.asked, node)

    def acquire_lock(self, request: LockRequest) -> LockRecord:
        return self._take(locks.acquire, request)

    def renew_lock(self, name: str, owner: str, lease_us: int, kept_us: int | None = None) -> bool:
        return self._take(locks.renew, name, owner, lease_us, kept_us=kept_us)

    def locks(self) -> list[LockRecord]:
        return self._take(locks.listed)

    def keep(self, document: Document, expected: int | None = None) -> int | None:
        return self._take(documents.keep, document, expected)

    def forget(self, kind: str, key: str, expected: int | None = None) -> bool:
        return self._take(documents.forget, kind, key, expected)

    def documents(self, query: DocumentQuery) -> list[Document]:
        return self._take(documents.listed, query)

    def get_task(self, task_id: str) -> TaskRecord | None:
        return self._take(listing.get_task, task_id)

    def find_tasks(self, query: TaskQuery) -> list[TaskRecord]:
        return self._take(searching.find_tasks, query)

    def get_run(self, run_id: str) -> RunRecord | None:
        return self._take(listing.get_run, run_id)

    def find_runs(self, query: RunQuery) -> list[RunRecord]:
        return self._take(histories.find_runs, query)

    def count_tasks(self, query: TaskQuery) -> int:
        return self._take(searching.count_tasks, query)

    def count_runs(self, query: RunQuery) -> int:
        return self._take(histories.count_runs, query)

    def nodes(self) -> list[NodeRecord]:
        return self._take(listing.nodes)

    def counts(self) -> Mapping[str, int]:
        return self._take(listing.counts)


class _ServedStore(SQLStore):
    """A store whose database is a server's, which has a clock."""

    overlaps: ClassVar[bool] = True

    def now_us(self) -> int:
        return self._take(_server_time)


def _server_time(session: Session) -> int:
    if session.environment.simulated:
        return session.environment.now_us()
    with session.database.reading() as connection:
        return session.store_now_us(connection)


class _HintingStore(_ServedStore):
    """A store whose server passes on hints."""

    def __init__(
        self,
        url: str | URL | Engine,
        *,
        prefix: str = "tickwork_",
        durability: Durability = "full",
    ) -> None:
        super().__init__(url, prefix=prefix, durability=durability)
        self._hints = Hints(f"{prefix}hints", self._database.write)
        self._database.hints = self._hints
        self._watcher: Watcher | None = None

    def watch(self, wake: Callable[[], None]) -> None:
        engine = self._session.database.engine
        self._end_watching()
        self._watcher = Watcher(engine, self._hints, wake)
        self._watcher.start()

    def _end_watching(self) -> None:
        if self._watcher is not None:
            self._watcher.stop()
            self._watcher = None

    def close(self) -> None:
        self._end_watching()
        self._hints.close()
        super().close()

    def forsake(self) -> None:
        # Its thread didn't come along, and its connection is the parent's.
        self._forsaken, self._watcher = self._watcher, None
        self._hints.forsake()
        super().forsake()
