"""What can be done to a task, and what can be seen of it."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import PurePosixPath
from typing import Any
from uuid import UUID

import pytest
from pydantic import ValidationError

from tests.unit.scheduler import jobs
from tests.unit.scheduler.conftest import Home
from tests.unit.scheduler.jobs import use
from tickwork import (
    CronTrigger,
    DateTrigger,
    IntervalTrigger,
    RunNotFoundError,
    Scheduler,
    TaskNotFoundError,
)

START = datetime(2026, 1, 1, tzinfo=UTC)


def minute(number: float) -> datetime:
    return START + timedelta(minutes=number)


def shapes(scheduler: Scheduler, **filters: Any) -> list[tuple[str, float, float, int]]:
    """Return status, range in minutes, and count of each run, oldest first."""
    found = []
    for run in reversed(scheduler.get_runs(limit=1000, **filters)):
        assert run.first_fire_time is not None
        assert run.last_fire_time is not None
        ends = [(each - START) / timedelta(minutes=1) for each in (
            run.first_fire_time, run.last_fire_time,
        )]  # fmt: skip
        found.append((run.status.value, *ends, run.fire_count))
    return found  # type: ignore[return-value]


# --- changes ------------------------------------------------------------------------------------


@pytest.mark.parametrize("by_id", [True, False])
def test_all_that_a_task_can_do_the_scheduler_can_by_id(by_id: bool, home: Home) -> None:
    scheduler = home.start()
    task = scheduler.add_task(jobs.note, "interval", minutes=1, id="a", args=[1])
    if by_id:
        scheduler.update_task("a", args=[2], kwargs={"b": 3}, name="b", tags=["x", "y", "x"])
        scheduler.reschedule_task("a", "interval", minutes=2)
        scheduler.pause_task("a", reason="because")
    else:
        task.update(args=[2], kwargs={"b": 3}, name="b", tags=["x", "y", "x"])
        task.reschedule("interval", minutes=2)
        task.pause("because")
    info = scheduler.get_task_info("a")
    assert info == task.snapshot()
    assert (info.args, info.kwargs, info.name, info.tags) == ([2], {"b": 3}, "b", ("x", "y"))
    assert (info.schedule_state, info.paused_reason) == ("paused", "because")
    scheduler.resume_task("a") if by_id else task.resume()
    scheduler.advance(minutes=2)
    run = scheduler.run_task("a") if by_id else task.run()
    scheduler.step()
    assert jobs.calls == [((2,), {"b": 3})] * 2
    assert (run.task_id, run.snapshot().source) == ("a", "manual")
    scheduler.remove_task("a") if by_id else task.remove()
    for action in (
        task.snapshot, task.pause, task.resume, task.run, task.remove, task.update,
        lambda: scheduler.get_task("a"),
    ):  # fmt: skip
        with pytest.raises(TaskNotFoundError, match="'a'"):
            action()


@pytest.mark.parametrize(
    "given",
    [
        {"trigger": "interval", "minutes": 7},
        {"trigger": IntervalTrigger(minutes=7)},
        {"every": "7m"},
        {"interval": 420},
    ],
)
def test_a_new_schedule_counts_from_now(given: dict[str, Any], home: Home) -> None:
    scheduler = home.start()
    for number, change in enumerate(["update", "reschedule"]):
        task = scheduler.add_task(jobs.note, "interval", minutes=100, id=change)
        scheduler.advance(minutes=2)
        getattr(task, change)(**given)
        assert task.next_run_time == minute(2 * number + 9)


def test_an_update_without_a_schedule_keeps_the_phase(home: Home) -> None:
    scheduler = home.start()
    task = scheduler.add_task(jobs.note, "interval", minutes=10)
    scheduler.advance(minutes=7)
    task.update(max_instances=3, coalesce="all", executor="asyncio")
    assert task.next_run_time == minute(10)
    scheduler.advance(minutes=20)
    assert [run.fire_time for run in task.get_runs()] == [minute(20), minute(10)]


def test_what_was_due_before_a_change_is_planned_by_the_old_definition(home: Home) -> None:
    scheduler = home.start(paused=True)
    task = scheduler.add_task(jobs.note, "interval", minutes=1, coalesce="all", args=["old"])
    home.clock.advance(minutes=3)
    task.reschedule("interval", minutes=10)
    scheduler.resume()
    scheduler.advance(minutes=10)
    assert shapes(scheduler) == [("completed", n, n, 1) for n in (1, 2, 3, 13)]


def test_a_next_run_time_moves_one_fire_time(home: Home) -> None:
    scheduler = home.start()
    task = scheduler.add_task(jobs.note, "interval", minutes=10)
    task.update(next_run_time=minute(3))
    scheduler.advance(minutes=20)
    assert shapes(scheduler) == [("completed", n, n, 1) for n in (3, 10, 20)]
    task.update(next_run_time=minute(41))
    scheduler.advance(minutes=30)
    assert shapes(scheduler)[3:] == [("completed", 41, 41, 1), ("completed", 50, 50, 1)]
    task.update(next_run_time=None)
    assert task.paused


def test_a_finished_task_can_be_given_another_time(home: Home) -> None:
    scheduler = home.start()
    task = scheduler.add_task(jobs.note)
    scheduler.step()
    assert task.schedule_state == "finished"
    task.update(next_run_time=minute(5))
    assert task.schedule_state == "scheduled"
    scheduler.advance(minutes=5)
    task.reschedule("date", run_at=minute(7))
    scheduler.advance(minutes=5)
    task.reschedule("interval", minutes=1)
    scheduler.advance(minutes=2)
    assert shapes(scheduler) == [("completed", n, n, 1) for n in (0, 5, 7, 11, 12)]


def test_pausing_makes_one_skipped_range(home: Home) -> None:
    scheduler = home.start()
    task = scheduler.add_task(jobs.note, "interval", minutes=1, coalesce="all")
    scheduler.advance(minutes=2)
    task.pause()
    task.pause("for lunch")
    scheduler.advance(minutes=5)
    task.resume()
    task.resume()
    scheduler.advance(minutes=2)
    assert shapes(scheduler) == [
        ("completed", 1, 1, 1),
        ("completed", 2, 2, 1),
        ("skipped", 3, 7, 5),
        ("completed", 8, 8, 1),
        ("completed", 9, 9, 1),
    ]
    assert "for lunch" in (scheduler.get_runs(status="skipped")[0].reason or "")


def test_runs_that_were_planned_before_a_pause_go_on(home: Home) -> None:
    scheduler = home.start()
    task = scheduler.add_task(jobs.pause_me, every="1m", id="a", coalesce="all", paused=True)
    task.update(next_run_time=minute(-4))
    with use(scheduler):
        task.resume()
        task.update(next_run_time=minute(1))
        home.clock.advance(minutes=3)
        scheduler.step()
    assert shapes(scheduler)[-3:] == [("completed", n, n, 1) for n in (1, 2, 3)]
    assert task.paused


def test_a_paused_scheduler_plans_nothing_and_skips_nothing(home: Home) -> None:
    scheduler = home.start()
    scheduler.add_task(jobs.note, "interval", minutes=1)
    scheduler.advance(minutes=1)
    scheduler.pause()
    assert scheduler.state == "paused"
    scheduler.advance(minutes=4)
    assert len(jobs.calls) == 1
    scheduler.resume()
    scheduler.advance(minutes=1)
    assert shapes(scheduler) == [
        ("completed", 1, 1, 1),
        ("completed", 2, 5, 4),
        ("completed", 6, 6, 1),
    ]


def test_pausing_a_scheduler_concerns_this_node_only(sqlite_home: Home) -> None:
    first, second = sqlite_home.start(), sqlite_home.start()
    first.add_task(jobs.note, "interval", minutes=1)
    first.pause()
    sqlite_home.clock.advance(minutes=1)
    first.step()
    assert jobs.calls == []
    second.step()
    assert len(jobs.calls) == 1


def test_removing_cancels_what_is_pending_and_keeps_the_history(home: Home) -> None:
    scheduler = home.start()
    task = scheduler.add_task(jobs.note, "interval", minutes=1, id="a")
    scheduler.advance(minutes=2)
    scheduler.pause()
    scheduler.advance(seconds=1)
    task.run()
    task.run()
    task.remove()
    scheduler.resume()
    scheduler.advance(minutes=5)
    runs = scheduler.get_runs(task="a")
    assert [run.status for run in runs] == ["cancelled"] * 2 + ["completed"] * 2
    assert "removed" in (runs[0].reason or "")
    assert len(jobs.calls) == 2


def test_an_id_can_be_used_again(home: Home) -> None:
    scheduler = home.start()
    for number in range(3):
        task = scheduler.add_task(jobs.note, "interval", minutes=1, id="a", args=[number])
        scheduler.advance(minutes=2)
        task.remove()
    assert jobs.calls == [(0,), (0,), (1,), (1,), (2,), (2,)]
    assert len(scheduler.get_runs(task="a")) == 6


def test_running_now_touches_no_schedule(home: Home) -> None:
    scheduler = home.start()
    recurring = scheduler.add_task(jobs.note, every="10m", id="r", args=["recurring"])
    paused = scheduler.add_task(jobs.note, every="10m", id="p", paused=True, args=["paused"])
    later = scheduler.add_task(jobs.note, "date", run_at=minute(20), args=["later"], id="l")
    scheduler.advance(minutes=5)
    runs = [task.run() for task in (recurring, paused, later)]
    scheduler.step()
    assert sorted(jobs.calls) == [("later",), ("paused",), ("recurring",)]
    for run in runs:
        info = run.snapshot()
        assert (info.source, info.fire_time, info.first_fire_time) == ("manual", None, None)
    assert (paused.schedule_state, later.next_run_time) == ("paused", minute(20))
    assert recurring.next_run_time == minute(10)
    scheduler.advance(minutes=15)
    assert sorted(jobs.calls) == [
        ("later",), ("later",), ("paused",), ("recurring",), ("recurring",), ("recurring",),
    ]  # fmt: skip


def test_running_now_as_often_as_asked(home: Home) -> None:
    scheduler = home.start()
    task = scheduler.add_task(jobs.note, "interval", minutes=10)
    ids = {task.run().id for _ in range(20)}
    scheduler.step()
    assert len(ids) == len(jobs.calls) == 20
    scheduler.add_task(jobs.note, id="done")
    scheduler.step()
    scheduler.run_task("done")
    scheduler.step()
    assert len(jobs.calls) == 22


def test_removing_everything(home: Home) -> None:
    scheduler = home.start()
    scheduler.add_tasks([{"fn": jobs.note, "every": "1m", "id": str(n)} for n in range(30)])
    scheduler.add_task(jobs.note, every="1m", scope="node")
    assert scheduler.remove_all_tasks(store="local") == 1
    assert scheduler.remove_all_tasks() == 30
    scheduler.advance(minutes=1)
    assert jobs.calls == []
    assert scheduler.get_tasks() == []


def test_a_run_that_goes_on_when_its_task_is_removed_ends_as_it_ends(home: Home) -> None:
    scheduler = home.start()
    scheduler.add_task(jobs.note, "interval", minutes=1, id="other")

    def remove_me() -> str:
        scheduler.remove_task("a")
        return "done"

    scheduler.add_task(remove_me, id="a", store="local")
    scheduler.advance(minutes=2)
    (run,) = scheduler.get_runs(task="a")
    assert (run.status, run.result) == ("completed", "done")
    assert len(jobs.calls) == 2


# --- looking ------------------------------------------------------------------------------------


SELECTIONS: list[tuple[dict[str, Any], str]] = [
    ({}, "abcd"),
    ({"state": "scheduled"}, "ac"),
    ({"state": "paused"}, "b"),
    ({"state": "finished"}, "d"),
    ({"state": "pending"}, ""),
    ({"tag": "x"}, "ac"),
    ({"tag": "home"}, "a"),
    ({"tag": "hom"}, ""),
    ({"tag": "%"}, ""),
    ({"executor": "inline"}, "d"),
    ({"function": "tests.unit.scheduler.jobs:note"}, "ac"),
    ({"trigger": "interval"}, "ab"),
    ({"search": "_"}, "d"),
    ({"search": "%"}, "d"),
    ({"search": "ash"}, "a"),
    ({"search": "WASH"}, "a"),
    ({"tag": "x", "trigger": "cron"}, "c"),
    ({"sort": "-id"}, "dcba"),
    ({"sort": "name", "limit": 2}, "ca"),
    ({"sort": "next_run_time"}, "acbd"),
    ({"sort": "-next_run_time"}, "cabd"),
    ({"sort": "created_at"}, "abcd"),
    ({"limit": 2}, "ab"),
    ({"limit": 2, "offset": 2}, "cd"),
    ({"limit": 2, "offset": 3}, "d"),
    ({"limit": 0}, ""),
    ({"store": "local"}, ""),
    ({"store": "default", "limit": 1}, "a"),
]


def test_tasks_are_found_sorted_and_paged(home: Home) -> None:
    scheduler = home.start(executors={"inline": "inline"})
    scheduler.add_task(jobs.note, "interval", minutes=3, id="a", name="Wash", tags=["home", "x"])
    scheduler.add_task(jobs.other, "interval", minutes=2, id="b", name="buy", paused=True)
    scheduler.add_task(jobs.note, "cron", hour=1, id="c", name="Audit", tags=["x"])
    scheduler.add_task(jobs.coroutine, id="d", name="zip_100%", executor="inline")
    scheduler.step()
    for filters, found in SELECTIONS:
        assert "".join(task.id for task in scheduler.get_tasks(**filters)) == found, filters


def test_runs_are_found_newest_first(home: Home) -> None:
    scheduler = home.start()
    scheduler.add_task(jobs.note, "interval", minutes=1, id="a")
    scheduler.add_task(jobs.fail, "interval", minutes=2, id="b")
    scheduler.advance(minutes=4, seconds=1)
    run = scheduler.run_task("a")
    scheduler.step()
    assert scheduler.get_runs()[0].task_id == "a"
    assert len(scheduler.get_runs()) == 7
    assert [r.id for r in scheduler.get_runs(source="manual")] == [run.id]
    assert [r.task_id for r in scheduler.get_runs(status="failed")] == ["b", "b"]
    assert len(scheduler.get_runs(status=["failed", "completed"])) == 7
    assert len(scheduler.get_runs(task="a")) == 5
    assert len(scheduler.get_runs(since=minute(3))) == 4
    assert len(scheduler.get_runs(until=minute(1))) == 1
    pages = [scheduler.get_runs(limit=3, offset=offset) for offset in (0, 3, 6, 9)]
    assert [len(page) for page in pages] == [3, 3, 1, 0]
    assert [r.id for page in pages for r in page] == [r.id for r in scheduler.get_runs()]
    assert scheduler.get_run(run.id) == run.snapshot()
    with pytest.raises(RunNotFoundError, match="may have been pruned"):
        scheduler.get_run("nonsense")


def test_a_snapshot_says_what_there_is_to_say(home: Home) -> None:
    scheduler = home.start()
    task = scheduler.add_task(
        jobs.note, "cron", hour=8, timezone="Europe/Berlin", id="a", name="Report", tags=["x"],
        args=[1, "two", {"three": [4]}], kwargs={"five": None}, coalesce=False, max_instances=2,
        misfire_grace_time=timedelta(minutes=1), jitter=2, delivery="at_most_once",
    )  # fmt: skip
    data = json.loads(task.snapshot().model_dump_json())
    assert "08:00" in data["trigger_description"] or "hour=8" in data["trigger_description"]
    named = {
        "id": "a",
        "name": "Report",
        "callable_name": "note",
        "callable_reference": "tests.unit.scheduler.jobs:note",
        "trigger_alias": "cron",
        "executor": "threadpool",
        "store": "default",
        "schedule_state": "scheduled",
        "next_run_time": "2026-01-01T07:00:00Z",
        "coalesce": "all",
        "max_instances": 2,
        "misfire_grace_time": 60.0,
        "args": [1, "two", {"three": [4]}],
        "kwargs": {"five": None},
        "tags": ["x"],
        "jitter": 2.0,
        "delivery": "at_most_once",
        "problem": None,
    }
    assert {name: data[name] for name in named} == named


AWKWARD: list[Any] = [
    b"\xff", 10**400, float("nan"), float("-inf"), {1, 2}, frozenset({"a"}), (1, (2,)),
    Decimal("1.10"), Fraction(1, 3), range(3), 2j, UUID(int=1), PurePosixPath("/x"), UTC,
    START, START.date(), START.time(), timedelta(1), {(1, 2): {3: b"4"}}, "caf\udce9",
]  # fmt: skip


def test_snapshots_of_tasks_are_safe_for_json(home: Home) -> None:
    scheduler = home.start()
    task = scheduler.add_task(jobs.note, "interval", minutes=1, args=AWKWARD, kwargs={"x": AWKWARD})
    info = task.snapshot()
    assert json.loads(info.model_dump_json())["args"]
    assert json.loads(json.dumps(info.model_dump(mode="json")))["kwargs"]["x"]
    scheduler.advance(minutes=1)
    ((args, kwargs),) = jobs.calls
    assert repr(list(args)) == repr(kwargs["x"]) == repr(AWKWARD)


@pytest.mark.parametrize("result", AWKWARD, ids=lambda each: type(each).__name__)
def test_snapshots_of_runs_are_safe_for_json(result: Any, memory_home: Home) -> None:
    scheduler = memory_home.start()
    scheduler.add_task(lambda: result)
    scheduler.step()
    (run,) = scheduler.get_runs()
    assert repr(run.result) == repr(result)
    assert json.loads(run.model_dump_json())["status"] == "completed"
    json.dumps(run.model_dump(mode="json"))


def test_snapshots_are_frozen_and_stay_as_they_were(home: Home) -> None:
    scheduler = home.start()
    task = scheduler.add_task(jobs.note, "interval", minutes=1)
    before = task.snapshot()
    with pytest.raises(ValidationError, match="frozen"):
        setattr(before, "name", "other")  # noqa: B010  what a type checker would refuse
    task.update(name="other")
    assert (before.name, task.snapshot().name) == ("note", "other")
    with pytest.raises(ValidationError, match="frozen"):
        setattr(scheduler.snapshot(), "state", "other")  # noqa: B010  as above


def test_a_scheduler_shows_itself(home: Home) -> None:
    scheduler = home.new()
    assert scheduler.snapshot().state == "new"
    scheduler.start()
    scheduler.add_task(jobs.note, "interval", minutes=1)
    scheduler.add_task(jobs.note, "interval", minutes=1, id="b", paused=True)
    info = scheduler.snapshot()
    assert (info.state, info.timezone, info.in_flight, info.pending_tasks) == (
        "started",
        "UTC",
        0,
        0,
    )
    assert info.tasks["default"] | {"finished": 0} == {
        "scheduled": 1, "paused": 1, "finished": 0, "pending": 0,
    }  # fmt: skip
    assert set(info.nodes) == {"default", "local"}
    json.loads(info.model_dump_json())


# --- preview ------------------------------------------------------------------------------------


def test_a_task_shows_its_next_fire_times(home: Home) -> None:
    scheduler = home.start()
    task = scheduler.add_task(jobs.note, "interval", minutes=10, id="a")
    scheduler.advance(minutes=15)
    assert scheduler.preview(task, 3) == scheduler.preview("a", 3) == [
        minute(20), minute(30), minute(40),
    ]  # fmt: skip
    assert scheduler.preview(task, 0) == []
    task.update(next_run_time=minute(17))
    assert scheduler.preview(task, 2) == [minute(17), minute(20)]
    task.pause()
    assert scheduler.preview(task) == []


def test_a_task_that_fires_once_more_shows_just_that(home: Home) -> None:
    scheduler = home.start()
    once = scheduler.add_task(jobs.note, "date", run_at=minute(5))
    ending = scheduler.add_task(
        jobs.note, "interval", minutes=1, start_at=minute(1), end_at=minute(2)
    )
    assert scheduler.preview(once) == [minute(5)]
    assert scheduler.preview(ending) == [minute(1), minute(2)]
    scheduler.advance(minutes=1)
    assert scheduler.preview(ending) == [minute(2)]
    scheduler.advance(minutes=9)
    assert scheduler.preview(once) == scheduler.preview(ending) == []


@pytest.mark.parametrize(
    ("preview", "expected"),
    [
        (lambda s: s.preview("interval", 2, minutes=5), [5, 10]),
        (lambda s: s.preview("interval", 2, minutes=5, jitter=3), [5, 10]),
        (lambda s: s.preview(IntervalTrigger(minutes=5), 2), [5, 10]),
        (lambda s: s.preview(CronTrigger(minute="*/20"), 3), [20, 40]),
        (lambda s: s.preview("date", run_at=minute(7)), [7]),
        (lambda s: s.preview("date", run_at=minute(-7)), [-7]),
        (lambda s: s.preview("date"), [0]),
        (lambda s: s.preview("shutdown"), []),
        (lambda s: s.preview("or", triggers=[DateTrigger(minute(-7))]), []),
        (lambda s: s.preview("or", triggers=[DateTrigger(minute(7))]), [7]),
    ],
)
def test_a_trigger_shows_what_it_would_do(
    preview: Callable[[Scheduler], list[datetime]], expected: list[float], memory_home: Home
) -> None:
    found = preview(memory_home.new())
    assert [each for each in found if each != START or expected == [0]] == [
        minute(number) for number in expected
    ]
