"""The planner: which runs a task's due fire times become. Pure: no I/O, no clock, no logging.

A plan accounts for every fire time from the task's `fire_us` to the last one that is due, in this
order:

1. Misfires, due longer ago than `misfire_grace_time`, are set apart: one `missed` record.
2. `coalesce` chooses among the rest: the latest or the earliest stands for all of them, or each
   is a run of its own.
3. `max_instances` judges what was chosen: runs of one catch-up queue behind each other; fire
   times that meet earlier runs of their task become one `skipped` record.

Due fire times are a prefix of those that remain, since jitter is always less than the gap to the
next one. Triggers with arithmetic need a constant number of questions however long the task has
slept; the others are enumerated up to a bound, and their records marked "at least n". A catch-up
of single runs that is too long for one plan is continued by the next ones: `catchup_us` remembers
how far it goes, and that its runs are of one family.
"""

from dataclasses import replace
from typing import Protocol, cast

from tickwork.interfaces import InstantTrigger, Periodic
from tickwork.model.definition import Definition, Unreadable
from tickwork.model.instants import SECOND, from_us, us_of
from tickwork.model.policies import Coalesce, Delivery, RunState, ScheduleState, Source
from tickwork.model.records import RunRecord, TaskRecord
from tickwork.model.steps import Edit, Plan, PlannedRun, Verdict
from tickwork.scheduler.timing import Enumeration, Timing, due_of, fire_times, timing_of

__all__ = [
    "CRASHES",
    "RUNS_A_PLAN",
    "after_run",
    "manual_run",
    "new_task",
    "plan",
    "resumed",
    "reconsidered",
    "take_over",
]

RUNS_A_PLAN = 1_000
"""How many runs one plan makes at most."""

CRASHES = 3
"""How often a run may take its node down before it is given up."""

_EARLIEST_US = -62_135_596_800 * SECOND


class _Arithmetic(Protocol):
    def next_us(self, after_us: int, /) -> int | None: ...
    def last_us(self, at_us: int) -> int | None: ...
    def count_us(self, after_us: int, until_us: int) -> int: ...


class _Catchup:
    """The due fire times of a task at an instant, from its first unplanned one on."""

    __slots__ = ("_task", "_timing", "_until_us", "complete", "jitter_us")

    def __init__(self, task: TaskRecord, timing: Timing, first_us: int, until_us: int) -> None:
        self._task = task
        self.complete = True
        self.jitter_us = definition_of(task).jitter_us
        self._until_us = until_us
        if isinstance(timing, InstantTrigger):
            self._timing: _Arithmetic = timing
        else:
            listed = Enumeration(timing, first_us, until_us)
            self._timing = listed
            self.complete = listed.complete

    def due(self, fire_us: int) -> int:
        return due_of(self._task.id, self._timing, fire_us, self.jitter_us)

    def last_due(self, first_us: int, at_us: int) -> int | None:
        """Return the last fire time from `first_us` on that is due at `at_us`."""
        if self.due(first_us) > at_us:
            return None
        last_us = self._timing.last_us(at_us)
        if last_us is not None and last_us > first_us and self.due(last_us) > at_us:
            last_us = self._timing.last_us(last_us - 1)
        # A first fire time that was told (next_run_time=...) needn't be one of the trigger's.
        return first_us if last_us is None else max(last_us, first_us)

    def after(self, fire_us: int) -> int | None:
        return self._timing.next_us(fire_us)

    def record(self, state: RunState, fire_us: int, first_us: int, last_us: int) -> PlannedRun:
        """Return a run at `fire_us` that stands for the fire times of a range."""
        count = 1 + (self._timing.count_us(first_us, last_us) if last_us > first_us else 0)
        exact = self.complete or last_us < self._until_us
        return PlannedRun(state, fire_us, self.due(fire_us), first_us, last_us, count, exact)

    def end(self, last_us: int) -> int:
        """Return up to where a range that ends with the last listed fire time accounts."""
        return last_us if self.complete else self._until_us


def definition_of(task: TaskRecord) -> Definition:
    """Return the definition of a task that was read as planable."""
    definition = task.definition
    if isinstance(definition, Unreadable):
        raise TypeError(f"task {task.id!r} can't be understood: {definition.reason}")
    return definition


def _timing(task: TaskRecord) -> Timing:
    if task.timing is None:
        task.timing = timing_of(definition_of(task).trigger, task.anchor_us)
    return cast("Timing", task.timing)


def plan(task: TaskRecord, now_us: int) -> Plan:
    """Return what becomes of a scheduled task whose `due_us` is at or before `now_us`.

    A task that isn't due gets a plan that changes nothing.
    """
    first_us = task.fire_us
    if first_us is None or task.due_us is None or task.due_us > now_us:
        return Plan((), task.state, first_us, task.due_us, task.planned_us, task.catchup_us)
    timing = _timing(task)
    definition = definition_of(task)
    following_us = timing.next_us(first_us)
    grace_us = definition.misfire_grace_us
    alone = following_us is None or following_us > now_us
    if alone and task.catchup_us is None and (grace_us is None or now_us - task.due_us <= grace_us):
        return _plan_one(task, definition, timing, first_us, following_us)
    return _plan_many(task, definition, timing, first_us, now_us)


def _plan_one(
    task: TaskRecord, definition: Definition, timing: Timing, fire_us: int, next_us: int | None
) -> Plan:
    """Plan a single fire time that is due in time: what nearly every plan is."""
    due_us = cast("int", task.due_us)
    if task.active < definition.max_instances:
        run = PlannedRun(RunState.PENDING, fire_us, due_us, fire_us, fire_us)
        if definition.fixed_delay and next_us is not None:
            return Plan((run,), ScheduleState.SCHEDULED, None, None, fire_us)
    else:
        reason = _overlap(task, definition)
        run = PlannedRun(
            RunState.SKIPPED, fire_us, due_us, fire_us, fire_us, 1, True, False, reason
        )
    return _standing(task.id, definition, timing, (run,), next_us, fire_us)


def _standing(
    task_id: str,
    definition: Definition,
    timing: Timing,
    runs: tuple[PlannedRun, ...],
    next_us: int | None,
    planned_us: int,
) -> Plan:
    if next_us is None:
        return Plan(runs, ScheduleState.FINISHED, None, None, planned_us)
    jitter_us = definition.jitter_us
    due_us = due_of(task_id, timing, next_us, jitter_us) if jitter_us else next_us
    return Plan(runs, ScheduleState.SCHEDULED, next_us, due_us, planned_us)


def _plan_many(
    task: TaskRecord, definition: Definition, timing: Timing, first_us: int, now_us: int
) -> Plan:
    # What a catch-up that goes on still has to do is judged by the instant at which it began.
    judged_us = now_us if task.catchup_us is None else min(now_us, task.catchup_us)
    catchup = _Catchup(task, timing, first_us, judged_us)
    runs: list[PlannedRun] = []
    rest_us: int | None = first_us
    end_us = first_us
    grace_us = definition.misfire_grace_us
    if grace_us is not None:
        last_missed_us = catchup.last_due(first_us, judged_us - grace_us - 1)
        if last_missed_us is not None:
            missed = catchup.record(RunState.MISSED, last_missed_us, first_us, last_missed_us)
            late_s = (now_us - missed.due_us) / SECOND
            reason = f"{late_s:.3f} s late, misfire_grace_time is {grace_us / SECOND:g} s"
            runs.append(missed._replace(reason=reason))
            rest_us, end_us = catchup.after(last_missed_us), last_missed_us
    if rest_us is not None:
        last_us = catchup.last_due(rest_us, judged_us)
        if last_us is not None:
            return _plan_rest(task, definition, catchup, timing, runs, rest_us, last_us, judged_us)
    return _standing(task.id, definition, timing, tuple(runs), rest_us, end_us)


def _plan_rest(  # noqa: PLR0917  one decision, cut out of the function above for its length
    task: TaskRecord,
    definition: Definition,
    catchup: _Catchup,
    timing: Timing,
    runs: list[PlannedRun],
    first_us: int,
    last_us: int,
    judged_us: int,
) -> Plan:
    free = definition.max_instances - task.active
    end_us = catchup.end(last_us)
    if free <= 0 and task.catchup_us is None:
        skipped = catchup.record(RunState.SKIPPED, last_us, first_us, last_us)
        runs.append(skipped._replace(last_us=end_us, reason=_overlap(task, definition)))
    elif definition.coalesce is Coalesce.ALL and not definition.fixed_delay:
        return _plan_each(task, definition, catchup, timing, runs, first_us, last_us, judged_us)
    else:
        chosen_us = first_us if definition.coalesce is Coalesce.EARLIEST else last_us
        run = catchup.record(RunState.PENDING, chosen_us, first_us, last_us)
        runs.append(run._replace(last_us=end_us, queued=free <= 0))
        if definition.fixed_delay and timing.next_us(end_us) is not None:
            return Plan(tuple(runs), ScheduleState.SCHEDULED, None, None, end_us)
    return _standing(task.id, definition, timing, tuple(runs), timing.next_us(end_us), end_us)


def _plan_each(  # noqa: PLR0917  as above
    task: TaskRecord,
    definition: Definition,
    catchup: _Catchup,
    timing: Timing,
    runs: list[PlannedRun],
    first_us: int,
    last_us: int,
    judged_us: int,
) -> Plan:
    free = max(0, definition.max_instances - task.active)
    fire_us: int | None = first_us
    made = 0
    while fire_us is not None and made < RUNS_A_PLAN and catchup.due(fire_us) <= judged_us:
        runs.append(
            PlannedRun(
                RunState.PENDING,
                fire_us,
                catchup.due(fire_us),
                fire_us,
                fire_us,
                queued=made >= free,
            )
        )
        made += 1
        last_us = fire_us
        fire_us = catchup.after(fire_us)
    standing = _standing(task.id, definition, timing, tuple(runs), fire_us, last_us)
    goes_on = standing.due_us is not None and standing.due_us <= judged_us
    return standing._replace(catchup_us=judged_us) if goes_on else standing


def _overlap(task: TaskRecord, definition: Definition) -> str:
    runs = "1 run of it is" if task.active == 1 else f"{task.active} runs of it are"
    return f"{runs} pending or running, max_instances is {definition.max_instances}"


def new_task(task: TaskRecord, now_us: int, first_us: int | None = None) -> TaskRecord:
    """Return a record of a task that begins now: anchored, with its first fire time.

    `first_us` tells the first fire time. A schedule that is a single instant in the past fires at
    once; fire times of other schedules before now are no concern of a task that wasn't there.
    """
    definition = definition_of(task)
    timing = timing_of(definition.trigger, now_us)
    # Strictly after the last instant before now: what is due at this very instant still counts.
    fire_us = first_us if first_us is not None else timing.next_us(now_us - 1)
    if fire_us is None and isinstance(timing, InstantTrigger):
        only_us = timing.next_us(_EARLIEST_US)
        fire_us = only_us if only_us == timing.last_us(now_us) else None
    record = replace(task, anchor_us=now_us, timing=timing, created_us=now_us, updated_us=now_us)
    return _placed(record, fire_us)


def _placed(task: TaskRecord, fire_us: int | None) -> TaskRecord:
    """Put the first unplanned fire time of a task where it is; mutates and returns it."""
    definition = definition_of(task)
    task.fire_us = fire_us
    task.due_us = None
    waits = definition.trigger.kind == "shutdown"
    if task.state is not ScheduleState.PAUSED:
        finished = fire_us is None and not waits
        task.state = ScheduleState.FINISHED if finished else ScheduleState.SCHEDULED
        if fire_us is not None:
            task.due_us = due_of(task.id, _timing(task), fire_us, definition.jitter_us)
    return task


def reconsidered(
    task: TaskRecord, changed: TaskRecord, now_us: int, first_us: int | None = None
) -> Edit:
    """Return `changed`, with a new definition or `first_us` as its first fire time, as an edit.

    What the task owed by its old schedule is planned by its old policies first: a change loses
    nothing. The new schedule begins strictly after now, counted from now if it differs.
    """
    owed: Plan | None = None
    if task.state is ScheduleState.SCHEDULED:
        owed = plan(task, now_us)
        while owed.catchup_us is not None and len(owed.runs) < ENOUGH:
            further = plan(_after(task, owed), now_us)
            owed = further._replace(runs=(*owed.runs, *further.runs))
    runs = owed.runs if owed else ()
    same = definition_of(changed).trigger == definition_of(task).trigger
    if task.state is ScheduleState.PAUSED and not same:
        runs = resumed(task, now_us).runs
    changed = replace(changed, timing=None, updated_us=now_us, catchup_us=None)
    if owed:
        changed.planned_us = owed.planned_us
    if first_us is not None:
        return Edit(_placed(changed, first_us), runs)
    if same:
        fire_us = owed.fire_us if owed else task.fire_us
        waiting = owed is not None and owed.state is ScheduleState.SCHEDULED and fire_us is None
        finished = task.state is ScheduleState.FINISHED
        placed = changed if waiting or finished else _placed(changed, fire_us)
        return Edit(placed, runs)
    changed.anchor_us = now_us
    if changed.state is ScheduleState.FINISHED:
        changed.state = ScheduleState.SCHEDULED
    return Edit(_placed(changed, _first_of_new_schedule(changed, now_us)), runs)


ENOUGH = 10 * RUNS_A_PLAN
"""How many runs of a catch-up that is cut short by a change are still made."""


def _after(task: TaskRecord, step: Plan) -> TaskRecord:
    return replace(
        task,
        state=step.state,
        fire_us=step.fire_us,
        due_us=step.due_us,
        planned_us=step.planned_us,
        catchup_us=step.catchup_us,
    )


def _first_of_new_schedule(task: TaskRecord, now_us: int) -> int | None:
    after_us = now_us if task.planned_us is None else max(now_us, task.planned_us)
    timing = _timing(task)
    fire_us = timing.next_us(after_us)
    if fire_us is None and isinstance(timing, InstantTrigger):
        only_us = timing.next_us(_EARLIEST_US)
        planned = task.planned_us is not None and only_us is not None and only_us <= task.planned_us
        fire_us = only_us if only_us == timing.last_us(after_us) and not planned else None
    return fire_us


def resumed(task: TaskRecord, now_us: int) -> Edit:
    """Return a paused task going on strictly after now, with one record of what it skipped."""
    changed = replace(
        task, state=ScheduleState.SCHEDULED, paused_reason=None, updated_us=now_us, catchup_us=None
    )
    if task.fire_us is None:
        return Edit(_placed(changed, None) if not _waits_for_run(task) else changed)
    catchup = _Catchup(task, _timing(task), task.fire_us, now_us)
    last_us = catchup.last_due(task.fire_us, now_us)
    if last_us is None:
        return Edit(_placed(changed, task.fire_us))
    end_us = catchup.end(last_us)
    why = f": {task.paused_reason}" if task.paused_reason else ""
    skipped = catchup.record(RunState.SKIPPED, last_us, task.fire_us, last_us)
    skipped = skipped._replace(last_us=end_us, reason=f"the task was paused{why}")
    changed.planned_us = end_us
    return Edit(_placed(changed, catchup.after(end_us)), (skipped,))


def _waits_for_run(task: TaskRecord) -> bool:
    """Whether the next fire time of a task is counted from the end of a run that goes on."""
    return definition_of(task).fixed_delay and task.active > 0


def manual_run(now_us: int, source: Source = Source.MANUAL) -> PlannedRun:
    """Return a run that is to be executed at once and has no slot."""
    return PlannedRun(RunState.PENDING, None, now_us, source=source)


def after_run(task: TaskRecord, finished_us: int) -> None:
    """Move a task with fixed delay on, counting from the end of its run; mutates it."""
    definition = definition_of(task)
    waiting = task.fire_us is None and task.active == 0
    if not (definition.fixed_delay and waiting) or task.state is ScheduleState.FINISHED:
        return
    timing = _timing(task)
    next_us = timing.next_us(finished_us)
    if next_us is not None and isinstance(definition.trigger, Periodic):
        # The end of the run is the anchor; the schedule's own end still holds.
        delayed_us = finished_us + us_of(definition.trigger.interval)
        next_us = delayed_us if timing.next_us(delayed_us - 1) is not None else None
    _placed(task, next_us)


def take_over(run: RunRecord, definition: Definition | Unreadable | None) -> Verdict:
    """Return what becomes of a run whose node died with it.

    A run that was leased for at-most-once delivery and isn't marked as started has not started; of
    any other it isn't known, which makes it a suspect: executed alone, and marked beforehand.
    """
    if definition is None:
        return Verdict(RunState.LOST, run.crashes, run.suspect, "its node died, its task is gone")
    if isinstance(definition, Unreadable):
        return Verdict(RunState.PENDING, run.crashes, suspect=True, reason=None)
    started = run.state is RunState.RUNNING
    crashes = run.crashes + started
    if definition.delivery is Delivery.AT_MOST_ONCE:
        if not started:
            return Verdict(RunState.PENDING, crashes, run.suspect)
        reason = "its node died while it was running, and its delivery is at_most_once"
        return Verdict(RunState.LOST, crashes, run.suspect, reason)
    if crashes >= CRASHES:
        reason = f"{crashes} nodes died while it was running"
        return Verdict(RunState.LOST, crashes, run.suspect, reason)
    return Verdict(RunState.PENDING, crashes, suspect=True)


def describe_range(run: RunRecord) -> str:
    """Return the fire times that a run stands for, as text for people."""
    if run.first_us is None or run.last_us is None or run.fire_count == 1:
        return ""
    least = "" if run.exact else "at least "
    first, last = from_us(run.first_us), from_us(run.last_us)
    return f"{least}{run.fire_count} fire times from {first.isoformat()} to {last.isoformat()}"
