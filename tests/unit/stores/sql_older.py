"""Tables as migration 0001 left them, with tasks, runs and a node in them."""

import json
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, column, insert, table

from tickwork.model.policies import RunState
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


class Older:
    """The tables with a prefix."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix

    def make(self, connection: Connection) -> None:
        """Make them and fill them."""
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        config.attributes |= {"connection": connection, "prefix": self._prefix}
        command.upgrade(config, "0001")
        self._insert(connection, "tasks", _task_row())
        for at, run in enumerate(_RUNS):
            instants = dict.fromkeys(("fire_us", "due_us", "first_us", "last_us"), T0 + at)
            self._insert(connection, "runs", {**_RUN, **instants, **run})
        self._insert(connection, "nodes", node_row(NodeRecord(id=NODE, expires_us=T0 + 1)))

    def _insert(self, connection: Connection, name: str, row: dict[str, Any]) -> None:
        into = table(f"{self._prefix}{name}", *(column(each) for each in row))
        connection.execute(insert(into), [row])

    def check(self, bench: Bench) -> None:
        """Check that all is there as it was, and goes on from there."""
        assert bench.task() == _task()
        assert bench.runs() == [_run(at, row) for at, row in enumerate(_RUNS)]
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
        first, second = (bench.submit(concurrency_key="key") for _ in range(2))
        assert (first.holds_key, second.holds_key) == (True, False)


def _task() -> TaskRecord:
    return TaskRecord(
        id="task", generation=1, definition=definition(), due_us=T0 + 60, active=3, queued=1
    )


def _task_row() -> dict[str, Any]:
    text = (
        '{"version":1,"function":"shop.jobs:close_day","name":"close day","trigger":'
        '{"kind":"interval","version":1,"interval_us":60000000}}'
    )
    row = dict.fromkeys(("anchor_us", "created_us", "updated_us", "revision"), 0)
    return row | {
        "id": "task",
        "generation": 1,
        "definition": text,
        "name": "close day",
        "function": "shop.jobs:close_day",
        "executor": "threadpool",
        "trigger_kind": json.loads(text)["trigger"]["kind"],
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
