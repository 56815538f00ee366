"""Scenarios in which a process dies or stands still at the worst moment."""

import signal
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from tests.cluster.cluster import Cluster, Worker, until
from tests.cluster.living import ALONE, module_elsewhere
from tests.cluster.mishaps import Mishap
from tests.cluster.schedules import Every
from tests.cluster.staging import (
    MS,
    NEVER_US,
    QUICK,
    REST_S,
    Case,
    add,
    await_lapse,
    check,
    check_until_now,
    executed,
)
from tickwork.model.instants import SECOND
from tickwork.model.policies import Delivery, RunState

__all__ = ["Edges", "Halfway", "Inside"]

_STEPS = (("plan", False), ("finish", True), ("lease", False), ("finish", False))
"""Steps, and whether it is the one that marks starts."""


class Edges(Case):
    """At the edges of steps of the store: killed."""

    @pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
    def test_killed_at_the_edge_of_a_step_nothing_is_lost_or_doubled(
        self, cluster: Cluster, before: bool
    ) -> None:
        cluster.start("steady", **QUICK)
        tasks = add(cluster, _of_both_deliveries)
        for number, (step, only_marks) in enumerate(_STEPS):
            task = tasks[3 + number % 3 if only_marks else number % 3]
            mishap = Mishap(step, task.id, before, signal.SIGKILL, only_marks)
            worker = cluster.start(f"dies-{step}", **QUICK, mishaps=(mishap,))
            if step == "lease":
                _run_by_hand(cluster, task.id, worker)
            cluster.await_death(worker, 15)
        check_until_now(cluster, tasks)


class Inside(Case):
    """Inside steps of the store: stopped for longer than the lease."""

    @pytest.mark.parametrize("step", ["plan", "mark"])
    def test_stopped_inside_a_step_until_it_was_declared_dead_nothing_is_lost(
        self, cluster: Cluster, step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What a dead node did in its last step must be found by somebody, or be refused.

        Only the stopped one can execute the tasks, so that nobody does its work meanwhile; it dies
        for good just after the step in the middle of which it was stopped, or after the next one.
        """
        place = module_elsewhere(tmp_path, monkeypatch)
        only_marks = step == "mark"
        method = "finish" if only_marks else step
        mishaps = (
            Mishap(method, f"{ALONE}-0", True, signal.SIGSTOP, only_marks),
            Mishap(method, f"{ALONE}-0", False, signal.SIGKILL, only_marks),
        )
        worker = cluster.launch("stopped", path=place, **QUICK, mishaps=mishaps)
        cluster.start("other", **QUICK)
        cluster.await_ready([worker])
        tasks = add(cluster, partial(_only_some_know, only_marks))
        node_ids = cluster.node_ids(worker)
        until(worker.stands, 15, "it stops itself")
        assert await_lapse(cluster, worker, node_ids), "others have noticed"
        worker.signal(signal.SIGCONT)
        cluster.await_death(worker, 15)
        cluster.start("next", path=place, **QUICK)
        cluster.await_rest(10)
        check(cluster, tasks)


class Halfway(Case):
    """In the middle of a task's work."""

    def test_killed_in_the_middle_of_work_it_is_done_again_or_ends_lost(
        self, cluster: Cluster, tmp_path: Path
    ) -> None:
        worker = cluster.start("one", **QUICK)
        _add_standing(cluster, tmp_path)
        cluster.kill(worker)
        cluster.start("two", **QUICK)
        cluster.await_rest(REST_S)
        for function in ("stand_once", "stand_once_async"):
            _check_done_again(cluster, f"{function}-at_least_once", crashes=1)
            _check_lost(cluster, f"{function}-at_most_once", crashes=1)

    def test_stopped_in_the_middle_of_work_it_is_done_again_or_ends_lost(
        self, cluster: Cluster, tmp_path: Path
    ) -> None:
        worker = cluster.start("one", **QUICK, stop_within_s=0.5)
        _add_standing(cluster, tmp_path)
        worker.signal(signal.SIGTERM)
        assert worker.reap() == 0, "a clean stop ends with status 0"
        cluster.start("two", **QUICK)
        cluster.await_rest(REST_S)
        # A coroutine is ended and given back; a thread dies with its process, like in a crash.
        _check_done_again(cluster, "stand_once_async-at_least_once", crashes=0)
        _check_done_again(cluster, "stand_once-at_least_once", crashes=1)
        _check_lost(cluster, "stand_once_async-at_most_once", crashes=0)
        _check_lost(cluster, "stand_once-at_most_once", crashes=1)


def _of_both_deliveries(start_us: int) -> list[Every]:
    return [
        Every(
            id=f"{delivery}-{number}",
            interval_us=(300 + 50 * number) * MS,
            start_us=start_us,
            end_us=NEVER_US,
            delivery=delivery,
            max_instances=1 + number % 2,
        )
        for delivery in Delivery
        for number in range(3)
    ]


def _only_some_know(at_most_once: bool, start_us: int) -> list[Every]:
    """Return tasks, and one before them, with which those who know the function get to know it."""
    task = Every(
        id="first",
        interval_us=500 * MS,
        start_us=start_us,
        end_us=start_us,
        delivery=Delivery.AT_MOST_ONCE if at_most_once else Delivery.AT_LEAST_ONCE,
        function=f"{ALONE}:work",
    )
    later_us, end_us = start_us + SECOND, start_us + 2 * SECOND
    return [
        task,
        *(
            replace(task, id=f"{ALONE}-{number}", start_us=later_us, end_us=end_us)
            for number in range(3)
        ),
    ]


def _run_by_hand(cluster: Cluster, task_id: str, worker: Worker) -> None:
    """Ask for runs that are leased without being planned, until a worker dies of one."""
    with cluster.client() as client:

        def dead() -> bool:
            if worker.alive:
                client.run_task(task_id)
            return not worker.alive

        until(dead, 15, f"{worker.name} leases a run", every_s=0.2)


def _add_standing(cluster: Cluster, folder: Path) -> None:
    """Add tasks that stand still the first time they are executed, and wait until they do."""
    names = [
        (function, str(delivery))
        for function in ("stand_once", "stand_once_async")
        for delivery in Delivery
    ]
    with cluster.client() as client:
        for function, delivery in names:
            task_id = f"{function}-{delivery}"
            client.add_task(
                f"tests.cluster.work:{function}",
                args=[str(folder / f"{task_id}.mark")],
                id=task_id,
                delivery=delivery,
            )
    until(
        lambda: sum(run.state is RunState.RUNNING for run in cluster.runs()) == len(names),
        10,
        "all are marked as running",
    )


def _check_done_again(cluster: Cluster, task_id: str, crashes: int) -> None:
    (run,) = cluster.runs(task_id)
    assert (run.state, run.attempt, run.crashes) == (RunState.COMPLETED, 2, crashes), run
    assert executed(cluster, task_id) == 2


def _check_lost(cluster: Cluster, task_id: str, crashes: int) -> None:
    (run,) = cluster.runs(task_id)
    assert (run.state, run.attempt, run.crashes) == (RunState.LOST, 1, crashes), run
    assert "at_most_once" in (run.reason or "")
    assert executed(cluster, task_id) == 1
