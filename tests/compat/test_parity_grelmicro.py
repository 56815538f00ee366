"""What grelmicro's users had, row by row of docs/coming_from.md."""

import logging
from collections.abc import Iterator
from typing import Annotated, Any

import pytest
from fast_depends import Depends

from tests.compat import jobs
from tests.compat.stepping import advance, stepped, summary
from tickwork.compat import grelmicro
from tickwork.compat.grelmicro import LeaderElection, Lock, TaskLock, TaskManager, TaskRouter
from tickwork.errors import SchedulerStateError
from tickwork.events import RunSkipped
from tickwork.stores.memory import MemoryStore
from tickwork.testing import ManualClock, SteppedScheduler

Stepped = stepped(TaskManager)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def manager(clock: ManualClock) -> Any:
    return Stepped(clock=clock)


@pytest.fixture
def pair(clock: ManualClock) -> Iterator[list[Any]]:
    """Two workers whose locks are in one place."""
    store = MemoryStore()
    workers = [Stepped(store, clock=clock) for _ in range(2)]
    yield workers
    for worker in workers:
        worker.stop()


def start(workers: list[Any], **options: Any) -> None:
    """Have each worker do the same, and start."""
    for worker in workers:
        worker.interval(name="work", id="work", **options)(jobs.tick)
        worker.start()


def counts(workers: list[Any], status: str = "completed") -> list[int]:
    return [len(summary(worker, status=status)) for worker in workers]


def test_an_interval_is_a_delay_that_begins_at_once(manager: Any, clock: ManualClock) -> None:
    @manager.interval(seconds=5)
    def slow() -> None:
        clock.advance(seconds=2)

    with manager:
        manager.advance(seconds=16)
        assert [due for _, _, due in summary(manager)] == [
            "01 00:00:00",
            "01 00:00:07",
            "01 00:00:14",
        ]


def test_our_interval_is_a_rate_that_begins_with_waiting(clock: ManualClock) -> None:
    with SteppedScheduler(clock=clock) as scheduler:

        @scheduler.task(every=5)
        def slow() -> None:
            clock.advance(seconds=2)

        scheduler.advance(seconds=16)
        assert [due for _, _, due in summary(scheduler)] == [
            "01 00:00:05",
            "01 00:00:10",
            "01 00:00:15",
        ]


def test_once_an_interval_over_all_workers(pair: list[Any], clock: ManualClock) -> None:
    start(pair, seconds=60, max_lock_seconds=300)
    advance(clock, pair, minutes=9, seconds=30)
    assert sum(counts(pair)) == len(jobs.calls) == 10
    assert sum(counts(pair, "skipped")) == 10


def test_the_lock_is_held_for_its_shortest_time(pair: list[Any], clock: ManualClock) -> None:
    # One of them comes ten seconds later: the lock of the first is free by then.
    pair[0].interval(seconds=60, max_lock_seconds=300, min_lock_seconds=5, id="work")(jobs.tick)
    pair[0].start()
    advance(clock, pair[:1], seconds=10)
    pair[1].interval(seconds=60, max_lock_seconds=300, min_lock_seconds=5, id="work")(jobs.tick)
    pair[1].start()
    advance(clock, pair, minutes=1)
    assert counts(pair) == [2, 2]


def test_a_dead_worker_blocks_for_the_longest_time(pair: list[Any], clock: ManualClock) -> None:
    first, second = pair
    first.start()
    place = first.locks_at("default")
    # What a worker that died in the middle of it leaves behind.
    died = TaskLock("task:work", 60, 300, scheduler=first)
    assert died.acquire() is not None
    assert place is first.locks_at("default")
    start([second], seconds=60, max_lock_seconds=300)
    advance(clock, pair, seconds=290)
    assert counts(pair) == [0, 0]
    advance(clock, pair, seconds=20)
    assert counts(pair) == [0, 1]


def test_a_leader_gates(pair: list[Any], clock: ManualClock) -> None:
    leaders = [LeaderElection("service") for _ in pair]
    for worker, leader in zip(pair, leaders, strict=True):
        start([worker], seconds=60, leader=leader)
    advance(clock, pair, minutes=4, seconds=30)
    assert [leader.is_leader for leader in leaders] == [count > 0 for count in counts(pair)]
    assert sorted(counts(pair)) == [0, 5]
    chosen = counts(pair).index(5)
    pair[chosen].stop()
    advance(clock, [pair[1 - chosen]], minutes=1)
    assert counts([pair[1 - chosen]]) == [1]


def test_the_gates_are_asked_in_their_order(pair: list[Any], clock: ManualClock) -> None:
    for worker in pair:
        leader, resource = LeaderElection("service"), Lock("resource")
        worker.interval(seconds=60, max_lock_seconds=300, leader=leader, sync=resource, id="work")(
            jobs.tick
        )
        worker.start()
    advance(clock, pair, seconds=30)
    follower = pair[counts(pair).index(0)]
    (skipped,) = follower.get_runs(task="work", status="skipped")
    assert skipped.reason == "this process isn't the leader of 'service'"
    names = [lock.name for lock in follower.locks_at("default").store.locks()]
    assert sorted(names) == ["leader:service", "task:work"]


def test_a_resource_is_held_only_while_it_is_used(pair: list[Any], clock: ManualClock) -> None:
    held: list[bool] = []
    store = pair[0]
    resource = Lock("shared-resource")

    def use() -> None:
        held.append(bool(store.locks_at("default").store.locks()))

    store.interval(seconds=60, sync=resource, id="use")(use)
    store.start()
    advance(clock, [store], minutes=2, seconds=30)
    assert held == [True, True, True]
    assert store.locks_at("default").store.locks() == []


def test_who_needs_a_resource_waits_for_it(manager: Any, clock: ManualClock) -> None:
    resource = Lock("shared-resource", lease=30)
    manager.interval(seconds=60, sync=resource, id="use")(jobs.tick)
    manager.start()
    other = Lock("shared-resource", lease=30, scheduler=manager)
    other.acquire()
    manager.advance(seconds=20)
    assert jobs.calls == []
    other.release()
    manager.advance(seconds=1)
    assert len(jobs.calls) == 1
    manager.stop()


def test_a_skip_is_recorded(
    pair: list[Any], clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[Any] = []
    for worker in pair:
        worker.on(RunSkipped, heard.append)
    with caplog.at_level(logging.DEBUG, "tickwork.runs"):
        start(pair, seconds=60, max_lock_seconds=300)
        advance(clock, pair, seconds=30)
    (skipped,) = [run for worker in pair for run in worker.get_runs(status="skipped")]
    assert (
        skipped.reason
        == "the lock 'task:work' is kept: its work has been done for this span of time"
    )
    assert [event.reason for event in heard] == [skipped.reason]
    levels = {record.levelname for record in caplog.records if "skipped" in record.getMessage()}
    assert levels == {"DEBUG"}


def test_routers_are_included_with_prefix_and_defaults(manager: Any) -> None:
    inner, outer = TaskRouter("inner."), TaskRouter("outer.", tags=["all"], retries=2)
    outer.include_router(inner)
    inner.interval(seconds=5)(jobs.tick)
    manager.include_router(outer)
    inner.interval(seconds=10)(jobs.blink)
    with manager:
        manager.advance(seconds=11)
        found = [(task.id, task.retries, task.tags) for task in manager.get_tasks()]
        assert found == [("outer.inner.blink", 2, ("all",)), ("outer.inner.tick", 2, ("all",))]
        assert len(jobs.calls) == 3


def test_scheduled_is_deprecated(pair: list[Any], clock: ManualClock) -> None:
    for worker in pair:
        with pytest.warns(
            DeprecationWarning, match="use interval.. with max_lock_seconds or"
        ) as told:
            worker.scheduled(seconds=60)(jobs.tick)
        assert told[0].filename == __file__
        worker.start()
    advance(clock, pair, minutes=4, seconds=30)
    assert sum(counts(pair)) == 5
    router = TaskRouter()
    with pytest.warns(DeprecationWarning, match="use interval"):
        router.scheduled(seconds=60)(jobs.tick)


def test_other_primitives_as_sync_are_deprecated(pair: list[Any], clock: ManualClock) -> None:
    for worker in pair:
        with pytest.warns(DeprecationWarning, match="use max_lock_seconds instead") as told:
            worker.interval(seconds=60, sync=TaskLock("locked", 60, 300), id="locked")(jobs.tick)
        assert told[0].filename == __file__
        with pytest.warns(DeprecationWarning, match="use leader instead"):
            worker.interval(seconds=60, sync=LeaderElection("led"), id="led")(jobs.tick)
        worker.start()
    advance(clock, pair, minutes=4, seconds=30)
    done = [run.task_id for worker in pair for run in worker.get_runs(status="completed")]
    assert (done.count("locked"), done.count("led")) == (5, 5)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"seconds": 0}, "seconds must be greater than 0"),
        ({"seconds": -1}, "seconds must be greater than 0"),
        (
            {"seconds": 60, "max_lock_seconds": 30},
            "max_lock_seconds must be greater than or equal to seconds",
        ),
        (
            {"seconds": 60, "min_lock_seconds": 30},
            "min_lock_seconds requires max_lock_seconds or leader to be set",
        ),
        (
            {"seconds": 60, "max_lock_seconds": 60, "min_lock_seconds": 90},
            "min_lock_seconds must be less than or equal to max_lock_seconds",
        ),
    ],
)
def test_contradictions_are_refused_where_they_are_said(
    manager: Any, options: dict[str, Any], words: str
) -> None:
    for declared_on in (manager, TaskRouter()):
        with pytest.raises(ValueError, match=words):
            declared_on.interval(**options)


def test_a_failure_stops_nothing(manager: Any, caplog: pytest.LogCaptureFixture) -> None:
    manager.interval(seconds=5)(jobs.fail)
    manager.interval(seconds=5)(jobs.tick)
    with manager:
        manager.advance(seconds=11)
        assert len(summary(manager, status="failed")) == len(jobs.calls) == 3
        assert manager.get_runs(status="failed")[0].error["message"] == "no luck"
    assert sum("no luck" in record.getMessage() for record in caplog.records) == 3


def test_dependencies_are_injected(manager: Any) -> None:
    def connection() -> Iterator[str]:
        jobs.calls.append("open")
        yield "a connection"
        jobs.calls.append("close")

    @manager.interval(seconds=5)
    async def use(connection: Annotated[str, Depends(connection)]) -> None:
        jobs.calls.append(connection)

    with manager:
        manager.advance(seconds=6)
    assert jobs.calls == ["open", "a connection", "close"] * 2


def test_a_leader_is_added_like_a_task(manager: Any) -> None:
    leader = LeaderElection("service")
    assert manager.add_task(leader) is None
    leads = [leader.is_leader]
    with manager:
        manager.step()
        leads.append(leader.is_leader)
        task = manager.add_task(jobs.tick, "interval", minutes=1, id="a task of ours")
        assert task.id == "a task of ours"
    assert [*leads, leader.is_leader] == [False, True, False]


def test_locks_are_kept_in_the_managers_store(manager: Any) -> None:
    lock = Lock("outside of tasks")
    with pytest.raises(SchedulerStateError, match=r"make it with scheduler=\.\.\., or"):
        lock.acquire()
    with manager, Lock("outside of tasks", scheduler=manager) as hold:
        assert hold.held
        assert [kept.name for kept in manager.locks_at("default").store.locks()] == [
            "outside of tasks"
        ]


def test_started_again_it_goes_on_where_it_stood(manager: Any) -> None:
    manager.interval(seconds=60)(jobs.tick)
    with manager:
        manager.advance(seconds=30)
    with manager:
        manager.advance(seconds=20)
        assert len(jobs.calls) == 1
        manager.advance(seconds=10)
    assert len(jobs.calls) == 2
    assert grelmicro.interval is TaskManager.interval
