"""PostgreSQL and MySQL: whose clock, whose engine, how long, and what accidents become."""

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, NullPool, create_engine, event, insert, text
from sqlalchemy.engine import make_url

from tests.servers.process import standing_still, until
from tests.servers.tables import EmptyTables
from tickwork.errors import InvalidInputError, StoreUnavailableError
from tickwork.interfaces import StoreEnvironment, Timekeeping, Watching
from tickwork.model.definition import DefinitionCodec
from tickwork.model.instants import SECOND
from tickwork.model.policies import RunState
from tickwork.model.records import NodeRecord, TaskRecord
from tickwork.model.steps import Edit
from tickwork.scheduler.clock import SystemClock
from tickwork.stores.sql import SQLStore
from tickwork.stores.sql.backends import Backend
from tickwork.stores.sql.rows import node_row
from tickwork.stores.sql.schema import tables
from tickwork.testing.store_contract import Bench
from tickwork.testing.store_contract.bench import T0, finished, pending, runs_now, task
from tickwork.wiring import load_trigger

KINDS = ["postgres", "mysql"]
DEADLINE_S = 30.0


class Site:
    """A place on a server, and stores in it."""

    def __init__(self, kind: str, url: str) -> None:
        self.postgresql = kind == "postgres"
        self.url = url
        self.prefix = EmptyTables(url).prefix()
        self._engines: list[Engine] = []
        self._looking = self.engine(poolclass=NullPool)
        self._benches: list[Bench] = []

    def bench(self, where: Any = None, **options: Any) -> Bench:
        """Return an open store with a bench."""
        store = SQLStore(where or self.url, **{"prefix": self.prefix, **options})
        bench = Bench(store, store)
        bench.open()
        self._benches.append(bench)
        return bench

    def engine(self, **options: Any) -> Engine:
        """Return an engine of a user's own."""
        engine = create_engine(make_url(self.url), **options)
        self._engines.append(engine)
        return engine

    @contextmanager
    def other(self) -> Iterator[Connection]:
        """Give a connection beside the stores, whose transaction is taken back."""
        with self.engine().connect() as connection:
            yield connection

    def lock(self, connection: Connection, table: str, key: str) -> None:
        """Lock a row until the end of a transaction."""
        query = f"SELECT id FROM {self.prefix}{table} WHERE id = :key FOR UPDATE"  # noqa: S608
        assert connection.execute(text(query), {"key": key}).scalar() == key

    def make_heavy(self, connection: Connection) -> None:
        """Have the others give way in a deadlock.

        MySQL ends who has changed the least, PostgreSQL who waits long enough to look for it.
        """
        if self.postgresql:
            connection.execute(text("SET LOCAL deadlock_timeout = '60s'"))
        else:
            nodes = tables(self.prefix).nodes
            rows = [node_row(NodeRecord(id=f"{number:03}")) for number in range(100)]
            connection.execute(insert(nodes), rows)

    def waits(self, number: int) -> bool:
        """Whether a connection waits for a lock."""
        with self._looking.connect() as connection:
            if self.postgresql:
                query = (
                    "SELECT count(*) FROM pg_stat_activity "
                    "WHERE pid = :it AND wait_event_type = 'Lock'"
                )
                return bool(connection.execute(text(query), {"it": number}).scalar())
            # Tables of transactions are made anew only when nobody has read them for a while.
            status = connection.execute(text("SHOW ENGINE INNODB STATUS")).one()[2]
        transactions = status.split("---TRANSACTION")[1:]
        return any(f" thread id {number}," in it and "LOCK WAIT" in it for it in transactions)

    def cut(self, number: int) -> None:
        """End a connection by the server's number of it."""
        end = "SELECT pg_terminate_backend(:it)" if self.postgresql else "KILL CONNECTION :it"
        with self.other() as connection:
            connection.execute(text(end), {"it": number})

    def close(self) -> None:
        for bench in self._benches:
            bench.close()
        for engine in self._engines:
            engine.dispose()


@pytest.fixture(params=KINDS)
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    site = Site(request.param, request.getfixturevalue(f"{request.param}_url"))
    yield site
    site.close()


@pytest.fixture(params=KINDS)
def server(request: pytest.FixtureRequest) -> Any:
    """Give a server of our own, which may be mistreated."""
    return request.getfixturevalue(f"{request.param}_server")


@pytest.fixture
def own_site(server: Any) -> Iterator[Site]:
    kind = "postgres" if server.url.startswith("postgres") else "mysql"
    site = Site(kind, server.url)
    yield site
    site.close()


def engine_of(bench: Bench) -> Engine:
    store = bench.store
    assert isinstance(store, SQLStore)
    return store._session.database.engine  # noqa: SLF001


def number_of(connection: Connection) -> int:
    """Return the server's number of a connection."""
    driver: Any = connection.connection.dbapi_connection
    return int(driver.info.backend_pid if hasattr(driver, "info") else driver.thread_id())


@contextmanager
def numbers(bench: Bench) -> Iterator[list[int]]:
    """Collect the numbers of the connections on which transactions of a store's steps begin."""
    found: list[int] = []
    engine = engine_of(bench)

    def note(connection: Connection) -> None:
        # Hints about earlier steps may be sent meanwhile.
        if not isinstance(threading.current_thread(), threading.Timer):
            found.append(number_of(connection))

    event.listen(engine, "begin", note)
    yield found
    event.remove(engine, "begin", note)


def refuse(_: object) -> Any:
    raise ZeroDivisionError


# --- whose clock -------------------------------------------------------------------------------


def test_the_server_keeps_the_time(site: Site) -> None:
    store = SQLStore(site.url, prefix=site.prefix)
    assert isinstance(store, Timekeeping)
    store.open(StoreEnvironment(DefinitionCodec(load_trigger), lambda: T0))
    clock = SystemClock()
    earliest = clock.now_us() - SECOND
    # The server is on this machine; it believes to be in another time zone.
    now_us = store.now_us()
    beat = store.beat(NodeRecord(id="node"), 30 * SECOND)
    assert earliest <= now_us <= beat.now_us <= clock.now_us() + SECOND
    [node] = store.nodes()
    assert (node.beat_us, node.expires_us) == (beat.now_us, beat.now_us + 30 * SECOND)
    store.close()


def test_simulated_time_stands_for_the_servers(site: Site) -> None:
    bench = site.bench()
    assert isinstance(bench.store, Timekeeping)
    assert bench.store.now_us() == T0
    bench.now_us += 7
    assert bench.store.now_us() == T0 + 7


def test_only_postgresql_passes_on_hints(site: Site) -> None:
    assert isinstance(site.bench().store, Watching) == site.postgresql


def test_sqlite_has_neither_clock_nor_hints(tmp_path: Any) -> None:
    store = SQLStore(f"sqlite:///{tmp_path}/tasks.db")
    assert not isinstance(store, Timekeeping)
    assert not isinstance(store, Watching)


# --- whose engine ------------------------------------------------------------------------------


@pytest.mark.parametrize("isolation", ["AUTOCOMMIT", "SERIALIZABLE", "READ UNCOMMITTED"])
def test_engines_of_any_isolation_are_taken(site: Site, isolation: Any) -> None:
    engine = site.engine(isolation_level=isolation)
    before = _isolation(engine)
    bench = site.bench(engine)
    bench.put(task("a"), task("b"))
    decisions = {"a": runs_now(pending(None)), "b": refuse}
    with pytest.raises(ZeroDivisionError):
        bench.edit(lambda record: decisions[record.id](record), "a", "b")
    assert bench.runs() == []
    assert {each.revision for each in bench.dump().tasks.values()} == {0}
    # What others of this engine's users get is as it was.
    assert _isolation(engine) == before


def _isolation(engine: Engine) -> tuple[Any, Any]:
    with engine.connect() as connection:
        driver: Any = connection.connection.dbapi_connection
        automatic = driver.autocommit if hasattr(driver, "info") else driver.get_autocommit()
        # A level that is never used may differ.
        return automatic, None if automatic else connection.get_isolation_level()


def test_an_engine_of_another_driver_is_refused(site: Site) -> None:
    other = "pg8000" if site.postgresql else "mysqldb"
    url = make_url(site.url)
    url = url.set(drivername=f"{url.get_backend_name()}+{other}")
    with pytest.raises(InvalidInputError, match=rf"{other}.*\+(psycopg|pymysql)://"):
        site.bench(url)


def test_the_driver_needs_no_naming(site: Site) -> None:
    names = ["postgres", "postgresql"] if site.postgresql else ["mysql", "mariadb"]
    for name in names:
        url = make_url(site.url).set(drivername=name)
        bench = site.bench(url)
        bench.put(task(name))
    assert set(bench.dump().tasks) == set(names)


def test_a_missing_driver_is_named(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg" if site.postgresql else "pymysql", None)
    extra = "postgresql" if site.postgresql else "mysql"
    with pytest.raises(InvalidInputError, match=rf"pip install 'tickwork\[{extra}\]'"):
        site.bench()


def test_unknown_databases_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="'oracle'"):
        SQLStore("oracle://host/tasks")
    with pytest.raises(InvalidInputError, match="isn't the URL"):
        SQLStore("what is this")


def test_when_statements_are_prepared_can_be_said(postgres_url: str) -> None:
    site = Site("postgres", postgres_url)
    for word, expected in (("3", 3), ("none", None), ("0", 0)):
        bench = site.bench(f"{postgres_url}&prepare_threshold={word}")
        with engine_of(bench).connect() as connection:
            driver: Any = connection.connection.dbapi_connection
            assert driver.prepare_threshold == expected
    with pytest.raises(InvalidInputError, match="prepare_threshold='often'"):
        site.bench(f"{postgres_url}&prepare_threshold=often")
    site.close()


def test_what_a_url_says_about_connecting_holds(postgres_url: str) -> None:
    site = Site("postgres", postgres_url)
    bench = site.bench(f"{postgres_url}&application_name=mine")
    with engine_of(bench).connect() as connection:
        assert connection.execute(text("SHOW application_name")).scalar() == "mine"
    site.close()


@pytest.mark.parametrize(
    ("options", "advice"),
    [({"charset": "latin1"}, "charset=utf8mb4"), ({"client_flag": 0}, "FOUND_ROWS")],
)
def test_connections_that_would_lose_something_are_refused(
    mysql_url: str, options: Any, advice: str
) -> None:
    import pymysql

    site = Site("mysql", mysql_url)
    url = make_url(mysql_url)

    def connect() -> Any:
        plain = {"host": url.host, "port": url.port or 3306, "user": url.username}
        secret = {"password": url.password or "", "database": url.database}
        return pymysql.connect(**{**plain, **secret, "charset": "utf8mb4", **options})

    with pytest.raises(InvalidInputError, match=advice):
        site.bench(site.engine(creator=connect))
    site.close()


# --- how long ----------------------------------------------------------------------------------


def test_statements_have_limits(site: Site) -> None:
    with engine_of(site.bench()).connect() as connection:
        ask: Callable[[str], Any] = lambda words: connection.execute(text(words)).scalar()  # noqa: E731
        if site.postgresql:
            assert ask("SHOW statement_timeout") == "20s"
            assert ask("SHOW lock_timeout") == "5s"
            assert ask("SHOW idle_in_transaction_session_timeout") == "15s"
        else:
            assert ask("SELECT @@innodb_lock_wait_timeout") == 5
            if "MariaDB" in str(ask("SELECT version()")):
                assert ask("SELECT @@max_statement_time") == 20
                assert ask("SELECT @@idle_transaction_timeout") == 15
            driver: Any = connection.connection.dbapi_connection
            assert (driver._read_timeout, driver._write_timeout) == (25, 25)  # noqa: SLF001


def test_what_others_have_locked_is_not_waited_for_long(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Backend, "lock_s", 1)
    bench = site.bench()
    bench.put(task("a"), task("b"))
    with site.other() as other:
        site.lock(other, "tasks", "a")
        with pytest.raises(StoreUnavailableError, match=r"(?i)lock"):
            bench.edit(runs_now(pending(None)), "a")
        # Who plans passes over it.
        assert [each.run.task_id for each in bench.plan().leased] == ["b"]
    assert [each.run.task_id for each in bench.plan().leased] == ["a"]
    assert bench.active("a") == (1, 0)


def test_a_silent_client_keeps_locks_for_some_time_only(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Backend, "idle_s", 1)
    bench, other = site.bench(), site.bench()
    bench.put(task())

    def dawdle(record: TaskRecord) -> Edit:
        # Waits for the lock until the server ends this transaction.
        other.edit(lambda its: Edit(its, [pending(None, T0 + 1)]))
        return Edit(record, [pending(None, T0 + 2)])

    with pytest.raises(StoreUnavailableError):
        bench.edit(dawdle)
    assert [run.due_us for run in bench.runs()] == [T0 + 1]
    bench.edit(runs_now(pending(None, T0 + 3)))
    assert bench.active() == (2, 0)


def test_a_server_that_hangs_is_unavailable(
    own_site: Site, server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Backend, "patience_s", 1)
    bench = own_site.bench()
    bench.put(task())
    with numbers(bench) as found:
        bench.edit(runs_now(pending(None)))
    # PostgreSQL's connections have a process each.
    hanging = found[0] if own_site.postgresql else server.pid
    with standing_still(hanging), pytest.raises(StoreUnavailableError):
        bench.edit(runs_now(pending(None)))
    bench.edit(runs_now(pending(None)))
    assert bench.active() == (2, 0)


def test_a_server_that_accepts_no_connection_is_unavailable(
    own_site: Site, server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Backend, "connect_s", 2)
    monkeypatch.setattr(Backend, "patience_s", 2)
    own_site.bench()
    with standing_still(server.pid), pytest.raises(StoreUnavailableError):
        own_site.bench()
    assert own_site.bench().dump() == ({}, {}, {})


# --- accidents ---------------------------------------------------------------------------------


def test_a_restart_of_the_server_is_noticed_once(own_site: Site, server: Any) -> None:
    bench = own_site.bench()
    bench.put(task())
    for number in range(3):
        before = bench.dump()
        server.restart()
        with pytest.raises(StoreUnavailableError):
            bench.edit(runs_now(pending(None)))
        assert bench.dump() == before
        bench.edit(runs_now(pending(None)))
        assert bench.active() == (number + 1, 0)


def test_fences_grow_across_restarts(own_site: Site, server: Any) -> None:
    bench = own_site.bench()
    [one] = bench.leased(task("a"))
    server.restart()
    with pytest.raises(StoreUnavailableError):
        bench.dump()
    [two] = bench.leased(task("b"))
    assert two.fence > one.fence


def test_a_connection_that_was_cut_is_replaced(site: Site) -> None:
    bench = site.bench()
    bench.put(task())
    with numbers(bench) as found:
        bench.edit(runs_now(pending(None)))
    site.cut(found[0])
    with pytest.raises(StoreUnavailableError):
        bench.edit(runs_now(pending(None)))
    bench.edit(runs_now(pending(None)))
    assert bench.active() == (2, 0)


def test_a_step_that_was_cut_did_nothing(site: Site) -> None:
    bench = site.bench()
    bench.put(task("a"), task("b"))

    def cut(record: TaskRecord) -> Edit:
        if record.id == "b":
            site.cut(found[-1])
        return Edit(record, [pending(None)])

    with numbers(bench) as found:
        with pytest.raises(StoreUnavailableError):
            bench.edit(cut, "a", "b")
        assert bench.runs() == []
        bench.edit(runs_now(pending(None)), "a", "b")
    assert bench.active("a") == bench.active("b") == (1, 0)


def test_a_deadlock_is_nobodys_trouble(site: Site) -> None:
    bench = site.bench()
    [run] = bench.leased(task())
    asked: list[int] = []
    answers: list[Any] = []

    def finish() -> None:
        entry = finished(run, follows=True)
        answers.append(bench.finish(entry, after_run=lambda *_: asked.append(1)))

    with numbers(bench) as found, site.other() as other:
        site.make_heavy(other)
        site.lock(other, "tasks", "task")
        thread = threading.Thread(target=finish)
        thread.start()
        # It has the run and wants the task, we have the task and want the run.
        until(lambda: found and site.waits(found[0]), "the step waits for us")
        site.lock(other, "runs", run.id)
        other.rollback()
        thread.join(DEADLINE_S)
    # It began anew; again where it was faster than we at what it had let go of.
    assert len(found) > 1
    assert asked == [1]
    assert answers == [frozenset()]
    assert bench.run(run).state is RunState.COMPLETED
    assert bench.active() == (0, 0)


# --- values ------------------------------------------------------------------------------------

ODD = [
    "a\\b",
    "quote\"'`",
    "nl\n\r\t",
    "\x01\x1f\x7f\u2028",
    "\U0001f570",
    "%s %(x)s :x",
    "",
    "null",
    " blanks ",
    "\\u0041\\N",
    "{}[],",
    "x" * 70_000,
]
WIDE = [2**63 - 1, -(2**63), 2**62 + 1, 2**53 + 1, 10**17 + 1, 0, 1, -1]


def test_batches_keep_every_character_and_digit(site: Site) -> None:
    bench = site.bench()
    tasks = [
        task(f"t{at}", T0 + at, name=odd, problem=odd, declared=odd, generation=WIDE[at % 8])
        for at, odd in enumerate(ODD)
    ]
    bench.put(*tasks)
    assert bench.dump().tasks == {each.id: each for each in tasks}
    leased = [each.run for each in bench.plan(now_us=T0 + 100).leased]
    assert bench.runs() == leased
    assert [run.generation for run in leased] == [each.generation for each in tasks]
    texts = dict(zip((run.id for run in leased), ODD, strict=True))
    bench.finish(
        *(
            finished(run, result=odd, errors=odd, reason=odd)
            for run, odd in zip(leased, ODD, strict=True)
        )
    )
    for run in bench.runs():
        assert (run.result, run.errors, run.reason) == (texts[run.id],) * 3


@pytest.mark.parametrize("count", [1, 5])
@pytest.mark.parametrize("odd", [{"task_id": "x" * 192}, {"name": "\ud800"}])
def test_what_does_not_fit_is_refused(site: Site, odd: dict[str, Any], count: int) -> None:
    bench = site.bench()
    tasks = [task(f"t{number}") for number in range(count - 1)]
    with pytest.raises(InvalidInputError, match="doesn't take a value"):
        bench.put(*tasks, task(**odd))
    assert bench.dump().tasks == {}


@pytest.mark.parametrize(("count", "generation"), [(1, 2**63), (5, 2**63), (5, 0.5)])
@pytest.mark.parametrize("site", ["postgres"], indirect=True)
def test_a_number_that_does_not_fit_is_refused(site: Site, count: int, generation: Any) -> None:
    bench = site.bench()
    odd = task("odd", generation=generation)
    with pytest.raises(InvalidInputError, match="doesn't take a value"):
        bench.put(*(task(f"t{number}") for number in range(count - 1)), odd)
    assert bench.dump().tasks == {}
    bench.put(task("even"))
    assert list(bench.dump().tasks) == ["even"]


def test_more_names_than_a_statement_takes_parameters(site: Site) -> None:
    bench = site.bench()
    bench.put(task("a", None), task("b", None))
    runs = [each.runs[0] for each in bench.edit(runs_now(pending(None)), "a", "b")]
    only = frozenset({f"run-{number}" for number in range(70_000)} | {runs[1].id})
    assert [each.run.id for each in bench.lease(only=only).leased] == [runs[1].id]
    ids = [f"t{number}" for number in range(70_000)]
    assert bench.edit(refuse, *ids)[0].task is None


# --- processes ---------------------------------------------------------------------------------

_FORKED = """
import os, sys
from tickwork.stores.sql import SQLStore
from tickwork.testing.store_contract import Bench
from tickwork.testing.store_contract.bench import task

store = SQLStore(sys.argv[1], prefix=sys.argv[2])
bench = Bench(store, store)
bench.open()
if hasattr(store, "watch"):
    store.watch(lambda: None)
bench.put(task("before"))
child = os.fork()
if not child:
    store.forsake()
    bench.open()
    bench.put(task("child"))
    assert set(bench.dump().tasks) == {"before", "child"}
    bench.close()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
assert set(bench.dump().tasks) == {"before", "child"}
bench.put(task("parent"))
assert {each.run.task_id for each in bench.plan().leased} == {"before", "child", "parent"}
bench.close()
print("fine")
"""


def test_a_forked_child_begins_anew(site: Site) -> None:
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", _FORKED]
    done = subprocess.run(
        [*command, site.url, site.prefix], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stdout, done.stderr) == ("fine\n", "")
