"""The first page: what needs somebody, then how it goes."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from fastapi import APIRouter, Response

from tickwork.model.instants import from_us
from tickwork.model.listing import FAILURES
from tickwork.model.policies import RunState
from tickwork.model.snapshots import NodeInfo
from tickwork.service.dashboard.hour import LastHour, last_hour
from tickwork.service.dashboard.visiting import Visit, VisitDep
from tickwork.service.models import RunFilter, RunSummary, TaskFilter, TaskView
from tickwork.service.operations import Operations

__all__ = ["router"]

router = APIRouter()

_SHOWN = 5
_COUNTED = 50


class _Trouble(NamedTuple):
    """What needs somebody."""

    late: list[TaskView]
    late_count: int
    failing: list[tuple[TaskView, RunSummary | None]]
    failing_count: str
    quarantined: list[RunSummary]
    quarantined_count: int
    dead: list[NodeInfo]
    unplannable: list[str]

    @property
    def kinds(self) -> int:
        """How many kinds of trouble there are."""
        found = (self.late, self.failing, self.quarantined, self.dead, self.unplannable)
        return sum(bool(each) for each in found)


@router.get("/")
def show_overview(visit: VisitDep) -> Response:
    """Show what needs somebody, and how it goes."""
    operations = visit.operations
    now = from_us(visit.service.reach.now_us())
    nodes = operations.list_nodes()
    hour = last_hour(operations, now)
    return visit.page(
        "overview.html",
        trouble=_trouble(operations, nodes),
        alive=len({(node.host, node.pid) for node in nodes if node.expires_at > now}),
        running=_runs(operations, RunState.RUNNING, 10),
        coming=_coming(operations),
        hour=hour,
        chart=_chart(hour),
        fires=_who_fires(visit),
    )


def _trouble(operations: Operations, nodes: list[NodeInfo]) -> _Trouble:
    late, failing = TaskFilter(late=True), TaskFilter(failing=True)
    found_late = operations.list_tasks(late, sort="next_run_time", limit=_SHOWN).items
    # To count them costs as much as to find them: it is asked once, and up to a bound.
    found_failing = operations.list_tasks(failing, limit=_COUNTED + 1).items
    # Runs that were under way when a node died, and are tried again one by one.
    suspects = RunFilter(status=[RunState.PENDING], suspect=True)
    quarantined = operations.list_runs(suspects, limit=_SHOWN).items
    alive, dead = _by_life(operations, nodes)
    return _Trouble(
        late=found_late,
        late_count=operations.count_tasks(late) if found_late else 0,
        failing=[(task, _last_failure(operations, task)) for task in found_failing[:_SHOWN]],
        failing_count=_bounded(len(found_failing)),
        quarantined=quarantined,
        quarantined_count=operations.count_runs(suspects) if quarantined else 0,
        dead=dead,
        unplannable=_unplannable(alive),
    )


def _bounded(count: int) -> str:
    return str(count) if count <= _COUNTED else f"{_COUNTED}+"


def _last_failure(operations: Operations, task: TaskView) -> RunSummary | None:
    filters = RunFilter(task=task.id, store=task.store, status=sorted(FAILURES))
    return next(iter(operations.list_runs(filters, limit=1).items), None)


def _by_life(
    operations: Operations, nodes: list[NodeInfo]
) -> tuple[list[NodeInfo], list[NodeInfo]]:
    alive: list[NodeInfo] = []
    dead: list[NodeInfo] = []
    for node in nodes:
        now = from_us(operations.reach.now_us(node.store))
        (alive if node.expires_at > now else dead).append(node)
    return alive, dead


def _unplannable(alive: list[NodeInfo]) -> list[str]:
    """Return functions that no living node has."""
    if not alive:
        return []
    return sorted(set.intersection(*(set(node.unresolved) for node in alive)))


def _runs(operations: Operations, state: RunState, limit: int) -> list[RunSummary]:
    return operations.list_runs(RunFilter(status=[state]), limit=limit).items


def _coming(operations: Operations) -> list[TaskView]:
    scheduled = TaskFilter(state="scheduled")
    found = operations.list_tasks(scheduled, sort="next_run_time", limit=8).items
    return sorted(
        (task for task in found if task.next_run_time is not None),
        key=lambda task: (task.next_run_time is None, task.next_run_time),
    )


def _who_fires(visit: Visit) -> str:
    if visit.service.fires:
        return "This process executes tasks."
    return "This process only looks; other nodes execute tasks."


def _chart(hour: LastHour) -> str:
    """Return the data of the charts, in the order in which they are drawn."""
    columns: dict[str, list[Any]] = {
        "at": [int(minute.at.timestamp()) for minute in hour.minutes],
        "runs": [minute.runs for minute in hour.minutes],
        "failed": [minute.failed for minute in hour.minutes],
        "p50": [minute.p50 for minute in hour.minutes],
        "p95": [minute.p95 for minute in hour.minutes],
        "p99": [minute.p99 for minute in hour.minutes],
    }
    return json.dumps(columns)
