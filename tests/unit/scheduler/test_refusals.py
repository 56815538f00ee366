"""What could never work is refused at the door, with a message that says what to do."""

import threading
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from tests.unit.scheduler import jobs
from tests.unit.scheduler.conftest import Home
from tickwork import (
    ConflictingTaskError,
    InvalidArgumentsError,
    InvalidInputError,
    InvalidReferenceError,
    InvalidTriggerError,
    Scheduler,
    TaskConfigurationError,
)

IN_THE_PAST = datetime(2020, 1, 1, tzinfo=UTC)


# --- intervals ----------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["every", "interval"])
@pytest.mark.parametrize(
    ("interval", "advice"),
    [
        ("60", "such as|like '1h'"),
        ("1.5h", "like '1h'"),
        ("-1s", "like '1h'"),
        ("0s", "positive"),
        ("", "like '1h'"),
        ("1 h", "like '1h'"),
        ("an hour", "like '1h'"),
        ("1h30m", "like '1h'"),
        ("\uff11h", "like '1h'"),
        (0, "positive"),
        (-1, "positive"),
        (0.0, "positive"),
        (1e-9, "1 microsecond or more"),
        (float("nan"), "like '1h'"),
        (float("inf"), "like '1h'"),
        (True, "like '1h'"),
        (False, "like '1h'"),
        (10**400, "below 10,000 years"),
        (-(10**400), "positive"),
        (1e300, "below 10,000 years"),
        ("9" * 5000 + "w", "below 10,000 years"),
        (b"1h", "like '1h'"),
        (timedelta(0), "positive"),
        (timedelta(seconds=-1), "positive"),
        ([1], "like '1h'"),
        (date(2026, 1, 1), "like '1h'"),
    ],
)
def test_an_interval_that_is_none(interval: Any, way: str, advice: str) -> None:
    with pytest.raises(InvalidTriggerError, match=advice):
        Scheduler().task(**{way: interval})


def test_no_interval_at_all_is_not_an_interval_either() -> None:
    for way in ("every", "interval", "cron", "at"):
        with pytest.raises(TaskConfigurationError, match="must be provided"):
            Scheduler().task(**{way: None})


@pytest.mark.parametrize(
    "value", [0, -1, True, float("nan"), float("inf"), "5", None, b"5", 10**400]
)
def test_a_part_of_an_interval_that_is_none(value: Any) -> None:
    with pytest.raises(InvalidTriggerError, match=r"minutes|positive|too long|number of seconds"):
        Scheduler().add_task(jobs.note, "interval", minutes=value)


# --- cron and dates -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "expression",
    [
        "99 * * * *", "* 24 * * *", "* * 32 * *", "* * 0 * *", "* * * 13 *", "* * * * 8",
        "0 0 30 2 *", "0 0 31 4,6,9,11 *", "*/0 * * * *", "5-1 * * * *", "1-2-3 * * * *",
        "* * * *", "* * * * * * *", "", " ", "every day", "@never", "* * * foo *", "a b c d e",
        "-1 * * * *", "1.5 * * * *", "1, * * * *", "*/-5 * * * *", "* * L-40 * *",
    ],
)  # fmt: skip
def test_a_crontab_expression_that_is_none(expression: str) -> None:
    with pytest.raises(InvalidTriggerError, match=r".{15}"):
        Scheduler().task(cron=expression)


@pytest.mark.parametrize("expression", [None, 5, b"* * * * *", True, ["*"] * 5])
def test_a_crontab_expression_that_is_no_text(expression: Any) -> None:
    with pytest.raises(InvalidInputError):
        Scheduler().task(cron=expression)


@pytest.mark.parametrize(
    "fields",
    [
        {"hour": 24}, {"minute": 60}, {"month": 13}, {"day": 0}, {"day": 30, "month": 2},
        {"day_of_week": 7}, {"hour": "*/0"}, {"hour": "5-1"}, {"hour": True}, {"hour": 1.5},
        {"hour": "x"}, {"hour": b"1"}, {"week": 54}, {"hour": ""},
        {"start_at": "2026-02-01", "end_at": "2026-01-01"}, {"minute": "1,,2"},
    ],
)  # fmt: skip
def test_fields_of_a_cron_trigger_that_never_fire(fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidTriggerError):
        Scheduler().add_task(jobs.note, "cron", **fields)


def test_six_fields_where_five_are_asked() -> None:
    with pytest.raises(InvalidTriggerError, match="a sixth for the seconds isn't asked for here"):
        Scheduler().task(cron="0 * * * * *", seconds=False)
    with pytest.raises(InvalidTriggerError, match="are needed"):
        Scheduler().task(cron="* * * * *", seconds=True)
    with pytest.raises(InvalidTriggerError, match="are needed"):
        Scheduler().task(cron="0 0 0 0 0 0 0")


@pytest.mark.parametrize(
    ("moment", "zone", "advice"),
    [
        ("2026-03-29 02:30", "Europe/Berlin", "does not exist in Europe/Berlin.*another time"),
        (datetime(2026, 3, 8, 2, 30), "America/New_York", "does not exist"),
        ("2026-02-30", "UTC", "such as '2026-12-24 18:00'"),
        ("tomorrow", "UTC", "such as '2026-12-24 18:00'"),
        ("", "UTC", "such as"),
        (1767225600, "UTC", "such as"),
        (True, "UTC", "such as"),
        (b"2026-01-01", "UTC", "such as"),
        ("2026-01-01", "Europe/Bern", "Unknown time zone: 'Europe/Bern'; give an IANA name"),
        ("2026-01-01", "CET5", "Unknown time zone"),
        ("2026-01-01", 5, "time zone"),
        ("0001-01-01 00:00", "Asia/Tokyo", "out of range"),
    ],
)
def test_a_moment_that_is_none(moment: Any, zone: Any, advice: str) -> None:
    with pytest.raises(InvalidTriggerError, match=advice):
        Scheduler().add_task(jobs.note, "date", run_at=moment, timezone=zone)
    with pytest.raises(InvalidTriggerError, match=advice):
        Scheduler().task(at=moment, timezone=zone)(jobs.note)


def test_a_naive_moment_that_the_schedulers_zone_does_not_know() -> None:
    scheduler = Scheduler(timezone="Europe/Berlin")
    lost = "2026-03-29 02:30"
    given: dict[str, Any]
    for given in (
        {"trigger": "date", "run_at": lost},
        {"trigger": "interval", "hours": 1, "start_at": lost},
        {"every": "1h", "next_run_time": lost},
    ):
        with pytest.raises(InvalidTriggerError, match="does not exist in Europe/Berlin"):
            scheduler.add_task(jobs.note, **given)


# --- spelling -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "advice"),
    [
        ({"trigger": "interval", "minuts": 5}, "'minuts'.*did you mean 'minutes'.*it takes"),
        ({"trigger": "cron", "hours": 5}, "did you mean 'hour'"),
        ({"trigger": "date", "date": "2026-01-01"}, "it takes run_at, timezone"),
        ({"trigger": "shutdown", "hour": 3}, "it takes"),
        ({"trigger": "interval", "minutes": 5, "max_instance": 3}, "neither an option of a task"),
        ({"trigger": "intervall", "minutes": 5}, "did you mean 'interval'"),
        ({"trigger": 5}, "not a trigger"),
        ({"trigger": Scheduler}, "not a trigger"),
        ({"every": "5m", "minutes": 5}, "'minutes'"),
        ({"cron": "* * * * *", "hour": 5}, "'hour'"),
        ({"at": "2027-01-01", "hour": 5}, "'hour'"),
        ({"trigger": "interval"}, "positive|interval"),
        ({"trigger": "and"}, "triggers"),
        ({"trigger": "and", "triggers": []}, "one or more"),
        ({"trigger": "or", "triggers": ["interval"]}, "Not a trigger"),
    ],
)
def test_words_that_mean_nothing(given: dict[str, Any], advice: str) -> None:
    with pytest.raises(InvalidInputError, match=advice):
        Scheduler().add_task(jobs.note, **given)


@pytest.mark.parametrize(
    ("option", "value", "advice"),
    [
        ("coalesce", "sometimes", "'latest', 'earliest', 'all'"),
        ("coalesce", None, "'latest'"),
        ("coalesce", 1, "'latest'"),
        ("misfire_grace_time", 0, "None for no limit"),
        ("misfire_grace_time", -5, "negative"),
        ("misfire_grace_time", "60", "seconds as a number"),
        ("misfire_grace_time", True, "seconds as a number"),
        ("misfire_grace_time", float("nan"), "seconds as a number"),
        ("misfire_grace_time", float("inf"), "seconds as a number|None"),
        ("misfire_grace_time", 10**400, "misfire_grace_time"),
        ("max_instances", 0, "at least 1|from 1"),
        ("max_instances", True, "whole number"),
        ("max_instances", 1.5, "whole number"),
        ("max_instances", None, "whole number"),
        ("jitter", -1, "negative"),
        ("jitter", "5", "seconds as a number"),
        ("jitter", True, "seconds as a number"),
        ("jitter", 10**400, "jitter"),
        ("jitter", 1e18, "jitter"),
        ("delivery", "exactly_once", "'at_least_once', 'at_most_once'"),
        ("fixed_delay", 1, "True or False"),
        ("max_history", -1, "at least 0|from 0"),
        ("max_history", 10**30, "max_history"),
        ("scope", "galaxy", "'cluster', 'node'"),
        ("store", "elsewhere", "this scheduler has default, local"),
        ("executor", "gpu", "this scheduler has asyncio, processpool, threadpool"),
        ("executor", 5, "there is no executor"),
        ("id", "", "names something"),
        ("id", "  ", "names something"),
        ("id", 5, "names something"),
        ("id", b"x", "names something"),
        ("id", "x" * 192, "192 characters; at most 191"),
        ("id", "\ud800", "id="),
        ("name", "\ud800", "name="),
        ("name", 5, "names something"),
        ("tags", "nightly", "write tags="),
        ("tags", [5], "names something"),
        ("tags", ["\ud800"], "tag="),
        ("args", "abc", "write args="),
        ("args", b"abc", "write args="),
        ("args", 5, "write args="),
        ("kwargs", [1], "write kwargs="),
        ("kwargs", {5: 1}, "names of parameters|keyword"),
        ("next_run_time", "soon", "such as"),
        ("next_run_time", 5, "such as"),
    ],
)
def test_options_that_mean_nothing(option: str, value: Any, advice: str, sqlite_home: Home) -> None:
    with pytest.raises(InvalidInputError, match=advice):
        sqlite_home.new().add_task(jobs.note, "interval", minutes=1, **{option: value})


@pytest.mark.parametrize("flag", ["paused", "replace_existing"])
def test_flags_are_truth_values(flag: str) -> None:
    with pytest.raises(InvalidInputError, match="True or False"):
        Scheduler().add_task(jobs.note, "interval", minutes=1, **{flag: "no"})


def test_a_lonely_surrogate_never_gets_into_a_row(sqlite_home: Home) -> None:
    # Arguments take anything: names of files that aren't UTF-8 have such characters.
    scheduler = sqlite_home.start()
    scheduler.add_task(jobs.note, args=["caf\udce9"])
    scheduler.step()
    assert jobs.calls == [("caf\udce9",)]


# --- functions and arguments --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "advice"),
    [
        ("tests.unit.scheduler.jobs.note", "put a colon after the module"),
        ("tests.unit.scheduler.jobs:notte", "did you mean 'note'"),
        ("tests.unit.scheduler.nowhere:note", "there is no module"),
        ("tests.unit.scheduler.jobs:calls", "can't be called"),
        ("__main__:note", "under which other processes import"),
        (":", "module:function"),
        ("", "module:function"),
        (5, "can't be called"),
        (b"m:f", "can't be called"),
    ],
)
def test_functions_that_are_none(function: Any, advice: str) -> None:
    with pytest.raises(InvalidReferenceError, match=advice):
        Scheduler().add_task(function, "interval", minutes=1)


@pytest.mark.parametrize(
    ("function", "arguments", "advice"),
    [
        (jobs.add, {}, "'a'; pass it with args= or kwargs="),
        (jobs.add, {"args": [1, 2, 3]}, "leave out 3"),
        (jobs.add, {"args": [1], "kwargs": {"c": 1}}, "unexpected keyword argument 'c'"),
        (jobs.add, {"args": [1], "kwargs": {"a": 1}}, "two values for 'a'"),
        (jobs.note, {"args": [threading.Lock()]}, "can't be stored.*pass an id or plain data"),
        (jobs.note, {"args": [lambda: 1]}, "pass its name as text"),
        (jobs.note, {"kwargs": {"x": object()}}, "pass an id or plain data"),
        (jobs.note, {"args": [{1: {2: open}}]}, "can't be stored"),
    ],
)
def test_arguments_that_do_not_fit_or_do_not_survive_storage(
    function: Callable[..., Any], arguments: dict[str, Any], advice: str, home: Home
) -> None:
    with pytest.raises(InvalidArgumentsError, match=advice):
        home.new().add_task(function, "interval", minutes=1, **arguments)


def test_a_lambda_is_not_for_other_processes(memory_home: Home) -> None:
    with pytest.raises(InvalidInputError, match="executor"):
        memory_home.new().add_task(lambda: 1, "interval", minutes=1, executor="processpool")


def test_what_would_be_missing_at_each_run_is_refused(memory_home: Home) -> None:
    def report(run_id: str) -> None:
        jobs.calls.append(run_id)

    scheduler = memory_home.start()
    try:
        scheduler.add_task(report)
    except InvalidArgumentsError:
        return
    scheduler.step()
    assert jobs.calls == [scheduler.get_runs()[0].id]


def test_one_trigger_is_enough() -> None:
    with pytest.raises(TaskConfigurationError, match="name only one"):
        Scheduler().add_task("cron", "interval", minutes=1)


# --- duplicates ---------------------------------------------------------------------------------


@pytest.mark.parametrize("connected", [True, False])
def test_an_id_that_is_taken(connected: bool, home: Home) -> None:
    scheduler = home.new()
    if connected:
        scheduler.connect()
    scheduler.add_task(jobs.note, "interval", minutes=1, id="a")
    with pytest.raises(ConflictingTaskError, match=r"'a' .*another id.*replace_existing=True"):
        scheduler.add_task(jobs.note, "interval", minutes=2, id="a")
    scheduler.add_task(jobs.note, "interval", minutes=3, id="a", replace_existing=True)
    assert scheduler.get_task("a").snapshot().trigger_description == "every 3 minutes"


@pytest.mark.parametrize("connected", [True, False])
def test_a_second_task_of_a_function_needs_an_id(connected: bool, sqlite_home: Home) -> None:
    scheduler = sqlite_home.new()
    if connected:
        scheduler.connect()
    scheduler.add_task(jobs.note, "interval", minutes=1)
    with pytest.raises(ConflictingTaskError, match="an id= of its own"):
        scheduler.add_task(jobs.note, "interval", minutes=2)
    scheduler.add_task(jobs.note, "interval", minutes=2, id="second")
    scheduler.add_task(jobs.note, "interval", minutes=3, replace_existing=True)
    assert len(scheduler.get_tasks()) == 2


@pytest.mark.parametrize("connected", [True, False])
def test_two_decorated_functions_of_one_name_need_ids(connected: bool, home: Home) -> None:
    scheduler = home.new()
    if connected:
        scheduler.connect()
    scheduler.task(every="1m")(jobs.note)
    with pytest.raises(ConflictingTaskError, match="an id= of its own"):
        scheduler.task(every="2m")(jobs.note)


# --- schedulers ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "advice"),
    [
        ({"store": "tasks.db"}, "not the URL of a store; examples: memory://, sqlite:///"),
        ({"store": ""}, "store"),
        ({"store": {}}, "store|type"),
        (
            {"store": "carrier-pigeon://x"},
            "known stores: file, memory, mongo, redis, sqlalchemy",
        ),
        ({"store": 5}, "is not a store"),
        ({"store": "memory://", "stores": {"default": "memory://"}}, "not both"),
        ({"stores": {}}, "needs a 'default'"),
        ({"stores": {"main": "memory://"}}, "needs a 'default', it has main"),
        ({"stores": {"default": {"type": "memory", "size": 5}}}, "'size' is not an option"),
        ({"stores": {"default": {"typ": "memory"}}}, 'a "type" or a "url"'),
        ({"stores": {"default": "memory://", "local": "sqlite://"}}, "choose another name"),
        ({"store": "sqlite:///x.db?durability=none"}, "durability"),
        ({"executors": {"fast": "warp"}}, "not one of the known executors"),
        ({"executors": {"fast": {"type": "threadpool", "worker": 5}}}, "did you mean|max_workers"),
        ({"executors": {"fast": {"max_workers": 5}}}, 'an executor needs a "type"'),
        ({"executors": {"fast": 5}}, "is not an executor"),
        ({"executors": {"fast": {"type": "threadpool", "max_workers": 0}}}, "at least 1"),
        ({"task_defaults": {"max_instance": 3}}, "can't be a default.*max_instances"),
        ({"task_defaults": {"id": "x"}}, "can't be a default"),
        ({"task_defaults": {"max_instances": 0}}, "at least 1|from 1"),
        ({"task_defaults": {"coalesce": "x"}}, "'latest'"),
        ({"timezone": "Mars/Phobos"}, "Unknown time zone"),
        ({"timezone": None}, "timezone=None"),
    ],
)
def test_schedulers_that_can_not_be(options: dict[str, Any], advice: str) -> None:
    with pytest.raises(InvalidInputError, match=advice):
        Scheduler(**options)


def test_options_that_a_scheduler_does_not_have() -> None:
    with pytest.raises(TypeError, match="job_defaults"):
        Scheduler(job_defaults={})  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("call", "advice"),
    [
        (lambda s: s.get_tasks(state="waiting"), "pending.*scheduled.*paused"),
        (lambda s: s.get_tasks(sort="age"), "next_run_time"),
        (lambda s: s.get_tasks(limit=-1), "limit"),
        (lambda s: s.get_tasks(offset=-1), "offset"),
        (lambda s: s.get_tasks(limit=True), "limit"),
        (lambda s: s.get_tasks(store="elsewhere"), "this scheduler has default"),
        (lambda s: s.get_runs(status="done"), "completed"),
        (lambda s: s.get_runs(source="me"), "manual"),
        (lambda s: s.get_runs(since=datetime(2026, 1, 1)), "aware|naive"),
        (lambda s: s.get_runs(until=datetime(2026, 1, 1)), "aware|naive"),
        (lambda s: s.get_runs(limit=-1), "limit"),
        (lambda s: s.get_runs(offset=-1), "offset"),
        (lambda s: s.preview("interval", 5), "positive|interval"),
        (lambda s: s.preview("interval", -1, minutes=5), "count=-1"),
        (lambda s: s.preview("interval", True, minutes=5), "count=True"),
        (lambda s: s.preview("interval", 10**9, minutes=5), "10000"),
        (lambda s: s.preview("interval", 5, minuts=5), "did you mean 'minutes'"),
        (lambda s: s.on("RunFailed", print), "not a kind of event"),
        (lambda s: s.on(ValueError, print), "not a kind of event"),
    ],
)
def test_questions_that_mean_nothing(
    call: Callable[[Any], object], advice: str, home: Home
) -> None:
    scheduler = home.start()
    scheduler.add_task(jobs.note, "interval", minutes=1)
    with pytest.raises(InvalidInputError, match=advice):
        call(scheduler)


@pytest.mark.parametrize(
    ("changes", "advice"),
    [
        ({"id": "b"}, "ids don't change"),
        ({"store": "local"}, "stays where it is"),
        ({"scope": "node"}, "stays where it is"),
        ({"replace_existing": True}, "can't be changed; these can"),
        ({"paused": True}, "can't be changed; these can"),
        ({"max_instances": 0}, "at least 1|from 1"),
        ({"args": None}, "args="),
        ({"kwargs": None}, "kwargs="),
        ({"args": "abc"}, "args"),
        ({"args": [1, 2, 3]}, "leave out 3"),
        ({"kwargs": {"z": 1}}, "unexpected keyword argument 'z'"),
        ({"args": [object()]}, "can't be stored"),
        ({"executor": "gpu"}, "there is no executor"),
        ({"name": ""}, "names something"),
        ({"tags": "x"}, "write tags="),
        ({"trigger": "interval"}, "positive|interval"),
        ({"trigger": None}, "must be provided"),
        ({"trigger": "interval", "minuts": 1}, "did you mean 'minutes'"),
        ({"minutes": 5}, "must be provided|'minutes'"),
        ({"nonsense": 5}, "must be provided|'nonsense'"),
        ({"every": "5m", "cron": "* * * * *"}, "not both"),
        ({"next_run_time": "soon"}, "such as"),
    ],
)
def test_changes_that_can_not_be(changes: dict[str, Any], advice: str, home: Home) -> None:
    scheduler = home.start()
    task = scheduler.add_task(jobs.add, "interval", minutes=1, id="a", args=[1])
    before = task.snapshot()
    with pytest.raises(InvalidInputError, match=advice):
        task.update(**changes)
    assert task.snapshot() == before


def test_a_first_time_that_is_dealt_with_can_not_be_told(home: Home) -> None:
    scheduler = home.start()
    task = scheduler.add_task(jobs.note, "interval", minutes=1)
    scheduler.advance(minutes=5)
    with pytest.raises(TaskConfigurationError, match=r"lies at or before .*run\(\)"):
        task.update(next_run_time="2026-01-01 00:03")
    assert len(task.get_runs()) == 5
