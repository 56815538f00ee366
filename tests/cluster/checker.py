"""The oracle of the cluster tests, in the manner of Jepsen's checker for Chronos.

It is told what should have fired (computed without the scheduler), what the store says (the
records of runs) and what really happened (the executions that the processes wrote down), and finds
every contradiction to the promises:

- Each expected fire time is in exactly one run, alone or in the range of fire times that a run or a
  record stands for: no hole, no overlap, nothing extra, and the counts of ranges are right.
- At the end each run is over, and no task counts runs that it doesn't have.
- Fire times are folded only as `coalesce` says, and missed only where they are too late for their
  task's grace.
- A completed run was executed to its end at least once; a missed or skipped one never. A run is
  executed at most once an attempt, one lease gives one execution, a later lease a later attempt,
  and more than one attempt is only under at_least_once delivery. `lost` are only runs of which the
  delivery, or the bound of crashes, says so.
- Nothing is executed before it is due, and no two scheduled runs of a task with one instance at a
  time; runs by hand wait for nobody.
- What runs tell of their instants is so, whatever the clocks of their processes say.

It knows nothing of stores, processes or clocks; any store's tests can use it.
"""

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

from tickwork.model.instants import SECOND, from_us
from tickwork.model.policies import TERMINAL, Coalesce, Delivery, RunState, Source
from tickwork.model.records import RunRecord, TaskRecord

__all__ = ["Execution", "Expected", "Flaw", "Report", "check"]

_SHOWN = 12
_NEVER_EXECUTED = frozenset({RunState.MISSED, RunState.SKIPPED})
_GONE = "its task is gone"


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What should have fired of one task: `fire_times`, sorted, in microseconds.

    Those that are `optional` may be missing: what a task still owed in the moment when it was
    removed. With `generation` None the task was never made anew. Of a task that was `removed`, runs
    may have been cancelled. After `crashes` crashes of its nodes a run is lost. With `coalesce`
    None (it was changed meanwhile) fire times may be folded in any way.

    Where the clocks of processes differ, they are known only within the time that a server takes to
    answer: `early_us` is by how much an execution may begin before it is due, and the instants that
    runs tell of must be those of their executions within `clocks_us` (None: not compared).
    """

    task_id: str
    fire_times: Sequence[int]
    optional: frozenset[int] = frozenset()
    generation: int | None = None
    delivery: Delivery = Delivery.AT_LEAST_ONCE
    max_instances: int = 1
    coalesce: Coalesce | None = None
    misfire_grace_us: int | None = None
    removed: bool = False
    crashes: int = 3
    early_us: int = 0
    clocks_us: int | None = None


@dataclass(slots=True, kw_only=True)
class Execution:
    """One call of a task's function; `ended_us` is None where it never returned."""

    run_id: str
    task_id: str
    attempt: int
    fence: int
    pid: int
    started_us: int
    ended_us: int | None = None


class Flaw(NamedTuple):
    """A broken promise."""

    kind: str
    task_id: str
    text: str


@dataclass(slots=True)
class Report:
    """What was found; `counts` says how much was looked at."""

    flaws: list[Flaw] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)

    def kinds(self) -> Counter[str]:
        """Return how many flaws of each kind there are."""
        return Counter(flaw.kind for flaw in self.flaws)

    def __str__(self) -> str:
        lines = [", ".join(f"{word}: {count}" for word, count in self.counts.items())]
        for kind, count in sorted(self.kinds().items()):
            lines.append(f"{kind.upper()} ({count})")
            these = [flaw for flaw in self.flaws if flaw.kind == kind]
            lines += [f"  {flaw.task_id}: {flaw.text}" for flaw in these[:_SHOWN]]
            if count > _SHOWN:
                lines.append(f"  ... and {count - _SHOWN} more")
        return "\n".join(lines)


def check(
    expected: Iterable[Expected],
    runs: Iterable[RunRecord],
    executions: Iterable[Execution],
    tasks: Iterable[TaskRecord] = (),
) -> Report:
    """Compare what should have happened with what did; `tasks` as they stand at the end."""
    return _Check(list(expected), list(runs), list(executions), list(tasks)).report()


class _Check:
    """One comparison."""

    def __init__(
        self,
        expected: list[Expected],
        runs: list[RunRecord],
        executions: list[Execution],
        tasks: list[TaskRecord],
    ) -> None:
        self._expected = expected
        self._runs = runs
        self._executions = executions
        self._tasks = tasks
        self._flaws: list[Flaw] = []
        self._executed: dict[str, list[Execution]] = defaultdict(list)
        for execution in executions:
            self._executed[execution.run_id].append(execution)

    def report(self) -> Report:
        known: dict[str, Expected] = {}
        for each in self._expected:
            mine = [run for run in self._runs if _belongs(run, each)]
            known |= {run.id: each for run in mine}
            self._check_slots(each, [run for run in mine if run.source is Source.SCHEDULED])
            for run in mine:
                self._check_run(each, run)
            if each.max_instances == 1:
                self._check_overlap([run for run in mine if run.source is Source.SCHEDULED])
        self._check_strays(known)
        self._check_tasks()
        return Report(self._flaws, self._counts())

    def _flaw(self, kind: str, task_id: str, text: str) -> None:
        self._flaws.append(Flaw(kind, task_id, text))

    # --- fire times ---------------------------------------------------------------------------

    def _check_slots(self, expected: Expected, runs: list[RunRecord]) -> None:
        times = expected.fire_times
        covered: dict[int, list[RunRecord]] = defaultdict(list)
        for run in runs:
            if run.fire_us is None or run.first_us is None or run.last_us is None:
                self._flaw("range", run.task_id, f"{_named(run)} is scheduled and has no range")
                continue
            inside = times[bisect_left(times, run.first_us) : bisect_right(times, run.last_us)]
            for fire_us in inside:
                covered[fire_us].append(run)
            self._check_range(run, inside)
            self._check_policies(expected, run)
        for fire_us, these in covered.items():
            if len(these) > 1:
                names = " and ".join(_named(run) for run in these)
                self._flaw("doubled", expected.task_id, f"{_at(fire_us)} is in {names}")
        holes = [fire_us not in covered for fire_us in times]
        for first, last in _stretches(holes):
            self._miss(expected, first, last)

    def _miss(self, expected: Expected, first: int, last: int) -> None:
        times = expected.fire_times
        missing = [at for at in range(first, last + 1) if times[at] not in expected.optional]
        if missing:
            until = f" .. {_at(times[missing[-1]])}" if len(missing) > 1 else ""
            self._flaw(
                "missing",
                expected.task_id,
                f"{len(missing)} fire times: {_at(times[missing[0]])}{until} "
                f"(number {missing[0] + 1} to {missing[-1] + 1} of {len(times)})",
            )

    def _check_range(self, run: RunRecord, inside: Sequence[int]) -> None:
        ends = {"fire time": run.fire_us, "first": run.first_us, "last": run.last_us}
        for name, instant in ends.items():
            if instant is not None and instant not in inside:
                text = f"{_named(run)}: its {name}, {_at(instant)}, is no expected fire time"
                self._flaw("extra", run.task_id, text)
        if not run.exact or run.fire_count != len(inside):
            least = "" if run.exact else "at least "
            self._flaw(
                "count",
                run.task_id,
                f"{_named(run)} says {least}{run.fire_count} fire times, its range has "
                f"{len(inside)}",
            )

    def _check_policies(self, expected: Expected, run: RunRecord) -> None:
        if run.state is RunState.MISSED:
            grace_us = expected.misfire_grace_us
            late_us = run.created_us - (run.last_us or 0)
            if grace_us is None or late_us <= grace_us:
                text = f"{_named(run)} was {late_us / SECOND:g} s late: {run.reason}"
                self._flaw("missed", run.task_id, text)
        elif run.state is not RunState.SKIPPED:
            chosen = {
                Coalesce.ALL: run.fire_count == 1,
                Coalesce.LATEST: run.fire_us == run.last_us,
                Coalesce.EARLIEST: run.fire_us == run.first_us,
            }
            if expected.coalesce is not None and not chosen[expected.coalesce]:
                text = f"{_named(run)} stands for {run.fire_count}, coalesce={expected.coalesce}"
                self._flaw("folded", run.task_id, text)

    # --- runs ---------------------------------------------------------------------------------

    def _check_run(self, expected: Expected, run: RunRecord) -> None:
        executions = sorted(self._executed[run.id], key=lambda each: each.fence)
        if run.state not in TERMINAL:
            whose = f" of node {run.node}" if run.node else ""
            self._flaw("unfinished", run.task_id, f"{_named(run)}{whose} is not over")
        if run.state in {RunState.FAILED, RunState.TIMEOUT}:
            self._flaw("failed", run.task_id, f"{_named(run)}: {run.reason or run.errors}")
        if run.state is RunState.CANCELLED and not expected.removed:
            self._flaw("failed", run.task_id, f"{_named(run)}: {run.reason}")
        if run.state is RunState.LOST:
            self._check_lost(expected, run)
        if run.state is RunState.COMPLETED and not any(each.ended_us for each in executions):
            self._flaw("unexecuted", run.task_id, f"{_named(run)} was never executed to its end")
        if run.state in _NEVER_EXECUTED and executions:
            self._flaw("executed", run.task_id, f"{_named(run)} was executed: {_told(executions)}")
        self._check_repetition(expected, run, executions)
        self._check_instants(expected, run, executions)

    def _check_lost(self, expected: Expected, run: RunRecord) -> None:
        allowed = (
            (expected.delivery is Delivery.AT_MOST_ONCE and run.started_us is not None)
            or run.crashes >= expected.crashes
            or (expected.removed and _GONE in (run.reason or ""))
        )
        if not allowed:
            text = f"{_named(run)}, {expected.delivery}, {run.crashes} crashes: {run.reason}"
            self._flaw("lost", run.task_id, text)
        if not run.reason:
            self._flaw("lost", run.task_id, f"{_named(run)} has no reason")

    def _check_repetition(
        self, expected: Expected, run: RunRecord, executions: list[Execution]
    ) -> None:
        problem = ""
        if len(executions) > run.attempt:
            problem = f"{len(executions)} executions in {run.attempt} attempts"
        elif len({each.fence for each in executions}) < len(executions):
            problem = "two executions under one lease"
        elif any(one.attempt >= other.attempt for one, other in pairwise(executions)):
            problem = "a later execution isn't a later attempt"
        elif len(executions) > 1 and expected.delivery is Delivery.AT_MOST_ONCE:
            problem = f"{len(executions)} executions, declared at_most_once"
        if problem:
            self._flaw("repeated", run.task_id, f"{_named(run)}: {problem}: {_told(executions)}")

    def _check_instants(
        self, expected: Expected, run: RunRecord, executions: list[Execution]
    ) -> None:
        for each in executions:
            if run.due_us is not None and each.started_us < run.due_us - expected.early_us:
                self._flaw("early", run.task_id, f"{_named(run)} due {_at(run.due_us)}: {each}")
        if expected.clocks_us is None or run.state is not RunState.COMPLETED or not executions:
            return
        last = executions[-1]
        pairs = ((run.started_us, last.started_us), (run.finished_us, last.ended_us))
        for told_us, real_us in pairs:
            if told_us is None or real_us is None or abs(told_us - real_us) > expected.clocks_us:
                told = None if told_us is None else _at(told_us)
                self._flaw("clock", run.task_id, f"{_named(run)} tells of {told}: {last}")

    def _check_overlap(self, runs: list[RunRecord]) -> None:
        """Compare the runs whose only lease held to the end: no other may begin meanwhile."""
        held = [
            execution
            for run in runs
            if run.state is RunState.COMPLETED and run.attempt == 1
            for execution in self._executed[run.id]
        ]
        held.sort(key=lambda each: each.started_us)
        for one, other in pairwise(held):
            if one.ended_us is not None and one.ended_us > other.started_us:
                self._flaw("overlap", one.task_id, _told([one, other]))

    # --- the rest -----------------------------------------------------------------------------

    def _check_strays(self, known: dict[str, Expected]) -> None:
        tasks = {run.id: run.task_id for run in self._runs}
        for run in self._runs:
            if run.id not in known:
                self._flaw("extra", run.task_id, f"{_named(run)} of a task that nobody added")
        for execution in self._executions:
            if execution.run_id not in tasks:
                self._flaw("stray", execution.task_id, f"{execution} is of no run")
            elif tasks[execution.run_id] != execution.task_id:
                text = f"{execution} is of a run of {tasks[execution.run_id]}"
                self._flaw("stray", execution.task_id, text)

    def _check_tasks(self) -> None:
        for task in self._tasks:
            over = [
                run
                for run in self._runs
                if run.task_id == task.id and run.generation == task.generation
            ]
            active = sum(run.state not in TERMINAL for run in over)
            if task.active != active:
                text = f"counts {task.active} active runs ({task.queued} queued), has {active}"
                self._flaw("active", task.id, text)

    def _counts(self) -> dict[str, int]:
        states = Counter(run.state.value for run in self._runs)
        again = sum(len(each) > 1 for each in self._executed.values())
        return {
            "tasks": len(self._expected),
            "fire times": sum(len(each.fire_times) for each in self._expected),
            "runs": len(self._runs),
            "ranges": sum(run.fire_count > 1 for run in self._runs),
            "executions": len(self._executions),
            "runs executed again": again,
            "crashes": sum(run.crashes for run in self._runs),
            **dict(sorted(states.items())),
        }


def _belongs(run: RunRecord, expected: Expected) -> bool:
    alike = expected.generation is None or run.generation == expected.generation
    return run.task_id == expected.task_id and alike


def _stretches(marked: Sequence[bool]) -> Iterator[tuple[int, int]]:
    """Yield the first and last index of each stretch of true ones."""
    start: int | None = None
    for at, mark in enumerate((*marked, False)):
        if mark and start is None:
            start = at
        elif not mark and start is not None:
            yield start, at - 1
            start = None


def _at(instant_us: int) -> str:
    return from_us(instant_us).strftime("%H:%M:%S.%f")


def _named(run: RunRecord) -> str:
    at = "" if run.fire_us is None else f" at {_at(run.fire_us)}"
    return f"{run.state} run {run.id}{at} (attempt {run.attempt})"


def _told(executions: Iterable[Execution]) -> str:
    tell: Callable[[Execution], str] = lambda each: (  # noqa: E731  local and short
        f"attempt {each.attempt} in {each.pid} from {_at(each.started_us)} "
        f"to {_at(each.ended_us) if each.ended_us else 'its death'}"
    )
    return ", ".join(tell(each) for each in executions)
