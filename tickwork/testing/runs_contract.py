"""What becomes of runs, whatever store keeps them: a suite of tests over real schedulers.

Subclass `RunsContract`, say how a store is made (see `tickwork.testing.store_contract`), run it.
Time is a `ManualClock`'s; runs execute for real. Needs no test framework.
"""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import Any

from tickwork.errors import RunNotFoundError, TaskError
from tickwork.executors.threads import ThreadPoolExecutor
from tickwork.interfaces import Store
from tickwork.model.current import current_run
from tickwork.model.policies import RunState
from tickwork.scheduler.config import SchedulerConfig
from tickwork.testing.clock import ManualClock
from tickwork.testing.stepping import SteppedScheduler
from tickwork.testing.store_contract.bench import raised
from tickwork.testing.store_contract.case import StoreCase

__all__ = ["RunsContract"]

_PATIENCE_S = 120.0
_LEASE_S = 31


class _Scene:
    """What the functions of a test share with it: another one for each test."""

    def __init__(self) -> None:
        self.calls: list[Any] = []
        self.go = threading.Event()
        self.began = threading.Event()
        self.failures = 0
        self.running = 0
        self.peak = 0
        self.full = asyncio.Event()


scene = _Scene()


def note(*values: Any) -> Any:
    """Note a call, and return what it was called with."""
    scene.calls.append(values)
    return values[0] if values else None


def fail_at_first() -> str:
    """Fail as often as the scene says, then work."""
    run = current_run()
    scene.calls.append(run.attempt)
    if run.attempt <= scene.failures:
        raise TaskError("busy", "not yet", {"attempt": run.attempt})
    return "done"


def fail(kind: str = "ValueError") -> None:
    """Raise an error of a kind."""
    scene.calls.append(kind)
    raise {"ValueError": ValueError, "OSError": ConnectionError, "Timeout": TimeoutError}[kind](
        kind
    )


async def wait_for_ever() -> None:
    """Never end."""
    scene.calls.append("waiting")
    scene.began.set()
    await asyncio.Event().wait()


def wait_for_go() -> str:
    """Hold a thread until the test lets it go."""
    mine = scene
    mine.calls.append("waiting")
    mine.began.set()
    mine.go.wait(_PATIENCE_S)
    return "went"


async def meet_others(most: int) -> None:
    """Count who is here at the same time; the first wait until all that may be here are."""
    scene.running += 1
    scene.peak = max(scene.peak, scene.running)
    if scene.running == most:
        scene.full.set()
    await scene.full.wait()
    scene.running -= 1


def report() -> None:
    """Say how far it has come."""
    run = current_run()
    for done in range(1, 11):
        run.progress((done, 10), f"{done} of 10")


class RunsContract(StoreCase):
    """The contract about what becomes of runs."""

    @contextmanager
    def scheduler(self, store: Store | None = None, **options: Any) -> Iterator[SteppedScheduler]:
        """Give a started scheduler, on a new store unless one is given."""
        global scene  # noqa: PLW0603  what functions that a store names can share with their test
        scene = _Scene()
        clock = options.pop("clock", None) or ManualClock()
        made = SteppedScheduler(
            store or self.make_store(), clock=clock, patience_s=_PATIENCE_S, **options
        )
        made.start()
        try:
            yield made
        finally:
            scene.go.set()
            made.stop(timeout=1)

    # -- on demand

    def test_a_submitted_function_is_executed_once(self) -> None:
        """With its arguments; the handle shows what became of it."""
        with self.scheduler() as scheduler:
            run = scheduler.submit(note, 1, "zwei")
            assert (run.status, run.name, run.source, run.attempt) == (
                "pending",
                "note",
                "manual",
                0,
            )
            info = run.wait(_PATIENCE_S)
            assert scene.calls == [(1, "zwei")]
            assert (info.status, info.result, info.attempt) == ("completed", 1, 1)
            assert (run.result, run.error, run.progress) == (1, None, None)
            assert run.created_at == run.started_at == run.completed_at == scheduler.clock.now()
            assert [each.id for each in scheduler.get_runs()] == [run.id]
            assert scheduler.get_tasks() == []

    def test_a_delayed_run_waits_for_its_time(self) -> None:
        """It starts then."""
        with self.scheduler() as scheduler:
            run = scheduler.options(start_in=60, name="later").submit(note)
            assert (run.name, scheduler.get_run(run.id).name) == ("later", "later")
            scheduler.advance(seconds=59)
            assert (run.status, scene.calls) == ("pending", [])
            scheduler.advance(seconds=1)
            assert (run.status, scene.calls) == ("completed", [()])

    def test_an_urgent_run_comes_first(self) -> None:
        """Of those that wait, the highest priority."""
        with self.scheduler(config=SchedulerConfig(max_concurrent_runs=1)) as scheduler:
            scheduler.pause()
            for priority in (0, 5, -5, 1):
                scheduler.options(priority=priority).submit(note, priority)
            scheduler.resume()
            scheduler.step()
            assert scene.calls == [(5,), (1,), (0,), (-5,)]

    def test_unknown_runs_are_not_found(self) -> None:
        """One error for all that can be done with a run."""
        with self.scheduler() as scheduler:
            for call in (scheduler.get_run, scheduler.cancel_run, scheduler.retry_run):
                assert "'nothing'" in raised(RunNotFoundError, partial(call, "nothing"))

    # -- retries

    def test_a_failed_run_is_tried_again_after_its_waits(self) -> None:
        """`retries=3, delay=0.1, backoff=2` waits 0.1, 0.2 and 0.4 seconds."""
        with self.scheduler() as scheduler:
            scene.failures = 3
            began = scheduler.clock.now()
            run = scheduler.options(retries=3, delay=0.1, backoff=2.0).submit(fail_at_first)
            waits = []
            for wait_s in (0.1, 0.2, 0.4):
                scheduler.step()
                info = run.snapshot()
                assert (info.status, info.error) == ("pending", None)
                assert info.next_attempt_at is not None
                waits.append((info.next_attempt_at - scheduler.clock.now()).total_seconds())
                scheduler.advance(seconds=wait_s)
            assert waits == [0.1, 0.2, 0.4]
            assert scene.calls == [1, 2, 3, 4]
            info = run.snapshot()
            assert (info.status, info.result, info.attempt, info.failures) == (
                "completed", "done", 4, 3,
            )  # fmt: skip
            assert [(each["code"], each["details"]) for each in info.errors] == [
                ("busy", {"attempt": attempt}) for attempt in (1, 2, 3)
            ]
            assert info.completed_at == began + timedelta(seconds=0.7)

    def test_a_run_without_retries_left_has_failed(self) -> None:
        """After as many attempts as there may be."""
        with self.scheduler() as scheduler:
            run = scheduler.options(retries=1, delay=1).submit(fail)
            scheduler.advance(minutes=5)
            info = run.snapshot()
            assert (info.status, info.attempt, len(info.errors)) == ("failed", 2, 2)
            assert info.error is not None
            assert (info.error["type"], info.error["message"]) == ("ValueError", "ValueError")
            assert scene.calls == ["ValueError"] * 2

    def test_only_some_errors_are_tried_again(self) -> None:
        """Those of `retry_on`, and none of `give_up_on`, by their classes."""
        with self.scheduler() as scheduler:
            cases: list[tuple[dict[str, Any], str, int]] = [
                ({"retry_on": OSError}, "OSError", 2),
                ({"retry_on": [OSError, KeyError]}, "ValueError", 1),
                ({"retry_on": ["OSError"]}, "Timeout", 2),
                ({"give_up_on": [ValueError]}, "ValueError", 1),
                ({"give_up_on": [ValueError]}, "OSError", 2),
                ({"retry_on": [OSError], "give_up_on": [TimeoutError]}, "Timeout", 1),
            ]
            for options, kind, attempts in cases:
                run = scheduler.options(retries=1, **options).submit(fail, kind)
                scheduler.step()
                assert (run.status, run.attempt) == ("failed", attempts)

    def test_a_task_that_waits_for_a_retry_counts_as_running(self) -> None:
        """Its fire times are skipped meanwhile, and accounted for."""
        with self.scheduler() as scheduler:
            scene.failures = 1
            task = scheduler.add_task(
                fail_at_first, "interval", minutes=1, id="task", retries=1, delay=90
            )
            scheduler.advance(minutes=4)
            states = [(each.status, each.attempt) for each in task.get_runs()][::-1]
            assert states == [
                ("completed", 2), ("skipped", 0), ("pending", 1), ("skipped", 0),
            ]  # fmt: skip

    # -- time-outs

    def test_a_coroutine_is_timed_out(self) -> None:
        """It is cancelled, and tried again where that is wanted."""
        with self.scheduler(hang_s=0.1) as scheduler:
            run = scheduler.options(timeout=10, retries=1).submit(wait_for_ever)
            scheduler.advance(seconds=9)
            assert (run.status, run.attempt) == ("running", 1)
            scheduler.advance(seconds=1)
            assert run.attempt == 2
            scheduler.advance(seconds=10)
            info = run.snapshot()
            assert (info.status, info.attempt, scene.calls) == ("timeout", 2, ["waiting"] * 2)
            assert info.reason == "it ran longer than its timeout of 10 s"
            assert [each["type"] for each in info.errors] == ["Timeout"] * 2

    def test_a_thread_is_timed_out_and_keeps_its_place(self) -> None:
        """Its run is over for everybody, but counts until the function returns."""
        with self.scheduler(hang_s=0.1) as scheduler:
            task = scheduler.add_task(wait_for_go, "interval", minutes=1, id="task", timeout=10)
            scheduler.advance(seconds=70)
            [run] = task.get_runs()
            assert (run.status, task.snapshot().active_runs) == ("timeout", 1)
            assert run.reason is not None
            assert "still runs" in run.reason
            scheduler.advance(seconds=60)
            assert [each.status for each in task.get_runs()] == ["skipped", "timeout"]
            scene.go.set()
            self._settle(scheduler, run.id)
            ended = scheduler.get_run(run.id)
            assert (ended.status, ended.completed_at) == (run.status, run.completed_at)
            assert "returned after" in (ended.reason or "")
            assert task.snapshot().active_runs == 0

    def test_a_timed_out_thread_is_not_tried_again_before_it_returns(self) -> None:
        """And then it is, whatever it returned."""
        with self.scheduler(hang_s=0.1) as scheduler:
            run = scheduler.options(timeout=10, retries=1).submit(wait_for_go)
            scheduler.advance(minutes=5)
            assert (run.status, run.attempt, scene.calls) == ("running", 1, ["waiting"])
            scene.go.set()
            self._settle(scheduler, run.id)
            scheduler.step()
            info = run.snapshot()
            assert (info.status, info.attempt, info.result) == ("completed", 2, "went")
            assert [each["type"] for each in info.errors] == ["Timeout"]

    def test_the_default_timeout_holds_for_tasks_without_one(self) -> None:
        """A timeout of its own goes before it; a TimeoutError of its own is a failure."""
        config = SchedulerConfig(default_timeout=10)
        with self.scheduler(hang_s=0.1, config=config) as scheduler:
            short = scheduler.submit(wait_for_ever)
            long = scheduler.options(timeout=30).submit(wait_for_ever)
            failed = scheduler.submit(fail, "Timeout")
            scheduler.advance(seconds=10)
            assert [each.status for each in (short, long, failed)] == [
                "timeout", "running", "failed",
            ]  # fmt: skip
            scheduler.advance(seconds=20)
            assert long.status == "timeout"

    @staticmethod
    def _settle(scheduler: SteppedScheduler, run_id: str) -> None:
        """Let a thread that was let go return, and its end be written."""
        loops = scheduler._loops()  # noqa: SLF001  stepping doesn't wait for what lingers
        turn = threading.Event()
        for _ in range(3_000):
            if not any(loop.has_any([run_id]) for loop in loops):
                return
            scheduler.step()
            turn.wait(0.01)
        raise AssertionError("a thread that was let go didn't return")

    # -- cancelling

    def test_a_pending_run_is_cancelled(self) -> None:
        """It never starts, and stays listed."""
        with self.scheduler() as scheduler:
            run = scheduler.options(start_in=60).submit(note)
            assert run.cancel("not needed")
            assert not run.cancel()
            scheduler.advance(minutes=5)
            info = run.snapshot()
            assert (info.status, info.reason, scene.calls) == ("cancelled", "not needed", [])
            assert [each.id for each in scheduler.get_runs(status="cancelled")] == [run.id]

    def test_a_run_that_waits_for_its_retry_is_cancelled(self) -> None:
        """Its errors stay."""
        with self.scheduler() as scheduler:
            run = scheduler.options(retries=5, delay=60).submit(fail)
            scheduler.step()
            assert run.cancel()
            scheduler.advance(minutes=5)
            assert (run.status, run.attempt, len(run.snapshot().errors)) == ("cancelled", 1, 1)

    def test_a_running_coroutine_is_cancelled_by_another_scheduler(self) -> None:
        """Through the store; it isn't tried again."""
        store = self.make_store()
        second = self.make_second(store)
        with self.scheduler(store, hang_s=0.1) as scheduler:
            run = scheduler.options(timeout=3_600, retries=3).submit(wait_for_ever)
            scheduler.advance(seconds=1)
            assert run.status == "running"
            client = SteppedScheduler(second, clock=scheduler.clock)
            with client.connect():
                assert client.cancel_run(run.id)
                scheduler.advance(seconds=2)
                assert client.get_run(run.id).status == "cancelled"
            assert (run.status, run.attempt, scene.calls) == ("cancelled", 1, ["waiting"])

    def test_a_cancelled_thread_lingers(self) -> None:
        """It is reported as cancelled at once, and goes on until it returns."""
        with self.scheduler(hang_s=0.1) as scheduler:
            run = scheduler.options(timeout=3_600).submit(wait_for_go)
            scheduler.advance(seconds=1)
            assert run.cancel("enough")
            scheduler.advance(seconds=1)
            assert (run.status, scene.calls) == ("cancelled", ["waiting"])
            scene.go.set()
            self._settle(scheduler, run.id)
            assert "returned after" in (scheduler.get_run(run.id).reason or "")

    # -- trying again by hand

    def test_a_run_that_is_over_can_be_executed_again(self) -> None:
        """As a new run, linked to the old one; of tasks as well as of what was submitted."""
        with self.scheduler() as scheduler:
            task = scheduler.add_task(note, args=["task"], id="task")
            first = scheduler.submit(note, "own")
            scheduler.step()
            [of_task] = task.get_runs()
            for old in (first.id, of_task.id):
                again = scheduler.retry_run(old)
                scheduler.step()
                assert again.id != old
                assert (again.status, again.snapshot().retry_of) == ("completed", old)
            assert sorted(scene.calls) == [("own",)] * 2 + [("task",)] * 2

    # -- progress

    def test_the_last_progress_arrives(self) -> None:
        """However fast it came."""
        with self.scheduler() as scheduler:
            run = scheduler.submit(report)
            scheduler.step()
            assert run.progress == {
                "percent": 100.0,
                "done": 10,
                "total": 10,
                "message": "10 of 10",
            }

    # -- many at a time

    def test_no_more_run_at_a_time_than_may(self) -> None:
        """A thousand runs with a limit of ten: ten at the peak, and all are executed."""
        with self.scheduler(config=SchedulerConfig(max_concurrent_runs=10)) as scheduler:
            for _ in range(1_000):
                scheduler.submit(meet_others, 10)
            scheduler.step()
            assert scene.peak == 10
            assert len(scheduler.get_runs(status="completed", limit=2_000)) == 1_000

    def test_no_more_of_a_key_run_at_a_time_than_may(self) -> None:
        """The key is made of the arguments; other keys go on beside it."""
        with self.scheduler() as scheduler:
            options = scheduler.options(concurrency_key="most:{most}", concurrency_limit=3)
            runs = [options.submit(meet_others, 3) for _ in range(20)]
            assert runs[5].snapshot().waits_for == "the concurrency key 'most:3'"
            scheduler.step()
            assert scene.peak == 3
            assert {run.status for run in runs} == {"completed"}

    # -- overlap

    def test_overlapping_runs_are_skipped_queued_or_allowed(self) -> None:
        """As the task says; what is skipped says why."""
        executors = {"threadpool": ThreadPoolExecutor(max_workers=20)}
        with self.scheduler(hang_s=0.1, executors=executors) as scheduler:
            for overlap in ("skip", "queue", "allow"):
                scheduler.add_task(
                    wait_for_go, "interval", minutes=1, id=overlap, overlap=overlap,
                    max_queued=2, timeout=100_000,
                )  # fmt: skip
            scheduler.advance(minutes=5)
            count = partial(self._count, scheduler)
            assert count("skip") == {"running": 1, "skipped": 4}
            assert count("queue") == {"running": 1, "pending": 2, "skipped": 2}
            assert count("allow") == {"running": 5}
            [skipped, _] = scheduler.get_runs(task="queue", status="skipped")
            assert skipped.reason == (
                "3 runs of it are pending or running, max_instances is 1, 2 of them queued, "
                "max_queued is 2"
            )
            scene.go.set()
            scheduler.step()
            assert count("queue") == {"completed": 3, "skipped": 2}

    @staticmethod
    def _count(scheduler: SteppedScheduler, task: str) -> dict[str, int]:
        states = [run.status.value for run in scheduler.get_runs(task=task)]
        return {state: states.count(state) for state in sorted(set(states))}

    # -- ends of tasks

    def test_a_task_makes_as_many_runs_as_it_may(self) -> None:
        """Then it is finished."""
        with self.scheduler() as scheduler:
            task = scheduler.add_task(note, "interval", minutes=1, id="task", max_runs=3)
            scheduler.advance(minutes=10)
            assert len(task.get_runs()) == len(scene.calls) == 3
            info = task.snapshot()
            assert (info.schedule_state, info.runs_made) == ("finished", 3)
            task.update(max_runs=4)
            scheduler.advance(minutes=10)
            assert len(scene.calls) == 4

    def test_skipped_fire_times_do_not_count(self) -> None:
        """Only runs do."""
        with self.scheduler(hang_s=0.1) as scheduler:
            task = scheduler.add_task(
                wait_for_go, "interval", minutes=1, id="task", max_runs=2, timeout=100_000
            )
            scheduler.advance(minutes=3)
            scene.go.set()
            scheduler.advance(minutes=3)
            assert self._count(scheduler, "task") == {"completed": 2, "skipped": 2}
            assert task.schedule_state == "finished"

    def test_a_task_that_keeps_failing_is_paused(self) -> None:
        """With the reason; a run that completes begins the count anew."""
        with self.scheduler() as scheduler:
            task = scheduler.add_task(
                fail, "interval", minutes=1, id="task", pause_after_failures=3
            )
            scheduler.advance(minutes=10)
            info = task.snapshot()
            assert (info.schedule_state, len(scene.calls)) == ("paused", 3)
            assert info.paused_reason == "its last 3 runs have failed"
            task.resume()
            scheduler.advance(minutes=2)
            assert (task.snapshot().failures_in_a_row, task.schedule_state) == (2, "scheduled")

    # -- starts

    def test_a_task_runs_at_each_start(self) -> None:
        """Once, and not while a run of it is under way."""
        store, clock = self.make_store(), ManualClock()
        for times in (1, 2):
            with self.scheduler(store, clock=clock) as scheduler:
                scheduler.stop()
                scheduler.add_task(
                    note, "interval", hours=1, id="task", run_on_startup=True, replace_existing=True
                )
                scheduler.start()
                scheduler.step()
                assert scene.calls == [()]
                sources = [run.source for run in scheduler.get_runs(task="task")]
                assert sources == ["startup"] * times

    # -- restarts and crashes

    def test_what_was_under_way_survives_a_restart(self) -> None:
        """A retry that waits, a queued run and a running one, each as declared."""
        store, clock = self.make_store(), ManualClock()
        with self.scheduler(store, clock=clock, hang_s=0.1) as scheduler:
            scene.failures = 1
            retried = scheduler.options(retries=1, delay=60).submit(fail_at_first)
            key = scheduler.options(concurrency_key="key", timeout=3_600)
            running, queued = key.submit(wait_for_ever), key.submit(note)
            scheduler.advance(seconds=1)
            assert [run.status for run in (retried, running, queued)] == [
                "pending", "running", "pending",
            ]  # fmt: skip
            scheduler.stop(timeout=0)
        with self.scheduler(store, clock=clock, hang_s=0.1) as scheduler:
            scene.failures = 1
            scheduler.advance(seconds=1)
            infos = [scheduler.get_run(run.id) for run in (retried, running, queued)]
            assert [(info.status, info.attempt) for info in infos] == [
                ("pending", 1), ("running", 2), ("pending", 0),
            ]  # fmt: skip
            assert scheduler.cancel_run(running.id)
            scheduler.advance(seconds=60)
            infos = [scheduler.get_run(run.id) for run in (retried, running, queued)]
            assert [(info.status, info.attempt) for info in infos] == [
                ("completed", 2), ("cancelled", 2), ("completed", 1),
            ]  # fmt: skip

    def test_what_was_under_way_survives_a_crash(self) -> None:
        """Another scheduler takes the runs over, and does with each what its delivery says."""
        store = self.make_store()
        second, clock = self.make_second(store), ManualClock()
        with self.scheduler(store, clock=clock, hang_s=0.1) as crashed:
            options = {"timeout": 3_600, "retries": 1}
            twice = crashed.options(**options).submit(wait_for_ever)
            once = crashed.options(**options, delivery="at_most_once").submit(wait_for_ever)
            unwanted = crashed.options(**options).submit(wait_for_ever)
            crashed.advance(seconds=1)
            assert [run.status for run in (twice, once, unwanted)] == ["running"] * 3
            other = SteppedScheduler(second, clock=clock, hang_s=0.1, patience_s=_PATIENCE_S)
            other.start()
            try:
                assert other.cancel_run(unwanted.id)
                clock.set(clock.now_us() + _LEASE_S * 1_000_000)
                other.advance(seconds=1)
                infos = [other.get_run(run.id) for run in (twice, once, unwanted)]
                assert [(info.status, info.attempt) for info in infos] == [
                    ("running", 2), ("lost", 1), ("cancelled", 1),
                ]  # fmt: skip
            finally:
                other.stop(timeout=0)

    # -- history

    def test_history_is_kept_as_told(self) -> None:
        """All, failures only, or nothing; as many as told, for as long as told."""
        config = SchedulerConfig(max_history=5, cleanup_interval=10)
        with self.scheduler(config=config) as scheduler:
            for keep in ("all", "failures", "none"):
                scheduler.add_task(note, "interval", seconds=1, id=f"well {keep}", keep=keep)
                scheduler.add_task(fail, "interval", seconds=1, id=f"badly {keep}", keep=keep)
            short = scheduler.options(result_ttl=30).submit(note)
            scheduler.advance(seconds=25)
            assert scheduler.get_run(short.id).status == "completed"
            for each in scheduler.get_tasks():
                scheduler.pause_task(each.id)
            scheduler.advance(seconds=25)
            kept = {
                each.id: len(scheduler.get_runs(task=each.id)) for each in scheduler.get_tasks()
            }
            assert kept == {
                "well all": 5, "badly all": 5, "well failures": 0, "badly failures": 5,
                "well none": 0, "badly none": 0,
            }  # fmt: skip
            assert [run.status for run in scheduler.get_runs(task=short.task_id)] == []

    # -- the words of a run

    def test_all_ends_are_terminal(self) -> None:
        """A cancelled or timed-out run stays as it is, whatever is done to it."""
        with self.scheduler(hang_s=0.1) as scheduler:
            over = scheduler.options(timeout=1).submit(wait_for_ever)
            gone = scheduler.options(start_in=60).submit(note)
            gone.cancel()
            scheduler.advance(seconds=1)
            for run, state in ((over, RunState.TIMEOUT), (gone, RunState.CANCELLED)):
                assert not scheduler.cancel_run(run.id)
                assert scheduler.get_run(run.id).status is state
