"""Asyncz's document on tasks: its examples, with other imports."""

import inspect
import os
import tempfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.compat.documents import Document, Example, new_module
from tests.compat.stepping import stepped, summary
from tickwork.compat import asyncz

SNAPSHOT = Example(
    'task = scheduler.add_task(cleanup, "interval", minutes=5, id="cleanup")',
    "print(info.schedule_state.value)",
)
FIRST = "from asyncz.schedulers import AsyncIOScheduler"
DIRECTLY = Example(FIRST, ")", "6x0 2x1 20x0", again=2)
UPDATING = Example(FIRST, ")", "6x0 2x1 16x0", again=1)
RESCHEDULING = Example(
    FIRST, 'task.reschedule("my-task", trigger="cron", hour=10, minute=5)', "6x0 2x1 12x0"
)
LIFECYCLE = Example(FIRST, "scheduler.stop()", "6x0 6x1 2x2 1x1 9x0")
IN_PROCESSES = Example("import tempfile", "scheduler.stop()", "13x0 8x1 2x2 1x1 5x0 1x1 6x0")
PROTECTED = Example(
    "import tempfile",
    "# Now the shutdown task is executed and the generator progresses in the cleanup",
    "14x0 5x1 2x2 1x3 2x4 1x5 1x4 8x3 2x4 2x5 1x4 2x5 1x4 1x3 2x4 1x3 2x4 2x3 1x1 5x0 1x1 4x0 1x1 "
    "1x0",
)
EXAMPLES = [
    SNAPSHOT, DIRECTLY, UPDATING, RESCHEDULING, LIFECYCLE, IN_PROCESSES, PROTECTED,
]  # fmt: skip
IMPORTS = dict.fromkeys(
    ("asyncz.schedulers", "asyncz.tasks", "asyncz.triggers", "asyncz.utils", "asyncz.locks"),
    "tickwork.compat.asyncz",
)
LOCKS = Path("/tmp")  # noqa: S108  where the examples have theirs


@pytest.fixture(scope="module")
def document() -> Document:
    return Document("asyncz-tasks.txt", EXAMPLES, IMPORTS)


@pytest.fixture
def module() -> ModuleType:
    return new_module("asyncz_examples")


@pytest.fixture(autouse=True)
def _own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Give the examples their folders, and take their locks away at the end."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    yield
    for lock in LOCKS.glob(f"asyncz_*{os.getpgrp()}*.lock"):
        lock.unlink()


def half_an_hour(scheduler: Any) -> None:
    """Stand for what a program does between start and stop."""
    scheduler.advance(minutes=30)


@pytest.fixture
def lived(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let schedulers of examples live for half an hour before they are stopped."""
    monkeypatch.setattr(asyncz, "AsyncIOScheduler", stepped(asyncz.AsyncIOScheduler, half_an_hour))


@pytest.fixture
def timeless(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asyncz, "AsyncIOScheduler", stepped(asyncz.AsyncIOScheduler))


def test_every_line_of_code_is_in_an_example(document: Document) -> None:
    assert document.code_outside() == []
    assert document.foreign_imports() == []


def test_a_snapshot_tells_what_is_asked(
    document: Document, capsys: pytest.CaptureFixture[str]
) -> None:
    def cleanup() -> None: ...

    module = new_module("asyncz_examples", scheduler=asyncz.AsyncIOScheduler(), cleanup=cleanup)
    cleanup.__module__, cleanup.__qualname__ = module.__name__, "cleanup"
    document.execute(SNAPSHOT, module)
    assert capsys.readouterr().out == "asyncz_examples:cleanup\ninterval\npending\n"
    assert module.task.paused is False
    with pytest.raises(ValueError, match="frozen"):
        module.info.name = "another"


@pytest.mark.usefixtures("timeless")
def test_tasks_are_made_directly_and_submitted(document: Document, module: ModuleType) -> None:
    document.execute(DIRECTLY, module)
    with module.scheduler as scheduler:
        first, second = scheduler.get_task("my-task"), scheduler.get_task("my-task2")
        assert (first.name, first.max_instances, first.coalesce) == ("my-func", 3, True)
        assert (second.name, second.max_instances) == ("check_status", 1)
        assert first.mistrigger_grace_time == second.mistrigger_grace_time == 1.0
        scheduler.advance(days=1)
        assert summary(scheduler) == [
            ("my-func", "completed", "01 08:01:00"),
            ("check_status", "completed", "01 08:01:00"),
        ]


@pytest.mark.usefixtures("timeless")
def test_a_task_is_updated(document: Document, module: ModuleType) -> None:
    document.execute(UPDATING, module)
    task = module.task
    assert task.schedule_state.value == "pending"
    with module.scheduler:
        assert (task.id, task.name, task.max_instances) == ("my-task", "my-new-task-id", 5)
        assert task.coalesce is False
        assert task.schedule_state.value == "scheduled"


@pytest.mark.usefixtures("timeless")
def test_a_task_is_rescheduled(document: Document, module: ModuleType) -> None:
    document.execute(RESCHEDULING, module)
    with module.scheduler as scheduler:
        assert f"{module.task.next_run_time:%d %H:%M}" == "01 10:05"
        scheduler.advance(days=2)
        assert summary(scheduler) == [
            ("my-func", "completed", "01 10:05:00"),
            ("my-func", "completed", "02 10:05:00"),
        ]


@pytest.mark.usefixtures("lived")
@pytest.mark.parametrize("example", [LIFECYCLE, IN_PROCESSES, PROTECTED])
def test_a_lifecycle_sets_up_ticks_and_cleans_up(
    document: Document, module: ModuleType, tmp_path: Path, example: Example
) -> None:
    document.execute(example, module)
    scheduler = module.scheduler
    begun = scheduler.clock.now() - timedelta(minutes=30)
    ended = [each for each in scheduler.heard if type(each).__name__ != "RunStarted"]
    assert [type(each).__name__ for each in ended] == ["RunCompleted"] * 7
    ticks = [begun + timedelta(minutes=5 * number) for number in range(1, 7)]
    assert [each.fire_time for each in ended] == [*ticks, None]
    assert inspect.getgeneratorstate(module.generator) == inspect.GEN_CLOSED
    assert scheduler.state == "new"
    # The directory of the file store is gone, as its example wants it.
    assert list(tmp_path.iterdir()) == []
