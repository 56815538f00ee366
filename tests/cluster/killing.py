"""Scenarios in which processes are killed, stand still, or stop."""

import signal
from random import Random

from tests.cluster.cluster import Cluster, until
from tests.cluster.schedules import length_s
from tests.cluster.staging import (
    LONG,
    NAMES,
    QUICK,
    SHORT,
    Case,
    Size,
    add_mixture,
    await_lapse,
    check,
    let_time_pass,
    seeds,
    sizes,
    work_on,
)

__all__ = ["Killing", "Stopping"]


class Killing(Case):
    @seeds()
    @sizes()
    def test_killed_at_random_nothing_is_lost_or_doubled(
        self, cluster: Cluster, size: Size, seed: int
    ) -> None:
        random = Random(seed)
        workers = cluster.start_all(*NAMES, **QUICK)
        tasks = add_mixture(cluster, random, size)
        for _ in range(size.blows):
            work_on(cluster, random, size)
            victims = random.sample(workers, random.choice((1, 1, 2, 3)))
            for victim in victims:
                cluster.kill(victim)
            if len(victims) < len(workers):
                work_on(cluster, random, size)
            else:
                let_time_pass(random.uniform(0.5, 1.5))
            for victim in victims:
                workers[workers.index(victim)] = cluster.launch(victim.name, **QUICK)
        cluster.await_rest(length_s(tasks) + size.rest_s)
        check(cluster, tasks)

    @seeds()
    @sizes(SHORT._replace(blows=1), LONG._replace(blows=6))
    def test_stopped_longer_than_its_lease_it_does_no_harm(
        self, cluster: Cluster, size: Size, seed: int
    ) -> None:
        random = Random(seed)
        workers = cluster.start_all(*NAMES, **QUICK)
        tasks = add_mixture(cluster, random, size)
        for _ in range(size.blows):
            work_on(cluster, random, size)
            frozen = random.choice(workers)
            # One that was too slow for its lease is between two lives.
            until(lambda: bool(cluster.node_ids(frozen)), 10, f"{frozen.name} is registered")  # noqa: B023  called at once
            node_ids = cluster.node_ids(frozen)
            frozen.signal(signal.SIGSTOP)
            until(frozen.stands, 5, f"{frozen.name} stands still")
            await_lapse(cluster, frozen, node_ids)
            frozen.signal(signal.SIGCONT)
        cluster.await_rest(length_s(tasks) + size.rest_s)
        check(cluster, tasks)


class Stopping(Case):
    @sizes(SHORT._replace(blows=1), LONG._replace(blows=8))
    def test_stopped_cleanly_it_leaves_nothing_to_recover(
        self, cluster: Cluster, size: Size
    ) -> None:
        random = Random(1)
        workers = cluster.start_all(*NAMES, lease_s=10)
        tasks = add_mixture(cluster, random, size)
        for blow in range(size.blows):
            work_on(cluster, random, size)
            leaving = workers[blow % len(workers)]
            leaving.signal(signal.SIGTERM)
            assert leaving.reap() == 0, "a clean stop ends with status 0"
            assert leaving.said('stopped {"given_back": [], "still_running": []}')
            assert not cluster.node_ids(leaving), "it has signed off"
            workers[blow % len(workers)] = cluster.start(leaving.name, lease_s=10)
        cluster.await_rest(length_s(tasks) + size.rest_s)
        check(cluster, tasks)
        disturbed = [run for run in cluster.runs() if run.attempt > 1 or run.crashes]
        assert not disturbed, f"a clean stop disturbs no run: {disturbed[:5]}"
