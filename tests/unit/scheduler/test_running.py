"""From fire times to runs: policies, executors, outcomes."""

import contextvars
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.unit.scheduler import jobs
from tests.unit.scheduler.conftest import Home
from tickwork import Scheduler, TaskError
from tickwork.scheduler.loop import LoopSettings

START = datetime(2026, 1, 1, tzinfo=UTC)


def minute(number: float) -> datetime:
    return START + timedelta(minutes=number)


def shapes(scheduler: Scheduler, **filters: Any) -> list[tuple[str, float, float, int]]:
    found = []
    for run in reversed(scheduler.get_runs(limit=1000, **filters)):
        assert run.first_fire_time is not None
        assert run.last_fire_time is not None
        first, last = (
            (each - START) / timedelta(minutes=1)
            for each in (run.first_fire_time, run.last_fire_time)
        )
        found.append((run.status.value, first, last, run.fire_count))
    return found


# --- policies -----------------------------------------------------------------------------------


def test_twenty_due_twenty_run_none_twice(home: Home) -> None:
    scheduler = home.start()
    for number in range(20):
        scheduler.add_task(jobs.note, every="1m", id=str(number), args=[number])
    scheduler.advance(minutes=5)
    assert sorted(jobs.calls) == sorted((number,) for number in range(20) for _ in range(5))
    slots = {(run.task_id, run.fire_time) for run in scheduler.get_runs(limit=1000)}
    assert len(slots) == len(scheduler.get_runs(limit=1000)) == 100


@pytest.mark.parametrize(
    ("coalesce", "expected"),
    [
        (True, [("completed", 1, 5, 5)]),
        ("latest", [("completed", 1, 5, 5)]),
        ("earliest", [("completed", 1, 5, 5)]),
        (False, [("completed", n, n, 1) for n in range(1, 6)]),
    ],
)
def test_what_was_slept_through_is_caught_up(
    coalesce: Any, expected: list[Any], home: Home
) -> None:
    home.start().add_task(jobs.note, every="1m", id="a", coalesce=coalesce)
    home.clock.advance(minutes=5)
    scheduler = home.start()
    scheduler.step()
    assert shapes(scheduler) == expected
    assert len(jobs.calls) == len(expected)
    fire_time = scheduler.get_runs(limit=1)[0].fire_time
    assert fire_time == minute(1 if coalesce == "earliest" else 5)


def test_the_runs_of_a_catch_up_never_run_side_by_side(home: Home) -> None:
    home.start().add_task(jobs.overlap, every="1m", id="a", coalesce="all")
    home.start().add_task(jobs.overlap, every="1m", id="b", coalesce="all", max_instances=3)
    home.clock.advance(minutes=12)
    scheduler = home.start()
    scheduler.step()
    assert shapes(scheduler, task="a") == [("completed", n, n, 1) for n in range(1, 13)]
    assert shapes(scheduler, task="b") == [("completed", n, n, 1) for n in range(1, 13)]
    assert max(jobs.calls) <= 4


def test_a_catch_up_of_thousands_loses_none(home: Home) -> None:
    home.start().add_task(jobs.note, every="1s", id="a", coalesce="all", max_instances=10)
    home.clock.advance(seconds=2500)
    scheduler = home.start()
    scheduler.step()
    assert len(jobs.calls) == 2500
    assert scheduler.get_task("a").snapshot().active_runs == 0


def test_misfires_are_recorded_and_not_executed(home: Home) -> None:
    home.start().add_task(jobs.note, every="1m", id="a", coalesce="all", misfire_grace_time=120)
    home.clock.advance(minutes=10)
    scheduler = home.start()
    scheduler.step()
    assert shapes(scheduler) == [
        ("missed", 1, 7, 7), ("completed", 8, 8, 1), ("completed", 9, 9, 1),
        ("completed", 10, 10, 1),
    ]  # fmt: skip
    (missed,) = scheduler.get_runs(status="missed")
    assert "misfire_grace_time is 120 s" in (missed.reason or "")


def test_a_fire_time_that_meets_an_earlier_run_is_skipped(memory_home: Home) -> None:
    scheduler = memory_home.start()
    task = scheduler.add_task(jobs.wait_for_go, every="1m", id="b", max_instances=2)
    loops = scheduler._loops()  # noqa: SLF001  stepping would wait for the runs to end
    for _ in range(4):
        scheduler.clock.advance(minutes=1)
        for loop in loops:
            loop.tick()
    assert [run.status for run in reversed(task.get_runs())][2:] == ["skipped", "skipped"]
    assert "2 runs of it are pending or running" in (task.get_runs()[0].reason or "")
    jobs.go.set()
    scheduler.step()
    assert shapes(scheduler) == [
        ("completed", 1, 1, 1), ("completed", 2, 2, 1), ("skipped", 3, 3, 1), ("skipped", 4, 4, 1),
    ]  # fmt: skip
    scheduler.advance(minutes=1)
    assert shapes(scheduler)[4:] == [("completed", 5, 5, 1)]


def test_jitter_delays_a_run_and_leaves_its_fire_time(home: Home) -> None:
    scheduler = home.start()
    scheduler.add_task(jobs.note, every="1m", id="a", jitter=30)
    scheduler.advance(minutes=20)
    scheduler.advance(seconds=31)
    runs = list(reversed(scheduler.get_runs()))
    assert [run.fire_time for run in runs] == [minute(n) for n in range(1, 21)]
    delays = []
    for run in runs:
        assert run.fire_time is not None
        assert run.started_at is not None
        delays.append((run.started_at - run.fire_time).total_seconds())
        assert run.lateness == 0.0
    assert all(0 <= delay <= 30 for delay in delays)
    assert len(set(delays)) == 20


def test_a_fixed_delay_counts_from_the_end_of_each_run(home: Home) -> None:
    scheduler = home.start(executors={"inline": "inline"})
    task = scheduler.add_task(jobs.note, every="1m", id="a", fixed_delay=True, executor="inline")
    scheduler.advance(minutes=3, seconds=30)
    home.clock.advance(minutes=10)
    scheduler.advance(minutes=1)
    assert shapes(scheduler) == [
        ("completed", 1, 1, 1), ("completed", 2, 2, 1), ("completed", 3, 3, 1),
        ("completed", 4, 13, 10), ("completed", 14.5, 14.5, 1),
    ]  # fmt: skip
    assert task.next_run_time == minute(15.5)


def test_history_is_kept_as_long_as_the_task_says(home: Home) -> None:
    scheduler = home.start(settings=LoopSettings(threaded=False, max_history=5))
    scheduler.add_task(jobs.note, every="1m", id="a")
    scheduler.add_task(jobs.note, every="1m", id="b", max_history=2)
    scheduler.add_task(jobs.note, every="1m", id="c", max_history=0)
    scheduler.advance(minutes=20)
    scheduler.advance(seconds=61)
    kept = [len(scheduler.get_runs(task=each)) for each in "abc"]
    assert len(jobs.calls) == 63
    assert kept[0] <= 5 + 1
    assert kept[1] <= 2 + 1
    assert kept[2] <= 1
    assert scheduler.get_runs(task="a")[0].fire_time == minute(21)


# --- outcomes -----------------------------------------------------------------------------------


def test_a_failure_is_recorded_with_its_error(home: Home) -> None:
    scheduler = home.start()
    scheduler.add_task(jobs.fail, every="1m", id="a")
    scheduler.advance(minutes=2)
    assert jobs.calls == ["fail"] * 2
    run = scheduler.get_runs()[0]
    assert (run.status, run.failures, run.attempt) == ("failed", 1, 1)
    assert run.error is not None
    assert (run.error["type"], run.error["message"]) == ("RuntimeError", "the disk is full")
    assert "in fail" in run.error["traceback"]
    assert run.errors == [run.error]


def test_an_error_raised_on_purpose_keeps_its_code_and_details(memory_home: Home) -> None:
    def refuse() -> None:
        raise TaskError("sold_out", "no tea", {"left": 0})

    scheduler = memory_home.start()
    scheduler.add_task(refuse)
    scheduler.step()
    error = scheduler.get_runs()[0].error
    assert error is not None
    assert (error["code"], error["details"]) == ("sold_out", {"left": 0})


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit(), Exception])
def test_whatever_a_function_raises_only_its_run_fails(
    error: BaseException, memory_home: Home
) -> None:
    def explode() -> None:
        raise error

    async def explode_async() -> None:
        raise error

    scheduler = memory_home.start()
    scheduler.add_task(explode, every="1m")
    scheduler.add_task(explode_async, every="1m")
    scheduler.add_task(jobs.note, every="1m")
    scheduler.add_task(jobs.coroutine, every="1m")
    scheduler.advance(minutes=2)
    assert [len(scheduler.get_runs(status=each)) for each in ("failed", "completed")] == [4, 4]


@pytest.mark.parametrize("kind", ["thread", "process"])
def test_a_result_that_can_not_be_stored_leaves_the_run_completed_with_a_note(
    kind: str, home: Home
) -> None:
    scheduler = home.start()
    scheduler.add_task(jobs.unstorable, executor=f"{kind}pool")
    scheduler.patience_s = 30
    scheduler.step()
    (run,) = scheduler.get_runs()
    assert (run.status, run.result, run.error) == ("completed", None, None)
    assert "can't be stored: return plain data" in (run.reason or "")


def test_results_come_back_as_they_were(home: Home) -> None:
    scheduler = home.start()
    scheduler.add_task(jobs.give_back, args=[{"when": START, "what": {1, 2}, "none": None}])
    scheduler.step()
    assert scheduler.get_runs()[0].result == {"when": START, "what": {1, 2}, "none": None}


def test_a_run_that_hangs_is_named_by_the_stepped_scheduler(memory_home: Home) -> None:
    scheduler = memory_home.start(patience_s=0.1)
    scheduler.add_task(jobs.wait_for_go, id="sleeper")
    with pytest.raises(AssertionError, match="sleeper"):
        scheduler.step()


# --- executors ----------------------------------------------------------------------------------


def test_coroutines_run_on_a_loop_and_functions_in_threads(home: Home) -> None:
    scheduler = home.start()
    scheduler.add_task(jobs.coroutine, id="a")
    scheduler.add_task(jobs.name_of_thread, id="b")
    scheduler.step()
    runs = {run.task_id: run.result for run in scheduler.get_runs()}
    assert runs["a"] == "done"
    assert runs["b"] != "MainThread"
    assert jobs.calls[0][1] != runs["b"]


def test_a_process_pool_runs_what_it_can_import(home: Home) -> None:
    scheduler = home.start(patience_s=30)
    task = scheduler.add_task(jobs.name_of_process, executor="processpool")
    scheduler.step()
    (run,) = task.get_runs()
    assert run.status == "completed"
    assert run.result != "MainProcess"


@pytest.mark.parametrize("function", [jobs.leak, jobs.leak_async])
@pytest.mark.parametrize("executor", [None, "inline"])
def test_context_variables_do_not_leak(
    function: Any, executor: str | None, memory_home: Home
) -> None:
    def start() -> Scheduler:
        jobs.seen.set("the application's")
        options: dict[str, Any] = {"executors": {"inline": "inline"}}
        return memory_home.start(**options)

    scheduler = contextvars.copy_context().run(start)
    for name in "abc":
        scheduler.add_task(function, every="1m", args=[name], executor=executor)
    scheduler.advance(minutes=3)  # type: ignore[attr-defined]
    assert len(jobs.calls) == 9
    assert {found for _, found in jobs.calls} <= {"the application's", "nothing"}
    assert jobs.seen.get() == "nothing"


def test_a_full_pool_delays_and_drops_nothing(home: Home) -> None:
    scheduler = home.start(executors={"one": {"type": "threadpool", "max_workers": 1}})
    for number in range(50):
        scheduler.add_task(jobs.overlap, every="1m", id=str(number), executor="one")
    scheduler.advance(minutes=2)
    assert len(jobs.calls) == 100
    assert max(jobs.calls) == 1


def test_the_order_of_what_is_due_is_kept(home: Home) -> None:
    scheduler = home.start(executors={"inline": "inline"})
    for number in (3, 1, 2):
        scheduler.add_task(
            jobs.note, "date", run_at=minute(number), args=[number], executor="inline"
        )
    home.clock.advance(minutes=5)
    scheduler.step()
    assert jobs.calls == [(1,), (2,), (3,)]


def test_suspects_and_at_most_once_are_marked_before_they_start(home: Home) -> None:
    scheduler = home.start()
    task = scheduler.add_task(jobs.note, every="1m", id="a", delivery="at_most_once")
    scheduler.advance(minutes=3)
    assert len(jobs.calls) == 3
    assert [run.status for run in task.get_runs()] == ["completed"] * 3
    assert all(run.started_at for run in task.get_runs())


def test_a_clock_that_is_set_back_fires_nothing_twice(home: Home) -> None:
    scheduler = home.start()
    scheduler.add_task(jobs.note, every="1m", id="a")
    scheduler.advance(minutes=5)
    home.clock.advance(minutes=-3)
    scheduler.advance(minutes=4)
    assert shapes(scheduler) == [("completed", n, n, 1) for n in range(1, 7)]
    assert len(jobs.calls) == 6


def test_a_task_that_changes_itself_while_it_runs(memory_home: Home) -> None:
    scheduler = memory_home.start()
    task = scheduler.add_task(lambda: task.reschedule("interval", minutes=2), every="1m", id="a")
    scheduler.advance(minutes=6)
    assert shapes(scheduler) == [("completed", n, n, 1) for n in (1, 3, 5)]


def test_a_task_that_adds_tasks_while_it_runs(memory_home: Home) -> None:
    scheduler = memory_home.start()

    def branch(depth: int) -> None:
        jobs.calls.append(depth)
        if depth:
            for _ in range(2):
                scheduler.add_task(branch, args=[depth - 1])

    scheduler.add_task(branch, args=[6])
    scheduler.step()
    assert len(jobs.calls) == 2**7 - 1


def test_two_nodes_never_execute_a_slot_twice(sqlite_home: Home) -> None:
    nodes = [sqlite_home.start() for _ in range(3)]
    for number in range(10):
        nodes[0].add_task(jobs.note, every="1m", id=str(number), args=[number])
    for turn in range(20):
        sqlite_home.clock.advance(minutes=1)
        for node in nodes[turn % 3 :] + nodes[: turn % 3]:
            node.step()
    assert sorted(jobs.calls) == sorted((n,) for n in range(10) for _ in range(20))
