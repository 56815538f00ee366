"""xitzin's document on tasks: its examples, with other imports."""

import re
from types import ModuleType
from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.compat.documents import Document, Example, new_module
from tests.compat.stepping import stepped, summary
from tickwork import Scheduler
from tickwork.compat import xitzin

APP = Example("from xitzin import Xitzin", "    backup_database()")
PARSING = Example(
    "def parse_interval(interval: str | int | float) -> float:",
    "    return float(value * multipliers[unit])",
    reason="their own source code",
)
RUNNING = Example(
    "async def run_interval_task(task: BackgroundTask) -> None:",
    "                error_type=type(e).__name__,",
    reason="their own source code",
)
CRON = Example(
    "async def run_cron_task(task: BackgroundTask) -> None:",
    "                error_type=type(e).__name__,",
    reason="their own source code",
)
NEITHER = "@app.task() # Error: neither interval nor cron provided def my_task(): pass"
BOTH = '@app.task(interval="1h", cron="* * * * *") # Error: both provided def my_task(): pass'
ERRORS = Example(NEITHER, BOTH, reason="in one line: what it says is below")
EXAMPLES = [APP, PARSING, RUNNING, CRON, ERRORS]
IMPORTS = {"xitzin": "tests.compat.frameworks"}


@pytest.fixture(scope="module")
def document() -> Document:
    return Document("xitzin-tasks.txt", EXAMPLES, IMPORTS)


@pytest.fixture
def module() -> ModuleType:
    called: list[str] = []

    async def cleanup_old_records() -> None:
        called.append("cleanup")

    return new_module(
        "xitzin_examples",
        called=called,
        cleanup_old_records=cleanup_old_records,
        backup_database=lambda: called.append("backup"),
    )


@pytest.fixture
def _timeless(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xitzin, "Scheduler", stepped(Scheduler))


def test_every_line_of_code_is_in_an_example(document: Document) -> None:
    assert document.code_outside() == []
    assert document.foreign_imports() == []


@pytest.mark.usefixtures("_timeless")
def test_tasks_run_while_the_server_is_running(document: Document, module: ModuleType) -> None:
    document.execute(APP, module)
    scheduler: Any = module.app.state.tickwork
    assert (scheduler.state, module.called) == ("new", [])
    with TestClient(module.app):
        scheduler.advance(hours=3, minutes=30)
        assert sorted(summary(scheduler), key=lambda run: run[::-1]) == [
            ("hourly_cleanup", "completed", "01 01:00:00"),
            ("daily_backup", "completed", "01 02:00:00"),
            ("hourly_cleanup", "completed", "01 02:00:00"),
            ("hourly_cleanup", "completed", "01 03:00:00"),
        ]
    assert scheduler.state == "new"
    assert module.called.count("cleanup") == 3
    assert module.called.count("backup") == 1


def theirs(document: Document) -> Any:
    """Return `parse_interval` as its document has it."""
    module = new_module("xitzin_source", re=re)
    document.execute(PARSING, module)
    return module.parse_interval


@pytest.mark.parametrize(
    "interval", ["1h", "30m", "1d", "90s", "  2H ", "1D\n", 5, 0.5, 1, 86_400, "007m"]
)
def test_intervals_mean_what_they_mean_there(document: Document, interval: Any) -> None:
    assert xitzin.parse_interval(interval) == theirs(document)(interval)


@pytest.mark.parametrize("interval", ["", "1", "h", "1.5h", "-1h", "1h30m", "1y", "1 h", 0, -5])
def test_what_is_refused_there_is_refused_with_the_same_words(
    document: Document, interval: Any
) -> None:
    with pytest.raises(ValueError, match=r"^I") as told:
        theirs(document)(interval)
    begin = str(told.value).partition(".")[0] if isinstance(interval, str) else str(told.value)
    with pytest.raises(ValueError, match=re.escape(begin.partition(":")[0])):
        xitzin.parse_interval(interval)


def test_a_task_says_when_in_exactly_one_way(document: Document, module: ModuleType) -> None:
    document.execute(APP, module)
    app = module.app
    assert {NEITHER, BOTH} <= set(document.lines)
    with pytest.raises(xitzin.TaskConfigurationError, match="Either 'interval' or 'cron' must be"):
        app.task()
    with pytest.raises(xitzin.TaskConfigurationError, match="'interval' or 'cron' can be provided"):
        app.task(interval="1h", cron="* * * * *")
