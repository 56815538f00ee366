"""What a wake-up costs: that of what is due, however much is stored."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Engine, event

from tests.unit.stores.conftest import Place
from tickwork.model.policies import ScheduleState
from tickwork.model.steps import Eligibility, PruneRequest, TaskQuery
from tickwork.stores.sql import SQLStore
from tickwork.testing.store_contract.bench import (
    ALL_EXECUTORS,
    MINUTE,
    NODE,
    OTHER,
    T0,
    Bench,
    decide_never,
    finished,
    given_back,
    task,
)

STORED = 100_000


@pytest.fixture
def crowded(opened: Place) -> Place:
    """A store with 100,000 tasks, most with ten runs that are over; nothing is due."""
    bench = opened.bench
    bench.register(NODE)
    bench.put(task("model", T0 + MINUTE), task("over", None, state=ScheduleState.FINISHED))
    bench.leased(task("done"))
    with opened.driver() as connection:
        for table, key in (("tasks", "model"), ("runs", "done")):
            query = f"PRAGMA table_info(tickwork_{table})"
            names = [row[1] for row in connection.execute(query)]
            new = {"id": "printf('m%06d', n)", "due_us": "due_us + n", "fire_us": "fire_us + n"}
            if table == "runs":
                new |= {"state": "'completed'", "node": "NULL", "finished_us": "due_us"}
                new["task_id"] = "printf('m%06d', n / 10)"
            values = ", ".join(new.get(name, name) for name in names)
            connection.execute(
                f"WITH RECURSIVE many(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM many "  # noqa: S608
                f"LIMIT {STORED}) INSERT INTO tickwork_{table} ({', '.join(names)}) "
                f"SELECT {values} FROM tickwork_{table}, many "
                f"WHERE {'id' if table == 'tasks' else 'task_id'} = '{key}'"
            )
        connection.execute("ANALYZE")
    return opened


@contextmanager
def statements(store: SQLStore) -> Iterator[list[tuple[str, Any]]]:
    """Collect the statements that a store sends, with their parameters."""
    sent: list[tuple[str, Any]] = []
    engine: Engine = store._session.database.engine  # noqa: SLF001

    def note(*args: Any) -> None:
        sent.append((args[2], args[3]))

    event.listen(engine, "before_cursor_execute", note)
    yield sent
    event.remove(engine, "before_cursor_execute", note)


def plans(place: Place, sent: list[tuple[str, Any]]) -> list[str]:
    """Return how the database goes about what was sent."""
    found = []
    with place.driver() as connection:
        for statement, parameters in sent:
            if statement.startswith(("SELECT", "UPDATE", "DELETE")):
                many = isinstance(parameters, list)
                rows = connection.execute(
                    f"EXPLAIN QUERY PLAN {statement}", parameters[0] if many else parameters
                )
                found += [row[3] for row in rows]
    return found


def _some_left_out() -> Eligibility:
    return Eligibility(ALL_EXECUTORS, frozenset({"a:b"}), frozenset({"x", "y"}))


IDLE: dict[str, Callable[[Bench], object]] = {
    "plan": lambda bench: bench.plan(decide_never),
    "plan_with_exclusions": lambda bench: bench.plan(decide_never, eligibility=_some_left_out()),
    "lease": lambda bench: bench.lease(),
    "recover": lambda bench: bench.recover(decide_never, node=OTHER),
}


@pytest.mark.parametrize("step", IDLE)
def test_an_idle_step_only_reads_a_little(crowded: Place, step: str) -> None:
    store = crowded.bench.store
    assert isinstance(store, SQLStore)
    with statements(store) as sent, crowded.driver() as writer:
        # Somebody writes all the time: an idle step needs no lock for itself.
        writer.execute("BEGIN IMMEDIATE")
        IDLE[step](crowded.bench)
        writer.execute("ROLLBACK")
    found = plans(crowded, sent)
    assert found
    for each in found:
        # Nodes are few.
        assert "tickwork_nodes" in each or not each.startswith("SCAN"), found
        assert "TEMP B-TREE" not in each, found


def test_planning_and_finishing_use_indexes(crowded: Place) -> None:
    bench, store = crowded.bench, crowded.bench.store
    assert isinstance(store, SQLStore)
    bench.now_us += 2 * MINUTE
    with statements(store) as sent:
        reply = bench.plan(now_us=T0 + MINUTE + 500)
        assert len(reply.leased) == 501
        first, second, *others = (each.run for each in reply.leased)
        bench.finish(given_back(first), given_back(second, started=True, error="[]"))
        bench.finish(*(finished(each, follows=True) for each in others))
        assert len(bench.lease().leased) == 2
    for each in plans(crowded, sent):
        small = "SCAN listed" in each or "CONSTANT ROWS" in each or each == "SCAN fresh"
        assert not each.startswith("SCAN") or small, each
        assert "TEMP B-TREE" not in each or "runs" not in each, each


def test_shutdown_tasks_are_found_through_their_index(crowded: Place) -> None:
    store = crowded.bench.store
    assert isinstance(store, SQLStore)
    with statements(store) as sent:
        store.find_tasks(TaskQuery(trigger="shutdown", state=ScheduleState.SCHEDULED))
    assert "ix_tasks_shutdown" in " ".join(plans(crowded, sent))


def test_looking_for_what_to_forget_takes_no_lock(crowded: Place) -> None:
    with crowded.driver() as writer:
        writer.execute("BEGIN IMMEDIATE")
        assert crowded.bench.store.prune(PruneRequest({"m000007": 10}, T0)) == 0
        writer.execute("ROLLBACK")


def test_histories_are_found_through_an_index(crowded: Place) -> None:
    bench, store = crowded.bench, crowded.bench.store
    assert isinstance(store, SQLStore)
    with statements(store) as sent:
        assert len(bench.runs("m000007")) == 10
    assert "task_id=?" in " ".join(plans(crowded, sent))
    with statements(store) as sent:
        assert store.prune(PruneRequest({"m000007": 8}, 0)) == 2
    assert "task_id=?" in " ".join(plans(crowded, sent))
    assert len(bench.runs("m000007")) == 8
