"""Locks that several want at the same time, and who waits for whom."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Connection, delete, event, text, update

from tests.unit.stores.conftest import Place
from tests.unit.stores.test_sql_locks import LATER, acquire, add, locking, names, prune, table_of
from tests.unit.stores.test_sql_races import DEADLINE_S, waiting
from tests.unit.stores.test_sql_servers import Site, engine_of, numbers, site
from tickwork.errors import StoreUnavailableError
from tickwork.model.instants import SECOND
from tickwork.model.locks import LockRecord
from tickwork.stores.sql.backends import Backend
from tickwork.stores.sql.schema import tables
from tickwork.testing.store_contract import Bench
from tickwork.testing.store_contract.bench import T0, task

__all__ = ["site"]


def theirs(name: str = "door") -> LockRecord:
    """Return a lock as somebody else holds it for a minute."""
    return LockRecord(name=name, owner="theirs", fence=1, acquired_us=T0, expires_us=LATER)


@contextmanager
def before(
    bench: Bench, beginning: str, do: Callable[[], object], times: int = 1
) -> Iterator[None]:
    """Have something done before the first statements of a store that begin like this."""
    left = times

    def look(*args: Any) -> None:
        nonlocal left
        if left and args[2].startswith(f"{beginning} {table_of(bench)}"):
            left -= 1
            do()

    event.listen(engine_of(bench), "before_cursor_execute", look)
    yield
    event.remove(engine_of(bench), "before_cursor_execute", look)
    assert not left


# --- several want the same -----------------------------------------------------------------------


@pytest.mark.parametrize("commits", [True, False])
def test_of_two_who_add_a_lock_the_first_has_it(site: Site, commits: bool) -> None:
    bench = site.bench()
    with (
        site.other() as other,
        before(bench, "INSERT INTO", lambda: add(other, site.prefix, [theirs()])),
        waiting(site, bench, lambda: acquire(bench, "ours")) as taken,
    ):
        if commits:
            other.commit()
        else:
            other.rollback()
        lock = taken.result(timeout=DEADLINE_S)
    assert lock.owner == ("theirs" if commits else "ours")
    assert locking(bench).locks() == [lock]


@pytest.mark.parametrize("commits", [True, False])
def test_of_two_who_want_a_lock_whose_lease_is_over_the_first_gets_it(
    site: Site, commits: bool
) -> None:
    bench = site.bench()
    acquire(bench, "before")
    bench.now_us += SECOND
    with site.other() as other:
        locks = tables(site.prefix).locks
        other.execute(update(locks).values(owner="theirs", expires_us=LATER))
        with waiting(site, bench, lambda: acquire(bench, "ours")) as taken:
            if commits:
                other.commit()
            else:
                other.rollback()
        lock = taken.result(timeout=DEADLINE_S)
    assert lock.owner == ("theirs" if commits else "ours")
    assert locking(bench).locks() == [lock]


def test_a_lock_that_is_taken_after_a_look_stays_taken(site: Site) -> None:
    bench, other = site.bench(), site.bench()
    acquire(bench, "before")
    bench.now_us = other.now_us = T0 + SECOND
    taken: list[LockRecord] = []
    with before(bench, "UPDATE", lambda: taken.append(acquire(other, "theirs"))):
        lock = acquire(bench, "ours")
    assert [lock] == taken == locking(bench).locks()
    assert lock.owner == "theirs"


def test_a_label_that_is_dealt_with_after_a_look_is_refused(site: Site) -> None:
    bench, other = site.bench(), site.bench()
    acquire(bench, "before", label_us=T0 - 1)
    bench.now_us = other.now_us = T0 + SECOND

    def deal() -> None:
        assert acquire(other, "theirs", label_us=T0).owner == "theirs"
        assert locking(other).renew_lock("door", "theirs", 0)

    with before(bench, "UPDATE", deal):
        lock = acquire(bench, "ours", label_us=T0)
    assert (lock.owner, lock.kept_us) == ("", T0 + 1)
    assert locking(bench).locks() == [lock]


def test_a_lock_that_is_forgotten_after_a_look_is_added_again(site: Site) -> None:
    bench, other = site.bench(), site.bench()
    first = acquire(bench, "before")
    bench.now_us = other.now_us = T0 + SECOND
    with before(bench, "UPDATE", lambda: prune(other)):
        lock = acquire(bench, "ours")
    assert (lock.owner, lock.acquired_us) == ("ours", T0 + SECOND)
    assert lock.fence > first.fence


def test_a_lock_that_always_comes_and_goes_is_tried_again_later(site: Site) -> None:
    bench = site.bench()
    locks = tables(site.prefix).locks

    def come() -> None:
        with site.engine().begin() as other:
            add(other, site.prefix, [theirs()])

    def go() -> None:
        with site.engine().begin() as other:
            other.execute(delete(locks))

    with (
        before(bench, "INSERT INTO", come, 3),
        # Each time two: is it mine already, is it free?
        before(bench, "UPDATE", go, 6),
        pytest.raises(StoreUnavailableError, match="'door' is being added and forgotten"),
    ):
        acquire(bench, "ours")
    assert names(bench) == ["door"]


def test_a_lock_that_is_taken_after_a_look_is_not_forgotten(site: Site) -> None:
    bench, other = site.bench(), site.bench()
    acquire(bench, "before")
    acquire(bench, "before", name="other")
    bench.now_us = other.now_us = T0 + SECOND
    with before(bench, "DELETE FROM", lambda: acquire(other, "theirs")):
        prune(bench)
    assert names(bench) == ["door"]
    assert locking(bench).renew_lock("door", "theirs", SECOND)


def test_a_fence_is_drawn_when_the_lock_is_ones_own(site: Site) -> None:
    bench, other = site.bench(), site.bench()
    acquire(bench, "before")
    bench.now_us = other.now_us = T0 + SECOND
    with site.other() as locker:
        _lock_row(site, locker, "door")
        with waiting(site, bench, lambda: acquire(bench, "ours")) as taken:
            [run] = other.leased(task())
            lock = acquire(other, "theirs", name="other")
            locker.rollback()
        mine = taken.result(timeout=DEADLINE_S)
    assert mine.owner == "ours"
    assert run.fence < lock.fence < mine.fence


def _lock_row(site: Site, connection: Connection, name: str) -> None:
    query = text(f"SELECT name FROM {site.prefix}locks WHERE name = :name FOR UPDATE")  # noqa: S608
    assert connection.execute(query, {"name": name}).scalar() == name


# --- nobody waits in vain ------------------------------------------------------------------------


def test_who_asks_in_vain_waits_for_nobody(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Backend, "lock_s", 1)
    bench = site.bench()
    held = acquire(bench, "before")
    with site.other() as other:
        _lock_row(site, other, "door")
        assert acquire(bench, "ours") == held
        bench.now_us += SECOND
        with pytest.raises(StoreUnavailableError, match=r"(?i)lock"):
            acquire(bench, "ours")
    assert acquire(bench, "ours").owner == "ours"


def test_who_asks_in_vain_only_reads(opened: Place) -> None:
    held = acquire(opened.bench, "before")
    with opened.driver() as writer:
        writer.execute("BEGIN IMMEDIATE")
        assert acquire(opened.bench, "ours") == held
        assert locking(opened.bench).locks() == [held]
        prune(opened.bench)
        writer.execute("ROLLBACK")


def test_other_locks_and_runs_are_not_in_the_way(site: Site) -> None:
    bench = site.bench()
    [run] = bench.leased(task())
    acquire(bench, "mine", name="other")
    with site.other() as other:
        _lock_row(site, other, "other")
        site.lock(other, "tasks", "task")
        site.lock(other, "runs", run.id)
        assert acquire(bench, "mine").owner == "mine"
        assert locking(bench).renew_lock("door", "mine", SECOND)
        assert locking(bench).renew_lock("door", "mine", 0)
        assert acquire(bench, "ours").owner == "ours"


def test_forgetting_begins_anew_after_a_deadlock(site: Site) -> None:
    bench = site.bench()
    for name in ("a", "b"):
        acquire(bench, "before", name=name)
    bench.now_us += SECOND
    with numbers(bench) as begun, site.other() as other:
        site.make_heavy(other)
        _lock_row(site, other, "b")
        with waiting(site, bench, lambda: prune(bench)) as pruned:
            # It has the one and wants the other, we the other way round.
            _lock_row(site, other, "a")
            other.rollback()
        pruned.result(timeout=DEADLINE_S)
    # A look and a transaction, at least twice, and a look for runs.
    assert len(begun) >= 5
    assert names(bench) == []
