"""What others do between the reading and the writing of a step: decisions let them in."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from tests.unit.stores.redis_place import Place, orders_of, placed
from tickwork.errors import LeaseLostError, StoreUnavailableError
from tickwork.model.policies import RunState, ScheduleState
from tickwork.model.records import NodeRecord, RunRecord, TaskRecord
from tickwork.model.steps import Edit, Ended, Mark, Plan, Verdict
from tickwork.testing.store_contract.bench import (
    LEASE_US,
    MINUTE,
    NODE,
    OTHER,
    T0,
    decide_never,
    finished,
    given_back,
    once,
    pending,
    queued,
    raised,
    removed,
    runs_now,
    task,
)


@pytest.fixture
def place(redis_url: str) -> Iterator[Place]:
    with placed(redis_url) as place:
        place.bench.open()
        yield place
        found, expected = orders_of(place)
        assert found == expected


def meanwhile(step: Callable[[], object], decide: Callable[..., Any]) -> Callable[..., Any]:
    """Return a decision during the first asking of which somebody else takes a step."""
    left = [step]

    def deciding(*asked: Any) -> Any:
        if left:
            left.pop()()
        return decide(*asked)

    return deciding


def renamed(record: TaskRecord) -> Edit:
    return Edit(replace(record, problem="renamed"))


# --- plan --------------------------------------------------------------------------------------


def test_a_task_that_is_changed_while_it_is_planned_is_left_out(place: Place) -> None:
    bench = place.bench
    bench.put(*(task(each) for each in "abc"))
    change = lambda: bench.second.edit(["b"], renamed, bench.new_id)  # noqa: E731
    reply = bench.plan(meanwhile(change, once))
    assert [each.run.task_id for each in reply.leased] == ["a", "c"]
    assert (reply.more, reply.next_us, reply.recorded) == (True, None, ())
    assert bench.task("b") == task("b", problem="renamed", revision=1)
    assert [each.run.task_id for each in bench.plan().leased] == ["b"]


def test_who_loses_all_plans_nothing(place: Place) -> None:
    bench = place.bench
    bench.put(*(task(each) for each in "abc"))
    won: list[RunRecord] = []

    def win() -> None:
        won.extend(each.run for each in bench.plan(store=bench.second, node=OTHER).leased)

    assert bench.plan(meanwhile(win, once)) == ((), (), (), None, True)
    assert bench.runs() == won
    assert {run.node for run in won} == {OTHER}


@pytest.mark.parametrize("way", ["removed", "removed and added", "replaced"])
def test_a_task_that_is_another_now_is_left_out(place: Place, way: str) -> None:
    bench = place.bench
    bench.put(task(generation=1))

    def change() -> None:
        if way != "replaced":
            bench.edit(removed())
        if way != "removed":
            bench.put(task(generation=2), decide=lambda _, new: Edit(new))

    assert bench.plan(meanwhile(change, once)).leased == ()
    assert bench.runs() == []
    assert [each.run.generation for each in bench.plan().leased] == [2] * (way != "removed")


def test_a_run_does_not_queue_behind_one_that_has_just_ended(place: Place) -> None:
    bench = place.bench
    [run] = bench.leased(task())
    due = lambda record: Edit(replace(record, state=ScheduleState.SCHEDULED, due_us=T0 + 1))  # noqa: E731
    bench.edit(due)

    def decide(record: TaskRecord) -> Plan:
        made = queued(T0 + 1) if record.active else pending(T0 + 1)
        return Plan([made], ScheduleState.FINISHED, None, None, T0 + 1)

    end = lambda: bench.finish(finished(run), store=bench.second)  # noqa: E731
    assert bench.plan(meanwhile(end, decide), now_us=T0 + 1).leased == ()
    [leased] = bench.plan(decide, now_us=T0 + 1).leased
    assert leased.run.fire_us == T0 + 1
    assert bench.active() == (1, 0)


def test_who_dies_while_planning_plans_nothing(place: Place) -> None:
    bench = place.bench
    bench.register(NODE)
    bench.put(task())

    def bury() -> None:
        bench.now_us += LEASE_US
        assert bench.recover(decide_never, node=OTHER).dead == (NODE,)

    raised(LeaseLostError, lambda: bench.plan(meanwhile(bury, once)))
    assert bench.runs() == []


# --- put and edit ------------------------------------------------------------------------------


def test_an_edit_is_decided_anew_when_the_task_has_changed(place: Place) -> None:
    bench = place.bench
    bench.put(task())
    plan = lambda: bench.plan(store=bench.second)  # noqa: E731
    [edited] = bench.edit(meanwhile(plan, runs_now(pending(None))))
    assert edited.task == bench.task()
    assert (bench.active(), bench.task().state) == ((2, 0), ScheduleState.FINISHED)
    assert len(bench.runs()) == 2


def test_what_somebody_else_has_just_added_is_decided_about(place: Place) -> None:
    bench = place.bench
    bench.put(task("known"))
    asked: list[str] = []

    def decide(existing: TaskRecord, new: TaskRecord) -> Edit:
        asked.append(existing.id)
        return Edit(existing, unchanged=True)

    add = lambda: bench.put(task("new", name="theirs"))  # noqa: E731
    answers = bench.put(task("known"), task("new"), decide=meanwhile(add, decide))
    assert asked == ["known", "known", "new"]
    assert answers[1].task == task("new", name="theirs") == bench.task("new")


@pytest.mark.parametrize("started", [False, True])
def test_a_run_given_back_while_its_task_is_removed_ends(place: Place, *, started: bool) -> None:
    bench = place.bench
    [run] = bench.leased(task())
    if started:
        bench.finish(Mark(run.id, run.fence, T0))
    back = lambda: bench.finish(given_back(run, started=started), store=bench.second)  # noqa: E731
    bench.edit(meanwhile(back, removed("gone")))
    assert (bench.run(run).state, bench.run(run).reason) == (RunState.CANCELLED, "gone")
    assert bench.lease() == ((), None, ())


def test_a_run_leased_while_its_task_is_removed_goes_on(place: Place) -> None:
    bench = place.bench
    bench.put(task())
    bench.plan(capacity={})
    leased: list[RunRecord] = []

    def lease() -> None:
        leased.extend(each.run for each in bench.lease(store=bench.second).leased)

    bench.edit(meanwhile(lease, removed("gone")))
    assert bench.runs() == leased
    assert bench.finish(finished(leased[0])) == frozenset()


def test_who_is_always_late_is_told(place: Place) -> None:
    bench = place.bench
    bench.put(task())
    calls: list[int] = []

    def decide(record: TaskRecord) -> Edit:
        calls.append(record.revision)
        bench.second.edit(["task"], renamed, bench.new_id)
        return renamed(record)

    assert "keep changing" in raised(StoreUnavailableError, lambda: bench.edit(decide))
    assert calls == list(range(50))
    assert bench.task().revision == 50


# --- finish and recover ------------------------------------------------------------------------


def test_what_follows_is_asked_anew_when_the_task_has_changed(place: Place) -> None:
    bench = place.bench
    [run] = bench.leased(task())

    def after_run(record: TaskRecord, ended: Sequence[Ended]) -> None:
        record.due_us = ended[0].finished_us + MINUTE
        record.state = ScheduleState.SCHEDULED

    add = lambda: bench.second.edit(["task"], runs_now(pending(None)), bench.new_id)  # noqa: E731
    assert bench.finish(finished(run, follows=True), after_run=meanwhile(add, after_run)) == set()
    assert bench.active() == (1, 0)
    assert bench.task().due_us == T0 + 2_000_000 + MINUTE


def test_nothing_follows_for_a_run_that_is_taken_over_meanwhile(place: Place) -> None:
    bench = place.bench
    bench.register(NODE)
    [run] = bench.leased(task())

    def take_over() -> None:
        bench.now_us += LEASE_US
        assert len(bench.recover(node=OTHER).runs) == 1

    def after_run(record: TaskRecord, _: Sequence[Ended]) -> None:
        record.problem = "asked"

    step = meanwhile(take_over, after_run)
    assert bench.finish(finished(run, follows=True), after_run=step) == {run.id}
    assert (bench.task().problem, bench.active()) == (None, (1, 0))


def test_a_run_queued_while_another_ends_is_let_go(place: Place) -> None:
    bench = place.bench
    first, others = bench.leased(task("a"), task("b")), []
    add = lambda: others.extend(  # noqa: E731
        bench.second.edit(["a"], runs_now(queued(T0 + 1)), bench.new_id)
    )
    step = meanwhile(add, lambda *_: None)
    assert (
        bench.finish(finished(first[0]), finished(first[1], follows=True), after_run=step) == set()
    )
    assert (len(others), bench.active("a"), bench.active("b")) == (1, (1, 0), (0, 0))


def test_a_node_that_beats_while_it_is_buried_lives_on(place: Place) -> None:
    bench = place.bench
    bench.register(NODE)
    [run] = bench.leased(task())
    bench.now_us += LEASE_US

    def beat() -> None:
        assert bench.second.beat(NodeRecord(id=NODE, beat_us=T0), LEASE_US).alive

    again = lambda *_: Verdict(RunState.PENDING, 1, suspect=True)  # noqa: E731
    assert bench.recover(meanwhile(beat, again), node=OTHER) == ((), (), False)
    assert bench.run(run) == run


def test_what_a_node_leases_while_it_is_buried_is_taken_over_too(place: Place) -> None:
    bench = place.bench
    bench.register(NODE)
    bench.leased(task("a"))
    bench.put(task("b"))
    bench.now_us += LEASE_US
    plan = lambda: bench.plan(store=bench.second)  # noqa: E731
    again = lambda *_: Verdict(RunState.PENDING, 1, suspect=True)  # noqa: E731
    reply = bench.recover(meanwhile(plan, again), node=OTHER)
    assert sorted(run.task_id for run in reply.runs) == ["a", "b"]
    assert {run.node for run in bench.runs()} == {None}
    assert set(bench.dump().nodes) == set()


def test_a_run_that_ends_while_it_is_taken_over_has_ended(place: Place) -> None:
    bench = place.bench
    bench.register(NODE)
    one, two = bench.leased(task("a"), task("b"))
    bench.now_us += LEASE_US
    end = lambda: bench.finish(finished(one), store=bench.second)  # noqa: E731
    lost = lambda *_: Verdict(RunState.LOST, 1, suspect=True)  # noqa: E731
    reply = bench.recover(meanwhile(end, lost), node=OTHER)
    assert [run.id for run in reply.runs] == [two.id]
    assert bench.run(one).state is RunState.COMPLETED
    assert bench.run(two).state is RunState.LOST
