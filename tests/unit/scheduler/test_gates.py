"""Tasks that tick in every process, of which a leader and locks let one execute."""

import logging
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from tests.unit.scheduler import jobs
from tests.unit.scheduler.gated import KEPT, START, Site, runs, states
from tickwork import Scheduler
from tickwork.coordination import LeaderElection, Lock, TaskLock
from tickwork.errors import (
    ConflictingTaskError,
    InvalidInputError,
    TaskConfigurationError,
)


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site()
    yield made
    made.end()


# --- what is refused ----------------------------------------------------------------------------

ELECTION = LeaderElection("lead")


@pytest.mark.parametrize("way", ["add_task", "task"])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seconds": 0, "max_lock_seconds": 5}, "seconds must be greater than 0"),
        ({"seconds": -1, "leader": ELECTION}, "seconds must be greater than 0"),
        ({"seconds": float("nan"), "min_lock_seconds": 5}, "seconds must be greater than 0"),
        ({"seconds": 0, "sync": Lock("x")}, "seconds must be greater than 0"),
        (
            {"seconds": 10, "max_lock_seconds": 9.999},
            "max_lock_seconds must be greater than or equal to seconds",
        ),
        (
            {"seconds": 10, "max_lock_seconds": 5, "min_lock_seconds": 7, "leader": ELECTION},
            "max_lock_seconds must be greater than or equal to seconds",
        ),
        (
            {"seconds": 10, "min_lock_seconds": 5},
            "min_lock_seconds requires max_lock_seconds or leader to be set",
        ),
        (
            {"seconds": 10, "min_lock_seconds": 5, "sync": Lock("x")},
            "min_lock_seconds requires max_lock_seconds or leader to be set",
        ),
        (
            {"seconds": 10, "max_lock_seconds": 20, "min_lock_seconds": 20.5},
            "min_lock_seconds must be less than or equal to max_lock_seconds",
        ),
        (
            {"seconds": 10, "leader": ELECTION, "min_lock_seconds": 51},
            "min_lock_seconds must be less than or equal to max_lock_seconds",
        ),
        (
            {"seconds": 10, "max_lock_seconds": 0},
            "max_lock_seconds=0 must be a number of seconds greater than 0",
        ),
        (
            {"seconds": 10, "leader": "lead"},
            "leader='lead' is no LeaderElection; make one and pass it",
        ),
        (
            {"seconds": 10, "sync": TaskLock("x", 1, 1)},
            (
                "sync=<TaskLock 'x'> is no Lock; a TaskLock is said by max_lock_seconds, a "
                "LeaderElection by leader"
            ),
        ),
        (
            {"seconds": 10, "max_lock_seconds": 20, "scope": "cluster"},
            (
                "a task with a leader or locks ticks in every process, and they decide; its scope "
                "is 'node', leave scope= out"
            ),
        ),
    ],
)
def test_what_makes_no_sense_is_refused(way: str, options: dict[str, Any], message: str) -> None:
    scheduler = Scheduler()

    def declare() -> object:
        if way == "add_task":
            return scheduler.add_task(jobs.note, "interval", **options)
        return scheduler.task("interval", **options)(jobs.note)

    with pytest.raises(InvalidInputError) as raised:
        declare()
    assert str(raised.value) == message
    assert scheduler.get_tasks() == []


@pytest.mark.parametrize(
    ("trigger", "options", "message"),
    [
        (
            "cron",
            {"hour": 8, "leader": ELECTION},
            (
                "leader= with a trigger that isn't an interval needs max_lock_seconds: how long "
                "others wait for a leader that died in the middle of a run"
            ),
        ),
        (
            "calendar",
            {"months": 1, "max_lock_seconds": 60},
            (
                "a calendar interval with a leader or a lock needs start_date: without, each "
                "process would count from the day on which it was started"
            ),
        ),
    ],
)
def test_schedules_that_could_not_be_shared_are_refused(
    trigger: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(TaskConfigurationError) as raised:
        Scheduler().add_task(jobs.note, trigger, **options)
    assert str(raised.value) == message


@pytest.mark.parametrize(
    "options",
    [
        {"seconds": 10, "max_lock_seconds": 10},
        {"seconds": 0.1, "max_lock_seconds": 0.1, "min_lock_seconds": 0.1},
        {"seconds": 10, "leader": ELECTION, "min_lock_seconds": 50},
        {"seconds": 10, "leader": ELECTION, "max_lock_seconds": 10},
        {"seconds": 10, "sync": Lock("x")},
        {"seconds": 10, "leader": None, "sync": None, "max_lock_seconds": None},
    ],
)
def test_what_makes_sense_is_taken(options: dict[str, Any]) -> None:
    scheduler = Scheduler()
    scheduler.add_task(jobs.note, "interval", id="a", **options)
    gated = any(value is not None for name, value in options.items() if name != "seconds")
    assert scheduler.get_task_info("a").store == ("local" if gated else "default")


def test_two_tasks_of_one_function_need_ids_of_their_own() -> None:
    """Processes know by its id that a task is the same."""
    scheduler = Scheduler()
    scheduler.add_task(jobs.note, "interval", seconds=10, max_lock_seconds=10)
    assert [task.id for task in scheduler.get_tasks()] == ["tests.unit.scheduler.jobs:note"]
    with pytest.raises(ConflictingTaskError, match="give this one an id= of its own"):
        scheduler.add_task(jobs.note, "interval", seconds=20, max_lock_seconds=20)


# --- once an interval ---------------------------------------------------------------------------


@pytest.mark.parametrize("count", [2, 5])
def test_one_of_several_processes_executes_each_interval(site: Site, count: int) -> None:
    for _ in range(count):
        site.add(site.process(), max_lock_seconds=60)
    site.pass_time(200)
    assert len(site.calls) == 20
    for scheduler in site.all:
        assert len(runs(scheduler)) == 20
    mine = [states(scheduler, status="completed") for scheduler in site.all]
    assert sum(map(len, mine)) == 20
    for fire_s in range(10, 210, 10):
        found = [run for each in site.all for run in runs(each) if run[1] == fire_s]
        assert sorted(found) == [("completed", fire_s, None)] + [("skipped", fire_s, KEPT)] * (
            count - 1
        )
    assert site.names == []


def test_a_task_without_an_id_is_the_same_in_all_processes(site: Site) -> None:
    for _ in range(3):
        site.process().add_task(jobs.note, "interval", seconds=10, max_lock_seconds=60)
    site.pass_time(100)
    assert jobs.calls == [()] * 10


def test_a_refused_fire_time_is_a_line_for_debugging(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "tickwork")
    _, two = site.two(max_lock_seconds=60)
    site.pass_time(10)
    said = [record for record in caplog.records if "skipped" in record.message]
    assert [(record.levelname, record.message) for record in said] == [
        ("DEBUG", f"run skipped: a ({KEPT})")
    ]
    assert vars(said[0])["task_id"] == "a"
    assert vars(said[0])["run_id"] == two.get_runs()[0].id
    assert [record for record in caplog.records if record.levelno > logging.DEBUG] == []


def test_all_processes_tick_at_the_same_instants_whenever_they_were_started(site: Site) -> None:
    """Counted from the epoch: at seconds that end in a 7, if that is what they are told."""
    site.clock.set(START + timedelta(seconds=3))
    site.add(site.process(), max_lock_seconds=10)
    site.clock.set(START + timedelta(seconds=5.5))
    site.add(site.process(), max_lock_seconds=10)
    site.add(site.all[1], id="b", max_lock_seconds=10, start_at=START + timedelta(seconds=7))
    site.clock.set(START + timedelta(seconds=6))
    site.pass_time(40)
    for scheduler in site.all:
        assert [fire_s for _, fire_s, _ in runs(scheduler, task="a")] == [10, 20, 30, 40]
    assert [fire_s for _, fire_s, _ in runs(site.all[1], task="b")] == [7, 17, 27, 37]
    site.all[0].reschedule_task("a", "interval", seconds=7)
    site.pass_time(15)
    epoch_s = START.timestamp()
    later = [fire_s for _, fire_s, _ in runs(site.all[0], task="a")[4:]]
    assert [(epoch_s + (fire_s or 0)) % 7 for fire_s in later] == [0, 0]


@pytest.mark.parametrize(
    ("options", "executed"),
    [
        ({"max_lock_seconds": 60}, [10, 20, 30, 40, 50, 60]),
        ({"max_lock_seconds": 60, "min_lock_seconds": 1}, [10, 20, 30, 40, 50, 60]),
        ({"max_lock_seconds": 60, "min_lock_seconds": 20}, [10, 30, 50]),
        ({"max_lock_seconds": 60, "min_lock_seconds": 25}, [10, 40]),
    ],
)
def test_executions_lie_at_least_so_far_apart(
    site: Site, options: dict[str, Any], executed: list[float]
) -> None:
    """The interval, where nothing else is said."""
    site.two(**options)
    site.pass_time(60)
    found = [fire_s for each in site.all for state, fire_s, _ in runs(each) if state == "completed"]
    assert sorted(each or 0 for each in found) == executed


def test_a_process_that_is_late_does_not_execute_again_what_was_executed(site: Site) -> None:
    """It stood still for half a minute; what it missed others have done, each once."""
    one, two = site.two(max_lock_seconds=60, coalesce=False)
    site.pass_time(10)
    site.pass_time(30, one)
    assert site.calls == [0, 0, 0, 0]
    two.step()
    assert site.calls == [0, 0, 0, 0]
    assert runs(two)[1:] == [("skipped", fire_s, KEPT) for fire_s in (20, 30, 40)]


def test_what_a_pause_left_is_caught_up_once(site: Site) -> None:
    """By whoever comes first; fire times that others have executed are not."""
    one, two = site.two(max_lock_seconds=60)
    one.pause()
    two.pause()
    site.pass_time(35)
    assert site.calls == []
    two.resume()
    site.pass_time(1, by=0.5)
    one.resume()
    site.pass_time(4)
    assert site.calls == [1, 0]
    [caught_up, _] = reversed(two.get_runs())
    assert (caught_up.fire_count, caught_up.status) == (3, "completed")
    [folded, _] = reversed(one.get_runs())
    assert (folded.fire_count, folded.status, folded.reason) == (3, "skipped", KEPT)


def test_without_a_lock_of_its_own_each_process_executes_it(site: Site) -> None:
    """One after the other: a resource is no reason to leave work to others."""
    site.two(sync=Lock("disk"))
    site.pass_time(30)
    assert sorted(site.calls) == [0, 0, 0, 1, 1, 1]


def test_a_plain_task_beside_one_with_a_gate_has_none(site: Site) -> None:
    """They differ in nothing else."""
    for scheduler in (site.process(), site.process()):
        site.add(scheduler, fn=jobs.note, trigger="cron", minute="*", max_lock_seconds=60)
        site.add(scheduler, id="b", fn=jobs.note, trigger="cron", minute="*", scope="node")
        site.add(scheduler, id="c", fn=jobs.note, trigger="cron", minute="*", scope="node")
    site.pass_time(60)
    assert jobs.calls == [()] * 5


def test_a_schedule_that_is_changed_takes_its_gate_along(site: Site) -> None:
    """What follows from the interval follows from the new one."""
    leaders = [LeaderElection("lead") for _ in range(2)]
    for leader in leaders:
        scheduler = site.process()
        site.add(scheduler, leader=leader)
        scheduler.reschedule_task("a", "interval", seconds=2)
    lasted: set[int] = set()

    def look(step: str, name: str) -> None:
        if (step, name) == ("acquire", "task:a"):
            lasted.update(
                each.expires_us - each.acquired_us
                for each in site.store.locks()
                if each.owner and each.name == name
            )

    site.store.during = look
    site.pass_time(10)
    assert len(site.calls) == 5
    assert lasted == {10_000_000}
