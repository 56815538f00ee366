"""What all tests share: examples that stay the same, and servers.

A check must say of the same tree the same thing. `TICKWORK_RANDOM=1` looks for new examples.

Each server is started when the first test asks for it, and is all tests' own for the whole run, so
tests take a place of their own in it. `TICKWORK_TEST_POSTGRES_URL` and the like point to another.
Where a server isn't to be had its tests are skipped; with `TICKWORK_REQUIRE_ALL=1` a skip fails.
With several workers (`pytest -n 2`) each has servers of its own.
"""

import os
import tempfile
from collections.abc import Generator, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from tickwork import Scheduler

settings.register_profile("same", derandomize=True, database=None)
settings.register_profile("new")
settings.load_profile("new" if os.environ.get("TICKWORK_RANDOM") else "same")

_WITH_PROCESSES = ("tests/cluster/", "tests/web/")
"""Tests with several processes and real clocks, of which no two run at the same time."""
_REQUIRE_ALL = os.environ.get("TICKWORK_REQUIRE_ALL", "0") not in {"", "0"}


def _server(kind: str) -> Iterator[Any]:
    """Run a server for the whole session, or skip where it isn't to be had."""
    with tempfile.TemporaryDirectory(prefix=f"tickwork-{kind}-") as folder:
        # Not in pytest's own folders: those are closed to the user that servers run as.
        try:
            serving = import_module(f"tests.servers.{kind}").serving(Path(folder))
            server = serving.__enter__()
        except (ImportError, FileNotFoundError) as error:
            pytest.skip(f"there is no {kind} server here: {error}")
        try:
            yield server
        finally:
            serving.__exit__(None, None, None)


def _url(request: pytest.FixtureRequest, kind: str, variable: str) -> str:
    elsewhere = os.environ.get(variable)
    return elsewhere or str(request.getfixturevalue(f"{kind}_server").url)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Any]:
    """Our own PostgreSQL, which may be restarted."""
    yield from _server("postgresql")


@pytest.fixture(scope="session")
def mysql_server() -> Iterator[Any]:
    """Our own MariaDB, which may be restarted."""
    yield from _server("mysql")


@pytest.fixture(scope="session")
def redis_server() -> Iterator[Any]:
    """Our own Redis, which may be restarted."""
    yield from _server("redis")


@pytest.fixture(scope="session")
def mongodb_server() -> Iterator[Any]:
    """Our own server that speaks MongoDB's protocol, which may be restarted."""
    yield from _server("mongodb")


@pytest.fixture(scope="session")
def postgres_url(request: pytest.FixtureRequest) -> str:
    """Where a PostgreSQL is."""
    return _url(request, "postgres", "TICKWORK_TEST_POSTGRES_URL")


@pytest.fixture(scope="session")
def mysql_url(request: pytest.FixtureRequest) -> str:
    """Where a MariaDB or MySQL is."""
    return _url(request, "mysql", "TICKWORK_TEST_MYSQL_URL")


@pytest.fixture(scope="session")
def redis_url(request: pytest.FixtureRequest) -> str:
    """Where a Redis is."""
    return _url(request, "redis", "TICKWORK_TEST_REDIS_URL")


@pytest.fixture(scope="session")
def mongodb_url(request: pytest.FixtureRequest) -> str:
    """Where a MongoDB is."""
    return _url(request, "mongodb", "TICKWORK_TEST_MONGODB_URL")


@pytest.fixture(scope="session")
def empty_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of SQLite with the tables of a store, and nothing in them; to be copied."""
    file = tmp_path_factory.mktemp("sqlite") / "empty.db"
    scheduler = Scheduler(f"sqlite:///{file}")
    scheduler.connect()
    scheduler.close()
    return file


def pytest_collection_modifyitems(items: list[Any]) -> None:
    """Give each test an id of its own: several workers tell tests apart by nothing else."""
    for item in items:
        module, _, name = item.nodeid.rpartition("::")
        if name != item.name:  # as with tests that are made of a document's operations
            item._id = item.id.parse(f"{module}::{item.name}")  # noqa: SLF001  there is no other way
    ids = [item.nodeid for item in items]
    if len(set(ids)) < len(ids):
        twice = sorted({each for each in ids if ids.count(each) > 1})
        raise pytest.UsageError(f"tests share an id, and workers would run one of them: {twice}")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give each worker of `pytest -n 2` a file at a time, and one of them all with processes."""
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):  # type: ignore[misc]  # its package has no types
        def _split_scope(self, nodeid: str) -> str:
            return (
                "processes" if nodeid.startswith(_WITH_PROCESSES) else super()._split_scope(nodeid)
            )

    return Scheduling(config, log)


@pytest.hookimpl(wrapper=True)
def pytest_report_to_serializable() -> Generator[None, Any, Any]:
    """Let each report reach the first process: what a test logged may be no proper text."""
    return _proper((yield))


def _proper(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode(errors="backslashreplace").decode()
    if isinstance(value, dict):
        return {_proper(name): _proper(each) for name, each in value.items()}
    return type(value)(map(_proper, value)) if isinstance(value, list | tuple) else value


def _refused(report: Any) -> Any:
    """Turn a skip into a failure."""
    if report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"with TICKWORK_REQUIRE_ALL nothing may be skipped. {reason}"
    return report


if _REQUIRE_ALL:

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport() -> Generator[None, Any, Any]:
        """Fail the tests that would be skipped."""
        return _refused((yield))

    @pytest.hookimpl(wrapper=True)
    def pytest_make_collect_report() -> Generator[None, Any, Any]:
        """Fail the files that would be skipped."""
        return _refused((yield))
