"""Tasks that only a leader executes."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.unit.coordination.places import until
from tests.unit.scheduler.gated import Site, begin, runs
from tickwork import Scheduler
from tickwork.coordination import LeaderElection, Lock, TaskLock
from tickwork.errors import (
    SchedulerStateError,
)


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site()
    yield made
    made.end()


# --- leaders ------------------------------------------------------------------------------------


def led(site: Site, **options: Any) -> tuple[LeaderElection, LeaderElection]:
    """Two processes with a leader each; the first is elected."""
    elections = LeaderElection("lead"), LeaderElection("lead")
    for election in elections:
        scheduler = site.process()
        site.add(scheduler, leader=election, **options)
        scheduler.step()
    return elections


def test_only_the_leader_executes_and_the_others_touch_no_lock(site: Site) -> None:
    one, two = led(site, sync=Lock("disk"))
    assert (one.is_leader, two.is_leader) == (True, False)
    assert site.wanted == ["leader:lead", "leader:lead"]
    site.pass_time(9)
    assert set(site.wanted) == {"leader:lead"}
    site.clock.advance(seconds=1)
    site.all[1].step()
    assert site.wanted == ["leader:lead"]
    assert runs(site.all[1]) == [("skipped", 10, "this process isn't the leader of 'lead'")]
    site.all[0].step()
    assert site.wanted == ["task:a", "disk"]
    assert site.calls == [0]
    site.pass_time(90)
    assert site.calls == [0] * 10


def test_each_lock_is_asked_for_only_if_the_one_before_was_given(site: Site) -> None:
    one, two = site.process(), site.process()
    for scheduler in (one, two):
        site.add(scheduler, max_lock_seconds=60, sync=Lock("disk"))
    site.clock.advance(seconds=10)
    two.step()
    assert site.wanted == ["task:a", "disk"]
    one.step()
    assert site.wanted == ["task:a"]


def test_a_leaders_lock_lasts_for_five_intervals(site: Site) -> None:
    led(site, fn=site.wait)
    site.pass_time(9)
    site.clock.advance(seconds=1)
    begin(site.all[0])
    [lock] = [lock for lock in site.store.locks() if lock.name == "task:a"]
    assert lock.expires_us - lock.acquired_us == 50_000_000


def test_a_leader_that_stops_is_followed_at_once(site: Site) -> None:
    led(site)
    site.pass_time(20)
    site.all[0].stop()
    site.pass_time(10, site.all[1])
    assert site.calls == [0, 0, 1]


def test_a_leader_that_died_is_followed_after_its_lease(site: Site) -> None:
    """It renewed it last at 20 s; the lease is 15 s, and the others ask every 2 s."""
    _, two = led(site)
    site.pass_time(20)
    site.pass_time(14, site.all[1])
    assert not two.is_leader
    site.pass_time(6, site.all[1])
    assert site.calls == [0, 0, 1]
    assert [run[:2] for run in runs(site.all[1])][2:] == [("skipped", 30), ("completed", 40)]


def test_a_leader_that_leads_no_more_tells_the_run_that_goes_on(site: Site) -> None:
    one, _ = led(site, fn=site.wait, max_lock_seconds=3_600)
    site.pass_time(9)
    site.clock.advance(seconds=1)
    begin(site.all[0])
    until(lambda: site.calls, "it has begun")
    site.store.down = True
    for _ in range(11):
        site.clock.advance(seconds=1)
        begin(site.all[0])
    assert not one.is_leader
    site.store.down = False
    site.go.set()
    site.all[0].step()
    found = runs(site.all[0], status="completed")
    assert found == [("completed", 10, "this process isn't the leader of 'lead'")]


def test_what_the_leader_can_not_do_nobody_does(site: Site) -> None:
    """The lock of the task is another's: a leader before, who still is at work."""
    led(site, max_lock_seconds=60)
    before = site.process(start=False).connect()
    with TaskLock("task:a", 1, 60, scheduler=before):
        site.pass_time(20, *site.all[:2])
        assert site.calls == []
    reasons = {reason for _, _, reason in runs(site.all[0])}
    assert len(reasons) == 1
    assert "the lock 'task:a' is held by" in str(reasons.pop())
    site.pass_time(10, *site.all[:2])
    assert site.calls == [0]


def test_a_scheduler_stands_for_election_without_a_task_too(site: Site) -> None:
    election = LeaderElection("lead")
    one = site.process(start=False)
    one.elect(election)
    one.elect(election)
    one.start()
    one.step()
    assert election.is_leader
    one.stop()
    site.process(start=False).connect()
    assert site.store.locks() == []
    one.start()
    one.step()
    assert election.fence is not None


def test_a_leader_made_at_the_top_of_a_module_serves_one_scheduler_after_the_other(
    site: Site,
) -> None:
    election, disk = LeaderElection("lead"), Lock("disk")
    for _ in range(2):
        scheduler = site.process()
        site.add(scheduler, leader=election, sync=disk)
        site.pass_time(10, scheduler)
        assert runs(scheduler)[0][0] == "completed"
        scheduler.stop()
    assert site.calls == [0, 1]


def test_two_schedulers_of_one_process_share_a_leader(site: Site) -> None:
    """Its lead is the process's; when one of them stops, it stands for election anew."""
    election = LeaderElection("lead")
    one, two = site.process(), site.process()
    site.add(one, leader=election)
    site.add(two, id="b", leader=election)
    site.pass_time(10)
    assert sorted(site.calls) == [0, 1]
    one.stop()
    assert election.fence is None
    site.pass_time(10, two)
    assert sorted(site.calls) == [0, 1, 1]


def test_a_start_that_fails_leaves_nothing_started(site: Site) -> None:
    """The leader was made for a scheduler that isn't connected."""
    scheduler = site.process(start=False)
    election = LeaderElection("lead", scheduler=Scheduler())
    scheduler.elect(election)
    with pytest.raises(SchedulerStateError, match="isn't connected"):
        scheduler.start()
    assert scheduler.state == "new"
    with pytest.raises(SchedulerStateError, match="start the scheduler before"):
        scheduler.step()


def test_a_task_run_by_hand_where_nobody_leads_is_skipped(site: Site) -> None:
    led(site)
    run = site.all[1].run_task("a")
    site.all[1].step()
    assert (run.status, site.all[1].get_run(run.id).reason) == (
        "skipped", "this process isn't the leader of 'lead'",
    )  # fmt: skip
    run = site.all[0].run_task("a")
    site.all[0].step()
    assert run.status == "completed"
