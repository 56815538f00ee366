"""All the ways to add a task, and what becomes of each."""

import asyncio
import functools
from collections.abc import Generator
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from tests.unit.scheduler import jobs
from tests.unit.scheduler.conftest import Home
from tickwork import (
    ConflictingTaskError,
    CronTrigger,
    IntervalTrigger,
    InvalidInputError,
    InvalidReferenceError,
    Scheduler,
    SchedulerStateError,
    Task,
    TaskConfigurationError,
)

START = datetime(2026, 1, 1, tzinfo=UTC)


def statuses(scheduler: Scheduler, **filters: Any) -> list[str]:
    return [run.status.value for run in reversed(scheduler.get_runs(**filters))]


# --- forms --------------------------------------------------------------------------------------


def test_a_function_without_a_trigger_is_called_once_now(home: Home) -> None:
    scheduler = home.start()
    task = scheduler.add_task(jobs.add, args=[2], kwargs={"b": 3})
    scheduler.advance(days=1)
    assert jobs.calls == [5]
    (run,) = task.get_runs()
    assert (run.result, run.fire_time, run.attempt) == (5, START, 1)
    assert task.schedule_state == "finished"


def test_a_function_may_be_given_by_name(home: Home) -> None:
    scheduler = home.start()
    task = scheduler.add_task("tests.unit.scheduler.jobs:note", "interval", seconds=10, args=["a"])
    scheduler.advance(seconds=30)
    assert jobs.calls == [("a",)] * 3
    assert task.snapshot().callable_name == "note"


@pytest.mark.parametrize("as_keyword", [True, False])
def test_a_trigger_may_be_an_alias_or_an_object(as_keyword: bool, memory_home: Home) -> None:
    scheduler = memory_home.start()
    ways: list[tuple[Any, dict[str, Any]]] = [
        ("interval", {"minutes": 30}),
        (IntervalTrigger(minutes=30), {}),
        ("cron", {"minute": "*/30"}),
        (CronTrigger.from_crontab("*/30 * * * *"), {}),
    ]
    for trigger, arguments in ways:
        if as_keyword:
            scheduler.add_task(jobs.note, trigger=trigger, **arguments)
        else:
            scheduler.add_task(jobs.note, trigger, **arguments)
    scheduler.advance(minutes=59)
    # Cron expressions match this very instant, too.
    assert len(jobs.calls) == 1 + 1 + 2 + 2


@pytest.mark.parametrize(
    ("spelling", "times"),
    [
        ({"every": "20m"}, 3),
        ({"every": 1200}, 3),
        ({"every": 1200.0}, 3),
        ({"every": timedelta(minutes=20)}, 3),
        ({"interval": "20m"}, 3),
        ({"cron": "*/20 * * * *"}, 4),
        ({"cron": "0 */20 * * * *"}, 4),
        ({"cron": "@hourly"}, 2),
        ({"at": "2026-01-01 00:30"}, 1),
        ({"at": START + timedelta(minutes=30)}, 1),
        ({"at": "2026-01-01 01:30", "timezone": "Europe/Berlin"}, 1),
        ({"trigger": "interval", "minutes": 20}, 3),
        ({"trigger": "calendar", "days": 1, "hour": 1}, 1),
    ],
)
def test_a_decorator_says_when_in_one_of_many_ways(
    spelling: dict[str, Any], times: int, home: Home
) -> None:
    scheduler = home.new()
    decorated = scheduler.task(**spelling)(jobs.note)
    assert decorated is jobs.note
    scheduler.start()
    scheduler.advance(hours=1)
    assert len(jobs.calls) == times


def test_a_decorated_function_stays_a_plain_function(home: Home) -> None:
    scheduler = home.new()

    @scheduler.task("interval", hours=1, store="local")
    def double(number: int = 0) -> int:
        return 2 * number

    assert double(4) == 8


def test_add_task_without_a_function_is_a_decorator(home: Home) -> None:
    scheduler = home.start()
    for decorator in (
        scheduler.add_task("cron", hour="*/8", id="one"),
        scheduler.add_task(trigger="cron", hour="*/8", id="two"),
        scheduler.add_task(trigger=CronTrigger(hour="*/8"), id="three"),
    ):
        assert decorator(jobs.note) is jobs.note
    scheduler.advance(hours=23)
    assert len(jobs.calls) == 9
    assert [task.id for task in scheduler.get_tasks()] == ["one", "three", "two"]


def test_one_decorator_makes_a_task_of_each_function(home: Home) -> None:
    scheduler = home.start()
    nightly = scheduler.task(cron="0 3 * * *")
    nightly(jobs.note)
    nightly(jobs.other)
    scheduler.advance(days=1)
    assert sorted(jobs.calls) == [(), ("other",)]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "must be provided"),
        ({"every": "5m", "cron": "* * * * *"}, "not both"),
        ({"interval": "5m", "cron": "* * * * *"}, "not both"),
        ({"every": "5m", "interval": "5m"}, "one way only"),
        ({"every": "5m", "at": "2026-12-24"}, "one way only"),
        ({"trigger": "interval", "every": "5m"}, "one way only"),
        ({"trigger": "cron", "hour": 3, "at": "2026-12-24"}, "one way only"),
    ],
)
def test_a_decorator_that_says_when_in_no_way_or_in_two_is_refused_at_once(
    given: dict[str, Any], message: str
) -> None:
    with pytest.raises(TaskConfigurationError, match=message):
        Scheduler().task(**given)


def test_a_task_may_be_built_first_and_added_with_overrides(home: Home) -> None:
    scheduler = home.start()
    draft = Task(jobs.note, "interval", minutes=10, args=["draft"], tags=["a"])
    first = scheduler.add_task(draft)
    second = scheduler.add_task(draft, id="second", args=["second"])
    third = scheduler.add_task(draft, "cron", id="third", minute=30, args=["third"])
    scheduler.advance(minutes=30)
    assert sorted(jobs.calls) == [("draft",)] * 3 + [("second",)] * 3 + [("third",)]
    assert (second.id, third.id) == ("second", "third")
    assert first.snapshot().tags == third.snapshot().tags == ("a",)


def test_a_draft_says_that_it_belongs_nowhere() -> None:
    draft = Task(jobs.note, "interval", minutes=10)
    for action in (draft.pause, draft.resume, draft.run, draft.remove, draft.snapshot):
        with pytest.raises(SchedulerStateError, match="submit it with add_task"):
            action()
    with pytest.raises(SchedulerStateError, match="no id yet"):
        _ = draft.id


def test_a_task_made_with_a_scheduler_is_added_at_once(home: Home) -> None:
    scheduler = home.start()
    task = Task(jobs.note, "interval", minutes=1, scheduler=scheduler)
    scheduler.advance(minutes=2)
    assert len(jobs.calls) == len(task.get_runs()) == 2


def test_many_tasks_are_added_in_one_step(home: Home) -> None:
    scheduler = home.start()
    tasks = scheduler.add_tasks(
        [
            Task(jobs.note, "interval", minutes=1, id="a"),
            {"fn": jobs.note, "trigger": "cron", "minute": "*", "id": "b"},
            {"fn": "tests.unit.scheduler.jobs:note", "every": "1m", "id": "c"},
            {"fn": jobs.note, "id": "d"},
        ]
    )
    assert [task.id for task in tasks] == ["a", "b", "c", "d"]
    scheduler.advance(minutes=1)
    assert len(jobs.calls) == 1 + 2 + 1 + 1


def test_of_many_tasks_none_is_added_if_one_is_refused(home: Home) -> None:
    scheduler = home.start()
    scheduler.add_task(jobs.note, "interval", minutes=1, id="taken")
    fresh = {"fn": jobs.note, "every": "2m"}
    with pytest.raises(ConflictingTaskError, match="taken"):
        scheduler.add_tasks([{**fresh, "id": "a"}, {**fresh, "id": "taken"}])
    with pytest.raises(TaskConfigurationError, match="set fn="):
        scheduler.add_tasks([{**fresh, "id": "a"}, {"every": "2m"}])
    assert [task.id for task in scheduler.get_tasks()] == ["taken"]
    # Whatever makes a mapping is one.
    items: Any = {**fresh, "id": "b"}.items()
    assert [task.id for task in scheduler.add_tasks([items])] == ["b"]


# --- kinds of functions -------------------------------------------------------------------------


def test_each_kind_of_function_lands_on_its_executor(home: Home) -> None:
    scheduler = home.start()
    for given, expected in [
        (jobs.note, "threadpool"),
        (jobs.coroutine, "asyncio"),
        (functools.partial(jobs.coroutine, 1), "asyncio"),
        (jobs.Shop.open, "threadpool"),
        ("tests.unit.scheduler.jobs:bell", "asyncio"),
    ]:
        args = ["softly"] if isinstance(given, str) else []
        assert scheduler.add_task(given, args=args).snapshot().executor == expected  # type: ignore[arg-type]
    scheduler.step()
    assert statuses(scheduler) == ["completed"] * 5


def test_an_executor_named_default_takes_all_that_name_none(home: Home) -> None:
    scheduler = home.start(executors={"default": "inline"})
    tasks = [scheduler.add_task(each) for each in (jobs.note, jobs.coroutine)]
    assert {task.snapshot().executor for task in tasks} == {"default"}
    scheduler.step()
    assert statuses(scheduler) == ["completed"] * 2


def test_partials_are_stored_as_their_function_and_arguments(home: Home) -> None:
    scheduler = home.start()
    inner = functools.partial(jobs.note, 1, a=1)
    task = scheduler.add_task(functools.partial(inner, 2, b=2), args=[3], kwargs={"a": 4})
    info = task.snapshot()
    assert (info.args, info.kwargs) == ([1, 2, 3], {"a": 4, "b": 2})
    scheduler.step()
    assert jobs.calls == [((1, 2, 3), {"a": 4, "b": 2})]


def test_static_and_class_methods_can_be_stored(home: Home) -> None:
    scheduler = home.start()
    scheduler.add_task(jobs.Shop.open)
    scheduler.add_task(jobs.Shop.close)
    scheduler.add_task("tests.unit.scheduler.jobs:shop.sell", args=["tea"])
    scheduler.step()
    assert sorted(jobs.calls) == ["Shop.close", "Shop.open", "sold tea"]


def test_what_has_no_name_lives_in_memory(memory_home: Home) -> None:
    heard = []

    def receiver() -> Generator[None, str, None]:
        while True:
            heard.append((yield))

    def nested() -> None:
        heard.append("nested")

    generator = receiver()
    next(generator)
    scheduler = memory_home.start()
    scheduler.add_task(lambda: heard.append("lambda"))
    scheduler.add_task(nested)
    scheduler.add_task(generator.send, args=["sent"])
    scheduler.add_task(jobs.Shop().sell, args=["milk"])
    scheduler.add_task(jobs.AsyncBell(), args=["twice"])
    scheduler.step()
    assert sorted(heard) == ["lambda", "nested", "sent"]
    rang, sold = sorted(jobs.calls)
    assert rang.startswith("rang twice in ")
    assert sold == "sold milk"
    assert statuses(scheduler) == ["completed"] * 5


def test_what_has_no_name_is_refused_by_a_store_that_outlives_the_process(
    sqlite_home: Home,
) -> None:
    def nested(*_: object) -> None: ...

    def receiver() -> Generator[None, str, None]:
        yield

    scheduler = sqlite_home.new()
    functions: list[tuple[Any, str]] = [
        (lambda *_: None, "lambda.*top of a module"),
        (nested, "top of its module"),
        (receiver().send, "memory store"),
        (jobs.Shop().sell, "class or static method"),
        (jobs.AsyncBell(), "give it a name in a module"),
    ]
    for function, advice in functions:
        with pytest.raises(InvalidReferenceError, match=advice):
            scheduler.add_task(function, "interval", minutes=1, args=["x"])
    assert not sqlite_home.file.exists()


@pytest.mark.parametrize("how", [{"scope": "node"}, {"store": "local"}])
def test_the_local_store_takes_what_has_no_name_beside_a_persistent_one(
    how: dict[str, str], sqlite_home: Home
) -> None:
    scheduler = sqlite_home.start()
    heard: list[str] = []
    task = scheduler.add_task(lambda: heard.append("here"), "interval", seconds=1, **how)
    scheduler.advance(seconds=3)
    assert heard == ["here"] * 3
    assert (task.store, task.snapshot().store) == ("local", "local")
    again = sqlite_home.start()
    assert again.get_tasks() == []


def test_every_scheduler_ticks_its_own_copy_of_a_task_of_scope_node(sqlite_home: Home) -> None:
    schedulers = [sqlite_home.start() for _ in range(2)]
    for number, scheduler in enumerate(schedulers):
        scheduler.add_task(jobs.note, "interval", seconds=1, scope="node", args=[number])
        scheduler.add_task(jobs.other, "interval", seconds=1, id="shared")
    for _ in range(3):
        sqlite_home.clock.advance(seconds=1)
        for scheduler in schedulers:
            scheduler.step()
    assert sorted(jobs.calls, key=str) == [("other",)] * 3 + [(0,)] * 3 + [(1,)] * 3


def test_generators_are_refused_as_they_would_run_nothing(home: Home) -> None:
    with pytest.raises(InvalidInputError, match="generator"):
        home.new().add_task(_generator)


def _generator() -> Generator[int, None, None]:
    yield 1


def test_many_tasks_that_are_almost_alike_are_told_apart(home: Home) -> None:
    """Alike ones are read only once; what only compares equal isn't alike."""
    berlin = ZoneInfo("Europe/Berlin")
    scheduler = home.new().connect()
    others: list[dict[str, Any]] = [
        {"run_at": datetime(2026, 10, 25, 2, 30, tzinfo=berlin)},
        {"run_at": datetime(2026, 10, 25, 2, 30, tzinfo=berlin, fold=1)},
        {"run_at": "2026-10-25T03:00", "timezone": "UTC", "max_instances": 1},
        {"run_at": "2026-10-25T03:00", "timezone": "UTC", "max_instances": 1, "name": "c"},
        {"run_at": "2026-10-25T03:00", "timezone": "UTC", "max_instances": 1, "args": [1]},
        {"run_at": "2026-10-25T03:00", "timezone": "UTC", "max_instances": 1, "args": [True]},
        {"run_at": "2026-10-25T03:00", "timezone": "UTC", "max_instances": 1, "paused": True},
        {"run_at": "2026-10-25T04:00", "timezone": "UTC", "max_instances": 1},
    ]
    tasks = scheduler.add_tasks(
        {"fn": jobs.note, "trigger": "date", "id": f"{number}{twice}", **other}
        for number, other in enumerate(others)
        for twice in "ab"
    )
    infos = [task.snapshot() for task in tasks]
    assert [info.id for info in infos] == [f"{at}{x}" for at in range(len(others)) for x in "ab"]
    hour = datetime(2026, 10, 25, tzinfo=UTC)
    times = [hour + timedelta(minutes=each) for each in (30, 90, 180, 180, 180, 180, 240)]
    assert [info.next_run_time for info in infos[::2]] == [*times[:6], None, times[6]]
    assert [info.args for info in infos[::2]] == [[], [], [], [], [1], [True], [], []]
    assert [info.name for info in infos[::2]] == ["note", "note", "note", "c", *["note"] * 4]
    for first, second in zip(infos[::2], infos[1::2], strict=True):
        same = {"id": second.id, "etag": second.etag}
        assert first.model_copy(update=same) == second
    with pytest.raises(InvalidInputError, match="max_instances=True"):
        scheduler.add_tasks(
            {"fn": jobs.note, "trigger": "date", "id": str(number), "max_instances": number}
            for number in (1, True)
        )
    with pytest.raises(TaskConfigurationError, match="at most 191"):
        scheduler.add_tasks(
            {"fn": jobs.note, "trigger": "date", "id": each} for each in ("a", "b" * 192)
        )


# --- options ------------------------------------------------------------------------------------


def test_defaults_hold_where_a_task_says_nothing_else(memory_home: Home) -> None:
    scheduler = memory_home.start(
        task_defaults={"max_instances": 3, "coalesce": "all", "mistrigger_grace_time": 60},
        timezone="Europe/Berlin",
    )
    plain = scheduler.add_task(jobs.note, "cron", hour=8).snapshot()
    assert (plain.max_instances, plain.coalesce, plain.misfire_grace_time) == (3, "all", 60.0)
    assert plain.next_run_time == datetime(2026, 1, 1, 7, tzinfo=UTC)
    own = scheduler.add_task(
        jobs.note, "cron", hour=8, timezone="UTC", max_instances=1, coalesce=True,
        misfire_grace_time=None,
    ).snapshot()  # fmt: skip
    assert (own.max_instances, own.coalesce, own.misfire_grace_time) == (1, "latest", None)
    assert own.next_run_time == datetime(2026, 1, 1, 8, tzinfo=UTC)


def test_what_a_trigger_says_about_jitter_is_the_tasks(memory_home: Home) -> None:
    scheduler = memory_home.start(task_defaults={"jitter": 10})
    assert scheduler.add_task(jobs.note, "interval", hours=1).snapshot().jitter == 10
    trigger = IntervalTrigger(hours=1, jitter=60)
    assert scheduler.add_task(jobs.note, trigger).snapshot().jitter == 60
    assert scheduler.add_task(jobs.note, trigger, jitter=5).snapshot().jitter == 5
    assert scheduler.add_task(jobs.note, "interval", hours=1, jitter=7).snapshot().jitter == 7
    task = scheduler.add_task(jobs.note, "interval", hours=1)
    assert task.reschedule("interval", hours=2, jitter=3).snapshot().jitter == 3


def test_a_next_run_time_comes_first_and_none_means_paused(home: Home) -> None:
    scheduler = home.start()
    soon = START + timedelta(seconds=5)
    task = scheduler.add_task(jobs.note, "interval", minutes=1, id="a", next_run_time=soon)
    paused = scheduler.add_task(jobs.other, "interval", minutes=1, id="b", next_run_time=None)
    assert task.next_run_time == soon
    assert (paused.schedule_state, paused.next_run_time) == ("paused", None)
    scheduler.advance(minutes=1)
    assert [run.fire_time for run in scheduler.get_runs()] == [START + timedelta(minutes=1), soon]


def test_the_misfire_grace_time_has_another_spelling(memory_home: Home) -> None:
    scheduler = memory_home.start()
    task = scheduler.add_task(jobs.note, "interval", minutes=1, mistrigger_grace_time=30)
    assert task.snapshot().misfire_grace_time == 30.0
    task.update(mistrigger_grace_time=None)
    assert task.snapshot().misfire_grace_time is None
    with pytest.raises(TaskConfigurationError, match="give one of them"):
        task.update(mistrigger_grace_time=30, misfire_grace_time=30)


@pytest.mark.parametrize(
    ("given", "alias"),
    [
        ({"trigger": "interval", "seconds": 5}, "interval"),
        ({"trigger": "cron", "hour": 5}, "cron"),
        ({"trigger": "date"}, "date"),
        ({"trigger": "calendar", "months": 1}, "calendar"),
        ({"trigger": "and", "triggers": [CronTrigger(hour=3), CronTrigger(day=1, hour=3)]}, "and"),
        ({"trigger": "or", "triggers": [CronTrigger(hour=3), CronTrigger(hour=5)]}, "or"),
        ({"trigger": "shutdown"}, "shutdown"),
    ],
)
def test_triggers_have_aliases(given: dict[str, Any], alias: str, home: Home) -> None:
    scheduler = home.start()
    info = scheduler.add_task(jobs.note, paused=True, **given).snapshot()
    assert info.trigger_alias == alias
    assert info.trigger_description


def test_executors_have_aliases(memory_home: Home) -> None:
    aliases = ["asyncio", "inline", "processpool", "threadpool"]
    scheduler = memory_home.new(
        executors={"inline": "inline", "pool": {"type": "threadpool", "max_workers": 2}}
    )
    for alias in aliases:
        task = scheduler.add_task(jobs.note, "interval", minutes=1, executor=alias)
        assert task.snapshot().executor == alias
    assert scheduler.snapshot().executors == {
        **{alias: alias for alias in aliases}, "pool": "threadpool",
    }  # fmt: skip


def test_ids_are_the_tasks_own_in_each_store(memory_home: Home) -> None:
    scheduler = memory_home.start(stores={"default": "memory://", "second": {"type": "memory"}})
    scheduler.add_task(jobs.note, "interval", seconds=1, id="a", args=[1])
    scheduler.add_task(jobs.note, "interval", seconds=1, id="a", args=[2], store="second")
    scheduler.advance(seconds=2)
    assert sorted(jobs.calls) == [(1,), (1,), (2,), (2,)]
    with pytest.raises(TaskConfigurationError, match="say store="):
        scheduler.get_task("a")
    assert scheduler.get_task("a", store="second").snapshot().args == [2]
    scheduler.remove_task("a", store="second")
    assert scheduler.get_task("a").store == "default"


def test_all_of_a_scheduler_is_awaitable() -> None:
    async def use() -> None:
        async with Scheduler() as scheduler:
            task = await scheduler.aio.add_task(jobs.note, "interval", hours=1, id="a")
            await task.aio.pause()
            assert (await task.aio.snapshot()).schedule_state == "paused"
            await scheduler.aio.resume_task("a")
            run = await task.aio.run()
            assert (await run.aio.snapshot()).task_id == "a"
            assert len(await scheduler.aio.get_tasks()) == 1
            assert (await scheduler.aio.snapshot()).state == scheduler.aio.state == "started"
            await scheduler.aio.remove_task("a")
        assert scheduler.state == "new"

    asyncio.run(use())
