"""The planner accounts for every fire time, once, whatever happens to the task meanwhile."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Self
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tickwork.errors import TaskConfigurationError
from tickwork.interfaces import InstantTrigger, Trigger
from tickwork.model.definition import Definition
from tickwork.model.instants import SECOND, from_us, to_us
from tickwork.model.policies import Coalesce, RunState, ScheduleState
from tickwork.model.records import TaskRecord
from tickwork.model.steps import Ended, Plan, PlannedRun
from tickwork.scheduler import planner, timing
from tickwork.scheduler.timing import due_of, fire_times, timing_of
from tickwork.triggers import (
    AndTrigger,
    CronTrigger,
    DateTrigger,
    IntervalTrigger,
    OrTrigger,
)

START = datetime(2026, 1, 1, tzinfo=UTC)
START_US = to_us(START)


class Uneven:
    """A trigger without arithmetic: gaps of 2 to 8 seconds; ends after some time, if told."""

    kind: ClassVar[str] = "uneven"

    def __init__(self, end: datetime | None = None) -> None:
        self._end = end

    def next_fire_time(self, after: datetime) -> datetime | None:
        number = (to_us(after) - START_US) // (5 * SECOND) - 1
        while True:
            fire_us = START_US + (number * 5 + number * number % 4) * SECOND
            if fire_us > to_us(after):
                fire_time = from_us(fire_us)
                return None if self._end is not None and fire_time > self._end else fire_time
            number += 1

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind, "version": 1, "end": str(self._end)}

    @classmethod
    def from_json(cls, data: Any) -> Self:
        raise NotImplementedError

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Uneven) and self._end == other._end

    def __hash__(self) -> int:
        return hash(self._end)


def definition_with(trigger: Trigger, **policies: Any) -> Definition:
    return Definition(function="m:f", trigger=trigger, name="f", **policies)


def new_task(
    trigger: Trigger, *, first_us: int | None = None, now_us: int = START_US, **policies: Any
) -> TaskRecord:
    record = TaskRecord(id="t", generation=1, definition=definition_with(trigger, **policies))
    return planner.new_task(record, now_us, first_us)


def after(task: TaskRecord, plan: Plan) -> TaskRecord:
    return replace(
        task,
        state=plan.state,
        fire_us=plan.fire_us,
        due_us=plan.due_us,
        planned_us=plan.planned_us,
        catchup_us=plan.catchup_us,
        active=task.active + sum(run.state is RunState.PENDING for run in plan.runs),
        queued=task.queued + sum(run.queued for run in plan.runs),
    )


def planned(task: TaskRecord, now_us: int) -> tuple[TaskRecord, list[PlannedRun]]:
    """Plan until nothing is due any more, as a store does."""
    runs: list[PlannedRun] = []
    while task.due_us is not None and task.due_us <= now_us:
        plan = planner.plan(task, now_us)
        assert plan.planned_us is not None
        assert task.planned_us is None or plan.planned_us > task.planned_us
        runs += plan.runs
        task = after(task, plan)
    return task, runs


def seconds(*offsets: float) -> list[int]:
    return [START_US + round(each * SECOND) for each in offsets]


def shape(runs: list[PlannedRun]) -> list[tuple[str, float, float, float, int]]:
    """Return state, fire time and range (in seconds from the start), and count of each run."""

    def offset(instant_us: int | None) -> float:
        return -1 if instant_us is None else (instant_us - START_US) / SECOND

    return [
        (run.state.value, offset(run.fire_us), offset(run.first_us), offset(run.last_us),
         run.fire_count)
        for run in runs
    ]  # fmt: skip


EACH_SECOND = IntervalTrigger(seconds=1, start_at=START)


# --- examples -----------------------------------------------------------------------------------


def test_a_task_that_is_not_due_stays_as_it_is() -> None:
    task = new_task(EACH_SECOND, now_us=START_US + 1)
    plan = planner.plan(task, START_US + SECOND - 1)
    assert (plan.runs, plan.fire_us, plan.due_us) == ((), task.fire_us, task.due_us)


@pytest.mark.parametrize(
    ("coalesce", "expected"),
    [
        (Coalesce.LATEST, [("pending", 3, 0, 3, 4)]),
        (Coalesce.EARLIEST, [("pending", 0, 0, 3, 4)]),
        (Coalesce.ALL, [("pending", n, n, n, 1) for n in range(4)]),
    ],
)
def test_coalesce_chooses_among_what_is_due(coalesce: Coalesce, expected: list[Any]) -> None:
    task, runs = planned(new_task(EACH_SECOND, coalesce=coalesce), START_US + 3 * SECOND)
    assert shape(runs) == expected
    assert task.fire_us == START_US + 4 * SECOND


@pytest.mark.parametrize(
    ("coalesce", "expected"),
    [
        (Coalesce.LATEST, [("missed", 6, 0, 6, 7), ("pending", 10, 7, 10, 4)]),
        (Coalesce.EARLIEST, [("missed", 6, 0, 6, 7), ("pending", 7, 7, 10, 4)]),
        (
            Coalesce.ALL,
            [("missed", 6, 0, 6, 7), *(("pending", n, n, n, 1) for n in (7, 8, 9, 10))],
        ),
    ],
)
def test_misfires_are_set_apart_as_one_record(coalesce: Coalesce, expected: list[Any]) -> None:
    task = new_task(EACH_SECOND, coalesce=coalesce, misfire_grace_us=3 * SECOND)
    assert shape(planned(task, START_US + 10 * SECOND)[1]) == expected


def test_exactly_as_late_as_the_grace_time_is_not_a_misfire() -> None:
    trigger = DateTrigger(START)
    task = new_task(trigger, misfire_grace_us=SECOND)
    assert shape(planned(task, START_US + SECOND)[1]) == [("pending", 0, 0, 0, 1)]
    assert shape(planned(task, START_US + SECOND + 1)[1]) == [("missed", 0, 0, 0, 1)]


def test_all_misfires_leave_nothing_to_run() -> None:
    task = new_task(IntervalTrigger(seconds=100, start_at=START), misfire_grace_us=SECOND)
    task, runs = planned(task, START_US + 250 * SECOND)
    assert shape(runs) == [("missed", 200, 0, 200, 3)]
    assert task.fire_us == START_US + 300 * SECOND


def test_fire_times_that_meet_an_earlier_run_are_skipped_as_one_record() -> None:
    task = replace(new_task(EACH_SECOND, coalesce=Coalesce.ALL), active=1)
    task, runs = planned(task, START_US + 5 * SECOND)
    assert shape(runs) == [("skipped", 5, 0, 5, 6)]
    assert "max_instances is 1" in (runs[0].reason or "")
    assert task.fire_us == START_US + 6 * SECOND


def test_a_single_fire_time_that_meets_an_earlier_run_is_skipped() -> None:
    task = replace(new_task(EACH_SECOND, max_instances=2), active=2)
    _, runs = planned(task, START_US)
    assert shape(runs) == [("skipped", 0, 0, 0, 1)]


def test_runs_of_one_catch_up_queue_behind_each_other() -> None:
    task = replace(new_task(EACH_SECOND, coalesce=Coalesce.ALL, max_instances=3), active=1)
    _, runs = planned(task, START_US + 4 * SECOND)
    assert [run.queued for run in runs] == [False, False, True, True, True]
    assert {run.state for run in runs} == {RunState.PENDING}


def test_a_catch_up_that_is_too_long_for_one_plan_goes_on_and_never_skips_itself() -> None:
    task = new_task(EACH_SECOND, coalesce=Coalesce.ALL)
    with mock.patch.object(planner, "RUNS_A_PLAN", 10):
        first = planner.plan(task, START_US + 34 * SECOND)
        assert len(first.runs) == 10
        assert first.catchup_us == START_US + 34 * SECOND
        # More fire times are due by now, and the first runs are still there.
        task, rest = planned(after(task, first), START_US + 40 * SECOND)
    assert [run.fire_us for run in first.runs] + [
        run.fire_us for run in rest if run.state is RunState.PENDING
    ] == seconds(*range(35))
    assert [run.queued for run in (*first.runs, *rest)] == [False, *[True] * 34, False]
    assert shape(rest[-1:]) == [("skipped", 40, 35, 40, 6)]


class Counting:
    """Counts how often a trigger is asked anything."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.questions = 0

    def next_us(self, after_us: int) -> int | None:
        self.questions += 1
        return self._inner.next_us(after_us)  # type: ignore[no-any-return]

    def last_us(self, at_us: int) -> int | None:
        self.questions += 1
        return self._inner.last_us(at_us)  # type: ignore[no-any-return]

    def count_us(self, after_us: int, until_us: int) -> int:
        self.questions += 1
        return self._inner.count_us(after_us, until_us)  # type: ignore[no-any-return]


SECONDLY = CronTrigger.from_crontab("* * * * * *", timezone="UTC")


@pytest.mark.parametrize("trigger", [EACH_SECOND, SECONDLY])
@pytest.mark.parametrize("coalesce", [Coalesce.LATEST, Coalesce.EARLIEST])
@pytest.mark.parametrize(
    "policies", [{}, {"misfire_grace_us": 60 * SECOND}, {"jitter_us": SECOND // 2}]
)
def test_a_one_second_task_that_slept_for_a_month_costs_a_few_questions(
    trigger: Trigger, coalesce: Coalesce, policies: dict[str, int]
) -> None:
    now_us = START_US + 31 * 86_400 * SECOND
    task = new_task(trigger, coalesce=coalesce, **policies)
    counting = Counting(timing_of(trigger, START_US))
    task.timing = counting
    last_is_due = due_of("t", counting, now_us, policies.get("jitter_us", 0)) <= now_us
    counting.questions = 0
    task, runs = planned(task, now_us)
    assert sum(run.fire_count for run in runs) == 31 * 86_400 + last_is_due
    assert all(run.exact for run in runs)
    assert counting.questions <= 40


def test_a_month_of_single_runs_is_planned_by_a_few_questions_a_run() -> None:
    task = new_task(EACH_SECOND, coalesce=Coalesce.ALL)
    counting = Counting(timing_of(EACH_SECOND, START_US))
    task.timing = counting
    plan = planner.plan(task, START_US + 31 * 86_400 * SECOND)
    assert len(plan.runs) == planner.RUNS_A_PLAN
    assert counting.questions <= 3 * planner.RUNS_A_PLAN


@pytest.mark.parametrize("coalesce", list(Coalesce))
@pytest.mark.parametrize("grace_us", [None, 200 * SECOND])
def test_arithmetic_and_enumeration_give_the_same_plans(
    coalesce: Coalesce, grace_us: int | None
) -> None:
    trigger = IntervalTrigger(seconds=7, start_at=START)
    foreign = OrTrigger([trigger])  # the same fire times, without arithmetic
    assert not isinstance(foreign, InstantTrigger)
    plans = [
        planned(new_task(each, coalesce=coalesce, misfire_grace_us=grace_us), seconds(1000)[0])
        for each in (trigger, foreign)
    ]
    assert plans[0][1] == plans[1][1]
    assert plans[0][0].fire_us == plans[1][0].fire_us


# --- "at least n" -------------------------------------------------------------------------------


@pytest.mark.parametrize("coalesce", [Coalesce.LATEST, Coalesce.EARLIEST])
def test_what_is_enumerated_only_in_part_is_marked_as_at_least(coalesce: Coalesce) -> None:
    task = new_task(OrTrigger([EACH_SECOND]), coalesce=coalesce)
    with mock.patch.object(timing, "ENUMERATED", 10):
        task, (run,) = planned(task, START_US + 100 * SECOND)
    assert (run.first_us, run.last_us) == tuple(seconds(0, 100))
    assert (run.fire_count, run.exact) == (10, False)
    assert task.fire_us == START_US + 101 * SECOND


def test_what_is_enumerated_to_its_end_is_exact() -> None:
    task = new_task(OrTrigger([EACH_SECOND]))
    with mock.patch.object(timing, "ENUMERATED", 10):
        _, (run,) = planned(task, START_US + 9 * SECOND)
    assert (run.fire_count, run.exact) == (10, True)


def test_misfires_that_are_enumerated_only_in_part_are_still_misfires() -> None:
    task = new_task(OrTrigger([EACH_SECOND]), misfire_grace_us=20 * SECOND)
    with mock.patch.object(timing, "ENUMERATED", 10):
        task, runs = planned(task, START_US + 100 * SECOND)
    missed = [run for run in runs if run.state is RunState.MISSED]
    assert missed[0].first_us == START_US
    assert missed[-1].last_us is not None
    assert START_US + 79 * SECOND <= missed[-1].last_us < START_US + 80 * SECOND
    assert not all(run.exact for run in missed)
    (executed,) = [run for run in runs if run.state is RunState.PENDING]
    assert executed.fire_us is not None
    assert executed.fire_us >= START_US + 80 * SECOND


def test_skipped_ranges_that_are_enumerated_only_in_part_are_marked_too() -> None:
    task = replace(new_task(OrTrigger([EACH_SECOND])), active=1)
    with mock.patch.object(timing, "ENUMERATED", 10):
        _, (run,) = planned(task, START_US + 100 * SECOND)
    assert (run.state, run.exact) == (RunState.SKIPPED, False)
    assert (run.first_us, run.last_us) == tuple(seconds(0, 100))


# --- jitter, first times, finished --------------------------------------------------------------


def test_one_trigger_has_a_timing_for_each_anchor() -> None:
    trigger = IntervalTrigger(seconds=10)
    anchors = [START_US, START_US + 3 * SECOND, START_US, START_US + 3 * SECOND]
    first = [timing_of(trigger, anchor_us).next_us(START_US) for anchor_us in anchors]
    assert first == [START_US + 10 * SECOND, START_US + 13 * SECOND] * 2


@given(
    st.integers(0, 10**9),
    st.sampled_from([EACH_SECOND, SECONDLY, Uneven(), CronTrigger(minute="*/7", timezone="UTC")]),
    st.integers(1, 10**9),
    st.text(min_size=1, max_size=5),
)
def test_jitter_is_the_same_each_time_and_less_than_the_gap(
    offset_s: int, trigger: Trigger, jitter_us: int, task_id: str
) -> None:
    clockwork = timing_of(trigger, START_US)
    fire_us = clockwork.next_us(START_US + offset_s * SECOND)
    assert fire_us is not None
    following_us = clockwork.next_us(fire_us)
    assert following_us is not None
    due_us = due_of(task_id, clockwork, fire_us, jitter_us)
    assert 0 <= due_us - fire_us <= min(jitter_us, following_us - fire_us - 1)
    assert due_us == due_of(task_id, clockwork, fire_us, jitter_us)


def test_jitter_spreads_over_the_whole_span() -> None:
    clockwork = timing_of(CronTrigger(hour=3, timezone="UTC"), START_US)
    (fire_us,) = [clockwork.next_us(START_US)]
    assert fire_us is not None
    spread = [due_of(f"task {n}", clockwork, fire_us, 60 * SECOND) - fire_us for n in range(1000)]
    assert len(set(spread)) == 1000
    assert min(spread) < SECOND
    assert max(spread) > 59 * SECOND


def test_a_first_time_that_was_told_comes_before_those_of_the_trigger() -> None:
    (told_us,) = seconds(-7.5)
    task = new_task(IntervalTrigger(seconds=10, start_at=START), first_us=told_us)
    assert task.due_us == told_us
    task, runs = planned(task, START_US + 25 * SECOND)
    assert shape(runs) == [("pending", 20, -7.5, 20, 4)]
    assert task.fire_us == START_US + 30 * SECOND


def test_a_first_time_that_was_told_may_be_due_before_any_of_the_trigger() -> None:
    (told_us,) = seconds(-7.5)
    task = new_task(DateTrigger(START), first_us=told_us)
    task, runs = planned(task, START_US - SECOND)
    assert shape(runs) == [("pending", -7.5, -7.5, -7.5, 1)]
    task, runs = planned(ended(task, START_US - SECOND), START_US + SECOND)
    assert shape(runs) == [("pending", 0, 0, 0, 1)]
    assert task.state is ScheduleState.FINISHED


def test_a_single_instant_in_the_past_fires_at_once() -> None:
    task, runs = planned(new_task(DateTrigger(START - timedelta(days=1))), START_US)
    assert shape(runs) == [("pending", -86400, -86400, -86400, 1)]
    assert (task.state, task.fire_us, task.due_us) == (ScheduleState.FINISHED, None, None)


def test_fire_times_before_a_task_was_there_are_no_concern_of_it() -> None:
    trigger = IntervalTrigger(seconds=10, start_at=START - timedelta(days=1))
    assert new_task(trigger, now_us=START_US + 1).fire_us == START_US + 10 * SECOND
    assert new_task(trigger).fire_us == START_US


# --- fixed delay --------------------------------------------------------------------------------


def ended(task: TaskRecord, finished_us: int) -> TaskRecord:
    task = replace(task, active=task.active - 1)
    planner.after_run(task, [Ended(RunState.COMPLETED, finished_us)])
    return task


def test_a_fixed_delay_is_counted_from_the_end_of_the_run() -> None:
    task = new_task(IntervalTrigger(seconds=10), fixed_delay=True)
    task, runs = planned(task, START_US + 10 * SECOND)
    assert shape(runs) == [("pending", 10, 10, 10, 1)]
    assert (task.fire_us, task.due_us, task.state) == (None, None, ScheduleState.SCHEDULED)
    assert planned(task, START_US + 1000 * SECOND)[1] == []
    task = ended(task, START_US + 33 * SECOND + 5)
    assert task.fire_us == task.due_us == START_US + 43 * SECOND + 5


def test_a_fixed_delay_waits_for_the_last_run_of_the_task() -> None:
    task = new_task(IntervalTrigger(seconds=10), fixed_delay=True)
    task, _ = planned(task, START_US + 10 * SECOND)
    task = ended(replace(task, active=2), START_US + 11 * SECOND)
    assert task.fire_us is None
    task = ended(task, START_US + 20 * SECOND)
    assert task.fire_us == START_US + 30 * SECOND


def test_a_fixed_delay_ends_with_its_schedule() -> None:
    trigger = IntervalTrigger(seconds=10, end_at=START + timedelta(seconds=40))
    task, _ = planned(new_task(trigger, fixed_delay=True), START_US + 10 * SECOND)
    again, _ = planned(ended(task, START_US + 30 * SECOND), START_US + 40 * SECOND)
    assert again.active == 1
    over = ended(task, START_US + 31 * SECOND)
    assert (over.state, over.fire_us) == (ScheduleState.FINISHED, None)


def test_a_fixed_delay_folds_what_it_slept_through_into_one_run_whatever_it_coalesces() -> None:
    task = new_task(EACH_SECOND, fixed_delay=True, coalesce=Coalesce.ALL)
    _, runs = planned(task, START_US + 9 * SECOND)
    assert shape(runs) == [("pending", 9, 0, 9, 10)]


def test_a_paused_task_with_fixed_delay_stays_paused_when_its_run_ends() -> None:
    task = new_task(IntervalTrigger(seconds=10), fixed_delay=True)
    task, _ = planned(task, START_US + 10 * SECOND)
    task = ended(replace(task, state=ScheduleState.PAUSED), START_US + 12 * SECOND)
    assert (task.state, task.due_us) == (ScheduleState.PAUSED, None)
    edit = planner.resumed(task, START_US + 15 * SECOND)
    assert edit.task is not None
    assert edit.task.fire_us == edit.task.due_us == START_US + 22 * SECOND


def test_a_task_whose_fixed_delay_is_given_up_during_a_run_goes_on() -> None:
    task = new_task(IntervalTrigger(seconds=10), fixed_delay=True)
    task, _ = planned(task, START_US + 10 * SECOND)
    assert isinstance(task.definition, Definition)
    changed = replace(task, definition=replace(task.definition, fixed_delay=False))
    edited = planner.reconsidered(task, changed, START_US + 12 * SECOND).task
    assert edited is not None
    edited = ended(edited, START_US + 13 * SECOND)
    assert edited.fire_us is not None
    assert edited.due_us is not None


# --- changes ------------------------------------------------------------------------------------


def rescheduled(
    task: TaskRecord, trigger: Trigger, now_us: int
) -> tuple[TaskRecord, list[PlannedRun]]:
    assert isinstance(task.definition, Definition)
    changed = replace(task, definition=replace(task.definition, trigger=trigger))
    edit = planner.reconsidered(task, changed, now_us)
    assert edit.task is not None
    return edit.task, list(edit.runs)


def test_a_change_plans_what_was_owed_by_the_old_schedule() -> None:
    task = new_task(EACH_SECOND, coalesce=Coalesce.ALL)
    task, runs = rescheduled(task, IntervalTrigger(seconds=60), START_US + 4 * SECOND)
    assert shape(runs) == [("pending", n, n, n, 1) for n in range(5)]
    assert task.fire_us == START_US + 64 * SECOND


def test_a_change_of_a_long_catch_up_loses_nothing() -> None:
    task = new_task(EACH_SECOND, coalesce=Coalesce.ALL)
    with (
        mock.patch.object(planner, "RUNS_A_PLAN", 10),
        mock.patch.object(planner, "ENOUGH", 30, create=True),
    ):
        task, runs = rescheduled(task, IntervalTrigger(seconds=60), START_US + 99 * SECOND)
        task, rest = planned(task, START_US + 158 * SECOND)
    assert sum(run.fire_count for run in (*runs, *rest)) == 100
    assert accounted([*runs, *rest], seconds(*range(100))) == []


def test_the_runs_of_a_catch_up_that_is_changed_queue_behind_each_other() -> None:
    task = new_task(EACH_SECOND, coalesce=Coalesce.ALL)
    with mock.patch.object(planner, "RUNS_A_PLAN", 10):
        _, runs = rescheduled(task, IntervalTrigger(seconds=60), START_US + 29 * SECOND)
    pending = [run for run in runs if run.state is RunState.PENDING]
    assert [run.queued for run in pending] == [False, *[True] * (len(pending) - 1)]


def test_a_change_that_keeps_the_schedule_keeps_its_phase() -> None:
    task = new_task(IntervalTrigger(seconds=10))
    assert isinstance(task.definition, Definition)
    changed = replace(task, definition=replace(task.definition, name="g"))
    edit = planner.reconsidered(task, changed, START_US + 7 * SECOND)
    assert edit.task is not None
    assert (edit.task.fire_us, edit.runs) == (START_US + 10 * SECOND, ())


def test_nothing_that_was_dealt_with_is_planned_again() -> None:
    task, _ = planned(new_task(EACH_SECOND), START_US + 10 * SECOND)
    with pytest.raises(TaskConfigurationError, match=r"00:00:05\+00:00 lies at or before .*later"):
        planner.reconsidered(task, task, START_US + 10 * SECOND, START_US + 5 * SECOND)


def test_what_a_change_has_just_dealt_with_is_not_planned_again_either() -> None:
    task = new_task(EACH_SECOND)
    with pytest.raises(TaskConfigurationError, match="lies at or before"):
        planner.reconsidered(task, task, START_US + 10 * SECOND, START_US + 5 * SECOND)


def paused(task: TaskRecord) -> TaskRecord:
    return replace(task, state=ScheduleState.PAUSED, due_us=None)


def test_resuming_records_one_range_and_goes_on_strictly_after_now() -> None:
    task, _ = planned(new_task(EACH_SECOND, coalesce=Coalesce.ALL), START_US + 2 * SECOND)
    edit = planner.resumed(paused(task), START_US + 9 * SECOND)
    assert edit.task is not None
    assert shape(list(edit.runs)) == [("skipped", 9, 3, 9, 7)]
    assert edit.task.due_us == START_US + 10 * SECOND
    assert edit.task.planned_us == START_US + 9 * SECOND


def test_a_pause_in_which_nothing_was_due_leaves_no_record() -> None:
    task, _ = planned(new_task(EACH_SECOND), START_US)
    edit = planner.resumed(paused(task), START_US + SECOND // 2)
    assert edit.task is not None
    assert (edit.runs, edit.task.due_us) == ((), START_US + SECOND)


def test_a_pause_that_outlasts_the_schedule_ends_it() -> None:
    edit = planner.resumed(paused(new_task(DateTrigger(START))), START_US + SECOND)
    assert edit.task is not None
    assert shape(list(edit.runs)) == [("skipped", 0, 0, 0, 1)]
    assert edit.task.state is ScheduleState.FINISHED


# --- everything at once -------------------------------------------------------------------------


def accounted(runs: list[PlannedRun], expected: list[int]) -> list[str]:
    """Return what is wrong with the ranges of some runs, if they stand for these fire times."""
    wrong = []
    ranges = sorted((run for run in runs if run.first_us is not None), key=_first)
    left = list(expected)
    end_us = -(10**18)
    for run in ranges:
        assert run.first_us is not None
        assert run.last_us is not None
        assert run.fire_us is not None
        if run.first_us <= end_us:
            wrong.append(f"{run} overlaps what ends at {end_us}")
        end_us = run.last_us
        inside = [each for each in left if run.first_us <= each <= run.last_us]
        left = [each for each in left if not run.first_us <= each <= run.last_us]
        count_fits = run.fire_count == len(inside) if run.exact else run.fire_count <= len(inside)
        if not count_fits:
            wrong.append(f"{run} stands for {len(inside)}")
        if run.fire_us not in inside:
            wrong.append(f"{run} is for another fire time")
    if left:
        wrong.append(f"holes: {left}")
    return wrong


def _first(run: PlannedRun) -> int:
    return run.first_us or 0


TRIGGERS: list[Trigger] = [
    EACH_SECOND,
    IntervalTrigger(seconds=3),
    IntervalTrigger(
        seconds=7, start_at=START + timedelta(seconds=20), end_at=START + timedelta(minutes=3)
    ),
    SECONDLY,
    CronTrigger(second="*/11,5", timezone="UTC"),
    DateTrigger(START + timedelta(seconds=30)),
    OrTrigger([IntervalTrigger(seconds=5), DateTrigger(START + timedelta(seconds=7))]),
    AndTrigger(
        [IntervalTrigger(seconds=2, start_at=START), IntervalTrigger(seconds=3, start_at=START)]
    ),
    Uneven(),
    Uneven(START + timedelta(seconds=90)),
]


@dataclass
class Life:
    """A task that is planned, executed, paused and changed; and what it should account for."""

    chance: random.Random
    task: TaskRecord
    now_us: int = START_US
    runs: list[PlannedRun] = field(default_factory=list)
    expected: set[int] = field(default_factory=set)
    most: int = 1

    @property
    def definition(self) -> Definition:
        assert isinstance(self.task.definition, Definition)
        return self.task.definition

    def due_times(self) -> Iterator[int]:
        """Yield the fire times, from the first unplanned one on, that are due now."""
        if self.task.fire_us is None:
            return
        clockwork = timing_of(self.definition.trigger, self.task.anchor_us)
        for fire_us in (self.task.fire_us, *self._following(clockwork)):
            if due_of("t", clockwork, fire_us, self.definition.jitter_us) > self.now_us:
                return
            yield fire_us

    def _following(self, clockwork: timing.Timing) -> Iterator[int]:
        assert self.task.fire_us is not None
        for fire_us in fire_times(clockwork, self.task.fire_us):
            if fire_us > self.now_us:
                return
            yield fire_us

    def pass_time(self) -> None:
        self.now_us += self.chance.choice([1, 10, 500, 1000, 3000, 17_000, 60_000]) * 1000

    def plan(self) -> None:
        """Plan once; what is planned must be a prefix of what is due."""
        if self.task.due_us is None or self.task.due_us > self.now_us:
            return
        due = list(self.due_times())
        plan = planner.plan(self.task, self.now_us)
        if self.task.catchup_us is not None:
            assert all(run.state is not RunState.SKIPPED for run in plan.runs)
        assert len(plan.runs) <= planner.RUNS_A_PLAN + 1
        assert plan.planned_us is not None
        self.expected |= {each for each in due if each <= plan.planned_us}
        self.task = after(self.task, plan)
        self._took(list(plan.runs))

    def _took(self, runs: list[PlannedRun]) -> None:
        for run in runs:
            assert run.reason or run.state is RunState.PENDING
        self.runs += runs
        assert self.task.active - self.task.queued <= self.most

    def finish(self) -> None:
        if self.task.active:
            self.task.active -= 1
            room = self.definition.max_instances - (self.task.active - self.task.queued)
            self.task.queued -= max(0, min(room, self.task.queued))
            self.task.queued = min(self.task.queued, self.task.active)

    def pause(self) -> None:
        if self.task.state is ScheduleState.SCHEDULED:
            self.task = paused(self.task)

    def resume(self) -> None:
        if self.task.state is not ScheduleState.PAUSED:
            return
        self.expected |= set(self.due_times())
        edit = planner.resumed(self.task, self.now_us)
        assert edit.task is not None
        assert len(edit.runs) <= 1
        self.task = edit.task
        self._took(list(edit.runs))
        assert self.task.fire_us is None or self.task.due_us is not None
        assert self.task.due_us is None or self.task.due_us > self.now_us

    def change(self, definition: Definition, first_us: int | None = None) -> None:
        # Another schedule has what the old one owes dealt with; other changes leave it due.
        another = first_us is not None or definition.trigger != self.definition.trigger
        dealt_with = another and self.task.state is not ScheduleState.FINISHED
        if dealt_with:
            self.expected |= set(self.due_times())
        changed = replace(self.task, definition=definition)
        edit = planner.reconsidered(self.task, changed, self.now_us, first_us)
        assert edit.task is not None
        self.task = edit.task
        pending = [run for run in edit.runs if run.state is RunState.PENDING]
        self.task.active += len(pending)
        self.task.queued += sum(run.queued for run in pending)
        self._took(list(edit.runs))
        self.most = max(self.most, definition.max_instances)

    def reschedule(self) -> None:
        self.change(replace(self.definition, trigger=self.chance.choice(TRIGGERS)))

    def change_policies(self) -> None:
        self.change(replace(self.definition, **policies(self.chance)))

    def tell_next(self) -> None:
        if self.task.state is ScheduleState.SCHEDULED:
            self.change(self.definition, self.now_us + self.chance.randrange(1, 40_000_000))

    def step(self) -> None:
        doing = [self.pass_time, self.plan, self.plan, self.finish, self.finish]
        doing += [self.chance.choice([
            self.pause, self.resume, self.resume, self.reschedule, self.change_policies,
            self.tell_next,
        ])]  # fmt: skip
        self.chance.choice(doing)()

    def end(self) -> None:
        self.resume()
        while self.task.due_us is not None and self.task.due_us <= self.now_us:
            self.plan()
            while self.task.active:
                self.finish()


def policies(chance: random.Random) -> dict[str, Any]:
    return {
        "coalesce": chance.choice(list(Coalesce)),
        "misfire_grace_us": chance.choice([None, None, 1, SECOND, 20 * SECOND]),
        "max_instances": chance.choice([1, 1, 2, 5]),
        "jitter_us": chance.choice([0, 0, 1, SECOND // 3, 10 * SECOND]),
    }


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from(TRIGGERS), st.booleans(), st.booleans())
def test_each_fire_time_is_accounted_for_exactly_once(
    seed: int, trigger: Trigger, few: bool, told: bool
) -> None:
    chance = random.Random(seed)
    definition = definition_with(trigger, **policies(chance))
    record = TaskRecord(id="t", generation=1, definition=definition)
    first_us = START_US + chance.randrange(-20, 20) * SECOND if told else None
    life = Life(chance, planner.new_task(record, START_US, first_us))
    life.most = definition.max_instances
    with (
        mock.patch.object(planner, "RUNS_A_PLAN", 5),
        mock.patch.object(timing, "ENUMERATED", 6 if few else 10_000),
    ):
        for _ in range(40):
            life.step()
        life.end()
    assert accounted(life.runs, sorted(life.expected)) == []
    slots = [run.fire_us for run in life.runs if run.fire_us is not None]
    assert len(slots) == len(set(slots))
