"""The list of tasks."""

from __future__ import annotations

from typing import NamedTuple

from fastapi import APIRouter, Response

from tickwork.service.audit import AuditEntry, Outcome
from tickwork.service.dashboard.drawing import Strip, strip_of
from tickwork.service.dashboard.visiting import Visit, VisitDep, read_model
from tickwork.service.models import RunFilter, TaskFilter, TaskView
from tickwork.service.operations import Operations
from tickwork.service.roles import Action

__all__ = ["FILTERS", "asked_filter", "pauses_of", "router"]

router = APIRouter()

FILTERS = tuple(TaskFilter.model_fields)
SORTS = {
    "id": "id",
    "name": "name",
    "next_run_time": "next fire",
    "-created_at": "newest",
}
_PAGE = 25
_ENTRIES = 300
"""How many entries of the audit log are looked at for who paused what is on a page."""


class _Row(NamedTuple):
    """A task, its last runs, and who paused it if that is known."""

    task: TaskView
    strip: Strip
    paused_by: str | None


def asked_filter(visit: Visit) -> TaskFilter:
    """Return the tasks that an address asks for."""
    return read_model(TaskFilter, visit.asked(FILTERS))


@router.get("/tasks")
def list_tasks(visit: VisitDep) -> Response:
    """Show the tasks that fit, a page of them."""
    operations = visit.operations
    sort = visit.asked(["sort"]).get("sort", "id")
    filters = asked_filter(visit)
    page = operations.list_tasks(filters, sort=sort, limit=_PAGE, cursor=visit.cursor, total=True)
    pauses = pauses_of(operations, page.items)
    return visit.page(
        "tasks.html",
        rows=[_row(operations, task, pauses) for task in page.items],
        page=page,
        sort=sort,
        sorts=SORTS,
        filters=visit.asked(FILTERS),
        executors=[each.name for each in operations.list_executors()],
    )


def _row(operations: Operations, task: TaskView, pauses: dict[str, str]) -> _Row:
    runs = operations.list_runs(RunFilter(task=task.id, store=task.store), limit=20)
    return _Row(task, strip_of(runs.items), pauses.get(task.id))


def pauses_of(operations: Operations, tasks: list[TaskView]) -> dict[str, str]:
    """Return who paused tasks, by their ids, where the newest entries of the audit log say it.

    Only admins see that log, so for others nobody is named.
    """
    paused = {task.id for task in tasks if task.schedule_state == "paused"}
    if not paused or not operations.may(Action.AUDIT_LIST):
        return {}
    found: dict[str, str] = {}
    for entry in operations.list_audit(limit=_ENTRIES).items:
        if entry.action is Action.TASKS_PAUSE and entry.outcome is Outcome.DONE:
            for task_id in _targets(entry) & (paused - found.keys()):
                found[task_id] = entry.actor
    return found


def _targets(entry: AuditEntry) -> set[str]:
    """Return the ids of what an entry is about; one of many tasks lists them."""
    many = (entry.after or {}).get("tasks")
    return set(many) if isinstance(many, list) else {entry.target}
