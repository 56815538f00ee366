r"""A web application with work in the background: submit, follow, cancel it, look back at it.

    pip install 'tickwork[fastapi]' uvicorn
    uvicorn examples.webapp:app               # or --workers 4: they share what there is to do

    curl -X POST localhost:8000/reports -H 'content-type: application/json' \
        -d '{"city": "Berlin", "pages": 20}'             # {"id": ID}
    curl 'localhost:8000/runs/ID'                        # its status, progress, result, error
    curl 'localhost:8000/runs/ID?wait=10'                # the same once it is over, or in 10 s
    curl -X POST 'localhost:8000/runs/ID/cancel'
    curl 'localhost:8000/runs?status=completed&status=failed&task=tally&limit=10&offset=0'

    curl 'localhost:8000/tasks'                          # what is scheduled, and when it is due
    curl 'localhost:8000/tasks/tally'
    curl -X POST 'localhost:8000/tasks/tally/run'        # now, whatever its schedule says

Runs are kept in `TICKWORK_STORE`, an SQLite file without it. What is unknown is answered with 404,
what can't be done now with 409, what makes no sense with 422, and 503 says to try again later.
"""

import asyncio
import os
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import Depends, FastAPI, Query
from pydantic import BaseModel, Field

from tickwork import RunInfo, Scheduler, TaskError, TaskInfo, current_run
from tickwork.errors import ConflictError, WaitTimeoutError
from tickwork.integrations.fastapi import (
    AsyncSubmitter,
    RunDep,
    SchedulerDep,
    answer_errors,
    submitter,
)

__all__ = ["app", "scheduler"]

PAGE_S = 0.25
LONGEST_WAIT_S = 30

scheduler = Scheduler(os.environ.get("TICKWORK_STORE", "sqlite:///webapp.db"))
app = FastAPI(title="Reports", lifespan=scheduler.lifespan)
answer_errors(app)


# --- what is done in the background ---------------------------------------------------------------


async def write_report(city: str, pages: int) -> str:
    """Write a report, a page at a time."""
    if city == "Atlantis":
        raise TaskError("no-such-city", f"{city} can't be found")
    for page in range(1, pages + 1):
        current_run().progress((page, pages), f"page {page} of {city}")
        await asyncio.sleep(PAGE_S)
    return f"{city.lower()}-{pages}.pdf"


@scheduler.task(every="1m", id="tally", tags=["chores"])
def tally() -> dict[str, int]:
    """Count how the runs of the last hour fare."""
    recent = scheduler.get_runs(since=datetime.now(UTC) - timedelta(hours=1), limit=10_000)
    return Counter(run.status.value for run in recent)


# --- submitting and following it ------------------------------------------------------------------


class Order(BaseModel):
    """A report that somebody wants."""

    city: str = Field(min_length=1)
    pages: int = Field(ge=1, le=1_000)


Reports = Annotated[
    AsyncSubmitter, Depends(submitter(tags=["report"], retries=2, give_up_on=[TaskError]))
]


@app.post("/reports", status_code=202)
async def order_report(order: Order, reports: Reports) -> dict[str, str]:
    run = await reports.submit(write_report, order.city, order.pages)
    return {"id": run.id}


@app.get("/runs/{run_id}")  # noqa: FAST003  RunDep reads it
async def follow(
    run: RunDep, wait: Annotated[float, Query(ge=0, le=LONGEST_WAIT_S)] = 0
) -> RunInfo:
    with suppress(WaitTimeoutError):
        await run.aio.wait(wait)
    found: RunInfo = await run.aio.snapshot()
    return found


@app.post("/runs/{run_id}/cancel", status_code=202)  # noqa: FAST003  as above
def cancel(run: RunDep) -> RunInfo:
    if not run.cancel("cancelled over HTTP"):
        raise ConflictError(f"run {run.id!r} is over already")
    return run.snapshot()


@app.get("/runs")
def runs(
    scheduler: SchedulerDep,
    *,
    task: str | None = None,
    status: Annotated[list[str] | None, Query()] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    offset: Annotated[int, Query(ge=0)] = 0,
) -> list[RunInfo]:
    return scheduler.get_runs(task=task, status=status, limit=limit, offset=offset)


# --- what is scheduled ----------------------------------------------------------------------------


@app.get("/tasks")
def tasks(scheduler: SchedulerDep, tag: str | None = None) -> list[TaskInfo]:
    return scheduler.get_tasks(tag=tag, sort="next_run_time")


@app.get("/tasks/{task_id}")
def task(task_id: str, scheduler: SchedulerDep) -> TaskInfo:
    return scheduler.get_task_info(task_id)


@app.post("/tasks/{task_id}/run", status_code=202)
def run_task(task_id: str, scheduler: SchedulerDep) -> RunInfo:
    return scheduler.run_task(task_id).snapshot()
