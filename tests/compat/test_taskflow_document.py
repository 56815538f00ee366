"""fastapi-taskflow's document on scheduled tasks: its examples, with other imports."""

import asyncio
import inspect
import re
from types import ModuleType

import pytest

from tests.compat.documents import Document, Example, new_module
from tests.compat.stepping import summary
from tickwork.compat import taskflow
from tickwork.testing import SteppedScheduler

FIRST = Example("@task_manager.schedule(", "    ...")
BOTH = Example("@task_manager.schedule(every=300, retries=1)", "    ...", again=1)
ENTRY = Example(
    "from fastapi_taskflow.periodic import ScheduledEntry",
    "    next_run:      datetime",
    reason="their own source code",
)
LOCKING = "async def acquire_schedule_lock(self, key: str, ttl: int) -> bool"
SIGNATURE = Example(LOCKING, LOCKING, reason="a signature")
HEADING = Example(
    "@task_manager.schedule()", "@task_manager.schedule()", reason="the name of the decorator"
)
EXAMPLES = [HEADING, FIRST, BOTH, ENTRY, SIGNATURE]


@pytest.fixture(scope="module")
def document() -> Document:
    return Document("fastapi-taskflow-scheduled-tasks.txt", EXAMPLES, {})


@pytest.fixture
def module() -> ModuleType:
    manager = taskflow.TaskManager(SteppedScheduler())
    return new_module("taskflow_examples", task_manager=manager)


def test_every_line_of_code_is_in_an_example(document: Document) -> None:
    assert document.code_outside() == []
    assert document.foreign_imports() == []


def test_a_task_is_scheduled(document: Document, module: ModuleType) -> None:
    document.execute(FIRST, module)
    manager = module.task_manager
    with manager.scheduler as scheduler:
        scheduler.advance(minutes=16)
        name = "cleanup_expired_sessions"
        assert summary(scheduler) == [
            (name, "completed", "01 00:05:00"),
            (name, "completed", "01 00:10:00"),
            (name, "completed", "01 00:15:00"),
        ]
        task_id = manager.add_task(module.cleanup_expired_sessions)
        scheduler.step()
        record = manager.get_task(task_id).to_dict()
        assert (record["source"], record["status"]) == ("manual", "completed")
        assert [each.source for each in manager.list_tasks()] == ["manual", *["scheduled"] * 3]
    (entry,) = manager.entries
    assert (entry.every, entry.cron, entry.config.retries) == (300, None, 1)


def test_a_day_of_both_examples(document: Document, module: ModuleType) -> None:
    document.execute(BOTH, module)
    with module.task_manager.scheduler as scheduler:
        scheduler.advance(days=1)
        each = "taskflow_examples:cleanup_expired_sessions"
        assert len(summary(scheduler, task=each, limit=1_000)) == 24 * 12
        report = summary(scheduler, task="taskflow_examples:morning_report")
        # Nine in the morning in New York, in UTC.
        assert report == [("morning_report", "completed", "01 14:00:00")]


def fields_in(document: Document) -> set[str]:
    """Return the fields of `ScheduledEntry` that its source code names."""
    begin = document.lines.index("class ScheduledEntry:")
    end = document.lines.index(ENTRY.last)
    return {line.split(":")[0].strip() for line in document.lines[begin + 1 : end + 1]}


def test_an_entry_has_the_fields_of_the_document(document: Document, module: ModuleType) -> None:
    document.execute(BOTH, module)
    assert len(fields_in(document)) == 7
    for entry in module.task_manager.entries:
        for name in fields_in(document):
            assert hasattr(entry, name)
    first, second = module.task_manager.entries
    assert (first.func, first.timezone) == (module.cleanup_expired_sessions, "UTC")
    assert (second.cron, second.timezone) == ("0 9 * * *", "America/New_York")
    with module.task_manager.scheduler as scheduler:
        scheduler.advance(minutes=7)
        assert f"{first.next_run:%H:%M}" == "00:10"


def test_parameters_and_defaults_are_those_of_the_document(document: Document) -> None:
    parameters = inspect.signature(taskflow.TaskManager.schedule).parameters
    table = re.compile(r"^(\w+) (?:float|cron|str|int|bool)(?: \\\| None)? (.+?) [A-Z]")
    rows = document.lines[document.lines.index("Parameter Type Default Description") + 1 :][:8]
    told = {match[1]: match[2] for row in rows if (match := table.match(row))}
    assert told.keys() == parameters.keys() - {"self", "options"}
    defaults = {name: repr(parameters[name].default).replace("'", '"') for name in told}
    assert {**defaults, "name": "function name"} == told


def test_locking_answers_as_the_document_says(document: Document, module: ModuleType) -> None:
    assert LOCKING in document.lines
    manager = module.task_manager

    async def ask(key: str) -> bool:
        return bool(await manager.acquire_schedule_lock(key, ttl=30))

    with manager.scheduler as scheduler:
        assert [asyncio.run(ask("schedule:report")) for _ in range(2)] == [True, False]
        assert asyncio.run(ask("schedule:another")) is True
        scheduler.advance(seconds=30)
        assert asyncio.run(ask("schedule:report")) is True
