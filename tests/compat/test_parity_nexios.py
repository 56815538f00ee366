"""What the users of Nexios' tasks had, row by row of docs/coming_from.md."""

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI, Request
from fastapi.testclient import TestClient

from tests.compat import jobs
from tickwork import RunState, Scheduler, TaskError, WaitTimeoutError
from tickwork.compat import nexios
from tickwork.compat.nexios import Task, TaskConfig, TaskManager, TaskStatus
from tickwork.errors import InvalidReferenceError, SchedulerStateError
from tickwork.testing import SteppedScheduler

WAIT_S = 20


async def identify(task_id: str, run_id: str = "") -> list[str]:
    return [task_id, run_id]


def identify_plainly(task_id: str) -> str:
    return task_id


def managed(function: Any, manager: TaskManager | None = None) -> Any:
    """Return what a coroutine function makes of a manager that nobody has started."""
    return asyncio.run(function(manager or TaskManager()))


def test_it_starts_and_stops_with_its_application() -> None:
    app = FastAPI()
    manager = nexios.setup_tasks(app)
    with TestClient(app):
        assert manager.scheduler.state == "started"
        assert app.state.tickwork is manager.scheduler
    assert manager.scheduler.state == "new"


def test_a_request_creates_and_awaits_tasks() -> None:
    app = FastAPI()
    nexios.setup_tasks(app)

    @app.post("/")
    async def post(request: Request) -> list[Any]:
        task = await nexios.create_task(request=request, func=jobs.add, a=1, b=2, name="sum")
        done = await nexios.wait_for_task(request, task.id, timeout=WAIT_S)
        return [done.name, done.result, done.status]

    with TestClient(app) as client:
        assert client.post("/").json() == ["sum", 3, "completed"]


def test_an_application_without_a_manager_says_so() -> None:
    app = FastAPI()

    @app.post("/")
    async def post(request: Request) -> None:
        await nexios.create_task(request=request, func=jobs.tick)

    with TestClient(app) as client, pytest.raises(SchedulerStateError, match="setup_tasks"):
        client.post("/")


def test_a_manager_starts_at_its_first_task_and_stops_with_the_loop() -> None:
    manager = TaskManager()

    async def main(manager: TaskManager) -> list[Any]:
        assert manager.scheduler.state == "new"
        loop = asyncio.get_running_loop()

        async def here() -> bool:
            return asyncio.get_running_loop() is loop

        tasks = await asyncio.gather(*(manager.create_task(here) for _ in range(3)))
        return [(await manager.wait_for_task(task.id)).result for task in tasks]

    for _ in range(2):
        assert managed(main, manager) == [True, True, True]
        assert manager.scheduler.state == "new"

    async def within() -> str:
        async with manager:
            await manager.create_task(jobs.tick)
            return manager.scheduler.state

    assert (asyncio.run(within()), manager.scheduler.state) == ("started", "new")


def test_a_dependency_gives_the_manager() -> None:
    app = FastAPI()
    manager = nexios.setup_tasks(app)

    @app.post("/")
    async def post(tasks: TaskManager = nexios.TaskDependency()) -> str:  # noqa: B008  that is how it is used
        assert tasks is manager
        return (await tasks.create(func=jobs.add, a=1, name="added")).id

    with TestClient(app) as client:
        task = manager.get_task(client.post("/").json())
        assert task is not None
        assert task.wait(WAIT_S).result == 2


def test_an_unknown_task_is_none() -> None:
    async def main(manager: TaskManager) -> list[Any]:
        await manager.create_task(jobs.tick)
        return [manager.get_task("unknown"), await manager.cancel_task("unknown")]

    assert managed(main) == [None, False]
    assert TaskManager().get_task("unknown") is None
    assert TaskManager().list_tasks() == []


def test_tasks_are_listed_cancelled_and_awaited() -> None:
    async def main(manager: TaskManager) -> None:
        endless = await manager.create_task(asyncio.Event().wait, name="endless")
        with pytest.raises(WaitTimeoutError, match=r"isn't over after 0\.05 s"):
            await manager.wait_for_task(endless.id, timeout=0.05)
        assert await manager.cancel_task(endless.id) is True
        done = await manager.wait_for_task(endless.id, timeout=WAIT_S)
        assert done.status == TaskStatus.CANCELLED
        assert await manager.cancel_task(endless.id) is False
        failed = await manager.create_task(jobs.fail)
        await manager.wait_for_task(failed.id)
        told = [(task.name, task.status.value) for task in manager.list_tasks()]
        assert told == [("endless", "cancelled"), ("fail", "failed")]
        assert all(isinstance(task, Task) for task in manager.list_tasks())

    managed(main)


def test_states_are_ours() -> None:
    assert TaskStatus is RunState
    assert [TaskStatus.TIMEOUT.value, TaskStatus.LOST.value] == ["timeout", "lost"]


def test_no_more_than_configured_run_at_once() -> None:
    now: list[int] = []
    most: list[int] = []

    async def work() -> None:
        now.append(1)
        most.append(len(now))
        await asyncio.sleep(0.005)  # noqa: TID251  a bit of work
        now.pop()

    async def main(manager: TaskManager) -> None:
        tasks = [await manager.create_task(work) for _ in range(20)]
        for task in tasks:
            await manager.wait_for_task(task.id, timeout=WAIT_S)

    managed(main, TaskManager(TaskConfig(max_concurrent_tasks=3)))
    assert (len(most), max(most)) == (20, 3)


def test_the_default_time_out_ends_tasks() -> None:
    async def main(manager: TaskManager) -> Any:
        task = await manager.create_task(asyncio.Event().wait)
        return await manager.wait_for_task(task.id, timeout=WAIT_S)

    task = managed(main, TaskManager(TaskConfig(default_timeout=0.05)))
    assert task.status == TaskStatus.TIMEOUT
    assert str(task.error) == "it ran longer than its timeout of 0.05 s"


@pytest.mark.parametrize(
    ("config", "kept"),
    [
        (TaskConfig(), 5),
        (TaskConfig(max_task_history=2, cleanup_interval=10), 2),
        (TaskConfig(task_result_ttl=60), 0),
        (TaskConfig(enable_task_history=False), 0),
    ],
)
def test_history_is_kept_as_configured(
    monkeypatch: pytest.MonkeyPatch, config: TaskConfig, kept: int
) -> None:
    monkeypatch.setattr(nexios, "Scheduler", SteppedScheduler)
    scheduler: Any = config.scheduler()
    with scheduler:
        for _ in range(5):
            scheduler.submit(jobs.tick)
        scheduler.advance(minutes=3)
        assert len(jobs.calls) == 5
        assert len(scheduler.get_runs()) == kept


def test_progress_is_a_percentage() -> None:
    async def work(task_id: str) -> None:
        await nexios.update_task_progress(task_id, 12.5)
        with pytest.raises(ValueError, match="can't speak for 'another'"):
            await nexios.update_task_progress("another", 50)
        with pytest.raises(ValueError, match="a percentage must be a number from 0 to 100"):
            await nexios.update_task_progress(task_id, 101)

    async def main(manager: TaskManager) -> list[float]:
        task = await manager.create_task(work)
        silent = await manager.create_task(jobs.tick)
        for each in (task, silent):
            await manager.wait_for_task(each.id)
        return [task.progress, silent.progress]

    assert managed(main) == [12.5, 0.0]


def test_a_task_is_told_its_id(tmp_path: Path) -> None:
    async def nested(task_id: str) -> str:
        return task_id

    async def main(manager: TaskManager) -> list[Any]:
        both = await manager.wait_for_task((await manager.create_task(identify)).id)
        assert both.result == [both.id, both.id]
        made = [
            await manager.create_task(nested),
            await manager.create_task(identify_plainly),
            await manager.create_task(jobs.add, a=1),
            await manager.create_task(nested, task_id="given"),
            await manager.create_task(nested, "first"),
        ]
        done = [await manager.wait_for_task(task.id) for task in made]
        return [task.id if task.result == task.id else (task.name, task.result) for task in done]

    first, second, *others = managed(main)
    assert isinstance(first, str)
    assert isinstance(second, str)
    assert others == [("add", 2), ("nested", "given"), ("nested", "first")]

    async def lasting(manager: TaskManager) -> list[str]:
        task = await manager.create_task(identify)
        result = (await manager.wait_for_task(task.id, WAIT_S)).result
        return [result[0], result[1] == task.id]

    on_disk = TaskManager(scheduler=Scheduler(f"sqlite:///{tmp_path}/tasks.db"))
    assert managed(lasting, on_disk) == [f"{__name__}:identify", True]


def test_errors_print_their_message() -> None:
    async def main(manager: TaskManager) -> Any:
        task = await manager.create_task(jobs.fail)
        return await manager.wait_for_task(task.id)

    error = managed(main).error
    assert (str(error), error.type, error.code) == ("no luck", "ValueError", None)
    assert "in fail" in error.traceback


def test_task_errors_keep_code_and_details() -> None:
    async def work() -> None:
        raise TaskError(code="INVALID", message="not like that", details={"field": "a"})

    async def main(manager: TaskManager) -> Any:
        task = await manager.create_task(work)
        return (await manager.wait_for_task(task.id)).error

    error = managed(main)
    assert (error.code, error.details) == ("INVALID", {"field": "a"})
    assert str(error) == "not like that"
    assert nexios.TaskError is TaskError


def test_nested_functions_need_memory(tmp_path: Path) -> None:
    async def nested() -> int:
        return 5

    async def main(manager: TaskManager) -> Any:
        return (await manager.wait_for_task((await manager.create_task(nested)).id)).result

    assert managed(main) == 5
    on_disk = TaskManager(scheduler=Scheduler(f"sqlite:///{tmp_path}/tasks.db"))
    with pytest.raises(InvalidReferenceError, match="nested"):
        managed(main, on_disk)


def test_a_database_keeps_them(tmp_path: Path) -> None:
    async def create(manager: TaskManager) -> str:
        task = await manager.create_task(jobs.add, a=1, name="kept")
        return (await manager.wait_for_task(task.id, WAIT_S)).id

    def lasting() -> TaskManager:
        return TaskManager(scheduler=Scheduler(f"sqlite:///{tmp_path}/tasks.db"))

    task_id = managed(create, lasting())
    later = lasting()
    task = later.get_task(task_id)
    assert task is not None
    assert (task.name, task.result, len(later.list_tasks())) == ("kept", 2, 1)
    later.scheduler.close()

    async def awaited(manager: TaskManager) -> list[Any]:
        return [
            (await manager.wait_for_task(task_id)).result,
            await manager.cancel_task(task_id),
        ]

    client = lasting()
    assert managed(awaited, client) == [2, False]
    assert client.scheduler.state == "connected"
    client.scheduler.close()


def test_plain_functions_run_in_threads() -> None:
    def where() -> bool:
        return threading.current_thread() is threading.main_thread()

    async def main(manager: TaskManager) -> Any:
        return (await manager.wait_for_task((await manager.create_task(where)).id)).result

    assert managed(main) is False
