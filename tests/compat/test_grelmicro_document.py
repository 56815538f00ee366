"""grelmicro's document on its task scheduler: its examples, with other imports."""

import asyncio
from types import ModuleType
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.compat.documents import Document, Example, new_module
from tests.compat.stepping import advance, stepped, summary
from tickwork.compat import grelmicro
from tickwork.stores.memory import MemoryStore
from tickwork.testing import ManualClock

MANAGER = "from grelmicro.task import TaskManager"
FIRST = "from contextlib import asynccontextmanager"
LOCKED = '    print("Running cleanup...")'
FASTAPI = Example(FIRST, "app = FastAPI(lifespan=lifespan)")
FASTSTREAM = Example(FIRST, "app = FastStream(broker, lifespan=lifespan)")
INTERVAL = Example(MANAGER, '    print("Hello, World!")')
ROUTER = Example("from grelmicro.task import TaskRouter", '    print("Hello, World!")')
LOCK = Example(MANAGER, LOCKED)
LEADER = Example("from grelmicro.sync import LeaderElection", LOCKED)
TIMING = Example(MANAGER, '    print("Running long task...")')
RESOURCE = Example("from grelmicro.sync import Lock", LOCKED)
INCLUDING = Example("from grelmicro.task.manager import TaskManager", "task.include_router(router)")
EXAMPLES = [
    FASTAPI, FASTSTREAM, INTERVAL, ROUTER, LOCK, LEADER, TIMING, RESOURCE, INCLUDING,
]  # fmt: skip
IMPORTS = {
    "grelmicro.task": "tickwork.compat.grelmicro",
    "grelmicro.task.manager": "tickwork.compat.grelmicro",
    "grelmicro.sync": "tickwork.compat.grelmicro",
    "faststream": "tests.compat.frameworks",
    "faststream.redis": "tests.compat.frameworks",
}


@pytest.fixture(scope="module")
def document() -> Document:
    return Document("grelmicro-task-scheduler.txt", EXAMPLES, IMPORTS)


@pytest.fixture
def module() -> ModuleType:
    return new_module("grelmicro_examples")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture(autouse=True)
def _timeless(monkeypatch: pytest.MonkeyPatch, clock: ManualClock) -> None:
    """Have managers of examples share one store and the clock, as processes share a server."""
    kind = stepped(grelmicro.TaskManager, store=MemoryStore(), clock=clock)
    monkeypatch.setattr(grelmicro, "TaskManager", kind)


def processes(document: Document, example: Example, count: int) -> list[Any]:
    """Return the managers of so many processes that execute an example."""
    modules = [new_module("grelmicro_examples") for _ in range(count)]
    for module in modules:
        document.execute(example, module)
    return [module.task for module in modules]


def test_every_line_of_code_is_in_an_example(document: Document) -> None:
    assert document.code_outside() == []
    assert document.foreign_imports() == []


def test_a_fastapi_application_starts_and_stops_it(document: Document, module: ModuleType) -> None:
    document.execute(FASTAPI, module)
    with TestClient(module.app):
        assert module.task.state == "started"
    assert module.task.state == "new"


def test_a_faststream_application_starts_and_stops_it(
    document: Document, module: ModuleType
) -> None:
    document.execute(FASTSTREAM, module)
    states = []
    asyncio.run(module.app.run(lambda: states.append(module.task.state)))
    assert [*states, module.task.state] == ["started", "new"]


def test_an_interval_begins_at_once(
    document: Document, module: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    document.execute(INTERVAL, module)
    with module.task as task:
        task.advance(seconds=14)
        assert [due for _, _, due in summary(task)] == ["01 00:00:00", "01 00:00:05", "01 00:00:10"]
    assert capsys.readouterr().out == "Hello, World!\n" * 3


def test_a_router_is_included(
    document: Document, module: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    document.execute(ROUTER, module)
    module.__dict__["router"] = module.task
    document.execute(INCLUDING, module)
    with module.task as task:
        task.advance(seconds=14)
    assert capsys.readouterr().out == "Hello, World!\n" * 3


@pytest.mark.parametrize("example", [LOCK, RESOURCE])
def test_of_all_workers_one_executes_each_interval(
    document: Document, clock: ManualClock, example: Example, capsys: pytest.CaptureFixture[str]
) -> None:
    managers = processes(document, example, 3)
    for manager in managers:
        manager.start()
    advance(clock, managers, minutes=10, seconds=30)
    ended = [run for manager in managers for run in summary(manager, status="completed")]
    skipped = [run for manager in managers for run in summary(manager, status="skipped")]
    for manager in managers:
        manager.stop()
    assert len({due for _, _, due in ended}) == len(ended) == 11
    assert len(skipped) == 22
    assert capsys.readouterr().out == "Running cleanup...\n" * 11


def test_only_the_leader_executes(
    document: Document, clock: ManualClock, capsys: pytest.CaptureFixture[str]
) -> None:
    managers = processes(document, LEADER, 3)
    for manager in managers:
        manager.start()
    advance(clock, managers, minutes=5, seconds=30)
    counts = [len(summary(manager, status="completed")) for manager in managers]
    assert sorted(counts) == [0, 0, 6]
    for manager in managers:
        manager.stop()
    assert capsys.readouterr().out == "Running cleanup...\n" * 6


def test_a_long_task_says_for_how_long_it_is_locked(
    document: Document, module: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    document.execute(TIMING, module)
    with module.task as task:
        task.advance(minutes=3, seconds=30)
        assert len(summary(task, status="completed")) == 4
    assert capsys.readouterr().out == "Running long task...\n" * 4
