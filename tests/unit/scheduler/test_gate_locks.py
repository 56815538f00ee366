"""The locks that runs are let through for: held, lost, waited for, given back."""

import asyncio
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from tests.unit.coordination.places import DEADLINE_S, until
from tests.unit.scheduler import jobs
from tests.unit.scheduler.gated import KEPT, Site, begin, runs, states
from tickwork import current_run
from tickwork.coordination import Lock


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site()
    yield made
    made.end()


# --- holders that die, stand still, or take long ------------------------------------------------


def test_while_it_is_held_the_others_skip_and_ask_again_at_the_next_fire_time(site: Site) -> None:
    one, two = site.process(), site.process()
    site.add(one, max_lock_seconds=60, fn=site.wait)
    site.add(two, max_lock_seconds=60)
    site.clock.advance(seconds=10)
    begin(one)
    until(lambda: site.calls, "it has begun")
    site.pass_time(30, two)
    assert site.calls == ["waiting"]
    assert [run[:2] for run in runs(two)] == [("skipped", fire_s) for fire_s in (10, 20, 30, 40)]
    for _, _, reason in runs(two):
        assert reason is not None
        assert reason.startswith("the lock 'task:a' is held by process ")
    site.go.set()
    one.step()
    site.pass_time(10, two)
    assert site.calls == ["waiting", "went", 1]


def test_a_holder_that_died_is_followed_after_the_longest_time_and_not_before(site: Site) -> None:
    """It began at 10 s, its lock lasts for 25 s: 20 and 30 s are refused, 40 s is not."""
    one, two = site.process(), site.process()
    site.add(one, max_lock_seconds=25, fn=site.wait)
    site.add(two, max_lock_seconds=25)
    site.clock.advance(seconds=10)
    begin(one)
    site.pass_time(30, two)
    assert [run[:2] for run in runs(two)] == [
        ("skipped", 10), ("skipped", 20), ("skipped", 30), ("completed", 40),
    ]  # fmt: skip


def test_a_stopped_process_is_followed_at_once_also_in_the_middle_of_a_body(site: Site) -> None:
    """Its coroutine is ended, and its fire time may be executed by whoever comes late."""
    one, two = site.process(), site.process()
    site.add(one, max_lock_seconds=3_600, sync=Lock("disk"), fn=jobs.forever)
    site.add(two, max_lock_seconds=3_600, sync=Lock("disk"))
    site.clock.advance(seconds=10)
    begin(one)
    assert site.names == ["disk", "task:a"]
    report = one.stop(timeout=0)
    assert len(report.given_back) == 1
    assert site.names == []
    two.step()
    assert runs(two) == [("completed", 10, None)]
    assert site.calls == [1]


@pytest.mark.parametrize("done_by_another", [True, False])
def test_what_was_cut_off_is_executed_after_a_restart_unless_another_one_did_it(
    site: Site, done_by_another: bool
) -> None:
    one, two = site.process(), site.process()

    async def work() -> None:
        site.calls.append(0)
        if len(site.calls) == 1:
            await asyncio.Event().wait()

    site.add(one, max_lock_seconds=3_600, fn=work)
    site.add(two, max_lock_seconds=3_600)
    site.clock.advance(seconds=10)
    begin(one)
    until(lambda: site.calls, "it has begun")
    one.stop(timeout=0)
    if done_by_another:
        two.step()
    one.start()
    one.step()
    two.step()
    assert site.calls == [0, 1] if done_by_another else [0, 0]
    [run] = one.get_runs()
    expected = ("skipped", KEPT) if done_by_another else ("completed", None)
    assert (run.status, run.reason, run.attempt) == (*expected, 2)


def test_what_is_given_back_at_a_stop_is_one_fire_time_and_none_before_it(site: Site) -> None:
    one, late = site.process(), site.process()

    async def work() -> None:
        site.calls.append("one")
        if len(site.calls) == 2:
            await asyncio.Event().wait()

    options: dict[str, Any] = {"max_lock_seconds": 3_600, "coalesce": False}
    site.add(one, fn=work, **options)
    site.add(late, **options)
    site.pass_time(10, one)
    site.clock.advance(seconds=10)
    begin(one)
    until(lambda: len(site.calls) == 2, "it has begun")
    one.stop(timeout=0)
    late.step()
    assert runs(late) == [("skipped", 10, KEPT), ("completed", 20, None)]


def test_what_is_to_be_executed_at_most_once_is_not_by_another_one(site: Site) -> None:
    """The fire time of the run that was cut off is spent."""
    one, two = site.process(), site.process()
    options: dict[str, Any] = {"max_lock_seconds": 3_600, "delivery": "at_most_once"}
    site.add(one, fn=jobs.forever, **options)
    site.add(two, **options)
    site.clock.advance(seconds=10)
    begin(one)
    until(lambda: jobs.calls, "it has begun")
    begin(one)
    one.stop(timeout=0)
    assert site.names == []
    two.step()
    assert runs(two) == [("skipped", 10, KEPT)]
    site.pass_time(10, two)
    assert site.calls == [1]


def test_a_function_that_cannot_be_ended_keeps_its_locks_for_their_time(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    """It goes on in its thread, when its scheduler has stopped."""
    one, two = site.process(), site.process()
    site.add(one, max_lock_seconds=25, fn=site.wait)
    site.add(two, max_lock_seconds=25)
    site.clock.advance(seconds=10)
    begin(one)
    until(lambda: site.calls, "it has begun")
    report = one.stop(timeout=0)
    assert len(report.still_running) == 1
    assert "a run of a goes on; its locks are left to their leases" in caplog.text
    site.pass_time(30, two)
    assert [state for state, _, _ in runs(two)] == ["skipped", "skipped", "skipped", "completed"]


def test_a_lost_lock_is_told_to_the_run_that_had_it(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[str | None] = []

    def work() -> None:
        told.append(current_run().lost_lock)
        site.wait()
        told.append(current_run().lost_lock)

    one, two = site.process(), site.process()
    site.add(one, max_lock_seconds=25, fn=work)
    site.add(two, max_lock_seconds=25)
    site.clock.advance(seconds=10)
    begin(one)
    until(lambda: site.calls, "it has begun")
    for _ in range(5):
        site.pass_time(6, two)
        begin(one)
    assert site.calls == ["waiting", 1]
    site.go.set()
    one.step()
    lost = "the lock 'task:a' was lost after its lease of 25 s; another holder may be at work"
    assert told == [None, lost]
    assert ("completed", 10, lost) in runs(one)
    warnings = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert [record.message for record in warnings] == [f"run of a goes on although {lost}"]
    assert vars(warnings[0])["run_id"] == one.get_runs(status="completed")[0].id


def test_a_loss_that_nobody_saw_is_told_at_the_end(site: Site) -> None:
    """The process stood still, and the function returned before anybody could look."""
    one = site.process()
    site.add(one, max_lock_seconds=25, fn=site.wait)
    site.clock.advance(seconds=10)
    begin(one)
    until(lambda: site.calls, "it has begun")
    site.clock.advance(seconds=25)
    site.go.set()
    until(lambda: any(loop.holding.inbox for loop in one._loops()), "it has returned")  # noqa: SLF001  before anybody looks
    one.step()
    state, fire_s, reason = runs(one)[0]
    assert (state, fire_s) == ("completed", 10)
    assert reason is not None
    assert "was lost after its lease of 25 s" in reason


def test_a_run_that_fails_and_has_lost_its_lock_says_both(site: Site) -> None:
    def work() -> None:
        site.wait()
        jobs.fail()

    one = site.process()
    site.add(one, max_lock_seconds=25, fn=work)
    site.clock.advance(seconds=10)
    begin(one)
    until(lambda: site.calls, "it has begun")
    site.clock.advance(seconds=25)
    site.go.set()
    one.step()
    [run] = one.get_runs(status="failed")
    assert run.reason is not None
    assert "was lost" in run.reason
    assert run.error is not None


# --- the resource -------------------------------------------------------------------------------


def test_a_resource_is_waited_for_and_the_tasks_lock_loses_no_time_by_that(site: Site) -> None:
    """Nobody else executes it meanwhile, and when it begins it has all of its time."""
    one, two = site.process(), site.process()
    site.add(one, max_lock_seconds=20, sync=Lock("disk"), fn=site.wait)
    site.add(two, max_lock_seconds=20, sync=Lock("disk"))
    user = site.process(start=False).connect()
    with Lock("disk", lease=3_600, scheduler=user):
        site.pass_time(60, one, two)
        assert site.calls == []
        assert states(two) == ["skipped"] * 6
    site.clock.advance(seconds=1)
    begin(one)
    until(lambda: site.calls, "it has begun")
    [lock] = [lock for lock in site.store.locks() if lock.name == "task:a"]
    assert lock.expires_us == site.clock.now_us() + 20_000_000
    [first, *rest] = runs(one)
    assert first[:2] == ("running", 10)
    assert [run[:2] for run in rest] == [("skipped", 10.0 * each) for each in range(2, 7)]
    site.go.set()
    one.step()
    assert states(one, status="completed") == ["completed"]
    assert site.names == []


def test_a_resource_is_held_for_as_long_as_the_function_goes_on(site: Site) -> None:
    one = site.process()
    site.add(one, sync=Lock("disk", lease=3), fn=site.wait)
    other = Lock("disk", scheduler=site.process(start=False).connect())
    site.clock.advance(seconds=10)
    begin(one)
    until(lambda: site.calls, "it has begun")
    for _ in range(40):
        site.clock.advance(seconds=0.5)
        begin(one)
        assert other.acquire(blocking=False) is None
    site.go.set()
    one.step()
    assert site.names == []
    assert runs(one)[0] == ("completed", 10, None)


def test_a_run_that_waits_for_a_resource_can_be_cancelled(site: Site) -> None:
    one = site.process()
    site.add(one, max_lock_seconds=60, sync=Lock("disk", retry_interval=3_600))
    user = site.process(start=False).connect()
    with Lock("disk", lease=3_600, scheduler=user):
        site.pass_time(10, one)
        [run] = one.get_runs()
        assert one.cancel_run(run.id, reason="not wanted")
        site.pass_time(1, one)
        assert runs(one) == [("cancelled", 10, "not wanted")]
        assert site.names == ["disk"]
    site.pass_time(20, one)
    assert site.calls == [0, 0]


def test_a_time_out_counts_from_when_the_function_begins(site: Site) -> None:
    one = site.process()
    site.add(one, max_lock_seconds=60, sync=Lock("disk"), timeout=2)
    user = site.process(start=False).connect()
    with Lock("disk", lease=3_600, scheduler=user):
        site.pass_time(15, one)
        assert site.calls == []
    site.pass_time(1, one)
    assert site.calls == [0]
    assert runs(one)[0] == ("completed", 10, None)


def test_a_run_that_is_timed_out_gives_its_locks_back_when_it_has_ended(site: Site) -> None:
    """A thread can't be ended: its locks are its own until it returns, or their time is over."""
    one, two = site.process(hang_s=0.01), site.process()
    site.add(one, max_lock_seconds=60, timeout=2, fn=site.wait)
    site.add(two, max_lock_seconds=60)
    site.pass_time(10, one, two, by=10)
    until(lambda: site.calls, "it has begun")
    site.pass_time(10, one, two)
    assert states(one) == ["timeout", "skipped"]
    assert states(two) == ["skipped", "skipped"]
    assert site.names == ["task:a"]
    site.go.set()
    until(lambda: "went" in site.calls, "it returns")
    one.step()
    assert site.names == []
    site.pass_time(10)
    assert site.calls == ["waiting", "went"] * 2


def test_a_coroutine_that_is_timed_out_gives_them_back_at_once(site: Site) -> None:
    one, two = site.process(hang_s=0.01), site.process()
    site.add(one, max_lock_seconds=60, timeout=2, fn=jobs.forever)
    site.add(two, max_lock_seconds=60)
    site.pass_time(10, one, two, by=10)
    site.pass_time(3, one)
    assert states(one) == ["timeout"]
    assert site.names == []
    site.pass_time(7, two)
    assert site.calls == [1]


def test_a_scheduler_that_stops_refuses_what_waits_at_its_gate(site: Site) -> None:
    one = site.process()
    site.add(one, max_lock_seconds=60, sync=Lock("disk"))
    user = site.process(start=False).connect()
    with Lock("disk", lease=3_600, scheduler=user):
        site.pass_time(10, one)
        assert site.names == ["disk", "task:a"]
        report = one.stop(timeout=DEADLINE_S)
        assert report.clean
        assert site.names == ["disk"]
        one.connect()
        assert runs(one) == [("skipped", 10, "its scheduler stopped while it waited for its locks")]
        one.close()


def test_a_scheduler_that_stops_without_waiting_leaves_nothing_held(site: Site) -> None:
    """What waited at the gate has not begun: it isn't reported as running."""
    one, two = site.process(), site.process()
    for scheduler in (one, two):
        site.add(scheduler, max_lock_seconds=60, sync=Lock("disk"))
    user = site.process(start=False).connect()
    with Lock("disk", lease=3_600, scheduler=user):
        site.pass_time(10, one)
        report = one.stop(wait=False)
        assert report.still_running == ()
        assert site.names == ["disk"]
    two.step()
    assert site.calls == [1], "nobody had dealt with it"


def test_a_task_that_is_removed_while_it_waits_is_not_executed(site: Site) -> None:
    one = site.process()
    site.add(one, max_lock_seconds=60, sync=Lock("disk"))
    user = site.process(start=False).connect()
    with Lock("disk", lease=3_600, scheduler=user):
        site.pass_time(10, one)
        one.remove_task("a")
        site.pass_time(1, one)
    site.pass_time(20, one)
    assert site.calls == []
    assert site.names == []
