"""The checker finds each kind of broken promise, and nothing in a good history."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Self

import pytest

from tests.cluster.checker import Execution, Expected, check
from tickwork.model.definition import Definition
from tickwork.model.policies import Coalesce, Delivery, RunState, Source
from tickwork.model.records import RunRecord, TaskRecord
from tickwork.triggers import IntervalTrigger

TIMES = tuple(range(1_000, 6_000, 1_000))


def a_run(first_us: int, last_us: int | None = None, **changes: Any) -> RunRecord:
    """Return a completed run that stands for the fire times of a range."""
    last_us = first_us if last_us is None else last_us
    run = RunRecord(
        id=f"run-{first_us}",
        task_id="task",
        generation=1,
        state=RunState.COMPLETED,
        fire_us=last_us,
        due_us=last_us,
        first_us=first_us,
        last_us=last_us,
        fire_count=(last_us - first_us) // 1_000 + 1,
        attempt=1,
        created_us=last_us + 100,
        started_us=last_us,
        finished_us=last_us + 100,
    )
    return replace(run, **changes)


def of(run: RunRecord, **changes: Any) -> Execution:
    """Return the execution that a run tells of."""
    started_us = run.started_us or 0
    execution = Execution(
        run_id=run.id,
        task_id=run.task_id,
        attempt=run.attempt,
        fence=10 + run.attempt,
        pid=1,
        started_us=started_us,
        ended_us=started_us + 50,
    )
    return replace(execution, **changes)


def by_hand(run_id: str = "by-hand") -> RunRecord:
    """Return a completed run that somebody asked for."""
    run = a_run(5_500, id=run_id, source=Source.MANUAL)
    return replace(run, fire_us=None, first_us=None, last_us=None)


class History:
    """A good history of five fire times, to be spoilt."""

    def __init__(self) -> None:
        self.expected = [Expected(task_id="task", fire_times=TIMES)]
        self.runs = [a_run(fire_us) for fire_us in TIMES]
        self.executions = [of(run) for run in self.runs]
        self.tasks: list[TaskRecord] = []

    def expect(self, **changes: Any) -> Self:
        self.expected = [replace(self.expected[0], **changes)]
        return self

    def run(self, at: int, **changes: Any) -> Self:
        """Change a run; its execution stays."""
        self.runs[at] = replace(self.runs[at], **changes)
        return self

    def execution(self, at: int, **changes: Any) -> Self:
        self.executions[at] = replace(self.executions[at], **changes)
        return self

    def executed(self, run: RunRecord, **changes: Any) -> Self:
        self.executions.append(of(run, **changes))
        return self

    def unexecuted(self, at: int) -> Self:
        del self.executions[at]
        return self

    def add(self, run: RunRecord) -> Self:
        """Add a run that was executed after all others."""
        self.runs.append(run)
        return self.executed(run, started_us=20_000, ended_us=20_050)

    def without(self, *places: int) -> Self:
        """Take out runs and their executions."""
        for at in sorted(places, reverse=True):
            del self.runs[at], self.executions[at]
        return self

    def fold(self, **changes: Any) -> Self:
        """Fold the second to fourth fire time into one run."""
        self.runs[1:4] = [a_run(2_000, 4_000, **changes)]
        self.executions[1:4] = [of(self.runs[1])]
        return self

    def record(self, state: RunState) -> Self:
        """Pass the second to fourth fire time over."""
        return self.fold(state=state, attempt=0, started_us=None).unexecuted(1)

    def crash(self) -> Self:
        """Have the second run executed again after its node died."""
        self.run(1, attempt=2, crashes=1, started_us=9_000).execution(1, ended_us=None)
        return self.executed(self.runs[1], pid=2)

    def lose(self, **changes: Any) -> Self:
        """Have the second run end lost."""
        words = {"state": RunState.LOST, "reason": "its node died", **changes}
        return self.run(1, **words).execution(1, ended_us=None)

    def task(self, active: int) -> Self:
        """Have the task count so many active runs at the end."""
        definition = Definition(function="a:b", trigger=IntervalTrigger(seconds=1), name="task")
        task = TaskRecord(id="task", generation=1, definition=definition, active=active)
        self.tasks.append(task)
        return self

    def flaws(self) -> dict[str, int]:
        return dict(check(self.expected, self.runs, self.executions, self.tasks).kinds())


Spoil = Callable[[History], History]
AT_MOST_ONCE = Delivery.AT_MOST_ONCE

GOOD: dict[str, Spoil] = {
    "as it should be": lambda history: history,
    "executed again after a crash": History.crash,
    "several fire times folded into one run": History.fold,
    "a range was skipped": lambda history: history.record(RunState.SKIPPED),
    "lost, as at_most_once says": lambda history: history.expect(delivery=AT_MOST_ONCE).lose(
        crashes=1
    ),
    "lost after too many crashes": lambda history: history.lose(crashes=3),
    "an optional fire time is missing": lambda history: history.expect(
        optional=frozenset({5_000})
    ).without(4),
    "a pending run of a removed task was cancelled": lambda history: (
        history.expect(removed=True)
        .run(4, state=RunState.CANCELLED, attempt=0, started_us=None)
        .unexecuted(4)
    ),
    "missed, later than its grace": lambda history: history.expect(misfire_grace_us=50).record(
        RunState.MISSED
    ),
    "folded into the latest": lambda history: history.expect(coalesce=Coalesce.LATEST).fold(),
    "folded into the earliest": lambda history: history.expect(coalesce=Coalesce.EARLIEST).fold(
        fire_us=2_000
    ),
    "a range was skipped of which each would have had a run": lambda history: history.expect(
        coalesce=Coalesce.ALL
    ).record(RunState.SKIPPED),
    "early by no more than clocks are apart": lambda history: history.expect(early_us=10).execution(
        1, started_us=1_990
    ),
    "instants are told as well as clocks are known": lambda history: history.expect(clocks_us=50),
    "instants of the last attempt": lambda history: (
        history.expect(clocks_us=50).crash().run(1, finished_us=9_100)
    ),
    "a run by hand has no slot": lambda history: history.add(by_hand()),
    "runs by hand wait for nobody": lambda history: (
        history.execution(4, ended_us=6_000)
        .add(by_hand("one"))
        .execution(5, started_us=5_510, ended_us=5_590)
        .add(by_hand("other"))
        .execution(6, started_us=5_520, ended_us=5_530)
    ),
    "a task at rest counts no runs": lambda history: history.task(active=0),
    "two at a time, where two may": lambda history: history.expect(max_instances=2).execution(
        0, ended_us=2_500
    ),
    "the end of a lost lease overlaps what follows": lambda history: history.crash().execution(
        1, ended_us=3_500
    ),
}


@pytest.mark.parametrize("spoil", GOOD.values(), ids=GOOD.keys())
def test_nothing_is_found_in_a_good_history(spoil: Spoil) -> None:
    assert spoil(History()).flaws() == {}


BAD: dict[str, tuple[dict[str, int], Spoil]] = {
    "a fire time is in no run": ({"missing": 1}, lambda history: history.without(2)),
    "the first and the last are in no run": (
        {"missing": 2},
        lambda history: history.without(0, 4),
    ),
    "nothing happened at all": ({"missing": 1}, lambda history: history.without(*range(5))),
    "a fire time has two runs": (
        {"doubled": 1},
        lambda history: history.add(a_run(2_000, id="twice")),
    ),
    "a range overlaps a run": (
        {"doubled": 1},
        lambda history: history.run(4, first_us=4_000, fire_count=2),
    ),
    "a run has a fire time that nobody asked for": (
        {"extra": 3, "count": 1},
        lambda history: history.add(a_run(2_500)),
    ),
    "a run is of a task that nobody added": (
        {"extra": 1},
        lambda history: history.add(a_run(2_000, id="foreign", task_id="other")),
    ),
    "a run is of another generation": (
        {"extra": 1, "missing": 1},
        lambda history: history.expect(generation=1).run(2, generation=2),
    ),
    "a range says too many": ({"count": 1}, lambda history: history.fold(fire_count=4)),
    "a range says too few": ({"count": 1}, lambda history: history.fold(fire_count=1)),
    "a range doesn't know its count": ({"count": 1}, lambda history: history.fold(exact=False)),
    "a scheduled run has no range": (
        {"range": 1, "missing": 1},
        lambda history: history.run(1, first_us=None),
    ),
    "a run never ends": (
        {"unfinished": 1},
        lambda history: history.run(1, state=RunState.RUNNING, finished_us=None),
    ),
    "a pending run waits for ever": (
        {"unfinished": 1},
        lambda history: history.run(1, state=RunState.PENDING, attempt=0).unexecuted(1),
    ),
    "a run failed": ({"failed": 1}, lambda history: history.run(1, state=RunState.FAILED)),
    "a run was cancelled": (
        {"failed": 1},
        lambda history: history.run(1, state=RunState.CANCELLED),
    ),
    "a completed run was never executed": (
        {"unexecuted": 1},
        lambda history: history.unexecuted(1),
    ),
    "a completed run was never executed to its end": (
        {"unexecuted": 1},
        lambda history: history.execution(1, ended_us=None),
    ),
    "a missed run was executed": (
        {"executed": 1},
        lambda history: history.expect(misfire_grace_us=50).run(1, state=RunState.MISSED),
    ),
    "missed, although any time is good": (
        {"missed": 1},
        lambda history: history.record(RunState.MISSED),
    ),
    "missed within its grace": (
        {"missed": 1},
        lambda history: history.expect(misfire_grace_us=100).record(RunState.MISSED),
    ),
    "folded, although each has its own run": (
        {"folded": 1},
        lambda history: history.expect(coalesce=Coalesce.ALL).fold(),
    ),
    "folded into another than the latest": (
        {"folded": 1},
        lambda history: history.expect(coalesce=Coalesce.LATEST).fold(fire_us=3_000),
    ),
    "folded into another than the earliest": (
        {"folded": 1},
        lambda history: history.expect(coalesce=Coalesce.EARLIEST).fold(),
    ),
    "a skipped run was executed": (
        {"executed": 1},
        lambda history: history.run(1, state=RunState.SKIPPED),
    ),
    "executed twice in one attempt": (
        {"repeated": 1, "overlap": 1},
        lambda history: history.executed(history.runs[1], pid=2, fence=12),
    ),
    "executed twice under one lease": (
        {"repeated": 1},
        lambda history: history.crash().execution(-1, fence=11),
    ),
    "executed twice as the second attempt": (
        {"repeated": 1},
        lambda history: history.crash().execution(1, attempt=2),
    ),
    "a later lease is an earlier attempt": (
        {"repeated": 1},
        lambda history: history.crash().execution(1, attempt=2).execution(-1, attempt=1),
    ),
    "at_most_once, executed twice": (
        {"repeated": 1},
        lambda history: history.expect(delivery=AT_MOST_ONCE).crash(),
    ),
    "at_least_once, lost after one crash": ({"lost": 1}, lambda history: history.lose(crashes=1)),
    "at_most_once, lost although it never started": (
        {"lost": 1},
        lambda history: history.expect(delivery=AT_MOST_ONCE).lose(started_us=None).unexecuted(1),
    ),
    "lost without a reason": ({"lost": 1}, lambda history: history.lose(crashes=3, reason=None)),
    "executed before it is due": (
        {"early": 1},
        lambda history: history.execution(1, started_us=1_990),
    ),
    "early by more than clocks are apart": (
        {"early": 1},
        lambda history: history.expect(early_us=9).execution(1, started_us=1_990),
    ),
    "a run tells of another beginning": (
        {"clock": 1},
        lambda history: history.expect(clocks_us=50).run(1, started_us=2_100),
    ),
    "a run tells of another end": (
        {"clock": 1},
        lambda history: history.expect(clocks_us=50).run(1, finished_us=1_999),
    ),
    "a run tells of no beginning": (
        {"clock": 1},
        lambda history: history.expect(clocks_us=50).run(1, started_us=None),
    ),
    "two at a time, where one may": (
        {"overlap": 1},
        lambda history: history.execution(0, ended_us=2_010),
    ),
    "an execution is of no run": (
        {"stray": 1},
        lambda history: history.executed(a_run(2_000, id="unheard-of")),
    ),
    "an execution is of another task": (
        {"stray": 1},
        lambda history: history.execution(1, task_id="other"),
    ),
    "a task counts a run that is over": ({"active": 1}, lambda history: history.task(active=1)),
}


@pytest.mark.parametrize(("kinds", "spoil"), BAD.values(), ids=BAD.keys())
def test_a_broken_promise_is_found(kinds: dict[str, int], spoil: Spoil) -> None:
    assert spoil(History()).flaws() == kinds


def test_missing_and_extra_ones_are_told_by_time_and_number() -> None:
    history = History().without(1, 2).add(a_run(5_500))
    told = str(check(history.expected, history.runs, history.executions)).splitlines()
    assert told[0].startswith("tasks: 1, fire times: 5, runs: 4, ")
    assert told[told.index("MISSING (1)") + 1] == (
        "  task: 2 fire times: 00:00:00.002000 .. 00:00:00.003000 (number 2 to 3 of 5)"
    )
    assert told[told.index("EXTRA (3)") + 1] == (
        "  task: completed run run-5500 at 00:00:00.005500 (attempt 1): "
        "its fire time, 00:00:00.005500, is no expected fire time"
    )


def test_many_flaws_of_a_kind_are_not_all_told() -> None:
    history = History()
    history.executions += [of(a_run(2_000, id=f"unheard-of-{number}")) for number in range(20)]
    told = str(check(history.expected, history.runs, history.executions)).splitlines()
    assert told[1] == "STRAY (20)"
    assert told[-1] == "  ... and 8 more"
    assert len(told) == 15
