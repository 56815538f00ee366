"""Turning due tasks into runs: `plan`."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from tickwork.model.policies import RunState, ScheduleState
from tickwork.model.records import TaskRecord
from tickwork.model.steps import Deferral, Edit, Eligibility, Plan, PlannedRun, PlanReply
from tickwork.testing.store_contract.bench import (
    ALL_EXECUTORS,
    EXECUTOR,
    MINUTE,
    NODE,
    OTHER,
    T0,
    Bench,
    decide_never,
    moves_on,
    once,
    pending,
    queued,
    task,
)
from tickwork.testing.store_contract.case import StoreCase

__all__ = ["PlanningContract"]

_MISSED = PlannedRun(RunState.MISSED, T0 - 2, T0 - 2, T0 - 9, T0 - 2, 4, exact=False, reason="late")


def _ids(reply: PlanReply) -> list[str]:
    return [each.run.task_id for each in reply.leased]


def _plan_all(bench: Bench, **fields: Any) -> tuple[list[str], PlanReply]:
    """Plan until there is no more; return the tasks in order, and the last answer."""
    planned: list[str] = []
    for _ in range(100):
        reply = bench.plan(**fields)
        planned += _ids(reply)
        if not reply.more:
            return planned, reply
    raise AssertionError("a store that always says `more` keeps its scheduler busy for ever")


class PlanningContract(StoreCase):
    """The contract of `plan`."""

    def test_an_empty_store_has_nothing_to_plan(self) -> None:
        """It says so."""
        with self.bench() as bench:
            assert bench.plan(decide_never) == ((), (), (), None, False)

    def test_due_tasks_are_planned(self) -> None:
        """Those that are due at the very instant, too; not those that are due later."""
        with self.bench() as bench:
            bench.put(task("past", T0 - MINUTE), task("now", T0), task("later", T0 + 1))
            planned, last = _plan_all(bench)
            assert planned == ["past", "now"]
            assert (last.next_us, last.deferred) == (T0 + 1, ())
            assert bench.task("later") == task("later", T0 + 1)

    def test_a_plan_moves_a_task_on(self) -> None:
        """All fields of the decision are written, a problem is forgotten, the rest stays."""
        with self.bench() as bench:
            bench.put(task(problem="no such function", declared="text", anchor_us=5))
            next_us = T0 + MINUTE
            plan = Plan([pending(T0)], ScheduleState.SCHEDULED, next_us, next_us + 3, T0, T0 + 9)
            bench.plan(lambda _: plan)
            moved = bench.task()
            assert moved.revision > 0
            assert moved == task(
                declared="text",
                anchor_us=5,
                fire_us=next_us,
                due_us=next_us + 3,
                planned_us=T0,
                catchup_us=T0 + 9,
                active=1,
                made=1,
                revision=moved.revision,
            )

    def test_a_finished_task_is_not_planned_again(self) -> None:
        """It stays, and is due no more."""
        with self.bench() as bench:
            bench.put(task())
            bench.plan()
            assert bench.task().state is ScheduleState.FINISHED
            assert bench.plan(decide_never) == ((), (), (), None, False)

    def test_the_longest_due_come_first(self) -> None:
        """In one call, and over several."""
        with self.bench() as bench:
            bench.put(*(task(f"t{each}", T0 - each) for each in (3, 1, 4, 2, 5)))
            longest_first = ["t5", "t4", "t3", "t2", "t1"]
            first = bench.plan(limit=2)
            assert (_ids(first), first.more) == (longest_first[:2], True)
            planned, last = _plan_all(bench, limit=2)
            assert planned == longest_first[2:]
            assert last.next_us is None

    def test_planned_runs_are_recorded(self) -> None:
        """A leased one with node, fence and attempt; the others available, queued or over."""
        with self.bench() as bench:
            bench.put(task())
            one, two, three = pending(T0, T0 + 1), queued(T0 + 2), pending(T0 + 3)
            bench.plan(moves_on(_MISSED, one, two, three), capacity={EXECUTOR: 1})
            missed, leased, waiting, free = bench.runs()
            assert (missed.state, missed.reason, missed.finished_us) == (
                RunState.MISSED,
                "late",
                T0,
            )
            assert (missed.first_us, missed.last_us) == (T0 - 9, T0 - 2)
            assert (missed.fire_count, missed.exact, missed.available_us) == (4, False, None)
            assert (leased.state, leased.node, leased.attempt) == (RunState.PENDING, NODE, 1)
            assert (leased.fire_us, leased.due_us, leased.available_us) == (T0, T0 + 1, None)
            assert leased.fence > 0
            assert (waiting.node, waiting.attempt, waiting.available_us) == (None, 0, None)
            assert (free.node, free.fence, free.available_us) == (None, 0, T0 + 3)
            assert {run.created_us for run in bench.runs()} == {T0}
            assert {(run.function, run.executor) for run in bench.runs()} == {
                ("shop.jobs:close_day", EXECUTOR)
            }
            assert bench.active() == (3, 1)

    def test_the_answer_is_what_was_recorded(self) -> None:
        """Leased and other runs, together exactly those that were made, as they are stored."""
        with self.bench() as bench:
            bench.put(task())
            reply = bench.plan(moves_on(_MISSED, pending(T0), queued(T0 + 1)))
            [leased] = reply.leased
            assert leased.definition == bench.task().definition
            made = [leased.run, *reply.recorded]
            assert sorted(made, key=lambda run: run.id) == bench.runs()
            assert [run.state for run in reply.recorded] == [RunState.MISSED, RunState.PENDING]

    def test_runs_are_leased_up_to_the_capacity_of_their_executor(self) -> None:
        """In the order of planning; planning itself isn't limited by it."""
        with self.bench() as bench:
            for number in range(5):
                bench.put(task(f"a{number}", T0 - number, executor="asyncio"))
                bench.put(task(f"t{number}", T0 - number))
            reply = bench.plan(capacity={EXECUTOR: 2, "asyncio": 3, "processpool": 9})
            leased = [name for name in _ids(reply) if name.startswith("t")]
            assert leased == ["t4", "t3"]
            assert [name for name in _ids(reply) if name.startswith("a")] == ["a4", "a3", "a2"]
            assert len(reply.recorded) == 5
            assert {run.available_us for run in reply.recorded} == {T0, T0 - 1, T0 - 2}

    def test_without_capacity_everything_is_planned_and_nothing_leased(self) -> None:
        """A full pool must not turn into folded fire times."""
        for capacity in ({}, {EXECUTOR: 0}, {"asyncio": 5}):
            with self.bench() as bench:
                bench.put(*(task(f"t{each}") for each in range(3)))
                reply = bench.plan(capacity=capacity)
                assert (reply.leased, len(reply.recorded)) == ((), 3)
                assert [run.available_us for run in bench.runs()] == [T0] * 3

    def test_a_deferral_leaves_the_task_as_it_is(self) -> None:
        """It is named in the answer, and the others are planned."""
        with self.bench() as bench:
            bench.put(task("a", T0 - 2), task("b", T0 - 1), task("c", T0))
            deferral = Deferral("not here", "shop.jobs:close_day")

            def decide(record: TaskRecord) -> Plan | Deferral:
                return deferral if record.id == "b" else once(record)

            reply = bench.plan(decide)
            assert list(reply.deferred) == [("b", deferral)]
            assert _ids(reply) == ["a", "c"]
            assert bench.task("b") == task("b", T0 - 1)
            [leased] = bench.plan().leased
            assert leased.run.task_id == "b"

    def test_a_raising_decision_plans_none(self) -> None:
        """Whatever it raises comes out, and everything is as due as before."""
        with self.bench() as bench:
            bench.register(NODE)
            bench.put(*(task(each) for each in "abc"))
            before = bench.dump()

            def decide(record: TaskRecord) -> Plan:
                return decide_never() if record.id == "b" else once(record)

            try:
                bench.plan(decide)
            except AssertionError:
                assert bench.dump() == before
            else:
                raise AssertionError("what a decision raises must come out of the store")
            assert sorted(_ids(bench.plan())) == ["a", "b", "c"]

    def test_ineligible_tasks_stay_and_starve_nobody(self) -> None:
        """Other executors', left out functions' and left out tasks; they don't count as next."""
        with self.bench() as bench:
            bench.put(
                task("executor", T0 - 9, executor="elsewhere"),
                task("function", T0 - 8, function="gone:away"),
                task("task", T0 - 7),
                task("fine", T0 - 6),
                task("later", T0 + 5, function="gone:away"),
                task("last", T0 + 9),
            )
            mine = Eligibility(ALL_EXECUTORS, frozenset({"gone:away"}), frozenset({"task"}))
            planned, last = _plan_all(bench, eligibility=mine, limit=1)
            assert planned == ["fine"]
            assert last.next_us == T0 + 9
            rest, last = _plan_all(bench)
            assert rest == ["function", "task"]
            assert last.next_us == T0 + 5

    def test_eligibility_may_vary_from_call_to_call(self) -> None:
        """What was left out, and how much of it, is no matter of the calls before."""
        with self.bench() as bench:
            bench.put(*(task(f"t{each}", T0 - each) for each in range(9)))
            left: list[str] = []
            for names in (["t8"], ["t8", "t7", "t6"], ["t5"], [], ["t8", "t7"]):
                mine = Eligibility(ALL_EXECUTORS, frozenset(), frozenset(names))
                left += _ids(bench.plan(eligibility=mine, limit=1))
            assert left == ["t7", "t5", "t8", "t6", "t4"]

    def test_many_exclusions_are_no_problem(self) -> None:
        """40,000 tasks and as many functions that are left out."""
        with self.bench() as bench:
            bench.put(task("out"), task("in"), task("also", function="no:function7"))
            tasks = frozenset({"out", *(f"no{each}" for each in range(40_000))})
            functions = frozenset(f"no:function{each}" for each in range(40_000))
            mine = Eligibility(ALL_EXECUTORS, functions, tasks)
            assert _ids(bench.plan(eligibility=mine)) == ["in"]
            bench.edit(lambda record: Edit(record, [pending(None)]), "out", "in", "also")
            leased = bench.lease(eligibility=mine).leased
            assert [each.run.task_id for each in leased] == ["in"]

    def test_paused_tasks_are_not_planned(self) -> None:
        """Nor any other that isn't scheduled."""
        with self.bench() as bench:
            bench.put(
                task("paused", state=ScheduleState.PAUSED),
                task("over", state=ScheduleState.FINISHED),
            )
            assert bench.plan(decide_never) == ((), (), (), None, False)

    def test_a_task_that_is_paused_until_some_time_is_planned_then(self) -> None:
        """Its pause has an end where `due_us` and `catchup_us` say the same."""
        until_us = T0 + MINUTE
        with self.bench() as bench:
            paused = task("paused", until_us, fire_us=T0, state=ScheduleState.PAUSED)
            bench.put(replace(paused, catchup_us=until_us, paused_reason="why"))
            early = bench.plan(decide_never)
            assert (early.leased, early.next_us) == ((), until_us)
            seen: list[tuple[str | None, int | None]] = []

            def goes_on(record: TaskRecord) -> Plan:
                seen.append((record.paused_reason, record.fire_us))
                state, next_us = ScheduleState.SCHEDULED, until_us + MINUTE
                return Plan([pending(until_us)], state, next_us, next_us, until_us)

            reply = bench.plan(goes_on, now_us=until_us)
            assert [each.run.task_id for each in reply.leased] == ["paused"]
            assert set(seen) == {("why", T0)}
            counts = bench.reader.counts()
            assert (counts["paused"], counts["scheduled"]) == (0, 1)
            assert bench.task("paused").state is ScheduleState.SCHEDULED

    # -- slots

    def test_a_slot_that_exists_is_passed_over(self) -> None:
        """The task moves on, and nothing is counted twice."""
        with self.bench() as bench:
            bench.leased(task())
            back: Sequence[int] = (T0, T0 + 1)
            for moved in back:
                bench.edit(
                    lambda record: Edit(
                        replace(record, state=ScheduleState.SCHEDULED, fire_us=T0, due_us=T0)
                    )
                )
                reply = bench.plan(moves_on(pending(T0), pending(moved), next_us=T0 + MINUTE))
                assert len(reply.leased) == (moved > T0)
                assert not reply.recorded
                assert bench.task().due_us == T0 + MINUTE
            assert [run.fire_us for run in bench.runs()] == [T0, T0 + 1]
            assert bench.active() == (2, 0)

    def test_slots_are_passed_over_beside_free_ones(self) -> None:
        """A taken slot of one task does no harm to the others planned with it."""
        with self.bench() as bench:
            bench.put(*(task(each, generation=7) for each in "abc"))
            bench.edit(lambda record: Edit(record, [pending(T0)]), "b")
            reply = bench.plan(capacity={EXECUTOR: 2})
            assert sorted(_ids(reply)) == ["a", "c"]
            assert [len(bench.runs(each)) for each in "abc"] == [1, 1, 1]
            assert [bench.active(each) for each in "abc"] == [(1, 0)] * 3

    def test_tasks_of_one_generation_have_slots_of_their_own(self) -> None:
        """A slot is a task's: others may have the same generation and fire time."""
        with self.bench() as bench:
            bench.put(*(task(f"t{each}", generation=5) for each in range(10)))
            assert len(bench.plan().leased) == 10

    # -- two callers

    def test_a_second_caller_sees_the_tasks_moved_on(self) -> None:
        """It isn't even asked to decide."""
        with self.bench() as bench:
            bench.put(*(task(f"t{each}") for each in range(20)))
            assert len(bench.plan().leased) == 20
            second = bench.plan(decide_never, node=OTHER, store=bench.second)
            assert second == ((), (), (), None, False)
            assert len(bench.runs()) == 20

    def test_fences_grow(self) -> None:
        """Of a later step's leases each is greater than any before, whoever took the step."""
        with self.bench() as bench:
            last = 0
            for number, store in enumerate([bench.store, bench.second] * 3):
                bench.put(task(f"a{number}"), task(f"b{number}"))
                reply = bench.plan(store=store)
                fences = {each.run.fence for each in reply.leased}
                assert min(fences) > last
                last = max(fences)
                bench.edit(lambda record: Edit(record, [pending(None)]), f"a{number}")
                [leased] = bench.lease(store=store).leased
                assert leased.run.fence > last
                last = leased.run.fence

    def test_clients_share_what_is_stored(self) -> None:
        """What one has put, the other plans."""
        with self.bench() as bench:
            bench.put(task())
            [leased] = bench.plan(store=bench.second).leased
            assert leased.run == bench.run(leased.run)
