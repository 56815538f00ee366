"""Declarations that are gone from the code."""

import logging

import pytest

from tests.unit.scheduler import jobs
from tests.unit.scheduler.conftest import Home
from tickwork.events import TaskUndeclared


def test_what_is_declared_no_more_is_reported_and_kept(
    home: Home, caplog: pytest.LogCaptureFixture
) -> None:
    if not home.persistent:
        # Nothing that was declared by an earlier process is there.
        home = Home("sqlite", home.file.parent)
    before = home.new()
    before.task(every="1h")(jobs.note)
    before.task(every="2h", id="named")(jobs.other)
    before.task(every="3h")(jobs.fail)
    before.add_task(jobs.coroutine, "interval", hours=4)
    with before.connect():
        assert len(before.get_tasks()) == 4
    after = home.new()
    after.task(every="1h")(jobs.note)
    told: list[TaskUndeclared] = []
    after.on(TaskUndeclared, told.append)
    with caplog.at_level(logging.WARNING, "tickwork.scheduler"), after.connect():
        assert len(after.get_tasks()) == 4
        after._listeners.flush()  # noqa: SLF001  what was told has been heard then
    assert sorted(event.task_id for event in told) == ["named", "tests.unit.scheduler.jobs:fail"]
    assert sum("no longer declared" in record.message for record in caplog.records) == 2
