"""Doing the same to many: first the number, then the deed."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response

from tickwork.service.dashboard.tasks import FILTERS, asked_filter
from tickwork.service.dashboard.visiting import DeedDep, Visit, VisitDep, read_model
from tickwork.service.models import BulkRequest, BulkResult, RetryRequest, RunFilter

__all__ = ["router"]

router = APIRouter()

_RUN_FILTERS = ("store", "task", "status", "source", "since", "until")


@router.get("/bulk")
def count_tasks(visit: VisitDep) -> Response:
    """Say how many tasks something would be done to."""
    return _tasks_page(visit, _request(visit), visit.operations.bulk_tasks(_request(visit)))


@router.post("/bulk")
def change_tasks(visit: DeedDep) -> Response:
    """Do it to all of them, if they are still as many."""
    request = _request(visit, dry_run=False, expected_count=visit.text("expected_count"),
                       reason=visit.text("reason"))  # fmt: skip
    return _tasks_page(visit, request, visit.operations.bulk_tasks(request))


def _request(visit: Visit, **said: Any) -> BulkRequest:
    action = visit.request.query_params.get("action")
    given = {name: value for name, value in said.items() if value is not None}
    return read_model(BulkRequest, {"action": action, "filter": asked_filter(visit), **given})


def _tasks_page(visit: Visit, request: BulkRequest, result: BulkResult) -> Response:
    return visit.page(
        "bulk.html", action=request.action, result=result, filters=visit.asked(FILTERS)
    )


@router.get("/retry-runs")
def count_runs(visit: VisitDep) -> Response:
    """Say how many runs would be executed again."""
    return _runs_page(visit, visit.operations.retry_runs(_retry(visit)))


@router.post("/retry-runs")
def retry_runs(visit: DeedDep) -> Response:
    """Execute all of them again, if they are still as many."""
    request = _retry(visit, dry_run=False, expected_count=visit.text("expected_count"))
    return _runs_page(visit, visit.operations.retry_runs(request))


def _retry(visit: Visit, **said: Any) -> RetryRequest:
    given: dict[str, Any] = visit.asked(_RUN_FILTERS)
    states = visit.request.query_params.getlist("status")
    if any(states):
        given["status"] = [state for state in states if state]
    return read_model(RetryRequest, {"filter": read_model(RunFilter, given), **said})


def _runs_page(visit: Visit, result: BulkResult) -> Response:
    return visit.page("retry_runs.html", result=result, filters=visit.asked(_RUN_FILTERS))
