"""`/tasks`, `/preview` and `/functions`."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field

from tickwork.service.models import (
    BulkRequest,
    BulkResult,
    FunctionView,
    NewTask,
    Page,
    Pause,
    PreviewRequest,
    PreviewView,
    RunSummary,
    Schedule,
    TaskChange,
    TaskPreview,
    TaskView,
)
from tickwork.service.operations import Operations
from tickwork.service.paths import in_path
from tickwork.service.rest.asking import (
    DryRun,
    OperationsDep,
    TaskId,
    TaskListQuery,
    Where,
    filters_of,
)
from tickwork.service.rest.etags import IfMatch, etag_headers, tell_etag, wanted_etag
from tickwork.service.rest.idempotency import IdempotencyKey, once
from tickwork.service.rest.problems import problems

__all__ = ["router"]

router = APIRouter(tags=["tasks"])

_TAGGED = {"headers": etag_headers}


class FiresQuery(Where):
    """How many fire times to return."""

    count: Annotated[int, Field(ge=0, le=1_000)] = 5


@router.get("/tasks", responses=problems(404))
def list_tasks(
    operations: OperationsDep, query: Annotated[TaskListQuery, Query()]
) -> Page[TaskView]:
    """List tasks; conditions, order and pages are the store's work."""
    return operations.list_tasks(
        filters_of(query),
        sort=query.sort,
        limit=query.limit,
        cursor=query.cursor,
        total=query.total,
    )


@router.post(
    "/tasks",
    status_code=201,
    responses={
        **problems(404, 409),
        201: {
            "headers": {
                **etag_headers,
                "Location": {"description": "where the task is", "schema": {"type": "string"}},
            }
        },
    },
)
def create_task(
    *,
    request: Request,
    response: Response,
    operations: OperationsDep,
    new: NewTask,
    key: IdempotencyKey = None,
) -> TaskView:
    """Add a task of a function that the application declares or its settings allow."""
    asked = f"POST /tasks {new.model_dump_json(exclude_unset=True)}"
    task = once(operations, key, asked, lambda: operations.create_task(new), kind=TaskView)
    tell_etag(response, task.etag)
    response.headers["Location"] = f"{request.url.path.rstrip('/')}/{in_path(task.id)}"
    return task


@router.post("/tasks/bulk", responses=problems(404, 409))
def bulk_tasks(operations: OperationsDep, request: BulkRequest) -> BulkResult:
    """Pause, resume, run or remove all tasks that a filter finds; without `dry_run`: true."""
    return operations.bulk_tasks(request)


@router.get("/tasks/{task_id}", responses={**problems(404), 200: _TAGGED})
def get_task(
    response: Response,
    operations: OperationsDep,
    task_id: TaskId,
    where: Annotated[Where, Query()],
) -> TaskView:
    """Read a task."""
    task = operations.get_task(task_id, store=where.store)
    tell_etag(response, task.etag)
    return task


@router.patch("/tasks/{task_id}", responses={**problems(404, 409, 412), 200: _TAGGED})
def change_task(
    *,
    response: Response,
    operations: OperationsDep,
    task_id: TaskId,
    change: TaskChange,
    where: Annotated[DryRun, Query()],
    if_match: IfMatch = None,
) -> TaskPreview:
    """Change a task; with `dry_run` only say what would differ, and when it would fire."""
    preview = operations.change_task(
        task_id,
        change,
        store=where.store,
        etag=_etag(operations, task_id, where, if_match),
        dry_run=where.dry_run,
    )
    tell_etag(response, preview.task.etag)
    return preview


@router.delete("/tasks/{task_id}", status_code=204, responses=problems(404, 409, 412))
def remove_task(
    operations: OperationsDep,
    task_id: TaskId,
    where: Annotated[Where, Query()],
    if_match: IfMatch = None,
) -> None:
    """Remove a task; its pending runs are cancelled, its history stays."""
    etag = _etag(operations, task_id, where, if_match)
    operations.remove_task(task_id, store=where.store, etag=etag)


@router.post("/tasks/{task_id}/reschedule", responses={**problems(404, 409, 412), 200: _TAGGED})
def reschedule_task(
    *,
    response: Response,
    operations: OperationsDep,
    task_id: TaskId,
    schedule: Schedule,
    where: Annotated[DryRun, Query()],
    if_match: IfMatch = None,
) -> TaskPreview:
    """Change the schedule of a task, counted from now."""
    preview = operations.reschedule_task(
        task_id,
        schedule,
        store=where.store,
        etag=_etag(operations, task_id, where, if_match),
        dry_run=where.dry_run,
    )
    tell_etag(response, preview.task.etag)
    return preview


@router.post("/tasks/{task_id}/pause", responses={**problems(404, 409, 412), 200: _TAGGED})
def pause_task(
    *,
    response: Response,
    operations: OperationsDep,
    task_id: TaskId,
    where: Annotated[Where, Query()],
    pause: Pause | None = None,
    if_match: IfMatch = None,
) -> TaskView:
    """Stop planning a task, for a reason, and until some time if one is named."""
    etag = _etag(operations, task_id, where, if_match)
    task = operations.pause_task(task_id, pause, store=where.store, etag=etag)
    tell_etag(response, task.etag)
    return task


@router.post("/tasks/{task_id}/resume", responses={**problems(404, 409, 412), 200: _TAGGED})
def resume_task(
    *,
    response: Response,
    operations: OperationsDep,
    task_id: TaskId,
    where: Annotated[Where, Query()],
    if_match: IfMatch = None,
) -> TaskView:
    """Go on with a paused task, strictly after now."""
    etag = _etag(operations, task_id, where, if_match)
    task = operations.resume_task(task_id, store=where.store, etag=etag)
    tell_etag(response, task.etag)
    return task


@router.post("/tasks/{task_id}/run", status_code=202, responses=problems(404, 409))
def run_task(
    operations: OperationsDep,
    task_id: TaskId,
    where: Annotated[Where, Query()],
    key: IdempotencyKey = None,
) -> RunSummary:
    """Execute a task now, beside its schedule."""
    asked = f"POST /tasks/run {task_id} {where.store}"
    return once(
        operations,
        key,
        asked,
        lambda: operations.run_task(task_id, store=where.store),
        kind=RunSummary,
    )


@router.get("/tasks/{task_id}/fires", responses=problems(404))
def list_fires(
    operations: OperationsDep, task_id: TaskId, query: Annotated[FiresQuery, Query()]
) -> list[datetime]:
    """Return the next fire times of a task, in UTC."""
    return operations.preview_task(task_id, query.count, store=query.store)


@router.post("/preview", responses=problems())
def preview(operations: OperationsDep, request: PreviewRequest) -> PreviewView:
    """Return the next fire times of a schedule that would begin now."""
    return operations.preview(request)


@router.get("/functions", responses=problems())
def list_functions(operations: OperationsDep) -> list[FunctionView]:
    """List the functions that tasks may be made of."""
    return operations.list_functions()


def _etag(operations: Operations, task_id: str, where: Where, if_match: str | None) -> str | None:
    if if_match is None:
        return None
    return wanted_etag(if_match, operations.get_task(task_id, store=where.store).etag)
