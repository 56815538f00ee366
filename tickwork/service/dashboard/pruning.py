"""Forgetting old runs: first the number, then the deed."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from fastapi import APIRouter, Response

from tickwork.errors import InvalidInputError
from tickwork.model.instants import from_us
from tickwork.service.dashboard.visiting import DeedDep, Visit, VisitDep, in_utc, read_model
from tickwork.service.models import PruneRequest, PruneResult
from tickwork.service.roles import Action

__all__ = ["router"]

router = APIRouter()

_OFFERED = timedelta(days=7)


@router.get("/prune-runs")
def count_runs(visit: VisitDep) -> Response:
    """Ask before when, and say how many runs would be forgotten."""
    visit.actor.require(Action.RUNS_PRUNE)
    if not visit.asked(["before"]):
        return _page(visit)
    try:
        return _page(visit, visit.operations.prune_runs(_request(visit)))
    except InvalidInputError as error:
        return _page(visit, fault=str(error))


@router.post("/prune-runs")
def prune_runs(visit: DeedDep) -> Response:
    """Forget them, if they are still as many."""
    request = _request(visit, dry_run=False, expected_count=visit.text("expected_count"))
    return _page(visit, visit.operations.prune_runs(request))


def _request(visit: Visit, **said: Any) -> PruneRequest:
    given: dict[str, Any] = visit.asked(["before", "store"])
    return read_model(PruneRequest, {**given, "before": in_utc(given.get("before")), **said})


def _page(visit: Visit, result: PruneResult | None = None, fault: str | None = None) -> Response:
    offered = from_us(visit.service.reach.now_us()) - _OFFERED
    asked = visit.asked(["before", "store"])
    return visit.page(
        "prune_runs.html",
        status=422 if fault else 200,
        result=result,
        fault=fault,
        asked=asked,
        before=asked.get("before", f"{offered:%Y-%m-%dT%H:%M}"),
        stores=[each.name for each in visit.operations.list_stores()],
    )
