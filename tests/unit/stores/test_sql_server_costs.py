"""What a wake-up costs PostgreSQL: that of what is due, however much is stored."""

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event

from tests.servers.tables import EmptyTables
from tests.unit.stores.sql_listings import LISTINGS, TROUBLE, how_many
from tests.unit.stores.test_sql_costs import PAGES
from tickwork.model.policies import ScheduleState
from tickwork.model.steps import Eligibility, PruneRequest, TaskQuery
from tickwork.stores.sql import SQLStore
from tickwork.testing.store_contract import Bench
from tickwork.testing.store_contract.bench import (
    ALL_EXECUTORS,
    EXECUTOR,
    MINUTE,
    NODE,
    OTHER,
    T0,
    decide_never,
    finished,
    given_back,
    task,
)

STORED = 100_000
_INDEX = re.compile(r"Index (?:Only )?Scan (?:Backward )?using (\S+)")


class Crowd:
    """A store with 100,000 tasks, and as many runs that are over; nothing is due."""

    def __init__(self, url: str, prefix: str) -> None:
        self.prefix = prefix
        self.store = SQLStore(url, prefix=self.prefix)
        self.bench = Bench(self.store, self.store)
        self.bench.open()
        self.engine: Engine = self.store._session.database.engine  # noqa: SLF001
        self.bench.register(NODE)
        over = task("over", None, state=ScheduleState.FINISHED)
        self.bench.put(task("model", T0 + MINUTE), over)
        self.bench.leased(task("done"))
        with self.engine.begin() as connection:
            for table in ("tasks", "runs"):
                self._multiply(connection, table)
        with self.engine.connect() as connection:
            plain = connection.execution_options(isolation_level="AUTOCOMMIT")
            plain.exec_driver_sql(f"VACUUM ANALYZE {self.prefix}tasks, {self.prefix}runs")

    def _multiply(self, connection: Connection, table: str) -> None:
        new = {"id": "'m' || lpad(n::text, 6, '0')", "due_us": "due_us + n"}
        new["fire_us"] = "fire_us + n"
        key = "id = 'model'"
        if table == "runs":
            new |= {"state": "'completed'", "node": "NULL", "finished_us": "due_us"}
            new["task_id"] = "'m' || lpad((n / 10)::text, 6, '0')"
            key = "task_id = 'done'"
        tables = self.store._session.tables  # noqa: SLF001
        names = [column.name for column in getattr(tables, table).columns]
        values = ", ".join(new.get(name, name) for name in names)
        connection.exec_driver_sql(
            f"INSERT INTO {self.prefix}{table} ({', '.join(names)}) SELECT {values} "  # noqa: S608
            f"FROM {self.prefix}{table}, generate_series(1, {STORED}) AS n WHERE {key}"
        )

    def check(self, plans: list[str]) -> None:
        """Fail where all tasks or runs are read, or sorted to find the first."""
        for plan in plans:
            # Nodes are few.
            for table in ("tasks", "runs"):
                assert f"Seq Scan on {self.prefix}{table}" not in plan, plan


@contextmanager
def explained(engine: Engine) -> Iterator[list[str]]:
    """Collect how the server goes about what this thread has a store send.

    A hint that is owed from before is sent at any time, by another one.
    """
    sent: list[tuple[str, Any]] = []
    found: list[str] = []
    ours = threading.get_ident()

    def note(*args: Any) -> None:
        if threading.get_ident() == ours:
            sent.append((args[2], args[3]))

    event.listen(engine, "before_cursor_execute", note)
    yield found
    event.remove(engine, "before_cursor_execute", note)
    with engine.connect() as connection:
        for statement, parameters in sent:
            if statement.startswith(("SELECT", "UPDATE", "DELETE", "INSERT", "WITH")):
                each = parameters[0] if isinstance(parameters, list) else parameters
                rows = connection.exec_driver_sql(f"EXPLAIN {statement}", each)
                found.append("\n".join(row[0] for row in rows))
    assert found


@pytest.fixture(scope="module")
def prefixes(postgres_url: str) -> EmptyTables:
    return EmptyTables(postgres_url)


@pytest.fixture(scope="module")
def crowd(postgres_url: str, prefixes: EmptyTables) -> Iterator[Crowd]:
    crowd = Crowd(postgres_url, prefixes.prefix())
    yield crowd
    crowd.store.close()


def _some_left_out() -> Eligibility:
    return Eligibility(ALL_EXECUTORS, frozenset({"a:b"}), frozenset({"x", "y"}))


def _many_left_out() -> Eligibility:
    names = frozenset(f"no{number}" for number in range(100))
    return Eligibility(ALL_EXECUTORS, names, names)


IDLE: dict[str, Callable[[Bench], object]] = {
    "plan": lambda bench: bench.plan(decide_never),
    "plan_with_exclusions": lambda bench: bench.plan(decide_never, eligibility=_some_left_out()),
    "plan_with_many": lambda bench: bench.plan(decide_never, eligibility=_many_left_out()),
    "lease": lambda bench: bench.lease(),
    "recover": lambda bench: bench.recover(decide_never, node=OTHER),
    "asked": lambda bench: bench.demand.asked(NODE),
    "prune": lambda bench: bench.store.prune(PruneRequest({"m009001": 10}, T0, now_us=T0)),
    "shutdown": lambda bench: bench.reader.find_tasks(
        TaskQuery(trigger="shutdown", state=ScheduleState.SCHEDULED)
    ),
}


@pytest.mark.parametrize("step", IDLE)
def test_an_idle_step_reads_a_little(crowd: Crowd, step: str) -> None:
    with explained(crowd.engine) as plans:
        IDLE[step](crowd.bench)
    crowd.check(plans)
    # To sort the few rows that there can be is as good as to walk along an index. How many it takes
    # for them depends on which rows ANALYZE came across.
    rows = [int(each) for plan in plans for each in re.findall(r"Sort +\(.*rows=(\d+)", plan)]
    assert step == "shutdown" or max(rows, default=0) <= 10, plans


def test_planning_leasing_and_finishing_use_indexes(crowd: Crowd) -> None:
    bench = crowd.bench
    with explained(crowd.engine) as plans:
        # A batch of a thousand, which is what the loop asks for.
        reply = bench.plan(now_us=T0 + MINUTE + 2_000, limit=1_000)
        assert len(reply.leased) == 1_000
        first, second, *others = (each.run for each in reply.leased)
        bench.finish(given_back(first), given_back(second, started=True, error="[]"))
        bench.finish(*(finished(each, follows=True) for each in others))
        assert len(bench.lease().leased) == 2
    crowd.check(plans)
    due = next(plan for plan in plans if f"{crowd.prefix}ix_tasks_due" in plan)
    assert "Sort" not in due, due


def test_what_a_hint_is_about_is_found_through_indexes(crowd: Crowd) -> None:
    bench = crowd.bench
    run = bench.submit()
    hints = crowd.store._session.database.hints  # noqa: SLF001
    assert hints is not None
    hints.hear()
    with explained(crowd.engine) as plans:
        [leased] = bench.lease().leased
    assert leased.run.id == run.id
    crowd.check(plans)
    [plan] = plans
    assert f"{crowd.prefix}ix_tasks" not in plan
    bench.finish(finished(leased.run))


def test_histories_are_found_through_an_index(crowd: Crowd) -> None:
    with explained(crowd.engine) as plans:
        assert len(crowd.bench.runs("m009002")) == 10
        assert crowd.store.prune(PruneRequest({"m009002": 8}, 0)) == 2
    crowd.check(plans)
    assert len(crowd.bench.runs("m009002")) == 8


def test_keys_and_ends_are_found_through_indexes(crowd: Crowd) -> None:
    bench = crowd.bench
    with explained(crowd.engine) as plans:
        runs = [bench.submit(concurrency_key=f"k{number % 5}", rank=-1) for number in range(20)]
        leased = [each.run for each in bench.lease(capacity={EXECUTOR: 5}).leased]
        assert [run.id for run in leased] == [run.id for run in runs[:5]]
        bench.cancel(*leased[:2], *runs[5:7])
        assert len(bench.demand.asked(NODE)) == 2
        bench.finish(*(finished(run, expires_us=T0) for run in leased))
        assert bench.store.prune(PruneRequest({}, 0, now_us=T0)) == 5
        bench.cancel(*runs)
    crowd.check(plans)


def test_a_backlog_that_nobody_has_analysed_is_read_in_its_order(
    postgres_url: str, prefixes: EmptyTables
) -> None:
    crowd = Crowd(postgres_url, prefixes.prefix())
    bench = crowd.bench
    model = bench.submit(rank=1)
    bench.cancel(model)
    for state, available_us in (("now", T0), ("later", T0 + MINUTE)):
        many = [
            replace(model, id=f"{state} {at:06}", available_us=available_us + at)
            for at in range(-20_000, 0)
        ]
        bench.demand.submit(many)
    last = bench.submit(rank=7, available_us=T0 - MINUTE)
    with explained(crowd.engine) as plans:
        leased = bench.lease(capacity={EXECUTOR: 10}).leased
    assert [each.run.id for each in leased] == [f"now {at:06}" for at in range(-20_000, -19_990)]
    assert bench.run(last).node is None
    crowd.check(plans)
    reading = [plan for plan in plans if f"on {crowd.prefix}runs" in plan]
    assert not any("Sort" in plan for plan in reading), reading
    crowd.store.close()


def test_a_batch_is_finished_by_the_ids_of_its_runs_before_anybody_has_analysed(
    postgres_url: str, prefixes: EmptyTables
) -> None:
    """Not by looking through all runs for each of them, which is what takes rows for rare."""
    prefix = prefixes.prefix()
    store = SQLStore(postgres_url, prefix=prefix)
    bench = Bench(store, store)
    bench.open()
    bench.register(NODE)
    engine = store._session.database.engine  # noqa: SLF001
    with engine.begin() as connection:
        for table in ("tasks", "runs"):
            connection.exec_driver_sql(
                f"ALTER TABLE {prefix}{table} SET (autovacuum_enabled = false)"
            )
    bench.put(*(task(f"t{number:05}", T0) for number in range(3_000)))
    leased = [each.run for _ in range(3) for each in bench.plan(limit=1_000).leased]
    assert len(leased) == 3_000
    with explained(engine) as plans:
        bench.finish(*map(finished, leased[:1_000]))
    updates = [plan for plan in plans if plan.startswith(f"Update on {prefix}")]
    assert len(updates) == 2
    assert not any("Join Filter" in plan for plan in updates), updates
    store.close()


@pytest.mark.parametrize("page", PAGES)
def test_pages_go_along_an_index_from_where_the_last_one_ended(crowd: Crowd, page: str) -> None:
    with explained(crowd.engine) as plans:
        PAGES[page](crowd.bench)
    crowd.check(plans)
    [plan] = plans
    # Of those that are due at the same instant, the ids are sorted; and in the end the page is.
    rows = [int(each) for each in re.findall(r"(?<!Incremental )Sort +\(.*rows=(\d+)", plan)]
    assert len(rows) <= 1, plan
    assert max(rows, default=0) <= 100, plan


@pytest.fixture(scope="module")
def troubled(postgres_url: str, prefixes: EmptyTables) -> Iterator[Crowd]:
    """A store in which a little went wrong."""
    crowd = Crowd(postgres_url, prefixes.prefix())
    with crowd.engine.begin() as connection:
        for statement in TROUBLE:
            connection.exec_driver_sql(
                statement.format(runs=f"{crowd.prefix}runs").replace("%", "%%")
            )
    with crowd.engine.connect() as connection:
        plain = connection.execution_options(isolation_level="AUTOCOMMIT")
        plain.exec_driver_sql(f"VACUUM ANALYZE {crowd.prefix}runs")
    yield crowd
    crowd.store.close()


@pytest.mark.parametrize("name", LISTINGS)
def test_little_is_found_through_an_index_of_it(troubled: Crowd, name: str) -> None:
    listing = LISTINGS[name]
    with explained(troubled.engine) as plans:
        assert how_many(listing.look(troubled.bench)) == listing.found
    troubled.check(plans)
    [plan] = plans
    used = frozenset(each.removeprefix(troubled.prefix) for each in _INDEX.findall(plan))
    assert used in (listing.indexes, listing.or_indexes), plan
