"""What a wake-up costs: that of what is due, however much is stored."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Engine, event

from tests.unit.stores.conftest import Place
from tickwork.model.policies import RunState, ScheduleState
from tickwork.model.steps import Eligibility, PruneRequest, RunQuery, TaskQuery
from tickwork.stores.sql import SQLStore
from tickwork.testing.store_contract.bench import (
    ALL_EXECUTORS,
    EXECUTOR,
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
    "asked": lambda bench: bench.demand.asked(NODE),
    "prune": lambda bench: bench.store.prune(PruneRequest({"m000007": 10}, T0, now_us=T0)),
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
        small = "SCAN listed" in each or "CONSTANT ROW" in each or each == "SCAN fresh"
        assert not each.startswith("SCAN") or small, each
        assert "TEMP B-TREE" not in each or "runs" not in each, each


def test_runs_without_rank_or_key_need_no_further_statements(opened: Place) -> None:
    bench, store = opened.bench, opened.bench.store
    assert isinstance(store, SQLStore)
    bench.put(*(task(f"t{number}") for number in range(3)))
    bench.register(NODE)
    with statements(store) as sent:
        runs = [each.run for each in bench.plan().leased]
        planning = [_beginning(statement) for statement, _ in sent]
        del sent[:]
        bench.finish(*(finished(run) for run in runs))
        finishing = [_beginning(statement) for statement, _ in sent]
    writing = ["BEGIN", "SELECT tickwork_nodes", "SELECT tickwork_tasks"]
    fence = ["UPDATE tickwork_counters", "SELECT tickwork_counters"]
    written = ["UPDATE tickwork_tasks", "INSERT tickwork_runs"]
    assert planning == ["BEGIN", "SELECT tickwork_tasks", *writing, *fence, *written]
    counting = ["SELECT tickwork_tasks", "UPDATE tickwork_tasks"]
    assert finishing == ["BEGIN", "UPDATE tickwork_runs", *counting]


def test_a_run_alone_is_written_without_executing_many(opened: Place) -> None:
    bench, store = opened.bench, opened.bench.store
    assert isinstance(store, SQLStore)
    bench.register(NODE)
    with statements(store) as sent:
        first = bench.submit()
        [leased] = bench.lease().leased
        bench.finish(finished(leased.run))
    assert leased.run.id == first.id
    written = [
        _beginning(statement)
        for statement, given in sent
        if statement.startswith(("INSERT", "UPDATE")) and "tickwork_runs" in statement
        if not isinstance(given, list)
    ]
    assert written == ["INSERT tickwork_runs", "UPDATE tickwork_runs", "UPDATE tickwork_runs"]


def _beginning(statement: str) -> str:
    """Return what a statement does to which table."""
    found = re.search(r"tickwork_(tasks|runs|nodes|counters)", statement)
    return " ".join([statement.split(maxsplit=1)[0], *([found[0]] if found else [])])


def test_runs_are_found_in_order_of_rank_through_an_index(crowded: Place) -> None:
    bench, store = crowded.bench, crowded.bench.store
    assert isinstance(store, SQLStore)
    model = bench.submit()
    bench.cancel(model)
    # Many that wait for later, of a lower rank, are in nobody's way.
    bench.demand.submit(
        [replace(model, id=f"{at:05}", available_us=T0 + MINUTE) for at in range(1_000)]
    )
    first, second, third = (
        bench.submit(id=f"now {rank}", rank=rank, available_us=T0 - 1) for rank in (7, 3, 5)
    )
    with statements(store) as sent:
        leased = bench.lease(capacity={EXECUTOR: 2, "asyncio": 2}).leased
    assert [each.run.id for each in leased] == [second.id, third.id]
    found = plans(crowded, sent)
    ready = "INDEX tickwork_ix_runs_ready"
    looking = [each for each in found if ready in each]
    line = "suspect=? AND executor=?"
    # The suspects, both ends of both lines; of one line the ranks 0, 3 and 5, and how to get there.
    assert [each.partition(" (")[2] for each in looking] == [
        "suspect=?)",
        *[f"{line})"] * 4,
        f"{line} AND rank=? AND available_us<?)",
        f"{line} AND rank>?)",
        f"{line} AND rank=? AND available_us<?)",
        f"{line} AND rank>?)",
        f"{line} AND rank=? AND available_us<?)",
    ]
    assert not any("TEMP B-TREE" in each for each in found), found
    assert bench.run(first).node is None


def test_keys_and_ends_are_found_through_indexes(crowded: Place) -> None:
    bench, store = crowded.bench, crowded.bench.store
    assert isinstance(store, SQLStore)
    with statements(store) as sent:
        runs = [bench.submit(concurrency_key=f"k{number % 5}") for number in range(20)]
        leased = [each.run for each in bench.lease().leased]
        assert len(leased) == 5
        bench.cancel(*leased[:2], *runs[5:7])
        assert len(bench.demand.asked(NODE)) == 2
        bench.finish(*(finished(run, expires_us=T0) for run in leased))
        assert bench.store.prune(PruneRequest({}, 0, now_us=T0)) == 5
    for each in plans(crowded, sent):
        small = "CONSTANT ROW" in each or each == "SCAN fresh"
        assert not each.startswith("SCAN") or small, each


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


def test_histories_that_are_short_need_no_statement_of_their_own(crowded: Place) -> None:
    store = crowded.bench.store
    assert isinstance(store, SQLStore)
    names = [f"m{number:06}" for number in range(8)]
    with statements(store) as few:
        assert store.prune(PruneRequest(dict.fromkeys(names[:1], 10), 0)) == 0
    with statements(store) as many:
        assert store.prune(PruneRequest(dict.fromkeys(names, 10), 0)) == 0
    assert len(many) == len(few)
    with statements(store) as longer:
        assert store.prune(PruneRequest({**dict.fromkeys(names, 10), "m000007": 9}, 0)) == 1
    assert len(longer) > len(few)


_PLACE = T0 + MINUTE + 5_000, "m005000"
_LATE_US = T0 + MINUTE + 50
PAGES: dict[str, Callable[[Bench], object]] = {
    "runs": lambda bench: bench.reader.find_runs(RunQuery(before=(T0, "m050000"))),
    "runs_of": lambda bench: bench.reader.find_runs(RunQuery("m000700", before=(T0, "m007005"))),
    "failed": lambda bench: bench.reader.find_runs(
        RunQuery(states=frozenset({RunState.FAILED}), before=(T0, "m050000"))
    ),
    "tasks": lambda bench: bench.reader.find_tasks(TaskQuery(after=("m05", "m05"))),
    "tasks_down": lambda bench: bench.reader.find_tasks(TaskQuery(sort="-id", after=("m", "m"))),
    "next": lambda bench: bench.reader.find_tasks(TaskQuery(sort="next_run_time")),
    "next_after": lambda bench: bench.reader.find_tasks(
        TaskQuery(sort="next_run_time", after=_PLACE)
    ),
    "next_down": lambda bench: bench.reader.find_tasks(
        TaskQuery(sort="-next_run_time", after=_PLACE)
    ),
    "late": lambda bench: bench.reader.find_tasks(
        TaskQuery(sort="next_run_time", due_before_us=_LATE_US)
    ),
    "how_many_late": lambda bench: bench.reader.count_tasks(TaskQuery(due_before_us=_LATE_US)),
    "how_many_runs": lambda bench: bench.reader.count_runs(RunQuery("m000700")),
}


OF_ONE_PAGE = (
    "MATERIALIZE page",
    "SCAN page",
    "SEARCH tickwork_tasks USING INDEX sqlite_autoindex_tickwork_tasks_1 (id=?)",
    "USE TEMP B-TREE FOR ORDER BY",
)
"""How the tasks of a page are read and put in order, once it is known which these are."""


def test_pages_go_along_an_index_from_where_the_last_one_ended(crowded: Place) -> None:
    store = crowded.bench.store
    assert isinstance(store, SQLStore)
    for name, look in PAGES.items():
        with statements(store) as sent:
            look(crowded.bench)
        # Of those that are due at the same instant, the ids are sorted.
        found = [each for each in plans(crowded, sent) if "RIGHT PART" not in each]
        if "MATERIALIZE page" in found:
            for each in OF_ONE_PAGE:
                found.remove(each)
        assert len(found) == 1, name
        assert re.match(r"SEARCH tickwork_\w+ USING (COVERING )?INDEX \w+ \(\w+[<>=]", found[0]), (
            found
        )
