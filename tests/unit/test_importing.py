"""Importing tickwork costs next to nothing, and brings nothing along."""

import subprocess
import sys

import pytest

import tickwork

HEAVY = {
    "alembic", "croniter", "fastapi", "hypothesis", "mysql", "pebble", "psycopg", "pydantic",
    "pymongo", "pymysql", "pytest", "redis", "rich", "sqlalchemy", "typer", "uvicorn",
    "multiprocessing.pool", "concurrent.futures.process", "anyio", "fast_depends", "starlette",
    "opentelemetry", "prometheus_client",
}  # fmt: skip


def imported_by(code: str) -> set[str]:
    listing = f"import sys\n{code}\nprint('\\n'.join(sys.modules))"
    ended = subprocess.run(
        [sys.executable, "-c", listing], capture_output=True, text=True, check=True, timeout=30
    )
    return set(ended.stdout.split())


@pytest.mark.parametrize(
    "code",
    [
        "import tickwork",
        "import tickwork.testing.plugin, tickwork.errors, tickwork.events",
    ],
)
def test_importing_brings_no_driver_along(code: str) -> None:
    assert imported_by(code) & (HEAVY - {"pytest"} if "plugin" in code else HEAVY) == set()


def test_making_a_memory_scheduler_brings_no_database_along() -> None:
    code = """if True:
        from tickwork import Scheduler
        def job(): ...
        scheduler = Scheduler()
        scheduler.task(every="5m", store="default")(job)
        scheduler.add_task(job, "interval", minutes=5)
    """
    assert imported_by(code) & HEAVY == set()


def test_a_sqlite_scheduler_brings_no_database_along_before_it_is_made() -> None:
    code = "from tickwork import Scheduler, Task, IntervalTrigger, Run, TaskError"
    assert imported_by(code) & HEAVY == set()


def test_every_public_name_is_there_and_listed() -> None:
    assert len(tickwork.__all__) <= 42
    assert tickwork.__all__ == sorted(tickwork.__all__, key=str)
    for name in tickwork.__all__:
        assert getattr(tickwork, name) is not None
        assert name in dir(tickwork)
    with pytest.raises(AttributeError, match="no attribute 'Schedular'"):
        _ = tickwork.Schedular


def test_the_public_names_can_all_be_imported_at_once() -> None:
    assert "tickwork.scheduler.scheduler" in imported_by("from tickwork import *")
