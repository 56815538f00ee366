"""What scenarios have in common: their sizes, the tasks, the waiting, the verdict at the end."""

import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, ClassVar, NamedTuple

import pytest

from tests.cluster.cluster import Cluster, Worker, now_us, until
from tests.cluster.faults import Faults
from tests.cluster.schedules import Every, a_mixture
from tickwork.errors import StoreUnavailableError
from tickwork.model.instants import SECOND

__all__ = [
    "BEGIN_IN_S",
    "LONG",
    "MS",
    "NAMES",
    "NEVER_US",
    "QUICK",
    "REST_S",
    "SHORT",
    "Case",
    "Size",
    "add",
    "add_mixture",
    "await_lapse",
    "check",
    "check_until_now",
    "executed",
    "insist",
    "let_time_pass",
    "seeds",
    "sizes",
    "work_on",
]

BEGIN_IN_S = 2.0
"""How long before its first fire time a scenario begins to add its tasks."""

_TRIES = 3
"""How many times as long that takes where steps fail: each attempt is one from the beginning."""

REST_S = 30.0
"""Within which time the cluster must have caught up with everything."""

NEVER_US = 2**52
MS = 1_000
NAMES = ("one", "two", "three")
QUICK: dict[str, Any] = {"lease_s": 1.0, "beat_s": 0.25}


class Size(NamedTuple):
    """How much of a scenario: tasks that fire so often in all, disturbed so many times."""

    tasks: int
    fires: int
    blows: int
    rest_s: float = REST_S

    def share(self, part: float) -> "Size":
        """Return a part of it, for a store that is slow; what disturbs it is as much."""
        return self._replace(tasks=round(part * self.tasks), fires=round(part * self.fires))


SHORT = Size(tasks=32, fires=300, blows=3)
LONG = Size(tasks=48, fires=5_000, blows=20, rest_s=120.0)


def sizes(short: Size = SHORT, long: Size = LONG) -> pytest.MarkDecorator:
    """Run a scenario short in `make check`, and long in `make soak`."""
    return pytest.mark.parametrize(
        "size",
        [pytest.param(short, id="short"), pytest.param(long, id="long", marks=pytest.mark.soak)],
        indirect=True,
    )


def seeds(count: int = 1) -> pytest.MarkDecorator:
    """Run a scenario with fixed seeds, or with that of the environment."""
    told = os.environ.get("TICKWORK_TEST_SEED")
    return pytest.mark.parametrize("seed", [int(told)] if told else range(1, count + 1))


class Case:
    """Give a fixture `store`: the URL of an empty store, or its options.

    A store of which less is to be asked says which `part` of each size.
    """

    part: ClassVar[float] = 1.0

    @pytest.fixture
    def size(self, request: pytest.FixtureRequest) -> Size:
        whole: Size = request.param
        return whole.share(self.part)

    @pytest.fixture
    def cluster(self, store: str | dict[str, Any], tmp_path: Path) -> Iterator[Cluster]:
        with Cluster(store, tmp_path) as cluster:
            yield cluster


# --- tasks -------------------------------------------------------------------------------------


def add(
    cluster: Cluster, make: Callable[[int], list[Every]], faults: Faults | None = None
) -> list[Every]:
    """Add the tasks that are made for the instant of their first fire times, before it comes."""
    with cluster.client(faults) as client:
        start_us = now_us() + round(BEGIN_IN_S * (_TRIES if faults else 1) * SECOND)
        tasks = make(start_us)
        calls = insist(lambda: client.add_tasks([task.options() for task in tasks]))
    assert calls >= 3 if faults else calls == 1, "it fails before and after its commit, if asked to"
    assert now_us() < start_us, "too slow to add tasks in time"
    return tasks


def add_mixture(
    cluster: Cluster, random: Random, size: Size, faults: Faults | None = None
) -> list[Every]:
    """Add tasks of all sorts."""
    return add(
        cluster, lambda start_us: a_mixture(random, size.tasks, start_us, size.fires), faults
    )


def insist(call: Callable[[], object]) -> int:
    """Call something until its store doesn't fail; return how often that was."""
    calls = 0

    def done() -> bool:
        nonlocal calls
        calls += 1
        try:
            call()
        except StoreUnavailableError:
            return False
        return True

    until(done, REST_S, "the store does what it was asked for", every_s=0.01)
    return calls


# --- waiting -----------------------------------------------------------------------------------


def work_on(cluster: Cluster, random: Random, size: Size) -> None:
    """Wait until a random number of executions has begun; all blows together find their time."""
    pace = round(size.fires / (size.blows + 1))
    target = cluster.begun() + random.randint(min(5, pace), pace)
    until(
        lambda: cluster.begun() >= target or not cluster.schedules(),
        60,
        "work goes on",
        every_s=0.003,
    )


def let_time_pass(seconds: float) -> None:
    """Wait for fire times to be missed while nobody is there."""
    later_us = now_us() + round(seconds * SECOND)
    until(lambda: now_us() > later_us, seconds + 5, "time passes")


def await_lapse(cluster: Cluster, frozen: Worker, node_ids: set[str]) -> bool:
    """Wait until a worker that stands still was declared dead, and return whether it was.

    One that was stopped while it held the lock of a whole store can't be: nobody can write there.
    Then its lease has been over for long enough, too.
    """
    end_us = now_us() + 4 * SECOND

    def lapsed() -> bool:
        try:
            return not node_ids & {node.id for node in cluster.reader.nodes()}
        except StoreUnavailableError:
            return False

    assert node_ids, f"{frozen.name} is registered"
    until(lambda: lapsed() or now_us() > end_us, 15, "the lease is over")
    return lapsed()


def executed(cluster: Cluster, prefix: str) -> int:
    """Return how many executions of tasks there were whose ids begin like that."""
    return sum(each.task_id.startswith(prefix) for each in cluster.executions())


# --- the verdict -------------------------------------------------------------------------------


def check(cluster: Cluster, tasks: Sequence[Every], **expectations: Any) -> None:
    """Have the checker compare all that happened with what should have."""
    report = cluster.verdict([task.expected(**expectations) for task in tasks])
    assert not report.flaws, f"\n{report}"


def check_until_now(cluster: Cluster, tasks: Sequence[Every]) -> None:
    """Have tasks without end caught up with, pause them, and check what was planned by then."""
    asked_us = now_us()
    next_us = partial(_next_us, cluster)
    until(lambda: all(next_us(task) > asked_us for task in tasks), REST_S, "all are caught up with")
    with cluster.client() as client:
        for task in tasks:
            client.pause_task(task.id)
    cluster.await_rest(REST_S)
    report = cluster.verdict(
        [
            task.expected(fire_times=range(task.start_us, next_us(task), task.interval_us))
            for task in tasks
        ]
    )
    assert not report.flaws, f"\n{report}"


def _next_us(cluster: Cluster, task: Every) -> int:
    """Return the first fire time of a task that isn't planned."""
    stored = cluster.ask(lambda reader: reader.get_task(task.id))
    assert stored is not None, f"{task.id} is there"
    assert stored.fire_us is not None, f"{task.id} goes on"
    return stored.fire_us
