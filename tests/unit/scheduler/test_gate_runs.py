"""What becomes of runs that were let through their gate, or were not."""

from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from typing import Any

import pytest

from tests.unit.coordination.places import DEADLINE_S, until
from tests.unit.scheduler import jobs
from tests.unit.scheduler.gated import KEPT, START, Site, begin, runs, states
from tickwork import Scheduler, current_run
from tickwork.coordination import LeaderElection, Lock, TaskLock
from tickwork.events import RunStarted
from tickwork.executors import ThreadPoolExecutor
from tickwork.model.jobs import Job
from tickwork.stores.memory import MemoryStore
from tickwork.testing import Fault, ManualClock, SteppedScheduler


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site()
    yield made
    made.end()


# --- what comes after the gate ------------------------------------------------------------------


def crowd(site: Site, **options: Any) -> tuple[SteppedScheduler, SteppedScheduler]:
    """Two processes; a run of the first is through its gate, and its only thread is taken."""
    one, two = site.process(executors={"threadpool": ThreadPoolExecutor(1)}), site.process()
    for scheduler in (one, two):
        site.add(scheduler, max_lock_seconds=20, sync=Lock("disk", lease=5), **options)
    user = site.process(start=False).connect()
    with Lock("disk", lease=3_600, scheduler=user):
        site.clock.advance(seconds=10)
        begin(one)
        one.submit(site.wait)
        begin(one)
        until(lambda: site.calls, "the only thread is busy")
    site.clock.advance(seconds=1)
    begin(one)
    assert site.names == ["disk", "task:a"]
    return one, two


@pytest.mark.parametrize("delivery", ["at_least_once", "at_most_once"])
def test_a_full_executor_is_waited_for_and_the_locks_are_kept(site: Site, delivery: str) -> None:
    one, two = crowd(site, delivery=delivery)
    for _ in range(60):
        site.clock.advance(seconds=1)
        begin(one)
        two.step()
    assert states(two, task="a") == ["skipped"] * 7
    assert site.calls == ["waiting"]
    site.go.set()
    one.step()
    assert site.calls == ["waiting", "went", 0]
    assert runs(one, task="a")[0] == ("completed", 10, None)
    assert site.names == []


@pytest.mark.parametrize("delivery", ["at_least_once", "at_most_once"])
def test_a_run_that_lost_its_lock_before_it_could_start_does_not_start(
    site: Site, delivery: str
) -> None:
    """Its process stood still between the gate and the thread; others have gone on."""
    one, two = crowd(site, delivery=delivery)
    started: list[str] = []
    one.on(RunStarted, lambda event: started.append(event.task_id))
    site.pass_time(30, two)
    assert site.calls == ["waiting", 1]
    site.go.set()
    one.step()
    assert site.calls == ["waiting", 1, "went"]
    state, fire_s, reason = runs(one, task="a")[0]
    assert (state, fire_s) == ("skipped", 10)
    assert reason is not None
    assert reason.startswith("before it could start: the lock 'disk' was lost after its lease")
    assert started == [], "nobody is told of a start"
    assert site.names == []


class _Slow(ThreadPoolExecutor):
    """Says that it has no thread to spare, or keeps jobs in its queue, until it is told to go."""

    def __init__(self, *, queues: bool) -> None:
        super().__init__(4)
        self._queues = queues
        self._queue: list[Sequence[Job]] = []
        self.gone = False

    def idle(self) -> int:
        return super().idle() if self.gone or self._queues else 0

    def start(self, jobs: Sequence[Job]) -> None:
        if self.gone or not self._queues:
            super().start(jobs)
        else:
            self._queue.append(jobs)

    def go(self) -> None:
        self.gone = True
        for queued in self._queue:
            super().start(queued)


@pytest.mark.parametrize("queues", [True, False])
def test_a_run_that_lost_its_lock_in_a_queue_does_not_start(site: Site, queues: bool) -> None:
    """Neither in that of its executor, nor in that of runs whose start is written down first."""
    executor = _Slow(queues=queues)
    one, two = site.process(executors={"threadpool": executor}), site.process()
    delivery = "at_least_once" if queues else "at_most_once"
    for scheduler in (one, two):
        site.add(scheduler, max_lock_seconds=20, delivery=delivery)
    site.clock.advance(seconds=10)
    begin(one)
    assert site.names == ["task:a"]
    site.pass_time(20, two)
    assert site.calls == [1]
    executor.go()
    one.step()
    assert site.calls == [1]
    assert runs(one)[0] == (
        "skipped",
        10,
        (
            "before it could start: the lock 'task:a' was lost after its lease of 20 s; another "
            "holder may be at work"
        ),
    )


@pytest.mark.parametrize("delivery", ["at_least_once", "at_most_once"])
@pytest.mark.parametrize(
    ("executor", "fn"),
    [
        ("asyncio", jobs.coroutine),
        ("threadpool", jobs.name_of_thread),
        ("processpool", jobs.name_of_process),
    ],
)
def test_all_executors_and_deliveries_go_through_the_gate(
    site: Site, executor: str, fn: Callable[..., Any], delivery: str
) -> None:
    for scheduler in (site.process(), site.process()):
        site.add(
            scheduler,
            fn=fn,
            executor=executor,
            delivery=delivery,
            max_lock_seconds=60,
            sync=Lock("disk"),
        )
    site.pass_time(30, by=10)
    found = [run for each in site.all for run in each.get_runs(status="completed")]
    assert sorted(run.fire_time for run in found if run.fire_time) == [
        START + timedelta(seconds=each) for each in (10, 20, 30)
    ]
    assert sum(len(each.get_runs(status="skipped")) for each in site.all) == 3
    assert site.names == []


def test_a_run_that_failed_is_tried_again_for_the_same_fire_time(site: Site) -> None:
    """Which is still its own: it asks for the lock, not for what has been dealt with."""
    attempts: list[int] = []

    def work() -> None:
        attempts.append(current_run().attempt)
        if len(attempts) < 3:
            jobs.fail()

    one, two = site.process(), site.process()
    for scheduler in (one, two):
        site.add(scheduler, max_lock_seconds=60, fn=work, retries=3, delay=2)
    site.pass_time(19)
    assert attempts == [1, 2, 3]
    assert runs(one) == [("completed", 10, None)]
    assert runs(two) == [("skipped", 10, KEPT)]
    site.pass_time(1)
    assert attempts == [1, 2, 3, 1]


def test_a_run_that_is_tried_again_at_once_is_not_in_its_own_way(site: Site) -> None:
    one = site.process()
    site.add(one, max_lock_seconds=60, fn=jobs.fail, retries=3, delay=0)
    site.pass_time(10)
    assert jobs.calls == ["fail"] * 4
    assert states(one) == ["failed"]
    assert site.names == []


def test_a_retry_that_finds_the_lock_held_is_over_and_shows_what_failed(site: Site) -> None:
    one, two = site.process(), site.process()
    site.add(one, max_lock_seconds=60, fn=jobs.fail, retries=3, delay=12)
    site.add(two, max_lock_seconds=60, fn=site.wait)
    site.pass_time(10, one)
    site.clock.advance(seconds=10)
    begin(two)
    until(lambda: site.calls, "the other one is at work")
    site.pass_time(2, one)
    [_, run] = one.get_runs()
    assert run.status == "skipped"
    assert run.reason is not None
    assert "is held by" in run.reason
    assert len(run.errors) == 1


def test_a_fixed_delay_counts_from_the_end_in_all_processes(site: Site) -> None:
    """Each body takes 4 s; the next begins 10 s after its end, in whichever process."""

    def work() -> None:
        site.calls.append(round((site.clock.now() - START).total_seconds()))
        site.clock.advance(seconds=4)

    one, two = site.process(), site.process()
    for scheduler in (one, two):
        site.add(scheduler, max_lock_seconds=60, fn=work, fixed_delay=True)
        site.clock.advance(seconds=3)
    while site.clock.now() < START + timedelta(seconds=120):
        site.pass_time(1)
    assert len(site.calls) >= 6
    gaps = [later - earlier for earlier, later in zip(site.calls, site.calls[1:], strict=False)]
    assert min(gaps) >= 14
    assert max(gaps) <= 24, "nobody waits for much longer than the delay"


def test_a_task_run_by_hand_needs_the_locks_and_no_fire_time(site: Site) -> None:
    one, two = site.two(max_lock_seconds=60)
    site.pass_time(10)
    assert site.calls == [0]
    for scheduler in (one, two):
        run = scheduler.run_task("a")
        scheduler.step()
        assert run.status == "completed"
    assert site.calls == [0, 0, 1]
    site.pass_time(10)
    assert site.calls == [0, 0, 1, 0], "fire times go on as if nothing had been"
    with Lock("task:a", scheduler=one):
        run = two.run_task("a")
        two.step()
    assert run.status == "skipped"


def test_a_decorated_function_that_is_submitted_goes_through_the_gate(site: Site) -> None:
    one = site.process()
    one.task("interval", seconds=10, max_lock_seconds=60)(jobs.note)
    lock = TaskLock("task:tests.unit.scheduler.jobs:note", 1, 60, scheduler=one)
    with lock:
        refused = one.submit(jobs.note)
        one.step()
    run = one.submit(jobs.note)
    one.step()
    assert (refused.status, run.status) == ("skipped", "completed")
    assert jobs.calls == [()]


def test_what_is_to_run_at_the_stop_runs_in_the_leader(site: Site) -> None:
    elections = LeaderElection("lead"), LeaderElection("lead")
    for election in elections:
        scheduler = site.process()
        site.add(scheduler, trigger="shutdown", leader=election, max_lock_seconds=60)
        scheduler.step()
    site.all[1].stop(timeout=DEADLINE_S)
    assert site.calls == []
    site.all[0].stop(timeout=DEADLINE_S)
    assert site.calls == [0]


def test_what_is_to_run_at_the_start_runs_once(site: Site) -> None:
    """In processes that start within an interval of each other."""
    for _ in range(2):
        scheduler = site.process(start=False)
        site.add(scheduler, max_lock_seconds=60, run_on_startup=True)
        scheduler.start()
        site.pass_time(1)
    assert site.calls == [0]


# --- when the store fails -----------------------------------------------------------------------


def test_a_store_that_is_down_costs_fire_times_and_nothing_else(site: Site) -> None:
    one, two = site.two(max_lock_seconds=60)
    site.pass_time(10)
    site.store.down = True
    site.pass_time(20)
    assert site.calls == [0]
    for scheduler in (one, two):
        assert [run[2] for run in runs(scheduler)][1:] == [
            "its locks can't be asked for: down, as a test asked for"
        ] * 2
    site.store.down = False
    site.pass_time(10)
    assert site.calls == [0, 0]


@pytest.mark.parametrize(
    "faults",
    [[Fault.AFTER], [Fault.AFTER, Fault.AFTER], [Fault.BEFORE, Fault.AFTER], [Fault.BEFORE]],
)
def test_an_answer_that_was_lost_leaves_nothing_held(site: Site, faults: list[Fault]) -> None:
    """The fire time is executed once, or can still be."""
    one, two = site.two(max_lock_seconds=3_600)
    site.pass_time(9)
    site.store.faults["acquire"].extend(faults)
    site.clock.advance(seconds=1)
    one.step()
    assert site.names == []
    two.step()
    assert len(site.calls) == 1


def test_a_fire_time_given_back_does_not_bring_those_before_it_back(site: Site) -> None:
    """10 s was executed; 20 s was given, and given back; who is late must not repeat 10 s."""
    one, late = site.two(max_lock_seconds=3_600, coalesce=False)
    site.pass_time(19, one)
    site.store.faults["acquire"].extend([Fault.AFTER, Fault.AFTER])
    site.pass_time(1, one)
    assert [state for state, _, _ in runs(one)] == ["completed", "skipped"]
    late.step()
    assert runs(late) == [("skipped", 10, KEPT), ("completed", 20, None)]
    assert site.calls == [0, 1]


def test_a_renewal_that_fails_while_it_waits_is_a_refusal(site: Site) -> None:
    """The lock of the task was lost: it must not go in when the resource is free."""
    one, two = site.process(), site.process()
    for scheduler in (one, two):
        site.add(scheduler, max_lock_seconds=15, sync=Lock("disk", retry_interval=2))
    user = site.process(start=False).connect()
    with Lock("disk", lease=3_600, scheduler=user):
        site.pass_time(10, one)
        site.clock.advance(seconds=16)
        two.step()
        assert site.names == ["disk", "task:a"]
    one.step()
    assert site.calls == []
    state, fire_s, reason = runs(one)[0]
    assert (state, fire_s, reason) == (
        "skipped",
        10,
        "the lock 'task:a' was lost after its lease of 15 s; another holder may be at work",
    )
    site.pass_time(2, two)
    assert site.calls == [1]


def test_a_lock_that_belongs_nowhere_is_a_refusal(site: Site) -> None:
    one = site.process()
    site.add(one, sync=Lock("disk", scheduler=Scheduler()))
    site.pass_time(10, one)
    [(state, _, reason)] = runs(one)
    assert state == "skipped"
    assert reason is not None
    assert reason.startswith("its locks can't be asked for: locks are kept in the scheduler's")


def test_an_error_of_the_driver_concerns_its_run_only(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: str, name: str) -> None:
        if name == "broken":
            raise ZeroDivisionError

    one = site.process()
    site.add(one, sync=Lock("broken"))
    site.add(one, id="b", sync=Lock("disk"))
    site.store.during = fail
    site.pass_time(20, one)
    assert site.calls == [0, 0]
    assert states(one, task="a") == ["skipped", "skipped"]
    assert "the gate of a failed" in caplog.text


def test_a_store_that_keeps_no_locks_is_a_refusal() -> None:
    class Plain(MemoryStore):
        acquire_lock = None  # type: ignore[assignment]

    clock = ManualClock(START + timedelta(seconds=1))
    with SteppedScheduler(Plain(), clock=clock) as scheduler:
        scheduler.add_task(jobs.note, "interval", seconds=10, id="a", max_lock_seconds=60)
        scheduler.advance(seconds=10)
        assert runs(scheduler) == [
            (
                "skipped",
                10,
                "its locks can't be asked for: the store 'default' keeps no locks; use another one",
            )
        ]
    assert jobs.calls == []
