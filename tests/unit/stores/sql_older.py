"""Tables as older migrations left them, with tasks, runs and a node in them."""

import json
from dataclasses import asdict
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, column, insert, table

from tickwork.interfaces import Keeping, Locking
from tickwork.model.keeping import Document, DocumentQuery
from tickwork.model.locks import LockRecord, LockRequest
from tickwork.model.policies import RunState, Source
from tickwork.model.records import NodeRecord, RunRecord, TaskRecord
from tickwork.stores.sql.migration import MIGRATIONS
from tickwork.stores.sql.rows import node_row
from tickwork.testing.store_contract import Bench
from tickwork.testing.store_contract.bench import NODE, OTHER, T0, definition, finished

_RUN = {
    "task_id": "task",
    "generation": 1,
    "source": "scheduled",
    "fire_count": 1,
    "exact": True,
    "function": "shop.jobs:close_day",
    "executor": "threadpool",
    "attempt": 0,
    "fence": 0,
    "created_us": T0,
}
_RUNS: tuple[dict[str, Any], ...] = (
    {"id": "1", "state": "completed", "attempt": 1, "fence": 1, "finished_us": T0, "result": "1"},
    {"id": "2", "state": "running", "attempt": 1, "fence": 2, "node": NODE, "started_us": T0},
    {"id": "3", "state": "pending", "available_us": T0},
    {"id": "4", "state": "pending", "queued_us": T0 + 3},
)
_LATER = T0 + 10
_KEYED = {"source": "manual", "generation": 0, "due_us": T0, "key": "older", "key_limit": 1}
_SUBMITTED: tuple[dict[str, Any], ...] = (
    {"id": "5", "state": "pending", "available_us": _LATER, "held_key": "older"},
    {"id": "6", "state": "pending", "gated_us": _LATER, "awaited_key": "older"},
)
"""What there is since 0002."""

_LOCK = LockRecord(
    name="older", owner="them", about="it is they", fence=3, acquired_us=T0, expires_us=T0 + 10**9
)
"""What there is since 0003."""

_DOCUMENT = Document("note", "older", "{}", 1, T0)
"""What there is since 0004."""

VERSIONS = ("0001", "0002", "0003", "0004")


class Older:
    """The tables with a prefix, as a version left them."""

    def __init__(self, prefix: str, version: str) -> None:
        self._prefix = prefix
        self._version = version
        self._submitted = _SUBMITTED if version >= "0002" else ()
        self._locks = [_LOCK] if version >= "0003" else []
        self._documents = [_DOCUMENT] if version >= "0004" else []

    def make(self, connection: Connection) -> None:
        """Make them and fill them."""
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        config.attributes |= {"connection": connection, "prefix": self._prefix}
        command.upgrade(config, self._version)
        self._insert(connection, "tasks", _task_row())
        for at, run in enumerate(_RUNS):
            instants = dict.fromkeys(("fire_us", "due_us", "first_us", "last_us"), T0 + at)
            self._insert(connection, "runs", {**_RUN, **instants, **run})
        for run in self._submitted:
            own = {"definition": _TEXT, "rank": 0, "progress": "0.5", "log": "[]"}
            self._insert(connection, "runs", {**_RUN, **_KEYED, **own, **run})
        for lock in self._locks:
            self._insert(connection, "locks", asdict(lock))
        for document in self._documents:
            self._insert(connection, "documents", asdict(document))
        self._insert(connection, "nodes", node_row(NodeRecord(id=NODE, expires_us=T0 + 1)))

    def _insert(self, connection: Connection, name: str, row: dict[str, Any]) -> None:
        into = table(f"{self._prefix}{name}", *(column(each) for each in row))
        connection.execute(insert(into), [row])

    def check(self, bench: Bench) -> None:
        """Check that all is there as it was, and goes on from there."""
        assert bench.task() == _task()
        planned = [_run(at, row) for at, row in enumerate(_RUNS)]
        assert bench.runs() == [*planned, *map(_submitted, self._submitted)]
        self._check_runs(bench)
        self._check_keys(bench)
        self._check_locks(bench)
        self._check_documents(bench)

    def _check_runs(self, bench: Bench) -> None:
        [leased] = bench.lease(node=OTHER).leased
        assert leased.run.id == "3"
        bench.finish(finished(leased.run))
        bench.now_us += 2
        assert [run.id for run in bench.recover(node=OTHER).runs] == ["2"]
        again = bench.lease(node=OTHER).leased
        assert [each.run.id for each in again] == ["2"]
        bench.finish(finished(again[0].run))
        assert [each.run.id for each in bench.lease(node=OTHER, now_us=T0 + 3).leased] == ["4"]
        assert bench.active() == (1, 0)

    def _check_keys(self, bench: Bench) -> None:
        first, second = (bench.submit(concurrency_key="key") for _ in range(2))
        assert (first.holds_key, second.holds_key) == (True, False)
        bench.cancel(first, second)
        for each in self._submitted:
            [leased] = bench.lease(node=OTHER, now_us=_LATER).leased
            assert (leased.run.id, leased.definition) == (each["id"], definition())
            bench.finish(finished(leased.run))

    def _check_locks(self, bench: Bench) -> None:
        store = bench.store
        assert isinstance(store, Locking)
        lock = store.acquire_lock(LockRequest("door", "me", 60, "it is me"))
        # Fences go on where they were.
        assert lock.fence > max(run.fence for run in bench.runs())
        assert lock == LockRecord(
            name="door",
            owner="me",
            about="it is me",
            fence=lock.fence,
            acquired_us=bench.now_us,
            expires_us=bench.now_us + 60,
        )
        assert store.locks() == [lock, *self._locks]

    def _check_documents(self, bench: Bench) -> None:
        store = bench.store
        assert isinstance(store, Keeping)
        assert store.keep(Document("note", "key", "{}"), 0) == 1
        assert store.documents(DocumentQuery("note")) == [
            Document("note", "key", "{}", 1, bench.now_us),
            *self._documents,
        ]


def _task() -> TaskRecord:
    return TaskRecord(
        id="task", generation=1, definition=definition(), due_us=T0 + 60, active=3, queued=1
    )


_TEXT = (
    '{"version":1,"function":"shop.jobs:close_day","name":"close day","trigger":'
    '{"kind":"interval","version":1,"interval_us":60000000}}'
)


def _task_row() -> dict[str, Any]:
    row = dict.fromkeys(("anchor_us", "created_us", "updated_us", "revision"), 0)
    return row | {
        "id": "task",
        "generation": 1,
        "definition": _TEXT,
        "name": "close day",
        "function": "shop.jobs:close_day",
        "executor": "threadpool",
        "trigger_kind": json.loads(_TEXT)["trigger"]["kind"],
        "tags": "",
        "disposable": False,
        "state": "scheduled",
        "due_us": T0 + 60,
        "active": 3,
        "queued": 1,
    }


def _run(at: int, row: dict[str, Any]) -> RunRecord:
    instants = dict.fromkeys(("fire_us", "due_us", "first_us", "last_us"), T0 + at)
    kept = {name: value for name, value in row.items() if name != "queued_us"}
    plain = {name: value for name, value in _RUN.items() if name != "source"}
    return RunRecord(**{**plain, **instants, **kept, "state": RunState(row["state"])})


def _submitted(row: dict[str, Any]) -> RunRecord:
    row = {**_RUN, **_KEYED, **row}
    own = {"definition": definition(), "progress": "0.5", "log": "[]"}
    words = {
        "state": RunState(row["state"]),
        "source": Source.MANUAL,
        "holds_key": "held_key" in row,
    }
    plain = {name: value for name, value in row.items() if name not in {"held_key", "awaited_key"}}
    return RunRecord(**{**plain, **own, **words})
