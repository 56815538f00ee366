"""Frozen views of tasks, runs, nodes and schedulers: safe for JSON, logs, templates and tests."""

import json
from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field, field_serializer

from tickwork.errors import UnreadableRecordError
from tickwork.model.definition import Definition
from tickwork.model.instants import SECOND, from_us
from tickwork.model.policies import Coalesce, Delivery, RunState, ScheduleState, Source
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

    `problem` says why the task can't be understood or executed, None where all is well.
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
    active_runs: int = 0
    paused_reason: str | None = None
    problem: str | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None


class RunInfo(BaseModel, frozen=True):
    """A run as it stood when it was asked. `lateness` is seconds from due to started."""

    id: str
    task_id: str
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
        )
    problem = task.problem
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
        active_runs=task.active,
        paused_reason=task.paused_reason,
        problem=problem,
        created_at=from_us(task.created_us),
        updated_at=from_us(task.updated_us),
    )


def run_info(run: RunRecord, store: str) -> RunInfo:
    """Return the view of a run."""
    result, reason, errors = _readable(run)
    failed = run.state in {RunState.FAILED, RunState.TIMEOUT}
    late_us = run.started_us - run.due_us if run.started_us and run.due_us else None
    return RunInfo(
        id=run.id,
        task_id=run.task_id,
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
    )


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
