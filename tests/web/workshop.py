"""An application whose tasks write each fire time into one book, whichever worker they run in."""

import os
from typing import Any

from fastapi import FastAPI

from tickwork import Scheduler, current_run
from tickwork.integrations.fastapi import SchedulerDep, SubmitterDep
from tickwork.model.instants import to_us

__all__ = ["INTERVAL_S", "app", "scheduler", "wrapped"]

INTERVAL_S = 0.25
BOOK = os.environ.get("TICKWORK_BOOK", "")

# Each fire time is to have a run of its own, also where a busy machine is late.
EACH: dict[str, Any] = {"coalesce": False, "max_instances": 100, "overlap": "allow"}

scheduler = Scheduler(
    os.environ.get("TICKWORK_STORE", "memory://"), lock_path=os.environ.get("TICKWORK_LOCK")
)


def write(word: str) -> None:
    """Write a line into the book, in one piece."""
    book = os.open(BOOK, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(book, f"{word} {os.getpid()}\n".encode())
    finally:
        os.close(book)


def write_fire_time() -> None:
    """Write down for when this is."""
    run = current_run()
    assert run.fire_time is not None
    write(f"{run.task_id} {to_us(run.fire_time)}")


@scheduler.task("interval", seconds=INTERVAL_S, start_at="2026-01-01", id="interval", **EACH)
def on_interval() -> None:
    """Be called in a thread."""
    write_fire_time()


@scheduler.task("cron", second="*", id="cron", **EACH)
async def on_cron() -> None:
    """Be called on the worker's event loop."""
    write_fire_time()


def work(word: str) -> int:
    """Write down what was submitted; return where it was done."""
    write(word)
    return os.getpid()


app = FastAPI(lifespan=scheduler.lifespan)


@app.post("/work/{word}", status_code=202)
async def submit(word: str, background: SubmitterDep) -> dict[str, object]:
    """Submit work; say which worker has taken the request."""
    run = await background.submit(work, word)
    return {"run": run.id, "pid": os.getpid()}


@app.get("/state")
def state(scheduler: SchedulerDep) -> dict[str, object]:
    """Tell how the scheduler of this worker fares."""
    return {"state": scheduler.state, "pid": os.getpid()}


async def _plain(scope: Any, receive: Any, send: Any) -> None:
    assert scope["type"] == "http", "no lifespans here"
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": b"{}"})


wrapped = scheduler.asgi(_plain)
