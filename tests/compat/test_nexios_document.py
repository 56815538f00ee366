"""The document on Nexios' background tasks: its examples, with other imports."""

import asyncio
import csv
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.compat.documents import Document, Example, new_module
from tests.compat.frameworks import TestClient
from tickwork.compat import nexios

TASKS = "from nexios_contrib.tasks import "
MADE = '    return {"task_id": task.id}'
SETUP = Example("from nexios import NexiosApp", "task_manager = setup_tasks(app)")
PROCESS = Example("import asyncio", '    return {"status": "completed", "data": data}')
START = Example("from nexios.http import Request, Response", MADE)
STATUS = Example(f"{TASKS}TaskStatus", "    }")
INJECTED = Example(f"{TASKS}TaskDependency", MADE)
LISTING = Example('@app.get("/tasks")', "    ]")
CANCELLING = Example(
    '@app.post("/tasks/{task_id}/cancel")', '    return {"success": success, "task_id": task_id}'
)
CONFIGURED = Example(
    f"{TASKS}TaskConfig, setup_tasks", "task_manager = setup_tasks(app, config=config)"
)
STATES = Example(f"{TASKS}TaskStatus", "TaskStatus.TIMEOUT    # Task exceeded timeout limit")
PROPERTIES = Example(f"{TASKS}Task", 'print(f"Progress: {task.progress}")')
PROGRESS = Example(f"{TASKS}update_task_progress", "    }")
ERRORS = Example('@app.get("/task-result/{task_id}")', '    return {"result": task.result}')
CUSTOM = Example(f"{TASKS}TaskError", "    }, 400")
FILES = Example(
    "from nexios import NexiosApp", '    return {"task_id": task.id, "file_path": file_path}'
)
EMAILS = Example(
    f"{TASKS}setup_tasks, create_task",
    '    return {"task_id": task.id, "recipient_count": len(data["recipients"])}',
)
EXPORT = Example(
    f"{TASKS}setup_tasks, create_task",
    '    return {"task_id": task.id, "format": data.get("format", "csv")}',
)
PRODUCTION = Example(
    f"{TASKS}TaskConfig, setup_tasks", "task_manager = setup_tasks(app, config=config)"
)
UNIT = Example("import pytest", '    assert "Test error" in str(task.error)')
INTEGRATION = Example("import pytest", '    assert "task_id" in data')
SERVICE = [SETUP, PROCESS, START, STATUS, INJECTED, LISTING, CANCELLING, PROGRESS, ERRORS, CUSTOM]
EXAMPLES = [
    SETUP, PROCESS, START, STATUS, INJECTED, LISTING, CANCELLING, CONFIGURED, STATES, PROPERTIES,
    PROGRESS, ERRORS, CUSTOM, FILES, EMAILS, EXPORT, PRODUCTION, UNIT, INTEGRATION,
]  # fmt: skip
IMPORTS = {
    "nexios": "tests.compat.frameworks",
    "nexios.http": "tests.compat.frameworks",
    "nexios.testing": "tests.compat.frameworks",
    "nexios_contrib.tasks": "tickwork.compat.nexios",
    "asyncio": "tests.compat.quick",
    # It uses TaskStatus, and doesn't import it.
    f"{TASKS}TaskManager, TaskConfig": (
        "from tickwork.compat.nexios import TaskConfig, TaskManager, TaskStatus"
    ),
}
ASYNC_TESTS = """
import asyncio
import inspect

import pytest


def pytest_configure(config):
    config.addinivalue_line("markers", "asyncio: a coroutine function")


def pytest_pyfunc_call(pyfuncitem):
    if inspect.iscoroutinefunction(pyfuncitem.obj):
        names = pyfuncitem._fixtureinfo.argnames
        asyncio.run(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names}))
        return True
"""
WAIT_S = 20


@pytest.fixture(scope="module")
def document() -> Document:
    return Document("nexios-background-tasks.txt", EXAMPLES, IMPORTS)


async def process_item(item: Any) -> None:
    """Do what the document leaves open."""
    if item == "bad":
        raise nexios.TaskError("BAD_ITEM", "an item is bad", {"item": item})


@pytest.fixture
def module() -> ModuleType:
    made = new_module("nexios_examples", process_item=process_item)
    # Another name that the document leaves open: called when it is there.
    made.__dict__["process_with_deps"] = lambda data: {"with dependencies": data}
    return made


@pytest.fixture
def client(document: Document, module: ModuleType) -> Iterator[TestClient]:
    """Serve the application that the document builds step by step."""
    for example in SERVICE:
        document.execute(example, module)
    with TestClient(module.app) as serving:
        yield serving


def ended(module: ModuleType, task_id: str) -> Any:
    """Return a task when it is over."""
    task = module.task_manager.get_task(task_id)
    task.wait(WAIT_S)
    return task


def create(client: TestClient, module: ModuleType, func: Any, **given: Any) -> Any:
    """Return a task that the application's own loop has created."""
    assert client.portal is not None
    return client.portal.call(partial(module.task_manager.create_task, func=func, **given))


def test_every_line_of_code_is_in_an_example(document: Document) -> None:
    assert document.code_outside() == []
    assert document.foreign_imports() == []
    blocks = [at + 1 for at, line in enumerate(document.lines) if line == "python"]
    assert [document.lines[at] for at in blocks] == [example.first for example in EXAMPLES]


def test_a_request_starts_a_task_and_another_asks_for_it(
    client: TestClient, module: ModuleType
) -> None:
    answer = client.post("/process", json={"a": 1})
    assert answer.status_code == 200
    task = ended(module, answer.json()["task_id"])
    assert task.name == "data_processing"
    assert client.get(f"/status/{task.id}").json() == {
        "task_id": task.id,
        "status": "completed",
        "result": {"status": "completed", "data": {"a": 1}},
        "error": None,
    }
    unknown = client.get("/status/unknown")
    assert (unknown.status_code, unknown.json()) == (404, {"error": "Task not found"})


def test_a_task_is_created_by_a_dependency(client: TestClient, module: ModuleType) -> None:
    task_id = client.post("/process-with-deps", json={"a": 1}).json()["task_id"]
    task = ended(module, task_id)
    assert (task.name, task.result) == (
        "data_processing_with_deps",
        {"with dependencies": {"a": 1}},
    )


def test_tasks_are_listed(client: TestClient, module: ModuleType) -> None:
    made = [client.post("/process", json={}).json()["task_id"] for _ in range(3)]
    for task_id in made:
        ended(module, task_id)
    listed = client.get("/tasks").json()
    assert [each["id"] for each in listed] == made
    assert {each["status"] for each in listed} == {"completed"}
    assert all(each["created_at"] <= each["completed_at"] for each in listed)


def test_a_task_is_cancelled(client: TestClient, module: ModuleType) -> None:
    task = create(client, module, asyncio.Event().wait, name="endless")
    path = f"/tasks/{task.id}/cancel"
    assert client.post(path).json() == {"success": True, "task_id": task.id}
    assert ended(module, task.id).status == nexios.TaskStatus.CANCELLED
    assert client.post(path).json() == {"success": False, "task_id": task.id}
    assert client.post("/tasks/unknown/cancel").json()["success"] is False


def test_progress_is_told_under_the_id_that_the_task_was_given(
    client: TestClient, module: ModuleType
) -> None:
    task = create(client, module, module.long_running_task, items=[1, 2, 3, 4])
    assert ended(module, task.id).result == {"processed": 4, "total": 4}
    assert client.get(f"/tasks/{task.id}/progress").json() == {
        "task_id": task.id,
        "progress": 100.0,
        "status": "completed",
    }
    half = create(client, module, module.long_running_task, items=[1, "bad"])
    assert ended(module, half.id).progress == 50.0
    assert client.get("/tasks/unknown/progress").status_code == 404


def test_an_error_is_told_with_its_message_and_traceback(
    client: TestClient, module: ModuleType
) -> None:
    task = create(client, module, module.task_with_custom_error, data={"valid": False})
    ended(module, task.id)
    answer = client.get(f"/task-result/{task.id}")
    assert answer.status_code == 500
    told = answer.json()
    assert (told["error"], told["message"]) == ("Task failed", "Data validation failed")
    assert "in task_with_custom_error" in told["traceback"]
    assert task.error.code == "INVALID_DATA"
    assert task.error.details == {"received": {"valid": False}}
    well = create(client, module, module.task_with_custom_error, data={"valid": True})
    ended(module, well.id)
    answer = client.get(f"/task-result/{well.id}")
    assert answer.json() == {"result": {"processed": {"valid": True}}}
    assert client.get("/task-result/unknown").status_code == 404


def test_an_error_of_a_handler_is_answered(client: TestClient, module: ModuleType) -> None:
    @module.app.post("/validate")
    async def validate(request: Any, response: Any) -> Any:
        return await module.task_with_custom_error(await request.json)

    answer = client.post("/validate", json={"valid": None})
    assert answer.status_code == 400
    assert answer.json() == {
        "error": "INVALID_DATA",
        "message": "Data validation failed",
        "details": {"received": {"valid": None}},
    }


@pytest.mark.parametrize(
    ("example", "limits"),
    [(CONFIGURED, (50, 300, 86_400, 1_000)), (PRODUCTION, (100, 1_800, 604_800, 10_000))],
)
def test_a_manager_is_configured(
    document: Document, module: ModuleType, example: Example, limits: Sequence[int]
) -> None:
    document.execute(SETUP, module)
    document.execute(example, module)
    config, manager = module.config, module.task_manager
    told = (
        config.max_concurrent_tasks,
        config.default_timeout,
        config.task_result_ttl,
        config.max_task_history,
    )
    assert told == tuple(limits)
    with TestClient(module.app) as client:
        assert module.app.state.task_manager is manager
        assert manager.scheduler.state == "started"
        task = create(client, module, lambda: 5)
        assert ended(module, task.id).result == 5
    assert manager.scheduler.state == "new"


def test_all_states_are_there(document: Document, module: ModuleType) -> None:
    document.execute(STATES, module)
    names = {line.split()[0] for line in document.lines if line.startswith("TaskStatus.")}
    assert {f"TaskStatus.{state.name}" for state in nexios.TaskStatus} >= names
    assert len(names) == 6


def test_a_task_tells_all_that_is_asked(
    document: Document, client: TestClient, module: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    task = create(client, module, module.process_data, data={"a": 1}, name="processing")
    ended(module, task.id)
    module.__dict__["task_id"] = task.id
    document.execute(PROPERTIES, module)
    told = dict(line.split(": ", 1) for line in capsys.readouterr().out.splitlines())
    assert told.pop("Created") <= told.pop("Started") <= told.pop("Completed")
    assert told == {
        "Task ID": task.id,
        "Name": "processing",
        "Status": "completed",
        "Result": "{'status': 'completed', 'data': {'a': 1}}",
        "Error": "None",
        "Progress": "0.0",
    }


@pytest.fixture
def services(
    document: Document, module: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Any]:
    """Return what serves one of the larger examples, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    open_clients: list[TestClient] = []

    def serve(example: Example) -> TestClient:
        for each in (SETUP, PROCESS, START, example):
            document.execute(each, module)
        client = TestClient(module.app)
        client.__enter__()
        open_clients.append(client)
        return client

    yield serve
    for client in open_clients:
        client.__exit__(None, None, None)


def test_a_file_is_processed(services: Any, module: ModuleType, tmp_path: Path) -> None:
    client = services(FILES)
    (tmp_path / "data").write_bytes(b"x" * 3_000)
    made = client.post("/process-file", json={"file_path": "data"}).json()
    task = ended(module, made["task_id"])
    assert (task.name, task.progress) == ("process_file_data", 100.0)
    assert (task.result["file_size"], task.result["processed_bytes"]) == (3_000, 3_000)
    missing = client.post("/process-file", json={"file_path": "nothing"}).json()
    task = ended(module, missing["task_id"])
    assert (task.status, str(task.error)) == ("failed", "File not found: nothing")
    assert client.post("/process-file", json={}).status_code == 400


def test_emails_are_sent(services: Any, module: ModuleType) -> None:
    client = services(EMAILS)
    message = {"recipients": ["a@x", "b@x", "c@x"], "subject": "hello", "body": "you"}
    made = client.post("/send-bulk-emails", json=message).json()
    assert made["recipient_count"] == 3
    task = ended(module, made["task_id"])
    assert (task.result["sent_count"], task.result["failed_count"]) == (3, 0)
    assert task.progress == 100.0


@pytest.mark.parametrize(("form", "progress"), [("csv", 90.0), ("json", 100.0)])
def test_data_is_exported(
    services: Any, module: ModuleType, tmp_path: Path, *, form: str, progress: float
) -> None:
    client = services(EXPORT)
    made = client.post("/export-data", json={"format": form}).json()
    task = ended(module, made["task_id"])
    assert (task.result["total_records"], task.progress) == (1_000, progress)
    with (tmp_path / task.result["filename"]).open(newline="") as file:
        rows = json.load(file) if form == "json" else list(csv.DictReader(file))
    assert (len(rows), rows[-1]["name"]) == (1_000, "Record 999")


def test_a_format_that_is_unknown_fails_with_its_message(services: Any, module: ModuleType) -> None:
    client = services(EXPORT)
    made = client.post("/export-data", json={"format": "xml"}).json()
    assert str(ended(module, made["task_id"]).error) == "Unsupported format: xml"


def test_the_tests_of_the_document_pass(document: Document, tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(ASYNC_TESTS)
    (tmp_path / "test_unit.py").write_text(document.source(UNIT))
    (tmp_path / "test_integration.py").write_text(document.source(INTEGRATION))
    root = Path(__file__).parents[2]
    words = ["-q", "-p", "no:cacheprovider", "-W", "error", "-o", "pythonpath=" + str(root)]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *words, "--rootdir", str(tmp_path), str(tmp_path)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, "3 passed" in done.stdout) == (0, True), done.stdout + done.stderr
