"""Scenarios in which steps of the store fail, its server crashes, or its connections are cut."""

import json
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, Protocol

import pytest

from tests.cluster.cluster import Cluster, Worker, until
from tests.cluster.faults import BY_CLIENTS, BY_WORKERS, Faults
from tests.cluster.schedules import length_s
from tests.cluster.staging import (
    LONG,
    NAMES,
    QUICK,
    SHORT,
    Case,
    Size,
    add_mixture,
    check,
    insist,
    let_time_pass,
    seeds,
    sizes,
    work_on,
)
from tickwork.model.instants import SECOND
from tickwork.testing import Fault

__all__ = ["FailingServer", "FailingSteps", "OnServer", "Server", "WrongClocks"]

_FAULTS = {(step, str(fault)) for step in BY_WORKERS for fault in (Fault.BEFORE, Fault.AFTER)}


class FailingSteps(Case):
    @seeds()
    @sizes()
    def test_errors_before_and_after_each_commit_lose_and_double_nothing(
        self, cluster: Cluster, size: Size, seed: int
    ) -> None:
        random = Random(seed)
        workers = [
            cluster.launch(name, **QUICK, prune_s=0.2, faults=Faults(random.getrandbits(32), 0.05))
            for name in NAMES
        ]
        cluster.await_ready(workers)
        tasks = add_mixture(cluster, random, size, Faults(seed, 0.2, BY_CLIENTS))
        with cluster.client(Faults(seed, 0.2, BY_CLIENTS)) as client:
            calls = 0
            for task in random.sample(tasks, size.blows):
                work_on(cluster, random, size)
                calls += insist(partial(client.pause_task, task.id, reason="a test"))
                calls += insist(partial(client.resume_task, task.id))
            assert calls >= 2 * size.blows + 2, "a change has failed before and after its commit"
        cluster.await_rest(length_s(tasks) + size.rest_s)
        check(cluster, tasks)
        _check_faults(workers)


def _check_faults(workers: list[Worker]) -> None:
    """Have each worker stop, and compare which faults they met with those that there are."""
    met: set[tuple[str, str]] = set()
    for worker in workers:
        assert worker.alive, f"{worker.name} goes on, whatever fails"
        worker.signal(signal.SIGTERM)
        assert worker.reap() == 0, "a clean stop ends with status 0"
        told = worker.said("faults ")
        assert told is not None, "it says which faults it met"
        met |= {(step, fault) for (step, fault), _ in json.loads(told.removeprefix("faults "))}
    assert met == _FAULTS, f"each step has failed before and after its commit: {met}"


class Server(Protocol):
    """A server of the tests' own."""

    @property
    def url(self) -> str:
        """Where a store finds it."""

    def crash(self) -> None:
        """End at once, with all connections."""

    def restart(self) -> None:
        """Start again on the same data, at the same place."""


class OnServer(Case):
    """Give fixtures `url`, of a server, and `own_server`, which may crash; and these two."""

    @pytest.fixture
    def store(self, url: str) -> str | dict[str, Any]:
        return self.place(url)

    def place(self, url: str) -> str | dict[str, Any]:
        """Return an empty store on a server: its URL, or its options."""
        raise NotImplementedError

    def cutting(self, url: str) -> AbstractContextManager[tuple[str, Callable[[], int]]]:
        """Return the URL to use, and what cuts all connections made with it and counts them."""
        raise NotImplementedError


class FailingServer(OnServer):
    @seeds()
    @sizes(SHORT._replace(blows=2), LONG._replace(blows=8))
    def test_its_server_crashes_and_comes_back_nothing_is_lost_or_doubled(
        self, own_server: Server, tmp_path: Path, size: Size, seed: int
    ) -> None:
        random = Random(seed)
        with Cluster(self.place(own_server.url), tmp_path) as cluster:
            workers = cluster.start_all(*NAMES, **QUICK)
            tasks = add_mixture(cluster, random, size)
            for blow in range(size.blows):
                work_on(cluster, random, size)
                victim = random.choice(workers)
                with _outage(own_server):
                    # Shorter than leases, and longer.
                    let_time_pass(random.choice((0.0, 0.5, 1.5)))
                    if blow % 2:
                        cluster.kill(victim)
                if blow % 2:
                    worker = workers[workers.index(victim)] = cluster.launch(victim.name, **QUICK)
                    # A scheduler needs its store to start; only then may it go away.
                    cluster.await_ready([worker])
            cluster.await_rest(length_s(tasks) + size.rest_s)
            check(cluster, tasks)
            assert all(worker.alive for worker in workers), "an outage ends no scheduler"

    @seeds()
    @sizes(SHORT._replace(blows=20), LONG._replace(blows=200))
    def test_connections_are_cut_again_and_again_nothing_is_lost_or_doubled(
        self, url: str, tmp_path: Path, size: Size, seed: int
    ) -> None:
        random = Random(seed)
        with self.cutting(url) as (way, cut), Cluster(self.place(way), tmp_path) as cluster:
            workers = cluster.start_all(*NAMES, **QUICK)
            tasks = add_mixture(cluster, random, size)
            cut_ones = 0
            for _ in range(size.blows):
                work_on(cluster, random, size)
                cut_ones += cut()
            cluster.await_rest(length_s(tasks) + size.rest_s)
            check(cluster, tasks)
            assert all(worker.alive for worker in workers), "a lost connection ends no scheduler"
        assert cut_ones >= size.blows, "there were connections to cut"


@contextmanager
def _outage(server: Server) -> Iterator[None]:
    server.crash()
    try:
        yield
    finally:
        server.restart()


class WrongClocks(OnServer):
    """With clocks of processes minutes apart, the server's counts."""

    _FAST_S = (0.0, 180.0, -240.0)
    _KNOWN_WITHIN_US = 250_000
    """How well a clock is known that is measured within a second: half of how long that took."""

    @seeds()
    @sizes(SHORT._replace(blows=1))
    def test_clocks_are_minutes_apart_and_the_servers_counts(
        self, cluster: Cluster, size: Size, seed: int
    ) -> None:
        random = Random(seed)
        fast = dict(zip(NAMES, self._FAST_S, strict=True))
        workers = [cluster.launch(name, **QUICK, fast_s=fast[name]) for name in NAMES]
        cluster.await_ready(workers)
        tasks = add_mixture(cluster, random, size)
        for _ in range(size.blows):
            work_on(cluster, random, size)
            victim = random.choice(workers)
            cluster.kill(victim)
            name = victim.name
            workers[workers.index(victim)] = cluster.launch(name, **QUICK, fast_s=fast[name])
        cluster.await_rest(length_s(tasks) + size.rest_s)
        known_us = self._KNOWN_WITHIN_US
        check(cluster, tasks, early_us=known_us, clocks_us=4 * known_us)
        cluster.await_ready(workers)
        for worker in workers:
            until(partial(cluster.node_ids, worker), 10, f"{worker.name} has registered")
        offsets = {node.pid: node.offset_us for node in cluster.nodes()}
        wrong_us = [offsets[each.pid] + fast[each.name] * SECOND for each in workers]
        assert all(abs(each) <= known_us for each in wrong_us), "nodes show their clocks' offsets"
