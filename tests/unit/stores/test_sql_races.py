"""Keys, and ends on demand, while others are at the same rows."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import pytest
from sqlalchemy import Connection, event, func, select, text

from tests.servers.process import until
from tests.unit.stores.conftest import Place
from tests.unit.stores.test_sql_servers import Site, engine_of, numbers, site
from tickwork.errors import StoreUnavailableError
from tickwork.model.policies import RunState
from tickwork.model.records import RunRecord
from tickwork.stores.sql import SQLStore
from tickwork.testing.store_contract import Bench
from tickwork.testing.store_contract.bench import (
    EXECUTOR,
    NODE,
    OTHER,
    T0,
    finished,
    pending,
    runs_now,
    task,
)

__all__ = ["site"]

DEADLINE_S = 60.0
_KEYED: dict[str, Any] = {"concurrency_key": "key"}


@contextmanager
def waiting(site: Site, bench: Bench, step: Callable[[], Any]) -> Iterator["Future[Any]"]:
    """Take a step in a thread, which must come to wait for a lock."""
    with ThreadPoolExecutor(1) as pool, numbers(bench) as found:
        future = pool.submit(step)
        until(lambda: bool(found) and site.waits(found[-1]), "it waits")
        yield future


def _lock_gates(site: Site, connection: Connection) -> None:
    query = f"SELECT name FROM {site.prefix}counters WHERE name = 'gate' FOR UPDATE"  # noqa: S608
    assert connection.execute(text(query)).scalar() == "gate"


def _held(bench: Bench) -> list[str]:
    return [run.id for run in bench.runs() if run.holds_key]


# --- one decides about keys at a time ----------------------------------------------------------


def patiently(step: Callable[[], Any]) -> Any:
    """Do a step of a store that is too busy at times, as schedulers do."""
    for _ in range(20):
        with suppress(StoreUnavailableError):
            return step()
    return step()


class Crew:
    """Threads with stores of their own, each of which submits runs, and executes what it gets."""

    limit, submitted = 3, 20

    def __init__(self, open_store: Callable[[], Bench]) -> None:
        self._open_store = open_store
        self.most = 0
        self.done: list[str] = []
        self._lock = threading.Lock()
        self._together = threading.Barrier(4, timeout=DEADLINE_S)

    def work(self, number: int) -> None:
        """Submit, lease and finish, until all runs of all threads are over."""
        bench = self._open_store()
        node = f"crew-{number}"
        for each in range(self.submitted):
            name = f"{number}-{each:03}"
            patiently(partial(bench.submit, id=name, concurrency_limit=self.limit, **_KEYED))
            if each == 0:
                # One more than may hold the key is there, and none is over: all that may, do.
                self._together.wait()
                self._look(bench)
                self._together.wait()
            self._execute(bench, node)
        until(lambda: self._execute(bench, node), "all is done")

    def _execute(self, bench: Bench, node: str) -> bool:
        leased = patiently(partial(bench.lease, node=node, capacity={EXECUTOR: 2})).leased
        self._look(bench)
        entries = [finished(each.run) for each in leased]
        assert patiently(partial(bench.finish, *entries)) == frozenset()
        with self._lock:
            self.done += [each.run.id for each in leased]
            return len(self.done) == 4 * self.submitted

    def _look(self, bench: Bench) -> None:
        store = bench.store
        assert isinstance(store, SQLStore)
        session = store._session  # noqa: SLF001
        with session.database.reading() as connection:
            held = select(func.count()).where(session.tables.runs.c.held_key == "key")
            count = connection.execute(held).scalar_one()
        with self._lock:
            self.most = max(self.most, count)

    def check(self, bench: Bench) -> None:
        """Work in four threads, and check what came of it."""
        with ThreadPoolExecutor(4) as pool:
            for each in [pool.submit(self.work, number) for number in range(4)]:
                each.result(timeout=DEADLINE_S)
        assert sorted(self.done) == sorted(run.id for run in bench.runs())
        assert len(set(self.done)) == 4 * self.submitted
        assert {run.state for run in bench.runs()} == {RunState.COMPLETED}
        assert self.most == self.limit
        assert _held(bench) == []


def test_a_key_is_never_held_by_more_than_it_allows(site: Site) -> None:
    Crew(site.bench).check(site.bench())


def test_a_key_in_a_file_is_never_held_by_more_than_it_allows(opened: Place) -> None:
    def another() -> Bench:
        store = opened.open(opened.store())
        return Bench(store, store)

    Crew(another).check(opened.bench)


KEYED: dict[str, Callable[[Bench, RunRecord], object]] = {
    "submit": lambda bench, _: bench.submit(**_KEYED),
    "finish": lambda bench, leased: bench.finish(finished(leased)),
    "cancel": lambda bench, _: bench.cancel("waits"),
    "plan": lambda bench, _: bench.plan(),
    "edit": lambda bench, _: bench.edit(runs_now(pending(None))),
}


@pytest.mark.parametrize("step", KEYED)
def test_who_decides_about_keys_waits_for_each_other(site: Site, step: str) -> None:
    bench = site.bench()
    bench.put(task(**_KEYED))
    bench.submit(id="leased", **_KEYED)
    bench.submit(id="waits", **_KEYED)
    [leased] = bench.lease().leased
    with site.other() as other:
        _lock_gates(site, other)
        with waiting(site, bench, lambda: KEYED[step](bench, leased.run)) as taken:
            other.rollback()
        taken.result(timeout=DEADLINE_S)
    assert _held(bench) == (["waits"] if step == "finish" else ["leased"])


def test_others_are_not_kept_waiting(site: Site) -> None:
    bench = site.bench()
    bench.put(task(), task("other", None))
    with site.other() as other:
        _lock_gates(site, other)
        runs = [each.run for each in bench.plan().leased]
        own = bench.submit(rank=-1)
        runs += [each.run for each in bench.lease().leased]
        bench.finish(*(finished(run) for run in runs))
        bench.edit(runs_now(pending(None)), "other")
        bench.cancel(*bench.runs("other"))
        assert [run.id for run in runs][1:] == [own.id]
        assert {run.state for run in bench.runs()} == {RunState.COMPLETED, RunState.CANCELLED}


# --- what changes between a look and a lock ----------------------------------------------------


def _change(site: Site, connection: Connection, run: RunRecord, what: str) -> None:
    query = f"UPDATE {site.prefix}runs SET {what} WHERE id = :id"  # noqa: S608
    assert connection.execute(text(query), {"id": run.id}).rowcount == 1


def test_a_run_that_is_leased_while_it_is_cancelled_is_asked_to_end(site: Site) -> None:
    bench = site.bench()
    run = bench.submit()
    with site.other() as other:
        _change(site, other, run, f"node = '{NODE}', fence = 7, available_us = NULL")
        with waiting(site, bench, lambda: bench.cancel(run)) as cancelled:
            other.commit()
        [found] = cancelled.result(timeout=DEADLINE_S)
    assert found == bench.run(run)
    assert (found.state, found.node, found.cancel_us) == (RunState.PENDING, NODE, T0)
    assert bench.demand.asked(NODE) == [run.id]


def test_a_run_that_is_given_back_while_it_is_asked_to_end_is_cancelled(site: Site) -> None:
    bench = site.bench()
    bench.put(task("task", None, **_KEYED))
    bench.edit(runs_now(pending(None)))
    [leased] = bench.lease().leased
    waits = bench.submit(**_KEYED)
    with site.other() as other:
        _change(site, other, leased.run, f"node = NULL, available_us = {T0}")
        with waiting(site, bench, lambda: bench.cancel(leased.run)) as cancelled:
            other.commit()
        [found] = cancelled.result(timeout=DEADLINE_S)
    assert found == bench.run(leased.run)
    assert found.state is RunState.CANCELLED
    assert _held(bench) == [waits.id]
    assert bench.active() == (0, 0)


def test_a_run_that_two_submit_at_once_is_there_once(site: Site) -> None:
    bench, other = site.bench(), site.bench()
    theirs: list[RunRecord] = []

    def submit(*args: Any) -> None:
        if args[2].startswith(f"INSERT INTO {site.prefix}runs") and not theirs:
            theirs.append(other.submit(id="same", **_KEYED))

    event.listen(engine_of(bench), "before_cursor_execute", submit)
    bench.submit(id="same", **_KEYED)
    event.remove(engine_of(bench), "before_cursor_execute", submit)
    assert bench.runs() == theirs
    assert _held(bench) == ["same"]


def test_two_may_end_the_same_runs_at_once(site: Site) -> None:
    """Whoever is sacrificed in a deadlock begins anew: each run ends once."""
    bench = site.bench()
    benches = [bench, site.bench()]
    for at in range(10):
        bench.put(task(f"t{at}", None, max_instances=5, **(_KEYED if at % 2 else {})))
        bench.edit(runs_now(*(pending(T0 + number) for number in range(4))), f"t{at}")
    runs = bench.runs()
    seen: list[tuple[str, int]] = []
    both = threading.Barrier(2)

    def end(number: int) -> None:
        named = runs if number else runs[::-1]
        both.wait(DEADLINE_S)
        for at in range(0, len(named), 5):
            benches[number].cancel(
                *named[at : at + 5],
                after_run=lambda record, ended: seen.append((record.id, len(ended))),
            )

    with ThreadPoolExecutor(2) as pool:
        for each in [pool.submit(end, number) for number in range(2)]:
            each.result(timeout=DEADLINE_S)
    assert {run.state for run in bench.runs()} == {RunState.CANCELLED}
    assert [bench.active(f"t{at}") for at in range(10)] == [(0, 0)] * 10
    assert _held(bench) == []
    # A transaction that began anew may have asked before.
    assert sum(count for _, count in seen) >= len(runs) == 40


def test_a_key_passes_from_node_to_node(site: Site) -> None:
    one, other = site.bench(), site.bench()
    first, second = (one.submit(id=name, **_KEYED) for name in ("1", "2"))
    [leased] = one.lease().leased
    assert other.lease(node=OTHER).leased == ()
    one.finish(finished(leased.run))
    [next_one] = other.lease(node=OTHER).leased
    assert (leased.run.id, next_one.run.id) == (first.id, second.id)
