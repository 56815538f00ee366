"""Hints on PostgreSQL: who gets them, how many, and what cuts them off."""

import threading
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import psycopg
import pytest
from sqlalchemy import make_url

from tests.servers.process import until
from tests.servers.tables import EmptyTables
from tests.unit.stores.test_sql_costs import statements
from tickwork.errors import LeaseLostError
from tickwork.interfaces import Watching
from tickwork.stores.sql import SQLStore
from tickwork.stores.sql.hints import Hints
from tickwork.testing.store_contract import Bench
from tickwork.testing.store_contract.bench import (
    EXECUTOR,
    LEASE_US,
    NODE,
    OTHER,
    T0,
    finished,
    given_back,
    pending,
    runs_now,
    task,
)

DEADLINE_S = 10.0


class Site:
    """Clients of one store, and an ear."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.prefix = EmptyTables(url).prefix()
        self.ear = self.driver()
        self.ear.execute(f'LISTEN "{self.prefix}hints"')
        self._benches: list[Bench] = []

    def driver(self) -> psycopg.Connection[Any]:
        """Return a connection of the driver's own."""
        url = make_url(self.url)
        plain = {"host": url.host, "port": url.port, "user": url.username}
        secret = {"password": url.password, "dbname": url.database}
        given = {name: value for name, value in (plain | secret).items() if value is not None}
        return psycopg.connect(autocommit=True, **{**given, **url.query})  # type: ignore[arg-type]

    def bench(self) -> Bench:
        """Return another open client."""
        store = SQLStore(self.url, prefix=self.prefix)
        bench = Bench(store, store)
        bench.open()
        self._benches.append(bench)
        return bench

    def heard(self) -> int:
        """Return how many hints came since the last time, or since the beginning."""
        self.ear.execute("SELECT 1")
        return len(list(self.ear.notifies(timeout=0)))

    def close(self) -> None:
        for bench in self._benches:
            bench.close()
        self.ear.close()


@pytest.fixture
def site(postgres_url: str) -> Iterator[Site]:
    site = Site(postgres_url)
    yield site
    site.close()


def watching(bench: Bench, wake: Callable[[], None]) -> None:
    assert isinstance(bench.store, Watching)
    bench.store.watch(wake)


def watchers() -> list[threading.Thread]:
    return [each for each in threading.enumerate() if each.name == "tickwork-sql-hints"]


def test_a_new_task_wakes_the_others(site: Site) -> None:
    one, other = site.bench(), site.bench()
    woken = threading.Event()
    watching(other, woken.set)
    # At first, since something may have been missed before.
    assert woken.wait(DEADLINE_S)
    woken.clear()
    one.put(task())
    assert woken.wait(DEADLINE_S)
    assert len(other.plan().leased) == 1


def test_what_one_does_oneself_is_no_news(site: Site) -> None:
    one, other = site.bench(), site.bench()
    wakes: list[int] = []
    watching(one, lambda: wakes.append(1))
    until(lambda: wakes, "it listens")
    for number in range(20):
        one.put(task(f"own{number}"))
    one.store.close()
    del wakes[:]
    one.open()
    watching(one, lambda: wakes.append(1))
    until(lambda: wakes == [1], "it listens again")
    one.put(task("own"))
    other.put(task("others"))
    until(lambda: len(wakes) == 2, "it hears the other's, and only that")


STEPS: dict[str, Callable[[Bench], object]] = {
    "put": lambda bench: bench.put(task("new")),
    "edit": lambda bench: bench.edit(runs_now(pending(None))),
    "plan what isn't leased": lambda bench: bench.plan(capacity={}),
    "recover": lambda bench: bench.recover(node="other"),
    "submit": lambda bench: bench.submit(),
    "pass on a key": lambda bench: bench.finish(finished(bench.run("1"))),
    "ask for an end": lambda bench: bench.cancel("1"),
    "take a waiter away": lambda bench: bench.cancel("2"),
    "give back": lambda bench: bench.finish(given_back(bench.leased(task("lent"))[0])),
}


@pytest.mark.parametrize("step", STEPS)
def test_steps_that_leave_something_to_others_hint(site: Site, step: str) -> None:
    bench = site.bench()
    bench.put(task())
    bench.register("dead")
    for name, limit in (("1", 1), ("2", 1), ("content with less", 2)):
        bench.submit(id=name, concurrency_key="key", concurrency_limit=limit)
    assert [each.run.id for each in bench.lease().leased] == ["1"]
    if step == "recover":
        bench.plan(node="dead")
        bench.now_us += LEASE_US
        bench.register("other")
    bench.store.close()
    bench.open()
    before = site.heard()
    assert before >= 1
    STEPS[step](bench)
    bench.store.close()
    assert site.heard() >= 1
    bench.open()


def test_planning_leasing_and_finishing_hint_nothing(site: Site) -> None:
    bench = site.bench()
    bench.put(*(task(f"t{number}") for number in range(20)))
    bench.store.close()
    site.heard()
    bench.open()
    bench.register(NODE)
    leased = [each.run for _ in range(4) for each in bench.plan(limit=5).leased]
    assert bench.finish(*(finished(run) for run in leased)) == frozenset()
    assert bench.lease() == ((), None, ())
    bench.store.close()
    assert site.heard() == 0
    bench.open()
    assert len(bench.runs()) == 20


def test_a_run_alone_is_submitted_and_hinted_at_by_one_statement(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Hints, "pause_s", 0.0)
    bench = site.bench()
    assert isinstance(bench.store, SQLStore)
    with statements(bench.store) as sent:
        bench.submit(id="1")
    [(adding, _)] = [each for each in sent if not each[0].startswith("SELECT")]
    assert "INSERT INTO" in adding
    assert "pg_notify" in adding
    assert site.heard() == 1
    # Whoever heard nothing of the first attempt submits it again.
    bench.submit(id="1")
    assert site.heard() == 0
    assert [each.run.id for each in bench.lease().leased] == ["1"]


def test_what_a_hint_is_about_is_leased_by_one_statement(site: Site) -> None:
    bench, other = site.bench(), site.bench()
    bench.register(NODE)
    assert isinstance(bench.store, SQLStore)
    woken = threading.Event()
    watching(bench, woken.set)
    until(woken.is_set, "it listens")
    woken.clear()
    other.submit(id="low", rank=5, available_us=T0 - 1)
    until(woken.is_set, "it hears of the run")
    other.submit(id="high")
    with statements(bench.store) as sent:
        leased = [each.run for each in bench.lease().leased]
    assert [each.id for each in leased] == ["high", "low"]
    [(leasing, _)] = sent
    assert leasing.startswith("WITH waiting AS")
    assert leased == [bench.run("high"), bench.run("low")]
    # Without a hint it looks first.
    other.submit(id="more")
    bench.store._session.database.hints.were_heard()  # type: ignore[union-attr]  # noqa: SLF001
    with statements(bench.store) as sent:
        assert [each.run.id for each in bench.lease().leased] == ["more"]
    assert sent[0][0].startswith("SELECT")


def test_few_runs_of_which_one_is_unreadable_are_looked_at_one_by_one(site: Site) -> None:
    bench = site.bench()
    bench.register(NODE)
    hints = bench.store._session.database.hints  # type: ignore[attr-defined]  # noqa: SLF001
    bench.submit(id="odd", rank=3)
    bench.submit(id="even", rank=5)
    with site.driver() as driver:
        runs = f'"{site.prefix}runs"'
        driver.execute(f"UPDATE {runs} SET definition = 'odd' WHERE id = 'odd'")  # noqa: S608
    hints.hear()
    [leased] = bench.lease().leased
    assert (leased.run.id, leased.run.attempt) == ("even", 1)
    odd = bench.run("odd")
    assert (odd.node, odd.attempt) == (None, 0)
    assert odd.available_us is not None
    assert odd.available_us > T0


def test_a_hint_of_nothing_writes_nothing(site: Site) -> None:
    bench = site.bench()
    bench.register(NODE)
    hints = bench.store._session.database.hints  # type: ignore[attr-defined]  # noqa: SLF001
    who_locked = f"SELECT xmax::text FROM {site.prefix}nodes"  # noqa: S608
    with site.driver() as driver:
        before = driver.execute(who_locked).fetchall()
        hints.hear()
        assert bench.lease().leased == ()
        assert driver.execute(who_locked).fetchall() == before
        bench.submit()
        hints.hear()
        assert len(bench.lease().leased) == 1
        assert driver.execute(who_locked).fetchall() != before


def test_who_hears_a_hint_and_is_dead_leases_nothing(site: Site) -> None:
    bench = site.bench()
    bench.register(NODE)
    hints = bench.store._session.database.hints  # type: ignore[attr-defined]  # noqa: SLF001
    run = bench.submit()
    bench.now_us += LEASE_US
    bench.recover(node=OTHER)
    hints.hear()
    with pytest.raises(LeaseLostError):
        bench.lease()
    assert bench.run(run).node is None
    hints.hear()
    assert [each.run.id for each in bench.lease(node=OTHER).leased] == [run.id]


def test_more_runs_than_places_are_left_to_their_priorities(site: Site) -> None:
    bench = site.bench()
    bench.register(NODE)
    hints = bench.store._session.database.hints  # type: ignore[attr-defined]  # noqa: SLF001
    for number in range(3):
        bench.submit(id=f"{number}", rank=-number)
    hints.hear()
    assert [each.run.id for each in bench.lease(capacity={EXECUTOR: 2}).leased] == ["2", "1"]
    hints.hear()
    assert [each.run.id for each in bench.lease(capacity={EXECUTOR: 2}).leased] == ["0"]


def test_a_child_process_is_told_from_its_parent(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Hints, "pause_s", 0.0)
    bench = site.bench()
    hints = bench.store._session.database.hints  # type: ignore[attr-defined]  # noqa: SLF001
    bench.submit()
    # As a child process does, which has the same store.
    hints.forsake()
    bench.submit()
    site.ear.execute("SELECT 1")
    senders = [each.payload for each in site.ear.notifies(timeout=0)]
    assert len(set(senders)) == len(senders) == 2


def test_many_hints_become_few_and_the_last_is_sent(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = site.bench(), site.bench()
    seen: list[int] = []
    watching(other, lambda: seen.append(other.reader.counts()["scheduled"]))
    until(lambda: seen == [0], "it listens")
    for number in range(200):
        one.put(task(f"t{number}"))
    # Whoever looks when woken sees everything in the end.
    until(lambda: seen[-1] == 200, "the last hint")
    assert site.heard() < 100


def test_closing_sends_what_is_owed(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Hints, "pause_s", 3_600.0)
    bench = site.bench()
    bench.put(task("a"))
    assert site.heard() == 1
    bench.put(task("b"))
    bench.put(task("c"))
    assert site.heard() == 0
    bench.store.close()
    assert site.heard() == 1
    bench.open()


def test_a_step_that_fails_hints_nothing(site: Site) -> None:
    bench = site.bench()
    bench.put(task())
    bench.store.close()
    site.heard()
    bench.open()

    def refuse(_: object) -> Any:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        bench.edit(refuse)
    bench.store.close()
    assert site.heard() == 0
    bench.open()


def test_a_watcher_mends_its_connection(site: Site) -> None:
    one, other = site.bench(), site.bench()
    wakes = count()
    woken = threading.Event()

    def wake() -> None:
        next(wakes)
        woken.set()

    watching(other, wake)
    assert woken.wait(DEADLINE_S)
    woken.clear()
    listening = f"query = 'LISTEN \"{site.prefix}hints\"'"
    cutting = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {listening}"  # noqa: S608
    with site.driver() as connection:
        cut = connection.execute(f"{cutting} AND pid <> %s", [site.ear.info.backend_pid])
        assert cut.fetchall() == [(True,)]
    # It listens again, and wakes for what it may have missed.
    assert woken.wait(DEADLINE_S)
    woken.clear()
    one.put(task("another", T0))
    assert woken.wait(DEADLINE_S)


def test_a_restart_is_survived(postgres_server: Any) -> None:
    site = Site(postgres_server.url)
    bench = site.bench()
    woken = threading.Event()
    watching(bench, woken.set)
    assert woken.wait(DEADLINE_S)
    woken.clear()
    postgres_server.restart()
    assert woken.wait(DEADLINE_S)
    site.close()


def test_watching_ends_with_closing(site: Site) -> None:
    before = len(watchers())
    bench = site.bench()
    watching(bench, lambda: None)
    watching(bench, lambda: None)
    assert len(watchers()) == before + 1
    bench.store.close()
    assert len(watchers()) == before
    bench.open()


def test_closing_from_the_watcher_itself_ends_it(site: Site) -> None:
    bench = site.bench()
    watching(bench, bench.store.close)
    until(lambda: not watchers(), "the watcher is over")
    bench.open()
