"""The list of tasks."""

from __future__ import annotations

from typing import NamedTuple

from fastapi import APIRouter, Response

from tickwork.service.dashboard.drawing import Strip, strip_of
from tickwork.service.dashboard.visiting import Visit, VisitDep, read_model
from tickwork.service.models import RunFilter, TaskFilter, TaskView
from tickwork.service.operations import Operations

__all__ = ["FILTERS", "asked_filter", "router"]

router = APIRouter()

FILTERS = tuple(TaskFilter.model_fields)
SORTS = {
    "id": "id",
    "name": "name",
    "next_run_time": "next fire",
    "-created_at": "newest",
}
_PAGE = 25


class _Row(NamedTuple):
    """A task, and its last runs."""

    task: TaskView
    strip: Strip


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
    return visit.page(
        "tasks.html",
        rows=[_row(operations, task) for task in page.items],
        page=page,
        sort=sort,
        sorts=SORTS,
        filters=visit.asked(FILTERS),
        executors=[each.name for each in operations.list_executors()],
    )


def _row(operations: Operations, task: TaskView) -> _Row:
    runs = operations.list_runs(RunFilter(task=task.id, store=task.store), limit=20)
    return _Row(task, strip_of(runs.items))
