"""Starlette, FastAPI and Litestar behind a real server, with a scheduler in their lifespans."""

import asyncio
import logging
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import fastapi
import httpx2
import litestar
import pytest
import uvicorn
from fastapi.testclient import TestClient
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from tickwork import Scheduler
from tickwork.events import SchedulerStarted, SchedulerStopped
from tickwork.integrations.fastapi import SchedulerDep, get_scheduler

WAIT_S = 20

Look = Callable[[], Awaitable[dict[str, Any]]]
Make = Callable[[Look, Any], Any]


def on_starlette(look: Look, lifespan: Any) -> Starlette:
    async def answer(request: Request) -> JSONResponse:
        return JSONResponse(await look())

    return Starlette(routes=[Route("/", answer)], lifespan=lifespan)


def on_fastapi(look: Look, lifespan: Any) -> fastapi.FastAPI:
    app = fastapi.FastAPI(lifespan=lifespan)
    app.get("/")(look)
    return app


def on_litestar(look: Look, lifespan: Any) -> litestar.Litestar:
    async def answer() -> dict[str, Any]:
        return await look()

    return litestar.Litestar([litestar.get("/")(answer)], lifespan=[lifespan], logging_config=None)


FRAMEWORKS = pytest.mark.parametrize("make", [on_starlette, on_fastapi, on_litestar])


@pytest.fixture
def told() -> threading.Event:
    """Set while listeners have been told that the scheduler is started: they hear it beside it."""
    return threading.Event()


@pytest.fixture
def scheduler(diary: list[str], told: threading.Event) -> Scheduler:
    def starts(_: SchedulerStarted) -> None:
        diary.append("scheduler starts")
        told.set()

    def stops(_: SchedulerStopped) -> None:
        diary.append("scheduler stops")
        told.clear()

    scheduler = Scheduler()
    scheduler.on(SchedulerStarted, starts)
    scheduler.on(SchedulerStopped, stops)
    return scheduler


@pytest.fixture
def diary() -> list[str]:
    return []


@asynccontextmanager
async def behind_a_server(app: Any) -> AsyncIterator[httpx2.AsyncClient]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="on"))
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        try:
            async with httpx2.AsyncClient(base_url=url, timeout=WAIT_S) as client:
                yield client
        finally:
            server.should_exit = True
            await serving


async def thread() -> int:
    return threading.get_ident()


def looking(scheduler: Scheduler, diary: list[str], told: threading.Event) -> Look:
    """Return an endpoint that has a coroutine executed, and tells how all fares."""

    async def look() -> dict[str, Any]:
        state = scheduler.state
        assert await asyncio.to_thread(told.wait, WAIT_S)
        diary.append("application serves")
        run = await scheduler.aio.submit(thread)
        ended = await run.aio.wait(WAIT_S)
        return {"state": state, "here": ended.result == threading.get_ident()}

    return look


def asked(app: Any) -> dict[str, Any]:
    """Serve an application, ask it once, and have it shut down."""

    async def main() -> dict[str, Any]:
        async with behind_a_server(app) as client:
            answer = await client.get("/")
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    return asyncio.run(main())


def noting(diary: list[str]) -> Any:
    """Return an application's own lifespan."""

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[None]:
        diary.append("application starts")
        yield
        diary.append("application stops")

    return lifespan


@FRAMEWORKS
def test_its_lifespan_is_the_applications(
    make: Make, scheduler: Scheduler, diary: list[str], told: threading.Event
) -> None:
    app = make(looking(scheduler, diary, told), scheduler.lifespan)
    for _ in range(2):
        assert asked(app) == {"state": "started", "here": True}
        assert scheduler.state == "new"
    assert diary == ["scheduler starts", "application serves", "scheduler stops"] * 2
    assert app.state.tickwork is scheduler


@FRAMEWORKS
def test_around_an_application_it_lives_within_the_applications_own_lifespan(
    make: Make, scheduler: Scheduler, diary: list[str], told: threading.Event
) -> None:
    app = make(looking(scheduler, diary, told), noting(diary))
    assert asked(scheduler.asgi(app)) == {"state": "started", "here": True}
    assert diary == [
        "application starts",
        "scheduler starts",
        "application serves",
        "scheduler stops",
        "application stops",
    ]
    assert app.state.tickwork is scheduler


@FRAMEWORKS
def test_within_a_lifespan_and_around_the_application_it_starts_once(
    make: Make, scheduler: Scheduler, diary: list[str], told: threading.Event
) -> None:
    app = scheduler.asgi(make(looking(scheduler, diary, told), scheduler.lifespan))
    assert asked(app) == {"state": "started", "here": True}
    assert diary == ["scheduler starts", "application serves", "scheduler stops"]


@FRAMEWORKS
def test_one_that_cannot_start_ends_the_server_after_the_applications_shutdown(
    make: Make, diary: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    scheduler = Scheduler(f"sqlite:///{tmp_path}/no/folder/tasks.db")
    app = scheduler.asgi(make(looking(scheduler, diary, threading.Event()), noting(diary)))

    async def main() -> None:
        async with asyncio.timeout(WAIT_S):
            await uvicorn.Server(uvicorn.Config(app, log_config=None, port=0)).serve()

    with caplog.at_level(logging.ERROR, "uvicorn"), pytest.raises(SystemExit):
        asyncio.run(main())
    assert diary == ["application starts", "application stops"]
    assert "the scheduler could not start: StoreUnavailableError" in caplog.text
    assert "Application startup failed. Exiting." in caplog.text


def test_a_router_of_fastapi_may_bring_the_lifespan(
    scheduler: Scheduler, diary: list[str], told: threading.Event
) -> None:
    router = fastapi.APIRouter(lifespan=scheduler.lifespan)
    router.get("/")(looking(scheduler, diary, told))
    app = fastapi.FastAPI(lifespan=noting(diary))
    app.include_router(router)
    assert asked(app) == {"state": "started", "here": True}
    assert diary == [
        "application starts",
        "scheduler starts",
        "application serves",
        "scheduler stops",
        "application stops",
    ]


def test_what_is_wrapped_is_still_the_application(scheduler: Scheduler) -> None:
    app = scheduler.asgi(fastapi.FastAPI(title="Shop"))
    assert app.title == "Shop"

    @app.get("/state")
    def state(scheduler: SchedulerDep) -> str:
        return scheduler.state

    @app.websocket("/socket")
    async def talk(websocket: fastapi.WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text(get_scheduler(websocket).state)
        await websocket.close()

    with TestClient(app) as client:
        assert client.get("/state").json() == "started"
        with client.websocket_connect("/socket") as talking:
            assert talking.receive_text() == "started"
    assert scheduler.state == "new"


def test_without_an_application_it_is_a_decorator(scheduler: Scheduler) -> None:
    @scheduler.asgi()
    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        await JSONResponse({"state": scheduler.state})(scope, receive, send)

    assert asked(app) == {"state": "started"}
    assert scheduler.state == "new"
