"""Endpoints get the scheduler of their application, and submit work to it."""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

import httpx2
import pytest
import uvicorn
from fastapi import Depends, FastAPI, Request, WebSocket
from fastapi.testclient import TestClient

from tests.unit.integrations.jobs import doubled, on_thread
from tickwork import RunInfo, Scheduler
from tickwork.errors import SchedulerStateError
from tickwork.integrations.fastapi import (
    AsyncSubmitter,
    RunDep,
    SchedulerDep,
    SubmitterDep,
    answer_errors,
    get_scheduler,
    install,
    lifespan,
    submitter,
)

WAIT_S = 30


@pytest.fixture
def scheduler(tmp_path: Path) -> Scheduler:
    return Scheduler(f"sqlite:///{tmp_path}/tasks.db")


def application(scheduler: Scheduler, **more: Any) -> FastAPI:
    app = FastAPI(lifespan=lifespan(scheduler, **more))
    app.state.runs = []

    @app.post("/doubled/{number}", status_code=202)
    async def submit(number: int, background: SubmitterDep) -> dict[str, str]:
        run = await background.submit(doubled, number)
        app.state.runs.append(run)
        return {"run": run.id}

    @app.post("/doubled-plainly/{number}", status_code=202)
    def submit_plainly(number: int, scheduler: SchedulerDep) -> dict[str, str]:
        run = scheduler.submit(doubled, number)
        app.state.runs.append(run)
        return {"run": run.id}

    @app.post("/on-loop")
    async def on_loop(background: SubmitterDep) -> bool:
        run = await background.submit(on_thread, threading.get_ident())
        return bool((await run).result)

    @app.post("/tagged")
    async def tagged(
        background: Annotated[AsyncSubmitter, Depends(submitter(tags=["web"], retries=2))],
    ) -> dict[str, str]:
        run = await background.options(name="second", retries=1).submit(doubled, 2)
        app.state.runs.append(run)
        return {"run": run.id}

    @app.get("/state")
    async def state(request: Request) -> str:
        return str(request.state.greeting)

    @app.get("/runs/{run_id}")  # noqa: FAST003  RunDep reads it
    async def follow(run: RunDep, wait: float) -> RunInfo:
        found: RunInfo = await run.aio.wait(wait)
        return found

    @app.websocket("/socket")
    async def talk(websocket: WebSocket, scheduler: SchedulerDep) -> None:
        await websocket.accept()
        await websocket.send_text(scheduler.state)
        await websocket.close()

    return app


@pytest.fixture
def app(scheduler: Scheduler) -> FastAPI:
    return application(scheduler)


@pytest.fixture
def client(app: FastAPI) -> Iterator[TestClient]:
    with TestClient(app) as client:
        yield client


@pytest.mark.parametrize("path", ["/doubled/4", "/doubled-plainly/4"])
def test_endpoints_submit_work(app: FastAPI, client: TestClient, path: str) -> None:
    answer = client.post(path)
    assert answer.status_code == 202
    [run] = app.state.runs
    assert run.id == answer.json()["run"]
    assert run.wait(WAIT_S).result == 8


def test_coroutines_run_on_the_loop_of_the_application(client: TestClient) -> None:
    assert client.post("/on-loop").json() is True


def test_the_run_that_a_path_names_is_followed(app: FastAPI, client: TestClient) -> None:
    run_id = client.post("/doubled/4").json()["run"]
    found = client.get(f"/runs/{run_id}", params={"wait": WAIT_S}).json()
    [run] = app.state.runs
    assert found == run.snapshot().model_dump(mode="json")
    assert (found["status"], found["result"]) == ("completed", 8)


def test_a_run_that_is_not_over_in_time_is_answered_with_504(
    scheduler: Scheduler,
) -> None:
    app = application(scheduler)
    answer_errors(app)
    with TestClient(app) as client:
        later = scheduler.options(start_in=3_600).submit(doubled, 4)
        answer = client.get(f"/runs/{later.id}", params={"wait": 0.05})
        assert answer.status_code == 504
        assert "isn't over after 0.05 s" in answer.json()["detail"]
        answer = client.get("/runs/nothing", params={"wait": 0})
        assert answer.status_code == 404


def test_options_of_a_submitter_add_up(app: FastAPI, client: TestClient) -> None:
    client.post("/tagged")
    [run] = app.state.runs
    assert run.name == "second"
    assert run.wait(WAIT_S).result == 4


def test_web_sockets_get_the_scheduler_too(client: TestClient) -> None:
    with client.websocket_connect("/socket") as socket:
        assert socket.receive_text() == "started"


def test_the_scheduler_lives_as_long_as_the_application(scheduler: Scheduler) -> None:
    assert scheduler.state == "new"
    with TestClient(application(scheduler)):
        assert scheduler.state == "started"
    assert scheduler.state == "new"


def test_an_applications_own_lifespan_encloses_the_scheduler(scheduler: Scheduler) -> None:
    states: list[str] = []

    @asynccontextmanager
    async def own(app: FastAPI) -> AsyncIterator[dict[str, str]]:
        states.append(scheduler.state)
        yield {"greeting": "hello"}
        states.append(scheduler.state)

    with TestClient(application(scheduler, own=own)) as client:
        assert client.get("/state").json() == "hello"
    assert states == ["new", "new"]


def test_a_lifespan_may_be_used_within_another(scheduler: Scheduler) -> None:
    @asynccontextmanager
    async def own(app: FastAPI) -> AsyncIterator[None]:
        async with lifespan(scheduler)(app):
            yield

    app = FastAPI(lifespan=own)
    app.get("/")(lambda scheduler=Depends(get_scheduler): scheduler.state)
    with TestClient(app) as client:
        assert client.get("/").json() == "started"


def test_a_scheduler_that_is_a_client_is_installed_without_being_started(
    scheduler: Scheduler,
) -> None:
    app = application(scheduler)
    app.router.lifespan_context = FastAPI().router.lifespan_context
    install(app, scheduler)
    with scheduler.connect(), TestClient(app) as client:
        run_id = client.post("/doubled/4").json()["run"]
        assert scheduler.get_run(run_id).status == "pending"


def test_an_application_without_scheduler_says_so(scheduler: Scheduler) -> None:
    app = FastAPI()
    app.mount("/inner", application(scheduler))
    with TestClient(app) as client, pytest.raises(SchedulerStateError, match="has no scheduler"):
        client.post("/inner/doubled/4")


@pytest.mark.parametrize(
    ("path", "status", "detail"),
    [
        ("/runs/nothing", 404, "there is no run 'nothing'"),
        ("/tasks/nothing", 404, "there is no task 'nothing'"),
        ("/bad", 422, "retries=-1 must be"),
        ("/twice", 409, "started already"),
    ],
)
def test_refusals_are_answered_with_their_status(
    scheduler: Scheduler, path: str, status: int, detail: str
) -> None:
    app = FastAPI(lifespan=lifespan(scheduler))
    answer_errors(app)

    @app.get("/runs/{run_id}")
    def run(run_id: str, scheduler: SchedulerDep) -> str:
        return scheduler.get_run(run_id).status

    @app.get("/tasks/{task_id}")
    def task(task_id: str, scheduler: SchedulerDep) -> str:
        return scheduler.get_task(task_id).id

    @app.get("/bad")
    def bad(scheduler: SchedulerDep) -> None:
        scheduler.options(retries=-1)

    @app.get("/twice")
    def twice(scheduler: SchedulerDep) -> None:
        scheduler.start()

    with TestClient(app) as client:
        answer = client.get(path)
    assert answer.status_code == status
    assert answer.json()["detail"].startswith(("the scheduler is " + detail, detail))


def test_behind_a_real_server(app: FastAPI, scheduler: Scheduler) -> None:
    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            config = uvicorn.Config(app, log_level="warning", lifespan="on")
            server = uvicorn.Server(config)
            serving = asyncio.create_task(server.serve(sockets=[listening]))
            url = f"http://127.0.0.1:{listening.getsockname()[1]}"
            try:
                async with httpx2.AsyncClient(base_url=url, timeout=WAIT_S) as client:
                    posts = [client.post(f"/doubled/{number}") for number in range(20)]
                    answers = await asyncio.gather(*posts)
                    assert {answer.status_code for answer in answers} == {202}
                    ended = [await run for run in app.state.runs]
                    assert sorted(run.result for run in ended) == list(range(0, 40, 2))
                    assert (await client.post("/on-loop")).json() is True
            finally:
                server.should_exit = True
                await serving

    asyncio.run(main())
    assert scheduler.state == "new"
