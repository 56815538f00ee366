"""Locks: one owner at a time, for so long as it said, by the store's clock."""

from collections import Counter
from typing import cast

from tickwork.errors import InvalidInputError
from tickwork.interfaces import Locking, Store
from tickwork.model.instants import SECOND
from tickwork.model.locks import LockRecord, LockRequest
from tickwork.model.steps import PruneRequest
from tickwork.testing.store_contract.bench import T0, Bench, raised, task
from tickwork.testing.store_contract.case import StoreCase, patiently

__all__ = ["LocksContract"]

_ROUNDS = 25
_LONG = 500_000


def _locking(store: Store) -> Locking:
    assert isinstance(store, Locking), "this store keeps no locks"
    return store


def _acquire(bench: Bench, owner: str, lease_us: int = SECOND, **fields: object) -> LockRecord:
    request = LockRequest("door", owner, lease_us)._replace(**fields)  # type: ignore[arg-type]
    return _locking(bench.store).acquire_lock(request)


def _gets(bench: Bench, owner: str, lease_us: int = SECOND, **fields: object) -> bool:
    return _acquire(bench, owner, lease_us, **fields).owner == owner


def _renews(bench: Bench, owner: str, lease_us: int, kept_us: int | None = None) -> bool:
    return _locking(bench.store).renew_lock("door", owner, lease_us, kept_us)


def _listed(bench: Bench) -> list[LockRecord]:
    return _locking(bench.second).locks()


class LocksContract(StoreCase):
    """The contract of `tickwork.interfaces.Locking`, and of `acquire_schedule_lock`."""

    def test_a_lock_is_its_owners_until_its_lease_is_over(self) -> None:
        """Not a microsecond less, and by the store's clock."""
        with self.bench() as bench:
            lock = _acquire(bench, "a", 1_500, about="worker 1")
            assert lock == LockRecord(
                name="door",
                owner="a",
                about="worker 1",
                fence=lock.fence,
                acquired_us=T0,
                expires_us=T0 + 1_500,
            )
            bench.now_us += 1_499
            assert _acquire(bench, "b") == lock
            assert _listed(bench) == [lock]
            bench.now_us += 1
            assert _listed(bench) == []
            assert _gets(bench, "b")

    def test_locks_of_other_names_are_others(self) -> None:
        """Also those that differ in case or in blanks."""
        with self.bench() as bench:
            names = ["door", "Door", "door ", "tür", "d:o/o*r{}"]
            for name in names:
                assert _gets(bench, f"of {name}", name=name)
            assert [lock.name for lock in _listed(bench)] == sorted(names)

    def test_fences_grow_with_each_acquisition(self) -> None:
        """Also above those of leases, and after the lock was forgotten."""
        with self.bench() as bench:
            [run] = bench.leased(task())
            first = _acquire(bench, "a").fence
            assert first > run.fence
            _renews(bench, "a", 0)
            second = _acquire(bench, "b").fence
            assert second > first
            bench.now_us += SECOND
            bench.store.prune(PruneRequest({}, 0, now_us=bench.now_us))
            assert _acquire(bench, "c").fence > second

    def test_asking_again_for_ones_own_lock_renews_it(self) -> None:
        """So that a step whose answer was lost can be repeated; the fence stays."""
        with self.bench() as bench:
            first = _acquire(bench, "a")
            bench.now_us += SECOND // 2
            again = _acquire(bench, "a")
            assert (again.fence, again.acquired_us) == (first.fence, first.acquired_us)
            assert again.expires_us == T0 + SECOND + SECOND // 2
            assert not _gets(bench, "b")

    def test_only_its_owner_renews_a_lock(self) -> None:
        """And only while it is theirs."""
        with self.bench() as bench:
            assert not _renews(bench, "a", SECOND)
            _acquire(bench, "a")
            assert not _renews(bench, "b", SECOND)
            bench.now_us += SECOND - 1
            assert _renews(bench, "a", 3 * SECOND)
            bench.now_us += 3 * SECOND - 1
            assert not _gets(bench, "b")
            bench.now_us += 1
            assert not _renews(bench, "a", SECOND)
            assert _gets(bench, "b")
            assert not _renews(bench, "a", SECOND)

    def test_a_lock_that_is_given_back_is_free_at_once(self) -> None:
        """Given back by its owner only, and once."""
        with self.bench() as bench:
            _acquire(bench, "a", 60 * SECOND)
            assert not _renews(bench, "b", 0)
            assert not _gets(bench, "b")
            assert _renews(bench, "a", 0)
            assert _listed(bench) == []
            assert not _renews(bench, "a", 0)
            assert _gets(bench, "b")

    def test_the_same_owner_may_have_it_again(self) -> None:
        """As a new acquisition, after it gave the lock back or its lease was over."""
        with self.bench() as bench:
            first = _acquire(bench, "a").fence
            _renews(bench, "a", 0)
            second = _acquire(bench, "a").fence
            bench.now_us += SECOND
            third = _acquire(bench, "a").fence
            assert first < second < third

    def test_a_kept_lock_is_refused_to_earlier_labels(self) -> None:
        """It is kept from its own label on, whatever the clock says meanwhile."""
        with self.bench() as bench:
            label_us = T0 - 5
            assert _gets(bench, "a", label_us=label_us, keep_us=60)
            assert _renews(bench, "a", 0)
            [kept] = _listed(bench)
            assert (kept.owner, kept.kept_us) == ("", label_us + 60)
            assert not _gets(bench, "b", label_us=label_us, keep_us=60)
            assert not _gets(bench, "b", label_us=label_us + 59, keep_us=60)
            assert _gets(bench, "b", label_us=label_us + 60, keep_us=60)

    def test_without_a_span_it_is_kept_until_the_next_label(self) -> None:
        """Each label has it once."""
        with self.bench() as bench:
            assert _gets(bench, "a", label_us=T0)
            _renews(bench, "a", 0)
            assert not _gets(bench, "b", label_us=T0)
            assert _gets(bench, "b", label_us=T0 + 1)

    def test_a_held_lock_is_refused_to_all_labels(self) -> None:
        """Until its lease is over: its owner may still be at work."""
        with self.bench() as bench:
            assert _gets(bench, "a", 15, label_us=T0, keep_us=10)
            bench.now_us += 14
            assert not _gets(bench, "b", label_us=T0 + 1_000, keep_us=10)
            bench.now_us += 1
            assert not _gets(bench, "b", label_us=T0 + 9, keep_us=10)
            assert _gets(bench, "b", label_us=T0 + 10, keep_us=10)

    def test_nobody_takes_a_refusal_for_the_lock(self) -> None:
        """Who had it, and asks again after its lease and before the next label, has it no more."""
        with self.bench() as bench:
            first = _acquire(bench, "a", 15, label_us=T0, keep_us=60)
            bench.now_us += 20
            refused = _acquire(bench, "a", 15, label_us=T0, keep_us=60)
            assert (refused.owner, refused.fence) == ("", first.fence)
            assert not _renews(bench, "a", 15)
            assert _gets(bench, "b", label_us=T0 + 60, keep_us=60)

    def test_labels_of_a_clock_gone_wrong_are_forgotten(self) -> None:
        """After twice the span, or the lease where that is longer."""
        with self.bench() as bench:
            day = 86_400 * SECOND
            assert _gets(bench, "a", 100, label_us=T0 + day, keep_us=1_000)
            _renews(bench, "a", 0)
            bench.now_us += 1_999
            assert not _gets(bench, "b", 5_000, label_us=bench.now_us, keep_us=1_000)
            bench.now_us += 1
            assert _gets(bench, "b", 5_000, label_us=bench.now_us - day, keep_us=1_000)
            _renews(bench, "b", 0)
            bench.now_us += 4_999
            assert not _gets(bench, "c", label_us=bench.now_us - 2 * day)
            bench.now_us += 1
            assert _gets(bench, "c", label_us=bench.now_us - 2 * day)

    def test_who_names_no_label_doesnt_care(self) -> None:
        """And leaves what it is kept for as it is."""
        with self.bench() as bench:
            assert _gets(bench, "a", label_us=T0, keep_us=1_000)
            _renews(bench, "a", 0)
            assert _gets(bench, "b")
            _renews(bench, "b", 0)
            assert not _gets(bench, "c", label_us=T0 + 999, keep_us=1_000)
            assert _gets(bench, "c", label_us=T0 + 1_000, keep_us=1_000)

    def test_its_owner_says_what_it_is_kept_for_when_giving_it_back(self) -> None:
        """Longer than before, or not at all."""
        with self.bench() as bench:
            assert _gets(bench, "a", label_us=T0, keep_us=1_000)
            assert _renews(bench, "a", 0, T0 + 1_500)
            assert not _gets(bench, "b", label_us=T0 + 1_499, keep_us=1_000)
            assert _gets(bench, "b", label_us=T0 + 1_500, keep_us=1_000)
            assert _renews(bench, "b", 0, 0)
            assert _listed(bench) == []
            assert _gets(bench, "c", label_us=T0, keep_us=1_000)

    def test_pruning_forgets_locks_that_say_nothing(self) -> None:
        """And no others: fences and what is kept are as before."""
        with self.bench() as bench:
            _acquire(bench, "a", 10)
            _acquire(bench, "b", 1_000, name="long")
            _acquire(bench, "c", 10, name="kept", label_us=T0, keep_us=1_000)
            bench.now_us += 10
            before = _listed(bench)
            bench.store.prune(PruneRequest({}, 0, now_us=bench.now_us))
            assert _listed(bench) == before
            assert [lock.name for lock in before] == ["kept", "long"]
            assert not _gets(bench, "d", name="kept", label_us=T0 + 999, keep_us=1_000)
            bench.now_us += 2_000
            bench.store.prune(PruneRequest({}, 0, now_us=bench.now_us))
            assert _listed(bench) == []

    def test_locks_are_told_to_nobody_twice(self) -> None:
        """Four threads on two clients want the same lock, again and again: one has it."""
        with self.bench() as bench:
            inside: Counter[int] = Counter()
            fences: list[int] = []

            def enter(store: Store, node: str) -> None:
                for attempt in range(_ROUNDS):
                    owner = f"{node}-{attempt}"
                    lock = _taken(_locking(store), owner)
                    inside[0] += 1
                    assert inside[0] == 1, "two have the same lock"
                    fences.append(lock.fence)
                    inside[0] -= 1
                    patiently(lambda it=owner: _give_back(store, it))  # type: ignore[misc]

            self.at_once(bench, enter)
            assert len(fences) == len(set(fences)) == 4 * _ROUNDS
            assert fences == sorted(fences)

    def test_of_four_that_want_a_label_one_gets_it(self) -> None:
        """Each of 25 labels once, whoever comes late."""
        with self.bench() as bench:
            got: list[int] = []

            def enter(store: Store, node: str) -> None:
                for number in range(_ROUNDS):
                    if _got_label(_locking(store), f"{node}-{number}", T0 + 10 * number):
                        got.append(number)
                        patiently(lambda it=number: _give_back(store, f"{node}-{it}"))  # type: ignore[misc]

            self.at_once(bench, enter)
            assert got == list(range(_ROUNDS))

    def test_a_schedule_lock_is_free_again_by_itself(self) -> None:
        """True for one caller, false for the others, each key alone, for its seconds."""
        with self.bench() as bench:
            first, second = cast("Locked", bench.store), cast("Locked", bench.second)
            assert first.acquire_schedule_lock("schedule:job", 1.5) is True
            assert second.acquire_schedule_lock("schedule:job", 1.5) is False
            assert second.acquire_schedule_lock("schedule:other", 1.5) is True
            bench.now_us += SECOND * 3 // 2 - 1
            assert second.acquire_schedule_lock("schedule:job", 60) is False
            bench.now_us += 1
            assert second.acquire_schedule_lock("schedule:job", 60) is True
            assert first.acquire_schedule_lock("schedule:job", 60) is False

    def test_schedule_locks_that_make_no_sense_are_refused(self) -> None:
        """With what to do instead."""
        with self.bench() as bench:
            store = cast("Locked", bench.store)
            for ttl in (0, -1, float("nan"), float("inf"), True, "5"):
                message = raised(
                    InvalidInputError,
                    lambda it=ttl: store.acquire_schedule_lock("k", it),  # type: ignore[misc]
                )
                assert message == f"ttl={ttl!r} must be a number of seconds greater than 0"
            message = raised(InvalidInputError, lambda: store.acquire_schedule_lock("", 5))
            assert message == "key='' must be a text of 1 to 170 characters"


class Locked(Locking):
    """A store with schedule locks, as every one of ours is."""

    def acquire_schedule_lock(self, key: str, ttl: float) -> bool:
        """Return whether the caller has this key now."""
        raise NotImplementedError


def _taken(store: Locking, owner: str) -> LockRecord:
    request = LockRequest("door", owner, 1_000 * SECOND)
    for _ in range(_LONG):
        lock = patiently(lambda: store.acquire_lock(request))
        if lock.owner == owner:
            return lock
    raise AssertionError(f"{owner} never got the lock")


def _got_label(store: Locking, owner: str, label_us: int) -> bool:
    """Ask for a label until it is ours, or somebody else's."""
    request = LockRequest("door", owner, SECOND, label_us=label_us, keep_us=10)
    for _ in range(_LONG):
        lock = patiently(lambda: store.acquire_lock(request))
        if lock.owner == owner:
            return True
        if lock.kept_us > label_us:
            return False
    raise AssertionError(f"nobody ever got the label {label_us}")


def _give_back(store: Store, owner: str) -> bool:
    return _locking(store).renew_lock("door", owner, 0)
