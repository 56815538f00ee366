"""The requests that a scheduler makes of a store, and the answers: plain data, no behaviour.

A store doesn't know what a trigger or a policy means. Where a step depends on that, the request
carries a pure function that decides about one record; the store calls it inside its atomic step,
again if it has to begin anew, and applies what it returned.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from tickwork.model.definition import Definition, Unreadable
from tickwork.model.instants import SECOND
from tickwork.model.policies import RunState, ScheduleState, Source
from tickwork.model.records import Leased, RunRecord, TaskRecord, copied

__all__ = [
    "TASK_REMOVED",
    "UNREADABLE_AGAIN_US",
    "AfterRun",
    "Batch",
    "Beat",
    "CancelRequest",
    "Deferral",
    "Edit",
    "Edited",
    "Eligibility",
    "Ended",
    "Finished",
    "GivenBack",
    "LeaseReply",
    "LeaseRequest",
    "Mark",
    "Note",
    "Plan",
    "PlanReply",
    "PlanRequest",
    "PlannedRun",
    "PruneRequest",
    "RecoverReply",
    "RecoverRequest",
    "RunQuery",
    "TaskQuery",
    "Verdict",
    "new_run",
]


TASK_REMOVED = "its task was removed"
"""Why a run is cancelled that was, or would be again, pending for a task that is gone."""


UNREADABLE_AGAIN_US = 60 * SECOND
"""After which time a run without a task is offered again that its node couldn't understand."""


class PlannedRun(NamedTuple):
    """A run to be made.

    Pending (at once, or `queued` behind others of its task), or a record of fire times that are
    not executed (missed, skipped) with the reason.
    """

    state: RunState
    fire_us: int | None
    due_us: int
    first_us: int | None = None
    last_us: int | None = None
    fire_count: int = 1
    exact: bool = True
    queued: bool = False
    reason: str | None = None
    source: Source = Source.SCHEDULED
    retry_of: str | None = None


_PENDING = RunState.PENDING
_BLANK = RunRecord(id="", task_id="", generation=0, state=_PENDING)


def new_run(  # noqa: PLR0917  called once a run: keywords would cost more than the rest
    planned: PlannedRun, task: TaskRecord, run_id: str, now_us: int, node: str | None, fence: int
) -> RunRecord:
    """Return the record of a planned run; leased to a node at once, where one is named.

    One with a key, which must never be leased at once, waits for it.
    """
    # A copy of an empty one, as thirty keywords take twice as long.
    run = copied(_BLANK)
    run.id, run.task_id, run.generation = run_id, task.id, task.generation
    run.state, run.source = planned.state, planned.source
    run.fire_us, run.due_us = planned.fire_us, planned.due_us
    run.first_us, run.last_us = planned.first_us, planned.last_us
    run.fire_count, run.exact = planned.fire_count, planned.exact
    run.node, run.fence, run.created_us = node, fence, now_us
    run.reason, run.retry_of = planned.reason, planned.retry_of
    if node is not None:
        run.attempt = 1
    if planned.state is not _PENDING:
        run.finished_us = now_us
    elif node is None and not planned.queued:
        run.available_us = planned.due_us
    definition = task.definition
    if isinstance(definition, Definition):
        run.function, run.executor = definition.function, definition.executor
        run.rank = -definition.priority
        if definition.concurrency_key is not None:
            run.key, run.key_limit = definition.concurrency_key, definition.concurrency_limit
            run.gated_us, run.available_us = run.available_us, None
    return run


class Plan(NamedTuple):
    """What becomes of a task that is due: the runs to make, and where it stands then.

    The fields have the names and meanings that they have in `TaskRecord`.
    """

    runs: Sequence[PlannedRun]
    state: ScheduleState
    fire_us: int | None
    due_us: int | None
    planned_us: int | None
    catchup_us: int | None = None


class Deferral(NamedTuple):
    """Why this node can't plan a task now; the task stays as it is.

    With `function` it is about every task of that function.
    """

    reason: str
    function: str | None = None


@dataclass(frozen=True, slots=True)
class Eligibility:
    """Which tasks and runs a node can deal with: those of its executors, except the named ones."""

    executors: frozenset[str]
    without_functions: frozenset[str] = frozenset()
    without_tasks: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class PlanRequest:
    """Plan up to `limit` due tasks, and lease up to `capacity` (by executor) of the new runs."""

    node: str
    now_us: int
    limit: int
    eligibility: Eligibility
    capacity: Mapping[str, int]
    decide: Callable[[TaskRecord], Plan | Deferral]
    new_id: Callable[[], str]


class PlanReply(NamedTuple):
    """What was planned.

    `leased` may be started now; `recorded` are the other runs that were made. `more` says that
    other tasks may be due already; `next_us` is when the next one is, None where there is none.
    """

    leased: Sequence[Leased] = ()
    recorded: Sequence[RunRecord] = ()
    deferred: Sequence[tuple[str, Deferral]] = ()
    next_us: int | None = None
    more: bool = False


@dataclass(frozen=True, slots=True)
class LeaseRequest:
    """Lease up to `capacity` (by executor) of the runs that are pending and available.

    Suspects are leased only where `suspects` is true, and then at most one. With `only`, no other
    runs than these are leased.
    """

    node: str
    now_us: int
    eligibility: Eligibility
    capacity: Mapping[str, int]
    suspects: bool = True
    only: frozenset[str] | None = None


class LeaseReply(NamedTuple):
    """What was leased, oldest first, and when the next pending run becomes available.

    `deferred` names tasks whose runs can't be executed here.
    """

    leased: Sequence[Leased] = ()
    next_us: int | None = None
    deferred: Sequence[tuple[str, Deferral]] = ()


class Mark(NamedTuple):
    """A leased run starts (has started) now."""

    run_id: str
    fence: int
    started_us: int


class GivenBack(NamedTuple):
    """A leased run goes back to pending at `available_us`.

    One that had not started (`started` false) is as if it had never been leased. With `error` (the
    JSON text of all errors so far) the attempt failed and will be tried again. One whose end was
    asked for is available from `cancel_us` on: whoever leases it ends it.
    """

    run_id: str
    fence: int
    available_us: int
    started: bool = False
    error: str | None = None
    reason: str | None = None


class Note(NamedTuple):
    """What a run says of itself, in JSON text; what is None stays as it is.

    Written as long as nobody has leased the run again, whether it is over or not.
    """

    run_id: str
    fence: int
    progress: str | None = None
    log: str | None = None


class Finished(NamedTuple):
    """A leased run is over. `follows` asks for `Batch.after_run` to be called for its task.

    One that `lingers` couldn't be ended, and still runs: everything is written, but it stays leased
    and counted. What ends that is a second entry with the same state and no `errors`.
    """

    run_id: str
    task_id: str
    generation: int
    fence: int
    state: RunState
    started_us: int | None
    finished_us: int
    result: str | None = None
    errors: str | None = None
    reason: str | None = None
    follows: bool = False
    lingers: bool = False
    expires_us: int | None = None


class Ended(NamedTuple):
    """How and when a run of a task ended."""

    state: RunState
    finished_us: int


AfterRun = Callable[[TaskRecord, Sequence[Ended]], None]
"""Moves a task on after some of its runs have ended, in no particular order; mutates it."""


@dataclass(slots=True)
class Batch:
    """What happened to leased runs, to be written in one atomic step."""

    after_run: AfterRun
    marks: list[Mark] = field(default_factory=list)
    given_back: list[GivenBack] = field(default_factory=list)
    finished: list[Finished] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.marks or self.given_back or self.finished or self.notes)


class Edit(NamedTuple):
    """What becomes of a task: its new record (None: removed), and runs to make.

    With `cancel_pending`, its pending runs are cancelled for this reason. `unchanged` leaves
    everything as it is.
    """

    task: TaskRecord | None
    runs: Sequence[PlannedRun] = ()
    cancel_pending: str | None = None
    unchanged: bool = False


class Edited(NamedTuple):
    """What an edit did: the record as stored now (None: not there), and the runs that it made."""

    task: TaskRecord | None
    runs: Sequence[RunRecord] = ()


class Verdict(NamedTuple):
    """What becomes of a run whose node died: pending again, or lost."""

    state: RunState
    crashes: int
    suspect: bool
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class RecoverRequest:
    """Take over the runs of dead nodes, and give back own ones that were never received.

    `held` are the ids of the runs that `node` knows to hold; None leaves its runs alone.
    """

    node: str
    now_us: int
    decide: Callable[[RunRecord, Definition | Unreadable | None], Verdict]
    after_run: AfterRun
    held: frozenset[str] | None = None
    limit: int = 1_000


class RecoverReply(NamedTuple):
    """The runs that were recovered, as they stand now, and the ids of the nodes found dead."""

    runs: Sequence[RunRecord] = ()
    dead: Sequence[str] = ()
    more: bool = False


class Beat(NamedTuple):
    """The answer to a beat: whether the node's lease still held, and the store's time."""

    alive: bool
    now_us: int


@dataclass(frozen=True, slots=True)
class CancelRequest:
    """End some runs, for a reason.

    Those that nobody has leased are cancelled; of leased ones that aren't over it is written down
    that their end was asked for at `now_us`, if nobody had asked before.
    """

    run_ids: Sequence[str]
    reason: str
    now_us: int
    after_run: AfterRun


@dataclass(frozen=True, slots=True)
class PruneRequest:
    """Forget up to `limit` runs that are over and not leased any more, and finished tasks.

    `histories` says how many of the newest runs of a task to keep. Whatever their number, runs go
    that expire at `now_us` or before, and of those that don't expire the ones that ended before
    `before_us`, as do finished tasks.
    """

    histories: Mapping[str, int]
    before_us: int
    limit: int = 1_000
    now_us: int = 0


@dataclass(frozen=True, slots=True)
class TaskQuery:
    """Which tasks to list, in which order: all conditions must hold, None means any.

    `trigger` is a trigger's kind; `search` is part of an id or a name; `declared_in` is the module
    of the functions of tasks that were declared by decorators. `sort` is `id`, `name`,
    `next_run_time` or `created_at`, with `-` in front for descending; tasks without the value come
    last, equal ones in the order of their ids.

    `ids` asks for the tasks of these ids, `due_before_us` for scheduled ones that are due before an
    instant, `failing` for those whose last run failed (or, with False, didn't). `after` says where
    the page before ended: what its last task is sorted by (`None` where that is missing), and its
    id. Whoever goes from page to page by it meets each task once that is there all the time and
    keeps its place.
    """

    state: ScheduleState | None = None
    executor: str | None = None
    function: str | None = None
    trigger: str | None = None
    tag: str | None = None
    search: str | None = None
    declared_in: str | None = None
    sort: str = "id"
    limit: int = 100
    offset: int = 0
    due_before_us: int | None = None
    failing: bool | None = None
    after: tuple[str | int | None, str] | None = None
    ids: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class RunQuery:
    """Which runs to list, newest first: all conditions must hold, None means any.

    Instants are compared with the creation of the run, with which its id begins: the newest run has
    the greatest id. `suspect` asks for runs that were under way when their node died, and are
    executed again one at a time (or, with False, for all others). `before` says where the page
    before ended: when its last run was created, and the id of that. Whoever goes from page to page
    by it meets each run once that is there all the time. `among` says how many runs to look at, for
    a page or to count them: the newest of the task that were made until `until_us`, from `before`
    on. Whatever is older isn't found.
    """

    task_id: str | None = None
    states: frozenset[RunState] | None = None
    source: Source | None = None
    since_us: int | None = None
    until_us: int | None = None
    limit: int = 100
    offset: int = 0
    before: tuple[int, str] | None = None
    suspect: bool | None = None
    among: int | None = None
