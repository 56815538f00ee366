"""The face of the SQL store; each step stands in a module of its own."""

from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

from sqlalchemy import Engine
from sqlalchemy.engine import URL

from tickwork.errors import StoreUnavailableError
from tickwork.interfaces import StoreEnvironment
from tickwork.model.records import NodeRecord, RunRecord, TaskRecord
from tickwork.model.steps import (
    Batch,
    Beat,
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
from tickwork.stores.sql import editing, finishing, listing, nodes, planning
from tickwork.stores.sql.database import Database, Durability
from tickwork.stores.sql.migration import upgrade
from tickwork.stores.sql.schema import tables
from tickwork.stores.sql.session import Session

__all__ = ["SQLStore"]


class SQLStore:
    """Keeps tasks and runs in a SQL database, given as a URL or as an SQLAlchemy engine.

    Its tables begin with `prefix`. `durability` concerns SQLite: "full" survives a power cut,
    "normal" the crash of the process only. An engine that was given is never disposed of.
    """

    kind: ClassVar[str] = "sqlalchemy"
    persistent: ClassVar[bool] = True

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

    def open(self, environment: StoreEnvironment) -> None:
        self._database.open()
        upgrade(self._database, self._prefix)
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
        return planning.lease(self._session, request)

    def finish(self, batch: Batch) -> frozenset[str]:
        return finishing.finish(self._session, batch)

    def beat(self, node: NodeRecord, lease_us: int, *, leaving: bool = False) -> Beat:
        return nodes.beat(self._session, node, lease_us, leaving=leaving)

    def recover(self, request: RecoverRequest) -> RecoverReply:
        return nodes.recover(self._session, request)

    def prune(self, request: PruneRequest) -> int:
        return listing.prune(self._session, request)

    def get_task(self, task_id: str) -> TaskRecord | None:
        return listing.get_task(self._session, task_id)

    def find_tasks(self, query: TaskQuery) -> list[TaskRecord]:
        return listing.find_tasks(self._session, query)

    def get_run(self, run_id: str) -> RunRecord | None:
        return listing.get_run(self._session, run_id)

    def find_runs(self, query: RunQuery) -> list[RunRecord]:
        return listing.find_runs(self._session, query)

    def nodes(self) -> list[NodeRecord]:
        return listing.nodes(self._session)

    def counts(self) -> Mapping[str, int]:
        return listing.counts(self._session)
