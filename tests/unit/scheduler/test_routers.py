"""Tasks that are declared on routers, and what becomes of them in schedulers."""

import gc
import logging
import weakref
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.unit.scheduler import jobs
from tests.unit.scheduler.conftest import Home
from tickwork import (
    ConflictingTaskError,
    IntervalTrigger,
    InvalidInputError,
    Scheduler,
    Task,
    TaskConfigurationError,
    TaskInfo,
    TaskRouter,
)
from tickwork.coordination import FileLockProtected, LeaderElection, Lock
from tickwork.events import TaskUndeclared

NOTE = "tests.unit.scheduler.jobs:note"
OTHER = "tests.unit.scheduler.jobs:other"


def infos(scheduler: Scheduler) -> dict[str, TaskInfo]:
    return {task.id: task for task in scheduler.get_tasks()}


def ids(scheduler: Scheduler) -> list[str]:
    return sorted(infos(scheduler))


# --- what a router carries ----------------------------------------------------------------------


routed = TaskRouter()


@routed.task("interval", minutes=5, retries=2, delay=3, backoff=2.0, timeout=30, tags=["a"])
def double(number: int = 4) -> int:
    return number * 2


def test_a_task_of_a_router_is_that_of_a_scheduler(home: Home) -> None:
    assert double(3) == 6
    scheduler = home.new()
    scheduler.include_router(routed)
    scheduler.start()
    (task,) = scheduler.get_tasks()
    assert (task.id, task.name) == ("tests.unit.scheduler.test_routers:double", "double")
    assert (task.retries, task.delay, task.backoff, task.timeout) == (2, 3, 2, 30)
    scheduler.advance(minutes=5)
    scheduler.get_task(task.id).run()
    scheduler.submit(double, 5)
    scheduler.step()
    runs = scheduler.get_runs(task=task.id)
    assert [(run.source, run.result) for run in reversed(runs)] == [
        ("scheduled", 8),
        ("manual", 8),
        ("manual", 10),
    ]


def test_prefix_tags_and_defaults_go_through_three_routers(home: Home) -> None:
    outer = TaskRouter("a.", tags=["outer"], retries=1, delay=10, max_instances=4)
    middle = TaskRouter("b.", tags=["middle", "outer"], retries=2, delay=20)
    inner = TaskRouter("c.", tags=["inner"], retries=3)
    inner.task("interval", hours=1)(jobs.note)
    inner.task("interval", hours=1, id="own", name="Own", retries=4, tags=["x"])(jobs.other)
    middle.include_router(inner)
    outer.include_router(middle)
    scheduler = home.new(
        task_defaults={"retries": 9, "delay": 9, "max_instances": 9, "max_history": 5}
    )
    scheduler.include_router(outer)
    scheduler.start()
    found = infos(scheduler)
    assert sorted(found) == ["a.b.c.note", "a.b.c.own"]
    note, own = found["a.b.c.note"], found["a.b.c.own"]
    assert (note.name, own.name) == ("a.b.c.note", "a.b.c.Own")
    assert note.tags == ("outer", "middle", "inner")
    assert own.tags == ("outer", "middle", "inner", "x")
    for task, retries in ((note, 3), (own, 4)):
        assert (task.retries, task.delay) == (retries, 20)
        assert (task.max_instances, task.max_history) == (4, 5)


def test_a_prefix_may_have_several_tasks_of_one_function(memory_home: Home) -> None:
    router = TaskRouter("shop.")
    router.task("interval", hours=1, id="berlin")(jobs.note)
    router.task("interval", hours=1, id="paris")(jobs.note)
    router.add_task(jobs.note, "interval", hours=2)
    scheduler = memory_home.new()
    scheduler.include_router(router)
    assert ids(scheduler) == ["shop.berlin", "shop.note", "shop.paris"]
    assert {task.name for task in scheduler.get_tasks()} == {"shop.note"}


@pytest.mark.parametrize("function", [jobs.note, NOTE])
def test_a_function_and_its_name_give_the_same_id(function: Any, memory_home: Home) -> None:
    router = TaskRouter("shop.")
    router.add_task(function, "interval", hours=1)
    scheduler = memory_home.new()
    scheduler.include_router(router)
    assert ids(scheduler) == ["shop.note"]


def test_one_definition_for_several_functions_makes_tasks_of_their_own(home: Home) -> None:
    router = TaskRouter("x.")
    tags = ["first"]
    declare = router.task("interval", minutes=1, args=["a"], tags=tags)
    assert declare(jobs.note) is jobs.note
    tags.append("second")
    assert declare(jobs.other) is jobs.other
    scheduler = home.new()
    scheduler.include_router(router)
    scheduler.start()
    tags.append("third")
    assert [infos(scheduler)[f"x.{name}"].tags for name in ("note", "other")] == [
        ("first",),
        ("first", "second"),
    ]
    scheduler.get_task("x.note").update(tags=["mine"])
    scheduler.get_task("x.note").pause()
    scheduler.advance(minutes=1)
    assert jobs.calls == [("other", "a")]
    found = infos(scheduler)
    assert (found["x.note"].tags, found["x.other"].tags) == (("mine",), ("first", "second"))


def test_a_task_of_the_scheduler_decorates_several_functions_too(memory_home: Home) -> None:
    scheduler = memory_home.start()
    declare = scheduler.add_task(trigger="interval", minutes=1, args=["a"])
    declare(jobs.note)
    declare(jobs.other)
    scheduler.get_task(NOTE).pause()
    scheduler.advance(minutes=1)
    assert jobs.calls == [("other", "a")]


def test_all_kinds_of_functions_run(memory_home: Home) -> None:
    router = TaskRouter("all.")
    router.task(every="1m")(jobs.coroutine)
    router.task(every="1m")(jobs.Shop.open)
    router.task(every="1m", args=["tea"])(jobs.shop.sell)
    router.add_task(partial(jobs.note, "partial"), every="1m")
    router.add_task(lambda: jobs.calls.append("lambda"), every="1m", id="lambda")
    router.add_task("tests.unit.scheduler.jobs:other", cron="* * * * *")
    router.add_task(jobs.leak, at="2026-01-01 00:01", args=["at"])
    router.add_task(jobs.add, args=[1])
    memory_home.clock.advance(seconds=1)
    scheduler = memory_home.new()
    scheduler.include_router(router)
    scheduler.start()
    scheduler.step()
    assert jobs.calls == [2]
    scheduler.advance(minutes=1)
    found = sorted(map(str, (each[0] if isinstance(each, tuple) else each for each in jobs.calls)))
    assert found == ["2", "Shop.open", "at", "coroutine", "lambda", "other", "partial", "sold tea"]
    assert ids(scheduler) == [
        f"all.{name}"
        for name in [
            "Shop.open",
            "Shop.sell",
            "add",
            "coroutine",
            "lambda",
            "leak",
            "note",
            "other",
        ]
    ]


# --- time zones ---------------------------------------------------------------------------------


def test_a_time_zone_of_a_router_is_that_of_its_naive_times(memory_home: Home) -> None:
    outer = TaskRouter("o.", timezone="Asia/Tokyo")
    router = TaskRouter("r.", timezone="America/New_York")
    outer.task("cron", hour=0, id="outer")(jobs.note)
    router.task("cron", hour=0, id="cron")(jobs.note)
    router.task(cron="0 0 * * *", timezone="Europe/Berlin", id="own")(jobs.note)
    router.task(at="2026-02-01 00:00", id="at")(jobs.note)
    router.task("interval", hours=24, start_at="2026-02-01 00:00", id="interval")(jobs.note)
    router.task(every="1h", id="elapsed")(jobs.note)
    router.task(every="1h", next_run_time=datetime(2026, 2, 1), id="first")(jobs.note)
    aware = datetime(2026, 2, 1, tzinfo=UTC)
    router.task(every="1h", next_run_time=aware, id="aware")(jobs.note)
    router.task(IntervalTrigger(hours=24, start_at="2026-02-01"), id="object")(jobs.note)
    outer.include_router(router)
    scheduler = memory_home.new(timezone="Asia/Kolkata")
    scheduler.include_router(outer)
    scheduler.start()
    hours = {
        task.id: task.next_run_time.isoformat()[5:16]
        for task in scheduler.get_tasks()
        if task.next_run_time
    }
    assert hours == {
        "o.outer": "01-01T15:00",
        "o.r.cron": "01-01T05:00",
        "o.r.own": "01-01T23:00",
        "o.r.at": "02-01T05:00",
        "o.r.interval": "02-01T05:00",
        "o.r.elapsed": "01-01T01:00",
        "o.r.first": "02-01T05:00",
        "o.r.aware": "02-01T00:00",
        "o.r.object": "02-01T05:00",
    }


def test_the_jitter_of_a_trigger_is_its_tasks_own(memory_home: Home) -> None:
    router = TaskRouter(jitter=30)
    router.task(IntervalTrigger(hours=1, jitter=5), id="trigger's")(jobs.note)
    router.task("interval", hours=1, jitter=7, id="own")(jobs.note)
    router.task("interval", hours=1, id="router's")(jobs.note)
    router.task(IntervalTrigger(hours=1, jitter=5), jitter=0, id="none")(jobs.note)
    scheduler = memory_home.new(task_defaults={"jitter": 60})
    scheduler.add_task(jobs.note, "interval", hours=1, id="scheduler's")
    scheduler.include_router(router)
    assert {task.id: task.jitter for task in scheduler.get_tasks()} == {
        "trigger's": 5,
        "own": 7,
        "router's": 30,
        "none": 0,
        "scheduler's": 60,
    }


# --- defaults -----------------------------------------------------------------------------------


def test_both_spellings_of_the_grace_time_are_one(memory_home: Home) -> None:
    outer = TaskRouter("o.", mistrigger_grace_time=1)
    router = TaskRouter("r.", misfire_grace_time=2)
    outer.task(every="1m")(jobs.note)
    router.task(every="1m")(jobs.note)
    router.task(every="1m", mistrigger_grace_time=3)(jobs.other)
    router.task(every="1m", misfire_grace_time=None)(jobs.fail)
    outer.include_router(router)
    scheduler = memory_home.new(task_defaults={"mistrigger_grace_time": 9})
    scheduler.add_task(jobs.note, every="1m", id="plain")
    scheduler.include_router(outer)
    assert {task.id: task.misfire_grace_time for task in scheduler.get_tasks()} == {
        "o.note": 1,
        "o.r.note": 2,
        "o.r.other": 3,
        "o.r.fail": None,
        "plain": 9,
    }
    with pytest.raises(TaskConfigurationError, match="are the same; give one of them"):
        TaskRouter(mistrigger_grace_time=1, misfire_grace_time=1)


@pytest.mark.parametrize(
    ("defaults", "message"),
    [
        ({"retries": -1}, "retries=-1 must be a whole number from 0"),
        ({"delay": 5, "max_delay": 1}, "is less than delay=5"),
        ({"misfire_grace_time": 0}, "would let nothing through; use None"),
        ({"coalesce": "newest"}, "use one of 'latest', 'earliest', 'all'"),
        ({"executor": 5}, "executor=5 is not a text"),
        ({"store": ""}, "store='' is not a text"),
        ({"scope": "galaxy"}, "use one of 'cluster', 'node'"),
        ({"paused": 1}, "paused=1 must be True or False"),
        ({"tags": "money"}, r"tags='money' is not a list of texts; write tags=\[...\]"),
        ({"timezone": "Europe/Berlyn"}, "Europe/Berlyn"),
        ({"leader": "me"}, "leader='me' is no LeaderElection; make one"),
        ({"sync": LeaderElection("x")}, "is no Lock"),
        ({"max_lock_seconds": 0}, "must be a number of seconds greater than 0"),
        ({"min_lock_seconds": -1}, "must be a number of seconds greater than 0"),
        ({"max_lock_seconds": 1, "min_lock_seconds": 2}, "less than or equal to max_lock_seconds"),
        ({"id": "x"}, "'id' can't be a default of a router; these can: backoff, coalesce,"),
        ({"name": "x"}, "'name' can't be a default"),
        ({"args": [1]}, "'args' can't be a default"),
        ({"next_run_time": None}, "'next_run_time' can't be a default"),
        ({"retry": 1}, "'retry' can't be a default of a router; .*, retries, .*, timezone"),
        ({"minutes": 5}, "'minutes' can't be a default"),
        ({"prefix": 5}, "prefix=5 must be a text, such as 'billing.'"),
    ],
)
def test_bad_defaults_are_refused_at_once(defaults: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        TaskRouter(**defaults)


def test_good_defaults_of_each_kind_are_taken(memory_home: Home) -> None:
    router = TaskRouter(
        "r.",
        executor="asyncio",
        store="second",
        paused=True,
        keep="failures",
        run_on_startup=True,
        max_lock_seconds=None,
        leader=None,
        scope=None,
    )
    router.task(every="1m")(jobs.note)
    router.task(every="1m", store="default", executor=None, paused=False)(jobs.other)
    scheduler = memory_home.new(stores={"default": "memory://", "second": "memory://"})
    scheduler.include_router(router)
    scheduler.start()
    found = infos(scheduler)
    note, other = found["r.note"], found["r.other"]
    assert (note.store, note.executor, note.schedule_state) == ("second", "asyncio", "paused")
    assert (other.store, other.executor, other.schedule_state) == (
        "default",
        "threadpool",
        "scheduled",
    )
    scheduler.step()
    assert jobs.calls == [("other",)]


def test_locks_and_leaders_are_defaults_too(sqlite_home: Home) -> None:
    leader, sync = LeaderElection("boss"), Lock("printer")
    router = TaskRouter("r.", leader=leader, sync=sync, min_lock_seconds=30)
    router.task("interval", minutes=1)(jobs.note)
    router.task("interval", minutes=1, leader=None, min_lock_seconds=None, sync=None)(jobs.other)
    sqlite_home.clock.advance(seconds=1)
    scheduler = sqlite_home.new()
    scheduler.include_router(router)
    scheduler.start()
    found = infos(scheduler)
    assert (found["r.note"].store, found["r.other"].store) == ("local", "default")
    scheduler.step()
    assert leader.is_leader
    scheduler.advance(minutes=3)
    assert sorted(jobs.calls) == [(), (), (), ("other",), ("other",), ("other",)]


def test_a_default_that_fits_no_trigger_of_a_task_is_refused_with_the_task() -> None:
    router = TaskRouter(leader=LeaderElection("boss"))
    with pytest.raises(TaskConfigurationError, match="isn't an interval needs max_lock_seconds"):
        router.task(cron="0 8 * * *")(jobs.note)
    with pytest.raises(TaskConfigurationError, match="must be less than or equal to"):
        router.task("interval", seconds=10, min_lock_seconds=60)(jobs.note)
    with pytest.raises(TaskConfigurationError, match="seconds must be greater than 0"):
        router.task("interval", seconds=0)(jobs.note)
    assert list(router.routed()) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "Either 'interval' or 'cron' must be provided"),
        ({"every": "1m", "cron": "* * * * *"}, "not both"),
        ({"trigger": "interval", "minuts": 1}, "did you mean 'minutes'"),
        ({"trigger": "interval", "minutes": 1, "retries": "x"}, "retries=x must be"),
        ({"trigger": "interval", "minutes": 1, "tags": "x"}, "is not a list of texts"),
        ({"trigger": "interval", "minutes": 1, "lock": 5}, "'lock' is neither an option"),
        ({"trigger": "nothing"}, "is not one of the known triggers"),
    ],
)
def test_bad_tasks_are_refused_where_they_are_declared(
    options: dict[str, Any], message: str
) -> None:
    router = TaskRouter()
    with pytest.raises(InvalidInputError, match=message):
        router.task(**options)(jobs.note)
    assert list(router.routed()) == []


@pytest.mark.parametrize("function", [5, None, Task(jobs.note, "interval", minutes=1)])
def test_what_is_no_function_is_refused(function: Any) -> None:
    router = TaskRouter()
    with pytest.raises(TaskConfigurationError, match="pass a function"):
        router.add_task(function, every="1m")
    with pytest.raises(TaskConfigurationError, match="use add_task for names"):
        router.task(every="1m")("tests.unit.scheduler.jobs:note")  # type: ignore[type-var]


# --- including ----------------------------------------------------------------------------------


def test_what_is_no_router_is_refused(memory_home: Home) -> None:
    for holder in (TaskRouter(), memory_home.new()):
        for wrong in (memory_home.new(), None, "billing"):
            with pytest.raises(TaskConfigurationError, match="is no TaskRouter"):
                holder.include_router(wrong)  # type: ignore[arg-type]


def test_a_router_is_included_once(memory_home: Home) -> None:
    router = TaskRouter()
    for holder in (TaskRouter(), memory_home.new()):
        holder.include_router(router)
        with pytest.raises(TaskConfigurationError, match="is included already"):
            holder.include_router(router)


def test_a_router_never_includes_itself() -> None:
    one, two, three = TaskRouter("1"), TaskRouter("2"), TaskRouter("3")
    one.include_router(two)
    two.include_router(three)
    for inner, outer in ((one, one), (two, one), (three, one), (three, two)):
        with pytest.raises(TaskConfigurationError, match="can't be included in itself"):
            inner.include_router(outer)
    assert [list(each.parts()) for each in (one, two, three)] == [[two, three], [three], []]


def two_within(unused: Scheduler) -> None:
    router = TaskRouter()
    router.task(every="1m", id="x")(jobs.note)
    router.task(every="1m", id="x")(jobs.other)


def two_names(unused: Scheduler) -> None:
    router = TaskRouter()
    router.task(every="1m", id="a", name="x")(jobs.note)
    router.task(every="1m", id="b", name="x")(jobs.other)


def two_prefixed(unused: Scheduler) -> None:
    outer, inner = TaskRouter(), TaskRouter("p.")
    outer.task(every="1m", id="p.note")(jobs.other)
    inner.task(every="1m")(jobs.note)
    outer.include_router(inner)


def two_functions(unused: Scheduler) -> None:
    router = TaskRouter()
    router.task(every="1m")(jobs.note)
    router.add_task(jobs.note, every="2m")


def two_routers(scheduler: Scheduler) -> None:
    for _ in range(2):
        router = TaskRouter("p.")
        router.task(every="1m")(jobs.note)
        scheduler.include_router(router)


def two_later(scheduler: Scheduler) -> None:
    one, two = TaskRouter("p."), TaskRouter("p.")
    scheduler.include_router(one)
    scheduler.include_router(two)
    one.task(every="1m")(jobs.note)
    two.task(every="1m", id="note")(jobs.other)


def two_later_in_a_router(unused: Scheduler) -> None:
    outer, one, two = TaskRouter(), TaskRouter("p."), TaskRouter("p.")
    outer.include_router(one)
    outer.include_router(two)
    one.task(every="1m")(jobs.note)
    two.task(every="1m")(jobs.note)


def two_at_two_places(unused: Scheduler) -> None:
    outer, one, two, shared = (TaskRouter() for _ in range(4))
    outer.include_router(one)
    outer.include_router(two)
    one.include_router(shared)
    two.include_router(shared)
    shared.task(every="1m")(jobs.note)


TWO = (
    two_within,
    two_names,
    two_prefixed,
    two_functions,
    two_routers,
    two_later,
    two_later_in_a_router,
    two_at_two_places,
)


@pytest.mark.parametrize("declare", TWO, ids=lambda each: str(each.__name__))
def test_two_tasks_of_one_name_are_refused(
    declare: Callable[[Scheduler], None], memory_home: Home
) -> None:
    with pytest.raises(TaskConfigurationError, match=r"two tasks of the name .*; give one of them"):
        declare(memory_home.new())


def test_a_refusal_leaves_nothing_behind(memory_home: Home) -> None:
    first, second = memory_home.new(), memory_home.new()
    router, clashing = TaskRouter(), TaskRouter()
    router.task(every="1m", id="a")(jobs.note)
    router.task(every="1m", id="x")(jobs.note)
    clashing.task(every="1m", id="b")(jobs.note)
    clashing.task(every="1m", id="x")(jobs.other)
    first.include_router(router)
    with pytest.raises(TaskConfigurationError, match="two tasks of the name 'x'"):
        first.include_router(clashing)
    assert ids(first) == ["a", "x"]
    second.include_router(clashing)
    second.add_task(jobs.note, every="1m", id="c")
    assert ids(second) == ["b", "c", "x"]
    second.include_router(other := TaskRouter())
    first.include_router(other)
    with pytest.raises(ConflictingTaskError, match="has a task 'c' already"):
        other.task(every="1m", id="c")(jobs.other)
    assert (ids(first), list(other.routed())) == (["a", "x"], [])
    other.task(every="1m", id="d")(jobs.other)
    assert (ids(first), ids(second)) == (["a", "d", "x"], ["b", "c", "d", "x"])


@pytest.mark.parametrize("started", [False, True])
def test_a_task_that_the_scheduler_has_by_itself_is_not_another(started: bool, home: Home) -> None:
    scheduler = home.start() if started else home.new()
    scheduler.task(every="1m", id="x")(jobs.note)
    router = TaskRouter()
    router.task(every="1m", id="a")(jobs.note)
    router.task(every="2m", id="x")(jobs.other)
    with pytest.raises(ConflictingTaskError, match="'x'"):
        scheduler.include_router(router)
    assert ids(scheduler) == ["x"]
    assert infos(scheduler)["x"].callable_reference == NOTE


def test_one_that_replaces_says_so(memory_home: Home) -> None:
    scheduler = memory_home.new()
    scheduler.task(every="1m", id="x")(jobs.note)
    router = TaskRouter()
    router.task(every="2m", id="x", replace_existing=True)(jobs.other)
    scheduler.include_router(router)
    assert infos(scheduler)["x"].callable_reference == OTHER


# --- later, and elsewhere -----------------------------------------------------------------------


@pytest.mark.parametrize("started", [False, True])
def test_what_is_declared_later_is_included_too(started: bool, home: Home) -> None:
    scheduler = home.new()
    outer, inner = TaskRouter("o."), TaskRouter("i.")
    outer.include_router(inner)
    scheduler.include_router(outer)
    if started:
        scheduler.start()
    inner.task(every="1m", args=["inner"])(jobs.note)
    outer.add_task(jobs.note, args=["now"])
    late = TaskRouter("late.")
    late.task(every="1m", run_on_startup=True, args=["late"])(jobs.note)
    inner.include_router(late)
    if not started:
        scheduler.start()
    scheduler.step()
    assert sorted(jobs.calls) == [("late",), ("now",)]
    scheduler.advance(minutes=1)
    assert sorted(jobs.calls[2:]) == [("inner",), ("late",)]
    assert ids(scheduler) == ["o.i.late.note", "o.i.note", "o.note"]


def test_each_of_two_schedulers_has_tasks_of_its_own(tmp_path: Path) -> None:
    first, second = Home("memory", tmp_path), Home("memory", tmp_path)
    router = TaskRouter("r.")
    router.task(every="1m")(jobs.note)
    schedulers = [first.new(), second.new(task_defaults={"retries": 3})]
    for scheduler in schedulers:
        scheduler.include_router(router)
        scheduler.start()
    router.task(every="2m")(jobs.other)
    for scheduler in schedulers:
        scheduler.advance(minutes=2)
        assert len(jobs.calls) == 3
        jobs.calls.clear()
    assert [infos(each)["r.note"].retries for each in schedulers] == [0, 3]
    for place in (first, second):
        place.end()


def test_one_router_at_two_places_of_a_tree(memory_home: Home) -> None:
    shared, eu, us = TaskRouter("tax."), TaskRouter("eu.", tags=["eu"]), TaskRouter("us.")
    shared.task(every="1m")(jobs.note)
    for each in (eu, us):
        each.include_router(shared)
    scheduler = memory_home.new()
    scheduler.include_router(eu)
    scheduler.include_router(us)
    shared.task(every="1m")(jobs.other)
    assert ids(scheduler) == ["eu.tax.note", "eu.tax.other", "us.tax.note", "us.tax.other"]
    assert infos(scheduler)["us.tax.other"].tags == ()


def test_a_router_keeps_no_scheduler_alive() -> None:
    router = TaskRouter()
    router.task(every="1m")(jobs.note)
    router.task("interval", minutes=1, leader=LeaderElection("boss"), id="led")(jobs.note)

    @router.lifecycle(every="1m", leader=LeaderElection("other"))
    def cycle() -> Iterator[None]:
        yield

    scheduler = Scheduler()
    scheduler.include_router(router)
    left = [weakref.ref(scheduler)]
    del scheduler
    gc.collect()
    assert [each() for each in left] == [None]
    router.task(every="1m")(jobs.other)
    assert len(list(router.routed())) == 4


# --- a store that outlives the process ----------------------------------------------------------


def declared(home: Home, *functions: Callable[..., Any], prefix: str = "r.") -> Any:
    scheduler = home.new()
    router = TaskRouter(prefix, retries=1)
    for function in functions:
        router.task(every="1h")(function)
    scheduler.include_router(router)
    return scheduler


def test_ids_and_fire_times_stay_when_the_process_is_started_again(sqlite_home: Home) -> None:
    before = declared(sqlite_home, jobs.note, jobs.other)
    before.start()
    times = {task.id: task.next_run_time for task in before.get_tasks()}
    before.get_task("r.other").pause()
    before.stop()
    sqlite_home.clock.advance(minutes=20)
    after = declared(sqlite_home, jobs.note, jobs.other)
    after.start()
    found = infos(after)
    assert set(times) == set(found) == {"r.note", "r.other"}
    assert found["r.note"].next_run_time == times["r.note"]
    assert found["r.other"].schedule_state == "paused"
    after.advance(minutes=40)
    assert jobs.calls == [()]
    assert len(after.get_runs(task="r.note")) == 1


def test_declarations_of_routers_that_are_gone_are_reported(
    sqlite_home: Home, caplog: pytest.LogCaptureFixture
) -> None:
    declared(sqlite_home, jobs.note, jobs.other).connect().close()
    told: list[TaskUndeclared] = []
    after = declared(sqlite_home, jobs.note)
    after.on(TaskUndeclared, told.append)
    with caplog.at_level(logging.WARNING, "tickwork.scheduler"), after.connect():
        after._listeners.flush()  # noqa: SLF001  what was told has been heard then
        assert ids(after) == ["r.note", "r.other"]
    assert [event.task_id for event in told] == ["r.other"]
    said = [record for record in caplog.records if record.name == "tickwork.scheduler"]
    assert [record.task_id for record in said] == ["r.other"]  # type: ignore[attr-defined]


def test_changed_defaults_change_the_tasks_that_are_declared_again(sqlite_home: Home) -> None:
    declared(sqlite_home, jobs.note).connect().close()
    after = sqlite_home.new()
    router = TaskRouter("r.", retries=5)
    router.task(every="1h")(jobs.note)
    after.include_router(router)
    with after.connect():
        assert infos(after)["r.note"].retries == 5


# --- lifecycles on routers ----------------------------------------------------------------------


def test_a_lifecycle_of_a_router_lives_in_each_scheduler(tmp_path: Path) -> None:
    log: list[str] = []
    # All that a lifecycle can't have, or that can't be for it, is for the others.
    outer = TaskRouter("o.", store="default", scope="cluster", executor="processpool")
    router = TaskRouter("r.", tags=["cache"])
    outer.include_router(router)

    @router.lifecycle("interval", minutes=5)
    def cache() -> Generator[None, bool, None]:
        log.append("up")
        running = yield
        while running:
            log.append("tick")
            running = yield
        log.append("down")

    @router.lifecycle("interval", minutes=5)
    async def later() -> AsyncGenerator[None, bool]:
        running = yield
        while running:
            log.append("late")
            running = yield

    for _ in range(2):
        place = Home("sqlite", tmp_path)
        scheduler = place.new()
        scheduler.include_router(outer)
        with scheduler:
            found = infos(scheduler)
            assert sorted(found) == [
                f"o.r.{name}" for name in ("cache", "cache:clean-up", "later", "later:clean-up")
            ]
            assert {task.store for task in found.values()} == {"local"}
            assert {task.tags for task in found.values()} == {("cache",)}
            assert found["o.r.cache"].executor == "threadpool"
            assert found["o.r.later"].executor == "asyncio"
            scheduler.advance(minutes=5)
            assert sorted(log) == ["late", "tick", "up"]
        assert sorted(log) == ["down", "late", "tick", "up"]
        log.clear()


def test_lifecycles_are_refused_where_they_are_declared(tmp_path: Path) -> None:
    router = TaskRouter()
    with pytest.raises(TaskConfigurationError, match="is no generator function"):
        router.lifecycle(every="1m")(jobs.note)
    with pytest.raises(TaskConfigurationError, match="Either 'interval'"):
        router.lifecycle()
    with pytest.raises(TaskConfigurationError, match="is no FileLockProtected; make one"):
        router.lifecycle(every="1m", lock=str(tmp_path))  # type: ignore[arg-type]

    @router.lifecycle(every="1m", lock=FileLockProtected(tmp_path / "lock"), id="x")
    def cycle() -> Iterator[None]:
        yield

    with pytest.raises(TaskConfigurationError, match="two tasks of the name 'x'"):
        router.task(every="1m", id="x")(jobs.note)
    assert len(list(router.routed())) == 1


def test_many_tasks_are_declared_in_a_moment(memory_home: Home) -> None:
    scheduler = memory_home.new()
    outer, router = TaskRouter("o."), TaskRouter("r.")
    outer.include_router(router)
    scheduler.include_router(outer)
    for number in range(2_000):
        router.add_task(jobs.note, "interval", minutes=1, id=str(number))
    scheduler.start()
    assert scheduler.snapshot().tasks["default"]["scheduled"] == 2_000
    expected = memory_home.clock.now() + timedelta(minutes=1)
    assert scheduler.get_task("o.r.7").next_run_time == expected
