"""`/runs`."""

from typing import Annotated

from fastapi import APIRouter, Query

from tickwork.model.snapshots import RunInfo
from tickwork.service.models import (
    BulkResult,
    Cancel,
    Page,
    PruneRequest,
    PruneResult,
    RetryRequest,
    RunLog,
    RunProgress,
    RunSummary,
)
from tickwork.service.rest.asking import (
    OperationsDep,
    RunId,
    RunListQuery,
    Where,
    run_filters_of,
)
from tickwork.service.rest.idempotency import IdempotencyKey, once
from tickwork.service.rest.problems import problems

__all__ = ["router"]

router = APIRouter(tags=["runs"])


@router.get("/runs", responses=problems(404))
def list_runs(
    operations: OperationsDep, query: Annotated[RunListQuery, Query()]
) -> Page[RunSummary]:
    """List runs, the newest first."""
    return operations.list_runs(
        run_filters_of(query), limit=query.limit, cursor=query.cursor, total=query.total
    )


@router.post("/runs/retry", responses=problems(404, 409))
def retry_runs(operations: OperationsDep, request: RetryRequest) -> BulkResult:
    """Execute again all runs that a filter finds; the failed ones, unless it says others."""
    return operations.retry_runs(request)


@router.post("/runs/prune", responses=problems(404))
def prune_runs(operations: OperationsDep, request: PruneRequest) -> PruneResult:
    """Forget runs that were over before an instant."""
    return operations.prune_runs(request)


@router.get("/runs/{run_id}", responses=problems(404))
def get_run(operations: OperationsDep, run_id: RunId, where: Annotated[Where, Query()]) -> RunInfo:
    """Read a run, with its result, its errors and its log."""
    return operations.get_run(run_id, store=where.store)


@router.get("/runs/{run_id}/log", responses=problems(404))
def get_log(operations: OperationsDep, run_id: RunId, where: Annotated[Where, Query()]) -> RunLog:
    """Read the last lines that a run has logged."""
    return operations.get_log(run_id, store=where.store)


@router.get("/runs/{run_id}/progress", responses=problems(404))
def get_progress(
    operations: OperationsDep, run_id: RunId, where: Annotated[Where, Query()]
) -> RunProgress:
    """Read how far a run says it is."""
    return operations.get_progress(run_id, store=where.store)


@router.post("/runs/{run_id}/cancel", status_code=202, responses=problems(404, 409))
def cancel_run(
    operations: OperationsDep,
    run_id: RunId,
    where: Annotated[Where, Query()],
    cancel: Cancel | None = None,
) -> RunInfo:
    """End a run, wherever it is; one under way ends a moment later."""
    reason = None if cancel is None else cancel.reason
    return operations.cancel_run(run_id, reason=reason, store=where.store)


@router.post("/runs/{run_id}/retry", status_code=202, responses=problems(404, 409))
def retry_run(
    operations: OperationsDep,
    run_id: RunId,
    where: Annotated[Where, Query()],
    key: IdempotencyKey = None,
) -> RunSummary:
    """Execute again what a run was for that is over; return the new run."""
    asked = f"POST /runs/retry {run_id} {where.store}"
    return once(
        operations,
        key,
        asked,
        lambda: operations.retry_run(run_id, store=where.store),
        kind=RunSummary,
    )
