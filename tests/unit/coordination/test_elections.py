"""Leader elections: by hand and in threads, with stores that fail and processes that freeze."""

import asyncio
import logging
import threading
from random import Random
from typing import Any

import pytest

from tests.unit.coordination.places import (
    DEADLINE_S,
    Process,
    Site,
    becoming,
    pass_until,
    until,
)
from tickwork.coordination import LeaderElection
from tickwork.errors import InvalidInputError, SchedulerStateError
from tickwork.testing import Fault, ManualClock


class Candidate(LeaderElection):
    """A candidate in a process of its own, stepped by hand: 15, 10 and 2 seconds."""

    def __init__(self, site: Site, *, scheduler: Process | None = None) -> None:
        self.news: list[bool] = []
        super().__init__("lead", scheduler=scheduler or site.process(), on_change=self.news.append)
        self.next_us = 0

    def begin(self) -> "Candidate":
        self.start(threaded=False)
        self.next_us = self.step()
        return self

    def keep(self) -> None:
        """Do what its thread would do."""
        if self.now_us() >= self.next_us:
            self.next_us = self.step()


def pass_time(clock: ManualClock, seconds: float, *candidates: Candidate) -> None:
    for _ in range(round(seconds * 10)):
        clock.advance(milliseconds=100)
        for candidate in candidates:
            candidate.keep()


# --- one leader -------------------------------------------------------------------------------


def test_the_first_is_elected_and_the_others_wait(site: Site, clock: ManualClock) -> None:
    one, two = Candidate(site).begin(), Candidate(site).begin()
    pass_time(clock, 60, one, two)
    assert (one.is_leader, two.is_leader) == (True, False)
    assert (one.news, two.news) == ([True], [])
    lock = site.lock("leader:lead")
    assert (one.fence, two.fence) == (lock.fence, None)
    assert lock.about.startswith("process ")


def test_the_lead_is_renewed_as_often_as_was_said(site: Site, clock: ManualClock) -> None:
    renewed: list[int] = []
    site.store.during = lambda step, _: renewed.append(clock.now_us()) if step == "renew" else None
    began_us = clock.now_us()
    pass_time(clock, 10, Candidate(site).begin())
    assert [(each - began_us) / 1_000_000 for each in renewed] == [2, 4, 6, 8, 10]


def test_a_leader_that_stops_is_followed_at_once(site: Site, clock: ManualClock) -> None:
    one, two = Candidate(site).begin(), Candidate(site).begin()
    fence = one.fence
    assert fence is not None
    one.stop()
    assert (one.is_leader, one.fence, one.news) == (False, None, [True, False])
    two.step()
    assert two.is_leader
    assert two.fence is not None
    assert two.fence > fence


def test_its_listeners_hear_of_the_end_before_anybody_follows(site: Site) -> None:
    one, two = Candidate(site).begin(), Candidate(site).begin()
    seen: list[Any] = []

    def look(leads: bool) -> None:
        two.step()
        seen.append((leads, one.is_leader, two.is_leader))

    one.listen(look)
    one.stop()
    assert seen == [(False, False, False)]
    two.step()
    assert two.is_leader


def test_a_leader_that_was_killed_is_followed_after_its_lease_and_not_before(
    site: Site, clock: ManualClock
) -> None:
    Candidate(site).begin()
    two = Candidate(site).begin()
    pass_time(clock, 14.9, two)
    assert not two.is_leader
    pass_time(clock, 2.1, two)
    assert two.is_leader


def test_a_leader_that_cannot_renew_it_leads_no_more_before_its_lease_is_over(
    site: Site, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    one, two = Candidate(site).begin(), Candidate(site).begin()
    site.store.down = True
    pass_time(clock, 9.9, one, two)
    assert one.is_leader is True
    clock.advance(milliseconds=100)
    # Without being told, and without asking anybody:
    assert (one.is_leader, one.fence, one.news) == (False, None, [True])
    one.keep()
    assert one.news == [True, False]
    assert "no longer leader of 'lead': it was not renewed in time" in caplog.text
    pass_time(clock, 4.9, one, two)
    site.store.down = False
    assert not two.is_leader
    pass_time(clock, 2.1, one, two)
    assert one.is_leader != two.is_leader


def test_a_frozen_leader_that_wakes_up_leads_no_more(site: Site, clock: ManualClock) -> None:
    one, two = Candidate(site).begin(), Candidate(site).begin()
    pass_time(clock, 17, two)
    assert two.is_leader
    assert not one.is_leader
    fence = two.fence
    one.step()
    one.step()
    assert (one.is_leader, one.news) == (False, [True, False])
    pass_time(clock, 30, one, two)
    assert (two.is_leader, two.fence) == (True, fence)


@pytest.mark.parametrize("seed", range(5))
def test_there_are_never_two_whatever_fails(site: Site, clock: ManualClock, seed: int) -> None:
    """Three candidates; steps fail before and after they took effect, processes freeze and stop."""
    random = Random(seed)
    candidates = [Candidate(site).begin() for _ in range(3)]
    frozen_until = [0] * 3
    led: set[int] = set()
    for _ in range(3_000):
        clock.advance(milliseconds=100)
        for step in ("acquire", "renew"):
            site.store.faults[step].clear()
            site.store.faults[step].extend(random.choices([None, *Fault], [6, 1, 1, 0], k=6))
        for number, each in enumerate(candidates):
            if frozen_until[number] <= clock.now_us():
                each.keep()
            if random.random() < 0.005:
                frozen_until[number] = clock.now_us() + random.randrange(30_000_000)
            if random.random() < 0.002:
                each.stop()
                each.start(threaded=False)
        leaders = [number for number, each in enumerate(candidates) if each.is_leader]
        assert len(leaders) <= 1
        if leaders:
            led.add(candidates[leaders[0]].fence or 0)
            assert site.lock("leader:lead").fence == candidates[leaders[0]].fence
    assert len(led) > 5, "the lead has changed hands"
    for each in candidates:
        assert each.news == [bool(number % 2 == 0) for number in range(len(each.news))]


# --- when nobody knows ------------------------------------------------------------------------


def test_an_answer_that_was_lost_costs_one_retry(site: Site, clock: ManualClock) -> None:
    site.store.faults["acquire"].append(Fault.AFTER)
    one = Candidate(site).begin()
    assert (one.is_leader, site.names) == (False, ["leader:lead"])
    fence = site.lock("leader:lead").fence
    pass_time(clock, 2, one)
    assert (one.is_leader, one.fence) == (True, fence)


def test_what_may_have_been_won_is_given_back_at_a_stop(site: Site) -> None:
    site.store.faults["acquire"].append(Fault.AFTER)
    one = Candidate(site).begin()
    assert site.names == ["leader:lead"]
    one.stop()
    assert site.names == []


def test_a_lead_that_was_given_too_late_is_none(site: Site, clock: ManualClock) -> None:
    """The store took so long that it would have to be renewed before anybody knew of it."""
    slow = [True]
    site.store.during = lambda *_: clock.advance(seconds=10) if slow.pop() else None
    one = LeaderElection("lead", scheduler=site.process())
    one.start(threaded=False)
    one.step()
    assert (one.is_leader, site.names) == (False, ["leader:lead"])
    slow.append(False)
    one.step()
    assert one.is_leader


def test_a_lost_lead_is_asked_for_by_another_name(site: Site, clock: ManualClock) -> None:
    """What was sent by the old one may still arrive."""
    one = Candidate(site).begin()
    owner = site.lock("leader:lead").owner
    clock.advance(seconds=10)
    one.step()
    assert (one.is_leader, site.names) == (False, [])
    one.step()
    assert one.is_leader
    assert site.lock("leader:lead").owner != owner


# --- listeners --------------------------------------------------------------------------------


def test_a_listener_that_fails_is_logged_and_the_others_hear_it(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    one = LeaderElection("lead", scheduler=site.process(), on_change=lambda _: 1 / 0)
    heard: list[bool] = []
    one.listen(heard.append)
    one.start(threaded=False)
    one.step()
    assert one.is_leader
    assert heard == [True]
    assert "a listener of <LeaderElection 'lead'> failed" in caplog.text


def test_a_listener_may_stop_the_election(site: Site, clock: ManualClock) -> None:
    """Whoever doesn't want the lead, gives it back; all hear both, in order."""
    one = LeaderElection("lead", scheduler=site.process())
    heard: list[Any] = []
    ended = threading.Event()

    def refuse(leads: bool) -> None:
        heard.append(("first", leads))
        if leads:
            one.stop()
            ended.set()

    one.listen(refuse)
    one.listen(lambda leads: heard.append(("second", leads)))
    one.start()
    assert ended.wait(DEADLINE_S), "it waits for itself"
    until(lambda: len(heard) == 4, "all have heard all")
    assert heard == [("first", True), ("second", True), ("first", False), ("second", False)]
    assert site.names == []
    one.stop()


# --- starting and stopping --------------------------------------------------------------------


def elections() -> list[str]:
    return [each.name for each in threading.enumerate() if each.name == "tickwork-leader-lead"]


def test_in_a_thread_of_its_own_it_does_all_by_itself(site: Site, clock: ManualClock) -> None:
    one = LeaderElection("lead", scheduler=site.process())
    two = LeaderElection("lead", scheduler=site.process())
    with one:
        assert one.wait(DEADLINE_S)
        two.start()
        until(lambda: len(site.store.wanted) == 2, "the other asks")
        assert not two.wait(0)
        renewed = threading.Event()
        site.store.during = lambda step, _: renewed.set() if step == "renew" else None
        clock.advance(seconds=2)
        assert renewed.wait(DEADLINE_S)
        assert (one.is_leader, two.is_leader) == (True, False)
    assert (one.is_leader, two.is_leader) == (False, False)
    until(lambda: elections() == ["tickwork-leader-lead"], "its thread has ended")
    clock.advance(seconds=2)
    assert two.wait(DEADLINE_S)
    two.stop()
    assert site.names == []
    assert elections() == []


def test_coroutines_stand_for_election_too(site: Site) -> None:
    one = LeaderElection("lead", scheduler=site.process())

    async def work() -> None:
        async with one:
            assert await one.aio.wait()
            assert one.is_leader
        assert site.names == []
        await one.aio.start()
        assert await one.aio.wait(DEADLINE_S)
        await one.aio.stop()
        assert not await one.aio.wait(0)

    asyncio.run(asyncio.wait_for(work(), DEADLINE_S))
    assert elections() == []


def test_a_coroutine_that_is_cancelled_while_it_gives_it_back_gives_it_back(site: Site) -> None:
    one = LeaderElection("lead", scheduler=site.process())
    standing, go = threading.Event(), threading.Event()

    def stand(step: str, _: str) -> None:
        standing.set()
        assert step == "acquire" or go.wait(DEADLINE_S)

    async def stand_for_it() -> None:
        async with one:
            assert await one.aio.wait()
            standing.clear()

    async def work() -> None:
        site.store.during = stand
        task = asyncio.create_task(stand_for_it())
        await becoming(lambda: standing.is_set() and not one.is_leader)
        task.cancel()
        await asyncio.sleep(0)  # noqa: TID251  a turn of the loop
        assert not task.done()
        go.set()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(asyncio.wait_for(work(), DEADLINE_S))
    assert (site.names, elections()) == ([], [])


def test_waiting_ends_after_its_time_whatever_the_candidate_believes(
    site: Site, clock: ManualClock
) -> None:
    one = Candidate(site).begin()
    assert one.wait(0)
    clock.advance(seconds=10)
    assert not one.wait(0.01), "it can't be sure any more, and hasn't looked yet"


def test_it_may_be_started_again(site: Site, clock: ManualClock) -> None:
    one = LeaderElection("lead", scheduler=site.process())
    fences = set()
    for _ in range(3):
        with one:
            assert one.wait(DEADLINE_S)
            fences.add(one.fence)
        assert not one.is_leader
    assert len(fences) == 3
    assert elections() == []


def test_a_stop_without_a_start_does_nothing(site: Site) -> None:
    one = Candidate(site)
    one.stop()
    one.begin()
    assert one.is_leader


def test_started_twice_it_goes_on_until_the_second_stop(site: Site, clock: ManualClock) -> None:
    """Two schedulers of a process have a task with the same leader."""
    one = Candidate(site).begin()
    one.start(threaded=False)
    one.stop()
    assert (one.is_leader, site.names) == (False, []), "it gives back what it had by the first"
    one.step()
    assert one.is_leader
    one.stop()
    assert (one.is_leader, site.names) == (False, [])
    one.step()
    assert not one.is_leader


def test_it_goes_on_at_the_second_scheduler_when_the_first_has_ended(
    clock: ManualClock,
) -> None:
    first, second = Site(clock), Site(clock)
    homes = first.process(), second.process()
    one = LeaderElection("lead")
    for home in homes:
        one.belong_to(home)
        one.start(threaded=False)
    one.step()
    assert (first.names, second.names) == (["leader:lead"], [])
    one.stop()
    homes[0].connected = False
    first.store.close()
    one.step()
    one.step()
    assert one.is_leader
    assert second.names == ["leader:lead"]


def test_without_a_scheduler_it_says_what_to_do() -> None:
    with pytest.raises(SchedulerStateError, match="make it with scheduler="):
        LeaderElection("lead").start()


def test_its_thread_survives_whatever_a_store_raises(
    site: Site, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    broken = [True]

    def fail(*_: object) -> None:
        if broken:
            broken.pop()
            raise ZeroDivisionError

    site.store.during = fail
    with LeaderElection("lead", scheduler=site.process()) as one:
        until(lambda: "the election of 'lead' failed; going on" in caplog.text, "it is logged")
        clock.advance(seconds=2)
        assert one.wait(DEADLINE_S)


def test_a_store_that_hangs_keeps_nobody_from_stopping(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    """For longer than the lease, after which there is nothing to give back."""
    one = LeaderElection(
        "lead", lease=0.05, renew_deadline=0.02, retry_interval=0.01, scheduler=site.process()
    )
    standing, go = threading.Event(), threading.Event()

    def stand(*_: object) -> None:
        standing.set()
        assert go.wait(DEADLINE_S)

    site.store.during = stand
    one.start()
    assert standing.wait(DEADLINE_S)
    one.stop()
    assert "it is left to its lease" in caplog.text
    go.set()
    until(lambda: elections() == [], "its thread ends")
    assert not one.is_leader
    assert site.names == [], "and gives back what it got after all"


def test_a_leader_whose_store_hangs_leads_no_more_when_it_was_stopped(
    site: Site, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tickwork.coordination.election._ENDED_WITHIN_S", 0.01)
    one = LeaderElection("lead", scheduler=site.process(), lease=600, renew_deadline=300)
    standing, go = threading.Event(), threading.Event()

    def stand(step: str, _: str) -> None:
        if step == "renew":
            standing.set()
            assert go.wait(DEADLINE_S)

    site.store.during = stand
    one.start()
    assert one.wait(DEADLINE_S)
    pass_until(clock, standing.is_set, seconds=2)
    one.stop()
    assert not one.is_leader
    go.set()
    until(lambda: elections() == [], "its thread ends")
    assert site.names == []


@pytest.mark.parametrize(
    ("lease", "deadline", "retry"), [(10, 10, 2), (15, 2, 2), (15, 10, 11), (5, 10, 2)]
)
def test_times_in_the_wrong_order_are_refused(lease: float, deadline: float, retry: float) -> None:
    with pytest.raises(InvalidInputError) as raised:
        LeaderElection("lead", lease, deadline, retry)
    assert str(raised.value) == (
        f"retry_interval={retry} must be less than renew_deadline={deadline}, and that less than "
        f"lease={lease}"
    )


@pytest.mark.parametrize("option", ["lease", "renew_deadline", "retry_interval"])
def test_times_that_are_none_are_refused(option: str) -> None:
    options: dict[str, Any] = {option: -1}
    with pytest.raises(InvalidInputError, match=f"{option}=-1 must be a number of seconds"):
        LeaderElection("lead", **options)


def test_changes_are_logged_once(
    site: Site, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "tickwork.coordination")
    one = Candidate(site).begin()
    fence = one.fence
    pass_time(clock, 10, one)
    one.stop()
    assert [record.message for record in caplog.records] == [
        f"elected leader of 'lead', fence {fence}",
        "leads 'lead' no more: it stopped",
    ]
