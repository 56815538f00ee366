"""A scheduler in a FastAPI (or plain Starlette) application, and in its endpoints.

```python
scheduler = Scheduler("sqlite:///tasks.db")
app = FastAPI(lifespan=lifespan(scheduler))


@app.post("/orders/{number}/invoice", status_code=202)
async def invoice(number: int, background: SubmitterDep) -> dict[str, str]:
    run = await background.submit(send_invoice, number)
    return {"run": run.id}


@app.get("/runs/{run_id}")
async def follow(run: RunDep) -> RunInfo:
    return await run.aio.wait(timeout=10)


@app.get("/tasks")
def tasks(scheduler: SchedulerDep) -> list[str]:
    return [task.id for task in scheduler.get_tasks()]
```

Each process of the application starts a scheduler of its own on the same store. Coroutine functions
run on the application's event loop.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from typing import Annotated, Any

from fastapi import Depends
from starlette.applications import Starlette
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse

from tickwork.errors import (
    ConflictError,
    InvalidInputError,
    NotFoundError,
    SchedulerStateError,
    StoreError,
    TickworkError,
    WaitTimeoutError,
)
from tickwork.scheduler.run import Run
from tickwork.scheduler.scheduler import Scheduler

__all__ = [
    "AsyncSubmitter",
    "RunDep",
    "SchedulerDep",
    "SubmitterDep",
    "answer_errors",
    "get_run",
    "get_scheduler",
    "install",
    "lifespan",
    "submitter",
]

Lifespan = Callable[[Any], AbstractAsyncContextManager[Any]]


def install(app: Starlette, scheduler: Scheduler) -> None:
    """Make a scheduler known to the endpoints of an application, without starting it.

    For one that is started elsewhere or only connected, and for mounted applications, which don't
    see what the outer one knows.
    """
    app.state.tickwork = scheduler


def lifespan(scheduler: Scheduler, own: Lifespan | None = None) -> Lifespan:
    """Return a lifespan that installs a scheduler, starts it, and stops it at the end.

    What the application's `own` lifespan opens is there for as long as tasks run: it is entered
    before the scheduler starts, and left after it has stopped. The state that it yields is kept.
    """

    @asynccontextmanager
    async def whole(app: Starlette) -> AsyncIterator[Any]:
        install(app, scheduler)
        async with nullcontext() if own is None else own(app) as state, scheduler:
            yield state

    return whole


_STATUS: dict[type[TickworkError], int] = {
    NotFoundError: 404,
    ConflictError: 409,
    InvalidInputError: 422,
    StoreError: 503,
    WaitTimeoutError: 504,
}


def answer_errors(app: Starlette) -> None:
    """Have an application answer what a scheduler refuses: 404 for an unknown run or task.

    409 where something is in another state than needed, 422 for bad input, 503 where a store
    doesn't answer, 504 where a run isn't over in time; each with the message as `detail`. Call it
    before the application serves.
    """
    for kind in _STATUS:
        app.add_exception_handler(kind, _answer)


def _answer(_: Request, error: Exception) -> JSONResponse:
    status = next(status for kind, status in _STATUS.items() if isinstance(error, kind))
    return JSONResponse({"detail": str(error)}, status)


def get_scheduler(connection: HTTPConnection) -> Scheduler:
    """Return the scheduler of the application that a request or web socket is for.

    Raises:
        SchedulerStateError: it has none.
    """
    found = getattr(connection.app.state, "tickwork", None)
    if found is None:
        raise SchedulerStateError(
            "this application has no scheduler: make it with FastAPI(lifespan=lifespan(scheduler)) "
            "or call install(app, scheduler), both of tickwork.integrations.fastapi"
        )
    scheduler: Scheduler = found
    return scheduler


class AsyncSubmitter:
    """Submits functions from coroutines, without blocking their event loop.

    `options` are those of `Scheduler.options`.

    Raises:
        TaskConfigurationError: there is no such option, or its value makes no sense.
    """

    def __init__(self, scheduler: Scheduler, **options: Any) -> None:
        self._scheduler = scheduler
        self._options = options
        self._submitter = scheduler.options(**options)

    async def submit(self, fn: Callable[..., Any] | str, /, *args: Any, **kwargs: Any) -> Run:
        """Execute a function soon, in the background; see `Scheduler.submit`."""
        run: Run = await self._submitter.aio.submit(fn, *args, **kwargs)
        return run

    def options(self, **options: Any) -> "AsyncSubmitter":
        """Return a submitter that has these options too."""
        return AsyncSubmitter(self._scheduler, **{**self._options, **options})


def submitter(**options: Any) -> Callable[..., AsyncSubmitter]:
    """Return a dependency: `Annotated[AsyncSubmitter, Depends(submitter(retries=2))]`."""

    def get_submitter(scheduler: "SchedulerDep") -> AsyncSubmitter:
        return AsyncSubmitter(scheduler, **options)

    return get_submitter


SchedulerDep = Annotated[Scheduler, Depends(get_scheduler)]
"""The application's scheduler; for plain endpoints, and for all that isn't submitting."""

SubmitterDep = Annotated[AsyncSubmitter, Depends(submitter())]
"""What submits functions from `async def` endpoints."""


async def get_run(run_id: str, scheduler: SchedulerDep) -> Run:
    """Return the run that the path names as `run_id`, to follow, wait for or cancel it.

    Raises:
        RunNotFoundError: there is no such run.
    """
    found = await scheduler.aio.get_run(run_id)
    return Run(scheduler, found.id, found.task_id, found.store, name=found.name)


RunDep = Annotated[Run, Depends(get_run)]
"""The run of an endpoint whose path has a `{run_id}`."""
