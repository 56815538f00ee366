"""The list of runs, the page of a run, and what its buttons do."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response

from tickwork.model.policies import TERMINAL, RunState, Source
from tickwork.model.snapshots import RunInfo
from tickwork.service.dashboard.visiting import DeedDep, RunId, Visit, VisitDep, in_utc, read_model
from tickwork.service.models import RunFilter
from tickwork.service.views import masked

__all__ = ["router", "run_part"]

router = APIRouter()

_FILTERS = ("store", "task", "source", "since", "until", "suspect")
_PAGE = 50


@router.get("/runs")
def list_runs(visit: VisitDep) -> Response:
    """Show the runs that fit, a page of them."""
    given: dict[str, Any] = visit.asked(_FILTERS)
    states = [each for each in visit.request.query_params.getlist("status") if each]
    shown = dict(given)
    for name in ("since", "until"):
        if name in given:
            given[name] = in_utc(given[name])
    filters = read_model(RunFilter, given | ({"status": states} if states else {}))
    page = visit.operations.list_runs(filters, limit=_PAGE, cursor=visit.cursor)
    return visit.page(
        "runs.html",
        page=page,
        filters=shown | ({"status": states} if states else {}),
        chosen=states,
        states=[state.value for state in RunState],
        sources=[source.value for source in Source],
    )


@router.get("/runs/{run_id}")
def show_run(visit: VisitDep, run_id: RunId) -> Response:
    """Show a run: how far it is, what it logged, how it ended."""
    run = visit.operations.get_run(run_id, store=visit.store)
    return visit.page("run.html", **_known(visit, run))


def run_part(visit: Visit, run: RunInfo, *, here: str) -> str:
    """Return what moves of the page of a run; `here` is the address of that page."""
    asked = {"store": visit.store} if visit.store else {}
    part = visit.page("run_live.html", **_known(visit, run), here=here, query=asked)
    return bytes(part.body).decode()


def _known(visit: Visit, run: RunInfo) -> dict[str, Any]:
    result = run.model_dump(mode="json")["result"]
    return {
        "run": run,
        "over": run.status in TERMINAL,
        "result": masked(result, visit.operations.rules),
    }


@router.post("/runs/{run_id}/cancel")
def cancel_run(visit: DeedDep, run_id: RunId) -> Response:
    """End a run."""
    run = visit.operations.cancel_run(run_id, reason=visit.text("reason"), store=visit.store)
    return visit.go(visit.links.run(run_id, run.store, said="cancelled"))


@router.post("/runs/{run_id}/retry")
def retry_run(visit: DeedDep, run_id: RunId) -> Response:
    """Execute again what a run was for, and show the new run."""
    run = visit.operations.retry_run(run_id, store=visit.store)
    return visit.go(visit.links.run(run.id, run.store, said="retried"))
