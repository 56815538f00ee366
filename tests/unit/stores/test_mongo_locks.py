"""Documents of locks: races, processes that end or stand still, and commands that arrive late."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import count
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from pymongo import MongoClient

from tests.servers.mongodb import serving
from tests.unit.stores.mongo_commands import CutDatabase, Gate, Sent, StoppedError
from tests.unit.stores.mongo_place import Place, placed
from tickwork.errors import InvalidInputError
from tickwork.model.instants import SECOND
from tickwork.model.locks import LockRecord, LockRequest
from tickwork.model.steps import PruneRequest
from tickwork.stores.mongo import MongoStore
from tickwork.testing.store_contract.bench import MINUTE, T0, raised

Client = MongoClient[dict[str, Any]]

_DEADLINE_S = 60.0


@pytest.fixture
def place(mongodb_url: str) -> Iterator[Place]:
    with placed(mongodb_url) as place:
        place.bench.open()
        yield place


def _slow(place: Place) -> MongoStore:
    """Return the client whose commands can be stopped."""
    assert isinstance(place.bench.store, MongoStore)
    return place.bench.store


def _other(place: Place) -> MongoStore:
    assert isinstance(place.bench.second, MongoStore)
    return place.bench.second


def _acquire(store: MongoStore, name: str, owner: str, lease_us: int = SECOND) -> LockRecord:
    return store.acquire_lock(LockRequest(name, owner, lease_us))


def _come_and_go(place: Place, name: str, owner: str) -> int:
    """Have a lock, give it back and let it be forgotten; return its fence."""
    fence = _acquire(_other(place), name, owner).fence
    assert _other(place).renew_lock(name, owner, 0)
    _other(place).prune(PruneRequest({}, 0, now_us=place.bench.now_us))
    return fence


# --- what a lock may be before it is wanted, and how many commands it then takes ---------------


def _unknown(_: Place, __: str) -> None:
    """Nobody has had the lock."""


def _given_back(place: Place, name: str) -> None:
    _acquire(_other(place), name, "before")
    assert _other(place).renew_lock(name, "before", 0)


def _lapsed(place: Place, name: str) -> None:
    _acquire(_other(place), name, "before", 1)
    place.bench.now_us += 1


_SITUATIONS = pytest.mark.parametrize(
    ("prepare", "commands"), [(_unknown, 4), (_given_back, 3), (_lapsed, 3)]
)
Prepare = Callable[[Place, str], object]


def _everywhere(
    place: Place, prepare: Prepare, step: Callable[[str], object], do: Callable[[str], object]
) -> Iterator[tuple[str, object]]:
    """Yield names, and what a step of `slow` on each came to that met `do` one command later."""
    for at in count(1):
        name, met = f"door {at}", False

        def meet(name: str = name) -> None:
            nonlocal met
            met = True
            do(name)

        prepare(place, name)
        place.gate.arm(at.__eq__, meet)
        try:
            answer = step(name)
        except StoppedError:
            answer = None
        place.gate.disarm()
        if not met:
            return
        yield name, answer


def _end(_: str) -> None:
    raise StoppedError


# --- processes that end -------------------------------------------------------------------------


@_SITUATIONS
def test_who_ends_before_a_lock_is_given_to_him_keeps_nobody_waiting(
    place: Place, prepare: Prepare, commands: int
) -> None:
    ends = _everywhere(place, prepare, lambda name: _acquire(_slow(place), name, "a"), _end)
    names = [name for name, _ in ends]
    assert len(names) == commands
    for name in names:
        assert _acquire(_other(place), name, "b").owner == "b"
    assert len(_other(place).locks()) == len(names) + 1
    place.bench.now_us += SECOND
    assert _other(place).locks() == []


@_SITUATIONS
def test_who_ended_anywhere_asks_again_and_has_it_once(
    place: Place, prepare: Prepare, commands: int
) -> None:
    ends = _everywhere(place, prepare, lambda name: _acquire(_slow(place), name, "a"), _end)
    fences = []
    for name, _ in ends:
        first = _acquire(_slow(place), name, "a")
        assert _acquire(_other(place), name, "a") == first
        assert _acquire(_other(place), name, "b") == first
        fences.append(first.fence)
    assert len(fences) == commands
    assert fences == sorted(set(fences))


def test_who_never_heard_that_he_got_it_asks_again(place: Place) -> None:
    """The answer was lost: the lock is the same one, with another lease."""
    lost = _acquire(_slow(place), "door", "a")
    place.bench.now_us += 9
    again = _acquire(_slow(place), "door", "a")
    assert (again.fence, again.acquired_us) == (lost.fence, T0)
    assert again.expires_us == lost.expires_us + 9
    assert _slow(place).renew_lock("door", "a", 0)
    assert not _slow(place).renew_lock("door", "a", 0)
    assert _acquire(_other(place), "door", "b").fence == lost.fence + 1


# --- processes that stand still -----------------------------------------------------------------


@_SITUATIONS
def test_who_stands_still_is_refused_what_another_has_by_then(
    place: Place, prepare: Prepare, commands: int
) -> None:
    answers = _everywhere(
        place,
        prepare,
        lambda name: _acquire(_slow(place), name, "a").owner,
        lambda name: _acquire(_other(place), name, "b"),
    )
    assert [owner for _, owner in answers] == ["b"] * commands


@_SITUATIONS
def test_who_stands_still_never_gets_a_lower_fence_than_others_had(
    place: Place, prepare: Prepare, commands: int
) -> None:
    """Though they have had the lock and given it back, and it was forgotten meanwhile."""
    had: list[int] = []
    answers = _everywhere(
        place,
        prepare,
        lambda name: _acquire(_slow(place), name, "a"),
        lambda name: had.append(_come_and_go(place, name, "b")),
    )
    got = [lock for _, lock in answers if isinstance(lock, LockRecord)]
    assert [lock.owner for lock in got] == ["a"] * commands
    assert all(lock.fence > before for lock, before in zip(got, had, strict=True))


def test_a_lock_that_was_added_anew_is_another_one(place: Place) -> None:
    """Who stands still before getting it has a fence from before it was forgotten."""
    gate = Gate()
    cut: Any = CutDatabase(place.database, gate)
    third = place.open(place.store(cut))
    had: list[int] = []

    def come_and_go() -> None:
        had.append(_come_and_go(place, "door", "b"))
        gate.arm((3).__eq__)
        with pytest.raises(StoppedError):
            _acquire(third, "door", "c")

    # It reads, adds, takes a fence, changes.
    place.gate.arm((4).__eq__, come_and_go)
    lock = _acquire(_slow(place), "door", "a")
    assert lock.owner == "a"
    assert [lock.fence > before for before in had] == [True]


def test_who_stands_still_does_not_renew_what_another_has_by_then(place: Place) -> None:
    def lose(name: str) -> None:
        place.bench.now_us += SECOND
        assert _acquire(_other(place), name, "b").owner == "b"

    answers = _everywhere(
        place,
        lambda place, name: _acquire(_other(place), name, "a"),
        lambda name: _slow(place).renew_lock(name, "a", SECOND),
        lose,
    )
    assert [renewed for _, renewed in answers] == [False, False]


def test_a_lock_that_somebody_gets_meanwhile_is_not_forgotten(place: Place) -> None:
    answers = _everywhere(
        place,
        _lapsed,
        lambda _: _slow(place).prune(PruneRequest({}, 0, now_us=place.bench.now_us)),
        lambda name: _acquire(_other(place), name, "b", MINUTE),
    )
    names = [name for name, _ in answers]
    assert len(names) >= 2
    assert [lock.name for lock in _other(place).locks() if lock.owner == "b"] == names


@pytest.mark.parametrize("lease_us", [0, SECOND])
def test_a_command_that_arrives_late_changes_nothing(place: Place, lease_us: int) -> None:
    """Its sender gave up waiting for it, and has asked again meanwhile."""
    _acquire(_other(place), "door", "a")

    def ask_again() -> None:
        assert _other(place).renew_lock("door", "a", MINUTE)
        # After the late command, nothing of that client happens any more.
        place.gate.arm((1).__eq__)

    # The first one reads, the second one changes.
    place.gate.arm((2).__eq__, ask_again)
    with pytest.raises(StoppedError):
        _slow(place).renew_lock("door", "a", lease_us)
    [lock] = _other(place).locks()
    assert (lock.owner, lock.expires_us) == ("a", T0 + MINUTE)


# --- races --------------------------------------------------------------------------------------


def test_of_those_who_want_a_new_name_at_once_one_gets_it(place: Place) -> None:
    """Four processes with a store of their own, and twenty names."""
    stores = [place.open(place.store()) for _ in range(4)]
    together = Barrier(4)

    def want(number: int) -> list[int]:
        got = []
        for each in range(20):
            together.wait(_DEADLINE_S)
            lock = _acquire(stores[number], f"door {each}", f"owner {number}", MINUTE)
            if lock.owner == f"owner {number}":
                got.append(each)
        return got

    with ThreadPoolExecutor(4) as pool:
        got = [each for some in pool.map(want, range(4)) for each in some]
    assert sorted(got) == list(range(20))
    assert len({lock.fence for lock in stores[0].locks()}) == 20


# --- what is stored -----------------------------------------------------------------------------

_ODD = ["", " ", "$door", "a.b", ".", "{}", '{"$gt":""}', "d:o/o*r\\", "a\0b", "tür", "\U0001f512"]


def test_names_and_owners_are_any_text(place: Place) -> None:
    for name in _ODD:
        request = LockRequest(name, f"{name} of", MINUTE, f"about {name}")
        assert _slow(place).acquire_lock(request).owner == request.owner
    listed = _other(place).locks()
    assert [lock.name for lock in listed] == sorted(_ODD)
    assert {(lock.owner, lock.about) for lock in listed} == {
        (f"{name} of", f"about {name}") for name in _ODD
    }
    for name in _ODD:
        assert not _slow(place).renew_lock(name, f"$owner{name}", SECOND)
        assert _slow(place).renew_lock(name, f"{name} of", 0)
    assert _other(place).locks() == []


def test_text_that_mongodb_has_not_is_refused(place: Place) -> None:
    message = raised(InvalidInputError, lambda: _acquire(_slow(place), "a\ud800", "a"))
    assert "can't store this" in message
    assert place.documents("locks") == []


def test_a_bounded_number_of_locks_is_forgotten_oldest_first(place: Place) -> None:
    for number in range(5):
        _acquire(_slow(place), f"door {number}", "a", 10 - number)
    _acquire(_slow(place), "held", "a", MINUTE)
    _slow(place).acquire_lock(LockRequest("kept", "a", 1, "", T0, MINUTE))
    place.bench.now_us += 9
    left = []
    for _ in range(3):
        request = PruneRequest({}, 0, limit=2, now_us=place.bench.now_us)
        assert _slow(place).prune(request) == 0
        left.append([each["_id"] for each in place.documents("locks")])
    assert left == [
        ["door 0", "door 1", "door 2", "held", "kept"],
        ["door 0", "held", "kept"],
        ["door 0", "held", "kept"],
    ]
    assert [lock.name for lock in _other(place).locks()] == ["door 0", "held", "kept"]


def test_leases_of_locks_go_by_the_servers_clock(place: Place) -> None:
    store = place.open(place.store())
    before_us = store.now_us()
    lock = _acquire(store, "door", "a", 60 * MINUTE)
    assert T0 < before_us <= lock.acquired_us <= store.now_us()
    assert lock.expires_us == lock.acquired_us + 60 * MINUTE
    assert store.locks() == [lock]


def test_locks_are_written_as_surely_as_all_else(place: Place) -> None:
    sent = Sent()
    with closing(Client(place.url, event_listeners=[sent])) as client:
        store = place.open(place.store(client))
        sent.commands.clear()
        _acquire(store, "door", "a")
    written = [each for each in sent.commands if "writeConcern" in each]
    assert [next(iter(each)) for each in written] == ["insert", "findAndModify", "update"]
    assert [each["writeConcern"] for each in written] == [{"w": "majority", "j": True}] * 3


@pytest.mark.parametrize("options", [(), ("--standalone",)])
def test_locks_survive_a_crash_of_the_server(tmp_path: Path, options: tuple[str, ...]) -> None:
    """Also one that stands alone."""
    with serving(tmp_path, *options) as server, placed(server.url) as place:
        place.bench.open()
        lock = _acquire(_slow(place), "door", "a", MINUTE)
        server.restart()
        assert _other(place).locks() == [lock]
        assert _acquire(_other(place), "door", "b") == lock
        assert _slow(place).renew_lock("door", "a", 0)
        assert _acquire(_other(place), "door", "b").fence > lock.fence
