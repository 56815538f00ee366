"""The connection to a database: whose engine it is, what SQLite is told, what its errors become."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from threading import Barrier, Thread
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from tests.unit.stores.conftest import Place
from tickwork.errors import InvalidInputError, StoreUnavailableError
from tickwork.interfaces import Locking
from tickwork.model.locks import LockRequest
from tickwork.model.steps import PruneRequest, RunQuery, TaskQuery
from tickwork.stores.sql import SQLStore
from tickwork.stores.sql.backends.sqlite import SQLite
from tickwork.testing.store_contract import Bench
from tickwork.testing.store_contract.bench import NODE, pending, runs_now, task

# --- whose engine ------------------------------------------------------------------------------


def test_an_engine_given_is_not_disposed_of(place: Place) -> None:
    engine = create_engine(place.url)
    pool = engine.pool
    store = SQLStore(engine)
    for _ in range(2):
        place.open(store)
        assert store.get_task("x") is None
        store.close()
    assert engine.pool is pool
    assert pool.checkedin() > 0  # type: ignore[attr-defined]
    engine.dispose()


def test_several_stores_may_share_an_engine(place: Place) -> None:
    engine = create_engine(place.url)
    stores = [place.open(SQLStore(engine, prefix=prefix)) for prefix in ("a_", "b_", "a_")]
    for store in stores:
        bench = Bench(store, store)
        place.open(store)
        bench.put(task(f"t{stores.index(store)}"))
    assert [store.counts()["scheduled"] for store in stores] == [2, 1, 2]
    engine.dispose()


def test_transactions_of_an_engines_owner_stay_theirs(place: Place) -> None:
    engine = create_engine(place.url)
    place.open(SQLStore(engine))
    with engine.connect() as connection, place.driver() as other:
        connection.execute(text("SELECT 1"))
        # A transaction of theirs that reads doesn't lock the database.
        other.execute("BEGIN IMMEDIATE")
        other.execute("ROLLBACK")
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE theirs (x)"))
        connection.execute(text("INSERT INTO theirs VALUES (1)"))
        connection.rollback()
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM theirs")).scalar() == 0
    engine.dispose()


@pytest.mark.parametrize(
    "url",
    [
        "sqlite://",
        "sqlite:///:memory:",
        "sqlite:///file::memory:?cache=shared&uri=true",
        "sqlite:///file:shared?mode=memory&cache=shared&uri=true",
    ],
)
def test_databases_in_memory_are_refused(place: Place, url: str) -> None:
    store = SQLStore(url)
    for _ in range(2):
        with pytest.raises(InvalidInputError, match="use memory://"):
            place.open(store)


def test_an_engine_in_memory_is_refused(place: Place) -> None:
    engine = create_engine("sqlite://")
    with pytest.raises(InvalidInputError, match="use memory://"):
        place.open(SQLStore(engine))
    engine.dispose()


def test_passwords_are_not_shown() -> None:
    store = SQLStore("postgresql+psycopg://user:secret@host/tasks")
    assert repr(store) == "SQLStore('postgresql+psycopg://user:***@host/tasks')"
    with pytest.raises(StoreUnavailableError) as caught:
        store.counts()
    assert "secret" not in str(caught.value)


# --- what SQLite is told -----------------------------------------------------------------------


def _told(store: SQLStore, pragma: str) -> Any:
    with store._session.database.reading() as connection:  # noqa: SLF001
        return connection.exec_driver_sql(f"PRAGMA {pragma}").scalar()


@pytest.mark.parametrize(("durability", "synchronous"), [("full", 2), ("normal", 1)])
@pytest.mark.parametrize("given", [False, True])
def test_sqlite_is_set_up_as_promised(
    place: Place, durability: Any, synchronous: int, given: bool
) -> None:
    engine = create_engine(place.url)
    with engine.connect() as connection:
        # A connection that was there before counts as well.
        connection.execute(text("SELECT 1"))
    store = SQLStore(engine if given else place.url, durability=durability)
    place.open(store)
    assert _told(store, "journal_mode") == "wal"
    assert _told(store, "synchronous") == synchronous
    assert _told(store, "busy_timeout") == 5_000
    engine.dispose()


def test_several_that_are_started_at_once_on_a_new_file_all_get_its_log(tmp_path: Path) -> None:
    """SQLite refuses one of two that ask for it at the same moment, without any waiting."""
    barrier = Barrier(4)
    modes: list[str] = []

    def start() -> None:
        for number in range(50):
            backend = SQLite("FULL")
            engine = create_engine(f"sqlite:///{tmp_path}/{number}.db")
            barrier.wait(30)
            with backend.adopt(engine, ours=True).connect() as connection:
                modes.append(connection.exec_driver_sql("PRAGMA journal_mode").scalar_one())
            engine.dispose()

    threads = [Thread(target=start, daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert modes == ["wal"] * 200


def test_full_durability_is_the_default(place: Place) -> None:
    store = SQLStore(place.url)
    place.open(store)
    assert _told(store, "synchronous") == 2
    with pytest.raises(InvalidInputError, match="'full'"):
        SQLStore(place.url, durability="some")  # type: ignore[arg-type]


# --- errors ------------------------------------------------------------------------------------

WRITES: list[Callable[[Bench], object]] = [
    lambda bench: bench.put(task("new")),
    lambda bench: bench.edit(runs_now(pending(None))),
    lambda bench: bench.plan(),
    lambda bench: bench.register("new"),
    lambda bench: bench.recover(held=frozenset()),
    lambda bench: _locking(bench).acquire_lock(LockRequest("new", "me", 1)),
    lambda bench: _locking(bench).renew_lock("held", "me", 1),
    lambda bench: bench.store.prune(PruneRequest({"task": 0}, bench.now_us + 1)),
]


def _locking(bench: Bench) -> Locking:
    assert isinstance(bench.store, Locking)
    return bench.store


def test_a_locked_database_is_unavailable(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SQLite, "lock_s", 0.02)
    place.bench.open()
    bench = place.bench
    bench.put(task())
    bench.register(NODE)
    before = bench.dump()
    with place.driver() as other:
        other.execute("BEGIN IMMEDIATE")
        for write in WRITES[:-1]:
            with pytest.raises(StoreUnavailableError, match="locked"):
                write(bench)
        # Who only reads isn't kept waiting.
        assert bench.dump() == before
        other.execute("ROLLBACK")
    assert len(bench.plan().leased) == 1


def test_a_broken_database_is_unavailable(opened: Place) -> None:
    bench = opened.bench
    bench.leased(task())
    with opened.driver() as other:
        for name in ("tasks", "runs", "nodes", "locks", "counters"):
            other.execute(f"DROP TABLE tickwork_{name}")
    reads: list[Callable[[Bench], object]] = [
        lambda bench: bench.reader.get_task("task"),
        lambda bench: bench.reader.find_tasks(TaskQuery()),
        lambda bench: bench.reader.get_run("x"),
        lambda bench: bench.reader.find_runs(RunQuery()),
        lambda bench: bench.reader.nodes(),
        lambda bench: bench.reader.counts(),
        lambda bench: _locking(bench).locks(),
        lambda bench: bench.lease(),
    ]
    for step in [*WRITES, *reads]:
        with pytest.raises(StoreUnavailableError, match="no such table"):
            step(bench)


def test_no_database_at_all_is_unavailable(tmp_path: Any, place: Place) -> None:
    with pytest.raises(StoreUnavailableError, match="unable to open"):
        place.open(SQLStore(f"sqlite:///{tmp_path}/no/such/folder/tasks.db"))
    (tmp_path / "text.db").write_text("not a database, but long enough to look like one" * 50)
    with pytest.raises(StoreUnavailableError, match="not a database"):
        place.open(SQLStore(f"sqlite:///{tmp_path}/text.db"))


# --- processes ---------------------------------------------------------------------------------

_FORKED = """
import os, sys
from tickwork.interfaces import StoreEnvironment
from tickwork.stores.sql import SQLStore
from tickwork.testing.store_contract import Bench
from tickwork.testing.store_contract.bench import task

store = SQLStore(sys.argv[1])
bench = Bench(store, store)
bench.open()
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
assert [each.run.task_id for each in bench.plan().leased] == ["before", "child", "parent"]
bench.close()
print("fine")
"""


def test_a_forked_child_begins_anew(place: Place) -> None:
    # In a process of its own: whoever forks must have only one thread.
    command = [sys.executable, "-c", _FORKED, place.url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == ("fine\n", "")
    with place.driver() as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
