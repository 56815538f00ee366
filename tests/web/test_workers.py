"""Several workers of one server: how often each fire time is executed, exactly."""

import os
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

import pytest

from tests.cluster.cluster import until
from tests.web.serving import GUNICORN, UVICORN, Site, serving
from tests.web.workshop import INTERVAL_S
from tickwork import Scheduler
from tickwork.model.instants import SECOND, to_us

WORKERS = 4
STEPS_US = {"interval": round(INTERVAL_S * SECOND), "cron": SECOND}
DEADLINE_S = 25.0
WORK = [f"work-{number}" for number in range(12)]

APP = "tests.web.workshop:app"
WRAPPED = "tests.web.workshop:wrapped"


class Line(NamedTuple):
    """What was written down by one execution."""

    task: str
    fire_us: int
    pid: int


@pytest.fixture
def book(tmp_path: Path) -> Path:
    return tmp_path / "book"


@pytest.fixture
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URL of a store that nobody has used yet."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/tasks.db"
    url = request.getfixturevalue("redis_url")
    return f"{url}?prefix=workers-{uuid4().hex}"


@pytest.fixture
def client(store: str) -> Iterator[Scheduler]:
    """Return a client, made before the workers start, so that it doesn't disturb who looks."""
    scheduler = Scheduler(store)
    yield scheduler
    scheduler.close()


def words(book: Path) -> list[list[str]]:
    if not book.exists():
        return []
    # What is written at this moment is whole: each line is one write.
    return [line.split() for line in book.read_text().splitlines()]


def lines(book: Path) -> list[Line]:
    return [Line(word[0], int(word[1]), int(word[2])) for word in words(book) if len(word) == 3]


def fire_times(
    book: Path, pid: int | None = None, *, but: int | None = None
) -> dict[str, list[int]]:
    """Return the fire times of each task that were executed, in order, as often as they were.

    All of them, or those of one process, or those of all others.
    """
    mine = [line for line in lines(book) if pid in {None, line.pid} and line.pid != but]
    return {task: sorted(each.fire_us for each in mine if each.task == task) for task in STEPS_US}


def await_fire_times(book: Path, count: int, pids: int = 1) -> None:
    """Wait until so many processes have executed so many fire times of the interval."""

    def enough() -> bool:
        made = Counter(line.pid for line in lines(book) if line.task == "interval")
        return sum(each >= count for each in made.values()) >= pids

    until(enough, DEADLINE_S, lambda: f"{count} fire times by {pids}: {lines(book)}")


def nodes_of(client: Scheduler) -> set[int]:
    """Return the processes of the nodes that share a store, once all workers take part."""
    until(lambda: len(client.nodes()) >= WORKERS, DEADLINE_S, "all workers are nodes")
    pids = {node.pid for node in client.nodes()}
    assert len(pids) == len(client.nodes()) == WORKERS
    return pids


def submit_each(site: Site) -> dict[str, int]:
    """Have a worker submit each of some words; return which one that was."""
    answers = {word: site.ask("POST", f"/work/{word}") for word in WORK}
    assert {answer.status for answer in answers.values()} == {202}
    return {word: answer.body["pid"] for word, answer in answers.items()}


def submitted_work(book: Path) -> list[tuple[str, int]]:
    return [(word[0], int(word[1])) for word in words(book) if len(word) == 2]


def await_submitted(book: Path, count: int) -> None:
    until(lambda: len(submitted_work(book)) >= count, DEADLINE_S, "what was submitted is executed")


def assert_each_once(times: dict[str, list[int]]) -> None:
    """Fail where a fire time between the first and the last one is missing, or there twice."""
    for task, step_us in STEPS_US.items():
        assert times[task], task
        assert times[task] == [*range(times[task][0], times[task][-1] + 1, step_us)], task


def assert_stopped(site: Site, workers: int) -> None:
    assert site.output.count("Application shutdown complete") == workers, site.output
    assert "Traceback" not in site.output, site.output


@pytest.mark.parametrize(
    ("server", "app", "store"),
    [
        (UVICORN, APP, "sqlite"),
        (UVICORN, APP, "redis"),
        (UVICORN, WRAPPED, "redis"),
        (GUNICORN, APP, "sqlite"),
        # The application is imported once, and its process forked.
        ([*GUNICORN, "--preload"], APP, "redis"),
    ],
    ids=["uvicorn-sqlite", "uvicorn-redis", "asgi-redis", "gunicorn-sqlite", "preloaded-redis"],
    indirect=["store"],
)
def test_on_one_store_each_fire_time_is_executed_once(
    server: list[str], app: str, *, store: str, client: Scheduler, book: Path, tmp_path: Path
) -> None:
    environment = {"TICKWORK_STORE": store, "TICKWORK_BOOK": str(book)}
    with serving([*server, app], tmp_path, workers=WORKERS, **environment) as site:
        nodes = nodes_of(client.connect())
        assert site.pid not in nodes
        submitted = submit_each(site) if app == APP else {}
        begun = len(lines(book))
        until(lambda: len(lines(book)) >= begun + 15, DEADLINE_S, "fire times are executed")
        await_submitted(book, len(submitted))
        site.stop()
    assert_stopped(site, WORKERS)
    assert sorted(each[0] for each in submitted_work(book)) == sorted(submitted)
    times = fire_times(book)
    assert_each_once(times)
    assert {line.pid for line in lines(book)} <= nodes
    for task in STEPS_US:
        runs = client.get_runs(task=task, limit=10_000)
        assert {run.status for run in runs} == {"completed"}
        assert sorted(to_us(run.fire_time) for run in runs if run.fire_time) == times[task]
        assert {run.fire_count for run in runs} == {1}
        assert {run.attempt for run in runs} == {1}
    assert client.nodes() == []
    assert {task.id: task.active_runs for task in client.get_tasks()} == {"interval": 0, "cron": 0}


def test_in_memory_each_fire_time_is_executed_once_by_each_worker(
    book: Path, tmp_path: Path
) -> None:
    with serving([*UVICORN, APP], tmp_path, workers=WORKERS, TICKWORK_BOOK=str(book)) as site:
        await_fire_times(book, 8, WORKERS)
        submitted = submit_each(site)
        await_submitted(book, len(WORK))
        site.stop()
    assert_stopped(site, WORKERS)
    # Nobody else knows of what was submitted to a worker.
    assert sorted(submitted_work(book)) == sorted(submitted.items())
    pids = {line.pid for line in lines(book)}
    assert len(pids) == WORKERS
    for pid in pids:
        assert_each_once(fire_times(book, pid))


def test_in_memory_with_a_lock_each_fire_time_is_executed_once_by_one_of_them(
    book: Path, tmp_path: Path
) -> None:
    environment = {"TICKWORK_BOOK": str(book), "TICKWORK_LOCK": str(tmp_path / "{ppid}.lock")}
    with serving([*UVICORN, APP], tmp_path, workers=WORKERS, **environment) as site:
        begun = len(lines(book))
        submitted = submit_each(site)
        await_submitted(book, len(WORK))
        await_fire_times(book, begun + 10)
        site.stop()
    assert_stopped(site, WORKERS)
    assert_each_once(fire_times(book))
    # Also who stands by executes what was submitted to it: nobody else knows of it.
    assert sorted(submitted_work(book)) == sorted(submitted.items())
    assert (tmp_path / f"{site.pid}.lock").exists()


def test_in_memory_with_a_lock_another_worker_goes_on_where_one_has_died(
    book: Path, tmp_path: Path
) -> None:
    environment = {"TICKWORK_BOOK": str(book), "TICKWORK_LOCK": str(tmp_path / "{ppid}.lock")}
    with serving([*UVICORN, APP], tmp_path, workers=2, **environment) as site:
        await_fire_times(book, 5)
        [first] = {line.pid for line in lines(book)}
        os.kill(first, signal.SIGKILL)
        await_fire_times(book, 5, pids=2)
        site.await_workers(3)
        site.stop()
    assert_stopped(site, 2)
    before, after = fire_times(book, first), fire_times(book, but=first)
    # Of what it was about to execute the book knows nothing; no fire time is there twice.
    assert_each_once(before)
    assert_each_once(after)
    assert all(before[task][-1] < after[task][0] for task in STEPS_US)
