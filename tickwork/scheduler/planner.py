"""The planner: which runs a task's due fire times become. Pure: no I/O, no clock, no logging.

A plan accounts for every fire time from the task's `fire_us` to the last one that is due, in this
order:

1. Misfires, due longer ago than `misfire_grace_time`, are set apart: one `missed` record.
2. `coalesce` chooses among the rest: the latest or the earliest stands for all of them, or each
   is a run of its own.
3. `max_instances` judges what was chosen: runs of one catch-up queue behind each other; fire
   times that meet earlier runs of their task become one `skipped` record, or queue too, or are
   run beside them, as `overlap` says.

A task with `max_runs` is finished as soon as so many runs of it were made.

Due fire times are a prefix of those that remain, since jitter is always less than the gap to the
next one. Triggers with arithmetic need a constant number of questions however long the task has
slept; the others are enumerated up to a bound, and their records marked "at least n". A catch-up
of single runs that is too long for one plan is continued by the next ones: `catchup_us` remembers
how far it goes, and that its runs are of one family.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol, cast

from tickwork.errors import ConflictError, TaskConfigurationError
from tickwork.interfaces import Periodic
from tickwork.model.definition import Definition, Unreadable
from tickwork.model.instants import SECOND, from_us, us_of
from tickwork.model.policies import (
    Coalesce,
    Delivery,
    Overlap,
    RunState,
    ScheduleState,
    Source,
)
from tickwork.model.records import RunRecord, TaskRecord, copied
from tickwork.model.steps import Edit, Ended, Plan, PlannedRun, Verdict
from tickwork.scheduler.timing import (
    Enumeration,
    Timing,
    due_of,
    is_arithmetic,
    only_fire_time,
    timing_of,
)

__all__ = [
    "CRASHES",
    "RUNS_A_PLAN",
    "after_run",
    "definition_of",
    "describe_range",
    "manual_run",
    "new_task",
    "owed",
    "plan",
    "reconsidered",
    "resumed",
    "take_over",
    "untold",
]

RUNS_A_PLAN = 1_000
"""How many runs one plan makes at most."""

CRASHES = 3
"""How often a run may take its node down before it is given up."""


# Looked up for each plan; see `tickwork.model.records`.
_PENDING = RunState.PENDING
_PAUSED, _SCHEDULED = ScheduleState.PAUSED, ScheduleState.SCHEDULED
_FINISHED = ScheduleState.FINISHED
_ALLOW = Overlap.ALLOW


class _Arithmetic(Protocol):
    def next_us(self, after_us: int, /) -> int | None: ...
    def last_us(self, at_us: int) -> int | None: ...
    def count_us(self, after_us: int, until_us: int) -> int: ...


class _Backlog:
    """The fire times of a task from its first unplanned one on, as far as they are due.

    Up to `listed_us` they are known; where they could only be enumerated, and were too many, there
    are others between it and `until_us`.
    """

    __slots__ = ("_jitter_us", "_listed_us", "_task_id", "_timing")

    def __init__(self, task: TaskRecord, timing: Timing, first_us: int, until_us: int) -> None:
        self._task_id = task.id
        self._jitter_us = definition_of(task).jitter_us
        self._listed_us = until_us
        if is_arithmetic(timing):
            self._timing: _Arithmetic = timing
        else:
            listed = Enumeration(timing, first_us, until_us)
            self._timing = listed
            if not listed.complete:
                self._listed_us = listed.end_us

    def due(self, fire_us: int) -> int:
        return due_of(self._task_id, self._timing, fire_us, self._jitter_us)

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

    def record(  # noqa: PLR0917  a range has that many parts
        self, state: RunState, fire_us: int, first_us: int, last_us: int, until_us: int
    ) -> PlannedRun:
        """Return a run at `fire_us` that stands for all fire times from `first_us` to `until_us`.

        `last_us` is the last of them that is known.
        """
        count = 1 + (self._timing.count_us(first_us, last_us) if last_us > first_us else 0)
        exact = last_us < self._listed_us or last_us == until_us
        end_us = last_us if exact else until_us
        return PlannedRun(state, fire_us, self.due(fire_us), first_us, end_us, count, exact)


def definition_of(task: TaskRecord) -> Definition:
    """Return the definition of a task that was read as planable."""
    definition = task.definition
    if isinstance(definition, Unreadable):
        raise ConflictError(
            f"task {task.id!r} can't be understood here ({definition.reason}); update tickwork, or "
            "remove the task"
        )
    return definition


def _timing(task: TaskRecord) -> Timing:
    if task.timing is None:
        task.timing = timing_of(definition_of(task).trigger, task.anchor_us)
    return cast("Timing", task.timing)


def plan(task: TaskRecord, now_us: int) -> Plan:
    """Return what becomes of a scheduled task whose `due_us` is at or before `now_us`.

    A task that isn't due gets a plan that changes nothing. One that was paused until `due_us` goes
    on from there; what is due since then is left to the next plan.
    """
    if task.state is _PAUSED:
        return _going_on(task, now_us)
    first_us = task.fire_us
    if first_us is None or task.due_us is None or task.due_us > now_us:
        return Plan((), task.state, first_us, task.due_us, task.planned_us, task.catchup_us)
    definition = definition_of(task)
    if definition.max_runs is not None and task.made >= definition.max_runs:
        return Plan((), ScheduleState.FINISHED, None, None, task.planned_us)
    timing = _timing(task)
    following_us = timing.next_us(first_us)
    grace_us = definition.misfire_grace_us
    alone = following_us is None or following_us > now_us
    if alone and task.catchup_us is None and (grace_us is None or now_us - task.due_us <= grace_us):
        run = _single_run(task, definition, first_us, task.due_us)
        if _waits_for(task, definition, run) and following_us is not None:
            return Plan((run,), ScheduleState.SCHEDULED, None, None, first_us)
        return _standing(task, definition, timing, (run,), following_us, first_us)
    # What a catch-up that goes on still has to do is judged by the instant at which it began.
    judged_us = now_us if task.catchup_us is None else min(now_us, task.catchup_us)
    return _CatchingUp(task, timing, first_us, judged_us).plan(now_us)


def _going_on(task: TaskRecord, now_us: int) -> Plan:
    """Return a plan that ends a pause, if that had an end and it has come.

    A fire time at its very end is none of what it skipped.
    """
    until_us = task.wake_us
    if until_us is None or until_us > now_us:
        fire_us, due_us = task.fire_us, task.due_us
        return Plan((), task.state, fire_us, due_us, task.planned_us, task.catchup_us)
    edit = resumed(task, until_us - 1)
    on = edit.task or task
    return Plan(edit.runs, on.state, on.fire_us, on.due_us, on.planned_us)


def _single_run(task: TaskRecord, definition: Definition, fire_us: int, due_us: int) -> PlannedRun:
    """Return the run of a single fire time that is due in time: what nearly every plan is."""
    if _free(task, definition) > 0:
        return PlannedRun(_PENDING, fire_us, due_us, fire_us, fire_us)
    if _queue_room(task, definition) > 0:
        return PlannedRun(RunState.PENDING, fire_us, due_us, fire_us, fire_us, queued=True)
    reason = _overlap(task, definition)
    return PlannedRun(RunState.SKIPPED, fire_us, due_us, fire_us, fire_us, reason=reason)


def _waits_for(task: TaskRecord, definition: Definition, run: PlannedRun) -> bool:
    """Whether the next fire time is counted from the end of a run.

    Not while others go on: they may have begun before the delay was fixed, and their end says
    nothing then.
    """
    return definition.fixed_delay and run.state is RunState.PENDING and not task.active


def _standing(  # noqa: PLR0917  all of it is what the plan says
    task: TaskRecord,
    definition: Definition,
    timing: Timing,
    runs: Sequence[PlannedRun],
    next_us: int | None,
    planned_us: int,
) -> Plan:
    """Return a plan that leaves the task waiting for its next fire time, if there is one."""
    if definition.max_runs is not None:
        made = task.made + sum(run.state is RunState.PENDING for run in runs)
        next_us = next_us if made < definition.max_runs else None
    if next_us is None:
        return Plan(runs, _FINISHED, None, None, planned_us)
    jitter_us = definition.jitter_us
    due_us = due_of(task.id, timing, next_us, jitter_us) if jitter_us else next_us
    return Plan(runs, _SCHEDULED, next_us, due_us, planned_us)


class _CatchingUp:
    """A task with more than one fire time to account for, or one that is late."""

    __slots__ = ("_backlog", "_definition", "_first_us", "_judged_us", "_runs", "_task", "_timing")

    def __init__(self, task: TaskRecord, timing: Timing, first_us: int, judged_us: int) -> None:
        self._task = task
        self._definition = definition_of(task)
        self._timing = timing
        self._first_us = first_us
        self._judged_us = judged_us
        self._backlog = _Backlog(task, timing, first_us, judged_us)
        self._runs: list[PlannedRun] = []

    def plan(self, now_us: int) -> Plan:
        end_us, rest_us = self._set_misfires_apart(now_us)
        if rest_us is not None:
            last_us = self._backlog.last_due(rest_us, self._judged_us)
            if last_us is not None:
                return self._choose(rest_us, last_us)
        return _standing(self._task, self._definition, self._timing, self._runs, rest_us, end_us)

    def _set_misfires_apart(self, now_us: int) -> tuple[int, int | None]:
        """Record misfires; return the last of them, and the first fire time after it."""
        grace_us = self._definition.misfire_grace_us
        if grace_us is None:
            return self._first_us, self._first_us
        late_us = self._judged_us - grace_us - 1
        last_us = self._backlog.last_due(self._first_us, late_us)
        if last_us is None:
            return self._first_us, self._first_us
        missed = self._backlog.record(RunState.MISSED, last_us, self._first_us, last_us, late_us)
        late_s = (now_us - missed.due_us) / SECOND
        reason = f"{late_s:.3f} s late, misfire_grace_time is {grace_us / SECOND:g} s"
        self._runs.append(missed._replace(reason=reason))
        end_us = missed.last_us or last_us
        return end_us, self._backlog.after(end_us)

    def _choose(self, first_us: int, last_us: int) -> Plan:
        """Turn the fire times of a range into one run, into one each, or into a skipped record."""
        definition, backlog = self._definition, self._backlog
        free = _free(self._task, definition)
        until_us = self._judged_us
        full = free <= 0 and _queue_room(self._task, definition) <= 0
        if full and self._task.catchup_us is None:
            run = backlog.record(RunState.SKIPPED, last_us, first_us, last_us, until_us)
            run = run._replace(reason=_overlap(self._task, definition))
        elif definition.coalesce is Coalesce.ALL and not definition.fixed_delay:
            return self._each(first_us, max(0, free))
        else:
            chosen_us = first_us if definition.coalesce is Coalesce.EARLIEST else last_us
            run = backlog.record(RunState.PENDING, chosen_us, first_us, last_us, until_us)
            run = run._replace(queued=free <= 0)
        self._runs.append(run)
        end_us = run.last_us or last_us
        next_us = backlog.after(end_us)
        if _waits_for(self._task, definition, run) and next_us is not None:
            return Plan(self._runs, ScheduleState.SCHEDULED, None, None, end_us)
        return _standing(self._task, self._definition, self._timing, self._runs, next_us, end_us)

    def _each(self, first_us: int, free: int) -> Plan:
        """Make a run of each due fire time, up to a bound; those beyond `free` queue."""
        backlog, definition = self._backlog, self._definition
        fire_us: int | None = first_us
        last_us = first_us
        most = RUNS_A_PLAN
        if definition.max_runs is not None:
            most = min(most, definition.max_runs - self._task.made)
        for made in range(most):
            if fire_us is None or backlog.due(fire_us) > self._judged_us:
                break
            run = backlog.record(RunState.PENDING, fire_us, fire_us, fire_us, fire_us)
            self._runs.append(run._replace(queued=made >= free))
            last_us, fire_us = fire_us, backlog.after(fire_us)
        standing = _standing(
            self._task, self._definition, self._timing, self._runs, fire_us, last_us
        )
        goes_on = standing.due_us is not None and standing.due_us <= self._judged_us
        return standing._replace(catchup_us=self._judged_us) if goes_on else standing


_ENDLESS = 2**62


def _free(task: TaskRecord, definition: Definition) -> int:
    """Return how many runs may be made now that wait for no other."""
    if definition.overlap is _ALLOW:
        return _ENDLESS
    return definition.max_instances - task.active


def _queue_room(task: TaskRecord, definition: Definition) -> int:
    """Return how many runs may be made now that wait for others of their task."""
    return definition.max_queued - task.queued if definition.overlap is Overlap.QUEUE else 0


def _overlap(task: TaskRecord, definition: Definition) -> str:
    runs = "1 run of it is" if task.active == 1 else f"{task.active} runs of it are"
    reason = f"{runs} pending or running, max_instances is {definition.max_instances}"
    if definition.overlap is Overlap.QUEUE:
        reason += f", {task.queued} of them queued, max_queued is {definition.max_queued}"
    return reason


def new_task(
    task: TaskRecord, now_us: int, first_us: int | None = None, known: object = None
) -> TaskRecord:
    """Return a record of a task that begins now: anchored, with its first fire time.

    `first_us` tells the first fire time, `known` is the `timing` of another task that begins
    now, with the same trigger. A schedule that is a single instant in the past fires at
    once; fire times of other schedules before now are no concern of a task that wasn't there.
    """
    definition = definition_of(task)
    timing = cast("Timing", known) if known else timing_of(definition.trigger, now_us)
    # Strictly after the last instant before now: what is due at this very instant still counts.
    fire_us = first_us if first_us is not None else timing.next_us(now_us - 1)
    if fire_us is None and definition.trigger.kind == "date":
        fire_us = only_fire_time(timing, now_us)
    record = copied(task)
    record.timing = timing
    record.anchor_us = record.created_us = record.updated_us = now_us
    return _placed(record, fire_us)


def _placed(task: TaskRecord, fire_us: int | None) -> TaskRecord:
    """Put the first unplanned fire time of a task where it is; mutates and returns it."""
    definition = definition_of(task)
    task.fire_us = fire_us
    if task.state is not ScheduleState.PAUSED or task.wake_us is None:
        # Else it says how long the pause is.
        task.due_us = None
    waits = definition.trigger.kind == "shutdown"
    if task.state is not ScheduleState.PAUSED:
        finished = fire_us is None and not waits
        task.state = ScheduleState.FINISHED if finished else ScheduleState.SCHEDULED
        if fire_us is not None:
            task.due_us = due_of(task.id, _timing(task), fire_us, definition.jitter_us)
    return task


def reconsidered(  # noqa: PLR0917  four facts and what they owe
    task: TaskRecord,
    changed: TaskRecord,
    now_us: int,
    first_us: int | None = None,
    due: Plan | None = None,
) -> Edit:
    """Return `changed`, with a new definition or `first_us` as its first fire time, as an edit.

    With another trigger or first fire time, what the task owes by its old schedule is dealt with
    first, as `due` says (see `owed`): a change loses nothing. The new schedule then begins strictly
    after now, counted from now. Other changes leave fire times and phase as they are.

    Raises:
        TaskConfigurationError: fire times at or after `first_us` are dealt with already.
    """
    changed = replace(changed, timing=None, updated_us=now_us)
    same = definition_of(changed).trigger == definition_of(task).trigger
    if same and first_us is None:
        jitter_us = definition_of(changed).jitter_us
        if changed.due_us is not None and jitter_us != definition_of(task).jitter_us:
            _placed(changed, changed.fire_us)
        if definition_of(changed).max_runs != definition_of(task).max_runs:
            _take_up_again(changed, now_us)
        return Edit(changed)
    due = due or owed(task, now_us)
    paused_until_us = task.wake_us if task.state is ScheduleState.PAUSED else None
    changed = replace(changed, planned_us=due.planned_us, catchup_us=paused_until_us)
    if first_us is not None:
        if due.planned_us is not None and first_us <= due.planned_us:
            raise TaskConfigurationError(
                f"next_run_time {from_us(first_us).isoformat()} lies at or before "
                f"{from_us(due.planned_us).isoformat()}, up to which fire times are dealt with; "
                "name a later one, or run the task now with run()"
            )
    else:
        changed.anchor_us = now_us
        first_us = _first_of_new_schedule(changed, now_us)
    if changed.state is ScheduleState.FINISHED:
        changed.state = ScheduleState.SCHEDULED
    return Edit(_placed(changed, first_us), due.runs)


def _take_up_again(task: TaskRecord, now_us: int) -> None:
    """Have a task go on that had made all its runs, and may make more now; mutates it."""
    most = definition_of(task).max_runs
    if task.state is ScheduleState.FINISHED and (most is None or task.made < most):
        _placed(task, _first_of_new_schedule(task, now_us))


def owed(task: TaskRecord, now_us: int) -> Plan:
    """Return a plan of all that is due before a change of schedule, which leaves nothing due.

    While paused it is what was skipped. What one plan can't hold becomes a skipped record.
    """
    if task.state is ScheduleState.PAUSED and task.fire_us is not None:
        edit = resumed(task, now_us)
        planned_us = edit.task.planned_us if edit.task else task.planned_us
        return Plan(edit.runs, ScheduleState.PAUSED, None, None, planned_us)
    if task.state is not ScheduleState.SCHEDULED:
        return Plan((), task.state, None, None, task.planned_us)
    first = plan(task, now_us)
    if first.fire_us is None or first.due_us is None or first.due_us > now_us:
        return first
    backlog = _Backlog(task, _timing(task), first.fire_us, now_us)
    last_us = backlog.last_due(first.fire_us, now_us) or first.fire_us
    rest = backlog.record(RunState.SKIPPED, last_us, first.fire_us, last_us, now_us)
    rest = rest._replace(reason="its schedule was changed before they could be planned")
    return first._replace(runs=(*first.runs, rest), planned_us=rest.last_us)


def untold(task: TaskRecord, now_us: int, reason: str) -> Plan:
    """Return what takes the place of `owed` where the trigger fails that should tell it."""
    if task.fire_us is None or task.fire_us > now_us:
        return Plan((), task.state, None, None, task.planned_us)
    first_us = task.fire_us
    skipped = PlannedRun(
        RunState.SKIPPED, first_us, first_us, first_us, now_us, exact=False, reason=reason
    )
    return Plan((skipped,), task.state, None, None, now_us)


def _first_of_new_schedule(task: TaskRecord, now_us: int) -> int | None:
    after_us = now_us if task.planned_us is None else max(now_us, task.planned_us)
    timing = _timing(task)
    fire_us = timing.next_us(after_us)
    if fire_us is not None or definition_of(task).trigger.kind != "date":
        return fire_us
    only_us = only_fire_time(timing, after_us)
    planned = task.planned_us is not None and only_us is not None and only_us <= task.planned_us
    return None if planned else only_us


def resumed(task: TaskRecord, now_us: int) -> Edit:
    """Return a paused task going on strictly after now, with one record of what it skipped."""
    changed = replace(
        task,
        state=ScheduleState.SCHEDULED,
        due_us=None,
        paused_reason=None,
        updated_us=now_us,
        catchup_us=None,
        streak=0,
    )
    if task.fire_us is None:
        delayed = definition_of(task).fixed_delay
        if delayed and task.active:
            return Edit(changed)
        return Edit(_placed(changed, _timing(task).next_us(now_us) if delayed else None))
    backlog = _Backlog(task, _timing(task), task.fire_us, now_us)
    last_us = backlog.last_due(task.fire_us, now_us)
    if last_us is None:
        return Edit(_placed(changed, task.fire_us))
    why = f": {task.paused_reason}" if task.paused_reason else ""
    skipped = backlog.record(RunState.SKIPPED, last_us, task.fire_us, last_us, now_us)
    skipped = skipped._replace(reason=f"the task was paused{why}")
    end_us = changed.planned_us = skipped.last_us or last_us
    return Edit(_placed(changed, backlog.after(end_us)), (skipped,))


def manual_run(
    now_us: int, source: Source = Source.MANUAL, retry_of: str | None = None
) -> PlannedRun:
    """Return a run that is to be executed at once and has no slot."""
    return PlannedRun(RunState.PENDING, None, now_us, source=source, retry_of=retry_of)


def after_run(task: TaskRecord, ended: Sequence[Ended]) -> None:
    """Pause a task that keeps failing, and count on from the end of its runs; mutates it."""
    definition = definition_of(task)
    in_order = sorted(ended, key=lambda each: each.finished_us)
    if definition.pause_after_failures is not None:
        for each in in_order:
            _count_failure(task, each.state, definition.pause_after_failures)
    # Judged by where the task stands: whether its delay is fixed may have been changed meanwhile.
    if task.fire_us is not None or task.active or task.state is ScheduleState.FINISHED:
        return
    finished_us = in_order[-1].finished_us
    timing = _timing(task)
    next_us = timing.next_us(finished_us)
    fixed = definition.fixed_delay and isinstance(definition.trigger, Periodic)
    if next_us is not None and fixed:
        # The end of the run is the anchor; the schedule's own end still holds.
        delayed_us = finished_us + us_of(cast("Periodic", definition.trigger).interval)
        next_us = delayed_us if timing.next_us(delayed_us - 1) is not None else None
    if definition.max_runs is not None and task.made >= definition.max_runs:
        next_us = None
    _placed(task, next_us)


_FAILURES = frozenset({RunState.FAILED, RunState.TIMEOUT, RunState.LOST})


def _count_failure(task: TaskRecord, state: RunState, most: int) -> None:
    if state is RunState.COMPLETED:
        task.streak = 0
    task.streak += state in _FAILURES
    if task.streak >= most and task.state is ScheduleState.SCHEDULED:
        task.state, task.due_us = ScheduleState.PAUSED, None
        runs = "its last run has" if most == 1 else f"its last {task.streak} runs have"
        task.paused_reason = f"{runs} failed"


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
    if run.cancel_us is not None:
        reason = "cancelled; its node died before it could end it"
        return Verdict(RunState.CANCELLED, run.crashes + started, run.suspect, reason)
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
