"""Doing the same to many: first the number, then the deed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Response

from tickwork.errors import InvalidInputError
from tickwork.service.dashboard.tasks import FILTERS, asked_filter
from tickwork.service.dashboard.visiting import DeedDep, Visit, VisitDep, in_utc, read_model
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
    given = {name: visit.text(name) for name in ("reason", "until")}
    try:
        request = _request(visit, dry_run=False, expected_count=visit.text("expected_count"),
                           reason=given["reason"], until=in_utc(given["until"]))  # fmt: skip
        return _tasks_page(visit, request, visit.operations.bulk_tasks(request))
    except InvalidInputError as error:
        counted = visit.operations.bulk_tasks(_request(visit))
        return _tasks_page(visit, _request(visit), counted, fault=str(error), given=given)


def _request(visit: Visit, **said: Any) -> BulkRequest:
    action = visit.request.query_params.get("action")
    given = {name: value for name, value in said.items() if value is not None}
    return read_model(BulkRequest, {"action": action, "filter": asked_filter(visit), **given})


def _tasks_page(
    visit: Visit,
    request: BulkRequest,
    result: BulkResult,
    *,
    fault: str | None = None,
    given: Mapping[str, str | None] | None = None,
) -> Response:
    return visit.page(
        "bulk.html",
        status=422 if fault else 200,
        action=request.action,
        result=result,
        filters=visit.asked(FILTERS),
        fault=fault,
        given=given or {},
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
