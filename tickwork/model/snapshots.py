"""Frozen views of tasks, runs, nodes and schedulers: safe for JSON, logs, templates and tests."""

import json
from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field, field_serializer

from tickwork.errors import UnreadableRecordError
from tickwork.model.definition import Definition, Unreadable
from tickwork.model.etags import etag_of
from tickwork.model.instants import SECOND, from_us
from tickwork.model.policies import (
    Coalesce,
    Delivery,
    Keep,
    Overlap,
    RunState,
    ScheduleState,
    Source,
)
from tickwork.model.records import NodeRecord, RunRecord, TaskRecord
from tickwork.model.values import (
    decode_result,
    describe_arguments,
    describe_result,
    encode_result,
)

__all__ = [
    "NodeInfo",
    "RunInfo",
    "SchedulerInfo",
    "TaskInfo",
    "node_info",
    "run_info",
    "task_info",
]


class TaskInfo(BaseModel, frozen=True):
    """A task as it stood when it was asked. Durations are seconds, instants aware and in UTC.

    `problem` says why the task can't be understood or executed, None where all is well. A paused
    one goes on by itself at `paused_until`. `etag` changes with each edit, and not with fires.
    """

    id: str
    name: str
    callable_name: str
    callable_reference: str
    trigger_alias: str
    trigger_description: str
    executor: str
    store: str
    schedule_state: ScheduleState
    next_run_time: datetime | None = None
    coalesce: Coalesce = Coalesce.LATEST
    max_instances: int = 1
    misfire_grace_time: float | None = None
    args: list[Any] = Field(default_factory=list)
    kwargs: dict[str, Any] = Field(default_factory=dict)
    tags: tuple[str, ...] = ()
    jitter: float = 0.0
    delivery: Delivery = Delivery.AT_LEAST_ONCE
    fixed_delay: bool = False
    retries: int = 0
    delay: float = 0.0
    backoff: float = 1.0
    max_delay: float | None = None
    timeout: float | None = None
    priority: int = 0
    overlap: Overlap = Overlap.SKIP
    max_queued: int = 100
    concurrency_key: str | None = None
    concurrency_limit: int = 1
    run_on_startup: bool = False
    max_runs: int | None = None
    pause_after_failures: int | None = None
    max_history: int | None = None
    result_ttl: float | None = None
    keep: Keep = Keep.ALL
    active_runs: int = 0
    queued_runs: int = 0
    runs_made: int = 0
    failures_in_a_row: int = 0
    paused_reason: str | None = None
    paused_until: datetime | None = None
    problem: str | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    etag: str = ""


class RunInfo(BaseModel, frozen=True):
    """A run as it stood when it was asked. `lateness` is seconds from due to started.

    A pending run starts at `next_attempt_at` at the earliest, or waits for what `waits_for` says.
    `failures` counts known failures, `crashes` the nodes that died while it was running. `error`
    is the last of its `errors`, one an attempt that failed; `log` are the last lines logged.
    """

    id: str
    task_id: str
    name: str
    tags: tuple[str, ...] = ()
    store: str
    status: RunState
    source: Source
    fire_time: datetime | None = None
    first_fire_time: datetime | None = None
    last_fire_time: datetime | None = None
    fire_count: int = 1
    fire_count_exact: bool = True
    attempt: int = 0
    failures: int = 0
    crashes: int = 0
    node: str | None = None
    fence: int = 0
    created_at: datetime
    started_at: datetime | None = None
    completed_at: datetime | None = None
    lateness: float | None = None
    result: Any = None
    """What the function returned; in JSON, values that JSON doesn't know become text."""
    error: dict[str, Any] | None = None
    errors: list[dict[str, Any]] = Field(default_factory=list)
    reason: str | None = None
    progress: dict[str, Any] | None = None
    log: list[str] = Field(default_factory=list)
    next_attempt_at: datetime | None = None
    waits_for: str | None = None
    cancel_requested_at: datetime | None = None
    retry_of: str | None = None
    executor: str = ""
    callable_reference: str = ""
    priority: int = 0
    concurrency_key: str | None = None

    @field_serializer("result", when_used="json")
    def _described(self, result: Any) -> Any:
        return describe_result(encode_result(result))


class NodeInfo(BaseModel, frozen=True):
    """A started scheduler in some process. `clock_offset` is seconds to the store's clock."""

    id: str
    store: str
    host: str
    pid: int
    version: str
    started_at: datetime
    last_beat_at: datetime
    expires_at: datetime
    clock_offset: float
    executors: tuple[str, ...]
    unresolved: tuple[str, ...]


class SchedulerInfo(BaseModel, frozen=True):
    """A scheduler as it stood when it was asked."""

    state: str
    timezone: str
    stores: dict[str, str]
    executors: dict[str, str]
    nodes: dict[str, str]
    tasks: dict[str, dict[str, int]]
    pending_tasks: int
    in_flight: int


def _moment(instant_us: int | None) -> datetime | None:
    return None if instant_us is None else from_us(instant_us)


def task_info(task: TaskRecord, store: str, state: ScheduleState | None = None) -> TaskInfo:
    """Return the view of a task; of one that can't be understood, what can be said."""
    definition = task.definition
    if not isinstance(definition, Definition):
        return TaskInfo(
            id=task.id,
            name=task.id,
            callable_name="",
            callable_reference="",
            trigger_alias="",
            trigger_description="",
            executor="",
            store=store,
            schedule_state=state or task.state,
            problem=definition.reason,
            created_at=from_us(task.created_us),
            updated_at=from_us(task.updated_us),
            etag=etag_of(task),
        )
    problem = task.problem
    paused = task.state is ScheduleState.PAUSED
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    try:
        args, kwargs = describe_arguments(definition.payload)
    except UnreadableRecordError as error:
        problem = str(error)
    grace_us = definition.misfire_grace_us
    return TaskInfo(
        id=task.id,
        name=definition.name,
        callable_name=definition.function.rpartition(":")[2],
        callable_reference=definition.function,
        trigger_alias=definition.trigger.kind,
        trigger_description=str(definition.trigger),
        executor=definition.executor,
        store=store,
        schedule_state=state or task.state,
        next_run_time=_moment(task.fire_us if task.state is ScheduleState.SCHEDULED else None),
        coalesce=definition.coalesce,
        max_instances=definition.max_instances,
        misfire_grace_time=None if grace_us is None else grace_us / SECOND,
        args=args,
        kwargs=kwargs,
        tags=definition.tags,
        jitter=definition.jitter_us / SECOND,
        delivery=definition.delivery,
        fixed_delay=definition.fixed_delay,
        retries=definition.retries,
        delay=definition.retry_delay_us / SECOND,
        backoff=definition.backoff,
        max_delay=_seconds(definition.max_delay_us),
        timeout=_seconds(definition.timeout_us),
        priority=definition.priority,
        overlap=definition.overlap,
        max_queued=definition.max_queued,
        concurrency_key=definition.concurrency_key,
        concurrency_limit=definition.concurrency_limit,
        run_on_startup=definition.run_on_startup,
        max_runs=definition.max_runs,
        pause_after_failures=definition.pause_after_failures,
        max_history=definition.max_history,
        result_ttl=_seconds(definition.result_ttl_us),
        keep=definition.keep,
        active_runs=task.active,
        queued_runs=task.queued,
        runs_made=task.made,
        failures_in_a_row=task.streak,
        paused_reason=None if task.state is ScheduleState.SCHEDULED else task.paused_reason,
        paused_until=_moment(task.wake_us if paused else None),
        problem=problem,
        created_at=from_us(task.created_us),
        updated_at=from_us(task.updated_us),
        etag=etag_of(task),
    )


def _seconds(duration_us: int | None) -> float | None:
    return None if duration_us is None else duration_us / SECOND


def run_info(run: RunRecord, store: str, definition: Definition | Unreadable | None) -> RunInfo:
    """Return the view of a run; `definition` is its own, or that of its task."""
    result, reason, errors = _readable(run)
    known = definition if isinstance(definition, Definition) else None
    if isinstance(definition, Unreadable):
        reason = f"{reason}; {definition.reason}" if reason else definition.reason
    failed = run.state in {RunState.FAILED, RunState.TIMEOUT}
    late_us = run.started_us - run.due_us if run.started_us and run.due_us else None
    return RunInfo(
        id=run.id,
        task_id=run.task_id,
        name=known.name if known else run.task_id,
        tags=known.tags if known else (),
        store=store,
        status=run.state,
        source=run.source,
        fire_time=_moment(run.fire_us),
        first_fire_time=_moment(run.first_us),
        last_fire_time=_moment(run.last_us),
        fire_count=run.fire_count,
        fire_count_exact=run.exact,
        attempt=run.attempt,
        failures=run.failures,
        crashes=run.crashes,
        node=run.node,
        fence=run.fence,
        created_at=from_us(run.created_us),
        started_at=_moment(run.started_us),
        completed_at=_moment(run.finished_us),
        lateness=None if late_us is None else late_us / SECOND,
        result=result,
        error=errors[-1] if errors and failed else None,
        errors=errors,
        reason=reason,
        progress=_said(run.progress, dict),
        log=_said(run.log, list) or [],
        next_attempt_at=_moment(run.available_us),
        waits_for=_waits_for(run),
        cancel_requested_at=_moment(run.cancel_us),
        retry_of=run.retry_of,
        executor=run.executor,
        callable_reference=run.function,
        priority=-run.rank,
        concurrency_key=run.key,
    )


def _waits_for(run: RunRecord) -> str | None:
    if run.state is not RunState.PENDING or run.node is not None or run.available_us is not None:
        return None
    if run.gated_us is not None:
        return f"the concurrency key {run.key!r}"
    return "other runs of its task"


def _said(text: str | None, kind: type[Any]) -> Any:
    """Return what a run said of itself; nothing where that can't be understood."""
    try:
        said = json.loads(text) if text else None
    except ValueError:
        return None
    return said if isinstance(said, kind) else None


def _readable(run: RunRecord) -> tuple[Any, str | None, list[dict[str, Any]]]:
    """Return result, reason and errors; what can't be understood is said in the reason."""
    result: Any = None
    reason = run.reason
    errors: list[dict[str, Any]] = []
    try:
        errors = json.loads(run.errors) if run.errors else []
        result = decode_result(run.result) if run.result is not None else None
    except (ValueError, UnreadableRecordError) as error:
        reason = f"{reason}; {error}" if reason else str(error)
    return result, reason, errors


def node_info(node: NodeRecord, store: str) -> NodeInfo:
    """Return the view of a node."""
    return NodeInfo(
        id=node.id,
        store=store,
        host=node.host,
        pid=node.pid,
        version=node.version,
        started_at=from_us(node.started_us),
        last_beat_at=from_us(node.beat_us),
        expires_at=from_us(node.expires_us),
        clock_offset=node.offset_us / SECOND,
        executors=node.executors,
        unresolved=node.unresolved,
    )
