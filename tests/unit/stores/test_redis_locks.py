"""Locks: what is kept of them, exactly; the server's clock; and answers that get lost."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, given, settings

from tests.unit.stores.redis_courier import Courier
from tests.unit.stores.redis_first_version import write_first_version
from tests.unit.stores.redis_place import Place, orders_of, placed
from tickwork.errors import StoreUnavailableError, UnreadableRecordError
from tickwork.model.locks import LockRecord, LockRequest, renewed, taken
from tickwork.model.steps import PruneRequest
from tickwork.stores.memory import MemoryStore
from tickwork.stores.redis import RedisStore
from tickwork.testing.store_contract.bench import MINUTE, T0, Bench, raised
from tickwork.testing.store_contract.lock_commands import lock_commands, obey
from tickwork.testing.store_contract.pair import Pair

_DAY = 24 * 60 * MINUTE
_DOOR = LockRequest("door", "a", MINUTE)
_ODD = [
    *("", " ", "a", "A", "a b", " a", "a ", "{a}:b", "{", "}", "*", "[a", "(a", "-", "+"),
    *("a\nb", "a\\nb", "a\\\\nb", '"', "\\", "\0", "\t", "\v", "\x1e", "\x7f", "\r\n"),
    *("ä", "a\u0308", "ß", "\u2028", "\uffff", "\U0001f512", "1" * 400),
]


@pytest.fixture
def place(redis_url: str) -> Iterator[Place]:
    with placed(redis_url) as place:
        place.bench.open()
        yield place
        found, expected = orders_of(place)
        assert found == expected


@pytest.fixture
def store(place: Place) -> RedisStore:
    assert isinstance(place.bench.store, RedisStore)
    return place.bench.store


def prune(place: Place, **fields: Any) -> None:
    request = PruneRequest({}, 0, **{"now_us": place.bench.now_us, **fields})
    assert place.bench.store.prune(request) == 0


def kept(place: Place) -> list[str]:
    """Return the names of all locks of which anything is kept."""
    return sorted(place.client.hkeys(place.keys["locks"]))


# --- what is kept ------------------------------------------------------------------------------


class _Audited(Pair):
    """A pair whose locks must stand where they belong after each command."""

    place: Place

    def both(self, say: Callable[[Bench], Any]) -> Any:
        answer = super().both(say)
        found, expected = orders_of(self.place)
        assert found == expected
        return answer


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(lock_commands())
def test_locks_stand_where_they_belong(redis_url: str, commands: Any) -> None:
    with placed(redis_url) as place:
        place.bench.open()
        memory = MemoryStore()
        pair = _Audited(place.bench, Bench(memory, memory))
        pair.benches[1].open()
        pair.place = place
        obey(pair, commands)


@pytest.mark.parametrize("field", ["name", "owner", "about"])
def test_any_text_may_be_a_name_or_an_owner(place: Place, store: RedisStore, field: str) -> None:
    """The one lock of an owner's is not that of another, however much they look alike."""
    plain: list[dict[str, Any]] = [
        {"name": f"{at:02}", "owner": f"{at}"} for at in range(len(_ODD))
    ]
    odd = [{**each, field: text} for each, text in zip(plain, _ODD, strict=True)]
    asked = [LockRequest(lease_us=MINUTE, **each) for each in odd]
    given = [store.acquire_lock(each) for each in asked]
    for lock, request in zip(given, asked, strict=True):
        assert lock == taken(None, request, T0, lock.fence)
    listed = store.locks()
    assert listed == sorted(given, key=lambda lock: lock.name)
    for request in asked:
        others = {each.owner for each in asked} - {request.owner}
        assert not any(store.renew_lock(request.name, other, 0) for other in others)
    assert store.locks() == listed
    assert all(store.renew_lock(each.name, each.owner, 0) for each in asked)
    assert kept(place) == []


@pytest.mark.parametrize(
    "now_us",
    [1, 999_999, T0, T0 + 999_999, 9_007_199_254_740_993, 253_402_300_700_000_001],
    ids=str,
)
def test_instants_are_exact_however_far_off(place: Place, store: RedisStore, now_us: int) -> None:
    place.bench.now_us = now_us
    ask = LockRequest("door", "a", 1_999_999, "", now_us + 1, 1_000_001)
    lock = store.acquire_lock(ask)
    assert lock == taken(None, ask, now_us, lock.fence)
    assert (lock.expires_us, lock.forgotten_us) == (now_us + 1_999_999, now_us + 2_000_002)
    place.bench.now_us += 1_999_998
    assert store.acquire_lock(ask._replace(owner="b")) == lock
    place.bench.now_us += 1
    late = ask._replace(owner="b", label_us=lock.kept_us - 1)
    assert store.acquire_lock(late) == replace(lock, owner="")
    after = store.acquire_lock(late._replace(label_us=lock.kept_us))
    assert after.owner == "b"
    span_us = 3_153_600_000_000_001
    assert store.renew_lock("door", "b", span_us, lock.kept_us + span_us)
    assert store.locks() == [
        renewed(after, span_us, lock.kept_us + span_us, place.bench.now_us),
    ]


def test_more_than_there_is_time_is_for_ever(place: Place, store: RedisStore) -> None:
    assert store.acquire_lock(_DOOR._replace(name="gate", lease_us=10**40)).owner == "a"
    assert store.acquire_lock(_DOOR).owner == "a"
    assert store.renew_lock("door", "a", 10**30, 10**30)
    kept_on = LockRequest("kept", "a", 1, "", T0, 10**30)
    assert store.acquire_lock(kept_on).owner == "a"
    place.bench.now_us += 200_000_000_000_000_000
    prune(place)
    assert [lock.name for lock in store.locks()] == ["door", "gate", "kept"]
    for name in ("door", "gate"):
        assert store.acquire_lock(_DOOR._replace(name=name, owner="b")).owner == "a"
    later = kept_on._replace(owner="b", label_us=place.bench.now_us)
    assert store.acquire_lock(later).owner == ""


def test_a_lock_that_keeps_nothing_is_gone_when_given_back(place: Place, store: RedisStore) -> None:
    for label_us in (None, T0):
        store.acquire_lock(_DOOR._replace(label_us=label_us))
        assert store.renew_lock("door", "a", 0, 0)
        assert kept(place) == []


@pytest.mark.parametrize("label_us", [T0, -1])
def test_a_lock_that_is_kept_stays_when_given_back(
    place: Place, store: RedisStore, label_us: int
) -> None:
    ask = _DOOR._replace(label_us=label_us)
    store.acquire_lock(ask)
    assert store.renew_lock("door", "a", 0)
    assert kept(place) == ["door"]
    assert store.acquire_lock(ask._replace(owner="b")).owner == ""


def test_what_a_lock_was_kept_for_is_known_to_the_next_owner(store: RedisStore) -> None:
    store.acquire_lock(_DOOR)
    assert store.renew_lock("door", "a", 0, T0 + 5)
    assert store.acquire_lock(_DOOR._replace(owner="b")).kept_us == T0 + 5


def test_pruning_goes_by_limit_the_first_lapses_first(place: Place, store: RedisStore) -> None:
    for at, name in enumerate(("d", "b", "e", "a", "c")):
        store.acquire_lock(LockRequest(name, "x", 10 + at))
    store.acquire_lock(LockRequest("f", "x", 1, "", T0, 100))
    place.bench.now_us += 13
    prune(place, limit=2)
    assert kept(place) == ["a", "c", "e", "f"]
    prune(place, now_us=T0 + 12)
    assert kept(place) == ["a", "c", "f"]
    prune(place)
    assert kept(place) == ["c", "f"]
    place.bench.now_us = T0 + 200
    prune(place)
    assert kept(place) == []


def test_pruning_counts_no_locks(place: Place, store: RedisStore) -> None:
    store.acquire_lock(_DOOR)
    place.bench.now_us += MINUTE
    request = PruneRequest({}, 0, limit=1, now_us=place.bench.now_us)
    assert (store.prune(request), kept(place)) == (0, [])


def test_data_of_the_first_version_takes_locks(place: Place, store: RedisStore) -> None:
    write_first_version(place)
    last = int(place.client.get(place.keys["fence"]))
    before = place.bench.dump()
    lock = store.acquire_lock(_DOOR)
    assert lock.fence > last
    assert store.locks() == [lock]
    assert place.bench.dump() == before


@pytest.mark.parametrize("damage", ["", "nonsense", "1 2 3 4 5", "1 2 3 x 5\na\n", "1 2\na\nb"])
def test_a_lock_that_is_damaged_stops_only_itself(
    place: Place, store: RedisStore, damage: str
) -> None:
    store.acquire_lock(_DOOR)
    other = store.acquire_lock(_DOOR._replace(name="other"))
    place.client.hset(place.keys["locks"], "door", damage)
    message = raised(UnreadableRecordError, lambda: store.acquire_lock(_DOOR))
    assert message.startswith("lock 'door' can't be had")
    assert not store.renew_lock("door", "a", 0)
    shown = LockRecord(name="door", about="what is kept of it can't be understood; its row is kept")
    assert store.locks() == [shown, other]
    assert place.client.hget(place.keys["locks"], "door") == damage
    # Nobody can have it any more when its lease is over.
    place.bench.now_us += MINUTE
    prune(place)
    assert store.acquire_lock(_DOOR).owner == "a"


def test_what_a_later_version_says_besides_is_passed_over(place: Place, store: RedisStore) -> None:
    lock = store.acquire_lock(_DOOR)
    text = place.client.hget(place.keys["locks"], "door")
    place.client.hset(place.keys["locks"], "door", f"{text}\nmore\nand more")
    assert store.locks() == [lock]
    assert store.acquire_lock(_DOOR._replace(owner="b")) == lock
    assert store.renew_lock("door", "a", 0)


# --- the server's clock ------------------------------------------------------------------------


@pytest.fixture
def timed(place: Place) -> Iterator[RedisStore]:
    """A store that goes by the server's clock; the bench's stands still."""
    store = place.store()
    store.open(place.environment(simulated=False))
    yield store
    store.close()


def test_leases_go_by_the_servers_clock(place: Place, timed: RedisStore) -> None:
    before_us = timed.now_us()
    lock = timed.acquire_lock(_DOOR)
    assert before_us <= lock.acquired_us <= timed.now_us()
    assert lock.expires_us == lock.acquired_us + MINUTE
    for now_us in (0, T0 + 100 * 365 * _DAY):
        place.bench.now_us = now_us
        assert timed.acquire_lock(_DOOR._replace(owner="b")) == lock
        assert timed.locks() == [lock]
    # A microsecond is over by the next call, by that clock.
    timed.acquire_lock(LockRequest("brief", "a", 1))
    assert not timed.renew_lock("brief", "a", MINUTE)
    assert timed.locks() == [lock]
    assert timed.acquire_lock(LockRequest("brief", "b", MINUTE)).owner == "b"
    before_us = timed.now_us()
    assert timed.renew_lock("door", "a", 2 * MINUTE)
    [_, again] = timed.locks()
    assert before_us <= again.expires_us - 2 * MINUTE <= timed.now_us()


def test_who_prunes_by_a_fast_clock_forgets_no_lock(place: Place, timed: RedisStore) -> None:
    held = timed.acquire_lock(_DOOR)
    timed.acquire_lock(LockRequest("kept", "a", 1, "", T0, MINUTE))
    timed.acquire_lock(LockRequest("over", "a", 1))
    timed.prune(PruneRequest({}, 0, now_us=held.acquired_us + 365 * _DAY))
    assert kept(place) == ["door", "kept"]
    assert timed.acquire_lock(_DOOR._replace(owner="b")) == held


def test_who_prunes_by_a_slow_clock_forgets_later(place: Place, timed: RedisStore) -> None:
    lock = timed.acquire_lock(LockRequest("over", "a", 1))
    timed.prune(PruneRequest({}, 0, now_us=lock.expires_us - 1))
    assert kept(place) == ["over"]
    timed.prune(PruneRequest({}, 0, now_us=lock.expires_us))
    assert kept(place) == []


# --- lost answers ------------------------------------------------------------------------------


@pytest.fixture
def courier(place: Place) -> Iterator[Courier]:
    with redis.Redis.from_url(place.url) as client:
        courier = Courier(client, any_script=True)
        place.bench.close()
        store = place.bench.store = place.store(courier)
        place.bench.open()
        # All scripts are known to the server after this.
        store.acquire_lock(_DOOR)
        store.renew_lock("door", "a", 0)
        yield courier


def _last_fence(place: Place) -> int:
    return int(place.client.get(place.keys["fence"]))


def test_a_lock_whose_answer_was_lost_is_taken_once(
    place: Place, courier: Courier, store: RedisStore
) -> None:
    ask = _DOOR._replace(label_us=T0, keep_us=MINUTE)
    courier.fate = "lost"
    raised(StoreUnavailableError, lambda: store.acquire_lock(ask))
    [lock] = store.locks()
    assert store.acquire_lock(ask) == lock
    assert lock == taken(None, ask, T0, _last_fence(place))
    courier.fate = "lost"
    raised(StoreUnavailableError, lambda: store.renew_lock("door", "a", 2 * MINUTE))
    assert store.renew_lock("door", "a", 2 * MINUTE)
    assert store.locks() == [replace(lock, expires_us=T0 + 2 * MINUTE)]


def test_a_repeated_giving_back_gives_nobody_elses_back(
    courier: Courier, store: RedisStore
) -> None:
    store.acquire_lock(_DOOR)
    courier.fate = "lost"
    raised(StoreUnavailableError, lambda: store.renew_lock("door", "a", 0))
    other = store.acquire_lock(_DOOR._replace(owner="b"))
    assert other.owner == "b"
    assert not store.renew_lock("door", "a", 0)
    assert store.locks() == [other]


def test_a_lock_that_the_library_asks_for_twice_is_taken_once(
    place: Place, courier: Courier, store: RedisStore
) -> None:
    courier.fate = "twice"
    lock = store.acquire_lock(_DOOR)
    assert lock == taken(None, _DOOR, T0, _last_fence(place))
    courier.fate = "twice"
    assert store.acquire_lock(_DOOR._replace(owner="b")) == lock
    courier.fate = "twice"
    assert store.renew_lock("door", "a", 2 * MINUTE)
    courier.fate = "twice"
    assert not store.renew_lock("door", "b", 2 * MINUTE)
    assert _last_fence(place) == lock.fence


def test_a_schedule_lock_that_the_library_asks_for_twice_is_told(
    courier: Courier, store: RedisStore
) -> None:
    courier.fate = "twice"
    assert store.acquire_schedule_lock("key", 60)
    courier.fate = "twice"
    assert not store.acquire_schedule_lock("key", 60)


def test_what_the_library_asked_before_takes_no_lock_again(
    place: Place, courier: Courier, store: RedisStore
) -> None:
    """Its first question arrives when all is over: nobody would give the lock back any more."""
    for label_us in (None, T0):
        ask = _DOOR._replace(label_us=label_us, keep_us=MINUTE)
        courier.fate = "overtaken"
        assert store.acquire_lock(ask).owner == "a"
        assert store.renew_lock("door", "a", 0)
        before = store.locks()
        courier.deliver()
        assert store.locks() == before
        assert len(before) == (label_us is not None)


def test_what_comes_late_takes_no_lock_from_others(courier: Courier, store: RedisStore) -> None:
    """Neither a question whose asker gave up, nor a renewal, nor a giving back."""
    steps: list[Callable[[], object]] = [
        lambda: store.acquire_lock(_DOOR),
        lambda: store.renew_lock("door", "a", 60 * MINUTE),
        lambda: store.renew_lock("door", "a", 0),
    ]
    for step in steps:
        courier.fate = "late"
        raised(StoreUnavailableError, step)
    other = store.acquire_lock(_DOOR._replace(owner="b"))
    courier.deliver()
    assert store.locks() == [other]


def test_fences_of_locks_grow_though_the_server_lost_the_last(
    place: Place, store: RedisStore
) -> None:
    first = store.acquire_lock(_DOOR).fence
    place.client.delete(place.keys["fence"], place.keys["locks"], place.keys["lapsing"])
    second = store.acquire_lock(_DOOR._replace(owner="b")).fence
    assert second > first
    place.client.set(place.keys["fence"], second + 10**12)
    store.renew_lock("door", "b", 0)
    assert store.acquire_lock(_DOOR).fence == second + 10**12 + 1
