"""What is asked of the service and what it answers, as data: the same over HTTP and in code."""

import re
from datetime import datetime
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field

from tickwork.model.policies import (
    Coalesce,
    Delivery,
    Keep,
    Overlap,
    RunState,
    ScheduleState,
    Source,
)
from tickwork.model.snapshots import TaskInfo

__all__ = [
    "BulkRequest",
    "BulkResult",
    "Cancel",
    "Change",
    "ExecutorView",
    "FunctionView",
    "LockView",
    "NewTask",
    "Page",
    "Pause",
    "PreviewRequest",
    "PreviewView",
    "PruneRequest",
    "PruneResult",
    "RetryRequest",
    "RunFilter",
    "RunLog",
    "RunProgress",
    "RunSummary",
    "Schedule",
    "StoreView",
    "TaskChange",
    "TaskFilter",
    "TaskPreview",
    "TaskView",
    "VersionView",
]

T = TypeVar("T")

MOST_ITEMS = 1_000
"""How many items a page has at most."""

# What stores take; texts of a request that can't be in a store are refused at the door.
Id = Annotated[str, Field(min_length=1, max_length=191)]
Text = Annotated[str, Field(min_length=1, max_length=191, pattern=r"\S")]
Reason = Annotated[str, Field(min_length=1, max_length=1_000, pattern=r"\S")]
Seconds = Annotated[float, Field(ge=0, le=1e10, allow_inf_nan=False)]
Whole = Annotated[int, Field(ge=0, le=1_000_000_000)]
Positive = Annotated[int, Field(ge=1, le=1_000_000_000)]
_MOMENT = re.compile(r"\d{4}-\d{2}-\d{2}[Tt ]")


def _read_moment(value: object) -> object:
    """Refuse numbers, which would be taken for seconds since 1970."""
    if isinstance(value, datetime) or (isinstance(value, str) and _MOMENT.match(value)):
        return value
    raise ValueError("an instant is a text such as 2026-12-24T18:00:00Z, with its offset")


Moment = Annotated[AwareDatetime, BeforeValidator(_read_moment)]
Sort = Literal[
    "id", "-id", "name", "-name", "next_run_time", "-next_run_time", "created_at", "-created_at"
]


class Asked(BaseModel):
    """Something that is asked for; what isn't known is refused, since it may be a misspelling."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Answer(BaseModel):
    """Something that is answered."""

    model_config = ConfigDict(frozen=True)


class Page(Answer, Generic[T]):
    """A part of a list. With `next_cursor`, what comes next is asked for; None at the end.

    `total` is how many there are on all pages, where that was asked for; unless `total_exact`, it
    is how many there are at least. Where few of very many fit, only so many are looked at for one
    page: it may have fewer items than asked for, or none, and still a next one. Then
    `looked_back_to` says how far it goes.
    """

    items: list[T]
    next_cursor: str | None = None
    total: int | None = None
    total_exact: bool = True
    looked_back_to: datetime | None = None


# --- tasks ----------------------------------------------------------------------------------------


class TaskFilter(Asked):
    """Which tasks are meant: all conditions must hold, None means any.

    `search` is part of an id or a name. `late` ones should have been planned by now, the last run
    of `failing` ones failed.
    """

    store: Text | None = None
    state: Literal["scheduled", "paused", "finished"] | None = None
    tag: Text | None = None
    executor: Text | None = None
    function: Text | None = None
    trigger: Text | None = None
    search: Text | None = None
    late: bool | None = None
    failing: bool | None = None


class TaskView(TaskInfo, frozen=True):
    """A task as it stood when it was asked.

    `timezone` is where its schedule reads clocks, None where it reads none; `trigger` its schedule
    as data. `hidden` are the names of the arguments that aren't shown. `paused_by` is who paused
    it and `paused_at` when, if it was paused by way of the service.
    """

    timezone: str | None = None
    trigger: dict[str, Any] | None = None
    hidden: tuple[str, ...] = ()
    paused_by: str | None = None
    paused_at: datetime | None = None


class Schedule(Asked):
    """When a task fires, said in one of two ways.

    `schedule` is a cron expression ("0 8 * * mon-fri", "@daily"), an interval ("5m") or a moment
    ("2026-12-24 18:00"); or `trigger` is the name of a kind of trigger with its `arguments`.
    """

    schedule: Text | None = None
    trigger: Text | None = None
    arguments: dict[str, Any] = Field(default_factory=dict)
    timezone: Text | None = None


class Options(Asked):
    """The options of a task that can be changed; what isn't said stays as it is."""

    name: Text = ""
    args: list[Any] = Field(default_factory=list)
    kwargs: dict[str, Any] = Field(default_factory=dict)
    executor: Text = ""
    tags: list[Text] = Field(default_factory=list)
    coalesce: Coalesce = Coalesce.LATEST
    misfire_grace_time: Seconds | None = None
    max_instances: Positive = 1
    jitter: Seconds = 0.0
    delivery: Delivery = Delivery.AT_LEAST_ONCE
    fixed_delay: bool = False
    retries: Whole = 0
    delay: Seconds = 0.0
    backoff: Annotated[float, Field(ge=1, le=1e9, allow_inf_nan=False)] = 1.0
    max_delay: Seconds | None = None
    retry_jitter: Seconds = 0.0
    retry_on: list[Text] = Field(default_factory=list)
    give_up_on: list[Text] = Field(default_factory=list)
    timeout: Seconds | None = None
    result_ttl: Seconds | None = None
    keep: Keep = Keep.ALL
    priority: Annotated[int, Field(ge=-1_000_000_000, le=1_000_000_000)] = 0
    overlap: Overlap = Overlap.SKIP
    max_queued: Whole = 100
    concurrency_key: Text | None = None
    concurrency_limit: Positive = 1
    run_on_startup: bool = False
    max_runs: Positive | None = None
    pause_after_failures: Positive | None = None
    max_history: Whole | None = None

    def said(self) -> dict[str, Any]:
        """Return the options that were said, and only them."""
        return {name: getattr(self, name) for name in self.model_fields_set & set(OPTION_NAMES)}


OPTION_NAMES = tuple(Options.model_fields)


class TaskChange(Options, Schedule):
    """What to change of a task: options, its schedule, its next fire time."""

    next_run_time: Moment | None = None


class NewTask(Options, Schedule):
    """A task to be added: a function that is allowed, when to call it, and how."""

    function: Annotated[
        str,
        Field(max_length=500, pattern=r"^[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*$"),
    ]
    id: Id | None = None
    store: Text | None = None
    paused: bool = False
    next_run_time: Moment | None = None


class Pause(Asked):
    """Why to pause a task, and until when; None for until somebody resumes it."""

    reason: Reason | None = None
    until: Moment | None = None


class Change(Answer):
    """One thing that a change changes."""

    field: str
    before: Any = None
    after: Any = None


class TaskPreview(Answer):
    """What a change of a task would do, or did: what differs, and the next fires after it."""

    task: TaskView
    changes: list[Change]
    fire_times: list[datetime]
    applied: bool


class PreviewRequest(Schedule):
    """A schedule whose next fire times are asked for."""

    count: Annotated[int, Field(ge=1, le=100)] = 5


class PreviewView(Answer):
    """The next fire times of a schedule that would begin now, in UTC and on its own clocks."""

    kind: str
    description: str
    timezone: str | None
    fire_times: list[datetime]
    local_times: list[str]


BulkAction = Literal["pause", "resume", "run", "remove"]


class BulkRequest(Asked):
    """Something to be done to all tasks that a filter finds.

    A dry run, which is the default, returns how many they are. That number is to be given as
    `expected_count` when it is done; where it has changed since, nothing is done.
    """

    action: BulkAction
    filter: TaskFilter = Field(default_factory=TaskFilter)
    dry_run: bool = True
    expected_count: Whole | None = None
    reason: Reason | None = None
    until: Moment | None = None


class Failure(Answer):
    """What couldn't be done to one of many."""

    id: str
    error: str


class BulkResult(Answer):
    """How many things a filter finds (`sample` are some of them), and what was done to them."""

    count: int
    sample: list[str]
    applied: bool
    done: int = 0
    failed: list[Failure] = Field(default_factory=list)


# --- runs -----------------------------------------------------------------------------------------


class RunFilter(Asked):
    """Which runs are meant: all conditions must hold, None means any.

    `since` and `until` are about when a run was made. `suspect` is about whether a node died of it,
    or with it: such runs are executed again one at a time.
    """

    store: Text | None = None
    task: Text | None = None
    status: list[RunState] | None = None
    source: Source | None = None
    since: Moment | None = None
    until: Moment | None = None
    suspect: bool | None = None


class RunSummary(Answer):
    """A run, without what may be long: its result, its errors but the last, its log."""

    id: str
    task_id: str
    name: str
    tags: tuple[str, ...]
    store: str
    status: RunState
    source: Source
    fire_time: datetime | None
    first_fire_time: datetime | None
    last_fire_time: datetime | None
    fire_count: int
    fire_count_exact: bool
    attempt: int
    failures: int
    crashes: int
    node: str | None
    created_at: datetime
    started_at: datetime | None
    completed_at: datetime | None
    lateness: float | None
    error_type: str | None
    error_message: str | None
    reason: str | None
    progress: dict[str, Any] | None
    next_attempt_at: datetime | None
    waits_for: str | None
    cancel_requested_at: datetime | None
    retry_of: str | None
    executor: str
    callable_reference: str
    priority: int
    concurrency_key: str | None


class RunLog(Answer):
    """The last lines that a run has logged; `over` once there won't be more."""

    run_id: str
    status: RunState
    over: bool
    lines: list[str]


class RunProgress(Answer):
    """How far a run says it is; `over` once it has ended."""

    run_id: str
    status: RunState
    over: bool
    progress: dict[str, Any] | None


class Cancel(Asked):
    """Why to end a run."""

    reason: Reason | None = None


class RetryRequest(Asked):
    """Runs to be executed again: those that a filter finds, failed ones unless it says others."""

    filter: RunFilter = Field(default_factory=RunFilter)
    dry_run: bool = True
    expected_count: Whole | None = None


class PruneRequest(Asked):
    """Runs to be forgotten: those that were over before an instant.

    With the `expected_count` of a dry run nothing is done where it has changed since.
    """

    before: Moment
    store: Text | None = None
    dry_run: bool = True
    expected_count: Whole | None = None


class PruneResult(Answer):
    """How many runs were over before an instant, and how many rows are gone."""

    count: int
    applied: bool
    gone: int = 0


# --- the rest -------------------------------------------------------------------------------------


class StoreView(Answer):
    """A store, and how many tasks it keeps by their state."""

    name: str
    kind: str
    persistent: bool
    tasks: dict[ScheduleState, int]


class ExecutorView(Answer):
    """An executor of this process, and the living nodes that have one of its name."""

    name: str
    kind: str
    nodes: list[str]


class LockView(Answer):
    """A lock or a leadership: who holds it, until when."""

    name: str
    kind: Literal["lock", "leader"]
    store: str
    owner: str
    held: bool
    fence: int
    acquired_at: datetime | None
    expires_at: datetime | None


class FunctionView(Answer):
    """A function that tasks may be made of; with `*` in it, all that the pattern fits."""

    reference: str
    registered: bool


class VersionView(Answer):
    """What answers here."""

    version: str
    api: str
    state: str
    viewer: bool
    auth: Literal["none", "password"]
