"""The page of a task, and what its buttons do."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from fastapi import APIRouter, Response

from tickwork.errors import InvalidInputError
from tickwork.model.instants import from_us
from tickwork.service.dashboard.drawing import time_line
from tickwork.service.dashboard.visiting import (
    DeedDep,
    TaskId,
    Visit,
    VisitDep,
    in_utc,
    read_model,
)
from tickwork.service.models import Pause, RunFilter, TaskView
from tickwork.service.roles import Action

__all__ = ["router"]

router = APIRouter()

_PAGE = 20
_FIRES = 6


@router.get("/tasks/{task_id}")
def show_task(visit: VisitDep, task_id: TaskId) -> Response:
    """Show a task with its past and its future."""
    operations = visit.operations
    task = operations.get_task(task_id, store=visit.store)
    runs = operations.list_runs(
        RunFilter(task=task_id, store=task.store), limit=_PAGE, cursor=visit.cursor
    )
    fires = _fires(visit, task)
    now = from_us(visit.service.reach.now_us(task.store))
    line = None if visit.cursor else time_line(runs.items, fires, now)
    return visit.page(
        "task.html",
        task=task,
        page=runs,
        fires=fires,
        line=line,
        etag=task.etag,
    )


def _fires(visit: Visit, task: TaskView) -> list[datetime]:
    """Return the next fires; of a task that doesn't fire or can't be understood, none."""
    if task.schedule_state != "scheduled" or not task.trigger_alias:
        return []
    return visit.operations.preview_task(task.id, _FIRES, store=task.store)


@router.post("/tasks/{task_id}/run")
def run_task(visit: DeedDep, task_id: TaskId) -> Response:
    """Execute a task now, and show the run."""
    run = visit.operations.run_task(task_id, store=visit.store)
    return visit.go(visit.links.run(run.id, run.store, said="run"))


@router.get("/tasks/{task_id}/pause")
def ask_pause(visit: VisitDep, task_id: TaskId) -> Response:
    """Ask why to pause a task, and until when."""
    visit.actor.require(Action.TASKS_PAUSE)
    task = visit.operations.get_task(task_id, store=visit.store)
    return visit.page("pause.html", task=task, fault=None, given={})


@router.post("/tasks/{task_id}/pause")
def pause_task(visit: DeedDep, task_id: TaskId) -> Response:
    """Pause a task, for a reason, until a time."""
    given: dict[str, Any] = {name: visit.text(name) for name in ("reason", "until")}
    task = visit.operations.get_task(task_id, store=visit.store)
    try:
        pause = read_model(Pause, given | {"until": in_utc(given["until"])})
        visit.operations.pause_task(task_id, pause, store=task.store, etag=visit.text("etag"))
    except InvalidInputError as error:
        return visit.page("pause.html", status=422, task=task, fault=str(error), given=given)
    return visit.go(visit.links.task(task_id, task.store, said="paused"))


@router.post("/tasks/{task_id}/resume")
def resume_task(visit: DeedDep, task_id: TaskId) -> Response:
    """Go on with a task."""
    task = visit.operations.resume_task(task_id, store=visit.store, etag=visit.text("etag"))
    return visit.go(visit.links.task(task_id, task.store, said="resumed"))


@router.get("/tasks/{task_id}/remove")
def ask_removal(visit: VisitDep, task_id: TaskId) -> Response:
    """Ask whether to remove a task."""
    visit.actor.require(Action.TASKS_REMOVE)
    task = visit.operations.get_task(task_id, store=visit.store)
    return visit.page("remove.html", task=task)


@router.post("/tasks/{task_id}/remove")
def remove_task(visit: DeedDep, task_id: TaskId) -> Response:
    """Remove a task."""
    visit.operations.remove_task(task_id, store=visit.store, etag=visit.text("etag"))
    return visit.go(visit.links("/tasks", said="removed"))
