"""What APScheduler's users had, row by row of docs/coming_from.md."""

import asyncio
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.compat import jobs
from tests.compat.stepping import advance, stepped, summary
from tickwork import AndTrigger, CronTrigger, IntervalTrigger
from tickwork.compat import apscheduler
from tickwork.errors import InvalidArgumentsError
from tickwork.events import SchedulerStopped
from tickwork.stores.memory import MemoryStore
from tickwork.testing import ManualClock
from tickwork.triggers import CalendarIntervalTrigger

Stepped = stepped(apscheduler.BackgroundScheduler)
WAIT_S = 20


@pytest.fixture
def scheduler() -> Iterator[Any]:
    with Stepped() as scheduler:
        yield scheduler


def fires(job: Any, count: int = 3) -> list[str]:
    """Return the next fire times of a job."""
    moments = job._home().preview(job, count)  # noqa: SLF001  a job doesn't tell its scheduler
    return [f"{moment:%d %H:%M:%S}" for moment in moments]


def test_coroutines_run_in_every_scheduler() -> None:
    for kind in (apscheduler.BackgroundScheduler, apscheduler.AsyncIOScheduler):
        with stepped(kind)() as scheduler:
            scheduler.add_job(jobs.blink, "interval", seconds=10)
            scheduler.add_job(jobs.tick, "interval", seconds=10)
            scheduler.advance(seconds=30)
            results = [run.result for run in scheduler.get_runs(status="completed")]
        assert sorted(results, key=str) == [None] * 3 + ["on the loop"] * 3


def test_a_blocking_scheduler_blocks_until_it_is_shut_down() -> None:
    scheduler = apscheduler.BlockingScheduler(daemon=True)

    def last() -> None:
        jobs.calls.append(scheduler.running)
        scheduler.shutdown()

    scheduler.add_job(last)
    main = threading.Thread(target=scheduler.start)
    main.start()
    main.join(WAIT_S)
    assert not main.is_alive()
    assert (jobs.calls, scheduler.running) == ([True], False)


def test_jobs_are_added_by_alias_class_and_object(scheduler: Any) -> None:
    scheduler.add_job(jobs.tick, "interval", [1], minutes=5, id="alias")
    trigger = apscheduler.IntervalTrigger(minutes=5)
    scheduler.add_job(jobs.tick, trigger, args=[2], id="object")
    scheduler.add_job("tests.compat.jobs:tick", "cron", args=[3], minute="*/5", id="text")
    scheduler.add_job(jobs.tick, id="now")
    assert trigger == IntervalTrigger(minutes=5)
    scheduler.advance(minutes=5)
    assert sorted(jobs.calls) == [(), (1,), (2,), (3,), (3,)]


def test_triggers_begin_and_end_as_there(scheduler: Any) -> None:
    begin, end = "2026-01-01 00:10", "2026-01-01 00:20"
    often = scheduler.add_job(
        jobs.tick, "interval", minutes=5, start_date=begin, end_date=end, id="interval"
    )
    assert fires(often, 9) == ["01 00:10:00", "01 00:15:00", "01 00:20:00"]
    once = scheduler.add_job(jobs.tick, "date", run_date="2026-01-02 03:04", id="date")
    assert fires(once) == ["02 03:04:00"]
    assert apscheduler.DateTrigger(datetime(2026, 1, 2, tzinfo=UTC)).run_at is not None
    hourly = apscheduler.CronTrigger(minute=0, start_date=begin)
    assert hourly == CronTrigger(minute=0, start_at=begin)
    dates = CalendarIntervalTrigger(months=1, hour=9, start_date="2026-01-31")
    assert fires(scheduler.add_job(jobs.tick, dates), 2) == ["31 09:00:00", "31 09:00:00"]
    ending = apscheduler.IntervalTrigger(hours=1, start_date=begin, end_date=end)
    assert ending == IntervalTrigger(hours=1, start_at=begin, end_at=end)
    both = apscheduler.AndTrigger([hourly, apscheduler.IntervalTrigger(hours=2)])
    assert isinstance(both, AndTrigger)


def test_grace_of_a_second(scheduler: Any) -> None:
    scheduler.add_job(jobs.tick, "interval", minutes=1, id="a second")
    scheduler.add_job(jobs.tick, "interval", minutes=1, id="no limit", misfire_grace_time=None)
    scheduler.clock.advance(seconds=90)
    scheduler.step()
    found = {run.task_id: run.status.value for run in scheduler.get_runs()}
    assert found == {"a second": "missed", "no limit": "completed"}


def test_job_defaults_hold_for_all_jobs() -> None:
    defaults = {"coalesce": False, "max_instances": 3, "misfire_grace_time": None}
    with Stepped(job_defaults=defaults) as scheduler:
        job = scheduler.add_job(jobs.tick, "interval", minutes=1)
        assert (job.coalesce, job.max_instances, job.misfire_grace_time) == (False, 3, None)
        scheduler.clock.advance(minutes=5)
        scheduler.step()
        assert len(summary(scheduler, status="completed")) == 5
    assert (Stepped().add_job(jobs.tick).coalesce, Stepped().add_job(jobs.tick).max_instances) == (
        True,
        1,
    )


def test_job_stores_keep_data(tmp_path: Path) -> None:
    place = {"type": "sqlalchemy", "url": f"sqlite:///{tmp_path}/jobs.db"}
    for _ in range(2):
        with Stepped(jobstores={"default": place, "memory": {"type": "memory"}}) as scheduler:
            scheduler.add_job(
                jobs.tick, "interval", minutes=1, args=[5], id="kept", replace_existing=True
            )
            scheduler.add_job(jobs.tick, "interval", minutes=1, id="lost", jobstore="memory")
            with pytest.raises(InvalidArgumentsError, match="can't be stored"):
                scheduler.add_job(jobs.tick, "interval", minutes=1, args=[object()])
    with Stepped(jobstores={"default": place}) as scheduler:
        assert [(job.id, job.args) for job in scheduler.get_jobs()] == [("kept", [5])]


def test_executors_are_named_as_there() -> None:
    executors = {
        "default": apscheduler.ThreadPoolExecutor(2),
        "few": {"type": "threadpool", "max_workers": 1},
    }
    with Stepped(executors=executors) as scheduler:
        scheduler.add_job(jobs.tick, id="a", executor="few")
        scheduler.add_job(jobs.tick, id="b", executor="default")
        scheduler.step()
        assert {(run.task_id, run.executor) for run in scheduler.get_runs()} == {
            ("a", "few"),
            ("b", "default"),
        }
    with Stepped() as scheduler:
        job = scheduler.add_job(jobs.blink, "interval", minutes=1, executor="default")
        assert job.executor == "asyncio"


def test_the_time_zone_is_utc_unless_told(scheduler: Any) -> None:
    assert fires(scheduler.add_job(jobs.tick, "cron", hour=8), 1) == ["01 08:00:00"]
    with Stepped(timezone="Europe/Berlin") as other:
        assert fires(other.add_job(jobs.tick, "cron", hour=8), 1) == ["01 07:00:00"]
        there = other.add_job(jobs.tick, "cron", hour=8, timezone="America/New_York")
        assert fires(there, 1) == ["01 13:00:00"]


def test_declared_again_it_keeps_its_phase(tmp_path: Path) -> None:
    clock = ManualClock()
    place = {"default": f"sqlite:///{tmp_path}/jobs.db"}
    for _ in range(3):
        with Stepped(jobstores=place, clock=clock) as scheduler:
            # The same declaration is no conflict, whether it may replace or not.
            scheduler.add_job(jobs.tick, "interval", minutes=10, id="a")
            scheduler.add_job(jobs.tick, "interval", minutes=10, id="a", replace_existing=True)
            scheduler.advance(minutes=4)
    assert len(jobs.calls) == 1
    with (
        Stepped(jobstores=place, clock=clock) as scheduler,
        pytest.raises(apscheduler.ConflictingIdError, match="replace_existing=True"),
    ):
        scheduler.add_job(jobs.tick, "interval", minutes=11, id="a")


def test_a_function_is_decorated(scheduler: Any) -> None:
    @scheduler.scheduled_job("interval", [1], minutes=1, id="decorated")
    def job(number: int) -> None:
        jobs.calls.append(number)

    scheduler.advance(minutes=3)
    assert jobs.calls == [1, 1, 1]
    job(2)
    assert jobs.calls[-1] == 2


def test_jobs_are_looked_at_and_changed_by_id(scheduler: Any) -> None:
    scheduler.add_job(jobs.tick, "interval", hours=2, id="a", name="two hours")
    scheduler.add_job(jobs.add, "interval", hours=1, id="b", args=[1])
    assert [job.id for job in scheduler.get_jobs()] == ["b", "a"]
    assert scheduler.get_job("nothing") is None
    job = scheduler.get_job("b")
    assert (job.name, job.kwargs, job.executor) == ("add", {}, "threadpool")
    scheduler.modify_job("b", args=[2], max_instances=2, jobstore="default")
    assert (job.args, job.max_instances) == ([2], 2)
    scheduler.reschedule_job("b", trigger="cron", hour=6, start_date="2026-01-03")
    assert fires(job, 1) == ["03 06:00:00"]
    job.modify(trigger=apscheduler.DateTrigger("2026-01-02 01:00"))
    assert fires(job, 1) == ["02 01:00:00"]
    scheduler.pause_job("a")
    assert scheduler.get_job("a").next_run_time is None
    scheduler.resume_job("a")
    assert fires(scheduler.get_job("a"), 1) == ["01 02:00:00"]
    job.reschedule("interval", hours=3, start_date="2026-01-04")
    assert fires(job, 2) == ["04 00:00:00", "04 03:00:00"]
    scheduler.remove_job("a")
    with pytest.raises(apscheduler.JobLookupError, match="there is no task 'a'"):
        scheduler.remove_job("a")
    scheduler.remove_all_jobs(jobstore="default")
    assert scheduler.get_jobs() == []


def test_it_may_be_shut_down_from_inside() -> None:
    scheduler = apscheduler.BackgroundScheduler()
    stopped = threading.Event()
    scheduler.on(SchedulerStopped, lambda _: stopped.set())
    scheduler.add_job(lambda: scheduler.shutdown(wait=False))
    scheduler.start()
    assert stopped.wait(WAIT_S)

    async def main() -> None:
        stopped.clear()
        scheduler.start()
        scheduler.shutdown()
        await asyncio.to_thread(stopped.wait, WAIT_S)

    asyncio.run(main())
    assert (stopped.is_set(), scheduler.running) == (True, False)


def test_listeners_hear_codes(scheduler: Any) -> None:
    heard: list[Any] = []
    bad = apscheduler.EVENT_JOB_ERROR | apscheduler.EVENT_JOB_MISSED
    scheduler.add_listener(heard.append, bad)
    scheduler.add_listener(jobs.calls.append)
    scheduler.add_job(jobs.fail, "interval", minutes=1, id="fails")
    scheduler.add_job(jobs.add, "interval", minutes=1, id="adds", args=[1])
    scheduler.advance(minutes=1)
    scheduler.clock.advance(seconds=90)
    scheduler.step()
    first, *missed = heard
    assert (first.code, first.job_id, first.exception, first.jobstore) == (
        apscheduler.EVENT_JOB_ERROR, "fails", "ValueError: no luck", "default",
    )  # fmt: skip
    assert first.scheduled_run_time == datetime(2026, 1, 1, 0, 1, tzinfo=UTC)
    assert sorted((each.job_id, each.code) for each in missed) == [
        ("adds", apscheduler.EVENT_JOB_MISSED),
        ("fails", apscheduler.EVENT_JOB_MISSED),
    ]
    done = [each for each in jobs.calls if each.code == apscheduler.EVENT_JOB_EXECUTED]
    assert [(each.job_id, each.retval) for each in done] == [("adds", 2)]
    scheduler.pause_job("adds")
    scheduler.step()
    assert [each.job_id for each in jobs.calls if each.code == apscheduler.EVENT_JOB_MODIFIED] == [
        "adds"
    ]
    known = len(jobs.calls)
    scheduler.remove_listener(heard.append)
    scheduler.remove_listener(jobs.calls.append)
    scheduler.advance(minutes=5)
    assert (len(heard), len(jobs.calls)) == (3, known)


def test_two_schedulers_of_a_store_fire_once() -> None:
    clock, store = ManualClock(), MemoryStore()
    both = [Stepped(jobstores={"default": store}, clock=clock) for _ in range(2)]
    for scheduler in both:
        scheduler.start()
        scheduler.add_job(jobs.tick, "interval", minutes=1, id="a")
    advance(clock, both, minutes=20)
    for scheduler in both:
        scheduler.shutdown()
    assert len(jobs.calls) == 20


def test_it_is_paused_and_goes_on() -> None:
    scheduler = Stepped()
    scheduler.start(paused=True)
    scheduler.add_job(jobs.tick, "interval", minutes=1, misfire_grace_time=None)
    scheduler.advance(minutes=5)
    assert (jobs.calls, scheduler.running) == ([], True)
    scheduler.resume()
    scheduler.step()
    assert len(jobs.calls) == 1
    scheduler.shutdown()
    assert scheduler.running is False


def test_a_crontab_counts_its_days_from_sunday(scheduler: Any) -> None:
    trigger = apscheduler.CronTrigger.from_crontab("0 8 * * 1")
    assert f"{scheduler.preview(trigger, 1)[0]:%A}" == "Monday"
    assert f"{scheduler.preview('cron', 1, day_of_week=0)[0]:%A}" == "Monday"


def test_a_next_run_time_says_when_to_begin(scheduler: Any) -> None:
    paused = scheduler.add_job(jobs.tick, "interval", minutes=1, next_run_time=None)
    assert paused.paused is True
    soon = scheduler.clock.now() + timedelta(seconds=5)
    scheduler.add_job(jobs.tick, "interval", minutes=1, next_run_time=soon)
    scheduler.advance(minutes=2)
    assert len(jobs.calls) == 3


def test_it_is_configured_by_dict_and_keywords() -> None:
    scheduler = apscheduler.BackgroundScheduler(
        {"timezone": "Europe/Berlin", "job_defaults": {"max_instances": 2}},
        jobstores={"extra": {"type": "memory"}},
        daemon=True,
    )
    told = scheduler.snapshot()
    assert (told.timezone, sorted(told.stores)) == ("Europe/Berlin", ["default", "extra", "local"])
    assert scheduler.add_job(jobs.tick, "interval", minutes=1).max_instances == 2
