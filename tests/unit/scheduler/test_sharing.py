"""Several stores share the executors of a scheduler."""

import threading
from collections.abc import Sequence
from typing import ClassVar

from tickwork import Scheduler
from tickwork.events import RunCompleted
from tickwork.executors.threads import ThreadPoolExecutor
from tickwork.interfaces import ExecutorEnvironment, Leftover
from tickwork.model.jobs import Job
from tickwork.model.policies import RunState
from tickwork.scheduler.sharing import Shares
from tickwork.stores.memory import MemoryStore

DEADLINE_S = 10.0


def one_worker(**stores: MemoryStore) -> Scheduler:
    return Scheduler(
        stores=dict(stores), executors={"threadpool": ThreadPoolExecutor(max_workers=1)}
    )


def test_a_store_without_places_goes_on_when_another_frees_one() -> None:
    began, go, done = threading.Event(), threading.Event(), threading.Event()

    def hold() -> None:
        began.set()
        assert go.wait(DEADLINE_S)

    scheduler = one_worker(default=MemoryStore(), other=MemoryStore())
    with scheduler:
        scheduler.add_task(hold)
        assert began.wait(DEADLINE_S)
        waits = scheduler.add_task(done.set, store="other")
        # Planned, and told that there is no place; nothing of its own will ever wake this store.
        until(lambda: scheduler.get_runs(task=waits.id)[0].status is RunState.PENDING)
        go.set()
        assert done.wait(DEADLINE_S)


def until(condition: object) -> None:
    assert callable(condition)
    turn = threading.Event()
    for _ in range(1_000):
        try:
            if condition():
                return
        except IndexError:
            pass
        turn.wait(DEADLINE_S / 1_000)
    raise AssertionError("it didn't come to that")


class Places:
    """An executor that has nothing but places."""

    kind: ClassVar[str] = "places"

    def __init__(self, free: int) -> None:
        self.free = free

    def open(self, environment: ExecutorEnvironment) -> None:
        raise NotImplementedError

    def reserve(self, wanted: int) -> int:
        taken = min(wanted, self.free)
        self.free -= taken
        return taken

    def release(self, places: int) -> None:
        self.free += places

    def idle(self) -> int:
        return self.free

    def start(self, jobs: Sequence[Job]) -> None:
        raise NotImplementedError

    def stop(self, timeout_s: float) -> Leftover:
        raise NotImplementedError


def test_who_found_no_place_gets_half_of_the_next() -> None:
    places = Places(10)
    shares = Shares({"pool": places})
    wake = threading.Event()
    one, two = shares.of(threading.Event())["pool"], shares.of(wake)["pool"]
    assert one.reserve(100) == 10
    assert two.reserve(100) == 0
    assert not wake.is_set()
    places.release(4)
    assert one.reserve(100) == 2
    assert wake.is_set()
    assert two.reserve(100) == 2
    assert places.free == 0


def test_single_places_go_to_two_in_turn() -> None:
    places = Places(1)
    shares = Shares({"pool": places})
    seats = [shares.of(threading.Event())["pool"] for _ in range(2)]
    assert [seat.reserve(5) for seat in seats] == [1, 0]
    served: list[int] = []
    for _ in range(10):
        places.release(1)
        # The one that had it is the first to know, and to ask.
        asking = [*seats] if not served or served[-1] == 0 else seats[::-1]
        served += [seats.index(seat) for seat in asking if seat.reserve(5)]
    assert served == [1, 0] * 5


def test_who_does_not_come_for_its_turn_keeps_nobody_waiting() -> None:
    places = Places(1)
    shares = Shares({"pool": places})
    wake = threading.Event()
    busy, hung = shares.of(wake)["pool"], shares.of(threading.Event())["pool"]
    assert [busy.reserve(5), hung.reserve(5)] == [1, 0]
    kept = []
    for _ in range(5):
        places.release(1)
        kept.append(busy.reserve(5))
        # It isn't woken by its own passing on, it asks again a moment later.
        assert (wake.is_set(), busy.waits()) == (False, not kept[-1])
        if not kept[-1]:
            kept.append(busy.reserve(5))
    assert kept == [0, 1, 1, 1, 1, 1]


def test_who_wanted_nothing_more_leaves_everything_to_the_others() -> None:
    places = Places(4)
    shares = Shares({"pool": places})
    one, two = shares.of(threading.Event())["pool"], shares.of(threading.Event())["pool"]
    assert one.reserve(4) == 4
    assert two.reserve(4) == 0
    places.release(4)
    assert two.reserve(4) == 4
    two.release(4)
    assert one.reserve(4) == 4


def test_runs_that_end_are_told_to_who_waits_for_a_place() -> None:
    shares = Shares({"pool": Places(0)})
    wake, other = threading.Event(), threading.Event()
    seat = shares.of(wake)["pool"]
    shares.of(other)
    assert seat.reserve(1) == 0
    shares.freed(1)
    assert (wake.is_set(), other.is_set()) == (True, False)


def test_completions_are_told_with_their_store() -> None:
    told: list[str] = []
    done = threading.Event()
    scheduler = one_worker(default=MemoryStore(), other=MemoryStore())

    def note(event: RunCompleted) -> None:
        told.append(event.store)
        if len(told) == 2:
            done.set()

    scheduler.on(RunCompleted, note)
    with scheduler:
        scheduler.add_task(told.count, args=["x"])
        scheduler.add_task(told.count, args=["x"], store="other")
        assert done.wait(DEADLINE_S)
    assert sorted(told) == ["default", "other"]
