"""How long the service takes for its pages and lists, with many tasks and ten times as many runs.

One task is added and executed as anybody does it; the database copies both. Each path is asked for
again and again, through the application itself: what a network takes isn't the service's.
"""

import statistics
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Engine, MetaData, Table, create_engine, text
from starlette.testclient import TestClient

from bench.spec import Spec
from bench.work import noop_function
from bench.workloads.stage import stage_store
from tickwork import Scheduler
from tickwork.service.app import create_app
from tickwork.service.settings import ServiceSettings

__all__ = ["measure"]

_RUNS = 10
"""How many runs there are of each task."""

_TIMES = 40
"""How often each path is asked for."""

_FIRST = "task-1"
_COPY = """
INSERT INTO {table} ({columns})
WITH RECURSIVE numbers (n) AS (
    SELECT CAST(1 AS BIGINT) UNION ALL SELECT n + 1 FROM numbers WHERE n < :count
)
SELECT {values} FROM numbers, (SELECT * FROM {table} LIMIT 1) AS model
"""
_TASK = {"id": "'task-' || CAST(n AS VARCHAR(20))", "name": "'name ' || CAST(n AS VARCHAR(20))"}
_INSTANTS = ("fire_us", "due_us", "first_us", "last_us", "created_us", "started_us", "finished_us")
_RUN = {
    "task_id": "'task-' || CAST(n % :tasks AS VARCHAR(20))",
    "state": "CASE WHEN n % 50 = 0 THEN 'failed' ELSE 'completed' END",
    "errors": 'CASE WHEN n % 50 = 0 THEN \'[{"type": "E", "message": "m"}]\' ELSE NULL END',
    **{name: f"model.{name} - (:count - n) * 2600000" for name in _INSTANTS},
}
_RUN_IDS = {
    "sqlite": "printf('%014x', {created}) || substr(model.id, 15)",
    "postgresql": "lpad(to_hex({created}), 14, '0') || substr(model.id, 15)",
}


def measure(spec: Spec) -> dict[str, Any]:
    """Return milliseconds at the 95th percentile of the slowest path, and of each."""
    with stage_store(spec) as setup:
        url = f"sqlite:///{setup.place}" if spec.store == "sqlite" else setup.place
        with Scheduler(url) as scheduler:
            task = scheduler.add_task(noop_function, "interval", hours=1, id="task-0", tags=["a"])
            task.run().wait(30)
        _copy_all(spec, create_engine(url))
        with Scheduler(url).connect() as scheduler:
            app = create_app(scheduler, ServiceSettings(store=url, auth="none"))
            with TestClient(app, base_url="http://127.0.0.1") as client:
                slow = {path: _p95_ms(client, path) for path in _paths(scheduler)}
    return {"p95_ms": max(slow.values()), "paths": len(slow), "each": slow}


def _copy_all(spec: Spec, engine: Engine) -> None:
    count = spec.count
    run_id = _RUN_IDS[spec.store].format(created=_RUN["created_us"])
    with engine.begin() as connection:
        words = {"count": count * _RUNS, "tasks": count}
        _copy(connection, "tickwork_runs", {**_RUN, "id": run_id}, words)
        _copy(connection, "tickwork_tasks", _TASK, {"count": count - 1})
    plain = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
    with plain as connection:
        # What the server does by itself within minutes.
        connection.execute(text("VACUUM ANALYZE" if spec.store == "postgresql" else "ANALYZE"))
    engine.dispose()


def _copy(
    connection: Connection, name: str, differing: dict[str, str], words: dict[str, int]
) -> None:
    table = Table(name, MetaData(), autoload_with=connection)
    columns = [column.name for column in table.columns]
    statement = _COPY.format(
        table=name,
        columns=", ".join(f'"{each}"' for each in columns),
        values=", ".join(differing.get(each, f'model."{each}"') for each in columns),
    )
    connection.execute(text(statement), words)


def _paths(scheduler: Scheduler) -> Iterator[str]:
    """Yield lists in all orders, filtered and searched for much and little, and what is of one."""
    api = "/api/v1"
    run = scheduler.get_runs(task=_FIRST, limit=1)[0].id
    now = datetime.now(UTC)
    for query in (
        "", "?sort=-id", "?sort=name", "?sort=next_run_time", "?sort=-created_at", "?search=99",
        "?tag=a", "?state=paused", "?late=true", "?failing=true", "?failing=false", "?total=true",
        "?failing=true&sort=-created_at", "?failing=true&total=true",
    ):  # fmt: skip
        yield f"{api}/tasks{query}"
    for query in (
        "", "?status=failed", "?status=lost", "?status=failed&status=skipped", "?status=completed",
        "?status=pending", "?suspect=true", f"?task={_FIRST}", f"?task={_FIRST}&status=failed",
        "?source=scheduled", "?source=manual", "?source=scheduled&total=true", "?total=true",
        "?status=failed&total=true", f"?since={now:%Y-%m-%dT00:00:00Z}", "?until=2000-01-01T00:00Z",
        f"?since={now.year + 1}-01-01T00:00:00Z", "?since=2000-01-01T00:00:00Z&total=true",
    ):  # fmt: skip
        yield f"{api}/runs{query}"
    for path in ("nodes", "stores", "executors", "locks", "functions", "audit"):
        yield f"{api}/{path}"
    yield from (f"{api}/tasks/{_FIRST}", f"{api}/runs/{run}")
    yield from ("/", "/tasks", "/runs", "/nodes", f"/tasks/{_FIRST}", f"/runs/{run}")
    yield from ("/tasks?failing=true", "/runs?status=failed", "/runs?source=scheduled")


def _p95_ms(client: TestClient, path: str) -> float:
    took = []
    for _ in range(_TIMES):
        since = time.perf_counter()
        answer = client.get(path)
        took.append((time.perf_counter() - since) * 1_000)
        if answer.status_code != 200:
            raise AssertionError(f"{path}: {answer.status_code} {answer.text[:300]}")
    return statistics.quantiles(took, n=20)[-1]
