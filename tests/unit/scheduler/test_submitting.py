"""Runs that are asked for: what is refused, what a handle can do, what of a task holds for them."""

import asyncio
import gc
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.unit.scheduler import jobs
from tests.unit.scheduler.conftest import Home, tick
from tickwork import (
    InvalidInputError,
    RunNotFoundError,
    Scheduler,
    SchedulerConfig,
    SchedulerStateError,
    TaskConfigurationError,
    TaskNotFoundError,
    WaitTimeoutError,
    events,
)
from tickwork.errors import ConflictError
from tickwork.executors.inline import InlineExecutor
from tickwork.model.instants import SECOND
from tickwork.scheduler.loop import LoopSettings
from tickwork.stores.memory import MemoryStore
from tickwork.testing import ManualClock, SteppedScheduler

PATIENCE_S = 10


# --- what is refused ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"retries": -1}, "retries=-1 must be a whole number from 0"),
        ({"retries": True}, "retries=True"),
        ({"retries": 1.5}, "retries=1.5"),
        ({"delay": -0.1}, "delay=-0.1 must not be negative"),
        ({"delay": float("nan")}, "delay=nan is not a duration"),
        ({"delay": "1s"}, "delay='1s' is not a duration"),
        ({"backoff": 0}, "backoff=0 must be a number of at least 1"),
        ({"backoff": 0.5}, "at least 1"),
        ({"backoff": float("nan")}, "at least 1"),
        ({"backoff": float("inf")}, "at least 1"),
        ({"delay": 10, "max_delay": 5}, "max_delay=5 is less than delay=10"),
        ({"retry_on": 5}, "retry_on=5 is no exception type"),
        ({"retry_on": [int]}, "is no exception type"),
        ({"give_up_on": "not a name"}, "is no exception type"),
        ({"timeout": 0}, "would let nothing through"),
        ({"timeout": -1}, "must not be negative"),
        ({"timeout": True}, "is not a duration"),
        ({"priority": 1.5}, "priority=1.5 must be a whole number"),
        ({"keep": "some"}, "use one of 'all', 'failures', 'none'"),
        ({"result_ttl": -1}, "must not be negative"),
        ({"concurrency_key": ""}, "is not a text that names something"),
        ({"concurrency_key": "{a.b}"}, "{a.b} is no name of an argument"),
        ({"concurrency_key": "{a:999999999}"}, "asks for too wide a text"),
        ({"concurrency_key": "{a:{b}}"}, "asks for too wide a text"),
        ({"concurrency_key": "{"}, "can't be read"),
        ({"concurrency_limit": 0}, "concurrency_limit=0 must be a whole number from 1"),
        ({"start_in": -1}, "must not be negative"),
        ({"start_in": 1, "start_at": "2030-01-01"}, "not both"),
        ({"executor": "gpu"}, "there is no executor 'gpu'"),
        ({"store": "nowhere"}, "there is no store 'nowhere'"),
        ({"name": " "}, "names something"),
        ({"tags": "a"}, "is not a list"),
        ({"max_instances": 1}, "runs have no option 'max_instances'; they have backoff"),
        ({"minutes": 5}, "no option 'minutes'"),
    ],
)
def test_options_that_make_no_sense_are_refused(
    home: Home, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(TaskConfigurationError) as refused:
        home.new().options(**options)
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"overlap": "sometimes"}, "use one of 'skip', 'queue', 'allow'"),
        ({"max_queued": -1}, "max_queued=-1"),
        ({"max_runs": 0}, "max_runs=0 must be a whole number from 1"),
        ({"run_on_startup": 1}, "must be True or False"),
        ({"pause_after_failures": 0}, "pause_after_failures=0"),
        ({"concurrency_key": "{nobody}"}, "doesn't fit the arguments: KeyError('nobody')"),
        ({"retries": -1}, "retries=-1"),
    ],
)
def test_policies_that_make_no_sense_are_refused(
    home: Home, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(TaskConfigurationError) as refused:
        home.new().add_task(jobs.note, "interval", minutes=1, id="task", **options)
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_concurrent_runs": 0}, "max_concurrent_runs=0"),
        ({"default_timeout": 0}, "let nothing through"),
        ({"result_ttl": -1}, "must not be negative"),
        ({"max_history": -1}, "max_history=-1"),
        ({"cleanup_interval": "1h"}, "is not a duration"),
        ({"cleanup_interval": 0}, "at least a tenth of a second"),
        ({"log_level": "LOUD"}, "'LOUD' is no level of logging"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        Scheduler(config=SchedulerConfig(**settings))
    assert message in str(refused.value)


def test_what_could_never_run_is_not_submitted(home: Home) -> None:
    scheduler = home.new()
    with pytest.raises(SchedulerStateError, match="connect"):
        scheduler.submit(jobs.note)
    scheduler.start()
    with pytest.raises(InvalidInputError, match="takes 0 positional"):
        scheduler.submit(jobs.fail, 1)
    with pytest.raises(InvalidInputError, match="can't be stored"):
        scheduler.submit(jobs.note, object())
    with pytest.raises(InvalidInputError, match="generator"):
        scheduler.options(store="local").submit(_generator)
    assert scheduler.get_runs() == []


def _generator() -> Iterator[int]:
    yield 1


def test_what_only_this_process_knows_needs_a_store_of_its_own(home: Home) -> None:
    scheduler = home.start()
    if home.persistent:
        with pytest.raises(InvalidInputError, match="<lambda>"):
            scheduler.submit(lambda: jobs.note(1))
    run = scheduler.options(store="local").submit(lambda: jobs.note(2))
    scheduler.step()
    assert (run.store, run.status, jobs.calls) == ("local", "completed", [(2,)])


# --- what of a task holds -----------------------------------------------------------------------


def test_a_decorated_task_says_how_it_is_executed_when_submitted(home: Home) -> None:
    scheduler = home.new()
    scheduler.task(
        "interval", hours=1, name="Note it", tags=["a"], retries=2, timeout=7, priority=3,
        concurrency_key="note",
    )(jobs.note)  # fmt: skip
    scheduler.start()
    run = scheduler.submit(jobs.note, 1)
    other = scheduler.options(priority=-1, name="Other").submit(jobs.note, 2)
    info = run.snapshot()
    assert (info.name, info.priority) == ("Note it", 3)
    assert info.task_id == "tests.unit.scheduler.jobs:note"
    assert (info.source, info.concurrency_key) == ("manual", "note")
    assert (other.name, other.snapshot().priority) == ("Other", -1)
    scheduler.pause_task(info.task_id)
    scheduler.step()
    assert jobs.calls == [(1,), (2,)]
    assert scheduler.get_task(info.task_id).snapshot().active_runs == 0


def test_arguments_of_a_partial_are_submitted(home: Home) -> None:
    scheduler = home.start()
    run = scheduler.submit(partial(jobs.add, 2), b=3)
    scheduler.step()
    assert (run.result, run.task_id) == (5, "tests.unit.scheduler.jobs:add")


def test_the_key_of_a_task_follows_its_arguments(home: Home) -> None:
    scheduler = home.new()
    task = scheduler.add_task(
        jobs.add, "interval", hours=1, id="task", args=[1], concurrency_key="{a}-{b}"
    )
    assert task.snapshot().concurrency_key == "1-1"
    scheduler.start()
    task.update(args=[5], kwargs={"b": 6})
    assert task.snapshot().concurrency_key == "5-6"
    task.update(concurrency_key="all")
    assert task.snapshot().concurrency_key == "all"
    task.update(concurrency_key=None)
    assert task.snapshot().concurrency_key is None


# --- waiting ------------------------------------------------------------------------------------


def test_a_wait_has_an_end(home: Home) -> None:
    scheduler = home.start()
    run = scheduler.options(start_in=60).submit(jobs.note)
    with pytest.raises(WaitTimeoutError, match=r"isn't over after 0\.01 s"):
        run.wait(0.01)
    assert issubclass(WaitTimeoutError, TimeoutError)
    scheduler.advance(seconds=60)
    assert run.wait(0).status == "completed"


def test_a_client_waits_for_what_others_execute(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/tasks.db"
    with Scheduler(url) as worker, Scheduler(url).connect() as client:
        run = client.submit(jobs.add, 20, 22)
        assert run.wait(PATIENCE_S).result == 42
        assert worker.get_run(run.id).status == "completed"


def test_waiting_on_a_running_loop_is_refused_and_awaiting_is_not(home: Home) -> None:
    scheduler = home.start()

    async def main() -> Any:
        run = await scheduler.aio.submit(jobs.add, 1, 2)
        with pytest.raises(SchedulerStateError, match="await run"):
            run.wait()
        first = await run
        assert (await run).result == first.result
        options = scheduler.options(name="other")
        other = await options.aio.submit(jobs.coroutine)
        assert (await other.aio.wait(PATIENCE_S)).result == "done"
        return first.result

    assert asyncio.run(main()) == 3


def test_callbacks_are_called_once_when_a_run_is_over(home: Home) -> None:
    scheduler = home.start()
    told: list[Any] = []
    run = scheduler.options(start_in=60).submit(jobs.add, 1)
    run.add_done_callback(lambda each: told.append(each.result))

    async def on_loop(each: Any) -> None:
        told.append(each.status)

    run.add_done_callback(on_loop)
    scheduler.step()
    assert told == []
    scheduler.advance(seconds=60)
    assert told == [2, "completed"]
    run.add_done_callback(lambda _: told.append("late"))
    scheduler.step()
    assert told == [2, "completed", "late"]
    with pytest.raises(InvalidInputError, match="can't be called"):
        run.add_done_callback("nothing")  # type: ignore[arg-type]


def test_a_forgotten_run_is_not_waited_for(home: Home) -> None:
    config = SchedulerConfig(cleanup_interval=1)
    scheduler = home.start(config=config)
    run = scheduler.options(keep="none").submit(jobs.note)
    scheduler.step()
    # There is a moment to look at it.
    scheduler.advance(seconds=9)
    assert scheduler.get_run(run.id).status == "completed"
    scheduler.advance(seconds=2)
    with pytest.raises(RunNotFoundError, match=run.id):
        run.wait(PATIENCE_S)


# --- trying again, cancelling -------------------------------------------------------------------


def test_only_what_is_over_can_be_tried_again(home: Home) -> None:
    scheduler = home.start()
    run = scheduler.options(start_in=60).submit(jobs.note)
    with pytest.raises(ConflictError, match="is pending"):
        run.retry()
    task = scheduler.add_task(jobs.note, "interval", minutes=1, id="task")
    scheduler.advance(minutes=1)
    [of_task] = task.get_runs()
    task.remove()
    with pytest.raises(TaskNotFoundError, match="which is gone"):
        scheduler.retry_run(of_task.id)


def test_events_tell_of_retries_cancels_and_timeouts(home: Home) -> None:
    scheduler = home.start(hang_s=0.1)
    told: list[tuple[str, Any]] = []
    kinds = (
        events.RunRetrying, events.RunFailed, events.RunCancelled, events.RunTimedOut,
    )  # fmt: skip
    for kind in kinds:
        scheduler.on(kind, lambda event: told.append((type(event).__name__, event.reason)))
    scheduler.options(retries=1).submit(jobs.fail)
    waiting = scheduler.options(start_in=60).submit(jobs.note)
    scheduler.step()
    waiting.cancel("changed my mind")
    scheduler.options(timeout=5).submit(jobs.forever)
    scheduler.advance(seconds=5)
    assert told == [
        ("RunRetrying", "attempt 1 failed, to be tried again: RuntimeError: the disk is full"),
        ("RunFailed", None),
        ("RunCancelled", "changed my mind"),
        ("RunTimedOut", "it ran longer than its timeout of 5 s"),
    ]


class Busy(InlineExecutor):
    """Has places, and starts nothing at once."""

    def idle(self) -> int:
        return 0


def test_a_run_that_waits_to_be_marked_is_cancelled(home: Home) -> None:
    busy = Busy()
    scheduler = home.start(executors={"busy": busy})
    run = scheduler.options(delivery="at_most_once", executor="busy").submit(jobs.note)
    tick(scheduler)
    assert run.snapshot().attempt == 1
    run.cancel("no")
    tick(scheduler)
    tick(scheduler)
    info = run.snapshot()
    assert (info.status, info.started_at, info.reason) == ("cancelled", None, "no")
    assert (jobs.calls, busy.reserve(10**9)) == ([], 1_000_000)


# --- slow stores --------------------------------------------------------------------------------


class Slow(MemoryStore):
    """A memory store whose steps take their time when asked to."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__()
        self._clock = clock
        self.before: Callable[[], object] = lambda: None

    def plan(self, request: Any) -> Any:
        self.before()
        return super().plan(request)


def test_a_run_that_ended_in_time_is_not_timed_out_by_a_slow_store() -> None:
    clock = ManualClock()
    store = Slow(clock)
    with SteppedScheduler(store, clock=clock) as scheduler:
        run = scheduler.options(timeout=1, retries=3).submit(jobs.add, 1)
        done = threading.Event()
        loops = scheduler._loops()  # noqa: SLF001  a tick by hand, in the middle of which time passes
        loops[0].tick()

        def pass_time() -> None:
            clock.advance(seconds=5)
            done.set()

        store.before = pass_time
        while not done.is_set():
            loops[0].tick()
        store.before = lambda: None
        scheduler.step()
        info = run.snapshot()
    assert (info.status, info.attempt, info.errors) == ("completed", 1, [])


# --- many ---------------------------------------------------------------------------------------


def test_memory_stays_flat_over_many_runs() -> None:
    config = SchedulerConfig(max_history=1_000, cleanup_interval=1)
    settings = LoopSettings(threaded=False)
    sizes = []
    with SteppedScheduler(config=config, settings=settings, patience_s=60) as scheduler:
        for number in range(100):
            scheduler.add_task(_nothing, "interval", seconds=1, id=f"{number}", max_history=10)
        for _ in range(4):
            scheduler.advance(seconds=500)
            gc.collect()
            sizes.append((len(gc.get_objects()), len(scheduler.get_runs(limit=100_000))))
        made = sum(task.runs_made for task in scheduler.get_tasks(limit=200))
    assert made == 200_000
    # Ten of each, and those of the second since the last look.
    assert {kept for _, kept in sizes} == {1_100}
    objects = [count for count, _ in sizes]
    assert max(objects[1:]) - objects[1] < 5_000


async def _nothing() -> None:
    return None


def test_the_seconds_of_a_timeout_are_those_of_the_scheduler() -> None:
    assert LoopSettings().timeout_us is None
    config = SchedulerConfig(default_timeout=2.5, result_ttl=60, cleanup_interval=5)
    applied = config.applied(LoopSettings())
    assert (applied.timeout_us, applied.result_ttl_us, applied.prune_us) == (
        5 * SECOND // 2, 60 * SECOND, 5 * SECOND,
    )  # fmt: skip
