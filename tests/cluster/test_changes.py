"""What is expected of tasks that are removed: all that was planned, and no more than that."""

import signal
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from tests.cluster.changes import Changes
from tests.cluster.checker import Expected, Flaw
from tests.cluster.cluster import Cluster, now_us, until
from tests.cluster.schedules import Every
from tests.cluster.staging import MS
from tickwork.model.instants import SECOND, from_us


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with Cluster(f"file://{tmp_path / 'store'}", tmp_path) as cluster:
        yield cluster


def _add(cluster: Cluster) -> list[Every]:
    """Add tasks that should have fired for a while; the third is the one to be removed."""
    start_us = now_us() - 20 * SECOND
    names = ("paused", "changed", "removed")
    tasks = [
        Every(id=name, interval_us=50 * MS, start_us=start_us, end_us=start_us + 60 * SECOND)
        for name in names
    ]
    with cluster.client() as client:
        first = {"next_run_time": from_us(start_us)}
        client.add_tasks([{**task.options(), **first} for task in tasks])
    return tasks


def _expected(cluster: Cluster, tasks: list[Every]) -> Expected:
    """Make the changes, and return what is expected of the task that was removed."""
    changes = Changes(tasks, Random(1), now_us(), 0.1)
    with changes.make(cluster, cluster.folder) as under_way:
        under_way.await_end(20)
        (expected,) = (each for each in under_way.expected() if each.task_id == "removed")
    assert not cluster.ask(lambda reader: reader.get_task("removed"))
    return expected


def _flaws(cluster: Cluster, expected: Expected) -> list[Flaw]:
    """Return what is wrong with the task that was removed; nobody goes on with the others."""
    report = cluster.verdict([expected])
    return [flaw for flaw in report.flaws if flaw.task_id == "removed"]


def test_what_nobody_had_planned_may_be_missing(cluster: Cluster) -> None:
    expected = _expected(cluster, _add(cluster))
    assert len(expected.fire_times) > 400
    assert expected.optional == {*expected.fire_times}
    assert not _flaws(cluster, expected)


def test_what_was_planned_must_be_there(cluster: Cluster) -> None:
    tasks = _add(cluster)
    worker = cluster.start("one")
    until(lambda: cluster.begun() > 10, 15, "they are executed")
    worker.signal(signal.SIGTERM)
    worker.reap()
    stored = cluster.ask(lambda reader: reader.get_task("removed"))
    assert stored is not None
    assert stored.fire_us is not None
    expected = _expected(cluster, tasks)
    owed = range(stored.fire_us, expected.fire_times[-1] + 1, tasks[-1].interval_us)
    assert expected.optional == {*owed}
    assert len(owed) < len(expected.fire_times)
    assert cluster.runs("removed")
    assert not _flaws(cluster, expected)
