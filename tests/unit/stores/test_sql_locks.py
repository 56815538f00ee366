"""Locks: what is lost on the way, whose clock and which name counts, and what old ones cost."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, event, insert, text
from sqlalchemy.exc import OperationalError

from tests.unit.stores.conftest import Place
from tests.unit.stores.test_sql_costs import plans, statements
from tests.unit.stores.test_sql_servers import KINDS, Site, engine_of, site
from tickwork.errors import InvalidInputError, StoreUnavailableError
from tickwork.interfaces import Locking, StoreEnvironment, Timekeeping
from tickwork.model.definition import DefinitionCodec
from tickwork.model.instants import SECOND
from tickwork.model.locks import LockRecord, LockRequest
from tickwork.model.steps import PruneRequest
from tickwork.scheduler.clock import SystemClock
from tickwork.stores.sql import SQLStore
from tickwork.stores.sql.schema import tables
from tickwork.testing.store_contract import Bench
from tickwork.testing.store_contract.bench import T0
from tickwork.wiring import load_trigger

__all__ = ["site"]

MANY = 10_000
LATER = T0 + 60 * SECOND


@pytest.fixture(params=["sqlite", *KINDS])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    """Give an open store of each kind of database."""
    if request.param == "sqlite":
        place = Place(tmp_path)
        place.bench.open()
        yield place.bench
        place.close()
    else:
        site = Site(request.param, request.getfixturevalue(f"{request.param}_url"))
        yield site.bench()
        site.close()


def locking(bench: Bench) -> Locking:
    assert isinstance(bench.store, Locking)
    return bench.store


def acquire(bench: Bench, owner: str, lease_us: int = SECOND, **fields: Any) -> LockRecord:
    request = LockRequest("door", owner, lease_us)._replace(**fields)
    return locking(bench).acquire_lock(request)


def prune(bench: Bench, now_us: int | None = None, limit: int = 1_000) -> None:
    now_us = bench.now_us if now_us is None else now_us
    assert bench.store.prune(PruneRequest({}, 0, limit, now_us=now_us)) == 0


def names(bench: Bench) -> list[str]:
    """Return the names of all that is in the table, by name."""
    found = text(f"SELECT name FROM {table_of(bench)}")  # noqa: S608
    with engine_of(bench).connect() as connection:
        return sorted(connection.execute(found).scalars())


def table_of(bench: Bench) -> str:
    assert isinstance(bench.store, SQLStore)
    return bench.store._session.tables.locks.name  # noqa: SLF001


def add(connection: Connection, prefix: str, locks: Sequence[LockRecord]) -> None:
    """Write locks past every store."""
    connection.execute(insert(tables(prefix).locks), [asdict(lock) for lock in locks])


# --- what is lost on the way ---------------------------------------------------------------------


@contextmanager
def lost_commit(bench: Bench, *, done: bool) -> Iterator[None]:
    """Have the next commit of something written fail, before or after it is done."""
    engine = engine_of(bench)
    # A hint that is owed from before goes through another one at any time.
    writes: Connection | None = None

    def look(*args: Any) -> None:
        nonlocal writes
        if args[2].startswith(("INSERT", "UPDATE", "DELETE")):
            writes = args[0]

    def lose(connection: Connection) -> None:
        nonlocal writes
        if connection is writes:
            writes = None
            if done:
                connection.connection.dbapi_connection.commit()  # type: ignore[union-attr]
            raise OperationalError("COMMIT", None, ConnectionError("no answer"))

    event.listen(engine, "before_cursor_execute", look)
    event.listen(engine, "commit", lose)
    with pytest.raises(StoreUnavailableError, match="no answer"):
        yield
    event.remove(engine, "before_cursor_execute", look)
    event.remove(engine, "commit", lose)


@pytest.mark.parametrize("done", [True, False])
def test_who_asks_again_after_a_lost_answer_has_the_lock_once(bench: Bench, done: bool) -> None:
    with lost_commit(bench, done=done):
        acquire(bench, "me", label_us=T0, keep_us=50)
    found = locking(bench).locks()
    assert [lock.owner for lock in found] == (["me"] if done else [])
    bench.now_us += 5
    lock = acquire(bench, "me", label_us=T0, keep_us=50)
    assert lock == LockRecord(
        name="door",
        owner="me",
        fence=found[0].fence if done else lock.fence,
        acquired_us=T0 if done else T0 + 5,
        expires_us=T0 + 5 + SECOND,
        kept_us=T0 + 50,
        forgotten_us=T0 + SECOND if done else T0 + 5 + SECOND,
    )
    assert locking(bench).locks() == [lock]


@pytest.mark.parametrize("done", [True, False])
def test_who_renews_again_after_a_lost_answer_has_it_as_long(bench: Bench, done: bool) -> None:
    lock = acquire(bench, "me")
    with lost_commit(bench, done=done):
        locking(bench).renew_lock("door", "me", 3 * SECOND, T0 + 50)
    assert locking(bench).renew_lock("door", "me", 3 * SECOND, T0 + 50)
    [found] = locking(bench).locks()
    assert (found.fence, found.acquired_us) == (lock.fence, T0)
    assert (found.expires_us, found.kept_us) == (T0 + 3 * SECOND, T0 + 50)


@pytest.mark.parametrize("done", [True, False])
def test_who_gives_back_again_after_a_lost_answer_takes_nothing_away(
    bench: Bench, done: bool
) -> None:
    acquire(bench, "me")
    with lost_commit(bench, done=done):
        locking(bench).renew_lock("door", "me", 0)
    assert acquire(bench, "you").owner == ("you" if done else "me")
    assert locking(bench).renew_lock("door", "me", 0) is not done
    assert [lock.owner for lock in locking(bench).locks()] == (["you"] if done else [])


# --- whose clock ---------------------------------------------------------------------------------


@pytest.mark.parametrize("wrong_us", [-3_600 * SECOND, 3_600 * SECOND])
def test_the_server_says_how_long_a_lock_is_held(site: Site, wrong_us: int) -> None:
    clock = SystemClock()
    store = SQLStore(site.url, prefix=site.prefix)
    store.open(StoreEnvironment(DefinitionCodec(load_trigger), lambda: clock.now_us() + wrong_us))
    assert isinstance(store, Timekeeping)
    earliest_us = store.now_us()
    lock = store.acquire_lock(LockRequest("door", "me", 60 * SECOND, label_us=1, keep_us=1))
    latest_us = store.now_us()
    assert earliest_us <= lock.acquired_us <= latest_us
    assert lock.expires_us == lock.forgotten_us == lock.acquired_us + 60 * SECOND
    assert store.acquire_lock(LockRequest("door", "you", SECOND)) == lock
    assert store.renew_lock("door", "me", 90 * SECOND)
    [renewed] = store.locks()
    assert latest_us <= renewed.expires_us - 90 * SECOND <= store.now_us()
    store.close()


def test_who_is_ahead_of_the_stores_clock_makes_it_forget_nothing(bench: Bench) -> None:
    acquire(bench, "me")
    acquire(bench, "me", 1, name="kept", label_us=T0, keep_us=SECOND // 2)
    bench.now_us += SECOND - 1
    prune(bench, LATER)
    assert names(bench) == ["door", "kept"]
    assert locking(bench).renew_lock("door", "me", 1)
    bench.now_us += 1
    prune(bench, LATER)
    assert names(bench) == []


# --- which name ----------------------------------------------------------------------------------


def test_names_and_owners_are_compared_byte_by_byte(bench: Bench) -> None:
    acquire(bench, "Me", name="Door")
    for name, owner in (("door", "Me"), ("Door ", "Me"), ("Dóor", "Me"), ("Door", "me")):
        assert not locking(bench).renew_lock(name, owner, 0)
    assert not locking(bench).renew_lock("Door", "Me ", 0)
    assert acquire(bench, "me", name="Door").owner == "Me"
    assert acquire(bench, "me", name="door").owner == "me"
    assert locking(bench).renew_lock("Door", "Me", 0)
    assert [lock.name for lock in locking(bench).locks()] == ["door"]


def test_locks_are_listed_as_python_sorts_their_names(bench: Bench) -> None:
    wanted = ["b", "B", "a ", "a", "ä", "z", "Z", "_", "-", "\uffee", "\U0001f570", "ss", "ß"]
    for name in wanted:
        acquire(bench, name, name=name)
    assert [lock.name for lock in locking(bench).locks()] == sorted(wanted)
    bench.now_us += SECOND
    prune(bench)
    assert names(bench) == []


def test_names_that_are_too_long_are_refused(site: Site) -> None:
    bench = site.bench()
    assert acquire(bench, "me", name="x" * 191).owner == "me"
    for owner, name in (("me", "x" * 192), ("x" * 192, "me")):
        with pytest.raises(InvalidInputError, match="doesn't take a value"):
            acquire(bench, owner, name=name)
    assert names(bench) == ["x" * 191]


# --- what old ones cost --------------------------------------------------------------------------


def test_so_many_are_forgotten_at_once(bench: Bench) -> None:
    for number in range(3):
        acquire(bench, "me", name=f"held {number}")
        acquire(bench, "me", name=f"kept {number}", label_us=T0, keep_us=SECOND + number)
    bench.now_us += 3 * SECOND
    left = []
    while names(bench):
        prune(bench, limit=2)
        left.append(names(bench))
    assert [len(each) for each in left] == [4, 2, 0]
    assert left[1] == ["kept 1", "kept 2"]


def _crowd() -> list[LockRecord]:
    """Return locks that are held, locks that are kept, and a few that say nothing any more."""
    held = [LockRecord(name=f"held {at}", expires_us=T0 + at + 1) for at in range(MANY)]
    kept = [LockRecord(name=f"kept {at}", forgotten_us=T0 + at + 1) for at in range(MANY)]
    old = [LockRecord(name=f"old {at}", expires_us=T0 - at) for at in range(3)]
    older = [LockRecord(name=f"older {at}", forgotten_us=T0 - at) for at in range(3)]
    return [*held, *kept, *old, *older]


def test_old_locks_in_a_file_are_found_through_their_index(opened: Place) -> None:
    bench, store = opened.bench, opened.bench.store
    assert isinstance(store, SQLStore)
    with engine_of(bench).begin() as connection:
        add(connection, "tickwork_", _crowd())
        connection.exec_driver_sql("ANALYZE")
    with statements(store) as sent:
        prune(bench)
    found = [each for each in plans(opened, sent) if "locks" in each]
    by_index = "SEARCH tickwork_locks USING INDEX tickwork_ix_locks_old"
    by_name = "SEARCH tickwork_locks USING INDEX sqlite_autoindex_tickwork_locks_1 (name=?)"
    assert found == [
        f"{by_index} (forgotten_us=? AND expires_us<?)",
        f"{by_index} (forgotten_us>? AND forgotten_us<?)",
        by_name,
    ]
    assert len(names(bench)) == 2 * MANY


def test_old_locks_on_a_server_are_found_through_their_index(site: Site) -> None:
    bench = site.bench()
    assert isinstance(bench.store, SQLStore)
    table = f"{site.prefix}locks"
    with site.engine().connect() as connection:
        add(connection, site.prefix, _crowd())
        connection.commit()
        analyse = f"ANALYZE {table}" if site.postgresql else f"ANALYZE TABLE {table}"
        connection.execute(text(analyse)).close()
        connection.commit()
        with statements(bench.store) as sent:
            prune(bench)
        used = [
            _index_used(site, connection, statement, parameters)
            for statement, parameters in sent
            if table in statement
        ]
    index = f"{site.prefix}ix_locks_old"
    assert used == [index, index, f"{table}_pkey" if site.postgresql else "PRIMARY"]
    assert len(names(bench)) == 2 * MANY


def _index_used(site: Site, connection: Connection, statement: str, parameters: Any) -> str:
    """Return the index through which a server finds what a statement is about."""
    rows = connection.exec_driver_sql(f"EXPLAIN {statement}", parameters).mappings().all()
    if not site.postgresql:
        [row] = rows
        assert row["type"] == "range", row
        return str(row["key"])
    plan = "\n".join(row["QUERY PLAN"] for row in rows)
    assert "Seq Scan" not in plan, plan
    assert "Sort" not in plan, plan
    table, words = f"{site.prefix}locks", plan.split()
    # "Index Only Scan using this one on the table", "Bitmap Index Scan on this one".
    [used] = {
        word
        for kind, word in pairwise(words)
        if kind in {"using", "on"} and word.startswith(site.prefix) and word != table
    }
    return used
